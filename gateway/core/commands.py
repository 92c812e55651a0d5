"""Commands of one user: in flight, done, repeated, and the history kept after the user left.

"Commands" in docs/protocol.md: the same key with the same body has the same outcome and is never executed
twice. A command that may have been executed without a record is not executed; its outcome is ``unknown``.
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
from gateway.protocol.codec import plain_fields

KeyT = TypeVar("KeyT", bound=Hashable)
WaiterT = TypeVar("WaiterT")
_ABSENT_MAX: Final = 10_000


class CommandHistory(Generic[KeyT, WaiterT]):
    """The commands of the users of one node, by user.

    Invariant: a user has one :class:`Calls` while present, and until their outcomes are removed. Bounded: of
    the absent users, the one who left first is removed; then a retry is ``unknown``.
    """

    def __init__(self, *, absent_max: int = _ABSENT_MAX) -> None:
        self._absent_max = absent_max
        self._present: dict[KeyT, Calls[WaiterT]] = {}
        self._absent: OrderedDict[KeyT, Calls[WaiterT]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._present) + len(self._absent)

    @property
    def users(self) -> tuple[KeyT, ...]:
        """The users with stored commands, or who may have some."""
        return (*self._present, *self._absent)

    def of(self, user: KeyT) -> Calls[WaiterT] | None:
        """Return the user's commands, if there are any."""
        return self._present[user] if user in self._present else self._absent.get(user)

    def came(self, user: KeyT) -> Calls[WaiterT]:
        """Return the user's commands, and record that the user is present."""
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
        """Remove the users whose outcomes were all kept long enough."""
        for user, calls in list(self._absent.items()):
            calls.expire(now)
            if not len(calls):
                del self._absent[user]


"""A caller that waits for an outcome, by its own id."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Limits of stored and running commands of one user."""

    keep_s: float = 600.0
    """How long an outcome is kept."""
    per_session: int = 8
    """Commands of one session in flight."""
    per_user: int = 40
    """Commands of one user in flight: five devices at their limit."""
    entries: int = 1024
    """Commands in flight and outcomes together. When full, the outcome that settled first is dropped early;
    when all are in flight, a new command is refused.
    """
    waiters: int = 16
    """Callers that wait for the same command: a phone that lost its connection sends it again."""


_LIMITS: Final = CallLimits()


@dataclass(frozen=True, slots=True)
class New:
    """The command is new: execute it, and settle it in any case."""


@dataclass(frozen=True, slots=True)
class Pending:
    """The command is running; the waiter gets the outcome together with the first one."""


@dataclass(frozen=True, slots=True)
class Done:
    """The command was executed, with this outcome."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Reused:
    """The key names another command."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """The command was sent before, perhaps to another owner or longer ago than the records reach.

    It may have run.
    """


@dataclass(frozen=True, slots=True)
class Busy:
    """Too many commands are in flight; this one was not recorded."""


_NEW: Final = New()
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

    Invariants: a key is executed at most once while it is recorded. Exactly one :meth:`settle` returns each
    waiter that got New or Pending, unless it left. The limits bound everything.

    Keys belong to the user, not to the session: a phone that logged on again may ask for the outcome of an
    earlier command.
    """

    __slots__ = ("_blind_until", "_epoch", "_in_flight", "_limits", "_settled", "_since")

    def __init__(self, limits: CallLimits | None = None) -> None:
        self._limits = limits or _LIMITS
        self._in_flight: dict[str, _InFlight[WaiterT]] = {}
        self._settled: dict[str, _Settled] = {}  # in the order in which they expire
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
        """The settled keys with their outcomes, the oldest first."""
        return tuple((key, settled.outcome) for key, settled in self._settled.items())

    def find(self, key: str, body_hash: bytes, waiter: WaiterT, now: float) -> Began | None:
        """Return the record of a command without deciding on it; None when there is none.

        Args:
            key: The id of the intended action.
            body_hash: The hash of the command, see :func:`fingerprint`.
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
        """Process a command that is sent in the same turn, on the link of *epoch*.

        Args:
            key: The id of the intended action.
            body_hash: The hash of the command, see :func:`fingerprint`.
            waiter: Gets the outcome.
            now: Monotonic seconds, as everywhere here.
            session: The session whose limit it counts against.
            retry: Whether it may have been sent before: the phone marks it, or it had to wait.
            stream_epoch: The phone's epoch when it first sent it.
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
        return _NEW

    def settle(self, key: str, outcome: Outcome, now: float) -> tuple[WaiterT, ...]:
        """Record the outcome of a command; return its waiting callers, in the order they came.

        Nothing is recorded for a key that is not in flight: its first outcome is final.
        """
        running = self._in_flight.pop(key, None)
        if running is None:
            return ()
        self._settled[key] = _Settled(running.body_hash, outcome, now + self._limits.keep_s)
        return tuple(running.waiters)

    def leave(self, waiter: WaiterT) -> None:
        """Remove a waiter. Its command continues, and the outcome is stored."""
        for running in self._in_flight.values():
            running.waiters = [other for other in running.waiters if other != waiter]

    def expire(self, now: float) -> None:
        """Remove the outcomes that were kept long enough."""
        while self._settled:
            first = next(iter(self._settled))
            if self._settled[first].until > now:
                return
            del self._settled[first]

    def history(self, now: float, *, epoch: int) -> History:
        """Return the history for the next owner.

        The caller first settles the commands in flight, as unknown if necessary, and begins no more commands.

        Args:
            now: Monotonic seconds.
            epoch: The present epoch of the giving owner, also when no command was begun in it.

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
        """Import the history of an owner that gave the user away.

        Args:
            history: The history of the giving node.
            epoch: The new owner's epoch: granted directly after the giver's, without an owner in between.
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
        """Begin a new epoch: an owner in between may have executed any command."""
        if epoch > self._epoch:
            self._epoch = self._since = epoch

    def _remembers(self, stream_epoch: int | None, now: float) -> bool:
        """Return whether a command first sent in *stream_epoch* would have a record if it had run.

        It can have run in that epoch or a later one, never in an earlier one, because the link is fenced.
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
        limits, running = self._limits, self._in_flight
        if len(running) < min(limits.per_session, limits.per_user):
            return False
        of_session = [one.session for one in running.values()].count(session)
        return of_session >= limits.per_session or len(running) >= limits.per_user

    def _make_room(self) -> bool:
        room = self._limits.entries - len(self._in_flight) - len(self._settled)
        if room <= 0 and self._settled:
            self._drop_first()
            room += 1
        return room > 0

    def _drop_first(self) -> None:
        """Drop the outcome that settled first; until its time is over, an unknown key proves nothing."""
        key = next(iter(self._settled))
        self._blind_until = max(self._blind_until, self._settled.pop(key).until)


_UNKNOWN_TEXT: Final = "It may have been executed. Check the state, then retry with a new key."


def answer(began: Answered) -> Outcome:
    """Return the outcome that is available at once."""
    match began:
        case Done(outcome):
            return outcome
        case Reused():
            error = GatewayError(ErrorCode.KEY_REUSED, "The key was used for another command.")
            return Outcome(Status.REJECTED, error)
        case Foreign():
            return unknown(ErrorCode.OTHER_EPOCH)
        case Busy():
            error = GatewayError(ErrorCode.OVERLOADED, "Too many commands wait for their result.")
            return Outcome(Status.REJECTED, error)


_SORTED: Final = json.JSONEncoder(sort_keys=True).encode


def fingerprint(command: Command) -> bytes:
    """Return a hash of the command's kind and fields: equal on every node for an equal command.

    The order of the members of a mapping does not matter.
    """
    said = _SORTED(plain_fields(command)).encode()
    return hashlib.blake2s(said, digest_size=16, person=b"command").digest()


RETRY_S: Final = 4.0
"""How long after its deadline the owner is asked for the outcome of a command."""


def patience_s(call: Call, wall_ms: int) -> float:
    """Return how long to ask the user's owner; at least a minimum for a command sent again."""
    left_s = (call.deadline_ms - wall_ms) / 1000
    return max(left_s, RETRY_S) if call.retry else left_s


def unknown(code: ErrorCode) -> Outcome:
    """Return the outcome of a command that may have been executed."""
    return Outcome(Status.UNKNOWN, GatewayError(code, _UNKNOWN_TEXT))


def not_begun(call: Call, code: ErrorCode, why: str) -> Outcome:
    """Return the outcome of a command that was sent to no node.

    A command that is sent again may have been executed when it was sent first.
    """
    if call.retry:
        message = "Outcome unknown: the owner is unreachable. Check the state, then retry with a new key."
        return Outcome(Status.UNKNOWN, GatewayError(ErrorCode.OWNER_LOST, message))
    return Outcome(Status.REJECTED, GatewayError(code, why))
