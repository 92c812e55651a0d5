"""What do nodes know of people who are not there, as Redis has it?"""

from __future__ import annotations

import math
from typing import Final

from gateway.bus.line import Line
from gateway.bus.names import Names
from gateway.bus.scripts import Script
from gateway.bus.wire import bus_down
from gateway.domain.errors import EndReason

SHELF: Final = Script("shelf.lua")


class RedisShelf:
    """See :class:`gateway.runtime.ports.Shelf`.

    Args:
        line: To Redis, for commands.
        names: What things are called there.
    """

    def __init__(self, line: Line, names: Names) -> None:
        self._line = line
        self._names = names

    async def deny(self, handle: str, reason: EndReason, ttl_s: float) -> None:
        """See :meth:`gateway.runtime.ports.Shelf.deny`."""
        await self._line.answer("SET", self._names.denied(handle), reason.value, "PX", _ms(ttl_s))

    async def denied(self, handle: str) -> EndReason | None:
        """See :meth:`gateway.runtime.ports.Shelf.denied`."""
        match await self._line.answer("GET", self._names.denied(handle)):
            case None:
                return None
            case bytes(text):
                return _REASONS.get(text, EndReason.UNKNOWN)
        raise bus_down("it answered something else")

    async def count(self, name: str, ttl_s: float) -> int:
        """See :meth:`gateway.runtime.ports.Shelf.count`."""
        match await SHELF.run(self._line, (self._names.throttled(name),), _ms(ttl_s)):
            case int(count):
                return count
        raise bus_down("it answered something else")

    async def counted(self, name: str) -> int:
        """See :meth:`gateway.runtime.ports.Shelf.counted`."""
        match await self._line.answer("GET", self._names.throttled(name)):
            case None:
                return 0
            case bytes(text) if text.isdigit():
                return int(text)
        raise bus_down("it answered something else")

    async def forget(self, name: str) -> None:
        """See :meth:`gateway.runtime.ports.Shelf.forget`."""
        await self._line.answer("DEL", self._names.throttled(name))


_REASONS: Final = {reason.value.encode(): reason for reason in EndReason}


def _ms(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))
