"""Commands of one user: on their way to the owner, and their execution there."""

from __future__ import annotations

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, Literal, NamedTuple, Protocol

from gateway.core.commands import CommandRecords, Decision
from gateway.core.lease import Lease
from gateway.core.rate_limits import Quota
from gateway.core.view import Member
from gateway.domain.commands import (
    RULES,
    AcknowledgeNotice,
    Call,
    ChangeRemoteNumber,
    Execute,
    Executed,
    ExtendPostProcessing,
    History,
    LinkAnswer,
    NumberAct,
    Outcome,
    Status,
    not_begun,
    patience_s,
    rejected,
    unknown,
)
from gateway.domain.errors import ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import (
    NO_ITEMS,
    NodeId,
    UserId,
    masked,
    with_item,
)
from gateway.domain.upstream import Attached, LinkClosed
from gateway.runtime.event_loop import LeanEvent, log_fault, resolve, spawn, weakly
from gateway.runtime.link_session import LinkHealth, LinkSession, OwnerServices
from gateway.runtime.ports import (
    Executor,
    Link,
    OnForwarded,
    OnOutcome,
    Role,
    Tasks,
    too_many_numbers,
    wait_at_most,
)
from gateway.runtime.sessions import WAIT_MIN_S, SessionAdmission, SessionsOwner

_LOG: Final = logging.getLogger(__name__)
TAKEN_OVER_S: Final = 3.0
"""How long a command waits for the link of a user who moved here from another node."""
_STATUS: Final[dict[Literal["applied", "pending", "unchanged"], Status]] = {
    "applied": Status.APPLIED,
    "pending": Status.PENDING,
    "unchanged": Status.UNCHANGED,
}


class _Sender(NamedTuple):
    """The session that sends a command, the link on which it does, and the time left for the answer."""

    attached: Attached
    link: Link
    left_s: float


class _Sent(NamedTuple):
    """A command that was sent without a task."""

    until: float
    withdraw: Callable[[], object]


class OutcomeWaiter(NamedTuple):
    """What waits for the outcome of a command."""

    session: str
    """The handle of its session."""
    settle: OnForwarded


class ExecutingOwner(SessionsOwner, Protocol):
    """The part of the owner that command execution needs."""

    epoch: int
    """The epoch of the open link, while there is one."""
    session_admission: SessionAdmission
    link_health: LinkHealth

    @property
    def expects_history(self) -> bool:
        """Whether the owner that gave the user away may still send its command history."""

    def session_unknown(self, handle: str) -> None:
        """Record that the server reported a session as unknown."""


class CommandExecution:
    """The commands of one user.

    Invariants: a command is sent upstream at most once. All its callers get the same outcome, also later
    ones; only the code of a rejection differs, when the session that sent it had ended. Commands leave in the
    order in which they came, and at most as many run at a time as :class:`CommandRecords` allows. A command
    runs to its end also when the phone that sent it is gone.

    Whether a command may be sent is decided when the link is open, with the epoch of that link. It is sent on
    that link or not at all. Only a command that comes from the phone over its present node counts as sent for
    the first time. Any other is treated like one that is sent again.

    *audit* is called with each change of the remote number that was sent to OSCC-E.
    """

    __slots__ = (
        "__weakref__", "_audit", "_is_closed", "_lease", "_number_changes", "_order", "_owner", "_records",
        "_sent", "_settled", "_stop_timer", "_tasks", "_tasks_running", "_timer_at", "_user", "_waiting",
        "link_session",
    )  # fmt: skip

    token: Final = 0
    """There is one owner: when it is another node's turn, this object is replaced."""

    def __init__(
        self,
        user: UserId,
        owner: ExecutingOwner,
        lease: Lease,
        records: CommandRecords[OutcomeWaiter],
        number_changes: Quota[UserId],
        audit: Callable[[NumberAct], None],
    ) -> None:
        self.link_session: LinkSession | None = None
        """The open link."""
        self._user = user
        self._owner, self._lease = owner, lease
        self._tasks: Tasks | None = None
        self._number_changes = number_changes
        self._audit = audit
        self._records = records
        self._is_closed = False
        self._tasks_running = 0
        """Commands that run in tasks of their own, or are about to."""
        self._sent: dict[str, _Sent] = NO_ITEMS
        """Commands that were sent without a task, by key."""
        self._timer_at = math.inf
        """When their waits are bounded; infinity while there is no timer."""
        self._stop_timer: Callable[[], None] | None = None
        self._settled: LeanEvent | None = None
        """Set when a command has its outcome, for the hand-over that waits for it."""
        self._waiting: dict[OutcomeWaiter, None] = NO_ITEMS
        """What waits for commands that wait for their turn, in the order of their arrival."""
        self._order: asyncio.Lock | None = None
        """Held by the first of these commands; None: no command has waited yet."""

    @property
    def in_flight(self) -> int:
        """Number of commands without an outcome."""
        return len(self._records.in_flight)

    def run_in(self, tasks: Tasks | None) -> None:
        """Run commands in *tasks*; None: the owner ends, and with it all waits for answers."""
        self._tasks = tasks
        if tasks is None:
            self._turn_away()
            for key in list(self._sent):
                self._settle(key, _UNANSWERED)
            self._bound_waits()

    def execute(self, call: Call, settle: OnForwarded, node: NodeId | None = None) -> Callable[[], None]:
        """Execute *call*, or join its execution.

        *settle* is called once, perhaps in this call, unless the returned function is called before. It gets
        the outcome; None when the command was not begun, since this is no longer the owner.

        *node* is the node over which it came; None is this one. When the owner has the phone on another node
        by now, the phone may have sent the command again from there. Then this copy is late.
        """
        waiter, member = OutcomeWaiter(call.session, settle), self._member(call)
        if member is None or member.node != node:
            call = replace(call, waited=True)
        if self._is_closed:
            settle(None)
        elif self._tasks is not None and not self._waiting and not self._must_wait(call, member):
            self._begin(call, member, waiter)
        else:
            self._wait(call, waiter)
        return partial(self._leave, waiter)

    def _leave(self, waiter: OutcomeWaiter) -> None:
        """End the wait for an outcome. The command itself continues, once it has begun."""
        if waiter in self._waiting:
            self._stop_waiting(waiter)
            self._owner.session_admission.wake()  # those behind it need not wait for its session
        self._records.leave(waiter)

    def _stop_waiting(self, waiter: OutcomeWaiter) -> None:
        self._waiting.pop(waiter, None)
        self._waiting = self._waiting or NO_ITEMS

    def _member(self, call: Call) -> Member | None:
        """Return the session that sends a command, if the owner has it."""
        return self._owner.user_sessions.by_handle.get(call.session)

    def _wait(self, call: Call, waiter: OutcomeWaiter) -> None:
        """Begin a command when it is its turn, unless it has begun before."""
        began = self._records.find(call, waiter, self._owner.clock.now())
        if isinstance(began, Outcome):
            waiter.settle(began)
        elif began is None:
            self._waiting = with_item(self._waiting, waiter, None)
            if not spawn(self._tasks, self._begin_in_turn(replace(call, waited=True), waiter)):
                self._turn_away()

    async def _begin_in_turn(self, call: Call, waiter: OutcomeWaiter) -> None:
        """Begin a command after those that came before it; bounded in time."""
        order, owner = self._order or asyncio.Lock(), self._owner
        self._order = order
        within_s = min(TAKEN_OVER_S, patience_s(call, owner.clock.wall_ms()))
        with suppress(TimeoutError):
            async with owner.clock.timeout(max(0.0, within_s)), order:
                while waiter in self._waiting and self._must_wait(call, self._member(call)):
                    await owner.session_admission.until_changed(call.session)
        if waiter in self._waiting:
            self._stop_waiting(waiter)
            if self._is_closed:
                waiter.settle(None)
            else:
                self._begin(call, self._member(call), waiter)

    def _must_wait(self, call: Call, member: Member | None) -> bool:
        """Return whether the link, or the history of the last owner, has not arrived yet."""
        owner = self._owner
        if owner.link_health.is_taking_over and (member is None or not member.on_link):
            return True
        return (call.retry or call.waited) and owner.expects_history

    def _begin(self, call: Call, member: Member | None, waiter: OutcomeWaiter) -> None:
        """Decide a command, and have it sent if it is a new one."""
        now, began = self._owner.clock.now(), None
        if call.retry or call.waited:
            began = self._records.find(call, waiter, now) or self._unjudged(call)
        began = began or self._records.begin(call, waiter, now, self._owner.epoch)
        if isinstance(began, Outcome):
            waiter.settle(began)
        elif began is Decision.NEW:
            self._start(call, member)

    def _unjudged(self, call: Call) -> Outcome | None:
        """Return an outcome for a command that waited or is sent again, if it cannot be decided, else None.

        Another node may own the user.
        """
        if isinstance(call.command, AcknowledgeNotice) or (
            self.link_session is not None and self._may_act(self.link_session)
        ):
            return None
        return not_begun(call, ErrorCode.UPSTREAM_UNAVAILABLE, _UNREACHED_TEXT)

    def _start(self, call: Call, member: Member | None) -> None:
        """Have OSCC-E execute a recorded command. Its outcome is settled in any case."""
        if isinstance(call.command, AcknowledgeNotice):
            self._settle(call.key, Outcome(Status.APPLIED))
        elif self._tasks_running or isinstance(call.command, ChangeRemoteNumber):
            self._start_task(call)
        elif isinstance(sender := self._sender(call, member, self.link_session), Outcome):
            self._settle(call.key, sender)
        else:
            self._send(call, sender)

    def _may_act(self, link_session: LinkSession) -> bool:
        """Return whether a command that is sent now takes effect only while this node acts for the user."""
        return link_session.fenced or self._lease.holds(self._owner.clock.now())

    def _sender(
        self, call: Call, member: Member | None, link_session: LinkSession | None
    ) -> _Sender | Outcome:
        """Return what can send *call* of *member* now, or why *link_session* cannot."""
        left_s = (call.deadline_ms - self._owner.clock.wall_ms()) / 1000
        if left_s <= 0:
            return _TOO_LATE
        if link_session is None or self.link_session is not link_session:
            return _NOT_REACHED
        if member is None or member.attached is None or not member.on_link:
            return _NOT_REACHED
        if not self._may_act(link_session):
            return _IN_DOUBT
        feature = RULES[type(call.command)].feature
        if feature is not None and feature not in link_session.features:
            return _UNSUPPORTED
        return _Sender(member.attached, link_session.link, left_s)

    def _send(self, call: Call, sender: _Sender) -> None:
        """Send a command on the link of *sender*, or have a task do so."""
        try:
            request = self._request(call, sender.attached.alias)
            withdraw = sender.link.send(request, partial(self._answered, call))
        except GatewayError as error:
            self._settle_of(call, self._outcome(error))
            return
        except BaseException:
            self._settle(call.key, _UNANSWERED)
            raise
        if withdraw is None:
            self._start_task(call)
            return
        until = self._owner.clock.now() + sender.left_s
        self._sent = with_item(self._sent, call.key, _Sent(until, withdraw))
        if until < self._timer_at:
            self._bound_waits()

    def _answered(self, call: Call, sent: LinkAnswer | GatewayError | LinkClosed) -> None:
        """Settle a command with the server's answer."""
        outcome = self._outcome(sent)
        self._sent.pop(call.key, None)
        is_unshown = isinstance(sent, Executed) and not self._owner.mirror.live
        if is_unshown and spawn(self._tasks, self._settle_shown(call, outcome)):
            return
        self._settle_of(call, outcome)

    async def _settle_shown(self, call: Call, outcome: Outcome) -> None:
        try:
            await self._show(call)
        finally:
            self._settle(call.key, outcome)

    def _bound_waits(self) -> None:
        """Settle commands without an answer until their deadline, now and when the next one is over."""
        now = self._owner.clock.now()
        over = [key for key, sent in self._sent.items() if sent.until <= now]
        left = [sent.until for sent in self._sent.values() if sent.until > now]
        if self._stop_timer is not None:
            self._stop_timer()
        self._timer_at, self._stop_timer = min(left, default=math.inf), None
        if left:
            wait_s = max(self._timer_at - now, WAIT_MIN_S)
            self._stop_timer = self._owner.clock.call_later(wait_s, weakly(self._bound_waits))
        for key in over:  # last: a caller may send the next command
            self._settle(key, _UNANSWERED)

    def _start_task(self, call: Call) -> None:
        """Run a recorded command in a task. Commands that come before its end run in tasks, too."""
        self._tasks_running += 1
        if not spawn(self._tasks, self._run(call, self.link_session)):
            self._tasks_running -= 1
            self._settle(call.key, _NOT_REACHED)

    async def give(self, within_s: float) -> History:
        """Begin no further commands, and return the history for the next owner.

        A command without an outcome in time is unknown. When this returns, each caller has been answered. The
        answer to another node leaves before the offer, because the offer ends the wait there.
        """
        self._close()
        with suppress(TimeoutError):
            async with self._owner.clock.timeout(within_s):
                while self._records.in_flight:
                    await self._until_settled()
        self._give_up()
        return self.history()

    def _until_settled(self) -> asyncio.Future[None]:
        """Return what is done when a command has its outcome."""
        settled = self._settled = self._settled or LeanEvent()
        return settled.wait()

    def history(self) -> History:
        """Return the history for the next owner; after :meth:`give`, before :meth:`resume`."""
        now = self._owner.clock.now()
        changed = tuple(now - at for at in self._number_changes.taken(self._user, now))
        history = self._records.history(now, epoch=self._owner.epoch)
        return History(history.since, history.blind_s, history.outcomes, changed)

    def adopt(self, history: History) -> None:
        """Import the history of an owner whose link was replaced by the one that is open here."""
        self._records.adopt(history, self._owner.epoch, self._owner.clock.now())
        self.adopt_quota(history)

    def adopt_quota(self, history: History) -> None:
        """Count the changes of the remote number that were made at other nodes."""
        now = self._owner.clock.now()
        self._number_changes.adopt(self._user, (now - ago_s for ago_s in history.numbers_changed), now)

    def end(self) -> None:
        """End; a command without an outcome by now is unknown."""
        self._close()
        self._give_up()

    def _give_up(self) -> None:
        for key in self._records.in_flight:
            self._settle(key, _UNANSWERED)

    def resume(self) -> None:
        """Begin commands again: the user was not taken by another node."""
        self._is_closed = False

    def _close(self) -> None:
        """Begin no further commands; waiting ones go to the next owner."""
        self._is_closed = True
        self._turn_away()

    def _turn_away(self) -> None:
        """Have waiting commands go to the next owner."""
        self._owner.session_admission.wake()
        for waiter in list(self._waiting):
            self._stop_waiting(waiter)
            _pass(waiter, None)

    async def _run(self, call: Call, link_session: LinkSession | None) -> None:
        outcome = _UNANSWERED
        try:
            outcome = await self._decide(call, link_session)
        finally:
            self._tasks_running -= 1
            self._settle_of(call, outcome)

    def _settle_of(self, call: Call, outcome: Outcome) -> None:
        """Settle a command that ran. If its session has ended, only callers of that session get that."""
        if outcome is not _SESSION_OVER:
            self._settle(call.key, outcome)
            return
        self._settle(call.key, _SENDER_OVER, {call.session: _SESSION_OVER})
        self._owner.session_unknown(call.session)

    def _settle(self, key: str, outcome: Outcome, by_session: Mapping[str, Outcome] = NO_ITEMS) -> None:
        if self._settled is not None:
            self._settled.set()
            self._settled = None
        sent = self._sent.pop(key, None)
        self._sent = self._sent or NO_ITEMS
        if sent is not None:
            sent.withdraw()
        for waiter in self._records.settle(key, outcome, self._owner.clock.now()):
            _pass(waiter, by_session.get(waiter.session, outcome))

    async def _decide(self, call: Call, link_session: LinkSession | None) -> Outcome:
        """Refuse the command, or have OSCC-E execute it on the link for which it was decided."""
        sender = self._sender(call, self._member(call), link_session)
        if isinstance(sender, Outcome):
            return sender
        if isinstance(call.command, ChangeRemoteNumber):
            return await self._change_number(call, call.command, sender)
        return await self._ask(call, sender)

    async def _change_number(self, call: Call, command: ChangeRemoteNumber, sender: _Sender) -> Outcome:
        """Change the number; only a change that was applied, or may have been, is counted.

        Setting the number that is in effect is always allowed, since it hardly changes anything.
        """
        at = self._owner.clock.now()
        wait_s = self._number_changes.take(self._user, at)
        if wait_s > 0 and not self._owner.mirror.shows_number(command.number):
            return Outcome(Status.REJECTED, too_many_numbers(wait_s))
        outcome = _UNANSWERED
        try:
            outcome = await self._ask(call, sender)
        finally:
            if wait_s <= 0 and outcome.status not in {Status.APPLIED, Status.UNKNOWN}:
                self._number_changes.give_back(self._user, at)
            result = outcome.status.value if outcome.error is None else outcome.error.code.value
            session = sender.attached.session
            self._audit(NumberAct(self._user, session, "change", masked(command.number), result))
        return outcome

    async def _ask(self, call: Call, sender: _Sender) -> Outcome:
        try:
            async with self._owner.clock.timeout(sender.left_s):
                executed = await sender.link.request(self._request(call, sender.attached.alias))
        except (TimeoutError, LinkClosed, GatewayError) as error:
            return self._outcome(error)
        if isinstance(executed, Executed) and not self._owner.mirror.live:
            await self._show(call)
        return self._outcome(executed)

    def _request(self, call: Call, alias: int) -> Execute:
        command = call.command
        if isinstance(command, ExtendPostProcessing):  # the only one with an instant
            command = replace(command, until_ms=command.until_ms - self._owner.mirror.offset_ms)
        return Execute(alias, command, call.key, self._owner.mirror.deadline_ms(call.deadline_ms))

    def _outcome(self, sent: LinkAnswer | GatewayError | LinkClosed | TimeoutError) -> Outcome:
        """Return the outcome of a command by the server's answer, with its instant in gateway time."""
        if isinstance(sent, GatewayError):
            until_ms = sent.details.get("until_ms")
            if isinstance(until_ms, int):
                sent.details["until_ms"] = until_ms + self._owner.mirror.offset_ms
            return _refused(sent)
        if isinstance(sent, LinkClosed) and sent.is_unsent:
            return _NOT_REACHED
        if not isinstance(sent, Executed):
            return _UNANSWERED
        return Outcome(_STATUS[sent.state], version=sent.version, trace_id=sent.trace_id)

    async def _show(self, call: Call) -> None:
        """Return when the effect of an executed command is shown, or there is no more time for it."""
        owner = self._owner
        left_s = (call.deadline_ms - owner.clock.wall_ms()) / 1000
        with suppress(TimeoutError):
            async with owner.clock.timeout(max(0.0, left_s)):
                while not (owner.mirror.live or self._is_closed):
                    await owner.session_admission.until_changed(call.session)


def _pass(waiter: OutcomeWaiter, outcome: Outcome | None) -> None:
    """Pass an outcome to one of several that wait."""
    try:
        waiter.settle(outcome)
    except Exception as fault:  # noqa: BLE001 - one caller's fault must not keep others from their outcome
        log_fault(_LOG, "command_failed", fault)


def _refused(error: GatewayError) -> Outcome:
    """Return the outcome of a command that OSCC-E refused or did not answer.

    The session that sent it may have ended. Its phone gets the `bye` after this.
    """
    match error.code:
        case ErrorCode.UPSTREAM_TIMEOUT:
            return Outcome(Status.UNKNOWN, error)
        case ErrorCode.SESSION_ENDED:
            return _SESSION_OVER
        case _:
            return Outcome(Status.REJECTED, error)


_UNANSWERED: Final = unknown(ErrorCode.UPSTREAM_TIMEOUT)
_UNREACHED_TEXT: Final = "The contact centre is unreachable. Try again."
_NOT_REACHED: Final = rejected(ErrorCode.UPSTREAM_UNAVAILABLE, _UNREACHED_TEXT)
_SESSION_OVER: Final = rejected(ErrorCode.SESSION_ENDED, "The session that sent the command has ended.")
_SENDER_OVER: Final = rejected(
    ErrorCode.UPSTREAM_UNAVAILABLE,
    "The command was not executed: the session that sent it first has ended. Try again.",
)
"""The outcome for other sessions of the user that send the same key: they have not ended."""
_IN_DOUBT: Final = rejected(ErrorCode.BUS_DOWN, "It is not certain which node owns the user. Try again.")
_UNSUPPORTED: Final = rejected(
    ErrorCode.UNSUPPORTED_BY_UPSTREAM, "The contact centre of this site does not offer this."
)
_TOO_LATE: Final = rejected(ErrorCode.EXPIRED, "The command arrived after its deadline.")


# ---- commands on their way to the owner ----


OWNER_WAIT_S: Final = 0.5
"""How long a denied command waits for another owner before the same one is asked again. A command without an
answer holds back later ones for the same time, since its owner may still deny it.
"""
HELD_MAX: Final = 40
"""Commands of one user that wait here for another owner: five devices at their limit."""
_IDLE_S: Final = 3600.0
"""Upper bound of a wait, which any change ends earlier."""
_TOO_MANY: Final = "Too many commands wait for an owner. Try again."
_NOBODY: Final = "No node owns the user at the moment. Try again."


class CommandedUser(ABC):
    """A user whose phones on this node send commands.

    Invariant: a command that an owner has denied is not overtaken by a later one of the user.

    Denied commands wait for another owner in *tasks*.
    """

    __slots__ = ("_holds_until", "_last_place", "_news", "_services", "_tasks", "role")

    role: Role

    def __init__(self, services: OwnerServices, tasks: Tasks | None) -> None:
        self._services, self._tasks = services, tasks
        self._last_place = 0
        """The place of the newest command; each has a higher one than those before it."""
        self._holds_until: dict[int, float] = NO_ITEMS
        """Place of a waiting command → the time until which it holds back later ones."""
        self._news: LeanEvent | None = None
        """Set at the next change of these, while a command waits for its turn."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether the user is no longer served here."""

    @abstractmethod
    async def until_moved(self, role: Role, token: int) -> None:
        """Return when *role* has ended, or follows another owner than that of *token*.

        Raises:
            SessionRefused: There will be no other role.
        """

    @property
    def held(self) -> int:
        """Number of commands that wait here for an owner, or were sent to one that may not own the user."""
        return len(self._holds_until)

    def execute(self, call: Call, settle: OnOutcome) -> Callable[[], None]:
        """Have the user's owner execute a command at most once. Bounded by its deadline.

        For a command that is sent again, the owner is asked for a while after the deadline, too.

        *settle* is called once with the outcome, perhaps in this call. The returned function ends the wait:
        then *settle* is not called.
        """
        place = self._last_place = self._last_place + 1
        callers = [settle]
        if self._holds_until and self._is_held:
            self._start_search(call, place, None, callers)
            return callers.clear
        role = self.role
        execution = role.execution
        denied_by = role, execution.token

        def answered(outcome: Outcome | None) -> None:
            if outcome is None:
                self._start_search(call, place, denied_by, callers)
            elif callers:
                settle(outcome)

        leave_owner = execution.execute(call, answered)

        def leave() -> None:
            callers.clear()
            leave_owner()

        return leave

    def _start_search(
        self, call: Call, place: int, denied_by: tuple[Role, int] | None, callers: list[OnOutcome]
    ) -> None:
        """Have a command executed when another owner may be asked, in a task."""
        if len(self._holds_until) >= HELD_MAX:
            _settle_all(callers, not_begun(call, ErrorCode.OVERLOADED, _TOO_MANY))
            return
        self._hold(place)
        if not spawn(self._tasks, self._search(call, place, denied_by, callers)):
            self._leave(place)
            _settle_all(callers, unknown(ErrorCode.OWNER_LOST))

    async def _search(
        self, call: Call, place: int, denied_by: tuple[Role, int] | None, callers: list[OnOutcome]
    ) -> None:
        """Have a held command executed; its outcome is for those who wait for it by then."""
        outcome = unknown(ErrorCode.OWNER_LOST)
        try:
            outcome = await self._in_turn(call, place, denied_by)
        except Exception as fault:  # noqa: BLE001 - one command's fault must not end the node
            log_fault(_LOG, "command_failed", fault)
        finally:  # also when the node ends
            _settle_all(callers, outcome)

    async def _in_turn(self, call: Call, place: int, denied_by: tuple[Role, int] | None) -> Outcome:
        """Have a command executed that holds back later ones until it has been sent.

        It is marked as one that waited, since its phone may have sent it again from elsewhere.
        """
        clock = self._services.clock
        until, call = clock.now() + patience_s(call, clock.wall_ms()), replace(call, waited=True)
        try:
            while (left_s := until - clock.now()) > 0 and not self.is_over:
                with suppress(TimeoutError):
                    async with clock.timeout(left_s):
                        await self._turn_of(place)
                        await self._moved(denied_by)
                        denied_by = self.role, self.role.execution.token
                    self._hold(place, clock.now() + OWNER_WAIT_S)
                    outcome = await _executed(denied_by[0].execution, call)
                    if outcome is not None:
                        return outcome
                    self._hold(place)
        except SessionRefused:  # the user was released during the wait
            pass
        finally:
            self._leave(place)
        code = ErrorCode.BUS_DOWN if self._services.refuses_writes() else ErrorCode.UPSTREAM_UNAVAILABLE
        return not_begun(call, code, _NOBODY)

    async def _moved(self, denied_by: tuple[Role, int] | None) -> None:
        """Return when another owner may be asked, or the same one again."""
        if denied_by is not None:
            await wait_at_most(self._services.clock, OWNER_WAIT_S, self.until_moved(*denied_by))

    async def _turn_of(self, place: int) -> None:
        """Return when no earlier command holds back the one at *place*."""
        clock = self._services.clock
        while True:
            held = (until for other, until in self._holds_until.items() if other < place)
            left_s = max(held, default=-math.inf) - clock.now()
            if left_s <= 0:
                return
            news = self._news = self._news or LeanEvent()
            await wait_at_most(clock, min(left_s, _IDLE_S), news.wait())

    @property
    def _is_held(self) -> bool:
        """Whether a command that comes now has to wait for its turn."""
        now = self._services.clock.now()
        return any(until > now for until in self._holds_until.values())

    def _hold(self, place: int, until: float = math.inf) -> None:
        """Let the command at *place* hold back later ones."""
        self._holds_until = with_item(self._holds_until, place, until)
        self._wake()

    def _leave(self, place: int) -> None:
        """Remove a command: it has its outcome, or nobody waits for it."""
        self._holds_until.pop(place, None)
        self._holds_until = self._holds_until or NO_ITEMS
        self._wake()

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None


def _settle_all(callers: list[OnOutcome], outcome: Outcome) -> None:
    for settle in callers:
        settle(outcome)


async def _executed(execution: Executor, call: Call) -> Outcome | None:
    """Have a command executed; return its outcome, or None when the owner has not begun it."""
    settled: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
    leave = execution.execute(call, partial(resolve, settled))
    try:
        return await settled
    finally:
        leave()
