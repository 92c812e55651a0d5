"""Node: the users of this process, the node's role for each, and the parts of a node.

There is one :class:`UserState` for each user who has a phone here, or whose linger has not ended. It has the
user's mirror and this node's role. The node admits phones and releases them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.core.assembly import Composer
from gateway.core.drain_schedule import Move
from gateway.core.follower import FollowedNodes
from gateway.core.lease import AssumedTokens, BusState, StoreWrites
from gateway.core.ledger import UNKNOWN_HEALTH, Health, Ledger
from gateway.core.link import BEAT_S, Linger, OpeningLinks, Pauses
from gateway.core.rate_limits import LOG_ON_PART, AdmissionQueue, Budget, Quota, TurnShare
from gateway.core.registry import (
    CommandHistory,
    ConnectedPhone,
    DueTime,
    DueTimes,
    Registry,
    RegistryLimits,
    refusal,
)
from gateway.core.view import NarrowedValues
from gateway.domain.commands import NumberAct, OrderAct, Status
from gateway.domain.errors import CloseCode, EndReason, GatewayError, SessionRefused
from gateway.domain.model import (
    DEFAULT_TOPICS,
    NodeId,
    Ticket,
    UserId,
    keys_shared,
    masked,
)
from gateway.domain.resources import Resource
from gateway.domain.upstream import LoggedOn
from gateway.protocol.envelopes import Control, Leaving, NodeRecord, SessionFacts
from gateway.runtime.accounts import Accounts, SessionRevocations
from gateway.runtime.cluster import Exchange
from gateway.runtime.cluster_receiver import AdminRpc, ClusterMembership, ClusterReceiver
from gateway.runtime.command_execution import CommandedUser, OutcomeWaiter
from gateway.runtime.event_loop import log_fault
from gateway.runtime.link_session import UNREAD_S, LeaseRenewals, OpenLinks, OwnerServices
from gateway.runtime.ports import (
    WRITE_REFUSALS,
    Clock,
    Cluster,
    Connection,
    Grant,
    SiteParts,
)
from gateway.runtime.sessions import LogOffs, OtherNodes, SessionWait, SessionWaits
from gateway.runtime.user_state import UserState
from gateway.telemetry import RuntimeCounters

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Identity and limits of a node."""

    node: NodeId
    holder: str
    """This process's life: each start of the same node has another holder."""
    limits: RegistryLimits = field(default_factory=RegistryLimits)
    linger: Linger = field(default_factory=Linger)
    log_ons_per_s: float = 20.0
    """Log-ons per second at a site."""
    log_ons_in_flight: int = 32
    version: str = ""
    accepts_per_s: float = 100.0
    """Handshakes that the node accepts."""
    key_names: Callable[[], tuple[str, ...]] = tuple
    """Returns public ids of the sealing keys in use, the sealing one first."""

    def links_per_s(self, site: SiteParts) -> float:
        """Return the log-ons and links per second that all nodes together may send to a site."""
        return site.links_per_s or site.log_ons_per_s or self.log_ons_per_s

    def budget(self, site: SiteParts) -> Budget:
        """Return a site's budget. Log-ons have part of their rate, even where links may be more."""
        rate_per_s = self.links_per_s(site)
        return Budget(
            rate_per_s=rate_per_s,
            burst=rate_per_s,
            in_flight_max=self.log_ons_in_flight,
            log_ons_max_per_s=LOG_ON_PART * (site.log_ons_per_s or self.log_ons_per_s),
        )


# ---- users ----


USERS_SLICE_S: Final = 0.002
"""Time for which due users are processed in one turn of the loop, plus one user; more in long turns."""


class UserStates:
    """The users of one node.

    Invariant: a user has at most one user state that is not over. It begins when the last one has given up
    link and lease.
    """

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._user_states: dict[UserId, UserState] = {}
        self.present: Final[Mapping[UserId, UserState]] = self._user_states
        """All user states, by user."""
        self._due_times: DueTimes[UserId] = DueTimes()
        self._followed = FollowedNodes()
        self._share = TurnShare(USERS_SLICE_S)
        self._serve_again: Final = self.resume
        self.command_history: CommandHistory[UserId, OutcomeWaiter] = CommandHistory()
        """The stored commands of users, also after the users were released."""

    def __iter__(self) -> Iterator[UserState]:
        return iter(tuple(self._user_states.values()))

    def __len__(self) -> int:
        return len(self._user_states)

    def served(self, user: UserId) -> UserState | None:
        """Return the state of *user*, if it accepts phones."""
        user_state = self._user_states.get(user)
        return None if user_state is None or user_state.is_over else user_state

    def begin(
        self, user: UserId, services: OwnerServices, tasks: asyncio.TaskGroup, grant: Grant | None = None
    ) -> UserState:
        """Begin to serve a user who is not served; *grant*: the other node that owns them, if known."""
        before = self._user_states.get(user)
        records, due = self.command_history.came(user), self._due_times.add(user)
        grant = None if before else grant
        user_state = UserState(user, services, self._composer, records, due, tasks, self._serve_again, grant)
        self._user_states[user] = user_state
        tasks.create_task(self._serve(user_state, before))
        return user_state

    async def tick(self, clock: Clock) -> None:
        """Do the work that is due, in slices; between two slices all other work has a turn.

        Users for whom nothing is due, and nothing happened since the last tick, are skipped.
        """
        began = now = clock.now()
        for due in self._due_times.take(began):
            self._tick(due, now)
            now = clock.now()
            if now - began >= self._share.time_s:
                await clock.sleep(0)
                began = clock.now()
                self._share.others_took(began - now)
                now = began
        self.command_history.expire(clock.now())

    def _tick(self, due: DueTime[UserId], now: float) -> None:
        user_state = None if due.is_over else self._user_states.get(due.key)
        if user_state is None or user_state.due is not due:
            return  # it ended between two slices
        at = now
        try:
            user_state.tick(now)
            at = user_state.due_at(now)
        except Exception as fault:  # noqa: BLE001 - one user's fault must not end the node
            log_fault(_LOG, "user_tick_failed", fault)
            due.touch()  # the rest of its work is tried again with the next tick
        finally:
            self._due_times.put(due, at)

    def touch_all(self) -> None:
        """Mark all users as due in the next tick, after a change that concerns each."""
        for user_state in self._user_states.values():
            user_state.due.touch()

    def followed(self) -> frozenset[NodeId]:
        """Return the nodes that own users who are followed here."""
        for user in self._due_times.touched:  # no other user has another role or owner than before
            user_state = self._user_states.get(user)
            follower = None if user_state is None else user_state.follower
            self._followed.note(user, None if follower is None else follower.owner.node)
        return self._followed.nodes

    @property
    def commands_held(self) -> int:
        """Number of commands that wait for an owner, or have just gone to one."""
        return sum(user_state.held for user_state in self._user_states.values())

    @property
    def links_most(self) -> int:
        """Most links after the loss of one node: the users that it owns, followed here, need links then."""
        return len(self._user_states) - len(self._followed) + self._followed.most_of_one

    async def _serve(self, user_state: UserState, before: UserState | None = None) -> None:
        """Serve a user until their link is silent, or they are released."""
        try:
            if before is not None:
                await before.over.wait()
            del before  # it holds the last owner, with a mirror of all data
            await user_state.run()
        except Exception as fault:  # noqa: BLE001 - one user's fault ends one user
            log_fault(_LOG, "user_failed", fault)
            for connection in list(user_state.feed.connections.values()):
                connection.close(CloseCode.INTERNAL, "internal")
        finally:
            if user_state.silence is None:
                self._ended(user_state)

    async def resume(self, user_state: UserState) -> None:
        """Serve a user again after a silence; one task at a time does so."""
        if user_state.silence is not None:
            await self._serve(user_state)

    def _ended(self, user_state: UserState) -> None:
        user = user_state.feed.user
        user_state.over.set()
        user_state.feed.ledger.health = UNKNOWN_HEALTH
        self._due_times.drop(user_state.due)
        if self._user_states.get(user) is user_state:
            del self._user_states[user]
            self._followed.note(user, None)
            self.command_history.left(user)

    async def end_silent(self) -> None:
        """End the users who have no task now."""
        while silent := [each for each in self if each.silence is not None]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.resume(each)) for each in silent]
                await asyncio.sleep(0)  # a task that has not begun would not end its user
                for task in tasks:
                    task.cancel()


# ---- the node ----


TICK_S: Final = 1.0
CAUGHT_UP_S: Final = UNREAD_S / 2
NUMBER_CHANGES: Final = 3
"""Applied changes of the remote number that a user may make in an hour."""
_FIRST: Final = 2**40
"""Upper bound of the random first request number."""


class Attachment(NamedTuple):
    """The data that a served phone gets, and what executes its commands."""

    facts: SessionFacts
    ledger: Ledger
    commands: CommandedUser


class WaitingPhone(NamedTuple):
    """A phone whose session is not served yet, with what it needs then."""

    user_state: UserState
    phone: ConnectedPhone | None
    """It is added to the registry only when it is served; None: it was added."""
    serve: Callable[[Attachment], None]
    wait: SessionWait


def _last_received_at(connection: Connection) -> float:
    return connection.last_received_at


def _close(connection: Connection, refused: SessionRefused) -> None:
    connection.close(refused.code, refused.reason, by=refused.by, window_s=refused.window_s)


class Node:
    """All users of one node.

    Invariant: a user has at most one user state here, and so one owner and one link.

    *jitter* returns numbers in [0, 1). *audit* is called with each act that may have to be accounted for.
    """

    is_overloaded: Callable[[], bool] = staticmethod(bool)
    """Whether links deliver more than the node can process; set by their reader."""
    unread_s: Callable[[], float] = staticmethod(float)
    """Returns how long messages of links may have waited in this process; set by their reader."""

    _outside: tuple[object, ...] = ()
    """State of the bus and of the owners' nodes in the last tick."""

    _is_behind = False
    """Whether messages of links may have waited for too long, as from :data:`UNREAD_S` on at a beat until
    :data:`CAUGHT_UP_S` at a later one: phones do not change between two states at each beat.
    """

    is_draining = False
    is_partitioned = False
    """Whether other nodes live that this node does not reach."""

    user_states: Mapping[UserId, UserState]
    """The users of this node."""

    def __init__(
        self,
        settings: NodeSettings,
        sites: Mapping[str, SiteParts],
        cluster: Cluster,
        clock: Clock,
        jitter: Callable[[], float],
        audit: Callable[[NumberAct | OrderAct], None],
        counters: RuntimeCounters | None = None,
    ) -> None:
        self.clock, self.composer, self._counters = clock, Composer(), counters or RuntimeCounters()
        self.exchange = Exchange(settings.node, cluster.bus, clock, int(jitter() * _FIRST), self._counters)
        self._settings, self._cluster = settings, cluster
        self._writes, self.pauses, self._open_links = StoreWrites(), Pauses(), OpenLinks()
        self._audit, self._jitter, self._openings = audit, jitter, OpeningLinks(self.pauses.own_time)
        self._queues = {
            name: AdmissionQueue(settings.budget(site), self._openings) for name, site in sites.items()
        }
        self.links_per_s: Final = {name: settings.links_per_s(site) for name, site in sites.items()}
        self.number_changes: Quota[UserId] = Quota(most=NUMBER_CHANGES, window_s=3600.0)
        others = OtherNodes(cluster.shared, settings.holder, self._living)
        self.log_offs = LogOffs(sites, clock, self, others, self._counters)
        self.account = Accounts(sites, self._queues, clock, self, others, self.log_offs, self.number_changes)
        self.membership = ClusterMembership(
            cluster.registry, self.exchange, self.record, tuple(self._queues.values()), self._counters
        )
        self.orders = AdminRpc(settings.holder, self.exchange, self.membership, audit)
        self.session_revocations = SessionRevocations(clock, self.exchange, cluster.shared, self._counters)
        self._cluster_receiver = ClusterReceiver(settings.holder, self, self.exchange, self._counters)
        self._user_states, self._assumed = UserStates(self.composer), AssumedTokens(settings.holder)
        self.user_states, self._waits = self._user_states.present, SessionWaits(clock, self._settle)
        self.command_history: Final = self._user_states.command_history
        self._renewals = LeaseRenewals(cluster.leases, settings.node, settings.holder)
        self._services_of = {name: self._owner_services(name, site) for name, site in sites.items()}
        self._registry: Registry[Connection] = Registry(_last_received_at, settings.limits, settings.linger)
        self._tickets: dict[Connection, Ticket] = {}
        self._waiting_phones: dict[Connection, WaitingPhone] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def record(self) -> NodeRecord:
        """Return this node's record for the registry."""
        return NodeRecord(
            self._settings.node,
            self._settings.holder,
            self._settings.version,
            self.connections,
            self._open_links.number,
            self.is_draining or self.membership.has_given_notice,
            0.0 if self.is_draining else self._settings.accepts_per_s,
            " ".join(self._settings.key_names()),
        )

    @property
    def connections(self) -> int:
        """Number of connected phones."""
        return len(self._registry)

    @property
    def links_most(self) -> int:
        """Number of links that the present users may need, also after the loss of any one other node."""
        return self._user_states.links_most

    @property
    def bus_refusals(self) -> frozenset[str]:
        """What the bus server refuses now, in its own words."""
        return self._cluster.refusals()

    @property
    def sizes(self) -> Mapping[str, int]:
        """Number of entries held in memory, by kind."""
        return {
            "households": len(self._user_states),
            "keys": keys_shared(),
            "links_waiting": sum(map(len, self._queues.values())),
            "links_opening": len(self._openings),
            "phones_waiting": len(self._waiting_phones),
            "commands_held": self._user_states.commands_held,
            "endings": len(self.session_revocations),
            **self.account.log_ons.sizes,
            **self.exchange.sizes,
        }

    # ---- phones ----

    async def attach(
        self,
        connection: Connection,
        ticket: Ticket,
        topics: tuple[str, ...] | None,
        serve: Callable[[Attachment], None],
    ) -> None:
        """Have *serve* called when OSCC-E has accepted the session in this epoch, or close *connection*.

        Both are bounded in time, and may happen after this call.

        Raises:
            SessionRefused: With the close code for the connection.
        """
        if (ended := self.denied(ticket)) is not None:
            raise ended
        owner = await self._owner_elsewhere(ticket)
        phone = ConnectedPhone(ticket.user, ticket.handle, ticket.application, ticket.device.id)
        is_judged_first = self._registry.would_replace(phone, self.clock.now())
        if not is_judged_first:
            self._register(connection, phone)
        user_state = self._user_state(ticket.user, owner)
        self._tickets[connection] = ticket
        before = user_state.feed.connections.get(ticket.handle)
        user_state.feed.connections[ticket.handle] = connection
        if before is not None:  # it may also wait to be registered
            before.close(CloseCode.REPLACED, "replaced")
        wanted = topics if topics is not None else DEFAULT_TOPICS[ticket.application]
        wait = user_state.join(ticket, wanted)
        waiting = WaitingPhone(user_state, phone if is_judged_first else None, serve, wait)
        if not self._is_settled(connection, waiting):
            self._waiting_phones[connection] = waiting
            self._waits.queue.begin(connection, wait.until)

    def _is_settled(self, connection: Connection, waiting: WaitingPhone) -> bool:
        """Serve or refuse the session if that is possible now; False: it waits on."""
        user_state, phone, serve, wait = waiting
        try:
            facts = user_state.facts_of(wait)
            if facts is None:
                return False
            if phone is not None and self._tickets.get(connection) is wait.local.ticket:
                self._register(connection, phone)
            self._counters.attached(len(user_state.feed.connections))
            serve(Attachment(facts, user_state.feed.ledger, user_state))
        except SessionRefused as refused:
            _close(connection, refused)
        return True

    def _settle(self, connection: Connection) -> None:
        waiting = self._waiting_phones.get(connection)
        if waiting is None:
            return  # it left between two slices
        until = waiting.wait.until
        try:
            is_settled = self._is_settled(connection, waiting)
        except Exception as fault:  # noqa: BLE001 - one phone's fault must not end the node
            connection.fail(fault)
            is_settled = True
        if is_settled:
            self._forget_waiting_phone(connection)
        elif waiting.wait.until > until:
            self._waits.queue.begin(connection, waiting.wait.until)

    def _forget_waiting_phone(self, connection: Connection) -> None:
        self._waiting_phones.pop(connection, None)
        self._waits.queue.drop(connection)

    async def _owner_elsewhere(self, ticket: Ticket) -> Grant | None:
        """Return the other node that owns the user, if the store knows one and nothing of the user is here.

        A moved phone is served sooner by a follower that begins at once than by an owner that is refused the
        lease. The store is asked in one write whether the session has ended, too.

        Raises:
            SessionRefused: The session has ended.
        """
        is_asked = ticket.user not in self.user_states and not self._refuses_writes()
        reading = self._cluster.leases.read(ticket.user) if is_asked else None
        grant = None
        try:
            ended = await self.session_revocations.known_elsewhere(ticket)
            if ended is None and reading is not None:
                with suppress(GatewayError):
                    grant = await reading
        finally:
            if reading is not None:
                reading.close()
        # checked again after the wait: a session that ended in between had no connection here to close
        ended = ended or self.denied(ticket)
        if ended is not None:
            raise ended
        return None if grant is None or grant.holder == self._settings.holder else grant

    def _register(self, connection: Connection, phone: ConnectedPhone) -> None:
        """Register the connection, and close the one that it replaces."""
        replaced = self._registry.add(connection, phone, self.clock.now())
        if isinstance(replaced, CloseCode):
            raise SessionRefused(replaced, replaced.name.lower())
        for other in replaced:
            other.close(CloseCode.REPLACED, "replaced")

    def follow(self, connection: Connection, topics: tuple[str, ...]) -> None:
        """Subscribe to other topics."""
        found = self._of(connection)
        if found is not None:
            user_state, ticket = found
            user_state.follow(ticket.handle, topics)

    def detach(self, connection: Connection) -> None:
        """Record that a connection is gone, attached or not.

        Another connection of its session is not affected.
        """
        self._registry.remove(connection, self.clock.now())
        self._forget_waiting_phone(connection)
        ticket = self._tickets.pop(connection, None)
        user_state = None if ticket is None else self.user_states.get(ticket.user)
        if ticket is None or user_state is None:
            return
        if user_state.feed.connections.get(ticket.handle) is connection:
            del user_state.feed.connections[ticket.handle]
            user_state.leave(ticket.handle)

    def health(self, user: UserId) -> Health:
        """Return the exact age of the user's data, which their ledger then has too."""
        user_state = self.user_states.get(user)
        return UNKNOWN_HEALTH if user_state is None else user_state.health

    # ---- sessions ----

    def denied(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended, if this node has a record; its log-off may be pending."""
        known = self.session_revocations.known(ticket)
        if known is None and self.log_offs.is_pending(ticket):
            return refusal(ticket, EndReason.LOGGED_OFF, "self")
        return known

    def logged_on(self, logged_on: LoggedOn, began_ms: int) -> None:
        """Record that a user logged on: the records of their ended sessions are outdated."""
        user, number = logged_on.user.id, logged_on.remote_number
        self.session_revocations.logged_on(user, logged_on.session, began_ms)
        if number is not None:
            self._audit(NumberAct(user, logged_on.session, "log_on", masked(number), Status.APPLIED))

    def logged_off(self, ticket: Ticket, by: str = "self") -> None:
        """Record that the user ended a session: from now on its token is refused, and its phone closed."""
        self.session_ended(ticket, EndReason.LOGGED_OFF, by)
        self._close_phone(ticket, EndReason.LOGGED_OFF, by)

    def session_ended(self, ticket: Ticket, reason: EndReason, by: str | None) -> None:
        """Refuse the tokens of a session that ended, on all nodes."""
        if self.denied(ticket) is None:
            self._counters.session_ended(reason)
        self.session_revocations.record_and_send(ticket, reason, by)
        self._registry.ended(ticket.user, ticket.handle)

    def session_over(self, ticket: Ticket, reason: EndReason, by: str | None) -> None:
        """Record that a session ended, as another node reported."""
        self.session_revocations.note(ticket, reason, by)
        self._registry.ended(ticket.user, ticket.handle)
        self._close_phone(ticket, reason, by)

    def _close_phone(self, ticket: Ticket, reason: EndReason, by: str | None) -> None:
        user_state = self.user_states.get(ticket.user)
        if user_state is None:
            return
        connection = user_state.feed.connections.get(ticket.handle)
        if connection is not None:
            _close(connection, refusal(ticket, reason, by))
        user_state.drop_session(ticket.handle)

    def seen_by(self, ticket: Ticket) -> Mapping[str, Resource]:
        """Return the part of the mirror that the session sees; empty when it is not attached here.

        Ids of groups and queues outside its scope are left out.
        """
        user_state = self.user_states.get(ticket.user)
        connection = None if user_state is None else user_state.feed.connections.get(ticket.handle)
        live = None if connection is None else connection.session.live
        if user_state is None or live is None:
            return {}
        held = [(key, element.value) for key, element in user_state.feed.ledger.items()]
        view = live.outbox.view
        seen = {
            view.wire_key(key): value
            for key, value in held
            if view.sees(key) and not isinstance(value, SessionFacts)
        }
        return NarrowedValues(seen, live.facts.scope)

    # ---- life ----

    async def run(self) -> None:
        """Serve until cancelled. Then every owner has released its lease and closed its link."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._beat())
                tasks.create_task(self._waits.run())
                tasks.create_task(self._cluster_receiver.run())
                tasks.create_task(self.membership.run())
                tasks.create_task(self.session_revocations.run())
                self._renewals.run_in(tasks)
                await self._serve()
        finally:
            self._tasks = None
            self._renewals.run_in(None)

    async def _beat(self) -> None:
        """Record at intervals that the process runs, and do what must not wait for other work.

        Leases are renewed, and phones are sent that data may be old.
        """
        due_at = self.clock.now() + TICK_S
        while True:
            now, unread_s = self.clock.now(), self.unread_s()
            self.pauses.record_beat(now, unread_s)
            if now >= due_at:
                due_at = now + TICK_S
                self._renewals.renew_due(now)
            try:
                self._check_unread(now, unread_s)
            except Exception as fault:  # noqa: BLE001 - one user's fault must not end the node
                log_fault(_LOG, "unread_failed", fault)
            await self.clock.sleep(BEAT_S)

    def _check_unread(self, now: float, unread_s: float) -> None:
        """Send that data may be old where messages may have waited in this process for too long."""
        was_behind = self._is_behind
        self._is_behind = unread_s > (CAUGHT_UP_S if was_behind else UNREAD_S)
        if self._is_behind:
            for user_state in self._user_states:
                owner = user_state.owner
                if (
                    owner is not None
                    and owner.feed.ledger.health.upstream == "live"
                    and owner.link_health.may_wait(now)
                ):
                    owner.link_health.publish()
        elif was_behind:
            self._user_states.touch_all()

    async def _serve(self) -> None:
        """Serve users until cancelled; they end before the parts that they use."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self.log_offs.run())
            try:
                while True:
                    await self.clock.sleep(TICK_S)
                    await self._tick()
            finally:
                await self._user_states.end_silent()

    def watch_move(self, connection: Connection) -> Callable[[], Move] | None:
        """Return a function that returns how far the phone has moved to another node.

        The user moves only to a node with a phone. None for a phone whose user another node owns: that is not
        known here.
        """
        found = self._of(connection)
        if found is None or found[0].owner is None:
            return None
        user, handle = found[1].user, found[1].handle

        def stage() -> Move:
            state = self.user_states.get(user)
            owner = None if state is None else state.owner
            member = None if owner is None else owner.user_sessions.by_handle.get(handle)
            if member is None:
                return Move.DONE
            return Move.BACK if member.present and member.node is not None else Move.AWAY

        return stage

    def drain(self) -> None:
        """Accept no more users, and give each to a node that requests the user."""
        self.is_draining = True
        self.exchange.send(Control(), Leaving(self._settings.node))

    async def _tick(self) -> None:
        now = self.clock.now()
        self.exchange.tick(now, self._user_states.followed())
        self._cluster_receiver.tick(now)
        self._writes.record(now, refused=self._refuses_writes())
        if self.exchange.machine.state is BusState.LIVE and not self._writes.is_away(now):
            self.is_partitioned = False
        for admission_queue in self._queues.values():
            admission_queue.slow(now, is_slowed=self.is_overloaded())
        self._touch_on_changes(now)
        await self._user_states.tick(self.clock)
        for user in self._registry.due(self.pauses.linger_time(now, self._settings.linger)):
            gone = self.user_states.get(user)
            if gone is not None and not gone.is_kept:
                gone.stop()

    def _touch_on_changes(self, now: float) -> None:
        """Mark all users as due when the state of the bus, or the list of nodes, has changed."""
        machine, leaving = self.exchange.machine, self.membership.leaving_holders()
        outside = (machine.state, machine.health, self.exchange.peers.unreachable(now), leaving)
        if outside != self._outside:
            self._outside = outside
            self._user_states.touch_all()

    def _living(self) -> set[str]:
        live = {node.holder for node in self.membership.nodes if not self.membership.is_leaving(node.holder)}
        return live | {self._settings.holder}

    def _refuses_writes(self) -> bool:
        return bool(self.bus_refusals & WRITE_REFUSALS)

    def _partitioned(self) -> None:
        self.is_partitioned = True

    def _wake_links(self) -> None:
        for admission_queue in self._queues.values():
            admission_queue.wake_first()

    def _owner_services(self, name: str, site: SiteParts) -> OwnerServices:
        settings = self._settings
        return OwnerServices(
            node=settings.node,
            holder=settings.holder,
            upstream=site.upstream,
            authority=site.authority,
            leases=self._cluster.leases,
            clock=self.clock,
            jitter=self._jitter,
            session_ended=self.session_ended,
            admission_queue=self._queues[name],
            number_changes=self.number_changes,
            audit=self._audit,
            exchange=self.exchange,
            is_draining=lambda: self.is_draining,
            is_leaving=self.membership.is_leaving,
            announced_at=self.membership.announced_at,
            partitioned=self._partitioned,
            room_freed=self._wake_links,
            renewals=self._renewals,
            assumed=self._assumed,
            open_links=self._open_links,
            refuses_writes=self._refuses_writes,
            writes=self._writes,
            devices=settings.limits.devices,
            linger=settings.linger,
            pauses=self.pauses,
            waits=self._waits.queue,
            is_behind=lambda: self._is_behind,
            counters=self._counters,
        )

    def _user_state(self, user: UserId, owner: Grant | None) -> UserState:
        present = self._user_states.served(user)
        if present is not None:
            return present
        if self._tasks is None or self.is_draining:
            raise SessionRefused(CloseCode.DRAINING, "draining")
        services = self._services_of.get(user.site)
        if services is None:
            raise SessionRefused(CloseCode.TOKEN_INVALID, "site_unknown")
        return self._user_states.begin(user, services, self._tasks, owner)

    def _of(self, connection: Connection) -> tuple[UserState, Ticket] | None:
        ticket = self._tickets.get(connection)
        user_state = None if ticket is None else self.user_states.get(ticket.user)
        return None if ticket is None or user_state is None else (user_state, ticket)
