"""User of a profile, with a session, a link and a mirror."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

from gateway.core.assembly import Composer
from gateway.core.link import LinkMachine, Pauses
from gateway.core.view import Member, UserSessions
from gateway.domain.errors import EndReason
from gateway.domain.model import Application, Device, SessionId, SessionSecret, Ticket, UserId
from gateway.domain.upstream import About
from gateway.runtime.link_session import LinkHealth, LinkSession, OwnerServices
from gateway.runtime.mirror import Feed, Mirror, SharedOffsets
from gateway.runtime.ports import Clock, Link
from gateway.telemetry import RuntimeCounters

ABOUT = About("V2R1", "V8R2", frozenset())
TOPICS = ("agents", "queues")


class Supervisor:
    """One user with one session and a link: the part of an owner that profiles need."""

    def __init__(
        self,
        user: int,
        link: Link,
        clock: Clock,
        composer: Composer,
        offsets: SharedOffsets,
        counters: RuntimeCounters,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.clock = clock
        self.pauses = Pauses()
        self.feed = Feed(UserId("main", user))
        self.user_sessions = UserSessions()
        self.mirror = Mirror(self.feed, self.user_sessions, composer, offsets, clock)
        self.live = asyncio.Event()
        ticket = Ticket(
            user=self.feed.user,
            display_name="Ada",
            application=Application.DASHBOARD,
            secret=SessionSecret("secret"),
            session=SessionId(f"session-{user}"),
            device=Device("d", "Phone"),
            notices=(),
            issued_at_ms=0,
            expires_at_ms=2**50,
            idle_timeout_s=0,
        )
        member = self.user_sessions.join(ticket, TOPICS)
        self.counters = counters
        machine = LinkMachine()
        machine.dialling()
        machine.opened(clock.now())
        exchange = SimpleNamespace(machine=SimpleNamespace(health="live"))
        services = SimpleNamespace(clock=clock, exchange=exchange, counters=counters, is_behind=bool)
        self.link_health = LinkHealth(
            self.feed, self.mirror, machine, cast("OwnerServices", services), is_taking_over=False
        )
        self.linked = LinkSession(tasks, link, member, ABOUT, self)

    async def run(self) -> None:
        """Serve the link until it is gone."""
        await self.linked.run()
        while self.linked.silence is not None:
            await asyncio.shield(self.linked.silence)
            await self.linked.run()

    # ---- Keeper ----

    def touch(self) -> None:
        """Do nothing: profiles let no time pass."""

    def answered(self) -> None:
        """Do nothing: no task waits for answers."""

    def synced(self) -> None:
        """Set *live*: every query is answered, and the mirror holds the elements."""
        self.link_health.synced()
        self.live.set()

    def ended(self, member: Member, reason: EndReason, by: str | None) -> None:
        """Fail: no session ends in a profile."""
        raise AssertionError(member.handle, reason, by)

    def replaced(self, token: int) -> None:
        """Fail: no other link replaces this one in a profile."""
        raise AssertionError(token)
