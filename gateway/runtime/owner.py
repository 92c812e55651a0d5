"""Who speaks for one user at his OSCC-E Server?

The owner has OSCC-E accept each session of the user, keeps the one link open while a session
needs it, and has commands executed at most once.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from gateway.core.compose import Composer
from gateway.core.effects import Health
from gateway.core.link import LinkMachine
from gateway.core.roster import Member, Roster
from gateway.domain.commands import Call, Outcome
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import Ticket
from gateway.domain.upstream import About, Feature
from gateway.protocol.envelopes import SessionFacts
from gateway.runtime.dialling import Dialling
from gateway.runtime.execution import Execution
from gateway.runtime.feed import Feed
from gateway.runtime.linked import Linked
from gateway.runtime.mirror import Mirror
from gateway.runtime.ports import Link
from gateway.runtime.spawn import spawn
from gateway.runtime.world import World, refusal

ATTACH_S: Final = 10.0
"""How long a phone waits for its session to be accepted and the first readings to be there."""
SESSION_RENEW_AGAIN_S: Final = 30.0
RENEWALS_IN_A_LIFE: Final = 12
"""A short life is renewed more often: its last third has room for four tries."""
RECONNECT_WINDOW_S: Final = (1.0, 10.0)


class Owner:
    """One user upstream.

    Invariants: at most one link, under a token that this node was granted; no session is served
    before OSCC-E has accepted it in this epoch; a command is sent upstream at most once.

    Args:
        feed: Where the user's changes go on this node.
        world: The outside.
        composer: Shares elements between the users of the node.
    """

    def __init__(self, feed: Feed, world: World, composer: Composer) -> None:
        self.clock = world.clock
        self.feed = feed
        self.roster = Roster()
        self.mirror = Mirror(feed, self.roster, composer, world.clock)
        self.execution = Execution(feed.user, self, world.number_changes, world.audit)
        self.epoch = 0
        self._world = world
        self._machine = LinkMachine()
        self._dialling = Dialling(feed.user, world, self._machine, self)
        self._linked: Linked | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._changed = asyncio.Event()
        self._stopped = False
        self._as_of_ms: int | None = None

    # ---- sessions ----

    async def attach(self, ticket: Ticket, topics: tuple[str, ...]) -> SessionFacts:
        """Return when OSCC-E has accepted the session and what it follows has been read once.

        When the readings take too long, or the link is down, the session is served with what is
        there, if it was accepted in this epoch.

        Raises:
            SessionRefused: It has ended, or nobody can tell in time.
        """
        member = self.roster.join(ticket, topics)
        self._look()
        try:
            async with self.clock.timeout(ATTACH_S):
                while not self._is_ready(member):
                    await self._changed.wait()
        except TimeoutError:
            if member.attached is None:
                raise _not_reached() from None
        return member.facts()

    def follow(self, handle: str, topics: tuple[str, ...]) -> None:
        """Listen to what the session follows now."""
        member = self.roster.get(handle)
        if member is not None:
            member.topics = topics
            self._look()

    def leave(self, handle: str) -> None:
        """Note that the session's phone left; the session stays attached for a while."""
        self.roster.leave(handle, self.clock.now())
        surplus = self.roster.surplus()
        if surplus is not None:
            self.let_go(surplus.handle)
        self._look()

    def let_go(self, handle: str) -> None:
        """Speak for a session no longer; at OSCC-E it lives on or has ended."""
        member = self.roster.remove(handle)
        if member is None:
            return
        if self._linked is not None:
            self._linked.leave(member)
        self._gone(member)

    async def execute(self, call: Call) -> Outcome:
        """Have a command executed at most once, and return what became of it."""
        return await self.execution.execute(call, self._tasks)

    def _is_ready(self, member: Member) -> bool:
        if self.roster.get(member.handle) is not member:
            raise refusal(member.ticket, *member.end)
        if self._stopped:
            raise _not_reached()
        if member.attached is None:
            return False
        if self._linked is None:
            return self.mirror.has_snapshot
        return member.on_link and self._linked.settled

    def _gone(self, member: Member) -> None:
        """Forget what only a session that has left the roster could see."""
        self.feed.forget(member.handle)
        if len(self.roster):
            self.mirror.narrowed()
        self.feed.flush(self.clock.now())
        self.answered()
        self._look()

    def _look(self) -> None:
        """Have it seen to that what is asked of OSCC-E is what is wanted now."""
        if self._linked is not None and self.is_over:
            self._linked.close()
        elif self._linked is not None:
            self._linked.need()
        self._dialling.look()

    # ---- what the link tells (Keeper, Served) ----

    def heard(self) -> None:
        """Note that a message came."""
        self._machine.heard(self.clock.now())
        if not self.mirror.is_blind:
            self._as_of_ms = self.clock.wall_ms()
        self._say_health()

    def sees(self, *, regained: bool) -> None:
        """Note that the server may have begun or ceased to tell realtime data."""
        if regained:
            self._machine.doubt()
        self._say_health()

    def agreed(self, keep_alive_s: float) -> None:
        """Note after which silence the server wants a sign of life."""
        self._machine.agreed(keep_alive_s)

    def synced(self) -> None:
        """Note that every question asked so far is answered, and the mirror shows it."""
        self._machine.synced(self.clock.now())
        self._say_health()
        self.answered()

    def answered(self) -> None:
        """Let whoever waits in :meth:`attach` look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def ended(self, member: Member, reason: EndReason, by: str | None) -> None:
        """Take out a session that OSCC-E ended or refused, and tell its phone."""
        if self.roster.get(member.handle) is not member:
            return
        self.roster.remove(member.handle)
        member.end = (reason, by)
        self._world.session_ended(replace(member.ticket, expires_at_ms=member.expires_at_ms), reason, by)
        self.feed.learn(member.facts(reason, by), None)
        self._gone(member)

    def epoch_began(self, epoch: int) -> None:
        """Write under a new lease: OSCC-E must accept each session again; phones keep what they show."""
        self.epoch = epoch
        self.roster.forget_acceptances()
        self.feed.ledger.rebase(epoch)
        self.feed.flush(self.clock.now())

    async def serve(self, link: Link, opener: Member, about: About) -> int | None:
        """Serve an open link until it is gone; returns the token of the link that replaced it."""
        linked = self._linked = Linked(link, opener, about, self)
        try:
            await linked.run()
        finally:
            self._linked = None
            self.roster.unlinked()
            self.mirror.live = False
        return linked.replaced_by

    def unreached(self) -> None:
        """Note that there is no link now."""
        self._say_health()
        self.answered()

    def owned_elsewhere(self) -> None:
        """Send the phones away: they come back, and meet the node that has the user."""
        for connection in list(self.feed.connections.values()):
            connection.close(CloseCode.REBALANCE, "owned elsewhere", window_s=RECONNECT_WINDOW_S)
        self.stop()

    def _say_health(self) -> None:
        upstream = self._machine.health(self.clock.now())
        if upstream == "live" and self.mirror.is_blind:
            upstream = "stale"
        as_of_ms = self._as_of_ms if self.mirror.has_snapshot else None
        self.feed.say(Health(upstream, self.feed.health.bus, as_of_ms))

    # ---- what executing needs (Line) ----

    @property
    def link(self) -> Link | None:
        """The open link."""
        return None if self._linked is None else self._linked.link

    @property
    def features(self) -> frozenset[Feature]:
        """What the server at the end of the open link can do."""
        return frozenset() if self._linked is None else self._linked.features

    @property
    def offset_ms(self) -> int:
        """Gateway clock minus server clock."""
        return self.mirror.offset_ms

    @property
    def may_act(self) -> bool:
        """Whether a command sent now is executed only if this node still speaks for the user."""
        fenced = self._linked is not None and self._linked.fenced
        return fenced or self._dialling.leasing.lease.holds(self.clock.now())

    # ---- life ----

    @property
    def is_over(self) -> bool:
        """Whether no session is left to speak for, or the user was let go."""
        return self._stopped or not len(self.roster)

    async def run(self) -> None:
        """Own the user until no session is left or :meth:`stop`; then link and lease are given up."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                try:
                    await self._dialling.run()
                finally:
                    self._tasks = None
        finally:
            self._stopped = True
            self.answered()
            await self._dialling.leasing.release()

    def stop(self) -> None:
        """Let the user go."""
        self._stopped = True
        self._machine.stop()
        self._look()

    def tick(self, now: float) -> None:
        """Do what is due by time: signs of life, renewals of the lease and of sessions, lingers."""
        if self._tasks is None:
            return
        if self._linked is not None:
            self._tend(self._linked, now)
        due_at = self._dialling.leasing.lease.due_at
        if due_at is not None and due_at <= now:
            spawn(self._tasks, self._renew_lease())
        for member in self.roster.expiring(now, self.clock.wall_ms()):
            member.renew_after = now + min(SESSION_RENEW_AGAIN_S, member.life_s / RENEWALS_IN_A_LIFE)
            spawn(self._tasks, self._renew_session(member))
        for member in self.roster.lingered(now, self._world.linger):
            self.let_go(member.handle)
        self._say_health()

    def _tend(self, linked: Linked, now: float) -> None:
        match self._machine.need(now):
            case "keep_alive":
                linked.keep_alive()
            case "listen_anew":
                linked.listen_anew()
            case "drop":
                linked.close()
            case "nothing":
                linked.tick(now)

    async def _renew_lease(self) -> None:
        await self._dialling.leasing.ask()
        self._dialling.look()

    async def _renew_session(self, member: Member) -> None:
        try:
            expires_at_ms = await self._world.authority.keep_alive(member.ticket.secret)
        except GatewayError as error:
            if error.code is ErrorCode.SESSION_ENDED:
                self._not_renewed(member)
            return
        if expires_at_ms > member.expires_at_ms and self.roster.get(member.handle) is member:
            member.lived_from_ms, member.expires_at_ms = self.clock.wall_ms(), expires_at_ms
            self.mirror.show_sessions()
            self.feed.flush(self.clock.now())

    def _not_renewed(self, member: Member) -> None:
        """Take in that OSCC-E does not know the session: the link that carries it should tell why.

        The answer may overtake what the link tells; only that says whether the phone is to stop or to
        log on again.
        """
        if member.on_link and not member.doubted:
            member.doubted = True
        else:
            self.ended(member, EndReason.UNKNOWN, None)


def _not_reached() -> SessionRefused:
    return SessionRefused(CloseCode.INTERNAL, ErrorCode.UPSTREAM_UNAVAILABLE, window_s=RECONNECT_WINDOW_S)
