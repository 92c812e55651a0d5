"""Audit records of acts of users and operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.domain.model import SessionId, UserId


class UserHash(str):
    """A user's keyed hash, where nobody knows more of him."""

    __slots__ = ()


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


@dataclass(frozen=True, slots=True)
class OperatorAct:
    """An operator asked something of the gateway, or somebody tried to.

    *act* names the operation. *subject* is a user's keyed hash or the hash of a session's public id, *node*
    the node that was meant, *user* whom it concerned, once a node knew him. *result* is ``ok``,
    ``not_in_force`` or an error code. *suppressed*: refused tries before it that were counted and not written
    down one by one. *act_id* is drawn for each request; what other nodes did for it names it as well.
    """

    act: str
    subject: str | None
    node: str | None
    result: str
    status: int
    suppressed: int = 0
    user: UserHash | None = None
    act_id: str = ""


@dataclass(frozen=True, slots=True)
class OrderAct:
    """This node carried out what an operator asked of another node, *asked_node*.

    *act* names what was carried out, *act_id* the operator's act. *result* is ``ok``, ``not_in_force``,
    ``not_found`` (it was not here) or an error code.
    """

    act: str
    act_id: str
    asked_node: str
    result: str
    user: UserHash | None = None


Act = NumberAct | OperatorAct | OrderAct
"""What the audit has lines of."""
