"""Keep a link's subscriptions equal to what the user's sessions need.

A change of the wanted subscriptions only sets a flag. Rounds of requests make the present ones equal to the
wanted ones, so no two changes ever cross.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

from gateway.core.compose import Address
from gateway.core.interest import wanted
from gateway.core.user_sessions import Member, UserSessions
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.link_requests import (
    AttachSession,
    DetachSession,
    Directory,
    LinkAnswer,
    Presence,
    QueryDirectory,
)
from gateway.domain.model import Kind, Scope
from gateway.domain.upstream import Attached, FunctionChanged
from gateway.runtime.mirror import Mirror
from gateway.runtime.ports import Clock, Link
from gateway.runtime.queries import Queries
from gateway.runtime.questions import Questions
from gateway.runtime.spawn import TaskGroup, spawn, weakly

AT_ONCE: Final = 32
"""Of so many sessions it is asked at once: half of what a link takes, which is for commands, too."""
TOLD_AT_ONCE: Final = 4 * AT_ONCE
"""Of so many phones OSCC-E is told that they are there before it is asked for whoever has come since."""
FIRST_S: Final = 1.0
"""How long a round waits for the first readings that the one before asked for."""
AGAIN_S: Final = 5.0
"""After how long a question is put again that was refused for no lasting reason."""
TOLD_OF_S: Final = 1.0
"""After how long the directory is asked for what came into scope and was not told of."""
_ENDED: Final = frozenset({ErrorCode.SESSION_ENDED, ErrorCode.FORBIDDEN})


class AskingOwner(Protocol):
    """For whom it is asked."""

    clock: Clock
    user_sessions: UserSessions
    mirror: Mirror

    def ended(self, member: Member, reason: EndReason, by: str | None) -> None:
        """Take out a session that OSCC-E refused."""
        ...

    def answered(self) -> None:
        """Note that whoever waits for answers may look again."""
        ...

    def synced(self) -> None:
        """Note that every question is answered, and the mirror shows it."""
        ...


class Asking:
    """The questions of one link.

    Invariants: one round at a time; once :attr:`settled`, each of the user's sessions that OSCC-E
    accepts is on the link, presence is who is there, what is listened to is what is followed,
    and all of it was told once, or is done without until it is. A round waits for no answer longer
    than :data:`gateway.runtime.questions.ROUND_S`; one that comes later counts, too.

    Args:
        link: Where to ask.
        asker: For whom.
        tasks: Where rounds run: the link's life.
    """

    def __init__(self, link: Link, asker: AskingOwner, tasks: asyncio.TaskGroup) -> None:
        self.settled = False
        self._link = link
        self._asker = asker
        self._user_sessions = asker.user_sessions
        self._mirror = asker.mirror
        self._tasks = tasks
        self._needed = False
        self._asking = False
        self._directory_known = False
        self._unsure: dict[str, Member] = {}
        """Sessions that are not on the link, or whose scope may have changed unheard."""
        self._tried: set[Member] = set()
        """Those that it was asked to attach in this round."""
        self._unheard: dict[str, Member] = {}
        """Sessions of whose phones OSCC-E may know something else than what is."""
        self._questions = Questions(link, asker.clock, tasks, weakly(self.need))
        self._queries = Queries(
            link,
            self._questions,
            asker.mirror,
            asker.clock,
            weakly(self._ask_later),
            weakly(self._directory_heard),
        )
        self._gained: set[Address] = set()
        """What came into scope, while its directory objects may still be told."""
        self._gained_at = -math.inf
        self._leaving: list[int] = []
        self._again_at = math.inf
        self._is_served = False
        """Whether phones are served though realtime data is still waited for."""
        self._pause: asyncio.Event | None = None
        """Between two rounds, while the first readings are waited for: set when they are there."""

    # ---- what is wanted ----

    def need(self) -> None:
        """Ask what is to be asked now; many calls before its turn are one."""
        self.settled = False
        self._needed = True
        if not self._asking:
            self._asking = spawn(self._tasks, self._ask())

    def leave(self, alias: int) -> None:
        """Take a session off the link that is spoken for no longer."""
        self._leaving.append(alias)
        self.need()

    def directory_changed(self) -> None:
        """Ask for the directory and the catalogues again."""
        self._directory_known = False
        self.need()

    def rescoped(self, before: Scope) -> None:
        """Note that the union of the scopes is not *before* any more: what came into it is told soon."""
        after = self._user_sessions.scope
        self._gained |= {(kind, each) for kind in Kind for each in after.of(kind) - before.of(kind)}
        self._gained_at = self._asker.clock.now()
        self.need()

    def _look_for_gained(self, now: float) -> None:
        """Ask for the directory, once, when it has not told of everything that came into scope."""
        if not self._gained or now - self._gained_at < TOLD_OF_S:
            return
        gained, self._gained = self._gained, set()
        if any(number in self._user_sessions.scope.of(kind) for kind, number in self._mirror.unknown(gained)):
            self.directory_changed()

    def listen_anew(self) -> None:
        """Ask for everything again: something may have been lost."""
        self._queries.drop_all()
        self.need()

    def ask_refused_again(self) -> None:
        """Listen again to what was refused."""
        if self._queries.ask_refused_again():
            self.need()

    def function(self, change: FunctionChanged) -> None:
        """Note that a function went up or down."""
        self._queries.function(change)

    def tick(self, now: float) -> None:
        """Do without what is late, and put questions again whose time has come."""
        if self._queries.awaits:
            self._queries.tick(now)
        if self._gained:
            self._look_for_gained(now)
        if not self.settled:
            self.settle()
        if now >= self._again_at:
            self._again_at = math.inf
            self.ask_refused_again()
            self.need()

    @property
    def due_at(self) -> float:
        """When :meth:`tick` has something to do; in the past: each time."""
        is_waiting = not self.settled or self._gained or self._queries.awaits
        return -math.inf if is_waiting else self._again_at

    def settle(self) -> None:
        """Note it when everything that is followed has been read once, or is done without."""
        if self.settled or not self._is_told or (self._asking and self._pause is None):
            return
        self._queries.forget_stopped()
        is_partial = self._mirror.is_partial
        if is_partial and self._is_served:
            return
        self._is_served = is_partial
        self.settled = not (self._asking or is_partial)
        if not self._mirror.live:
            self._mirror.settle()
        self._asker.synced()
        if self._pause is not None:
            self._pause.set()

    @property
    def _is_told(self) -> bool:
        return self._directory_known and QueryDirectory not in self._questions and self._queries.are_told

    # ---- rounds ----

    async def _ask(self) -> None:
        while self._needed:
            self._needed = False
            self._tried.clear()
            await self._detach()
            await self._queries.hear_of_directory()
            await self._attach()
            if not self._directory_known:
                await self._query_directory()
            await self._say_presence()
            await self._queries.listen(wanted(self._user_sessions.followings))
            if self._needed and not self._mirror.live and self._mirror.is_empty:
                await self._first_readings()
        self._asking = False
        self._tried.clear()
        self._mirror.prune()
        self.settle()
        self._asker.answered()

    async def _first_readings(self) -> None:
        """Let whoever was asked for be served before whoever has come since: they may be thousands."""
        self._pause = asyncio.Event()
        self.settle()
        with suppress(TimeoutError):
            async with self._asker.clock.timeout(FIRST_S):
                await self._pause.wait()
        self._pause = None

    async def _detach(self) -> None:
        while self._leaving:
            with suppress(GatewayError):  # it may have ended meanwhile
                await self._link.request(DetachSession(self._leaving.pop()))

    def _directory_heard(self) -> None:
        """Ask for the directory, and what sessions may see, now that changes of it are told.

        Listening to it has no first event. It is asked for before anything else.
        """
        self._unsure = {member.handle: member for member in self._user_sessions}
        self._directory_known = False

    async def _attach(self) -> None:
        """Attach whoever is not on the link, and whoever comes meanwhile."""
        while asked := [member for member in self._to_attach() if member not in self._tried]:
            self._tried.update(asked)
            await self._of_each(asked, self._attach_one)
            if not self._mirror.live:
                return  # whoever came meanwhile waits no longer for the first readings than the others

    def _to_attach(self) -> list[Member]:
        for member in self._user_sessions.take_changed():
            self._unheard[member.handle] = member
            if not member.on_link:
                self._unsure[member.handle] = member
        gone = [
            each.handle for each in self._unsure.values() if self._user_sessions.get(each.handle) is not each
        ]
        for handle in gone:
            del self._unsure[handle]
        return list(self._unsure.values())

    async def _of_each(self, members: list[Member], ask: Callable[[Member], Awaitable[None]]) -> None:
        """Ask something of several sessions at once: an answer takes as long as all read before it."""
        left = iter(members)

        async def work() -> None:
            for member in left:
                await ask(member)

        async with TaskGroup() as tasks:
            for _ in members[:AT_ONCE]:
                tasks.create_task(work())

    async def _attach_one(self, member: Member) -> None:
        if len(self._questions) >= AT_ONCE:
            self._ask_later()
            return
        request = AttachSession(member.ticket.secret)
        await self._questions.ask(member, request, lambda answer: self._take_attached(member, answer))

    def _take_attached(self, member: Member, answer: LinkAnswer | GatewayError) -> None:
        if isinstance(answer, GatewayError):
            if answer.code in _ENDED:
                self._asker.ended(member, member.end_at(self._user_sessions.server), None)
            else:
                self._ask_later()
        if not isinstance(answer, Attached):
            return
        if self._user_sessions.get(member.handle) is not member:
            self._leaving.append(answer.alias)
            self._needed = True
            return
        before, own_agents = self._user_sessions.scope, self._user_sessions.own_agents
        self._user_sessions.accepted(member.handle, answer)
        self._unsure.pop(member.handle, None)
        self._directory_known = self._directory_known and self._user_sessions.scope == before
        self._mirror.narrowed()
        if self._user_sessions.own_agents == own_agents:
            self._mirror.show_session(member)
        else:  # with the agent comes a number, which all sessions are shown
            self._mirror.show_sessions()

    async def _query_directory(self) -> None:
        if QueryDirectory in self._questions:
            return
        self._directory_known = True
        await self._questions.ask(QueryDirectory, QueryDirectory(), self._take_directory)

    def _take_directory(self, answer: LinkAnswer | GatewayError) -> None:
        if isinstance(answer, Directory):
            self._mirror.directory(answer)
        else:
            self._directory_known = False
            self._ask_later()

    async def _say_presence(self) -> None:
        """Tell of each phone whether it is there, unless OSCC-E surely knows."""
        unheard, self._unheard = self._unheard, {}
        news = [each for each in unheard.values() if each.on_link and each.told_present is not each.present]
        for at in range(0, len(news), TOLD_AT_ONCE):
            await self._of_each(news[at : at + TOLD_AT_ONCE], self._tell_present)
            if self._mirror.live:
                await self._attach()  # who comes meanwhile does not wait until all is told of the others

    async def _tell_present(self, member: Member) -> None:
        present, attached = member.present, member.attached
        if attached is None or not member.on_link or self._user_sessions.get(member.handle) is not member:
            return
        try:
            await self._link.request(Presence(attached.alias, present))
        except GatewayError:
            self._ask_later()
            member.told_present = None
            self._unheard[member.handle] = member
        else:
            member.told_present = present

    def _ask_later(self) -> None:
        self._again_at = min(self._again_at, self._asker.clock.now() + AGAIN_S)
