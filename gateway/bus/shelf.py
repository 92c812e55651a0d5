"""What nodes know of people who are not there, as Redis has it: sealed, so that nobody else can write it."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import msgspec

from gateway.bus.line import Line
from gateway.bus.names import LOG_OFFS, Names
from gateway.bus.scripts import Script
from gateway.bus.sealing import Seals, Unopened
from gateway.bus.wire import bus_down
from gateway.domain.errors import EndReason
from gateway.runtime.ports import LOG_OFFS_MAX, Clock, KeptLogOff

SHELF: Final = Script("shelf.lua")
LOG_OFF: Final = Script("log_off.lua")
TRIES: Final = 5
"""How often a counter is tried that other nodes change at the same time; then this one is not counted."""
SKEW_MS: Final = 60_000
"""How far clocks of nodes may differ until a counter is taken for one of the past."""
COUNT_MAX: Final = 2**53
_READ_AT_ONCE: Final = 500
"""Log-offs that one question asks for."""


class _Counter(NamedTuple):
    """What is sealed of a counter. *until_ms*: wall clock of its first; an older value is of the past."""

    failed: int
    until_ms: int


_READER: Final = msgspec.msgpack.Decoder(_Counter)
_LOG_OFF_READER: Final = msgspec.msgpack.Decoder(KeptLogOff)


class RedisShelf:
    """See :class:`gateway.runtime.ports.Shelf`.

    Invariant: what was not sealed by a node of this cluster for that very key is as if it were not there.

    Args:
        line: To Redis, for commands.
        names: What things are called there.
        seals: Seal and open what stands there.
        clock: Tells when a counter was begun.
    """

    def __init__(self, line: Line, names: Names, seals: Seals, clock: Clock) -> None:
        self._line = line
        self._names = names
        self._seals = seals
        self._clock = clock

    outlives_node: Final = True

    async def deny(self, handle: str, reason: EndReason, ttl_s: float) -> None:
        """See :meth:`gateway.runtime.ports.Shelf.deny`."""
        key = self._names.denied(handle)
        sealed = self._seals.seal_value(key, reason.value.encode())
        await self._line.answer("SET", key, sealed, "PX", _ms(ttl_s))

    async def denied(self, handle: str) -> EndReason | None:
        """See :meth:`gateway.runtime.ports.Shelf.denied`."""
        key = self._names.denied(handle)
        sealed = await self._get(key)
        text = None if sealed is None else self._seals.open_value(key, sealed)
        return None if text is None else _REASONS.get(text, EndReason.UNKNOWN)

    async def count(self, name: str, ttl_s: float) -> int:
        """See :meth:`gateway.runtime.ports.Shelf.count`."""
        key, count = self._names.throttled(name), 0
        for _ in range(TRIES):
            sealed = await self._get(key)
            known = None if sealed is None else self._opened(key, sealed)
            until_ms = self._clock.wall_ms() + _ms(ttl_s) if known is None else known.until_ms
            count = 1 if known is None else min(known.failed + 1, COUNT_MAX)
            new = self._seals.seal_value(key, msgspec.msgpack.encode(_Counter(count, until_ms)))
            lives_ms = _ms(ttl_s) if known is None else 0
            match await SHELF.run(self._line, (key,), sealed or b"", new, lives_ms):
                case 1:
                    return count
                case 0:
                    continue
            raise bus_down("it answered something else")
        return count

    async def counted(self, name: str) -> int:
        """See :meth:`gateway.runtime.ports.Shelf.counted`."""
        key = self._names.throttled(name)
        sealed = await self._get(key)
        known = None if sealed is None else self._opened(key, sealed)
        return 0 if known is None else known.failed

    async def forget(self, name: str) -> None:
        """See :meth:`gateway.runtime.ports.Shelf.forget`."""
        await self._line.answer("DEL", self._names.throttled(name))

    async def keep_log_off(self, kept: KeptLogOff, ttl_s: float) -> bool:
        """See :meth:`gateway.runtime.ports.Shelf.keep_log_off`."""
        member, key = self._names.log_off(kept.ticket.handle)
        sealed = self._seals.seal_value(key, msgspec.msgpack.encode(kept))
        match await LOG_OFF.run(self._line, (LOG_OFFS, key), member, sealed, _ms(ttl_s), LOG_OFFS_MAX):
            case 0 | 1 as is_kept:
                return bool(is_kept)
        raise bus_down("it answered something else")

    async def log_offs(self) -> tuple[KeptLogOff, ...]:
        """See :meth:`gateway.runtime.ports.Shelf.log_offs`."""
        members = await self._line.answer("ZRANGE", LOG_OFFS, 0, LOG_OFFS_MAX - 1)
        if not isinstance(members, list):
            raise bus_down("it answered something else")
        keys = [self._names.listed_log_off(member) for member in members if isinstance(member, bytes)]
        found: list[KeptLogOff] = []
        for start in range(0, len(keys), _READ_AT_ONCE):
            asked = keys[start : start + _READ_AT_ONCE]
            values = await self._line.answer("MGET", *asked)
            if not isinstance(values, list) or len(values) != len(asked):
                raise bus_down("it answered something else")
            for key, sealed in zip(asked, values, strict=True):
                kept = self._log_off(key, sealed) if isinstance(sealed, bytes) else None
                found += [] if kept is None else [kept]
        return tuple(found)

    async def drop_log_off(self, handle: str) -> None:
        """See :meth:`gateway.runtime.ports.Shelf.drop_log_off`."""
        member, key = self._names.log_off(handle)
        await self._line.answers([("DEL", key), ("ZREM", LOG_OFFS, member)])

    def _log_off(self, key: bytes, sealed: bytes) -> KeptLogOff | None:
        plain = self._seals.open_value(key, sealed)
        if plain is None:
            return None
        try:
            return _LOG_OFF_READER.decode(plain)
        except msgspec.MsgspecError:
            self._seals.drop(Unopened.UNREADABLE)
            return None

    async def _get(self, key: bytes) -> bytes | None:
        match await self._line.answer("GET", key):
            case None:
                return None
            case bytes(sealed):
                return sealed
        raise bus_down("it answered something else")

    def _opened(self, key: bytes, sealed: bytes) -> _Counter | None:
        """Return the counter that stands there; None: it is of the past, or not of this cluster."""
        plain = self._seals.open_value(key, sealed)
        if plain is None:
            return None
        try:
            known = _READER.decode(plain)
        except msgspec.MsgspecError:
            self._seals.drop(Unopened.UNREADABLE)
            return None
        return known if self._clock.wall_ms() < known.until_ms + SKEW_MS else None


_REASONS: Final = {reason.value.encode(): reason for reason in EndReason}


def _ms(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))
