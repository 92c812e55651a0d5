"""How are acts written down that somebody may have to answer for?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Final

import structlog

from gateway.domain.audit import Act, NumberAct, OperatorAct, OrderAct
from gateway.domain.model import NodeId

Write = Callable[[Act, int], None]


def log_acts(node: NodeId, life: str) -> Write:
    """Return what writes acts as log lines of a process: who as a keyed hash, a number masked.

    *life* tells one start of *node* from the next, and so their serials.
    """

    def log_act(act: Act, serial: int) -> None:
        log = structlog.get_logger("gateway.audit").bind(by_node=node, life=life, serial=serial, act=act.act)
        match act:
            case NumberAct():
                log.info("remote number", user=act.user, masked=act.number, result=act.result)
            case OperatorAct():
                log.info(
                    "operator",
                    subject=act.subject,
                    user=act.user,
                    node=act.node,
                    result=act.result,
                    http_status=act.status,
                    suppressed=act.suppressed or None,
                    act_id=act.act_id,
                )
            case OrderAct():
                log.info(
                    "operator_order",
                    act_id=act.act_id,
                    asked_node=act.asked_node,
                    user=act.user,
                    result=act.result,
                )

    return log_act


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
