"""Who speaks for one user at his OSCC-E Server?

The owner has OSCC-E accept each session of the user, whichever node its phone is on, keeps the one
link open while a session needs it, and has commands executed at most once.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from gateway.core.calls import Calls
from gateway.core.compose import Composer
from gateway.core.effects import Health
from gateway.core.link import LinkMachine
from gateway.core.roster import Member, Roster
from gateway.domain.commands import Call, Outcome
from gateway.domain.errors import CloseCode, EndReason, SessionRefused
from gateway.domain.model import NodeId, Ticket
from gateway.domain.upstream import About, Feature
from gateway.protocol.envelopes import Inbox, Replaced, SessionFacts
from gateway.runtime.dialling import Dialling
from gateway.runtime.execution import Execution
from gateway.runtime.feed import Feed
from gateway.runtime.giving import Giving
from gateway.runtime.linked import Linked
from gateway.runtime.mirror import Mirror
from gateway.runtime.ports import Grant, Link
from gateway.runtime.renewing import Renewing
from gateway.runtime.role import RECONNECT_WINDOW_S, Local, RoleOverError, Start, not_reached
from gateway.runtime.sharing import Sharing
from gateway.runtime.spawn import spawn
from gateway.runtime.world import World, refusal

ATTACH_S: Final = 10.0
"""How long a phone waits for its session to be accepted and the first readings to be there."""

_PLAIN: Final = Start()


class Owner:
    """One user upstream.

    Invariants: at most one link, under a token that this node was granted; no session is served
    before OSCC-E has accepted it in this epoch; a command is sent upstream at most once.

    Args:
        feed: Where the user's changes go on this node.
        world: The outside.
        composer: Shares elements between the users of the node.
        calls: What is known of the user's commands; outlives the owner.
        start: How the ownership begins.
        local: The sessions with a phone on this node.
    """

    def __init__(
        self,
        feed: Feed,
        world: World,
        composer: Composer,
        calls: Calls[asyncio.Future[Outcome]],
        start: Start = _PLAIN,
        local: tuple[Local, ...] = (),
    ) -> None:
        self.clock = world.clock
        self.feed = feed
        self.roster = Roster()
        self.mirror = Mirror(feed, self.roster, composer, world.clock)
        self.execution = Execution(feed.user, self, calls, world.number_changes, world.audit)
        self.sharing = Sharing(feed, world.exchange)
        self.epoch = 0
        self.owned_by: Grant | None = None
        """Who has the user, once that is known to be another node."""
        self._world = world
        self._calls = calls
        self._start = start
        self._machine = LinkMachine()
        self._dialling = Dialling(feed.user, world, self._machine, self, start)
        self._giving = Giving(self, world)
        self._renewing = Renewing(self, world)
        self._linked: Linked | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._changed = asyncio.Event()
        self._stopped = False
        self._as_of_ms: int | None = feed.health.as_of_ms
        self._alone_since: float | None = None
        self._unlinked_since = world.clock.now()
        feed.outlet = self.sharing
        for ticket in start.lingering:
            self.roster.join(ticket, ())
            self.roster.leave(ticket.handle, world.clock.now())
        for one in local:
            self.roster.join(one.ticket, one.topics)

    # ---- sessions ----

    async def attach(
        self, ticket: Ticket, topics: tuple[str, ...], node: NodeId | None = None
    ) -> SessionFacts:
        """Return when OSCC-E has accepted the session and what it follows has been read once.

        When the readings take too long, or the link is down, the session is served with what is
        there, if it was accepted in this epoch.

        Args:
            ticket: The session's.
            topics: What it follows.
            node: Where its phone is; None is here.

        Raises:
            SessionRefused: It has ended, or nobody can tell in time.
            RoleOverError: Another node has the user by now.
        """
        if self.roster.is_crowded(ticket, node, self._world.devices):
            raise SessionRefused(CloseCode.TOO_MANY_DEVICES, CloseCode.TOO_MANY_DEVICES.name.lower())
        self._make_way(self.roster.get(ticket.handle), node)
        member = self.roster.join(ticket, topics, node)
        self._look()
        try:
            async with self.clock.timeout(ATTACH_S):
                while not self._is_ready(member):
                    await self._changed.wait()
        except TimeoutError:
            if member.attached is None:
                raise not_reached() from None
        for rival in self.roster.rivals(ticket):
            self._make_way(rival, node)
        return member.facts()

    def _make_way(self, member: Member | None, node: NodeId | None) -> None:
        """Have a phone's connection closed that makes way for one on another *node*."""
        if member is None or not member.present or member.node == node:
            return
        if member.node is not None:
            self._world.exchange.send(Inbox(member.node), Replaced(self.feed.user, member.handle))
        elif (connection := self.feed.connections.get(member.handle)) is not None:
            connection.close(CloseCode.REPLACED, "replaced")

    def follow(self, handle: str, topics: tuple[str, ...]) -> None:
        """Listen to what the session follows now."""
        member = self.roster.get(handle)
        if member is not None:
            member.topics = topics
            self._look()

    def leave(self, handle: str, node: NodeId | None = None) -> None:
        """Note that the session's phone left *node*; the session stays attached for a while."""
        self.roster.leave(handle, self.clock.now(), node)
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

    async def execute(self, call: Call) -> Outcome | None:
        """Have a command executed at most once, and return what became of it; None: ask the next owner."""
        return await self.execution.execute(call, self._tasks)

    def _is_ready(self, member: Member) -> bool:
        if self.roster.get(member.handle) is not member:
            raise refusal(member.ticket, *member.end)
        if self._stopped:
            raise RoleOverError if self.owned_by is not None else not_reached()
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
        self.sharing.light()
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
        self.sharing.darken()
        if self._start.history is not None:
            self._calls.adopt(self._start.history, epoch, self.clock.now())
            self._start = _PLAIN
        self.feed.ledger.rebase(epoch)
        self.feed.flush(self.clock.now())

    async def serve(self, link: Link, opener: Member, about: About) -> int | None:
        """Serve an open link until it is gone; returns the token of the link that replaced it."""
        linked = self._linked = Linked(link, opener, about, self)
        try:
            await linked.run()
        finally:
            self._linked = None
            self._unlinked_since = self.clock.now()
            self.roster.unlinked()
            self.mirror.live = False
        if linked.replaced_by is not None and self._world.exchange.machine.state == "down":
            # others live and reach each other: this node is the one that is cut off
            self._world.cut_off()
            self._send_away()
        return linked.replaced_by

    def unreached(self) -> None:
        """Note that there is no link now."""
        self._say_health()
        self.answered()

    def owned_elsewhere(self, grant: Grant) -> None:
        """End: another node has the user."""
        self.owned_by = grant
        self.stop()

    def redial(self) -> None:
        """Close the link, to open one under another lease."""
        if self._linked is not None:
            self._linked.close()

    def _send_away(self) -> None:
        for connection in list(self.feed.connections.values()):
            connection.close(CloseCode.REBALANCE, "owned elsewhere", window_s=RECONNECT_WINDOW_S)

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

    @property
    def token(self) -> int:
        """The token of the lease under which it is spoken; 0 for none yet."""
        return self.epoch if not self._stopped else 0

    @property
    def is_shared(self) -> bool:
        """Whether phones on other nodes are served through this one."""
        return any(member.present and member.node is not None for member in self.roster)

    @property
    def wants_to_give(self) -> bool:
        """Whether another node that asks should have the user."""
        return self._giving.is_wanted(self.clock.now(), self._alone_since, self._unlinked_for())

    # ---- life ----

    @property
    def is_over(self) -> bool:
        """Whether no session is left to speak for, or the user was let go."""
        return self._stopped or not len(self.roster)

    async def run(self) -> None:
        """Own the user until no session is left, :meth:`stop`, or another node has him."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self.sharing.run_in(tasks)
                try:
                    await self._dialling.run()
                finally:
                    self._tasks = None
                    self.sharing.run_in(None)
        finally:
            self._stopped = True
            self.answered()
            await self._dialling.leasing.release()

    def stop(self) -> None:
        """Let the user go."""
        self._stopped = True
        self._machine.stop()
        self._look()

    def asked(self, node: NodeId, *, adopt: bool) -> None:
        """Note that another node follows, and whether it would speak for the user."""
        self.sharing.interested(node, self.clock.now())
        if adopt and self._tasks is not None and self.wants_to_give:
            spawn(self._tasks, self._giving.give(node))

    def tick(self, now: float) -> None:
        """Do what is due by time: signs of life, renewals of the lease and of sessions, lingers."""
        if self._tasks is None:
            return
        if self._linked is not None:
            self._tend(self._linked, now)
        due_at = self._dialling.leasing.lease.due_at
        if due_at is not None and due_at <= now:
            spawn(self._tasks, self._renew_lease())
        if self._linked is not None and self._dialling.is_outbid(now):
            spawn(self._tasks, self._dialling.reconsider())
        self._renewing.tick(now, self._tasks)
        self._see_who_left(now)
        self._say_health()

    def _see_who_left(self, now: float) -> None:
        for node in self.sharing.silent(now):
            for member in self.roster.at(node):
                self.leave(member.handle, node)
        if self.feed.connections:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        for member in self.roster.lingered(now, self._world.linger):
            self.let_go(member.handle)

    def _unlinked_for(self) -> float:
        return 0.0 if self._linked is not None else self.clock.now() - self._unlinked_since

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
