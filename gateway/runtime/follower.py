"""Follower of a user that another node owns: a complete replica of the owner's ledger.

It has the owner accept its sessions, forwards commands to the owner, and notices when the owner is gone. The
lease names the owner. When an owner denies its ownership, or does not receive while the bus works, a node
with a phone of the user takes the user over. A command is forwarded once. It is sent again only when the
other node has certainly not begun it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from weakref import proxy

from gateway.core.commands import fingerprint
from gateway.core.follower import (
    Arrival,
    FollowMachine,
    FollowState,
    Shared,
    is_of_sessions,
    receive,
    receive_next,
)
from gateway.core.lease import BusState
from gateway.core.ledger import Health, Receipt
from gateway.domain.commands import Call, History, Outcome, not_begun, patience_s, unknown
from gateway.domain.errors import CloseCode, ErrorCode, SessionRefused
from gateway.domain.model import LONG_AGO, Position, UserId
from gateway.protocol.envelopes import (
    Attach,
    AttachAnswer,
    CallAnswer,
    CallRequest,
    Detach,
    Inbox,
    Offer,
    Publication,
    SessionFacts,
    Since,
)
from gateway.runtime.cluster import Failure, MessageAnswer, NotDeliveredError
from gateway.runtime.event_loop import LeanEvent, TaskGroup, spawn, weakly
from gateway.runtime.handover import OwnerDiscovery, Takeover
from gateway.runtime.link_session import OwnerServices
from gateway.runtime.mirror import Feed
from gateway.runtime.ports import (
    Grant,
    Local,
    NotSentError,
    OnForwarded,
    RoleOverError,
    Start,
    not_reached,
    wait_at_most,
)
from gateway.runtime.sessions import ATTACH_S, SessionWait

_UNREACHED: Final = "The node that owns the user is unreachable. Try again."
_LOST: Final = "The command was lost on its way, and was not executed. Try again."
ATTACH_ANSWER_S: Final = 2.0
"""Time without an answer after which a request to an owner is repeated."""
ATTACH_AGAIN_S: Final = 1.0
"""Pause before it is repeated."""
SHOWN_S: Final = 2.0
"""How long the outcome of a command waits for what it caused, when that may be lost."""
_AGAIN_S: Final = 0.5
_SLACK_S: Final = 1.0
"""Time for the owner's answer at the end of a turn: it may serve a session then, or refuse it."""
_TURN_SHOWN_S: Final = 6.0
"""How long an owner's answer counts that a session waits for its turn: some of the next may be lost."""
SettleRead = Callable[[OnForwarded, Outcome, Position | None], None]
OnSubmitted = Callable[[bool | SessionRefused], None]
"""Takes whether the owner accepted a session, or how it refused it."""


class RemoteAttach:
    """The sessions of one followed user that have a phone here.

    Invariant: each session is submitted to the owner again until the owner has accepted or refused it, and
    when the replica no longer contains it.
    """

    def __init__(self, subject: Follower, services: OwnerServices, local: Mapping[str, Local]) -> None:
        self._subject, self._services, self._local = subject, services, local
        self.accepted: dict[str, int | SessionRefused] = {}
        """The token of the owner that accepted a session, or how it refused one whose phone waits."""
        self._again_at: dict[str, float] = {}
        """When a session may be submitted again."""
        self._waiting: dict[str, dict[Callable[[], object], Callable[[], None]]] = {}
        """For each session with waiting commands: what sends each of them, and what stops its timer."""

    def follow(self, handle: str) -> None:
        """Submit a session without waiting; the replica shows the result."""
        local = self._local.get(handle)
        if local is not None:
            self.accepted.pop(handle, None)
            self._submit(local, partial(weakly(self._settle), local))

    def _settle(self, local: Local, accepted: bool | SessionRefused) -> None:
        """Have the phone of a submitted session served or closed.

        A phone that is served keeps its data if its owner does not reach OSCC-E, and so cannot accept it.
        """
        handle, subject = local.ticket.handle, self._subject
        connection = subject.feed.connections.get(handle)
        if connection is None or subject.is_over or not self._is_here(local):
            return
        if connection.session.live is None and accepted is False:
            again = partial(weakly(self._submit_again), handle, self._again_at.get(handle))
            self._services.clock.call_later(_AGAIN_S, again)
        elif connection.session.live is None:
            if isinstance(accepted, SessionRefused):
                self.accepted[handle] = accepted
            subject.change()
        elif isinstance(accepted, SessionRefused) and accepted.code is not CloseCode.INTERNAL:
            refused = local.replaced() if accepted.code is CloseCode.REPLACED else accepted
            connection.close(refused.code, refused.reason, by=refused.by, window_s=refused.window_s)

    def _submit_again(self, handle: str, again_at: float | None) -> None:
        """Submit a session whose phone waits, unless it was submitted since: *again_at* is another then."""
        if self._again_at.get(handle) == again_at:
            self._subject.follow_waiting(handle)

    def _submit(self, local: Local, settle: OnSubmitted) -> None:
        """Submit a session to the owner. *settle* is called once, perhaps in this call."""
        subject, services, owner = self._subject, self._services, self._subject.owner
        if subject.is_over:
            settle(False)
            return
        ticket, topics, now = local.ticket, local.topics, services.clock.now()
        age_ms, since = round((now - local.since) * 1000), subject.request_due(now)
        self._again_at[ticket.handle] = now + ATTACH_ANSWER_S + ATTACH_AGAIN_S
        services.exchange.request(
            owner.node,
            lambda number: Attach(services.node, number, ticket, topics, age_ms, since, may_wait=True),
            ATTACH_ANSWER_S,
            partial(weakly(self._answered), local, owner.token, since, settle),
        )

    def _answered(
        self,
        local: Local,
        token: int,
        since: Since | None,
        settle: OnSubmitted,
        answer: MessageAnswer | Failure,
    ) -> None:
        """Process the answer of the owner of *token*, or its absence."""
        if self._is_here(local):
            self._again_at[local.ticket.handle] = self._services.clock.now() + ATTACH_AGAIN_S
        if not isinstance(answer, AttachAnswer) or self._subject.is_over:
            settle(False)
            return
        if answer.read:
            self._subject.answered()
        elif since is not None:
            self._subject.unread()
        settle(self._result(answer, local, token))

    def _result(self, answer: AttachAnswer, local: Local, token: int) -> bool | SessionRefused:
        """Return whether the owner of *token* accepted the session, or how it refused it."""
        if answer.refused is not None:
            return answer.refused.as_error
        if answer.moved:
            self._subject.not_mine()
            return False
        if answer.waits:
            self._subject.waited_at = self._services.clock.now()
            return False
        if self._local.get(local.ticket.handle) is local:  # else it follows other topics since
            self.accepted[local.ticket.handle] = token
        if answer.epoch is not None:
            self._subject.seen(answer.epoch)
        return True

    def _is_here(self, local: Local) -> bool:
        """Return whether the phone of a submitted session has not left since."""
        return local.is_same(self._local.get(local.ticket.handle))

    def is_accepted(self, handle: str) -> bool:
        """Return whether the present owner has accepted a session."""
        return self.accepted.get(handle) == self._subject.owner.token

    def must_wait(self, handle: str) -> bool:
        """Return whether a command of a session has to wait in :meth:`when_answered`."""
        return handle in self._waiting or (handle in self._local and not self.is_accepted(handle))

    def when_answered(self, handle: str, within_s: float, send: Callable[[], object]) -> None:
        """Submit a session; call *send* when the owner has answered, or after *within_s*.

        All that waits for one session is called in order. If the owner refuses a session, it refuses its
        commands, too.
        """
        is_first, waiting = handle not in self._waiting, self._waiting.setdefault(handle, {})
        late = partial(weakly(self._send), handle, send)
        waiting[send] = self._services.clock.call_later(within_s, late)
        if is_first:
            self._submit(self._local[handle], lambda _: self._send_all(handle))

    def _send_all(self, handle: str) -> None:
        while handle in self._waiting:
            self._send(handle, next(iter(self._waiting[handle])))

    def _send(self, handle: str, send: Callable[[], object]) -> None:
        waiting = self._waiting[handle]
        stop_timer = waiting.pop(send)
        if not waiting:
            del self._waiting[handle]
        stop_timer()
        send()

    def give_up(self) -> None:
        """Wait for no answer of the owner from now on."""
        for handle in list(self._waiting):
            self._send_all(handle)

    def left(self, handle: str) -> None:
        """Report to the owner that a session's phone left this node."""
        self._again_at.pop(handle, None)
        self.accepted.pop(handle, None)
        gone = Detach(self._subject.feed.user, handle, self._services.node)
        self._services.exchange.send(Inbox(self._subject.owner.node), gone)

    def turned(self) -> None:
        """Submit the sessions that the last owner had accepted to the new owner at once."""
        self._again_at = {
            handle: at for handle, at in self._again_at.items() if self._subject.feed.facts(handle) is None
        }
        self.tick(self._services.clock.now())

    def tick(self, now: float) -> None:
        """Submit sessions that this owner has not accepted, or has lost."""
        for handle in list(self._local):
            is_known = self._subject.feed.facts(handle) is not None
            if not (is_known and self.is_accepted(handle)) and now >= self._again_at.get(handle, now):
                self.follow(handle)

    @property
    def are_all_accepted(self) -> bool:
        """Whether this owner has accepted all sessions, and the replica shows them."""
        facts = self._subject.feed.facts
        return all(self.is_accepted(handle) and facts(handle) is not None for handle in self._local)


class RemoteCommands:
    """One user's commands on their way to the owner. They need no task.

    Invariant: each command that was sent has one outcome, by its deadline.

    A command is sent again, to the same owner, only until the bus has confirmed it. The command's key makes
    sure that the owner executes it once. It is not sent again after a later one that the owner has begun.

    Args:
        moved: Called when another node has become the owner.
        shown: Passes an outcome on when the replica shows what the command caused.
    """

    def __init__(
        self, user: UserId, services: OwnerServices, moved: Callable[[], None], shown: SettleRead
    ) -> None:
        self._user, self._services, self._moved, self._settle_read = user, services, moved, shown
        self._under_way: dict[_Forwarded, None] = {}
        self._number = self._begun_upto = 0
        """The highest number of a command that an owner has begun: earlier ones came before, or were lost."""

    def execute(self, owner: Grant, call: Call, settle: OnForwarded) -> Callable[[], None]:
        """Have *owner* execute a command.

        *settle* is called once, perhaps in this call, unless the returned function is called before.

        Args:
            owner: The owner of the user.
            call: The command.
            settle: Gets the outcome; None when *owner* has not begun it.
        """
        self._number += 1
        exchange, sent = self._services.exchange, _Forwarded(call, settle, self._number, owner.token)
        left_s = patience_s(call, self._services.clock.wall_ms())
        if exchange.machine.state is BusState.DOWN:
            settle(not_begun(call, ErrorCode.BUS_DOWN, _UNREACHED))
        elif left_s <= 0:
            settle(None)
        else:
            self._under_way[sent] = None
            takers = partial(self._answered, sent), partial(self._again, sent)
            sent.withdraw = exchange.request(owner.node, partial(self._request, call), left_s, *takers)
        return partial(self._leave, sent)

    def _request(self, call: Call, number: int) -> CallRequest:
        left_ms = call.deadline_ms - self._services.clock.wall_ms()
        return CallRequest(self._user, self._services.node, number, call, left_ms)

    def _again(self, sent: _Forwarded, number: int) -> CallRequest | None:
        """Return the request to be sent again; None: the owner has begun a later one."""
        if sent not in self._under_way or sent.number < self._begun_upto:
            return None
        sent.is_repeated = True
        return self._request(replace(sent.call, retry=True), number)

    def give_up(self) -> None:
        """Record that the owner is gone: unanswered commands are unknown."""
        for sent in list(self._under_way):
            self._leave(sent)
            sent.settle(unknown(ErrorCode.OWNER_LOST))

    def given(self, history: History) -> None:
        """Record that the owner gave the user away with *history*.

        A command without an answer by then has its outcome in *history*, or the owner has not begun it. If
        the history is incomplete, or begins after the epoch to which the command was sent, it does not show
        which. Then only a command that the phone marks as sent again goes to the next owner, which judges it
        by itself. A command that was lost before one that the owner has begun is not executed after that one.
        """
        outcomes = {(one.key, one.body_hash): one.outcome for one in history.outcomes}
        for sent in list(self._under_way):
            outcome = outcomes.get((sent.call.key, fingerprint(sent.call.command)))
            is_covered = history.blind_s <= 0 and sent.token >= history.since
            if outcome is None and not sent.call.retry and not is_covered:
                continue
            self._leave(sent)
            if outcome is None and sent.number < self._begun_upto:
                outcome = not_begun(sent.call, ErrorCode.UPSTREAM_UNAVAILABLE, _LOST)
            sent.settle(outcome)

    def _leave(self, sent: _Forwarded) -> None:
        """Wait for no answer to a command from now on."""
        if sent in self._under_way:
            del self._under_way[sent]
            sent.withdraw()

    def _answered(self, sent: _Forwarded, answer: MessageAnswer | Failure) -> None:
        if sent not in self._under_way:
            return
        del self._under_way[sent]
        outcome = self._outcome(sent, answer)
        shown_at = answer.shown_at if isinstance(answer, CallAnswer) else None
        if outcome is not None and (shown_at or sent.is_repeated):  # what it caused may be lost
            self._settle_read(sent.settle, outcome, shown_at)
        else:
            sent.settle(outcome)

    def _outcome(self, sent: _Forwarded, answer: MessageAnswer | Failure) -> Outcome | None:
        match answer:
            case CallAnswer(outcome=None):
                self._moved()  # an earlier copy of a repeated command may have been executed
                return unknown(ErrorCode.OWNER_LOST) if sent.is_repeated else None
            case CallAnswer(outcome=outcome):
                self._begun_upto = max(self._begun_upto, sent.number)
                return outcome
            case NotDeliveredError():
                return None
            case NotSentError():
                return not_begun(sent.call, ErrorCode.BUS_DOWN, _UNREACHED)
            case _:
                return unknown(ErrorCode.UPSTREAM_TIMEOUT)


@dataclass(slots=True, eq=False)
class _Forwarded:
    """A command that waits for the answer of another node."""

    call: Call
    settle: OnForwarded
    number: int
    token: int
    is_repeated: bool = False
    """Whether it was sent more than once."""
    withdraw: Callable[[], object] = lambda: None


class Follower:
    """One user whom another node owns.

    Invariants: data of a lower epoch than the highest one seen is never processed. The user is taken from the
    owner only when the owner gave the user away, when it is unreachable while the bus works, or when the
    lease is free.

    Args:
        feed: Where the user's changes go on this node.
        local: The present sessions with a phone on this node.
        touch: Called when :meth:`due_at` may return another time.
    """

    def __init__(
        self,
        feed: Feed,
        services: OwnerServices,
        grant: Grant,
        local: Mapping[str, Local],
        touch: Callable[[], None],
    ) -> None:
        me: Follower = proxy(self)  # no collaborator keeps its follower in memory
        now = services.clock.now()
        self.feed = feed
        self.start: Start | None = None
        """How this node is to own the user; None when this node no longer needs the user."""
        self.owner = grant
        """The owner of the user, as last reported to this node."""
        self.is_over = False
        """Whether the user is no longer followed."""
        self._services, self._touch, self._local = services, touch, local
        # a replica of a higher epoch processes no data of the owner until the lease confirms the owner
        self.machine = FollowMachine(max(grant.token, feed.ledger.position.epoch), now, services.jitter())
        self._remote_attach = RemoteAttach(me, services, local)
        self._woken = LeanEvent()
        """Wakes the task of :meth:`run`."""
        self._changed: LeanEvent | None = None
        """Set and replaced with the next change; it exists while a task or a phone waits for it."""
        self._rests_until = math.inf
        callbacks = weakly(self.not_mine), weakly(self._settle_read)
        self._sending = RemoteCommands(feed.user, services, *callbacks)
        self._tasks: asyncio.TaskGroup | None = None
        self._owner_discovery, self._takeover = OwnerDiscovery(me, services), Takeover(me, services)
        self._upstream = feed.ledger.health.upstream
        self.waited_at = LONG_AGO
        """When the owner last answered that a session waits for its turn."""
        feed.outlet = None

    @property
    def token(self) -> int:
        """The token of the owner."""
        return self.owner.token

    @property
    def execution(self) -> Follower:
        """What executes commands: this follower, which has the owner do so."""
        return self

    def turn_to(self, grant: Grant, now: float) -> None:
        """Follow the owner that the lease names."""
        self._touch()
        is_other = grant.token != self.owner.token
        self.owner = grant
        if self.machine.read(grant.token, now):
            self.feed.ledger.invalidate()
        if is_other:
            self._services.counters.resynced("epoch")
            self._remote_attach.turned()
            self.change()

    # ---- sessions ----

    def admit(self, wait: SessionWait) -> None:
        """Have the owner accept a session whose phone waits here."""
        wait.until = wait.began_at + ATTACH_S + _SLACK_S
        handle, wait.is_requested = wait.local.ticket.handle, False
        self._remote_attach.accepted.pop(handle, None)  # that was an earlier connection of its phone
        self.follow_waiting(handle)

    def follow_waiting(self, handle: str) -> None:
        """Have the owner accept a session whose phone waits. Without the bus this node owns the user."""
        if self._remote_attach.is_accepted(handle):
            return  # another owner, which was found meanwhile, accepted it
        if self._services.exchange.machine.state is BusState.DOWN:
            self.end(Start(assumed=True, floor=self.machine.floor))
        else:
            self._remote_attach.follow(handle)

    def facts_of(self, wait: SessionWait) -> SessionFacts | None:
        """Return the facts of an accepted session, once the replica shows it; None: it waits on.

        Raises:
            SessionRefused: It has ended, the owner refused it, or no answer came in time.
            RoleOverError: The owner is gone, or this node takes its place.
        """
        if self.is_over:
            raise RoleOverError
        handle, now = wait.local.ticket.handle, self._services.clock.now()
        accepted = self._remote_attach.accepted.get(handle)
        if isinstance(accepted, SessionRefused):
            raise accepted
        if accepted is not None:
            facts = self.feed.facts(handle)
            # data of an earlier epoch, which this node may have written itself, proves nothing
            is_read = self.feed.ledger.position.epoch >= self.machine.floor
            if is_read and facts is not None and facts.end is None:
                return facts
            if not wait.is_requested and self.machine.state is FollowState.FOLLOWING:
                wait.is_requested = True  # the last answer is older than the session
                self._ask_again()
        if now >= wait.until:
            self._next_turn(wait, now)
        self._changed = self._changed or LeanEvent()
        return None

    def _next_turn(self, wait: SessionWait, now: float) -> None:
        """Let a phone wait on if this node, or the owner's, is busy with others; otherwise refuse it."""
        is_waiting = now - self.waited_at < _TURN_SHOWN_S
        if not is_waiting and not self._services.pauses.was_late(now, ATTACH_S):
            window_s = self._owner_discovery.window_s(now)
            raise not_reached(for_bus=self._services.refuses_writes(), window_s=window_s)
        wait.next_turn(now)

    async def until_moved(self, token: int) -> None:
        """Return when the owner is no longer that of *token*, or the user is no longer followed."""
        while not self.is_over and self.owner.token == token:
            await self._next_change()

    def _next_change(self) -> asyncio.Future[None]:
        """Return what is done with the next change."""
        changed = self._changed = self._changed or LeanEvent()
        return changed.wait()

    def follow(self, handle: str, topics: tuple[str, ...]) -> None:  # noqa: ARG002 - as the owner's
        """Have the owner subscribe to the topics that the session follows now."""
        self._touch()
        self._remote_attach.follow(handle)

    def leave(self, handle: str) -> None:
        """Report to the owner that the session's phone left this node."""
        self._remote_attach.left(handle)

    drop_session = leave
    """The owner itself detects the end of a session."""

    def execute(self, call: Call, settle: OnForwarded) -> Callable[[], None]:
        """Have the owner execute a command, once it has accepted its session.

        *settle* is called once, perhaps in this call, unless the returned function is called before. It gets
        the outcome; None when the owner has not begun the command.
        """
        if self._remote_attach.must_wait(call.session) and not self.is_over:
            left_s = patience_s(call, self._services.clock.wall_ms())
            forward = partial(self._forward, replace(call, waited=True), settle)
            self._remote_attach.when_answered(call.session, left_s, forward)
            return lambda: None
        return self._forward(call, settle)

    def _forward(self, call: Call, settle: OnForwarded) -> Callable[[], None]:
        if self.is_over or self._tasks is None:
            settle(None)
            return lambda: None
        return self._sending.execute(self.owner, call, settle)

    def _settle_read(self, settle: OnForwarded, outcome: Outcome, shown_at: Position | None) -> None:
        """Pass *outcome* on from *shown_at* on; None: once the owner has answered again; bounded in time."""
        is_shown = shown_at is not None and self._shows(shown_at)
        if not is_shown:
            self._ask_again()
        if is_shown or not spawn(self._tasks, self._settle_later(settle, outcome, shown_at)):
            settle(outcome)

    async def _settle_later(self, settle: OnForwarded, outcome: Outcome, shown_at: Position | None) -> None:
        try:
            with suppress(TimeoutError):
                async with self._services.clock.timeout(SHOWN_S):
                    while not self.is_over and not self._shows(shown_at):
                        await self._next_change()
        finally:
            settle(outcome)

    def _shows(self, position: Position | None) -> bool:
        is_following = self.machine.state is FollowState.FOLLOWING
        return is_following if position is None else self.feed.ledger.position >= position

    def _ask_again(self) -> None:
        """Send another request for changes soon."""
        self.machine.ask_again(self._services.clock.now())
        self.run_soon()

    # ---- what the owner sends ----

    def read(self, publication: Publication, made: Shared, arrival: Arrival) -> None:
        """Process a publication.

        *made*: the elements of publications that arrived with it, of this user and of others.
        """
        now, wall_ms, waited_s, bus = arrival
        machine, ledger = self.machine, self.feed.ledger
        if self.is_over:
            return
        if waited_s or publication.epoch != machine.floor:
            self._read(publication, made, arrival)
            return
        age_s = receive_next(publication, ledger, made, now, wall_ms)
        if age_s is None:
            self._read(publication, made, arrival)
            return
        machine.applied_next(now)
        self._services.counters.arrived(age_s)
        self._upstream = upstream = publication.upstream
        health = ledger.health
        if upstream == health.upstream == "live" and health.bus == bus and not machine.is_unconfirmed:
            ledger.health = Health("live", bus, now - age_s)  # as _say, without its calls
        else:
            self._set_health(now - age_s, now)
        self.feed.flush()
        if self._changed is not None:
            self.change()

    def _read(self, publication: Publication, made: Shared, arrival: Arrival) -> None:
        """Process a publication that does more than change shared values, or is not the next one."""
        services, now = self._services, arrival.now
        if not self.machine.admits(publication.epoch):
            self.machine.published(publication.epoch, Receipt.STALE, now)
            services.counters.dropped_stale_epoch()
            self.run_soon()
            return
        receipt, under_way_s, as_of = receive(publication, self.feed.ledger, made, arrival)
        if self.machine.published(publication.epoch, receipt, now):
            services.counters.found_gap("sequence")
            services.counters.resynced("gap")
        if under_way_s is not None:
            services.counters.arrived(under_way_s)
        has_sessions = is_of_sessions(publication)
        if has_sessions and receipt is Receipt.APPLIED:
            self.feed.report_facts()
        self._upstream = publication.upstream
        self._set_health(as_of, now)
        self.feed.flush()
        self.change()
        if has_sessions or receipt is Receipt.GAP:
            self._touch()
        self._wake()

    def _wake(self) -> None:
        """Wake the follower's task if something is due before it wakes by itself."""
        if self.machine.urgent_at < self._rests_until:
            self._woken.set()

    def change(self) -> None:
        """Wake the tasks and phones that wait for changes of sessions, or for another owner."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None
            self._services.waits.touch_all(self.feed.connections.values())

    async def take(self, offer: Offer) -> None:
        """Have this node own the user whom the owner offers, if this node requested them lately."""
        start = await self._takeover.taking(offer)
        if start is not None and not self.is_over:
            self._sending.given(offer.history)
            self.end(start)

    # ---- what the exchange reports ----

    def _asked(self, denied_by: str | None) -> None:
        """Process the answer to a request for changes; *denied_by*: the node that is not the owner."""
        if denied_by is None:
            self.answered()
        else:
            self.not_mine(denied_by)

    def answered(self) -> None:
        """Record that the owner answered."""
        self._owner_discovery.denied_since = None
        was_unconfirmed = self.machine.is_unconfirmed
        self.machine.answered(self._services.clock.now())
        if was_unconfirmed and not self.machine.is_unconfirmed:
            self._set_health(self.feed.ledger.health.as_of, self._services.clock.now())
        self.change()
        self._wake()

    def unread(self) -> None:
        """Record that the owner did not read the request for changes that came with another message."""
        self.machine.unread(self._services.clock.now())
        self.run_soon()

    def not_mine(self, holder: str | None = None) -> None:
        """Record that the addressed node denies to be the owner; *holder*: its present life."""
        now = self._services.clock.now()
        self._owner_discovery.denied(now, holder)
        self.machine.not_mine(now)
        self.run_soon()

    def owned(self, grant: Grant) -> None:
        """Record that a node reported itself as the owner; the highest token counts."""
        now = self._services.clock.now()
        if grant.token > self.owner.token and grant.token >= self.machine.floor:
            self.machine.seen(grant.token, now)
            self.turn_to(grant, now)
            self.run_soon()

    def seen(self, epoch: int) -> None:
        """Record that the owner publishes in *epoch*: data of an earlier epoch is no longer current."""
        if epoch > self.machine.floor:
            self.machine.seen(epoch, self._services.clock.now())
            self.run_soon()

    def messages_lost(self) -> None:
        """Record that messages may have been lost: no data is live until the owner has answered."""
        self.machine.unconfirmed(self._services.clock.now())
        self._ask_again()

    def run_soon(self) -> None:
        """Have due work done soon, for example when the owner leaves."""
        self._touch()
        self._woken.set()

    # ---- life ----

    def stop(self) -> None:
        """Stop following."""
        self.end(None)

    def end(self, start: Start | None) -> None:
        """Stop following, and have this node own the user if *start* is given."""
        if not self.is_over:
            self.is_over, self.start = True, start
            self._takeover.drop()
            self._remote_attach.give_up()
            self._woken.set()
            self.change()

    async def run(self) -> None:
        """Follow until the user is no longer needed here, or this node is to own the user."""
        exchange, user = self._services.exchange, self.feed.user
        try:
            async with TaskGroup() as tasks:
                self._tasks = tasks
                try:
                    # its answer comes to this node, not on the user's channel
                    self._request_if_due(self._services.clock.now())
                    await exchange.follow(user)
                    self.machine.ask_again(self._services.clock.now())  # what came there meanwhile is missing
                    self._remote_attach.turned()
                    while not self.is_over:
                        await self._turn()
                finally:
                    self.end(None)
                    self._tasks = None
                    self._sending.give_up()
        finally:
            await exchange.unfollow(user)

    async def _turn(self) -> None:
        now = self._services.clock.now()
        self._request_if_due(now)
        if self.machine.need(now) == "read_lease":
            self.machine.reading(now)
            await self._owner_discovery.find()
        else:
            await self._pause(now, min(self.machine.urgent_at, self._takeover.due_at(now)))

    def _request_if_due(self, now: float) -> None:
        if (since := self.request_due(now)) is not None:
            self._services.exchange.request_changes(self.owner.node, since, self._asked)

    def request_due(self, now: float) -> Since | None:
        """Return the request for changes that is to be sent to the owner now, if one is."""
        if not self.is_over and self._takeover.step(now):
            self.machine.ask_again(now)  # a request to take over is sent with a request for changes
        if self.is_over or self.machine.need(now) != "ask":
            return None
        self.machine.asked(now)
        epoch, seq = self.feed.ledger.position
        phones = tuple(self._local)
        return Since(self.feed.user, epoch, seq, self._takeover.number(now), phones, together=True)

    async def _pause(self, now: float, until: float) -> None:
        self._woken.clear()
        self._rests_until = until
        if until == math.inf:
            await self._woken.wait()
        else:
            await wait_at_most(self._services.clock, max(until - now, 0.001), self._woken.wait())

    def tick(self, now: float, *, is_touched: bool = True) -> None:
        """Check whether the owner lives and has accepted each session; send the requests at intervals."""
        if not is_touched and now < self.due_at(now):
            return  # the request before was answered in time
        self._set_health(self.feed.ledger.health.as_of, now)
        self.feed.report_facts()
        self._owner_discovery.tick(now, self._tasks)
        self._remote_attach.tick(now)
        if self._takeover.is_open(now) or self.machine.need(now) == "read_lease":
            self.run_soon()
        elif self._tasks is not None:
            self._request_if_due(now)

    def due_at(self, now: float) -> float:
        """Return when :meth:`tick` is due if nothing happens before; *now*: at each tick."""
        exchange, owner = self._services.exchange, self.owner
        is_reached = exchange.machine.state is BusState.LIVE and not exchange.peers.is_unreachable(
            owner.node, now
        )
        if self._tasks is None or not is_reached or self._owner_discovery.is_unreachable:
            return now
        if self._services.is_leaving(owner.holder) or not self._remote_attach.are_all_accepted:
            return now
        return min(self.machine.stale_at, self.machine.due_at)

    def _set_health(self, as_of: float | None, now: float) -> None:
        exchange = self._services.exchange
        bus = exchange.machine.health
        is_unreached = bus == "down" or exchange.peers.is_unreachable(self.owner.node, now)
        if is_unreached and not self.machine.is_unconfirmed:
            self.machine.unconfirmed(now)
            self.run_soon()
        upstream = self.machine.health(now, self._upstream)
        # data of an earlier epoch is not the data that the owner calls live
        if upstream == "live" and self.feed.ledger.epoch < self.machine.floor:
            upstream = "stale"
        self.feed.set_health(Health(upstream, bus, as_of))
