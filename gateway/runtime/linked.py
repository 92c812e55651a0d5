"""What goes on while a user's link is open?

One :class:`Linked` lives as long as one link. It reads the link, attaches sessions, listens
to what they follow and nothing else, and keeps the mirror and the sessions' facts up to date.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Protocol, assert_never

from gateway.core.interest import wanted
from gateway.core.roster import Member, Roster
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.link_requests import (
    AttachSession,
    DetachSession,
    Directory,
    Listen,
    Listening,
    Presence,
    QueryDirectory,
    StopListening,
)
from gateway.domain.resources import FunctionState
from gateway.domain.upstream import (
    About,
    Attached,
    CatalogueChanged,
    FunctionChanged,
    LinkClosed,
    LinkEvent,
    LinkReplaced,
    ObjectChanged,
    Opened,
    Reading,
    ScopeChanged,
    SessionEnded,
)
from gateway.runtime.feed import Feed
from gateway.runtime.mirror import Mirror
from gateway.runtime.ports import Clock, Link


class Keeper(Protocol):
    """Whose link it is."""

    clock: Clock
    roster: Roster
    mirror: Mirror
    feed: Feed

    def heard(self) -> None:
        """Note that a message came."""
        ...

    def agreed(self, keep_alive_s: float) -> None:
        """Note after which silence the server wants a sign of life."""
        ...

    def synced(self) -> None:
        """Note that every first question is answered."""
        ...

    def ended(self, member: Member, reason: EndReason, by: str | None) -> None:
        """Note that OSCC-E ended or refused a session; takes it out of the roster."""
        ...


class Linked:
    """One open link.

    Invariant: what is listened to is what the sessions on the link follow, once
    :meth:`adjust` has returned.

    Args:
        link: The open link; its first event is ``Opened``.
        opener: The handle of the session by which it was opened.
        about: Which server it is.
        keeper: Whose link it is.
    """

    def __init__(self, link: Link, opener: str, about: About, keeper: Keeper) -> None:
        self.link = link
        self.replaced_by: int | None = None
        self._opener = opener
        self._about = about
        self._keeper = keeper
        self._roster = keeper.roster
        self._mirror = keeper.mirror
        self._adjusting = asyncio.Lock()
        self._queries: dict[Listen, int] = {}
        self._present: dict[int, bool] = {}
        self._refused_queries = count(-1, -1)
        self._settled = False
        self._tasks: asyncio.TaskGroup | None = None

    # ---- reading ----

    async def run(self) -> None:
        """Serve the link until it is gone.

        Raises:
            LinkClosed: Always; why it ended.
        """
        ended = LinkClosed("lost")
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                while True:
                    await self._turn()
        except* LinkClosed as closed:
            ended = _closing(closed)
        finally:
            self._tasks = None
            await self.link.close()
        raise ended

    async def _turn(self) -> None:
        event = await self.link.receive()
        self._keeper.heard()
        if event is None:
            # An answer was settled: let whoever asked run before the next event is processed.
            await self._keeper.clock.sleep(0)
            return
        self._process(event)
        self._keeper.feed.flush()

    def _process(self, event: LinkEvent) -> None:
        match event:
            case Reading() | ObjectChanged() | CatalogueChanged() | FunctionChanged():
                self._process_data(event)
            case Opened():
                self._opened(event)
            case ScopeChanged():
                self._rescoped(event)
            case SessionEnded():
                self._session_ended(event)
            case LinkReplaced():
                self.replaced_by = event.token
            case _:
                assert_never(event)

    def _process_data(self, event: Reading | ObjectChanged | CatalogueChanged | FunctionChanged) -> None:
        match event:
            case Reading():
                self._mirror.read(event)
                self._settle()
            case ObjectChanged():
                self._mirror.object(event)
            case CatalogueChanged():
                self.spawn(self._query_directory)
            case FunctionChanged():
                self._function(event)

    def _opened(self, event: Opened) -> None:
        self._keeper.agreed(event.keep_alive_s)
        self._mirror.begin(self._about, event.time_ms, event.last_end)
        self._roster.accepted(self._opener, event.attached)
        self.spawn(self._sync)

    def _rescoped(self, event: ScopeChanged) -> None:
        if self._roster.rescoped(event.alias, event.rights, event.scope) is not None:
            self._mirror.narrowed()
            self._mirror.show_sessions()
            self.spawn(self.adjust)

    def _function(self, event: FunctionChanged) -> None:
        self._mirror.function(event)
        if event.state is FunctionState.UP and any(query < 0 for query in self._queries.values()):
            self.spawn(self._ask_refused_again)

    def _session_ended(self, event: SessionEnded) -> None:
        member = self._roster.by_alias(event.alias)
        if member is not None:
            self._keeper.ended(member, event.reason, event.by)
            self._mirror.narrowed()
            self.spawn(self.adjust)

    def _settle(self) -> None:
        """Note it when everything that is followed has been read once."""
        if self._settled or self._adjusting.locked() or not self._mirror.assembly.settled:
            return
        if self._queries.keys() == wanted(self._roster.followings):
            self._settled = True
            if not self._mirror.live:
                self._mirror.settle()
            self._keeper.synced()

    # ---- asking ----

    def spawn(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run *work* beside the reading, for as long as the link lives."""
        if self._tasks is not None:
            self._tasks.create_task(work())

    async def _sync(self) -> None:
        """Ask the first questions of a new link."""
        for member in self._roster:
            if not member.on_link:
                await self.attach(member)
        await self._query_directory()
        await self.adjust()

    async def attach(self, member: Member) -> None:
        """Have OSCC-E accept a further session on this link."""
        try:
            answer = await self.link.request(AttachSession(member.ticket.secret))
        except GatewayError as error:
            if error.code in (ErrorCode.SESSION_ENDED, ErrorCode.FORBIDDEN):
                self._keeper.ended(member, EndReason.UNKNOWN, None)
            return
        if isinstance(answer, Attached):
            self._roster.accepted(member.handle, answer)
            if self._mirror.live:
                self._mirror.show_sessions()

    async def admit(self, member: Member) -> None:
        """Attach a session that came while the link was open, and listen to what it follows."""
        before = self._roster.scope
        await self.attach(member)
        if self._roster.scope != before:
            await self._query_directory()
        await self.adjust()
        self._keeper.feed.flush()

    async def detach(self, member: Member) -> None:
        """Take a session that lingered long enough off the link; it has left the roster already."""
        if member.on_link and member.attached is not None:
            await self._try(DetachSession(member.attached.alias))
            self._present.pop(member.attached.alias, None)
        self._mirror.narrowed()
        await self.adjust()

    async def adjust(self) -> None:
        """Make what is listened to equal to what is followed, and presence equal to who is there."""
        self._settled = False
        async with self._adjusting:
            await self._say_presence()
            target = wanted(self._roster.followings)
            for listen in sorted(target - self._queries.keys(), key=repr):
                await self._listen(listen)
            for listen in sorted(self._queries.keys() - target, key=repr):
                await self._stop(listen)
        self._settle()
        self._keeper.feed.flush()

    async def relisten(self) -> None:
        """Ask for whole sets again: the link was silent for long enough to have lost something."""
        async with self._adjusting:
            self._mirror.live = False
            for listen in list(self._queries):
                await self._stop(listen)
        await self.adjust()

    async def _ask_refused_again(self) -> None:
        async with self._adjusting:
            for listen, query in list(self._queries.items()):
                if query < 0:
                    await self._stop(listen)
        await self.adjust()

    async def _listen(self, listen: Listen) -> None:
        try:
            answer = await self.link.request(listen)
        except GatewayError:
            query = next(self._refused_queries)
            self._queries[listen] = query
            self._mirror.show(self._mirror.assembly.refused(query, listen))
            return
        if isinstance(answer, Listening):
            self._queries[listen] = answer.query
            self._mirror.assembly.listening(answer.query, listen)

    async def _stop(self, listen: Listen) -> None:
        query = self._queries.pop(listen)
        if query >= 0:
            await self._try(StopListening(query))
        self._mirror.show(self._mirror.assembly.stopped(query))

    async def _query_directory(self) -> None:
        try:
            answer = await self.link.request(QueryDirectory())
        except GatewayError:
            return
        if isinstance(answer, Directory):
            self._mirror.directory(answer)
            self._keeper.feed.flush()

    async def _say_presence(self) -> None:
        for member in self._roster:
            attached = member.attached
            if attached is None or not member.on_link:
                continue
            if self._present.get(attached.alias, False) is not member.present:
                self._present[attached.alias] = member.present
                await self._try(Presence(attached.alias, member.present))

    async def _try(self, request: Presence | DetachSession | StopListening) -> None:
        """Send what changes nothing for us when it is refused."""
        try:
            await self.link.request(request)
        except GatewayError:
            return


def _closing(group: BaseExceptionGroup[BaseException]) -> LinkClosed:
    """Return why the link ended, however deep it lies in a group."""
    for error in group.exceptions:
        if isinstance(error, LinkClosed):
            return error
        if isinstance(error, BaseExceptionGroup):
            return _closing(error)
    return LinkClosed("lost")
