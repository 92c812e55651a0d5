"""Events for applications, besides the changes of the mirror."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from gateway.protocol.frames import BusHealth, ErrorFrame, Health, NoticeFrame

KEPT: Final = 64
"""Events that wait for one reader; a reader that lags further behind loses the oldest."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The mirror is in sync. *resumed*: only what was missing came."""

    resumed: bool


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection is gone for *reason*; the next try is in *in_s*."""

    in_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event: no connection will follow. *by* is who ended the session, when that is known."""

    code: int
    """A close code; its range shows the verdict (:func:`gateway.domain.errors.verdict`)."""
    reason: str
    by: str | None


@dataclass(frozen=True, slots=True)
class HealthChanged:
    """How current the data is, whenever a ping has news.

    *as_of_ms* is None before the first snapshot; gateway clock.
    """

    upstream: Health
    bus: BusHealth
    as_of_ms: int | None


@dataclass(frozen=True, slots=True)
class NoticeShown:
    """A message for the user; when it must be acknowledged, ask the user and call the client."""

    notice: NoticeFrame


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway did not serve a frame that no call waits for."""

    error: ErrorFrame


@dataclass(frozen=True, slots=True)
class Renewed:
    """The session has a new token: a program that stores tokens stores ``client.session`` again."""

    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class LogOffPending:
    """Log-off is not confirmed: until *routed_until_ms* calls may still be routed to the remote number.

    None when no gateway answered or none knows.
    """

    routed_until_ms: int | None


Event = Connected | Reconnecting | Ended | HealthChanged | NoticeShown | Refused | Renewed | LogOffPending


class EventStream:
    """Events for any number of readers.

    Invariant: a reader gets the events in order from its first step on, or the newest
    :data:`KEPT` of them; it ends when the stream is closed and it has read all events before that.
    """

    __slots__ = ("_closed", "_readers")

    def __init__(self) -> None:
        self._readers: list[tuple[deque[Event], asyncio.Event]] = []
        self._closed = False

    def tell(self, event: Event) -> None:
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
