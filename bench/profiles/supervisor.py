"""Reader of a link for profiles of a part of its path."""

from __future__ import annotations

import asyncio
from typing import cast

from gateway.core.element import Composer
from gateway.core.view import Member, UserSessions
from gateway.domain.errors import EndReason
from gateway.domain.model import Application, Device, SessionId, SessionSecret, Ticket, UserId
from gateway.domain.upstream import About
from gateway.runtime.event_loop import Pauses
from gateway.runtime.link_session import Linked, LinkHealth
from gateway.runtime.mirror import Feed, Mirror
from gateway.runtime.ports import Clock, Link, Tally

ABOUT = About("V2R1", "V8R2", frozenset())
TOPICS = ("agents", "queues")


class Supervisor:
    """One user with one session and his link: what an owner keeps of it, and no more."""

    def __init__(self, user: int, link: Link, clock: Clock, composer: Composer) -> None:
        self.clock = clock
        self.pauses = Pauses()
        self.feed = Feed(UserId("main", user))
        self.user_sessions = UserSessions()
        self.mirror = Mirror(self.feed, self.user_sessions, composer, clock)
        self.live = asyncio.Event()
        self.messages = 0
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
        self.tally = Tally()
        self.pulse = cast("LinkHealth", self)
        self.linked = Linked(link, member, ABOUT, self)

    # ---- Keeper, and its own pulse ----

    def received_live(self) -> bool:
        """Count a message."""
        self.messages += 1
        return True

    def read(self) -> None:
        """Do nothing: what was counted is in the mirror."""

    def received(self) -> None:
        """Do nothing: it is counted."""

    def agreed(self, keep_alive_s: float) -> None:
        """Note after which silence the server wants a sign of life."""

    def sees(self, *, regained: bool) -> None:
        """Note that the server may have begun or ceased to tell realtime data."""

    def answered(self) -> None:
        """Note that whoever waits for answers may look again."""

    def synced(self) -> None:
        """Note that every question is answered, and the mirror shows it."""
        self.live.set()

    def ended(self, member: Member, reason: EndReason, by: str | None) -> None:
        """Take out a session that ended."""
        raise AssertionError(member.handle, reason, by)

    def replaced(self, token: int) -> None:
        """Note that another link took the place of this one."""
        raise AssertionError(token)
