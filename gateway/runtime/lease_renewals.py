"""Renewals of the leases of one node: those that are due at the same time are one request to the store."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, NamedTuple, Protocol

from gateway.domain.errors import GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.runtime.ports import Leases
from gateway.runtime.spawn import log_fault, spawn

RENEWED_AT_ONCE: Final = 200
"""Leases that one request renews: a store works on it in one go, and serves nothing else meanwhile."""
_LOG: Final = logging.getLogger(__name__)


class Renewal(NamedTuple):
    """A lease that is to live longer."""

    user: UserId
    token: int


class Renewer(Protocol):
    """The part of an owner that asked for a renewal."""

    def renewed(self, token: int, is_renewed: bool | None, tasks: asyncio.TaskGroup | None) -> None:
        """Process the answer; None: there was none. What follows from it runs in *tasks*."""
        ...


class LeaseRenewals:
    """The renewals of one node that have not left yet.

    Invariant: each renewal is answered once, if only by None; it leaves in the next turn of the loop.

    Args:
        leases: The store.
        node: This node.
        holder: Its life.
    """

    def __init__(self, leases: Leases, node: NodeId, holder: str) -> None:
        self._leases = leases
        self._node = node
        self._holder = holder
        self._waiting: list[tuple[Renewal, Renewer]] = []
        self._tasks: asyncio.TaskGroup | None = None

    def run_in(self, tasks: asyncio.TaskGroup | None) -> None:
        """Send renewals from now on; None: no longer."""
        self._tasks = tasks

    def add(self, renewal: Renewal, renewer: Renewer) -> None:
        """Have a lease renewed together with all that are added in this turn of the loop."""
        self._waiting.append((renewal, renewer))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), RENEWED_AT_ONCE):
            batch = waiting[start : start + RENEWED_AT_ONCE]
            if not spawn(self._tasks, self._renew(batch)):
                self._answer(batch, [None] * len(batch))

    async def _renew(self, batch: list[tuple[Renewal, Renewer]]) -> None:
        answers: list[bool | None] = [None] * len(batch)
        try:
            renewals = [renewal for renewal, _ in batch]
            answers[:] = await self._leases.renew_many(self._node, self._holder, renewals)
        except GatewayError:
            return
        except Exception as fault:  # noqa: BLE001 - one request's fault must not end the node
            log_fault(_LOG, "leases_not_renewed", fault)
        finally:
            self._answer(batch, answers)

    def _answer(self, batch: list[tuple[Renewal, Renewer]], answers: list[bool | None]) -> None:
        for (renewal, renewer), is_renewed in zip(batch, answers, strict=True):
            try:
                renewer.renewed(renewal.token, is_renewed, self._tasks)
            except Exception as fault:  # noqa: BLE001 - one user's fault must not keep others from their answers
                log_fault(_LOG, "renewal_not_noted", fault)
