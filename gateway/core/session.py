"""What happens next on one client connection?

A pure machine: it is told frames, the owner's answers and the time, and answers with three
kinds of effects to be carried out, Attach, Invoke and Close, and others that are only worth noting.
What is to be sent waits in its outbox. It never raises on what a phone sends.
"""

from __future__ import annotations

import enum
from typing import Final, TypeGuard, assert_never

from gateway.core.effects import Attach, Close, Effects, Health, SessionLimits
from gateway.core.fanout_group import FanoutGroup
from gateway.core.ledger import Ledger
from gateway.core.live import Live
from gateway.core.rate_violations import ANY_TIME, Record, Ruling, full_after
from gateway.core.view import facts_key
from gateway.domain.commands import Outcome
from gateway.domain.errors import CloseCode, ErrorCode, advice, is_final
from gateway.domain.model import Ticket
from gateway.protocol import frames
from gateway.protocol.codec import BadFrame, Codec
from gateway.protocol.envelopes import SessionFacts


class State(enum.StrEnum):
    """Where a connection stands."""

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

_WRONG_TYPE: Final = 1003
"""RFC 6455 §7.4.1: data of a type that is not accepted."""
_NORMAL: Final = 1000


class _Greeting:
    """What is known of a connection until it is served.

    Args:
        by: Until when it must have said hello; monotonic seconds.
        jitter: In [0, 1): spreads the pings.
    """

    __slots__ = ("by", "hello", "jitter")

    def __init__(self, by: float, jitter: float) -> None:
        self.by = by
        self.jitter = jitter
        self.hello: frames.Hello | None = None


class Session:
    """One phone's connection, from hello to close.

    Invariants: nothing of the mirror is framed before OSCC-E accepted the session; after
    :class:`Close` nothing more is asked or taken in; an illegal transition changes nothing.

    Args:
        codec: The subprotocol that was agreed on.
        limits: What it may take.
        now: Monotonic seconds, here and everywhere below.
        jitter: In [0, 1): spreads the pings.
    """

    __slots__ = (
        "_bye",
        "_codec",
        "_full_at",
        "_greeting",
        "_limits",
        "_record",
        "live",
        "state",
    )

    def __init__(self, codec: Codec, limits: SessionLimits, now: float, jitter: float) -> None:
        self.state = State.HELLO
        self.live: Live | None = None
        self._codec = codec
        self._limits = limits
        self._full_at = ANY_TIME
        self._record: Record | None = None
        self._greeting: _Greeting | None = _Greeting(now + limits.hello_s, jitter)
        self._bye: bytes | None = None

    # ---- what it is told ----

    def receive(self, data: bytes, now: float, wall_ms: int) -> Effects:
        """Take in one message as it came from the phone."""
        if self.state is State.CLOSING:
            return ()
        if self.live is not None:
            self.live.heard()
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

    def stirred(self) -> None:
        """Take in that a ping or pong of RFC 6455 came: any frame shows that the phone lives."""
        if self.live is not None:
            self.live.heard()

    def wrong_type(self) -> Effects:
        """Take in a message of the wrong type: text for binary or the reverse."""
        return self.violated(_WRONG_TYPE, "wrong message type")

    def violated(self, code: int, reason: str) -> Effects:
        """Take in a breach of RFC 6455, which closes with *code*; before `welcome` any breach closes 4000."""
        return self._close(Close(code if self.live is not None else CloseCode.PROTOCOL_ERROR, reason))

    def attached(
        self, ticket: Ticket, facts: SessionFacts, ledger: Ledger, now: float, wall_ms: int
    ) -> Effects:
        """Take in that OSCC-E has accepted the session: welcome, and what the phone is missing."""
        greeting = self._greeting
        if greeting is None or greeting.hello is None or not self._move("attached"):
            return ()
        self._greeting = None
        hello, jitter = greeting.hello, greeting.jitter
        self.live = Live(_as_held(facts, ledger), ledger, self._codec, hello, self._limits, now, jitter)
        return self._run(self.live.welcome(ticket, hello, wall_ms))

    def learned(self, facts: SessionFacts) -> Effects:
        """Take in what OSCC-E says of this session now; what is left at a close leaves within that scope."""
        return () if self.live is None else self._run(self.live.learned(facts))

    def settled(self, frame_id: str, outcome: Outcome) -> Effects:
        """Take in what became of a command. The state it caused leaves first."""
        return self._run(self.live.settled(frame_id, outcome)) if self._is_live(self.live) else ()

    def post(self, frame: frames.ControlFrame) -> Effects:
        """Queue a frame of the gateway's own: a notice or a renewed token."""
        return self._run(self.live.post(frame)) if self._is_live(self.live) else ()

    def tick(self, now: float) -> Effects:
        """Take in that time has passed."""
        if self.state is State.HELLO and self._greeting is not None and now >= self._greeting.by:
            return self._close(Close(CloseCode.HELLO_TIMEOUT, "no hello in time"))
        return self._run(self.live.tick(now)) if self._is_live(self.live) else ()

    def close(
        self,
        code: CloseCode,
        reason: str,
        *,
        by: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> Effects:
        """End the connection: a `bye` with *code*, then the close. Closing twice does nothing."""
        return self._close(Close(code, reason, by, window_s))

    def flushed(self, *, drained: bool) -> None:
        """Note how a flush found the socket; sets the pace."""
        if self.live is not None:
            self.live.flushed(drained=drained)

    def unsent(self, now: float) -> None:
        """Note that what was written has not left yet: the phone answers no ping that it has not got."""
        if self.live is not None:
            self.live.unsent(now)

    def keep_apart(self, *, apart: bool) -> None:
        """Note whether the phone takes what is written: while it does not, it is in step with nobody."""
        if self.live is not None:
            self.live.outbox.keep_apart(apart=apart)

    def release(self) -> None:
        """Stop reading the mirror: the connection is gone."""
        self._move("close")
        if self.live is not None:
            self.live.outbox.close()
            self.live = None

    # ---- what it gives ----

    @property
    def fanout_group(self) -> FanoutGroup | None:
        """Those in step with whom its state leaves."""
        return None if self.live is None else self.live.outbox.fanout_group

    def due_at(self, now: float, health: Health) -> float | None:
        """Return when :meth:`tick` or :meth:`take` has something to do: *now* or later; None: never."""
        if self._bye is not None:
            return now
        if self.state is State.HELLO and self._greeting is not None:
            return self._greeting.by
        return self.live.due_at(now, health) if self._is_live(self.live) else None

    def take(self, now: float, wall_ms: int, health: Health) -> list[bytes]:
        """Remove and return the frames that leave now, in order; a `bye` is the last ever.

        At a close the control frames that are left leave once; then the mirror is let go.
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
                return self._on_pong(frame, now)
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
        return (Attach(hello.token, hello.topics, hello.client),)

    def _on_pong(self, pong: frames.Pong, now: float) -> Effects:
        return () if self.live is None else self.live.pong(pong.nonce, now)

    def _bad_frame(self, bad: BadFrame, now: float) -> Effects:
        if self.live is None:
            return self._close(Close(CloseCode.PROTOCOL_ERROR, bad.reason))
        if bad.close_code is not None:
            return self._close(Close(bad.close_code))
        if self._kept_record().error(now, self._limits) is Ruling.CLOSE:
            return self._close(Close(CloseCode.TOO_MANY_ERRORS, "too many bad frames"))
        return self._run(
            self.live.post(frames.ErrorFrame(ErrorCode.BAD_REQUEST, bad.reason, id=bad.frame_id))
        )

    def _kept_record(self) -> Record:
        """Return what the phone has done wrong, which is written down from now on."""
        self._record = self._record or Record()
        return self._record

    def _over_rate(self, ruling: Ruling) -> Effects:
        if ruling is Ruling.CLOSE:
            return self._close(Close(CloseCode.RATE_LIMITED, "too many frames"))
        if ruling is Ruling.DROP or self.live is None:
            return ()
        message = "Frames came too fast and were dropped."
        return self._run(
            self.live.post(frames.ErrorFrame(ErrorCode.RATE_LIMITED, message, retry_after_s=1.0))
        )

    def _run(self, effects: Effects) -> Effects:
        """Hand effects on; a close among them ends the session and everything after it."""
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

    def _move(self, event: str) -> bool:
        """Make the transition that the table has for *event*; False and no change when it has none."""
        target = TRANSITIONS.get((self.state, event))
        if target is None:
            return False
        self.state = target
        return True

    def _is_live(self, live: Live | None) -> TypeGuard[Live]:
        return live is not None and self.state is State.LIVE


def _as_held(facts: SessionFacts, ledger: Ledger) -> SessionFacts:
    """Return what *ledger* holds of the session if it says the same as *facts*: one object, not two."""
    held = ledger.get(facts_key(facts.handle))
    return held.value if held is not None and held.value == facts else facts
