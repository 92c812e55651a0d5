"""State machine of one session: hello, resume, serving, pings, end.

All frames to be sent wait in the session's outbox.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeGuard, assert_never

from gateway.core.commands import BUSY, CommandContext, judge
from gateway.core.ledger import Health, Ledger
from gateway.core.outbox import CONTROL_MAX, Outbox, PaceLadder, PingMaker
from gateway.core.rate_limits import FrameVerdict, RateViolations, SessionLimits
from gateway.core.view import View, facts_key, view_of
from gateway.domain.commands import Call, Outcome, Status
from gateway.domain.errors import (
    CloseCode,
    ErrorCode,
    GatewayError,
    advice,
    close_for,
    is_final,
    log_on_window_s,
    tenths,
)
from gateway.domain.model import ALWAYS, DEFAULT_TOPICS, LONG_AGO, Application, StateMachine, Ticket
from gateway.protocol import frames
from gateway.protocol.codec import BadFrame, Codec
from gateway.protocol.envelopes import SessionFacts

FOLLOWS_BURST: Final = 10
"""How often a phone may have its whole view sent again by changes of topics before they are rate limited."""
FOLLOW_KEYS: Final = 500
"""Keys coming into view that count as a whole view: a user who looks from queue to queue is never limited."""


# ---- effects ----


Resumption = Literal["in_sync", "since", "reset", "foreign"]
"""What a phone with a position gets: nothing, the changes since, everything because removals are no longer
stored, or everything because its stream is another one.
"""


@dataclass(frozen=True, slots=True, repr=False)
class AcceptSession:
    """Have the session accepted and its topics subscribed.

    *client* None: it is accepted already, and only the topics change.
    """

    token: str | None
    topics: tuple[str, ...] | None
    client: frames.ClientInfo | None = None
    """The name of the program, which may be too old."""


@dataclass(frozen=True, slots=True)
class Invoke:
    """Have a command executed; the session gets its outcome under *id*."""

    id: str
    call: Call


@dataclass(frozen=True, slots=True)
class Close:
    """Send the remaining frames, then close with *code*. A code of 4000 and above has a `bye` before it."""

    code: int
    reason: str = ""
    by: str | None = None
    window_s: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """Record the result of a phone's position. No action is needed."""

    how: Resumption


@dataclass(frozen=True, slots=True)
class Answered:
    """Record that a phone answered the newest ping after *seconds*. No action is needed."""

    seconds: float


Effect = AcceptSession | Invoke | Close | Resumed | Answered


Effects = tuple[Effect, ...]


_SPREAD: Final = 0.1
_STEPS: Final = 128
"""Number of different intervals within the spread: phones with the same one share it."""
_UNASKED_S: Final = 1.0
"""Minimum time between pings to a phone that sends pongs unasked: answers must not cause further answers."""


class _PingIntervals(NamedTuple):
    """Time between two pings, and for an answer."""

    every_s: float
    pong_s: float


@lru_cache(maxsize=8 * _STEPS)
def _intervals(every_s: float, pong_s: float, step: int) -> _PingIntervals:
    """Return one shared object for connections with equal intervals and spread."""
    return _PingIntervals(every_s * (1 - _SPREAD + 2 * _SPREAD * step / _STEPS), pong_s)


UNREAD_S: Final = 1.0
"""How much longer a phone has for its hello or its answer when the node has not yet read its data."""


class Heartbeat:
    """When pings are sent, and whether the phone answered in time. Any frame counts as an answer.

    Args:
        every_s: Time between pings; each is spread by ± 10 % so that pings of phones do not coincide.
        pong_s: How long after a ping the phone may be silent.
        jitter: In [0, 1), one per connection.
    """

    __slots__ = ("_answered", "_asked_at", "_count", "_intervals", "_is_asked", "_waiting_since", "next_at")

    def __init__(self, now: float, *, every_s: float, pong_s: float, jitter: float) -> None:
        self._intervals = _intervals(every_s, pong_s, round(jitter * _STEPS))
        self._asked_at = now
        """When the newest ping was sent; before the first, when its interval began."""
        self._is_asked = False
        """Whether the phone has requested a ping since."""
        self._waiting_since: float | None = None
        self._count = 0
        self._answered = 0
        self.next_at = self._next_at()
        """When a result of the methods below may change by time alone."""

    def received(self) -> None:
        """Record that a frame arrived."""
        if self._waiting_since is not None:
            self._waiting_since = None
            self.next_at = self._next_at()

    def pong(self, nonce: str | None, now: float) -> float | None:
        """Record that a pong arrived; return the seconds since the newest ping, if it answers that.

        A pong that answers no ping is answered with a ping.

        A phone whose network changed sends such a pong, and gives the connection 3 s to answer.
        """
        number = int(nonce) if nonce is not None and nonce.isascii() and nonce.isdecimal() else 0
        if self._answered < number <= self._count:
            self._answered = number
            return now - self._asked_at if number == self._count else None
        self._is_asked = True
        self.next_at = self._next_at()
        return None

    def due(self, now: float) -> bool:
        """Return whether it is time for a ping."""
        return now >= self._due_at

    def ping(self, now: float) -> str:
        """Record that a ping is sent; return its nonce."""
        self._asked_at, self._is_asked = now, False
        if self._waiting_since is None:
            self._waiting_since = now
        self._count += 1
        self.next_at = self._next_at()
        return str(self._count)

    def unsent(self, now: float) -> None:
        """Record that written data has not been sent yet: the phone's time to answer begins after that."""
        if self._waiting_since is not None:
            self._waiting_since = now
            self.next_at = self._next_at()

    def unread(self, now: float) -> None:
        """Record that the node has not yet read the phone's data, which may contain the answer."""
        if self._waiting_since is not None:
            self._waiting_since = now + UNREAD_S - self._intervals.pong_s
            self.next_at = self._next_at()

    def silent(self, now: float) -> bool:
        """Return whether the phone has not answered in time."""
        return self._waiting_since is not None and now >= self._waiting_since + self._intervals.pong_s

    def _next_at(self) -> float:
        if self._waiting_since is None:
            return self._due_at
        return min(self._due_at, self._waiting_since + self._intervals.pong_s)

    @property
    def _due_at(self) -> float:
        wait_s = self._intervals.every_s
        if self._is_asked:
            wait_s = min(wait_s, _UNASKED_S if self._count else 0.0)
        return self._asked_at + wait_s


class Live:
    """A served session.

    Invariants: every command gets exactly one result, after the state that it caused. The phone's view is
    always within the scope of the newest facts.

    *jitter*, in [0, 1), spreads the pings.
    """

    __slots__ = (
        "_followed_until", "_in_flight", "_limits", "_resync_at", "facts", "heartbeat", "outbox", "sent_bus",
        "sent_clock_ms", "sent_upstream",
    )  # fmt: skip

    def __init__(
        self,
        facts: SessionFacts,
        ledger: Ledger,
        codec: Codec,
        hello: frames.Hello,
        limits: SessionLimits,
        now: float,
        jitter: float,
    ) -> None:
        self.facts = facts
        self._limits = limits
        topics = hello.topics if hello.topics is not None else DEFAULT_TOPICS[facts.application]
        view = view_of(facts.handle, facts.scope, topics, facts.rights)
        pace = PaceLadder(hello.pace_s or 0.0, limits.pace_min_s)
        self.outbox = Outbox(ledger, view, codec, pace, frame_bytes=limits.frame_bytes_out)
        every_s = _ping_s(hello, limits)
        self.heartbeat = Heartbeat(now, every_s=every_s, pong_s=limits.pong_s, jitter=jitter)
        self.sent_upstream: frames.HealthStatus | None = None
        """The health of link and bus in the last ping. When it changes, a ping is due at once."""
        self.sent_bus: frames.BusHealth | None = None
        self.sent_clock_ms = ledger.clock_ms
        """The clock of the values in the last `welcome` or `ping`."""
        self._in_flight: tuple[tuple[str, GatewayError | None], ...] = ()
        """The frame ids of commands without a result. A refused command that is only looked up has its
        refusal beside it. A phone may use one id twice.
        """
        self._resync_at = self._followed_until = LONG_AGO

    def welcome(self, ticket: Ticket, hello: frames.Hello, now: float, wall_ms: int) -> Effects:
        """Queue the `welcome` of *ticket*; the `changes` for *hello* follow."""
        resumed = self.outbox.begin(hello.position)
        facts, limits, outbox = self.facts, self._limits, self.outbox
        welcome = frames.Welcome(
            session=frames.SessionView(ticket.session, ticket.application, facts.expires_at_ms),
            user=frames.UserView(str(ticket.user.key), ticket.display_name),
            rights=facts.rights,
            application=facts.application,
            topics=topics_of(outbox.view),
            resumed=resumed,
            server_time_ms=outbox.ledger.dated_ms(now, wall_ms),
            ping_s=_ping_s(hello, limits),
            pace_s=outbox.pace.every_s,
            limits=limits.frame(),
        )
        return (*self.post(welcome), *self._resumption(hello.position, resumed=resumed))

    # ---- inputs ----

    def pong(self, nonce: str | None, now: float) -> Effects:
        """Process a pong; one that answers no ping is answered with a ping."""
        seconds = self.heartbeat.pong(nonce, now)
        return () if seconds is None else (Answered(seconds),)

    def serve(self, frame: frames.Serviceable, now: float, wall_ms: int) -> Effects:
        """Serve one frame."""
        match frame:
            case frames.Follow():
                return self._follow(frame, now)
            case frames.Pace():
                self.outbox.leave_group()
                self.outbox.pace.request(frame.every_s)
                return ()
            case frames.Resync():
                return self._resync(now)
            case frames.CommandFrame():
                return self._command(frame, now, wall_ms)

    def facts_changed(self, facts: SessionFacts) -> Effects:
        """Process new facts of the session: rights, scope, life and end."""
        if facts.end is not None:
            remote = facts.application is Application.REMOTE_ASSISTANT
            code = close_for(facts.end, remote_assistant=remote)
            return (Close(code, facts.end, facts.end_by, log_on_window_s(code)),)
        if (facts.scope, facts.rights) != (self.facts.scope, self.facts.rights):
            topics = self.outbox.view.topics
            self.outbox.change_view(view_of(facts.handle, facts.scope, topics, facts.rights))
        self.facts = facts
        return ()

    @property
    def commands_in_flight(self) -> int:
        """Number of commands without a result."""
        return len(self._in_flight)

    def settled(self, frame_id: str, outcome: Outcome) -> Effects:
        """Process the outcome of a command."""
        in_flight = list(self._in_flight)
        place = [id_ for id_, _ in in_flight].index(frame_id)
        _, refusal = in_flight.pop(place)
        self._in_flight = tuple(in_flight)
        if refusal is not None and outcome.error is not None and outcome.error.code is ErrorCode.EXPIRED:
            outcome = Outcome(Status.REJECTED, refusal)  # it was not executed, for this reason
        return self._result(frame_id, outcome)

    def over(self) -> None:
        """Answer the commands in flight, since this phone will not come back for their results.

        Their effect is unknown, so no state is sent before: a phone that is closed keeps its data.
        """
        lost = GatewayError(ErrorCode.OWNER_LOST, "The connection ended for good before the result came.")
        for frame_id, _ in self._in_flight:
            self.post(frames.Result(frame_id, outcome_view(Outcome(Status.UNKNOWN, lost))))
        self._in_flight = ()

    def post(self, frame: frames.ControlFrame, *, after_state: bool = False) -> Effects:
        """Queue a control frame; a phone with too many waiting ones is closed."""
        limits = self._limits
        # one turn may answer a burst of its frames, and make the results of its commands
        most = max(CONTROL_MAX, CONTROL_MAX // 4 + limits.frames_burst + limits.commands_in_flight)
        if not self.outbox.post(frame, after_state=after_state, most=most):
            return (Close(CloseCode.SLOW, "too many frames wait"),)
        return ()

    # ---- what it gives ----

    def due_at(self, now: float, health: Health) -> float:
        """Return when :meth:`Session.tick` or :meth:`take` has something to do: *now* or later."""
        if self._is_news(health):
            return now
        waiting = self.outbox.due_at(now)
        return self.heartbeat.next_at if waiting is None else min(waiting, self.heartbeat.next_at)

    def is_ping_due(self, now: float, health: Health) -> bool:
        """Return whether :meth:`take` sends a ping, which contains the age of the data."""
        return self.heartbeat.due(now) or self._is_news(health)

    def take(self, now: float, wall_ms: int, health: Health) -> list[bytes]:
        """Remove and return the frames that are sent now, in order."""
        if self.is_ping_due(now, health):
            clock_ms = self.outbox.ledger.clock_ms
            is_live_again = health.upstream == "live" and self.sent_upstream != "live"
            is_after_state = is_live_again or self.sent_clock_ms != clock_ms
            self.sent_upstream, self.sent_bus, self.sent_clock_ms = health.upstream, health.bus, clock_ms
            ping = self._ping(self.heartbeat.ping(now), now, wall_ms, health)
            if (frame := self.outbox.ping_in_step(ping)) is not None:
                return [frame]
            self.outbox.ping(ping, after_state=is_after_state)
        return self.outbox.take(now)

    # ---- inner ----

    def _resumption(self, position: frames.StreamPosition | None, *, resumed: bool) -> Effects:
        if position is None:
            return ()
        if resumed:
            return (Resumed("since" if self.outbox.dirty else "in_sync"),)
        return (Resumed("reset" if position.stream == self.outbox.stream else "foreign"),)

    def _follow(self, frame: frames.Follow, now: float) -> Effects:
        view = view_of(self.facts.handle, self.facts.scope, frame.topics, self.facts.rights)
        wait_s = self._pay_for(view, now)
        if wait_s > 0:
            message = "Topics are changed too often: each change sends what it shows. Try again later."
            return self.post(frames.ErrorFrame(ErrorCode.RATE_LIMITED, message, frame.id, tenths(wait_s)))
        self.outbox.change_view(view)
        return (*self.post(frames.Followed(frame.id, topics_of(view))), AcceptSession(None, view.granted))

    def _pay_for(self, view: View, now: float) -> float:
        """Charge for the values that *view* sends again; return the wait if they are too many.

        The unit is one reset. :data:`FOLLOWS_BURST` resets may come at once, then one per ``resync_s``. Fewer
        than :data:`FOLLOW_KEYS` keys cost only a part of one.
        """
        gained = len(view.shared.keys() - self.outbox.view.shared.keys())
        all_keys = len(view.shared) + len(ALWAYS)
        cost_s = self._limits.resync_s * gained / max(all_keys, FOLLOW_KEYS)
        until = max(self._followed_until, now) + cost_s
        wait_s = until - now - FOLLOWS_BURST * self._limits.resync_s
        if gained and wait_s > 0:
            return wait_s
        self._followed_until = until
        return 0.0

    def _resync(self, now: float) -> Effects:
        if now < self._resync_at:
            wait_s = tenths(self._resync_at - now)
            message = f"A reset is sent at most every {self._limits.resync_s:.0f} s."
            return self.post(frames.ErrorFrame(ErrorCode.RATE_LIMITED, message, retry_after_s=wait_s))
        self._resync_at = now + self._limits.resync_s
        self.outbox.reset()
        return ()

    def _command(self, frame: frames.CommandFrame, now: float, wall_ms: int) -> Effects:
        ledger, ahead_s = self.outbox.ledger, self._limits.command_ahead_s
        server_ms = ledger.dated_ms(now, wall_ms)
        context = CommandContext(ledger, self.facts.handle)
        until_ms, refusal = judge(frame, self.facts, context, server_ms, ahead_s=ahead_s)
        if refusal is not None and not frame.retry:
            return self._result(frame.id, Outcome(Status.REJECTED, refusal))
        if len(self._in_flight) >= self._limits.commands_in_flight:
            return self._result(frame.id, BUSY)
        self._in_flight = (*self._in_flight, (frame.id, refusal))
        return (Invoke(frame.id, self._call(frame, until_ms - server_ms + wall_ms)),)

    def _call(self, frame: frames.CommandFrame, deadline_ms: int) -> Call:
        epoch = frame.stream.partition(".")[0]
        return Call(
            key=frame.key.lower(),
            session=self.facts.handle,
            command=frame.command,
            stream_epoch=int(epoch) if epoch.isascii() and epoch.isdecimal() else None,
            retry=frame.retry,
            deadline_ms=deadline_ms,
        )

    def _result(self, frame_id: str, outcome: Outcome) -> Effects:
        return self.post(frames.Result(frame_id, outcome_view(outcome)), after_state=True)

    def _is_news(self, health: Health) -> bool:
        is_clock_set = self.sent_clock_ms != self.outbox.ledger.clock_ms
        return is_clock_set or self.sent_upstream != health.upstream or self.sent_bus != health.bus

    def _ping(self, nonce: str, now: float, wall_ms: int, health: Health) -> PingMaker:
        def make(after: int, upto: int) -> bytes:
            server_ms, (_, since) = self.outbox.ledger.dated_ms(now, wall_ms), self.outbox.waits
            as_of = health.as_of
            if as_of is not None and math.isfinite(since):  # the phone's data is older than that
                as_of = min(as_of, self.outbox.ledger.true_until(since))
            return self.outbox.codec.encode(
                frames.Ping(
                    after=after,
                    upto=upto,
                    nonce=nonce,
                    as_of_ms=None if as_of is None else server_ms - max(0, round((now - as_of) * 1000)),
                    upstream=health.upstream,
                    bus=health.bus,
                    server_time_ms=server_ms,
                )
            )

        return make


def _ping_s(hello: frames.Hello, limits: SessionLimits) -> float:
    """Return the time between pings: the phone's choice, if it made one."""
    return hello.ping_s or limits.ping_s


_REFUSED: Final = "not_found"
"""Why a topic is refused; the same for unknown topics and topics out of scope."""


def topics_of(view: View) -> frames.GrantedTopics:
    """Return the granted and the refused topics."""
    return frames.GrantedTopics(
        view.granted, tuple(frames.RefusedTopic(topic, _REFUSED) for topic in view.refused)
    )


def outcome_view(outcome: Outcome) -> frames.OutcomeView:
    """Return an outcome in the form that is sent to phones."""
    error = None if outcome.error is None else outcome.error.members
    return frames.OutcomeView(outcome.status._value_, error, outcome.version)  # `value` is two calls


class State(enum.StrEnum):
    """State of a connection."""

    HELLO = "hello"
    ATTACHING = "attaching"
    LIVE = "live"
    CLOSING = "closing"


TRANSITIONS: Final[dict[tuple[State, str], State]] = {
    (State.HELLO, "hello"): State.ATTACHING,
    (State.HELLO, "close"): State.CLOSING,
    (State.ATTACHING, "attached"): State.LIVE,
    (State.ATTACHING, "close"): State.CLOSING,
    (State.LIVE, "close"): State.CLOSING,
}

_NORMAL: Final = 1000


UNREAD_MAX_S: Final = 30.0
"""Upper bound of the wait for a hello, also with unread data."""


class _Greeting:
    """Data of a connection until it is served.

    *jitter*, in [0, 1), spreads the pings.
    """

    __slots__ = ("by", "ends_at", "hello", "jitter")

    def __init__(self, now: float, hello_s: float, jitter: float) -> None:
        self.by = now + hello_s
        """Until when the phone must have sent `hello`."""
        self.ends_at = now + max(hello_s, UNREAD_MAX_S)
        self.jitter = jitter
        self.hello: frames.Hello | None = None


_COUNTED_BYTES: Final = 1024
_ROUNDING_S: Final = 1e-6


def full_after(full_at: float, now: float, limits: SessionLimits, size_bytes: int = 0) -> float | None:
    """Return when a whole burst may come again after one more frame; None: that frame is one too many.

    This number is the whole state of the rate: a bucket's level and its time. A frame counts once, and once
    more for each whole KiB, so never more than ``frames_burst + frames_per_s * t`` frames are served in any t
    seconds, and about as many KiB.

    *full_at* is the result of the frame before, or :data:`LONG_AGO`. A frame never counts as more than a
    whole burst. The rate is above 0.
    """
    frames = min(1 + size_bytes // _COUNTED_BYTES, limits.frames_burst)
    after = max(full_at, now) + frames / limits.frames_per_s
    return after if after - now <= limits.frames_burst / limits.frames_per_s + _ROUNDING_S else None


class Session(StateMachine[State]):
    """One phone's connection, from hello to close.

    Invariants: no data of the mirror is framed before OSCC-E accepted the session. After :class:`Close`
    nothing more is requested or processed. An illegal transition changes nothing.

    *now* is monotonic seconds, here and everywhere below. *jitter*, in [0, 1), spreads the pings.
    """

    __slots__ = (
        "_bye", "_codec", "_full_at", "_greeting", "_limits", "_record", "live",
    )  # fmt: skip
    TABLE = TRANSITIONS

    def __init__(self, codec: Codec, limits: SessionLimits, now: float, jitter: float) -> None:
        self.state = State.HELLO
        self.live: Live | None = None
        self._codec = codec
        self._limits = limits
        self._full_at = LONG_AGO
        self._record: RateViolations | None = None
        self._greeting: _Greeting | None = _Greeting(now, limits.hello_s, jitter)
        self._bye: bytes | None = None

    # ---- inputs ----

    def receive(self, data: bytes, now: float, wall_ms: int) -> Effects:
        """Process one message of the phone."""
        if self.state is State.CLOSING:
            return ()
        self.frame_received()
        full_at = full_after(self._full_at, now, self._limits, len(data))
        if full_at is None:
            return self._over_rate(self._kept_record().too_many(now, self._limits))
        self._full_at = full_at
        if self.state is State.HELLO and len(data) > self._limits.hello_bytes:
            return self._close(Close(CloseCode.PROTOCOL_ERROR, "hello is too large"))
        try:
            frame = self._codec.decode_client(data)
        except BadFrame as bad:
            return self._bad_frame(bad, now)
        return self._run(self._serve(frame, now, wall_ms))

    def frame_received(self) -> None:
        """Record a frame, also a ping or pong of RFC 6455: any shows that the phone lives."""
        if self.live is not None:
            self.live.heartbeat.received()

    def violated(self, code: int, reason: str) -> Effects:
        """Process a violation of RFC 6455, which closes with *code*.

        Before `welcome` any violation closes 4000.
        """
        return self._close(Close(code if self.live is not None else CloseCode.PROTOCOL_ERROR, reason))

    def attached(
        self, ticket: Ticket, facts: SessionFacts, ledger: Ledger, now: float, wall_ms: int
    ) -> Effects:
        """Record that OSCC-E has accepted the session: send welcome and the missing changes."""
        greeting = self._greeting
        if greeting is None or greeting.hello is None or not self._move("attached"):
            return ()
        self._greeting = None
        hello, jitter = greeting.hello, greeting.jitter
        self.live = Live(_as_held(facts, ledger), ledger, self._codec, hello, self._limits, now, jitter)
        return self._run(self.live.welcome(ticket, hello, now, wall_ms))

    def facts_changed(self, facts: SessionFacts) -> Effects:
        """Process new facts of the session; frames at a close stay within that scope."""
        return () if self.live is None else self._run(self.live.facts_changed(facts))

    def settled(self, frame_id: str, outcome: Outcome) -> Effects:
        """Process the outcome of a command. The state that it caused is sent first."""
        return self._run(self.live.settled(frame_id, outcome)) if self._is_live(self.live) else ()

    def post(self, frame: frames.ControlFrame) -> Effects:
        """Queue a frame of the gateway's own: a notice or a renewed token."""
        return self._run(self.live.post(frame)) if self._is_live(self.live) else ()

    def is_late(self, now: float) -> bool:
        """Return whether the phone's hello, or its answer to a ping, is late."""
        if self.live is not None:
            return self.state is State.LIVE and self.live.heartbeat.silent(now)
        return self.state is State.HELLO and self._greeting is not None and now >= self._greeting.by

    def unread(self, now: float) -> None:
        """Record that the node has not yet read the phone's data, which may contain what is late."""
        if self.live is not None:
            self.live.heartbeat.unread(now)
        elif self._greeting is not None:
            self._greeting.by = min(now + UNREAD_S, self._greeting.ends_at)

    def tick(self, now: float) -> Effects:
        """Record that time has passed: a phone whose hello or answer is late is closed."""
        if not self.is_late(now):
            return ()
        if self.live is None:
            return self._close(Close(CloseCode.HELLO_TIMEOUT, "no hello in time"))
        return self._close(Close(CloseCode.NO_PONG, "no frame after a ping"))

    def close(
        self,
        code: CloseCode,
        reason: str,
        *,
        by: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> Effects:
        """End the connection: a `bye` with *code*, then the close. A second call does nothing."""
        return self._close(Close(code, reason, by, window_s))

    def flushed(self, *, drained: bool) -> None:
        """Record whether the socket had sent everything before a flush, which sets the pace."""
        if self.live is not None:
            self.live.outbox.pace.flushed(drained=drained)

    def unsent(self, now: float) -> None:
        """Record that written data has not been sent yet: the phone cannot answer a ping before that."""
        if self.live is not None:
            self.live.heartbeat.unsent(now)

    def keep_apart(self, *, apart: bool) -> None:
        """Record whether the phone accepts all written data: otherwise it joins no fan-out group."""
        if self.live is not None:
            self.live.outbox.keep_apart(apart=apart)

    def release(self) -> None:
        """Stop reading the mirror: the connection is gone."""
        self._move("close")
        live, self.live = self.live, None
        if live is not None:
            live.outbox.close()

    # ---- what it gives ----

    def due_at(self, now: float, health: Health) -> float | None:
        """Return when :meth:`tick` or :meth:`take` has something to do: *now* or later; None: never."""
        if self._bye is not None:
            return now
        if self.state is State.HELLO and self._greeting is not None:
            return self._greeting.by
        live = self.live
        return live.due_at(now, health) if live is not None and self.state is State.LIVE else None

    def prepare(self) -> bool:
        """Encode some of the elements that :meth:`take` needs, if there are many.

        False: call it again later.
        """
        return self.live is None or self.state is not State.LIVE or self.live.outbox.prepare()

    def take(self, now: float, wall_ms: int, health: Health) -> list[bytes]:
        """Remove and return the frames that are sent now, in order; a `bye` is the last one.

        At a close the remaining control frames are returned once; then the mirror is released.
        """
        taken: list[bytes] = []
        if self.live is not None and self.state is State.CLOSING:
            taken = self.live.outbox.take_last(now)
            self.release()
        elif self.live is not None:
            taken = self.live.take(now, wall_ms, health)
        if self._bye is not None:
            taken.append(self._bye)
            self._bye = None
        return taken

    # ---- inner ----

    def _serve(self, frame: frames.ClientFrame, now: float, wall_ms: int) -> Effects:
        match frame:
            case frames.Hello():
                return self._on_hello(frame)
            case frames.ClientBye():
                return (Close(_NORMAL),)
            case frames.Pong():
                return () if self.live is None else self.live.pong(frame.nonce, now)
            case frames.Follow() | frames.Pace() | frames.CommandFrame() | frames.Resync():
                if self.live is None:
                    return (Close(CloseCode.PROTOCOL_ERROR, "a frame came before welcome"),)
                return self.live.serve(frame, now, wall_ms)
            case _:
                assert_never(frame)

    def _on_hello(self, hello: frames.Hello) -> Effects:
        if self._greeting is None or not self._move("hello"):
            return (Close(CloseCode.PROTOCOL_ERROR, "two hellos"),)
        self._greeting.hello = hello
        return (AcceptSession(hello.token, hello.topics, hello.client),)

    def _bad_frame(self, bad: BadFrame, now: float) -> Effects:
        if self.live is None:
            return self._close(Close(CloseCode.PROTOCOL_ERROR, bad.reason))
        if bad.close_code is not None:
            return self._close(Close(bad.close_code))
        if self._kept_record().error(now, self._limits) is FrameVerdict.CLOSE:
            return self._close(Close(CloseCode.TOO_MANY_ERRORS, "too many bad frames"))
        return self._run(
            self.live.post(frames.ErrorFrame(ErrorCode.BAD_REQUEST, bad.reason, id=bad.frame_id))
        )

    def _kept_record(self) -> RateViolations:
        """Return the record of the phone's rate violations, which begins now."""
        self._record = self._record or RateViolations()
        return self._record

    def _over_rate(self, verdict: FrameVerdict) -> Effects:
        if verdict is FrameVerdict.CLOSE:
            return self._close(Close(CloseCode.RATE_LIMITED, "too many frames"))
        if verdict is FrameVerdict.DROP or self.live is None:
            return ()
        message = "Frames came too fast and were dropped."
        return self._run(
            self.live.post(frames.ErrorFrame(ErrorCode.RATE_LIMITED, message, retry_after_s=1.0))
        )

    def _run(self, effects: Effects) -> Effects:
        """Pass effects on; a close among them ends the session and everything after it."""
        for index, effect in enumerate(effects):
            if isinstance(effect, Close):
                return (*effects[:index], *self._close(effect))
        return effects

    def _close(self, close: Close) -> Effects:
        if not self._move("close"):
            return ()
        self.keep_apart(apart=True)
        if self.live is not None and is_final(close.code):
            self.live.over()
        if close.code >= CloseCode.PROTOCOL_ERROR:
            low, high = close.window_s if close.window_s is not None else (None, None)
            bye = frames.Bye(close.code, close.reason, advice(close.code), close.by, low, high)
            self._bye = self._codec.encode(bye)
        return (close,)

    def _is_live(self, live: Live | None) -> TypeGuard[Live]:
        return live is not None and self.state is State.LIVE


def _as_held(facts: SessionFacts, ledger: Ledger) -> SessionFacts:
    """Return the ledger's object if it equals *facts*, to store one object instead of two."""
    held = ledger.get(facts_key(facts.handle))
    return held.value if held is not None and held.value == facts else facts
