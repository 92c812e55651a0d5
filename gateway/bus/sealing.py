"""Sealed envelopes: Redis can neither read nor forge a message, and a replayed message has no effect.

Sealing: AES-256-GCM under keys with ids. The first key seals and all keys open, so that keys can be
rotated while nodes run. Bytes: ``length of id ‖ key id ‖ nonce ‖ sealed``. The name of the channel is
authenticated too: a message that was moved to another channel does not open.

Replay protection: each message seals its sender's *life* (drawn at the start of a process), a number that
counts up over all channels, and the sender's steady clock. A life is trusted once it has answered a
challenge of this process. From then on its numbers must grow. Messages from before the start of this
process, or older than :data:`AGE_S`, are dropped. No wall clock and no clock of Redis is used
(docs/decisions/0025-replay-protection-on-the-bus.md).
"""

from __future__ import annotations

import enum
import struct
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES: Final = 32
_LABEL: Final = b"bus"
_FIXED_BYTES: Final = 8
_COUNTER_BYTES: Final = 4
_NONCE_BYTES: Final = _FIXED_BYTES + _COUNTER_BYTES
_COUNTED: Final = 1 << 8 * _COUNTER_BYTES
_TAG_BYTES: Final = 16
_ID_BYTES_MAX: Final = 255
_AT_REST: Final = b"value of "
"""Prefix of a key's name: a value sealed for a key opens on no channel, and the reverse."""


class DropReason(enum.StrEnum):
    """Why a received message or a value was dropped."""

    GARBAGE = "garbage"
    UNKNOWN_KEY = "unknown_key"
    FORGED = "forged"
    """Damaged, sealed with another key under a known id, or moved here from another channel."""
    UNREADABLE = "unreadable"
    """Genuine, but no envelope of this version."""
    REPEATED = "repeated"
    """Genuine, and received before, or out of order: it was recorded and sent again."""
    LATE = "late"
    """Genuine, but sent too long ago: the message or this process was delayed."""
    UNPROVEN = "unproven"
    """Genuine, but its sender did not prove in time that it runs: recorded before this process started."""


class Seals:
    """Seals the messages that a node publishes, and opens those that it receives.

    Invariants: what opens was sealed for this channel by a node with one of the same keys, bit for bit; no
    nonce is used twice. Nonces count up behind a random field of 64 bits, which is drawn at the start and
    again whenever the 32 bits of the counter are used up (NIST SP 800-38D §8.2.1): wholly random ones would
    use a key up in a day of 50,000 messages a second (§8.3), and cost more to draw.

    Args:
        keys: (id, 32 secret bytes), one at least. The first seals, all open.

    Raises:
        ValueError: There is no key, or one has another length or too long an id.
    """

    def __init__(self, keys: Sequence[tuple[str, bytes]], draw: Callable[[int], bytes]) -> None:
        self._draw = draw
        self._ciphers: dict[bytes, AESGCM]
        self.rekey(keys)
        self._fixed = draw(_FIXED_BYTES)
        self._count = 0
        self.dropped: Final[Counter[DropReason]] = Counter()
        """Envelopes dropped since the start, by reason; readers of envelopes add those that they cannot
        decode.
        """

    def rekey(self, keys: Sequence[tuple[str, bytes]]) -> None:
        """Use *keys* instead of the present ones from now on.

        Raises:
            ValueError: As at the start; the keys in force stay.
        """
        if not keys:
            raise ValueError("there is no sealing key")
        ciphers = {_head(name): AESGCM(_derive(secret)) for name, secret in keys}
        self._ciphers = ciphers
        self._first_head, self._first = next(iter(ciphers.items()))

    def seal(self, channel: bytes, plain: bytes) -> bytes:
        """Return *plain* sealed for *channel*."""
        nonce = self._fixed + self._count.to_bytes(_COUNTER_BYTES, "big")
        self._count += 1
        if self._count == _COUNTED:
            self._fixed, self._count = self._draw(_FIXED_BYTES), 0
        return self._first_head + nonce + self._first.encrypt(nonce, plain, channel)

    def open(self, channel: bytes, sealed: bytes) -> bytes | None:
        """Return the content sealed for *channel*; None, counted, when it does not open."""
        at = 1 + sealed[0] if sealed else 0
        cipher = self._ciphers.get(sealed[:at])
        if not at or len(sealed) < at + _NONCE_BYTES + _TAG_BYTES:
            self.drop(DropReason.GARBAGE)
        elif cipher is None:
            self.drop(DropReason.UNKNOWN_KEY)
        else:
            try:
                return cipher.decrypt(sealed[at : at + _NONCE_BYTES], sealed[at + _NONCE_BYTES :], channel)
            except InvalidTag:
                self.drop(DropReason.FORGED)
        return None

    def seal_value(self, key: bytes, plain: bytes) -> bytes:
        """Return *plain* sealed as the value that stands under *key* in Redis."""
        return self.seal(_AT_REST + key, plain)

    def open_value(self, key: bytes, sealed: bytes) -> bytes | None:
        """Return the content sealed as the value of *key*; None, counted, when it does not open.

        An older value of the same key opens as well: the plain text must hold what makes it out of date.
        """
        return self.open(_AT_REST + key, sealed)

    def drop(self, why: DropReason, times: int = 1) -> None:
        """Count dropped messages."""
        if times:
            self.dropped[why] += times

    def __repr__(self) -> str:
        return f"Seals({len(self._ciphers)} keys)"


def _head(name: str) -> bytes:
    raw = name.encode()
    if not 0 < len(raw) <= _ID_BYTES_MAX:
        raise ValueError("a key id has 1 to 255 bytes")
    return bytes([len(raw)]) + raw


def _derive(secret: bytes) -> bytes:
    if len(secret) != _KEY_BYTES:
        raise ValueError("a sealing key has 32 bytes")
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=_LABEL).derive(secret)


AGE_S: Final = 30.0
"""Highest age of a message at its receipt."""
INSTANCE_BYTES: Final = 8
NONCE_BYTES: Final = 16
CHALLENGE_S: Final = 60.0
"""Interval in which all instances are challenged again, since clocks drift."""
FORGOTTEN_S: Final = 300.0
"""An instance without an answer for this time is removed; it may prove itself again."""
CHALLENGE_SOON_S: Final = 0.25
"""Interval between two challenges while messages of an unknown instance arrive."""
ANSWERED_S: Final = 5.0
"""The time in which a challenge may be answered."""
HELD_S: Final = 5.0
"""How long a message waits for the proof of its sender; then it is dropped."""
HELD_MAX: Final = 1_000
"""Messages that wait, of all instances together; beyond this the oldest is dropped."""
HELD_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of these messages."""
INSTANCES_MAX: Final = 1_024
"""Known instances; beyond this the one that proved itself longest ago is removed."""
ANSWERS_MAX: Final = 64
"""Challenges of other instances to be answered; beyond this the oldest is dropped, and is sent again."""
_HEAD: Final = struct.Struct(f">{INSTANCE_BYTES}sQQ")
HEAD_BYTES: Final = _HEAD.size


class Head(NamedTuple):
    """The head of each message. *sent_s*: by the sender's own steady clock."""

    instance: bytes
    number: int
    sent_s: float


class Greeting(NamedTuple):
    """A challenge (empty: none), and the challenges of other instances that it answers."""

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
    """Its sender has not proved itself yet: it may wait, see :meth:`SenderInstances.hold`."""


class WaitingMessage(NamedTuple):
    """A message that waits for its sender to prove itself."""

    head: Head
    came_at: float
    channel: bytes
    body: bytes


class _ProvenInstance(NamedTuple):
    """A process that answered a challenge at *answered_at* by this clock.

    This clock is ahead of its clock by *least_s* to *most_s*: its answer was sent after the challenge, and
    before it came.
    """

    answered_at: float
    least_s: float
    most_s: float


class SenderInstances:
    """The processes that send to this one, and its own instance: each start of a node is another. Pure.

    Invariants: of each instance numbers that are :attr:`Freshness.NEW` only grow; nothing is new that was
    sent before this process began, or whose sender has not answered a challenge of this process. Bounded in
    instances, messages and bytes.

    Args:
        now: When this process began, in seconds of its steady clock.
    """

    def __init__(self, draw: Callable[[int], bytes], now: float) -> None:
        self.own: Final = draw(INSTANCE_BYTES)
        self._draw = draw
        self._born_at = now
        self._number = 0
        self._known: dict[bytes, _ProvenInstance] = {}
        """Known senders, in the order of their last proofs."""
        self._passed: dict[bytes, int] = {self.own: 0}
        """The highest number received of each known instance."""
        self._asked: dict[bytes, float] = {}
        """Challenges that may still be answered, with the time of each."""
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
        passed = self._passed.get(head.instance)
        if passed is None:
            self._is_wanted = True
            return Freshness.UNPROVEN
        if head.number <= passed:
            return Freshness.REPEATED
        known = self._known.get(head.instance)
        sent_at = head.sent_s if known is None else head.sent_s + known.most_s
        if now - sent_at > AGE_S:
            self._is_wanted = True  # unless its clock stood still, which its next answer shows
            return Freshness.LATE
        self._passed[head.instance] = head.number
        return Freshness.NEW

    def age_s(self, head: Head, now: float) -> float:
        """Return how long a message was under way at least, independent of wall clocks."""
        known = self._known.get(head.instance)
        return max(0.0, now - (head.sent_s if known is None else head.sent_s + known.most_s))

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
        for instance in [
            instance for instance, known in self._known.items() if now - known.answered_at >= FORGOTTEN_S
        ]:
            self._forget(instance)
        return dropped

    # ---- greetings ----

    def due_at(self, now: float) -> float:
        """Return when the next :meth:`greeting` is due, if nothing is received before."""
        if self._answers or self._asked_at is None:
            return now
        if self._is_wanted or self._held:
            return self._asked_at + CHALLENGE_SOON_S
        return self._asked_at + CHALLENGE_S

    def greeting(self, now: float) -> Greeting:
        """Return the greeting to be published now."""
        nonce = b""
        if self._asked_at is None or now >= self._asked_at + CHALLENGE_SOON_S:
            nonce = self._draw(NONCE_BYTES)
            self._asked[nonce] = self._asked_at = now
            self._is_wanted = False
        answers = tuple(self._answers)
        self._answers.clear()
        return Greeting(nonce, answers)

    def challenge_again(self) -> None:
        """Challenge all instances soon: the last challenge, or an answer to it, may be lost."""
        self._is_wanted = True

    def greeted(self, head: Head, greeting: Greeting, now: float) -> tuple[Freshness, list[WaitingMessage]]:
        """Process a greeting. Returns the verdict on it, and the waiting messages that it releases.

        A challenge of an unknown instance is answered as well: that proves nothing to this process.
        """
        if head.instance == self.own:
            return self.judge(head, now), []
        if head.number <= self._passed.get(head.instance, 0):
            return Freshness.REPEATED, []
        asked_at = max((self._asked[each] for each in greeting.answers if each in self._asked), default=None)
        if greeting.nonce:
            self._answers.append(greeting.nonce)
        if asked_at is None:
            is_known = head.instance in self._passed
            self._is_wanted = self._is_wanted or not is_known
            if is_known:
                self._passed[head.instance] = head.number
            return (Freshness.NEW if is_known else Freshness.UNPROVEN), []
        return Freshness.NEW, self._prove(
            head, _ProvenInstance(now, asked_at - head.sent_s, now - head.sent_s)
        )

    def _prove(self, head: Head, known: _ProvenInstance) -> list[WaitingMessage]:
        """Accept an instance from now on; return its waiting messages that were sent since this one began."""
        is_new = self._known.pop(head.instance, None) is None
        self._known[head.instance] = known
        while len(self._known) > INSTANCES_MAX:
            self._forget(next(iter(self._known)))
        waited = [held for held in self._held if held.head.instance == head.instance] if is_new else []
        if waited:
            self._held = deque(held for held in self._held if held.head.instance != head.instance)
            self._held_bytes = sum(len(held.body) for held in self._held)
        passed, released = 0, []
        for held in waited:
            if passed < held.head.number < head.number and self._is_of_now(known, held):
                passed = held.head.number
                released.append(held)
        self._passed[head.instance] = head.number
        return released

    def _is_of_now(self, known: _ProvenInstance, held: WaitingMessage) -> bool:
        sent_s = held.head.sent_s
        is_since_start = sent_s + known.least_s >= self._born_at
        return is_since_start and held.came_at - (sent_s + known.most_s) <= AGE_S

    def _forget(self, instance: bytes) -> None:
        del self._known[instance], self._passed[instance]


# ---- as bytes ----

_GREETING: Final = msgspec.msgpack.Decoder(Greeting)


def opened(plain: bytes) -> tuple[Head, bytes] | None:
    """Return the head of a message and what follows; None when it has none."""
    if len(plain) < HEAD_BYTES:
        return None
    instance, number, micros = _HEAD.unpack_from(plain)
    head: Head = tuple.__new__(Head, (instance, number, micros / 1e6))  # a call less for each message
    return head, plain[HEAD_BYTES:]


def written(greeting: Greeting) -> bytes:
    """Return a greeting as bytes."""
    return msgspec.msgpack.encode(greeting)


def read(body: bytes) -> Greeting | None:
    """Return the greeting in *body*; None when there is none."""
    try:
        greeting = _GREETING.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    sizes = {len(each) for each in (greeting.nonce, *greeting.answers) if each}
    return greeting if sizes <= {NONCE_BYTES} and len(greeting.answers) <= ANSWERS_MAX else None
