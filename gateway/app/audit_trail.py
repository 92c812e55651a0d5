"""How are acts written down that somebody may have to answer for?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Final

import structlog

from gateway.domain.audit import Act, NumberAct, OperatorAct

Write = Callable[[Act, int], None]


def log_act(act: Act, serial: int) -> None:
    """Write one act as a log line: who as a keyed hash, a number masked."""
    log = structlog.get_logger("gateway.audit")
    match act:
        case NumberAct():
            log.info(
                "remote number",
                serial=serial,
                user=act.user,
                act=act.act,
                masked=act.number,
                result=act.result,
            )
        case OperatorAct():
            log.info(
                "operator",
                serial=serial,
                act=act.act,
                subject=act.subject,
                node=act.node,
                result=act.result,
                http_status=act.status,
                suppressed=act.suppressed or None,
            )


class AuditTrail:
    """Numbers the acts of one process, so that a missing line shows.

    Args:
        write: Keeps one act under its number.
    """

    def __init__(self, write: Write) -> None:
        self._write: Final = write
        self._serials = count(1)

    def note(self, act: Act) -> None:
        """Write *act* down."""
        self._write(act, next(self._serials))
