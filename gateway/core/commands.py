"""Commands of one user: in flight, done, repeated, and the history kept after the user left.

"Lifecycle" in docs/protocol.md: the same key with the same body has the same outcome and is never executed
twice. A command whose fate cannot be known is not executed; its outcome is ``unknown``.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from gateway.domain.commands import Call, Command, History, Outcome, Remembered, Status
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.codec import plain

KeyT = TypeVar("KeyT", bound=Hashable)
WaiterT = TypeVar("WaiterT")
_ABSENT_MAX: Final = 10_000


class CommandHistory(Generic[KeyT, WaiterT]):
    """The commands of the users of one node, by user.

    Invariant: while a user is present, and until their outcomes are forgotten, they have one :class:`Calls`.
    Bounded: of the absent users the one who left first is forgotten; then a retry is ``unknown``.
    """

    def __init__(self, *, absent_max: int = _ABSENT_MAX) -> None:
        self._absent_max = absent_max
        self._present: dict[KeyT, Calls[WaiterT]] = {}
        self._absent: OrderedDict[KeyT, Calls[WaiterT]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._present) + len(self._absent)

    @property
    def users(self) -> tuple[KeyT, ...]:
        """The users of whom commands are known, or may be."""
        return (*self._present, *self._absent)

    def of(self, user: KeyT) -> Calls[WaiterT] | None:
        """Return the user's commands, if any are known."""
        return self._present[user] if user in self._present else self._absent.get(user)

    def came(self, user: KeyT) -> Calls[WaiterT]:
        """Return the user's commands; the user is present from now on."""
        if user not in self._present:
            self._present[user] = self._absent.pop(user) if user in self._absent else Calls()
        return self._present[user]

    def left(self, user: KeyT) -> None:
        """Record that this node no longer acts for the user."""
        calls = self._present.pop(user, None)
        if calls is None or not len(calls):
            return
        self._absent[user] = calls
        if len(self._absent) > self._absent_max:
            self._absent.popitem(last=False)

    def expire(self, now: float) -> None:
        """Forget those whose outcomes were all kept long enough."""
        for user, calls in list(self._absent.items()):
            calls.expire(now)
            if not len(calls):
                del self._absent[user]


"""A caller that waits for an outcome, by the caller's own name for it."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How much is kept and how much may run for one user."""

    keep_s: float = 600.0
    """How long an outcome is kept."""
    per_session: int = 8
    """Commands of one session in flight."""
    per_user: int = 40
    """Commands of one user in flight: five devices at their limit."""
    entries: int = 1024
    """Commands in flight and outcomes together. When full the outcome that settled first is
    dropped early; when all are in flight the newcomer is refused."""
    waiters: int = 16
    """The callers that wait for the same command: a phone that lost its connection asks again."""


@dataclass(frozen=True, slots=True)
class New:
    """Execute it, and settle it whatever happens."""


@dataclass(frozen=True, slots=True)
class Pending:
    """It is being executed; the waiter gets the outcome together with the first one."""


@dataclass(frozen=True, slots=True)
class Done:
    """It was executed: this became of it."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Reused:
    """The key names another command."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """It was sent before, perhaps to another owner or longer ago than is remembered: it may have run."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Too many are in flight; nothing was noted of this one."""


Answered = Done | Reused | Foreign | Busy
Began = New | Pending | Answered


@dataclass(slots=True)
class _InFlight(Generic[WaiterT]):
    body_hash: bytes
    session: str
    waiters: list[WaiterT] = field(default_factory=list)


class _Settled(NamedTuple):
    body_hash: bytes
    outcome: Outcome
    until: float


class Calls(Generic[WaiterT]):
    """The commands of one user.

    Invariants: a key is executed at most once while it is remembered; every waiter that got New
    or Pending is returned by exactly one :meth:`settle`, unless it left; nothing grows beyond
    the limits.

    Keys are the user's, not the session's: a phone that logged on again may ask what became of
    a command.
    """

    def __init__(self, limits: CallLimits | None = None) -> None:
        self._limits = limits or CallLimits()
        self._in_flight: dict[str, _InFlight[WaiterT]] = {}
        self._settled: dict[str, _Settled] = {}  # in the order of their ends
        self._epoch = 0
        self._since = 0
        self._blind_until = float("-inf")

    def __len__(self) -> int:
        return len(self._in_flight) + len(self._settled)

    @property
    def in_flight(self) -> tuple[str, ...]:
        """The keys that are not settled, the oldest first."""
        return tuple(self._in_flight)

    @property
    def remembered(self) -> tuple[tuple[str, Outcome], ...]:
        """The keys that are settled, with what became of each, the oldest first."""
        return tuple((key, settled.outcome) for key, settled in self._settled.items())

    def find(self, key: str, body_hash: bytes, waiter: WaiterT, now: float) -> Began | None:
        """Return what is known of a command that nothing is to be decided on; None when nothing is known.

        Args:
            key: Names the intended action.
            body_hash: Of the command, see :func:`fingerprint`.
            waiter: Gets the outcome when it is Pending.
            now: Monotonic seconds.
        """
        self.expire(now)
        if (done := self._settled.get(key)) is not None:
            return Done(done.outcome) if done.body_hash == body_hash else Reused()
        if (running := self._in_flight.get(key)) is not None:
            return self._join(running, body_hash, waiter)
        return None

    def begin(
        self,
        key: str,
        body_hash: bytes,
        waiter: WaiterT,
        now: float,
        *,
        session: str,
        retry: bool,
        stream_epoch: int | None,
        epoch: int,
    ) -> Began:
        """Process one command that is sent in the same turn, on the link that is open under *epoch*.

        Args:
            key: Names the intended action.
            body_hash: Of the command, see :func:`fingerprint`.
            waiter: Gets the outcome.
            now: Monotonic seconds, as everywhere here.
            session: Whose limit it counts against.
            retry: Whether it may have been sent before by another way: the phone says so, or it had to wait.
            stream_epoch: The epoch that the phone knew when it first sent it.
            epoch: The owner's epoch now.
        """
        self._enter(epoch)
        if (known := self.find(key, body_hash, waiter, now)) is not None:
            return known
        if retry and not self._remembers(stream_epoch, now):
            return Foreign()
        if self._is_busy(session) or not self._make_room():
            return Busy()
        self._in_flight[key] = _InFlight(body_hash, session, [waiter])
        return New()

    def settle(self, key: str, outcome: Outcome, now: float) -> tuple[WaiterT, ...]:
        """Record the outcome of a command; return the callers that wait for it, in the order they came.

        Of a key that is not in flight nothing is noted: its first outcome stands.
        """
        running = self._in_flight.pop(key, None)
        if running is None:
            return ()
        self._settled[key] = _Settled(running.body_hash, outcome, now + self._limits.keep_s)
        return tuple(running.waiters)

    def leave(self, waiter: WaiterT) -> None:
        """Forget a waiter. What it waited for goes on, and its outcome is kept."""
        for running in self._in_flight.values():
            running.waiters = [other for other in running.waiters if other != waiter]

    def expire(self, now: float) -> None:
        """Forget the outcomes that were kept long enough."""
        while self._settled:
            first = next(iter(self._settled))
            if self._settled[first].until > now:
                return
            del self._settled[first]

    def history(self, now: float, *, epoch: int) -> History:
        """Return what the next owner must know.

        The caller first settles what is in flight, as unknown if need be, and begins no more commands.

        Args:
            now: Monotonic seconds.
            epoch: The giver's now, also when nothing was begun in it.

        Raises:
            RuntimeError: Commands are in flight.
        """
        if self._in_flight:
            raise RuntimeError("commands are in flight: settle them first")
        self.expire(now)
        self._enter(epoch)
        outcomes = tuple(
            Remembered(key, done.body_hash, done.outcome, done.until - now)
            for key, done in self._settled.items()
        )
        return History(self._since, max(0.0, self._blind_until - now), outcomes)

    def adopt(self, history: History, epoch: int, now: float) -> None:
        """Take over from an owner that gave the user.

        Args:
            history: That of the node that gives the user.
            epoch: The new owner's: granted in direct succession to the giver's, without an owner between.
            now: Monotonic seconds of the new owner.
        """
        self._enter(epoch)
        self._since = min(self._since, history.since)
        self._blind_until = max(self._blind_until, now + history.blind_s)
        known = self._settled.keys() | self._in_flight.keys()
        taken = {
            one.key: _Settled(one.body_hash, one.outcome, now + min(one.left_s, self._limits.keep_s))
            for one in history.outcomes
            if one.key not in known
        }
        merged = sorted((self._settled | taken).items(), key=lambda item: item[1].until)
        self._settled = dict(merged)
        while len(self) > self._limits.entries and self._settled:
            self._drop_first()

    # ---- inner ----

    def _enter(self, epoch: int) -> None:
        """Begin a new epoch: an owner in between may have executed anything."""
        if epoch > self._epoch:
            self._epoch = self._since = epoch

    def _remembers(self, stream_epoch: int | None, now: float) -> bool:
        """Return whether a key first sent in *stream_epoch* would be known had it been executed.

        It ran in that epoch or in a later one, never in an earlier one: the link is fenced.
        """
        if stream_epoch is None or now < self._blind_until:
            return False
        return self._since <= stream_epoch <= self._epoch

    def _join(self, running: _InFlight[WaiterT], body_hash: bytes, waiter: WaiterT) -> Began:
        if running.body_hash != body_hash:
            return Reused()
        if len(running.waiters) >= self._limits.waiters:
            return Busy()
        running.waiters.append(waiter)
        return Pending()

    def _is_busy(self, session: str) -> bool:
        of_session = sum(running.session == session for running in self._in_flight.values())
        return of_session >= self._limits.per_session or len(self._in_flight) >= self._limits.per_user

    def _make_room(self) -> bool:
        if len(self) >= self._limits.entries and self._settled:
            self._drop_first()
        return len(self) < self._limits.entries

    def _drop_first(self) -> None:
        """Drop the outcome that settled first; until its time was over an unknown key proves nothing."""
        key = next(iter(self._settled))
        self._blind_until = max(self._blind_until, self._settled.pop(key).until)


_UNKNOWN_TEXT: Final = "It may have been executed. Check the state, then retry with a new key."


def answer(began: Answered) -> Outcome:
    """Return the outcome that is given at once."""
    match began:
        case Done(outcome):
            return outcome
        case Reused():
            error = GatewayError(ErrorCode.KEY_REUSED, "The key was used for another command.")
            return Outcome(Status.REJECTED, error)
        case Foreign():
            return Outcome(Status.UNKNOWN, GatewayError(ErrorCode.OTHER_EPOCH, _UNKNOWN_TEXT))
        case Busy():
            error = GatewayError(ErrorCode.OVERLOADED, "Too many commands wait for their result.")
            return Outcome(Status.REJECTED, error)


def fingerprint(command: Command) -> bytes:
    """Return a hash of the command's kind and fields: equal on every node for an equal command.

    In which order the members of a mapping came does not count.
    """
    said = json.dumps(plain(command), sort_keys=True).encode()
    return hashlib.blake2s(said, digest_size=16, person=b"command").digest()


RETRY_S: Final = 4.0
"""For how long the owner of the user is asked for the outcome of a command whose deadline has passed."""


def patience_s(call: Call, wall_ms: int) -> float:
    """Return for how long the user's owner may be asked; a command sent again is asked about in any case."""
    left_s = (call.deadline_ms - wall_ms) / 1000
    return max(left_s, RETRY_S) if call.retry else left_s


def not_begun(call: Call, code: ErrorCode, why: str) -> Outcome:
    """Return the outcome of a command that no node was asked to execute.

    One that is sent again may have been executed when it was sent first.
    """
    if call.retry:
        message = "Outcome unknown: the owner is unreachable. Check the state, then retry with a new key."
        return Outcome(Status.UNKNOWN, GatewayError(ErrorCode.OWNER_LOST, message))
    return Outcome(Status.REJECTED, GatewayError(code, why))
