"""Observer of both ends of a connection, and its rules.

An independent, naive account of a session's promises, kept beside the session by
``test_session_properties.py``. It knows the protocol's page, not the session's code.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.core.ledger import Health
from gateway.core.session import Close, Effects
from gateway.domain.model import ALWAYS, ME, Scope
from gateway.domain.resources import Resource
from gateway.protocol.frames import Bye, Changes, GatewayFrame, Ping, Result, Welcome
from tests.properties.phone import Phone, on_the_wire

CONTROL_MAX = 64
PING_S = 25.0


def codes(effects: Effects) -> list[int]:
    return [int(effect.code) for effect in effects if isinstance(effect, Close)]


def comes_back(code: int) -> bool:
    """Tell whether the phone, or its next connection, goes on after a close."""
    return code < 4000 or code == 4004 or 4100 <= code < 4300


def visible(scope: Scope, topics: Iterable[str]) -> set[str]:
    """Return the names under which a session with *scope* that follows *topics* sees something."""
    kinds = {
        "agents": {f"agent:{number}" for number in scope.agents},
        "queues": {f"queue:{number}" for number in scope.queues},
        "groups": {f"group:{number}" for number in scope.groups},
        "aggregates": {f"aggregate:{number}" for number in scope.aggregates},
    }
    in_scope = set().union(*kinds.values())
    return set(ALWAYS) | {ME} | set().union(*(kinds.get(topic, {topic} & in_scope) for topic in topics))


class Meter:
    """Counts arriving frames as the page says: 20 a second, 40 at once, 200 dropped."""

    def __init__(self, now: float) -> None:
        self.level, self.at, self.dropped = 40.0, now, 0
        self.sent_at: float | None = None
        self.errors: list[float] = []

    def frame(self, now: float) -> str:
        """Return what becomes of a frame: serve, drop, tell (and drop) or close."""
        self.level, self.at = min(40.0, self.level + 20.0 * (now - self.at)), now
        if self.level >= 1.0:
            self.level -= 1.0
            return "serve"
        self.dropped += 1
        if self.dropped > 200:
            return "close"
        if self.sent_at is not None and now - self.sent_at < 1.0:
            return "drop"
        self.sent_at = now
        return "tell"

    def is_fourth_error(self, now: float) -> bool:
        """Note a bad frame; tell whether it is the fourth within a second."""
        self.errors.append(now)
        return len([at for at in self.errors if now - at < 1.0]) >= 4


class Onlooker:
    """Follows one connection of *phone*, whose mirror outlives it."""

    def __init__(self, phone: Phone, now: float) -> None:
        self.phone = phone
        self.meter = Meter(now)
        self.is_welcome = False
        self.end: Close | None = None
        self.is_over = False
        self.waiting = 0
        """Control frames queued."""
        self.in_flight: list[str] = []
        """Commands that were handed on and are not settled."""
        self.owed: list[str] = []
        """Results that leave with the next frames."""
        self.lost: list[str] = []
        """Results that leave last of all: that nobody knows what became of a command."""
        self.asked_at: float | None = None
        """Since when a ping has no answer."""
        self.pinged_at = now
        self.received: Health | None = None
        self.state_at: float | None = None

    def ran(self, effects: Effects) -> Effects:
        """Check what was asked for: nothing after a close, which there is one of."""
        for effect in effects:
            assert self.end is None, "something was asked for after the close"
            if isinstance(effect, Close):
                self.end = effect
                if not comes_back(effect.code):
                    self._lost()
        return effects

    def _lost(self) -> None:
        """Note that whatever is in flight is answered now, as far as there is room."""
        self.lost = self.in_flight[: CONTROL_MAX - self.waiting]
        self.waiting += len(self.lost)

    def queued(self, effects: Effects, result: str | None = None) -> None:
        """Note that a control frame was to be queued; a 65th closes instead."""
        if self.waiting == CONTROL_MAX:
            assert codes(effects) == [4108]
            return
        assert codes(effects) == []
        self.waiting += 1
        if result is not None:
            self.owed.append(result)

    def took(
        self,
        frames: list[GatewayFrame],
        now: float,
        health: Health,
        allowed: set[str],
        truth: dict[str, Resource],
    ) -> None:
        """Check the frames that leave at *now*, one after the other."""
        if self.is_over:
            assert frames == [], "something left after the end"
            return
        frames = self._without_bye(frames)
        assert self.is_welcome or not frames, "something left before OSCC-E accepted the session"
        assert sum(not isinstance(frame, Changes | Ping) for frame in frames) == self.waiting
        self._check_order(frames, now)
        results = []
        for frame in frames:
            match frame:
                case Changes():
                    assert frame.put.keys() | frame.patch.keys() <= allowed, "outside the scope"
                    self.phone.take(frame)
                case Ping():
                    self.phone.take(frame)
                    self._pinged(frame, now, health)
                case Result(id=frame_id) if frame_id in self.lost:
                    results.append(frame_id)
                    assert frame.outcome.status == "unknown"
                case Result():
                    results.append(frame.id)
                    seen = {key: value for key, value in truth.items() if key in allowed}
                    assert self.phone.shown == on_the_wire(seen), "a result came before its state"
        assert results == self.owed + self.lost, "a result is missing, or there is one too many"
        self._check_health(now, health)
        self.owed, self.waiting = [], 0

    def _without_bye(self, frames: list[GatewayFrame]) -> list[GatewayFrame]:
        if self.end is None:
            assert not any(isinstance(frame, Bye) for frame in frames), "a bye without a close"
            return frames
        self.is_over = True
        if self.end.code < 4000:
            return frames
        *others, last = frames
        assert isinstance(last, Bye)
        assert (last.code, last.reason) == (self.end.code, self.end.reason)
        return others

    def _check_order(self, frames: list[GatewayFrame], now: float) -> None:
        for index, frame in enumerate(frames):
            if isinstance(frame, Welcome):
                assert index == 0
                following = frames[1] if len(frames) > 1 else None
                assert isinstance(following, Changes), "welcome is always followed by changes"
                assert frame.resumed or following.reset
        forced = any(
            isinstance(frame, Welcome | Ping) or (isinstance(frame, Result) and frame.id not in self.lost)
            for frame in frames
        )
        if self.end is not None:
            assert not any(isinstance(frame, Ping) for frame in frames)
            assert forced or not any(isinstance(frame, Changes) for frame in frames), "changes at the end"
        if any(isinstance(frame, Changes) for frame in frames):
            assert forced or self.state_at is None or now - self.state_at >= 0.05, "faster than the pace"
            self.state_at = now

    def _pinged(self, ping: Ping, now: float, health: Health) -> None:
        assert (ping.upstream, ping.bus) == (health.upstream, health.bus)
        assert (ping.as_of_ms is None) is (health.as_of is None)
        if ping.as_of_ms is not None and health.as_of is not None:
            age_ms = ping.server_time_ms - ping.as_of_ms
            assert age_ms >= max(0, round((now - health.as_of) * 1000)), "data is said to be newer than it is"
        self.received, self.pinged_at = health, now
        if self.asked_at is None:
            self.asked_at = now

    def _check_health(self, now: float, health: Health) -> None:
        if self.is_welcome and self.end is None:
            assert self.received is not None
            assert (self.received.upstream, self.received.bus) == (health.upstream, health.bus)
            assert now - self.pinged_at < PING_S * 1.1
