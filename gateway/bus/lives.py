"""Replay protection of the bus: recorded messages have no effect.

Each message seals its sender's *life* (drawn at the start of a process), a number that counts up over all
channels, and the sender's steady clock. A life is believed once it has answered a challenge of this very
process: from then on its numbers only grow, and what it sent before this process began, or more than
:data:`AGE_S` ago, is dropped. No wall clock and no clock of Redis is trusted for it
(docs/decisions/0025-what-is-repeated-on-the-bus.md).
"""

from __future__ import annotations

import enum
import struct
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

AGE_S: Final = 30.0
"""How old a message may be when it comes."""
LIFE_BYTES: Final = 8
NONCE_BYTES: Final = 16
CHALLENGE_S: Final = 60.0
"""How often all lives are challenged again, since clocks drift."""
FORGOTTEN_S: Final = 300.0
"""A life that answered no challenge for so long is removed; it may prove itself again."""
AGAIN_S: Final = 0.25
"""Between two challenges while messages of an unknown life arrive."""
ANSWERED_S: Final = 5.0
"""The time in which a challenge may be answered."""
HELD_S: Final = 5.0
"""How long a message waits for its life to prove itself; then it is dropped."""
HELD_MAX: Final = 1_000
"""Messages that wait, of all lives together; beyond it the oldest is dropped."""
HELD_BYTES_MAX: Final = 4 * 1024 * 1024
"""The same in bytes."""
LIVES_MAX: Final = 1_024
"""Known lives; beyond it the one that proved itself longest ago is removed."""
ANSWERS_MAX: Final = 64
"""Challenges of other lives to be answered; beyond it the oldest is dropped, and is sent again."""
_HEAD: Final = struct.Struct(f">{LIFE_BYTES}sQQ")
HEAD_BYTES: Final = _HEAD.size


class Head(NamedTuple):
    """The head of each message. *sent_s*: by the sender's own steady clock."""

    life: bytes
    number: int
    sent_s: float


class Greeting(NamedTuple):
    """A challenge (empty: none), and the challenges of other lives that it answers."""

    nonce: bytes
    answers: tuple[bytes, ...] = ()


class Freshness(enum.Enum):
    """The verdict on a message."""

    NEW = enum.auto()
    REPEATED = enum.auto()
    """Its number is not above the last one: recorded and sent again, or out of order."""
    LATE = enum.auto()
    """It was sent too long ago: held back, or recorded before this process began."""
    UNPROVEN = enum.auto()
    """Its life has not proved itself yet: it may wait, see :meth:`Lives.hold`."""


class WaitingMessage(NamedTuple):
    """A message that waits for its life to prove itself."""

    head: Head
    came_at: float
    channel: bytes
    body: bytes


class _Known(NamedTuple):
    """A life that answered a challenge, asked at *asked_at* and answered at *answered_at* by this clock.

    Its answer was sent at *sent_s* by its own clock, and so between these two.
    """

    asked_at: float
    answered_at: float
    sent_s: float

    def earliest(self, sent_s: float) -> float:
        """Return when a message was sent, by this clock, at the earliest."""
        return self.asked_at + (sent_s - self.sent_s)

    def latest(self, sent_s: float) -> float:
        """Return when a message was sent, by this clock, at the latest."""
        return self.answered_at + (sent_s - self.sent_s)


class Lives:
    """The lives of the senders that this process receives from, and its own. Pure.

    Invariants: of each life numbers that are :attr:`Freshness.NEW` only grow; nothing is new that was sent
    before this process began, or that its sender's life has not vouched for by an answer to a challenge
    drawn here. Bounded in lives, messages and bytes.

    Args:
        draw: Draws that many unpredictable bytes.
        now: When this process began, in seconds of its steady clock.
    """

    def __init__(self, draw: Callable[[int], bytes], now: float) -> None:
        self.own: Final = draw(LIFE_BYTES)
        self._draw = draw
        self._born_at = now
        self._number = 0
        self._known: dict[bytes, _Known] = {}
        """In the order of their last proofs."""
        self._passed: dict[bytes, int] = {self.own: 0}
        """The highest number of each known life that came."""
        self._asked: dict[bytes, float] = {}
        """Challenges that may still be answered, and when they were drawn."""
        self._asked_at: float | None = None
        self._answers: deque[bytes] = deque(maxlen=ANSWERS_MAX)
        self._held: deque[WaitingMessage] = deque()
        self._held_bytes = 0
        self._is_wanted = True
        """Whether a challenge is due."""

    def __len__(self) -> int:
        return len(self._known)

    @property
    def held(self) -> int:
        """How many messages wait."""
        return len(self._held)

    def stamp(self, now: float) -> bytes:
        """Return the head of the next message of this process."""
        self._number += 1
        return _HEAD.pack(self.own, self._number, max(0, round(now * 1e6)))

    # ---- messages ----

    def judge(self, head: Head, now: float) -> Freshness:
        """Return the verdict on a message that came at *now*, and store the number of a new one."""
        passed = self._passed.get(head.life)
        if passed is None:
            self._is_wanted = True
            return Freshness.UNPROVEN
        if head.number <= passed:
            return Freshness.REPEATED
        known = self._known.get(head.life)
        sent_at = head.sent_s if known is None else known.latest(head.sent_s)
        if now - sent_at > AGE_S:
            self._is_wanted = True  # unless its clock stood still, which its next answer shows
            return Freshness.LATE
        self._passed[head.life] = head.number
        return Freshness.NEW

    def age_s(self, head: Head, now: float) -> float:
        """Return how long a message was under way at least, independent of wall clocks."""
        known = self._known.get(head.life)
        return max(0.0, now - (head.sent_s if known is None else known.latest(head.sent_s)))

    def hold(self, held: WaitingMessage) -> int:
        """Let a message wait. Returns how many others were dropped for it."""
        self._held.append(held)
        self._held_bytes += len(held.body)
        dropped = 0
        while len(self._held) > HELD_MAX or self._held_bytes > HELD_BYTES_MAX:
            self._held_bytes -= len(self._held.popleft().body)
            dropped += 1
        return dropped

    def expire(self, now: float) -> int:
        """Remove what has expired. Returns how many waiting messages were dropped."""
        dropped = 0
        while self._held and now - self._held[0].came_at >= HELD_S:
            self._held_bytes -= len(self._held.popleft().body)
            dropped += 1
        self._asked = {nonce: at for nonce, at in self._asked.items() if now - at < ANSWERED_S}
        for life in [life for life, known in self._known.items() if now - known.answered_at >= FORGOTTEN_S]:
            self._forget(life)
        return dropped

    # ---- greetings ----

    def due_at(self, now: float) -> float:
        """Return when the next :meth:`greeting` is due, if nothing is received before."""
        if self._answers or self._asked_at is None:
            return now
        if self._is_wanted or self._held:
            return self._asked_at + AGAIN_S
        return self._asked_at + CHALLENGE_S

    def greeting(self, now: float) -> Greeting:
        """Return the greeting to be published now."""
        nonce = b""
        if self._asked_at is None or now >= self._asked_at + AGAIN_S:
            nonce = self._draw(NONCE_BYTES)
            self._asked[nonce] = self._asked_at = now
            self._is_wanted = False
        answers = tuple(self._answers)
        self._answers.clear()
        return Greeting(nonce, answers)

    def unheard(self) -> None:
        """Record that the last greeting was not published."""
        self._is_wanted = True

    def greeted(self, head: Head, said: Greeting, now: float) -> tuple[Freshness, list[WaitingMessage]]:
        """Process a greeting. Returns the verdict on it, and the waiting messages that it releases.

        A challenge of an unknown life is answered as well: that proves nothing to this process.
        """
        if head.life == self.own:
            return self.judge(head, now), []
        if head.number <= self._passed.get(head.life, 0):
            return Freshness.REPEATED, []
        asked_at = max((self._asked[each] for each in said.answers if each in self._asked), default=None)
        if said.nonce:
            self._answers.append(said.nonce)
        if asked_at is None:
            is_known = head.life in self._passed
            self._is_wanted = self._is_wanted or not is_known
            if is_known:
                self._passed[head.life] = head.number
            return (Freshness.NEW if is_known else Freshness.UNPROVEN), []
        return Freshness.NEW, self._prove(head, _Known(asked_at, now, head.sent_s))

    def _prove(self, head: Head, known: _Known) -> list[WaitingMessage]:
        """Accept a life from now on, and return its waiting messages sent since this process started."""
        is_new = self._known.pop(head.life, None) is None
        self._known[head.life] = known
        while len(self._known) > LIVES_MAX:
            self._forget(next(iter(self._known)))
        waited = [held for held in self._held if held.head.life == head.life] if is_new else []
        if waited:
            self._held = deque(held for held in self._held if held.head.life != head.life)
            self._held_bytes = sum(len(held.body) for held in self._held)
        passed, released = 0, []
        for held in waited:
            if passed < held.head.number < head.number and self._is_of_now(known, held):
                passed = held.head.number
                released.append(held)
        self._passed[head.life] = head.number
        return released

    def _is_of_now(self, known: _Known, held: WaitingMessage) -> bool:
        sent_s = held.head.sent_s
        return known.earliest(sent_s) >= self._born_at and held.came_at - known.latest(sent_s) <= AGE_S

    def _forget(self, life: bytes) -> None:
        del self._known[life], self._passed[life]


# ---- as bytes ----

_GREETING: Final = msgspec.msgpack.Decoder(Greeting)


def opened(plain: bytes) -> tuple[Head, bytes] | None:
    """Return the head of a message and what follows; None when it has none."""
    if len(plain) < HEAD_BYTES:
        return None
    life, number, micros = _HEAD.unpack_from(plain)
    return Head(life, number, micros / 1e6), plain[HEAD_BYTES:]


def written(greeting: Greeting) -> bytes:
    """Return a greeting as bytes."""
    return msgspec.msgpack.encode(greeting)


def read(body: bytes) -> Greeting | None:
    """Return the greeting that *body* is; None when it is none."""
    try:
        greeting = _GREETING.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    sizes = {len(each) for each in (greeting.nonce, *greeting.answers) if each}
    return greeting if sizes <= {NONCE_BYTES} and len(greeting.answers) <= ANSWERS_MAX else None
