"""What becomes of a command that another node is to execute?

It is sent on once. Only when the other node has certainly not begun it may it be sent again, to
whoever owns the user then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.core.bus_state import BusState
from gateway.domain.commands import Call, Outcome, Status
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import CallAnswer, CallRequest
from gateway.runtime.cluster_transport import NotHeardError
from gateway.runtime.role import not_begun, patience_s
from gateway.runtime.world import World


class RemoteCommands:
    """One user's commands on their way to his owner.

    Invariant: every command that was sent has one outcome, by its deadline.

    Args:
        user: Whose.
        world: The outside.
        moved: Told that the owner is another one by now.
    """

    def __init__(self, user: UserId, world: World, moved: Callable[[], None]) -> None:
        self._user = user
        self._world = world
        self._moved = moved
        self._under_way: set[asyncio.Task[Outcome | None]] = set()

    async def send(self, node: NodeId, call: Call, tasks: asyncio.TaskGroup | None) -> Outcome | None:
        """Have *node* execute a command; None when it has not begun it."""
        if self._world.exchange.machine.state is BusState.DOWN:
            return not_begun(call, ErrorCode.BUS_DOWN, "The node that speaks for the user is not reached.")
        left_s = patience_s(call, self._world.clock.wall_ms())
        if left_s <= 0 or tasks is None:
            return None
        asking = tasks.create_task(self._ask(node, call, left_s))
        self._under_way.add(asking)
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            if asking.cancelled():  # the owner is gone, not who asked
                return _unknown(ErrorCode.OWNER_LOST)
            asking.cancel()
            raise
        finally:
            self._under_way.discard(asking)

    def give_up(self) -> None:
        """Note that the owner is gone: what he did not answer nobody knows."""
        for asking in list(self._under_way):
            asking.cancel()

    async def _ask(self, node: NodeId, call: Call, left_s: float) -> Outcome | None:
        user, here = self._user, self._world.node
        left_ms = call.deadline_ms - self._world.clock.wall_ms()
        try:
            answer = await self._world.exchange.ask(
                node, lambda number: CallRequest(user, here, number, call, left_ms), left_s
            )
        except NotHeardError:
            return None
        except (TimeoutError, GatewayError):
            return _unknown(ErrorCode.UPSTREAM_TIMEOUT)
        if not isinstance(answer, CallAnswer):
            return _unknown(ErrorCode.UPSTREAM_TIMEOUT)
        if answer.outcome is None:
            self._moved()
        return answer.outcome


def _unknown(code: ErrorCode) -> Outcome:
    message = "It may have been executed: look, then ask again with a new key."
    return Outcome(Status.UNKNOWN, GatewayError(code, message))
