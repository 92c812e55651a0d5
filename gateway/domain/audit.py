"""What is written down of acts that somebody may have to answer for?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.domain.model import SessionId, UserId


@dataclass(frozen=True, slots=True)
class NumberAct:
    """Calls were routed to a remote number, or were to be.

    *number* is masked (:func:`gateway.domain.privacy.masked`), *result* a status or an error code.
    """

    user: UserId
    session: SessionId
    act: Literal["log_on", "change"]
    number: str
    result: str
