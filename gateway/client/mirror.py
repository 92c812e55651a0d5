"""Mirror: the client's copy of the contact centre, and the events that are not part of it."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gateway.domain.model import Kind
from gateway.protocol.frames import BusHealth, Changes, ErrorFrame, Health, NoticeFrame, Ping, StreamPosition

Value = Mapping[str, object]
"""A resource with the field names of the protocol's page. A missing field is null."""
Listener = Callable[[str, Value | None, Value | None], None]
"""Called with a key, its value before and its value after; None where there is none."""

PARTS_MAX: Final = 1024
"""Parts of one answer that are held back; more (256 MiB) can only be a fault of the gateway."""


class Took(enum.Enum):
    """Result of a frame."""

    APPLIED = enum.auto()
    HELD_BACK = enum.auto()
    """A part of an answer whose last part is missing: it must not be shown yet."""
    GAP = enum.auto()
    """It does not continue the mirror: nothing changed; request a reset."""


class ClientMirror(Mapping[str, Value]):
    """Keys and values from the gateway; in memory only.

    Invariants: values and position belong together, before and after every frame. An answer of several parts
    is applied as a whole or not at all. After a gap nothing changes until a reset. Values are read-only.
    Listeners are called after a whole frame was processed, and must not raise.
    """

    __slots__ = ("_listeners", "_lost", "_parts", "_position", "_values")

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self._position: StreamPosition | None = None
        self._parts: list[Changes] = []
        self._lost = False
        self._listeners: list[Listener] = []

    # ---- what one reads ----

    def __getitem__(self, key: str) -> Value:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def position(self) -> StreamPosition | None:
        """The position to resume from; None before the first reset."""
        return self._position

    @property
    def lost(self) -> bool:
        """Whether a gap was found and its reset has not arrived."""
        return self._lost

    def of(self, kind: Kind) -> Iterator[tuple[str, Value]]:
        """Return id and value of each resource of *kind*."""
        prefix = f"{kind}:"
        return ((key[len(prefix) :], value) for key, value in self._values.items() if key.startswith(prefix))

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call *listener* with every change from now on; return a function that ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # ---- inputs ----

    def reopen(self) -> None:
        """Record that a new connection begins: incomplete parts of an answer are dropped."""
        self._parts.clear()
        self._lost = False

    def clear(self) -> None:
        """Remove all values: the session is over."""
        self.reopen()
        self._position = None
        self._commit(dict.fromkeys(self._values))

    def receive(self, frame: Changes | Ping) -> Took:
        """Process a frame of the gateway."""
        if isinstance(frame, Ping):
            return self._ping(frame)
        if not self._continues(frame):
            return self._gap()
        self._parts.append(frame)
        if frame.more:
            return Took.HELD_BACK
        return self._apply(self._parts)

    # ---- inner ----

    def _continues(self, frame: Changes) -> bool:
        if frame.reset:
            # parts are never interleaved, so a reset during an incomplete answer begins a new one
            self._parts.clear()
            return frame.stream is not None
        if self._parts:
            first = self._parts[0]
            return frame.after == first.after and frame.stream is None and len(self._parts) < PARTS_MAX
        if self._lost or self._position is None or frame.after != self._position.seq:
            return False
        return frame.stream is not None or frame.upto >= frame.after

    def _ping(self, ping: Ping) -> Took:
        position = self._position
        if position is None or self._lost or self._parts or not position.seq == ping.after <= ping.upto:
            return self._gap()
        self._position = StreamPosition(position.stream, ping.upto)
        return Took.APPLIED

    def _gap(self) -> Took:
        self._parts.clear()
        self._lost = True
        return Took.GAP

    def _apply(self, parts: list[Changes]) -> Took:
        first, last = parts[0], parts[-1]
        news = self._merged(parts)
        if news is None:
            return self._gap()
        if first.reset:
            news |= dict.fromkeys(self._values.keys() - news.keys())
        stream = first.stream
        if stream is None and self._position is not None:
            stream = self._position.stream
        self._position = StreamPosition(stream or "", last.upto)
        self._parts = []
        self._lost = False
        self._commit(news)
        return Took.APPLIED

    def _merged(self, parts: list[Changes]) -> dict[str, Value | None] | None:
        """Return the values of the keys in *parts*; None when a patch has no value to change."""
        held: Mapping[str, Value] = {} if parts[0].reset else self._values
        news: dict[str, Value | None] = {}
        for part in parts:
            for key, value in part.put.items():
                news[key] = _value(value)
            for key, fields in part.patch.items():
                before = news[key] if key in news else held.get(key)
                if before is None:
                    return None
                news[key] = _value({**before, **fields})
            news |= dict.fromkeys(part.gone)
        return news

    def _commit(self, news: Mapping[str, Value | None]) -> None:
        changed: list[tuple[str, Value | None, Value | None]] = []
        for key, after in news.items():
            before = self._values.get(key)
            if after is None:
                self._values.pop(key, None)
            else:
                self._values[key] = after
            if before != after:
                changed.append((key, before, after))
        for listener in tuple(self._listeners):
            for change in changed:
                listener(*change)


def _value(fields: Mapping[str, object]) -> Value:
    return MappingProxyType({name: member for name, member in fields.items() if member is not None})


KEPT: Final = 64
"""Events that wait for one reader; a slower reader loses the oldest."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The mirror is in sync. *resumed*: only missing changes were sent."""

    resumed: bool


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection is gone for *reason*; the next try is in *in_s*."""

    in_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event: no connection will follow. *by*: who ended the session, if it is known."""

    code: int
    """A close code; its range shows the verdict (:func:`gateway.domain.errors.verdict`)."""
    reason: str
    by: str | None


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """The freshness of the data, whenever a ping changes it.

    *as_of_ms* is None before the first snapshot; gateway clock.
    """

    upstream: Health
    bus: BusHealth
    as_of_ms: int | None


@dataclass(frozen=True, slots=True)
class NoticeShown:
    """A message for the user; if it must be acknowledged, ask the user and call the client."""

    notice: NoticeFrame


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway did not serve a frame that no call waits for."""

    error: ErrorFrame


@dataclass(frozen=True, slots=True)
class TokenRenewed:
    """The session has a new token: a program that stores tokens stores ``client.session`` again."""

    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class LogOffDelayed:
    """Log-off is not confirmed: until *routed_until_ms* calls may still be routed to the remote number.

    It is None when no gateway answered, or when the gateway has no such instant.

    *retry_in_s*: the wait before the next request; for another session the gateway's advice, if any.
    """

    routed_until_ms: int | None
    retry_in_s: float | None = None


Event = (
    Connected | Reconnecting | Ended | HealthChanged | NoticeShown | Refused | TokenRenewed | LogOffDelayed
)


class EventStream:
    """Events for any number of readers.

    Invariant: a reader gets the events in order from its first step on, or the newest :data:`KEPT` of them.
    It ends when the stream is closed and all earlier events were read.
    """

    __slots__ = ("_closed", "_readers")

    def __init__(self) -> None:
        self._readers: list[tuple[deque[Event], asyncio.Event]] = []
        self._closed = False

    def publish(self, event: Event) -> None:
        """Give *event* to every reader."""
        for waiting, arrived in self._readers:
            waiting.append(event)
            arrived.set()

    def close(self) -> None:
        """End all readers after the events that they have."""
        self._closed = True
        for _, arrived in self._readers:
            arrived.set()

    def read(self) -> AsyncIterator[Event]:
        """Return the events from now on."""
        reader = (deque[Event](maxlen=KEPT), asyncio.Event())
        self._readers.append(reader)
        return self._drain(reader)

    async def _drain(self, reader: tuple[deque[Event], asyncio.Event]) -> AsyncIterator[Event]:
        waiting, arrived = reader
        try:
            while True:
                while waiting:
                    yield waiting.popleft()
                if self._closed:
                    return
                arrived.clear()
                await arrived.wait()
        finally:
            self._readers.remove(reader)
