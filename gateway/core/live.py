"""What happens while a session is served?

The part of a connection's life after OSCC-E accepted it: view, commands, pings. Everything
that is to be sent waits in its outbox.
"""

from __future__ import annotations

import math
from typing import Final

from gateway.core.admission import check_command, check_deadline
from gateway.core.declared import Declared
from gateway.core.effects import Answered, Attach, Close, Effects, Health, Invoke, Resumed, SessionLimits
from gateway.core.heartbeat import Heartbeat
from gateway.core.ledger import Ledger
from gateway.core.outbox import Outbox, PingMaker
from gateway.core.pace import Pace
from gateway.core.responses import outcome_view, topics_of, welcome_frame
from gateway.core.view import View, view_of
from gateway.domain.commands import Call, Outcome, Status
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError, close_for, tenths
from gateway.domain.model import DEFAULT_TOPICS, Application, Ticket
from gateway.protocol import frames
from gateway.protocol.codec import Codec
from gateway.protocol.envelopes import SessionFacts

LOG_ON_WINDOW_S: Final = (1.0, 30.0)
"""Within which a phone logs on again: a restart of OSCC-E ends the sessions of all at once."""
FOLLOWS_BURST: Final = 10
"""So often a phone may have its whole view sent again by changes of topics before they are paced."""
FOLLOW_KEYS: Final = 500
"""So many keys that come into view count as a whole view: who looks from queue to queue is never paced."""


class Live:
    """A served session.

    Invariants: every command gets exactly one result, and the state it caused leaves before it;
    what the phone sees is always within the scope that the newest facts give.

    Args:
        facts: What OSCC-E accepted.
        ledger: The user's mirror.
        hello: What the phone asked for.
        jitter: In [0, 1): spreads the pings.
    """

    __slots__ = (
        "_followed_until",
        "_heartbeat",
        "_in_flight",
        "_limits",
        "_resync_at",
        "_told_bus",
        "_told_upstream",
        "facts",
        "outbox",
    )

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
        pace = Pace(hello.pace_s or 0.0, limits.pace_min_s)
        self.outbox = Outbox(ledger, view, codec, pace, frame_bytes=limits.frame_bytes_out)
        ping_s = hello.ping_s or limits.ping_s
        self._heartbeat = Heartbeat(now, every_s=ping_s, pong_s=limits.pong_s, jitter=jitter)
        self._told_upstream: frames.Health | None = None
        self._told_bus: frames.BusHealth | None = None
        self._in_flight: tuple[str, ...] = ()
        """The frames of commands whose results are owed; a phone may name two of them alike."""
        self._resync_at = self._followed_until = -math.inf

    def welcome(self, ticket: Ticket, hello: frames.Hello, wall_ms: int) -> Effects:
        """Queue the frame that opens the session of *ticket*; the `changes` that *hello* is owed follow."""
        resumed = self.outbox.begin(hello.position)
        welcome = welcome_frame(
            ticket,
            self.facts,
            self.outbox.view,
            self._limits.told(),
            resumed=resumed,
            server_time_ms=self._server_ms(wall_ms),
            ping_s=hello.ping_s or self._limits.ping_s,
            pace_s=self.outbox.pace.every_s,
        )
        return (*self.post(welcome), *self._resumption(hello.position, resumed=resumed))

    # ---- what it is told ----

    def heard(self) -> None:
        """Note that a frame came."""
        self._heartbeat.heard()

    def pong(self, nonce: str | None, now: float) -> Effects:
        """Take in a pong; one that no ping asked for is answered with a ping."""
        seconds = self._heartbeat.pong(nonce, now)
        return () if seconds is None else (Answered(seconds),)

    def serve(self, frame: frames.Serviceable, now: float, wall_ms: int) -> Effects:
        """Serve one frame."""
        match frame:
            case frames.Follow():
                return self._follow(frame, now)
            case frames.Pace():
                self.outbox.part()
                self.outbox.pace.every_s = frame.every_s
                return ()
            case frames.Resync():
                return self._resync(now)
            case frames.CommandFrame():
                return self._command(frame, wall_ms)

    def learned(self, facts: SessionFacts) -> Effects:
        """Take in what OSCC-E says of this session now: rights, scope, life and end."""
        if facts.end is not None:
            remote = facts.application is Application.REMOTE_ASSISTANT
            code = close_for(facts.end, remote_assistant=remote)
            window_s = LOG_ON_WINDOW_S if code is CloseCode.SESSION_ENDED else None
            return (Close(code, facts.end, facts.end_by, window_s),)
        if (facts.scope, facts.rights) != (self.facts.scope, self.facts.rights):
            topics = self.outbox.view.topics
            self.outbox.look(view_of(facts.handle, facts.scope, topics, facts.rights))
        self.facts = facts
        return ()

    def settled(self, frame_id: str, outcome: Outcome) -> Effects:
        """Take in what became of a command."""
        in_flight = list(self._in_flight)
        in_flight.remove(frame_id)
        self._in_flight = tuple(in_flight)
        return self._result(frame_id, outcome)

    def over(self) -> None:
        """Answer what is still in flight, since this phone will not come back to hear of it.

        Nobody knows what it caused, so no state goes before: a phone that is closed keeps what it shows.
        """
        lost = GatewayError(ErrorCode.OWNER_LOST, "The connection ended for good before the result came.")
        for frame_id in self._in_flight:
            self.post(frames.Result(frame_id, outcome_view(Outcome(Status.UNKNOWN, lost))))
        self._in_flight = ()

    def post(self, frame: frames.ControlFrame, *, after_state: bool = False) -> Effects:
        """Queue a control frame; a phone that lets too many wait is closed."""
        if not self.outbox.post(frame, after_state=after_state):
            return (Close(CloseCode.SLOW, "too many frames wait"),)
        return ()

    def tick(self, now: float) -> Effects:
        """Take in that time has passed."""
        if self._heartbeat.silent(now):
            return (Close(CloseCode.NO_PONG, "no frame after a ping"),)
        return ()

    def flushed(self, *, drained: bool) -> None:
        """Note how a flush found the socket; sets the pace."""
        self.outbox.pace.flushed(drained=drained)

    def unsent(self, now: float) -> None:
        """Note that what was written has not left yet."""
        self._heartbeat.unsent(now)

    # ---- what it gives ----

    def due_at(self, now: float, health: Health) -> float:
        """Return when :meth:`tick` or :meth:`take` has something to do: *now* or later."""
        if self._is_news(health):
            return now
        waiting = self.outbox.due_at(now)
        return self._heartbeat.next_at if waiting is None else min(waiting, self._heartbeat.next_at)

    def take(self, now: float, wall_ms: int, health: Health) -> list[bytes]:
        """Remove and return the frames that leave now, in order."""
        if self._heartbeat.due(now) or self._is_news(health):
            is_live_again = health.upstream == "live" and self._told_upstream != "live"
            self._told_upstream, self._told_bus = health.upstream, health.bus
            ping = self._ping(self._heartbeat.ping(now), now, wall_ms, health)
            self.outbox.ping(ping, after_state=is_live_again)
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
            message = "Topics are changed too often: each change sends again what comes into view."
            return self.post(frames.ErrorFrame(ErrorCode.RATE_LIMITED, message, frame.id, tenths(wait_s)))
        self.outbox.look(view)
        return (*self.post(frames.Followed(frame.id, topics_of(view))), Attach(None, view.granted))

    def _pay_for(self, view: View, now: float) -> float:
        """Count what *view* makes to be sent again, in resets; return how long to wait if that is too much.

        :data:`FOLLOWS_BURST` resets at once, then one per ``resync_s``; less than :data:`FOLLOW_KEYS` keys
        are only a part of one.
        """
        gained, all_keys = len(view.shared - self.outbox.view.shared), len(view.shared)
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

    def _command(self, frame: frames.CommandFrame, wall_ms: int) -> Effects:
        try:
            ahead_s = self._limits.command_ahead_s
            check_deadline(frame.expires_at_ms, self._server_ms(wall_ms), ahead_s=ahead_s, retry=frame.retry)
            check_command(frame.command, self.facts, Declared(self.outbox.ledger, self.facts.handle))
        except GatewayError as error:
            return self._result(frame.id, Outcome(Status.REJECTED, error))
        if len(self._in_flight) >= self._limits.commands_in_flight:
            busy = GatewayError(ErrorCode.OVERLOADED, "Too many commands wait for their result.")
            return self._result(frame.id, Outcome(Status.REJECTED, busy))
        self._in_flight = (*self._in_flight, frame.id)
        return (Invoke(frame.id, self._call(frame)),)

    def _call(self, frame: frames.CommandFrame) -> Call:
        epoch = frame.stream.partition(".")[0]
        return Call(
            key=frame.key.lower(),
            session=self.facts.handle,
            command=frame.command,
            stream_epoch=int(epoch) if epoch.isascii() and epoch.isdecimal() else None,
            retry=frame.retry,
            deadline_ms=frame.expires_at_ms - self.outbox.ledger.ahead_ms,
        )

    def _result(self, frame_id: str, outcome: Outcome) -> Effects:
        return self.post(frames.Result(frame_id, outcome_view(outcome)), after_state=True)

    def _is_news(self, health: Health) -> bool:
        return self._told_upstream != health.upstream or self._told_bus != health.bus

    def _server_ms(self, wall_ms: int) -> int:
        """Return an instant of this node's clock by that of the values' instants, which the phone goes by."""
        return wall_ms + self.outbox.ledger.ahead_ms

    def _ping(self, nonce: str, now: float, wall_ms: int, health: Health) -> PingMaker:
        def make(after: int, upto: int) -> bytes:
            server_ms, (_, since) = self._server_ms(wall_ms), self.outbox.waits
            as_of_ms = None if health.as_of_ms is None else self._server_ms(health.as_of_ms)
            if as_of_ms is not None and math.isfinite(since):  # what the phone shows is older than that
                age_s = now - since + self.outbox.ledger.under_way_s
                as_of_ms = min(as_of_ms, server_ms - round(age_s * 1000))
            return self.outbox.codec.encode(
                frames.Ping(
                    after=after,
                    upto=upto,
                    nonce=nonce,
                    as_of_ms=as_of_ms,
                    upstream=health.upstream,
                    bus=health.bus,
                    server_time_ms=server_ms,
                )
            )

        return make
