"""Who is on this node, and who serves each of them?

One :class:`Household` for each user with a phone here, or whose linger has not ended: his mirror
and his owner. The node takes phones in, lets them go, and brings their commands to the owner.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.core.compose import Composer
from gateway.core.denylist import Denylist, End
from gateway.core.effects import Health
from gateway.core.ledger import Ledger
from gateway.core.linger import Linger
from gateway.core.quota import Quota
from gateway.core.registry import Refused, Registry, RegistryLimits, Seat
from gateway.core.throttle import Budget
from gateway.core.turnstile import Turnstile
from gateway.domain.audit import NumberAct
from gateway.domain.commands import Call, Outcome, Status
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import DEFAULT_TOPICS, NodeId, Ticket, UserId
from gateway.domain.privacy import masked
from gateway.domain.resources import Resource
from gateway.domain.upstream import LoggedOn
from gateway.protocol.envelopes import SessionFacts
from gateway.runtime.account import Account
from gateway.runtime.faults import place
from gateway.runtime.feed import Connection, Feed
from gateway.runtime.owner import Owner
from gateway.runtime.ports import Authority, Clock, Leases, Upstream
from gateway.runtime.world import World, refusal

TICK_S: Final = 1.0
NUMBER_CHANGES: Final = 3
"""Applied changes of the remote number that a user may make in an hour."""
DENIED_BEYOND_MS: Final = 24 * 3_600_000
"""For so long after its life a token may still be shown, for a log-off; how it ended is known till then."""
_LOG: Final = logging.getLogger(__name__)
_UNKNOWN: Final = Health("down", "live", None)


class Site(NamedTuple):
    """One organisation's OSCC-E Server."""

    upstream: Upstream
    authority: Authority


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a node is, and how much it takes."""

    node: NodeId
    holder: str
    """This process's life: another start of the same node is another holder."""
    limits: RegistryLimits = field(default_factory=RegistryLimits)
    linger: Linger = field(default_factory=Linger)
    log_ons_per_s: float = 20.0
    """Log-ons that a site is asked for."""
    log_ons_in_flight: int = 32

    def budget(self) -> Budget:
        """Return a site's budget."""
        return Budget(
            rate_per_s=self.log_ons_per_s, burst=self.log_ons_per_s, in_flight_max=self.log_ons_in_flight
        )


class Attachment(NamedTuple):
    """What a served phone is given."""

    facts: SessionFacts
    ledger: Ledger


@dataclass(slots=True)
class Household:
    """One user on this node."""

    feed: Feed
    owner: Owner
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when link and lease are given up: only then may the next one begin."""


class Node:
    """All users of one node.

    Invariant: a user has one household here at most, and so one owner and one link.

    Args:
        settings: What it is.
        sites: The OSCC-E Servers by the id of their site.
        leases: Who owns whom.
        clock: Its time.
        jitter: Gives numbers in [0, 1).
        audit: Is told of acts that somebody may have to answer for.
    """

    def __init__(
        self,
        settings: NodeSettings,
        sites: Mapping[str, Site],
        leases: Leases,
        clock: Clock,
        jitter: Callable[[], float],
        audit: Callable[[NumberAct], None],
    ) -> None:
        self.clock = clock
        self.composer = Composer()
        self._settings = settings
        self._audit = audit
        self._turnstiles = {site: Turnstile(settings.budget()) for site in sites}
        self.account = Account(sites, self._turnstiles, clock, self)
        self._number_changes: Quota[UserId] = Quota(most=NUMBER_CHANGES, window_s=3600.0)
        self._worlds = {name: self._world(name, site, leases, jitter) for name, site in sites.items()}
        self._registry: Registry[Connection] = Registry(settings.limits, settings.linger)
        self._denied = Denylist()
        self._households: dict[UserId, Household] = {}
        self._tickets: dict[Connection, Ticket] = {}
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def connections(self) -> int:
        """How many phones are connected."""
        return len(self._registry)

    @property
    def households(self) -> Mapping[UserId, Household]:
        """The users of this node."""
        return self._households

    # ---- phones ----

    async def attach(
        self, connection: Connection, ticket: Ticket, topics: tuple[str, ...] | None
    ) -> Attachment:
        """Return when OSCC-E has accepted the session in this epoch; bounded in time.

        Raises:
            SessionRefused: How the connection is to be closed.
        """
        ended = self.denied(ticket)
        if ended is not None:
            raise ended
        seat = Seat(ticket.user, ticket.handle, ticket.application, ticket.device.id)
        is_judged_first = self._registry.unseats(seat, self.clock.now())
        if not is_judged_first:
            self._take_in(connection, seat)
        household = self._household(ticket.user)
        household.feed.connections[ticket.handle] = connection
        self._tickets[connection] = ticket
        wanted = topics if topics is not None else DEFAULT_TOPICS[ticket.application]
        facts = await household.owner.attach(ticket, wanted)
        if is_judged_first and self._tickets.get(connection) is ticket:
            self._take_in(connection, seat)
        return Attachment(facts, household.feed.ledger)

    def _take_in(self, connection: Connection, seat: Seat) -> None:
        """Give the connection a seat; who makes way is closed."""
        added = self._registry.add(connection, seat, self.clock.now())
        if isinstance(added, Refused):
            raise SessionRefused(added.code, added.code.name.lower())
        for other in added.replaced:
            other.close(CloseCode.REPLACED, "replaced")

    def follow(self, connection: Connection, topics: tuple[str, ...]) -> None:
        """Have other topics listened to."""
        found = self._of(connection)
        if found is not None:
            household, ticket = found
            household.owner.follow(ticket.handle, topics)

    async def invoke(self, connection: Connection, call: Call) -> Outcome:
        """Have a command executed at the user's owner. Never raises."""
        found = self._of(connection)
        if found is None:
            error = GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "The session is not served any more.")
            return Outcome(Status.REJECTED, error)
        return await found[0].owner.execute(call)

    def detach(self, connection: Connection) -> None:
        """Note that a connection is gone, attached or not; a successor of its session is not touched."""
        self._registry.remove(connection, self.clock.now())
        ticket = self._tickets.pop(connection, None)
        household = None if ticket is None else self._households.get(ticket.user)
        if ticket is None or household is None:
            return
        if household.feed.connections.get(ticket.handle) is connection:
            del household.feed.connections[ticket.handle]
            household.owner.leave(ticket.handle)

    def touch(self, connection: Connection) -> None:
        """Note that a frame came."""
        self._registry.touch(connection, self.clock.now())

    def health(self, user: UserId) -> Health:
        """Return how old the user's data may be."""
        household = self._households.get(user)
        return _UNKNOWN if household is None else household.feed.health

    # ---- sessions ----

    def denied(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended, when that is known here."""
        end = self._denied.get(ticket.handle, self.clock.wall_ms())
        return None if end is None else refusal(ticket, end.reason, end.by)

    def logged_on(self, logged_on: LoggedOn, began_ms: int) -> None:
        """Note that a user logged on: what was said of his ended sessions is over."""
        user, number = logged_on.user.id, logged_on.remote_number
        self._denied.clear(user, began_ms)
        if number is not None:
            self._audit(NumberAct(user, logged_on.session, "log_on", masked(number), Status.APPLIED))

    def logged_off(self, ticket: Ticket, by: str = "self") -> None:
        """Note that the user ended a session: its token is refused from now on, its phone told."""
        self.session_ended(ticket, EndReason.LOGGED_OFF, by)
        household = self._households.get(ticket.user)
        if household is None:
            return
        connection = household.feed.connections.get(ticket.handle)
        if connection is not None:
            connection.close(CloseCode.LOGGED_OFF, EndReason.LOGGED_OFF, by=by)
        household.owner.let_go(ticket.handle)

    def session_ended(self, ticket: Ticket, reason: EndReason, by: str | None) -> None:
        """Refuse the tokens of a session that ended."""
        self._denied.add(
            ticket.user,
            ticket.handle,
            End(reason, by),
            since_ms=self.clock.wall_ms(),
            until_ms=ticket.expires_at_ms + DENIED_BEYOND_MS,
        )
        self._registry.ended(ticket.user, ticket.handle)

    def seen_by(self, ticket: Ticket) -> dict[str, Resource]:
        """Return what the session sees of the mirror; empty when it is not attached here."""
        household = self._households.get(ticket.user)
        connection = None if household is None else household.feed.connections.get(ticket.handle)
        live = None if connection is None else connection.session.live
        if household is None or live is None:
            return {}
        held = [(key, element.value) for key, element in household.feed.ledger.items()]
        view = live.outbox.view
        return {
            view.wire_key(key): value
            for key, value in held
            if key in view.keys and not isinstance(value, SessionFacts)
        }

    # ---- life ----

    async def run(self) -> None:
        """Serve until cancelled; then every owner has released its lease and closed its link."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self.account.run())
                while True:
                    await self.clock.sleep(TICK_S)
                    self._tick()
        finally:
            self._tasks = None

    def _tick(self) -> None:
        now = self.clock.now()
        for household in list(self._households.values()):
            household.owner.tick(now)
        for user in self._registry.due(now):
            gone = self._households.get(user)
            if gone is not None:
                gone.owner.stop()

    def _world(self, name: str, site: Site, leases: Leases, jitter: Callable[[], float]) -> World:
        settings = self._settings
        return World(
            node=settings.node,
            holder=settings.holder,
            upstream=site.upstream,
            authority=site.authority,
            leases=leases,
            clock=self.clock,
            jitter=jitter,
            session_ended=self.session_ended,
            turnstile=self._turnstiles[name],
            number_changes=self._number_changes,
            audit=self._audit,
            linger=settings.linger,
        )

    def _household(self, user: UserId) -> Household:
        before = self._households.get(user)
        if before is not None and not before.owner.is_over:
            return before
        if self._tasks is None:
            raise SessionRefused(CloseCode.DRAINING, "draining")
        world = self._worlds.get(user.site)
        if world is None:
            raise SessionRefused(CloseCode.TOKEN_INVALID, "site_unknown")
        feed = Feed(user)
        household = Household(feed, Owner(feed, world, self.composer))
        self._households[user] = household
        self._tasks.create_task(self._own(user, household, before))
        return household

    async def _own(self, user: UserId, household: Household, before: Household | None) -> None:
        try:
            if before is not None:
                await before.over.wait()
            await household.owner.run()
        except Exception as fault:  # noqa: BLE001 - one user's fault ends one user
            _LOG.error("an owner failed: %s", place(fault))
            for connection in list(household.feed.connections.values()):
                connection.close(CloseCode.INTERNAL, "internal")
        finally:
            household.over.set()
            if self._households.get(user) is household:
                del self._households[user]

    def _of(self, connection: Connection) -> tuple[Household, Ticket] | None:
        ticket = self._tickets.get(connection)
        household = None if ticket is None else self._households.get(ticket.user)
        return None if ticket is None or household is None else (household, ticket)
