"""What sort of server is the Redis of a bus, does it take writes, and does it keep what it is told?

One connection, opened as all are, and gone again. What the server's ACL does not let this user ask is
left unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from gateway.bus.address import Address, Place
from gateway.bus.cable import Reply, Word, code
from gateway.bus.door import Door, Unreachable
from gateway.bus.names import TRIAL_WRITE
from gateway.runtime.ports import Clock

ENGINES: Final = {"redis": "Redis", "valkey": "Valkey"}
OLDEST: Final = {"Redis": (7, 2), "Valkey": (8, 0)}
"""From which version on a server does what the gateway needs."""

_QUESTIONS: Final[tuple[tuple[Word, ...], ...]] = (
    ("HELLO",),
    ("TIME",),
    ("INFO", "persistence"),
    ("CONFIG", "GET", "save"),
    ("CONFIG", "GET", "appendonly"),
    ("CONFIG", "GET", "maxmemory-policy"),
    TRIAL_WRITE,
)


class Survey(NamedTuple):
    """What a server said of itself; None where it does not tell this user."""

    place: Place
    engine: str | None
    version: tuple[int, ...]
    persists: bool | None
    """Whether it writes what it holds to a disk."""
    evicts: bool | None
    """Whether it forgets what it holds when it is full, instead of refusing more."""
    clock_offset_s: float | None
    """How far its wall clock is ahead of this machine's."""
    write_refusal: str | None = None
    """With what word it refuses writes; None: it takes them."""

    @property
    def is_too_old(self) -> bool:
        """Whether it is known to be older than :data:`OLDEST`."""
        return self.engine is not None and self.version < OLDEST.get(self.engine, ())


async def survey(address: Address, clock: Clock) -> Survey:
    """Ask the server at *address* what it is; bounded in time.

    Raises:
        Unreachable: There is no connection; says why.
    """
    try:
        door = Door(address, clock, "oscc-gateway-survey")
    except OSError as error:
        raise Unreachable(f"the file of trusted certificates cannot be read: {error.strerror}") from None
    asked_ms = clock.wall_ms()
    cable, place, replies = await door.open(_QUESTIONS)
    await cable.end()
    here_ms = (asked_ms + clock.wall_ms()) / 2
    hello, time, info, save, append, policy, written = replies
    greeting = _pairs(hello)
    evicts = _pairs(policy).get(b"maxmemory-policy")
    return Survey(
        place,
        ENGINES.get(_text(greeting.get(b"server"))),
        _version(_text(greeting.get(b"version"))),
        _persists(info, _pairs(save).get(b"save"), _pairs(append).get(b"appendonly")),
        None if evicts is None else evicts != b"noeviction",
        _offset_s(time, here_ms),
        code(written) if isinstance(written, RedisError) else None,
    )


def _persists(info: Reply, save: Reply, append: Reply) -> bool | None:
    told = info if isinstance(info, bytes) else b""
    if b"aof_enabled:1" in told or append == b"yes" or (isinstance(save, bytes) and save != b""):
        return True
    if isinstance(save, bytes) and append == b"no":
        return False
    return None


def _offset_s(time: Reply, here_ms: float) -> float | None:
    match time:
        case [bytes(seconds), bytes(micros)] if seconds.isdigit() and micros.isdigit():
            return int(seconds) + int(micros) / 1e6 - here_ms / 1e3
    return None


def _pairs(reply: Reply) -> dict[Reply, Reply]:
    """Return a flat list of names and values as what it means; nothing for a refusal."""
    words: Sequence[Reply] = reply if isinstance(reply, list) else ()
    return {
        name: value for name, value in zip(words[::2], words[1::2], strict=False) if isinstance(name, bytes)
    }


def _text(value: Reply) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else ""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isascii() and part.isdecimal())
