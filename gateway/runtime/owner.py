"""Who speaks for one user at his OSCC-E Server?

The owner holds the user's lease, keeps the one link open while a session needs it, has
OSCC-E accept each session, and has commands executed at most once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

from gateway.core.compose import Composer
from gateway.core.effects import Health
from gateway.core.link import LinkMachine
from gateway.core.roster import Member, Roster
from gateway.domain.commands import Call, Outcome
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.link_requests import KeepAlive
from gateway.domain.model import Ticket
from gateway.domain.upstream import LinkClosed
from gateway.protocol.envelopes import SessionFacts
from gateway.runtime.execution import Execution
from gateway.runtime.feed import Feed
from gateway.runtime.linked import Linked
from gateway.runtime.mirror import Mirror
from gateway.runtime.ports import Link
from gateway.runtime.world import World, refusal

LEASE_RENEW_S: Final = 5.0
ATTACH_S: Final = 10.0
"""How long a phone waits for its session to be accepted and the first readings to be there."""
SESSION_RENEW_AGAIN_S: Final = 30.0
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
        self.execution = Execution(self)
        self.epoch = 0
        self._world = world
        self._machine = LinkMachine()
        self._linked: Linked | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._news = asyncio.Event()
        self._leased = False
        self._lease_renewed_at = 0.0
        self._floor = 0
        self._stopped = False
        self._as_of_ms: int | None = None

    @property
    def link(self) -> Link | None:
        """The open link."""
        return None if self._linked is None else self._linked.link

    @property
    def offset_ms(self) -> int:
        """Gateway clock minus server clock."""
        return self.mirror.offset_ms

    # ---- sessions ----

    async def attach(self, ticket: Ticket, topics: tuple[str, ...]) -> SessionFacts:
        """Return when OSCC-E has accepted the session and what it follows has been read once.

        When the readings take too long, the session is served with what is there.

        Raises:
            SessionRefused: It has ended, or nobody can tell in time.
        """
        member = self.roster.join(ticket, topics)
        self._news.set()
        if self._linked is not None:
            linked = self._linked
            linked.spawn(linked.adjust if member.on_link else lambda: linked.admit(member))
        try:
            async with self.clock.timeout(ATTACH_S):
                while not self._is_ready(member):
                    await self._change()
        except TimeoutError:
            if member.attached is None:
                raise SessionRefused(
                    CloseCode.INTERNAL, ErrorCode.UPSTREAM_UNAVAILABLE, window_s=RECONNECT_WINDOW_S
                ) from None
        return member.facts()

    def follow(self, handle: str, topics: tuple[str, ...]) -> None:
        """Listen to what the session follows now."""
        member = self.roster.get(handle)
        if member is not None:
            member.topics = topics
            self._adjust()

    def leave(self, handle: str) -> None:
        """Note that the session's phone left; the session stays attached."""
        self.roster.leave(handle, self.clock.now())
        surplus = self.roster.surplus()
        if surplus is not None:
            self.let_go(surplus.handle)
        self._adjust()

    def let_go(self, handle: str) -> None:
        """Speak for a session no longer; at OSCC-E it lives on or has ended."""
        member = self.roster.remove(handle)
        if member is None:
            return
        self.feed.forget(handle)
        if self._linked is not None:
            linked = self._linked
            linked.spawn(lambda: linked.detach(member))
        self._end_when_empty()

    async def execute(self, call: Call) -> Outcome:
        """Have a command executed at most once, and return what became of it."""
        return await self.execution.execute(call, self._tasks)

    def _is_ready(self, member: Member) -> bool:
        if self.roster.get(member.handle) is not member:
            raise refusal(member.ticket, *member.end)
        if member.attached is None:
            return False
        is_kept = self._linked is None and self._as_of_ms is not None
        return is_kept or (member.on_link and self.mirror.live and self.mirror.assembly.settled)

    def _adjust(self) -> None:
        if self._linked is not None:
            self._linked.spawn(self._linked.adjust)

    async def _change(self) -> None:
        """Return when something changed that :meth:`_is_ready` looks at."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # ---- what the link tells (Keeper) ----

    def heard(self) -> None:
        """Note that a message came."""
        self._machine.heard(self.clock.now())
        self._as_of_ms = self.clock.wall_ms()
        self._say_health()

    def agreed(self, keep_alive_s: float) -> None:
        """Note after which silence the server wants a sign of life."""
        self._machine.agreed(keep_alive_s)

    def synced(self) -> None:
        """Note that every question asked so far is answered."""
        self._machine.synced(self.clock.now())
        self._say_health()
        self._tell_waiting()

    def ended(self, member: Member, reason: EndReason, by: str | None) -> None:
        """Take out a session that OSCC-E ended or refused, and tell its phone."""
        self.roster.remove(member.handle)
        member.end = (reason, by)
        self._world.session_ended(member.ticket, reason, by)
        self.feed.learn(member.facts(reason, by), None)
        self.feed.forget(member.handle)
        self._tell_waiting()
        self._end_when_empty()

    def _say_health(self) -> None:
        upstream = self._machine.health(self.clock.now())
        as_of_ms = self._as_of_ms if self.feed.ledger.position.seq else None
        self.feed.say(Health(upstream, self.feed.health.bus, as_of_ms))

    # ---- life ----

    async def run(self) -> None:
        """Own the user until no session is left or :meth:`stop`."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                await self._keep_linked()
        finally:
            self._tasks = None
            self._stopped = True
            self._tell_waiting()

    def stop(self) -> None:
        """Let the user go: close the link, release the lease."""
        self._stopped = True
        self._machine.stop()
        self._news.set()
        self._close_link()

    def tick(self, now: float) -> None:
        """Do what is due by time: signs of life, renewals of the lease and of sessions."""
        if self._tasks is None:
            return
        match self._machine.need(now):
            case "keep_alive":
                self._spawn_on_link(self._keep_alive)
            case "listen_anew" if self._linked is not None:
                self._linked.spawn(self._linked.relisten)
            case "drop":
                self._close_link()
            case _:
                pass
        if self._leased and now - self._lease_renewed_at >= LEASE_RENEW_S:
            self._lease_renewed_at = now
            self._tasks.create_task(self._renew_lease())
        for member in self.roster.expiring(now, self.clock.wall_ms()):
            member.renew_after = now + SESSION_RENEW_AGAIN_S
            self._tasks.create_task(self._renew_session(member))
        self._say_health()

    async def _keep_linked(self) -> None:
        try:
            while not self.is_over():
                await self._wait_to_dial()
                if not self.is_over() and await self._lease():
                    await self._dial()
        finally:
            if self._leased:
                await self._world.leases.release(self.feed.user, self._world.holder, self.epoch)

    def is_over(self) -> bool:
        """Whether no session is left to speak for, or the user was let go."""
        return self._stopped or not len(self.roster)

    async def _wait_to_dial(self) -> None:
        while not self.is_over():
            now = self.clock.now()
            due_at = self._machine.dial_at(now)
            if due_at is not None and due_at <= now:
                return
            self._news.clear()
            try:
                async with self.clock.timeout(3600.0 if due_at is None else due_at - now):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _lease(self) -> bool:
        """Hold the lease, asking for it when it is not held; a new token begins a new epoch."""
        if self._leased:
            return True
        world = self._world
        asked_at = self.clock.now()
        grant = await world.leases.acquire(self.feed.user, world.node, world.holder, floor=self._floor)
        if grant.holder != world.holder:
            self._send_away()
            return False
        self._leased, self._lease_renewed_at = True, asked_at
        if grant.token != self.epoch:
            self.epoch = self._floor = grant.token
            self.roster.forget_acceptances()
            self.feed.ledger.rebase(grant.token)
            self.feed.flush()
        return True

    async def _dial(self) -> None:
        member = next(iter(self.roster), None)
        if member is None or not self._machine.dialling():
            return
        world = self._world
        try:
            about = await world.upstream.about()
            link = await world.upstream.open(
                self.feed.user, member.ticket.secret, token=self.epoch, holder=world.holder
            )
        except GatewayError:
            self._machine.failed(self.clock.now(), world.jitter())
        except LinkClosed as closed:
            await self._not_opened(member, closed)
        else:
            self._machine.opened(self.clock.now())
            self._linked = Linked(link, member.handle, about, self)
            await self._serve(self._linked)
        self._say_health()
        self._tell_waiting()

    async def _serve(self, linked: Linked) -> None:
        """Serve the link until it is gone."""
        try:
            await linked.run()
        except LinkClosed:
            pass
        finally:
            self._linked = None
            self.roster.unlinked()
            self.mirror.live = False
        now, jitter = self.clock.now(), self._world.jitter()
        if linked.replaced_by is None:
            self._machine.failed(now, jitter)
        else:
            self._floor, self._leased = max(self._floor, linked.replaced_by), False
            self._machine.kicked(now, jitter)

    async def _not_opened(self, member: Member, closed: LinkClosed) -> None:
        match closed.reason:
            case "session_unknown":
                self._machine.refused()
                self.ended(member, EndReason.UNKNOWN, None)
            case "stale":
                self._machine.refused()
                await self._world.leases.release(self.feed.user, self._world.holder, self.epoch)
                self._floor, self._leased = max(self._floor, closed.token or 0), False
            case _:
                self._machine.failed(self.clock.now(), self._world.jitter())

    def _end_when_empty(self) -> None:
        self._news.set()
        if not len(self.roster):
            self._close_link()

    def _close_link(self) -> None:
        if self._linked is not None:
            self._linked.spawn(self._linked.link.close)

    def _send_away(self) -> None:
        """Another node owns the user: his phones come back, and meet it."""
        for connection in list(self.feed.connections.values()):
            connection.close(CloseCode.REBALANCE, "owned elsewhere", window_s=RECONNECT_WINDOW_S)
        self.stop()

    # ---- by time ----

    def _spawn_on_link(self, work: Callable[[Linked], Coroutine[None, None, None]]) -> None:
        linked = self._linked
        if linked is not None:
            linked.spawn(lambda: work(linked))

    async def _keep_alive(self, linked: Linked) -> None:
        try:
            await linked.link.request(KeepAlive())
        except GatewayError:
            return

    async def _renew_lease(self) -> None:
        world = self._world
        if not await world.leases.renew(self.feed.user, world.node, world.holder, self.epoch):
            self._leased = False
            self._close_link()

    async def _renew_session(self, member: Member) -> None:
        try:
            expires_at_ms = await self._world.authority.keep_alive(member.ticket.secret)
        except GatewayError:
            return
        if expires_at_ms > member.expires_at_ms and self.roster.get(member.handle) is member:
            member.lived_from_ms, member.expires_at_ms = self.clock.wall_ms(), expires_at_ms
            self.mirror.show_sessions()
            self.feed.flush()
