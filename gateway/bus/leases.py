"""Who owns a user, as Redis has it?

Each question is one run of ``lease.lua``. Questions asked in one turn of the loop leave in one pipeline,
of at most so many as the line's window has; so nothing has to be gathered or spread here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateway.bus.cable import Reply
from gateway.bus.line import Line
from gateway.bus.names import Names
from gateway.bus.scripts import Script
from gateway.bus.wire import bus_down
from gateway.core.lease import TTL_S
from gateway.domain.model import NodeId, UserId
from gateway.runtime.ports import Clock, Grant

FLOOR_TTL_S: Final = 30 * 24 * 3600.0
TOKEN_MAX: Final = 2**53
"""Tokens are compared as doubles in Redis; microseconds since 1970 stay below until the year 2255."""
LEASE: Final = Script("lease.lua")


class RedisLeases:
    """See :class:`gateway.runtime.ports.Leases`.

    Args:
        line: To Redis, for scripts.
        names: What things are called there.
        clock: The only time.
        ttl_s: How long a lease lasts that is not renewed.
        renewed: Told how many seconds each renewal took that was answered.
    """

    def __init__(
        self,
        line: Line,
        names: Names,
        clock: Clock,
        *,
        ttl_s: float = TTL_S,
        renewed: Callable[[float], None] | None = None,
    ) -> None:
        self.clock_offset_s: float | None = None
        """How far Redis' wall clock is ahead of this node's, as of the last answer; None before any."""
        self._line = line
        self._names = names
        self._clock = clock
        self._lives_ms = (round(ttl_s * 1000), round(FLOOR_TTL_S * 1000))
        self._renewed = renewed

    async def acquire(
        self, user: UserId, node: NodeId, holder: str, *, floor: int, expected: int | None = None
    ) -> Grant:
        """See :meth:`gateway.runtime.ports.Leases.acquire`."""
        match await self._ask("acquire", user, node, holder, 0, floor, "" if expected is None else expected):
            case [_, _, bytes(owner), bytes(held_by), bytes(token)] if _is_token(token):
                return _grant(owner, held_by, token)
        raise bus_down("it answered something else")

    async def renew(self, user: UserId, node: NodeId, holder: str, token: int) -> bool:
        """See :meth:`gateway.runtime.ports.Leases.renew`."""
        asked_at = self._clock.now()
        answer = await self._ask("renew", user, node, holder, token)
        if self._renewed is not None:
            self._renewed(self._clock.now() - asked_at)
        return answer[-1] == 1

    async def release(self, user: UserId, holder: str, token: int) -> None:
        """See :meth:`gateway.runtime.ports.Leases.release`."""
        await self._ask("release", user, "", holder, token)

    async def read(self, user: UserId) -> Grant | None:
        """See :meth:`gateway.runtime.ports.Leases.read`."""
        match await self._line.answer("HMGET", self._names.user(user).own, "node", "holder", "token"):
            case [bytes(node), bytes(holder), bytes(token)] if _is_token(token):
                return _grant(node, holder, token)
        return None

    async def _ask(
        self, verb: str, user: UserId, node: str, holder: str, token: int, *more: int | str
    ) -> Sequence[Reply]:
        names = self._names.user(user)
        asked_ms = self._clock.wall_ms()
        answer = await LEASE.run(
            self._line, (names.own, names.tok), verb, node, holder, token, *self._lives_ms, *more
        )
        match answer:
            case [bytes(seconds), bytes(micros), *_]:
                # read there at some moment between these two; in the middle, as far as we can tell
                here_ms = (asked_ms + self._clock.wall_ms()) / 2
                self.clock_offset_s = int(seconds) + int(micros) / 1e6 - here_ms / 1e3
                return answer
        raise bus_down("it answered something else")


def _is_token(text: bytes) -> bool:
    """Tell whether *text* is a token that somebody could have been granted."""
    return len(text) <= len(str(TOKEN_MAX)) and text.isdigit() and int(text) <= TOKEN_MAX


def _grant(node: bytes, holder: bytes, token: bytes) -> Grant:
    return Grant(NodeId(node.decode(errors="replace")), holder.decode(errors="replace"), int(token))
