"""Leases, records of nodes and values shared between nodes, in Redis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from gateway.bus.connect import Reply
from gateway.bus.keys import LOG_OFFS, NODES, UNEXPECTED, KeyNames, bus_down
from gateway.bus.redis import RedisClient, Script
from gateway.bus.sealing import DropReason, Seals
from gateway.core.lease import TTL_S
from gateway.domain.errors import EndReason
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import NodeRecord
from gateway.runtime.ports import LOG_OFFS_MAX, NODE_TTL_S, Clock, Grant, KeptLogOff

LEASE: Final = Script("lease.lua")
REGISTRY: Final = Script("registry.lua")
COUNTER: Final = Script("counter.lua")
LOG_OFF: Final = Script("log_off.lua")
FLOOR_TTL_S: Final = 30 * 24 * 3600.0
TOKEN_MAX: Final = 2**53
"""Tokens are compared as doubles in Redis; microseconds since 1970 stay below until the year 2255."""
TRIES: Final = 5
"""How often a counter is tried that other nodes change at the same time; then this one is not counted."""
SKEW_MS: Final = 60_000
"""How far the clocks of nodes may differ before a counter is taken for an old one."""
COUNT_MAX: Final = 2**53
_SCANNED: Final = 2_000
"""Keys that one step of the scan looks at: each user has two of them beside the nodes'."""
_READ_AT_ONCE: Final = 500
"""Log-offs read by one command."""
_REASONS: Final = {reason.value.encode(): reason for reason in EndReason}


class RedisLeases:
    """See :class:`gateway.runtime.ports.Leases`.

    Args:
        client: Runs the script. What is asked in one turn of the loop leaves in one batch of its window.
        names: Names keys.
        clock: The only time.
        ttl_s: How long a lease lasts that is not renewed.
        renewed: Called with the seconds that each answered renewal took.
    """

    def __init__(
        self,
        client: RedisClient,
        names: KeyNames,
        clock: Clock,
        *,
        ttl_s: float = TTL_S,
        renewed: Callable[[float], None] | None = None,
    ) -> None:
        self.clock_offset_s: float | None = None
        """How far the wall clock of Redis is ahead of this node's, at the last reply; None before any."""
        self._client = client
        self._names = names
        self._clock = clock
        self._ttls_ms = (round(ttl_s * 1000), round(FLOOR_TTL_S * 1000))
        self._renewed = renewed

    async def acquire(
        self, user: UserId, node: NodeId, holder: str, *, floor: int, expected: int | None = None
    ) -> Grant:
        """See :meth:`gateway.runtime.ports.Leases.acquire`."""
        match await self._ask("acquire", user, node, holder, 0, floor, "" if expected is None else expected):
            case [_, _, bytes(owner), bytes(held_by), bytes(token)] if _is_token(token):
                return _grant(owner, held_by, token)
        raise bus_down(UNEXPECTED)

    async def renew(self, user: UserId, node: NodeId, holder: str, token: int) -> bool:
        """See :meth:`gateway.runtime.ports.Leases.renew`."""
        asked_at = self._clock.now()
        answer = await self._ask("renew", user, node, holder, token)
        if self._renewed is not None:
            self._renewed(self._clock.now() - asked_at)
        return answer[-1] == 1

    async def renew_many(self, node: NodeId, holder: str, held: Sequence[tuple[UserId, int]]) -> list[bool]:
        """See :meth:`gateway.runtime.ports.Leases.renew_many`."""
        names = [self._names.user(user) for user, _ in held]
        keys = tuple(key for name in names for key in (name.own, name.tok))
        tokens = [token for _, token in held]
        asked_at = self._clock.now()
        answer = await self._run(keys, "renew", node, holder, tokens[0], *self._ttls_ms, *tokens[1:])
        if len(answer) != 2 + len(held):
            raise bus_down(UNEXPECTED)
        if self._renewed is not None:
            self._renewed(self._clock.now() - asked_at)
        return [each == 1 for each in answer[2:]]

    async def release(self, user: UserId, holder: str, token: int) -> None:
        """See :meth:`gateway.runtime.ports.Leases.release`."""
        await self._ask("release", user, "", holder, token)

    async def read(self, user: UserId) -> Grant | None:
        """See :meth:`gateway.runtime.ports.Leases.read`."""
        match await self._client.answer("HMGET", self._names.user(user).own, "node", "holder", "token"):
            case [bytes(node), bytes(holder), bytes(token)] if _is_token(token):
                return _grant(node, holder, token)
        return None

    async def _ask(
        self, verb: str, user: UserId, node: str, holder: str, token: int, *more: int | str
    ) -> Sequence[Reply]:
        names = self._names.user(user)
        return await self._run((names.own, names.tok), verb, node, holder, token, *self._ttls_ms, *more)

    async def _run(self, keys: tuple[bytes, ...], *arguments: int | str) -> Sequence[Reply]:
        asked_ms = self._clock.wall_ms()
        answer = await LEASE.run(self._client, keys, *arguments)
        match answer:
            case [bytes(seconds), bytes(micros), *_]:
                # read at some moment between these two: the middle is the best estimate
                here_ms = (asked_ms + self._clock.wall_ms()) / 2
                self.clock_offset_s = int(seconds) + int(micros) / 1e6 - here_ms / 1e3
                return answer
        raise bus_down(UNEXPECTED)


def _is_token(text: bytes) -> bool:
    """Return whether *text* is a token that can have been granted."""
    return len(text) <= len(str(TOKEN_MAX)) and text.isdigit() and int(text) <= TOKEN_MAX


def _grant(node: bytes, holder: bytes, token: bytes) -> Grant:
    return Grant(NodeId(node.decode(errors="replace")), holder.decode(errors="replace"), int(token))


class RedisNodeRegistry:
    """See :class:`gateway.runtime.ports.NodeRegistry`.

    Args:
        client: Sends commands.
        names: Names keys.
        ttl_s: How long a record lasts that is not renewed.
    """

    def __init__(self, client: RedisClient, names: KeyNames, *, ttl_s: float = NODE_TTL_S) -> None:
        self._client = client
        self._names = names
        self._ttl_ms = round(ttl_s * 1000)

    async def announce(self, record: NodeRecord) -> None:
        """See :meth:`gateway.runtime.ports.NodeRegistry.announce`."""
        fields = [word for name, value in record._asdict().items() for word in (name, _field(value))]
        await REGISTRY.run(self._client, (self._names.node(record.holder),), self._ttl_ms, *fields)

    async def leave(self, holder: str) -> None:
        """See :meth:`gateway.runtime.ports.NodeRegistry.leave`."""
        await self._client.answer("DEL", self._names.node(holder))

    async def nodes(self) -> tuple[NodeRecord, ...]:
        """See :meth:`gateway.runtime.ports.NodeRegistry.nodes`.

        What is no record of a node, or that of an incompatible version, is left out.
        """
        answers = await self._client.answers([("HGETALL", key) for key in await self._keys()])
        found = [_record(answer) for answer in answers]
        return tuple(sorted(record for record in found if record is not None))

    async def _keys(self) -> set[bytes]:
        keys: set[bytes] = set()
        cursor = b"0"
        while True:
            match await self._client.answer("SCAN", cursor, "MATCH", NODES, "COUNT", _SCANNED):
                case [bytes(cursor), list(found)]:
                    keys.update(found)
                case _:
                    raise bus_down(UNEXPECTED)
            if cursor == b"0":
                return keys


def _field(value: str | float) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _record(reply: Reply) -> NodeRecord | None:
    if not isinstance(reply, list):
        return None
    try:
        texts = [word.decode() for word in reply if isinstance(word, bytes)]
        fields: Mapping[str, str] = dict(zip(texts[::2], texts[1::2], strict=True))
        return msgspec.convert([fields[name] for name in NodeRecord._fields], NodeRecord, strict=False)
    except (UnicodeDecodeError, KeyError, ValueError):
        return None


class _Counter(NamedTuple):
    """A sealed counter. *until_ms*: the wall clock at which its first count expires."""

    failed: int
    until_ms: int


_COUNTER: Final = msgspec.msgpack.Decoder(_Counter)
_LOG_OFF: Final = msgspec.msgpack.Decoder(KeptLogOff)


class RedisStore:
    """See :class:`gateway.runtime.ports.SharedStore`.

    Invariant: a value that no node of this cluster sealed for that very key counts as missing.

    Args:
        client: Sends commands.
        names: Names keys.
        seals: Seals and opens values.
        clock: Dates counters.
    """

    def __init__(self, client: RedisClient, names: KeyNames, seals: Seals, clock: Clock) -> None:
        self._client = client
        self._names = names
        self._seals = seals
        self._clock = clock

    outlives_node: Final = True

    def pseudonym(self, text: str) -> str:
        """See :meth:`gateway.runtime.ports.SharedStore.pseudonym`."""
        return self._names.pseudonym(text)

    async def deny(self, handle: str, reason: EndReason, ttl_s: float) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.deny`."""
        await self._deny(self._names.denied(handle), reason, ttl_s)

    async def shorten_denial(self, pseudonym: str, ttl_s: float) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.shorten_denial`."""
        await self._deny(self._names.denied_by(pseudonym), EndReason.UNKNOWN, ttl_s)

    async def _deny(self, key: bytes, reason: EndReason, ttl_s: float) -> None:
        sealed = self._seals.seal_value(key, reason.value.encode())
        await self._client.answer("SET", key, sealed, "PX", _ms(ttl_s))

    async def denied(self, handle: str) -> EndReason | None:
        """See :meth:`gateway.runtime.ports.SharedStore.denied`."""
        key = self._names.denied(handle)
        sealed = await self._get(key)
        text = None if sealed is None else self._seals.open_value(key, sealed)
        return None if text is None else _REASONS.get(text, EndReason.UNKNOWN)

    async def count(self, name: str, ttl_s: float) -> int:
        """See :meth:`gateway.runtime.ports.SharedStore.count`."""
        key, count = self._names.throttled(name), 0
        for _ in range(TRIES):
            sealed = await self._get(key)
            known = None if sealed is None else self._counter(key, sealed)
            until_ms = self._clock.wall_ms() + _ms(ttl_s) if known is None else known.until_ms
            count = 1 if known is None else min(known.failed + 1, COUNT_MAX)
            new = self._seals.seal_value(key, msgspec.msgpack.encode(_Counter(count, until_ms)))
            ttl_ms = _ms(ttl_s) if known is None else 0
            match await COUNTER.run(self._client, (key,), sealed or b"", new, ttl_ms):
                case 1:
                    return count
                case 0:
                    continue
            raise bus_down(UNEXPECTED)
        return count

    async def counted(self, name: str) -> int:
        """See :meth:`gateway.runtime.ports.SharedStore.counted`."""
        key = self._names.throttled(name)
        sealed = await self._get(key)
        known = None if sealed is None else self._counter(key, sealed)
        return 0 if known is None else known.failed

    async def forget(self, name: str) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.forget`."""
        await self._client.answer("DEL", self._names.throttled(name))

    async def keep_log_off(self, kept: KeptLogOff, ttl_s: float) -> bool:
        """See :meth:`gateway.runtime.ports.SharedStore.keep_log_off`."""
        member, key = self._names.log_off(kept.ticket.handle)
        sealed = self._seals.seal_value(key, msgspec.msgpack.encode(kept))
        match await LOG_OFF.run(self._client, (LOG_OFFS, key), member, sealed, _ms(ttl_s), LOG_OFFS_MAX):
            case 0 | 1 as is_kept:
                return bool(is_kept)
        raise bus_down(UNEXPECTED)

    async def log_offs(self) -> tuple[KeptLogOff, ...]:
        """See :meth:`gateway.runtime.ports.SharedStore.log_offs`."""
        members = await self._client.answer("ZRANGE", LOG_OFFS, 0, LOG_OFFS_MAX - 1)
        if not isinstance(members, list):
            raise bus_down(UNEXPECTED)
        keys = [self._names.listed_log_off(member) for member in members if isinstance(member, bytes)]
        found: list[KeptLogOff] = []
        for start in range(0, len(keys), _READ_AT_ONCE):
            asked = keys[start : start + _READ_AT_ONCE]
            values = await self._client.answer("MGET", *asked)
            if not isinstance(values, list) or len(values) != len(asked):
                raise bus_down(UNEXPECTED)
            for key, sealed in zip(asked, values, strict=True):
                kept = self._log_off(key, sealed) if isinstance(sealed, bytes) else None
                found += [] if kept is None else [kept]
        return tuple(found)

    async def drop_log_off(self, handle: str) -> None:
        """See :meth:`gateway.runtime.ports.SharedStore.drop_log_off`."""
        member, key = self._names.log_off(handle)
        await self._client.answers([("DEL", key), ("ZREM", LOG_OFFS, member)])

    def _log_off(self, key: bytes, sealed: bytes) -> KeptLogOff | None:
        plain = self._seals.open_value(key, sealed)
        if plain is None:
            return None
        try:
            return _LOG_OFF.decode(plain)
        except msgspec.MsgspecError:
            self._seals.drop(DropReason.UNREADABLE)
            return None

    async def _get(self, key: bytes) -> bytes | None:
        match await self._client.answer("GET", key):
            case None:
                return None
            case bytes(sealed):
                return sealed
        raise bus_down(UNEXPECTED)

    def _counter(self, key: bytes, sealed: bytes) -> _Counter | None:
        """Return the sealed counter; None: it is out of date, or not of this cluster."""
        plain = self._seals.open_value(key, sealed)
        if plain is None:
            return None
        try:
            known = _COUNTER.decode(plain)
        except msgspec.MsgspecError:
            self._seals.drop(DropReason.UNREADABLE)
            return None
        return known if self._clock.wall_ms() < known.until_ms + SKEW_MS else None


def _ms(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))
