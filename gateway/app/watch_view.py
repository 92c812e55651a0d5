"""What does a board tell beside the mirror: how far it can be believed, and what happened last?"""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Final, assert_never

from gateway.app.board import BoardHealth
from gateway.client import (
    Clock,
    Connected,
    Ended,
    Event,
    GatewayClient,
    HealthChanged,
    LogOffPending,
    NoticeShown,
    Reconnecting,
    Refused,
    Renewed,
    Value,
)

WORSE: Final = frozenset({"attention", "action"})


class View:
    """One person's board as events and changes come in.

    Args:
        site: Name of the site.
        user: Name of the person.
        application: Which of the two apps.
        clock: Counts down to the next try.
        zone: In which times are told; None: the machine's.
    """

    def __init__(self, site: str, user: str, application: str, clock: Clock, zone: tzinfo | None) -> None:
        self._who = site, user, application
        self._clock = clock
        self._zone = zone
        self._connected = False
        self._told: HealthChanged | None = None
        self._reason: str | None = None
        self._next_try_at: float | None = None
        self._ended: str | None = None
        self._last: str | None = None

    @property
    def health(self) -> BoardHealth:
        """How far the board can be believed now."""
        site, user, application = self._who
        told = self._told
        return BoardHealth(
            site=site,
            user=user,
            application=application,
            connected=self._connected,
            upstream=None if told is None else told.upstream,
            bus=None if told is None else told.bus,
            as_of_ms=None if told is None else told.as_of_ms,
            reconnect_in_s=None if self._next_try_at is None else self._next_try_at - self._clock.now(),
            reason=self._reason,
            ended=self._ended,
            last_event=self._last,
        )

    async def listen(self, client: GatewayClient) -> None:
        """Take in everything that *client* tells until it ends."""
        end = client.mirror.listen(lambda *change: self.changed(*change, at_ms=client.server_time_ms()))
        try:
            async for event in client.events():
                self.heard(event, client.server_time_ms())
        finally:
            end()

    def changed(self, key: str, before: Value | None, after: Value | None, *, at_ms: int | None) -> None:
        """Take in a change of the mirror; a queue that gets worse is an event."""
        if before is None or after is None or not key.startswith("queue:"):
            return
        level = after.get("level")
        if level != before.get("level") and level in WORSE:
            self._note(f"{after.get('name', key)}: {level}", at_ms)

    def heard(self, event: Event, at_ms: int | None) -> None:
        """Take in an event that came at *at_ms*."""
        text = self._apply(event)
        if text is not None:
            self._note(text, at_ms)

    def _apply(self, event: Event) -> str | None:
        """Note what *event* says; returns it in words when it is worth the last line."""
        match event:
            case Connected():
                self._connected, self._next_try_at, self._reason = True, None, None
                return "connected"
            case Reconnecting():
                self._connected, self._reason = False, event.reason
                self._next_try_at = self._clock.now() + event.in_s
                return f"connection lost: {event.reason}"
            case HealthChanged():
                return self._on_health(event)
            case Ended():
                self._connected = False
                self._ended = event.reason if event.by is None else f"{event.reason} by {event.by}"
                return f"session ended: {self._ended}"
            case _:
                return _words(event)

    def _on_health(self, told: HealthChanged) -> str | None:
        before, self._told = self._told, told
        if before is None or (before.upstream, before.bus) == (told.upstream, told.bus):
            return None
        return f"upstream {told.upstream}, bus {told.bus}"

    def _note(self, text: str, at_ms: int | None) -> None:
        if at_ms is not None:
            text = f"{datetime.fromtimestamp(at_ms / 1000, self._zone):%H:%M:%S} {text}"
        self._last = text


def _words(event: NoticeShown | Refused | Renewed | LogOffPending) -> str | None:
    match event:
        case NoticeShown():
            return f"notice: {event.notice.title}"
        case Refused():
            return f"refused: {event.error.message}"
        case LogOffPending():
            return "log-off is not confirmed yet"
        case Renewed():
            return None
        case _:
            assert_never(event)
