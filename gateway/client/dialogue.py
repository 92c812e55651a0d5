"""Dialogue on one connection: sent and received frames, and what follows its end.

Pure: it gets frames and the time, and returns frames to send. Objects that outlive a connection (mirror,
requests, the gateway's time, wishes) are passed to it. The rules of docs/clients.md decide what follows: the
range of the close code gives the verdict; advised windows have precedence over the back-off.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, assert_never

from pydantic import ValidationError

import gateway
from gateway.client.http import ADVISED_MAX_S, LOST, Backoff, Ending, Window, error_of, window_of
from gateway.client.mirror import (
    ClientMirror,
    Connected,
    Event,
    FrameResult,
    HealthChanged,
    NoticeShown,
    Refused,
)
from gateway.domain.commands import Outcome, Status
from gateway.domain.errors import ErrorCode, GatewayError, Verdict, verdict
from gateway.protocol import codec, frames
from gateway.protocol.frames import (
    CommandFrame,
    ErrorFrame,
    Follow,
    Followed,
    GrantedTopics,
    OutcomeView,
    Result,
)

GRACE_S: Final = 10.0
"""How much longer than `ping_s` a gateway may be silent."""
PROBE_S: Final = 3.0
"""How long a gateway may be silent after the network changed."""


WAITING_MAX: Final = 64
"""Requests of one kind that wait at once."""


class _Command(NamedTuple):
    frame: CommandFrame
    settle: Callable[[Outcome], None]


class _Follow(NamedTuple):
    frame: Follow
    granted: Callable[[GrantedTopics | GatewayError], None]


class Requests:
    """Commands and follows on their way, over any number of connections.

    Invariant: each is answered at most once. A command is repeated with the same key, stream and deadline, so
    it is executed at most once.
    """

    __slots__ = ("_commands", "_count", "_follows")

    def __init__(self) -> None:
        self._commands: dict[str, _Command] = {}
        self._follows: dict[str, _Follow] = {}
        self._count = 0

    def next_id(self) -> str:
        """Return an id that no other request of this client has."""
        self._count += 1
        return str(self._count)

    def command(self, frame: CommandFrame, settle: Callable[[Outcome], None]) -> None:
        """Register a command that waits for its outcome.

        Raises:
            GatewayError: ``overloaded``; :data:`WAITING_MAX` wait already.
        """
        self._check(len(self._commands))
        self._commands[frame.id] = _Command(frame, settle)

    def follow(self, frame: Follow, granted: Callable[[GrantedTopics | GatewayError], None]) -> None:
        """Register a follow that waits for the granted topics.

        Raises:
            GatewayError: ``overloaded``; :data:`WAITING_MAX` wait already.
        """
        self._check(len(self._follows))
        self._follows[frame.id] = _Follow(frame, granted)

    def withdraw(self, id_: str) -> None:
        """Remove a request that no longer waits."""
        self._commands.pop(id_, None)
        self._follows.pop(id_, None)

    # ---- inputs ----

    def welcomed(
        self, topics: GrantedTopics, asked: tuple[str, ...] | None
    ) -> tuple[CommandFrame | Follow, ...]:
        """Record that a new connection is served; return the frames to send on it.

        *asked* are the topics of its `hello`, the newest at that time. They answer the last follow with the
        same topics, and those that it replaced.
        """
        follows = tuple(self._follows.items())
        answered = max(
            (at for at, (_, (frame, _)) in enumerate(follows) if frame.topics == asked), default=-1
        )
        for id_, (_, granted) in follows[: answered + 1]:
            del self._follows[id_]
            granted(topics)
        commands = (dataclasses.replace(waiting.frame, retry=True) for waiting in self._commands.values())
        return (*(follow.frame for follow in self._follows.values()), *commands)

    def result(self, frame: Result) -> None:
        """Record the outcome of a command; one without a waiting call is ignored."""
        self._settle(frame.id, outcome_of(frame.outcome))

    def followed(self, frame: Followed) -> None:
        """Process the granted topics."""
        if follow := self._follows.pop(frame.id, None):
            follow.granted(frame.topics)

    def refused(self, frame: ErrorFrame) -> bool:
        """Record that a frame was not served; return whether a call waited for it."""
        if frame.id is None:
            return False
        error = error_of({"code": frame.code, "message": frame.message, "retry_after_s": frame.retry_after_s})
        if follow := self._follows.pop(frame.id, None):
            follow.granted(error)
            return True
        return self._settle(frame.id, Outcome(Status.REJECTED, error))

    def ended(self, error: GatewayError) -> None:
        """Answer everything that waits: no connection will follow."""
        follows, self._follows = self._follows, {}
        for follow in follows.values():
            follow.granted(error)
        lost = GatewayError(ErrorCode.OWNER_LOST, "The session ended before the result came.")
        for id_ in tuple(self._commands):
            self._settle(id_, Outcome(Status.UNKNOWN, lost))

    # ---- inner ----

    def _check(self, waiting: int) -> None:
        if waiting >= WAITING_MAX:
            raise GatewayError(ErrorCode.OVERLOADED, "Too many requests wait for their answer.")

    def _settle(self, id_: str, outcome: Outcome) -> bool:
        waiting = self._commands.pop(id_, None)
        if waiting is None:
            return False
        waiting.settle(outcome)
        return True


def outcome_of(view: OutcomeView) -> Outcome:
    """Return an outcome as a domain value."""
    error = None if view.error is None else error_of(view.error)
    return Outcome(Status(view.status), error, view.version)


HURRY_S: Final = 2.0
"""At most one try in this time comes from the foreground or the network."""


class NextTry(NamedTuple):
    """Connect again after *in_s*. *logs_on*: log on with the stored login data before."""

    in_s: float
    logs_on: bool = False


class Reconnect:
    """Decides what follows each ending."""

    __slots__ = ("_backoff", "_hurried_at")

    def __init__(self) -> None:
        self._backoff = Backoff()
        self._hurried_at: float | None = None

    def after(self, ending: Ending, up_s: float, jitter: float) -> NextTry | None:
        """Return what to do after a connection that was up for *up_s* ended; None: do not come back.

        *jitter* is in [0, 1).
        """
        self._backoff.lasted(up_s)
        given = verdict(ending.code)
        if given is Verdict.STOP:
            return None
        return NextTry(self.wait_s(ending.window, jitter), logs_on=given is Verdict.LOG_ON)

    def wait_s(self, window: Window | None, jitter: float) -> float:
        """Return the seconds until the next try: within *window* if there is one, else by back-off."""
        backed_off_s = self._backoff.failed(jitter)
        if window is None:
            return backed_off_s
        low, high = (max(0.0, min(bound, ADVISED_MAX_S)) for bound in window)
        return low + jitter * max(0.0, high - low)

    def hurry(self, now: float) -> float:
        """Return the seconds until a try for the foreground or the network is allowed, and record it."""
        if self._hurried_at is None or now >= self._hurried_at + HURRY_S:
            self._hurried_at = now
        elif now >= self._hurried_at:
            self._hurried_at += HURRY_S
        return self._hurried_at - now


SAMPLES: Final = 16
"""Number of compared readings: about seven minutes of pings, so that drift and jumps are followed."""


SET_BACK_MS: Final = 60_000
"""A reading that is this much earlier than it should be is not late: the clock was set back."""
SET_BACK_TWICE_MS: Final = 10_000
AGREED_MS: Final = 1_000
APART_S: Final = 1.0
"""So are two readings in a row that are this much earlier, if they agree and did not arrive together, as
frames do that waited for the same network.
"""


class ServerTime:
    """Estimates the gateway's wall clock from the times in its frames.

    A frame takes a while to arrive, so each reading is late and the least late one is the best: the estimate
    is never ahead of the clock that it reads, and deadlines made from it stay within their bounds.
    """

    __slots__ = ("_last_at", "_offsets_ms")

    def __init__(self) -> None:
        self._offsets_ms: deque[float] = deque(maxlen=SAMPLES)
        self._last_at = 0.0

    def reset(self) -> None:
        """Remove all readings: another node has another clock."""
        self._offsets_ms.clear()

    def received(self, server_time_ms: int, now: float) -> None:
        """Record a reading that arrived at *now*, in monotonic seconds."""
        offset_ms = server_time_ms - now * 1000
        if self._is_set_back(offset_ms, now - self._last_at):
            self._offsets_ms.clear()
        self._offsets_ms.append(offset_ms)
        self._last_at = now

    def _is_set_back(self, offset_ms: float, apart_s: float) -> bool:
        if not self._offsets_ms:
            return False
        early_ms = max(self._offsets_ms) - offset_ms
        agrees = apart_s >= APART_S and abs(self._offsets_ms[-1] - offset_ms) < AGREED_MS
        return early_ms > SET_BACK_MS or (early_ms > SET_BACK_TWICE_MS and agrees)

    def at(self, now: float) -> int | None:
        """Return ms since 1970 UTC at the gateway; None before the first reading."""
        return math.floor(max(self._offsets_ms) + now * 1000) if self._offsets_ms else None


RESYNC_S: Final = 5.0
"""A gateway serves one `resync` in this time."""
PING_S: Final = 25.0
"""How often a gateway pings unless it says otherwise."""

CLIENT: Final = frames.ClientInfo("python-sdk", gateway.__version__, "python")


@dataclass(frozen=True, slots=True)
class Wishes:
    """Requests of a `hello`.

    Raises:
        GatewayError: ``bad_request``; a gateway would refuse it.
    """

    client: frames.ClientInfo = CLIENT
    topics: tuple[str, ...] | None = None
    """The topics; None: the application's default."""
    pace_s: float | None = None
    """At most one state frame in this time, 0..60."""
    ping_s: float | None = None
    """How often the gateway pings, 10..55."""

    def __post_init__(self) -> None:
        try:
            frames.CLIENT_FRAME.validate_python(codec.plain_fields(self.hello(None, None)))
        except ValidationError as error:
            fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
            names = ".".join(str(name) for name in fault["loc"])
            raise GatewayError(ErrorCode.BAD_REQUEST, f"Invalid value: {names} ({fault['type']}).") from None

    def hello(self, token: str | None, position: frames.StreamPosition | None) -> frames.Hello:
        """Return the first frame of a connection."""
        return frames.Hello(
            client=self.client,
            token=token,
            topics=self.topics,
            position=position,
            pace_s=self.pace_s,
            ping_s=self.ping_s,
        )


@dataclass(slots=True)
class ResumeState:
    """Data that outlives a connection; the present wishes apply to the next one."""

    wishes: Wishes
    mirror: ClientMirror = dataclasses.field(default_factory=ClientMirror)
    requests: Requests = dataclasses.field(default_factory=Requests)
    server_time: ServerTime = dataclasses.field(default_factory=ServerTime)
    health: HealthChanged | None = None
    """The freshness of the data, from the last ping; None before the first."""


class FrameHandlers(NamedTuple):
    """The receivers of frames other than state."""

    event: Callable[[Event], None]
    renewed: Callable[[frames.Renewed], None]


Frames = tuple[frames.ClientFrame, ...]
_Unanswered = (
    frames.Result | frames.Followed | frames.ErrorFrame | frames.NoticeFrame | frames.Renewed | frames.Bye
)


class Dialogue:
    """One connection, from its `hello` on.

    Invariants: :attr:`in_sync` is False until `welcome` and the `changes` after it have arrived. A reset is
    requested at most once in :data:`RESYNC_S`. Any frame counts as a sign of life.

    Args:
        now: Monotonic seconds, here and below.
    """

    def __init__(self, memory: ResumeState, handlers: FrameHandlers, token: str, now: float) -> None:
        self.hello: Final = memory.wishes.hello(token, memory.mirror.position)
        """The first frame to send."""
        self.welcome: frames.Welcome | None = None
        """None until the session is served: no other frame may be sent before it."""
        self.in_sync = False
        self._upstream: frames.HealthStatus | None = None
        """As in the last ping of this connection; None before the first."""
        self._memory = memory
        self._handlers = handlers
        self._ping_s = memory.wishes.ping_s or PING_S
        self._last_received_at = now
        self._probe_by: float | None = None
        """When the connection is given up, because the network changed and no frame has arrived since."""
        self._bye: frames.Bye | None = None
        self._resync_at = now
        memory.mirror.reopen()

    # ---- inputs ----

    def received(self, now: float) -> None:
        """Record that a frame arrived, of any kind."""
        self._last_received_at, self._probe_by = now, None

    def receive(self, frame: frames.GatewayFrame, now: float) -> Frames:
        """Process a frame; return the frames to send."""
        match frame:
            case frames.Welcome():
                return self._on_welcome(frame, now)
            case frames.Changes():
                return self._on_state(frame, now)
            case frames.Ping():
                return self._on_ping(frame, now)
            case _:
                self._note(frame)
                return ()

    def probe(self, now: float) -> frames.Pong:
        """Record that the network changed: a frame must arrive soon."""
        self._probe_by = now + PROBE_S
        return frames.Pong()

    def tick(self, now: float) -> Frames:
        """Record that time has passed."""
        return self._resync(now) if self._memory.mirror.lost else ()

    # ---- what it gives ----

    @property
    def is_current(self) -> bool:
        """Whether the mirror is current: in sync, nothing is missing, and the last ping said `live`."""
        return self.in_sync and self._upstream == "live" and not self._memory.mirror.lost

    def given_up(self, now: float) -> bool:
        """Return whether the gateway was silent for too long."""
        return now >= self._over_at

    @property
    def is_probed(self) -> bool:
        """Whether the network changed, and the gateway has sent nothing since."""
        return self._probe_by is not None

    @property
    def due_at(self) -> float:
        """When :meth:`tick` or :meth:`given_up` changes by time alone."""
        return min(self._over_at, self._resync_at) if self._memory.mirror.lost else self._over_at

    @property
    def _over_at(self) -> float:
        """When the connection is given up unless a frame arrives before."""
        silent_until = self._last_received_at + self._ping_s + GRACE_S
        return silent_until if self._probe_by is None else min(silent_until, self._probe_by)

    def ending(self, code: int | None) -> Ending:
        """Return how it ended; a `bye` has precedence over the socket's close code."""
        bye = self._bye
        if bye is not None:
            return Ending(bye.code, bye.reason, bye.by, window_of(bye.min_s, bye.max_s))
        return LOST if code is None or code == LOST.code else Ending(code, "connection closed")

    # ---- inner ----

    def _note(self, frame: _Unanswered) -> None:
        match frame:
            case frames.Result():
                self._memory.requests.result(frame)
            case frames.Followed():
                self._memory.requests.followed(frame)
            case frames.ErrorFrame():
                if not self._memory.requests.refused(frame):
                    self._handlers.event(Refused(frame))
            case frames.NoticeFrame():
                self._handlers.event(NoticeShown(frame))
            case frames.Renewed():
                self._handlers.renewed(frame)
            case frames.Bye():
                self._bye = frame
            case _:
                assert_never(frame)

    def _on_welcome(self, welcome: frames.Welcome, now: float) -> Frames:
        self.welcome = welcome
        self._ping_s = welcome.ping_s
        self._memory.server_time.reset()
        self._memory.server_time.received(welcome.server_time_ms, now)
        wishes = self._memory.wishes
        again: Frames = self._memory.requests.welcomed(welcome.topics, self.hello.topics)
        if wishes.pace_s is not None and wishes.pace_s != self.hello.pace_s:
            again = (frames.Pace(wishes.pace_s), *again)
        return again

    def _on_state(self, frame: frames.Changes | frames.Ping, now: float) -> Frames:
        took = self._memory.mirror.receive(frame)
        if took is FrameResult.GAP:
            return self._resync(now)
        if took is FrameResult.APPLIED and not self.in_sync and self.welcome is not None:
            self.in_sync = True
            self._handlers.event(Connected(self.welcome.resumed))
        return ()

    def _on_ping(self, ping: frames.Ping, now: float) -> Frames:
        self._memory.server_time.received(ping.server_time_ms, now)
        resync, before = self._on_state(ping, now), self._memory.health
        as_of_ms = ping.as_of_ms
        if self._memory.mirror.lost:  # the age is that of data which this client does not have
            as_of_ms = None if before is None else before.as_of_ms
        health = HealthChanged(ping.upstream, ping.bus, as_of_ms)
        is_first, self._upstream = self._upstream is None, ping.upstream
        if is_first or health != before:
            self._memory.health = health
            self._handlers.event(health)
        return (frames.Pong(ping.nonce), *resync)

    def _resync(self, now: float) -> Frames:
        if now < self._resync_at:
            return ()
        self._resync_at = now + RESYNC_S
        return (frames.Resync(),)
