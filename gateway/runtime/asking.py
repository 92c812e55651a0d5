"""What must be asked on a link, so that it carries what the user's sessions need and nothing else?

Whoever changes what is wanted only says so; one round of questions after another makes what
OSCC-E was asked equal to what is wanted, so no two changes ever cross.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Final, Protocol

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
from gateway.domain.upstream import Attached, Source
from gateway.runtime.mirror import Mirror
from gateway.runtime.ports import Clock, Link
from gateway.runtime.spawn import spawn

DIRECTORY: Final = Listen(None, Source.DIRECTORY, None)
AT_ONCE: Final = 32
"""Of so many sessions it is asked at once: half of what a link takes, which is for commands, too."""
TOLD_AT_ONCE: Final = 4 * AT_ONCE
"""Of so many phones OSCC-E is told that they are there before it is asked for whoever has come since."""
FIRST_S: Final = 1.0
"""How long a round waits for the first readings that the one before asked for."""
AGAIN_S: Final = 5.0
"""After how long a question is put again that was refused for no lasting reason."""
_ENDED: Final = frozenset({ErrorCode.SESSION_ENDED, ErrorCode.FORBIDDEN})


class Asker(Protocol):
    """For whom it is asked."""

    clock: Clock
    roster: Roster
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

    Invariants: one round at a time; once :attr:`settled`, each session of the roster that OSCC-E
    accepts is on the link, presence is who is there, what is listened to is what is followed,
    and all of it has answered once. What is listened to no longer is forgotten only when what
    takes its place has answered.

    Args:
        link: Where to ask.
        asker: For whom.
        tasks: Where rounds run: the link's life.
    """

    def __init__(self, link: Link, asker: Asker, tasks: asyncio.TaskGroup) -> None:
        self.settled = False
        self._link = link
        self._asker = asker
        self._roster = asker.roster
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
        self._queries: dict[Listen, int] = {}
        """What is listened to; a query below 0 was refused."""
        self._refused = count(-1, -1)
        self._stopping: list[int] = []
        self._stopped: list[int] = []
        self._leaving: list[int] = []
        self._again_at = math.inf
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

    def listen_anew(self) -> None:
        """Ask for everything again: something may have been lost."""
        for listen in list(self._queries):
            self._drop(listen)
        self.need()

    def ask_refused_again(self) -> None:
        """Listen again to what was refused."""
        refused = [listen for listen, query in self._queries.items() if query < 0]
        for listen in refused:
            self._drop(listen)
        if refused:
            self.need()

    def tick(self, now: float) -> None:
        """Put questions again whose time has come."""
        if now >= self._again_at:
            self._again_at = math.inf
            self.ask_refused_again()
            self.need()

    def settle(self) -> None:
        """Note it when everything that is followed has been read once."""
        if self.settled or not self._directory_known or not self._mirror.assembly.settled:
            return
        if self._asking and self._pause is None:
            return
        self.settled = not self._asking
        stopped, self._stopped = self._stopped, []
        for query in stopped:
            self._mirror.show(self._mirror.assembly.stopped(query))
        if not self._mirror.live:
            self._mirror.settle()
        self._asker.synced()
        if self._pause is not None:
            self._pause.set()

    # ---- rounds ----

    async def _ask(self) -> None:
        while self._needed:
            self._needed = False
            self._tried.clear()
            await self._detach()
            await self._hear_of_directory()
            await self._attach()
            if not self._directory_known:
                await self._query_directory()
            await self._say_presence()
            await self._listen()
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

    async def _hear_of_directory(self) -> None:
        """Listen to the directory before anything else.

        It has no first event: what it tells changes of is asked for once it is listened to.
        """
        if DIRECTORY not in self._queries:
            await self._listen_to(DIRECTORY)
            self._unsure = {member.handle: member for member in self._roster}
            self._directory_known = False

    async def _attach(self) -> None:
        """Attach whoever is not on the link, and whoever comes meanwhile."""
        while asked := [member for member in self._to_attach() if member not in self._tried]:
            self._tried.update(asked)
            await self._of_each(asked, self._attach_one)
            if not self._mirror.live:
                return  # whoever came meanwhile waits no longer for the first readings than the others

    def _to_attach(self) -> list[Member]:
        for member in self._roster.take_changed():
            self._unheard[member.handle] = member
            if not member.on_link:
                self._unsure[member.handle] = member
        gone = [each.handle for each in self._unsure.values() if self._roster.get(each.handle) is not each]
        for handle in gone:
            del self._unsure[handle]
        return list(self._unsure.values())

    async def _of_each(self, members: list[Member], ask: Callable[[Member], Awaitable[None]]) -> None:
        """Ask something of several sessions at once: an answer takes as long as all read before it."""
        left = iter(members)

        async def work() -> None:
            for member in left:
                await ask(member)

        async with asyncio.TaskGroup() as tasks:
            for _ in members[:AT_ONCE]:
                tasks.create_task(work())

    async def _attach_one(self, member: Member) -> None:
        try:
            answer = await self._link.request(AttachSession(member.ticket.secret))
        except GatewayError as error:
            if error.code in _ENDED:
                self._asker.ended(member, EndReason.UNKNOWN, None)
            else:
                self._ask_later()
            return
        if not isinstance(answer, Attached):
            return
        if self._roster.get(member.handle) is not member:
            self._leaving.append(answer.alias)
            self._needed = True
            return
        before, own_agents = self._roster.scope, self._roster.own_agents
        self._roster.accepted(member.handle, answer)
        self._unsure.pop(member.handle, None)
        self._directory_known = self._directory_known and self._roster.scope == before
        self._mirror.narrowed()
        if self._roster.own_agents == own_agents:
            self._mirror.show_session(member)
        else:  # with the agent comes a number, which all sessions are shown
            self._mirror.show_sessions()

    async def _query_directory(self) -> None:
        self._directory_known = True
        try:
            answer = await self._link.request(QueryDirectory())
        except GatewayError:
            self._directory_known = False
            self._ask_later()
            return
        if isinstance(answer, Directory):
            self._mirror.directory(answer)

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
        if attached is None or not member.on_link or self._roster.get(member.handle) is not member:
            return
        try:
            await self._link.request(Presence(attached.alias, present))
        except GatewayError:
            self._ask_later()
            member.told_present = None
            self._unheard[member.handle] = member
        else:
            member.told_present = present

    async def _listen(self) -> None:
        target = wanted(self._roster.followings)
        for listen in self._queries.keys() - target:
            self._drop(listen)
        while self._stopping:
            query = self._stopping.pop()
            with suppress(GatewayError):  # then it tells on what nobody looks at
                await self._link.request(StopListening(query))
            self._stopped.append(query)
        async with asyncio.TaskGroup() as tasks:
            for listen in sorted(target - self._queries.keys(), key=repr):
                tasks.create_task(self._listen_to(listen))

    async def _listen_to(self, listen: Listen) -> None:
        try:
            answer = await self._link.request(listen)
        except GatewayError as error:
            # a function that is down says when it is up again
            if error.code is not ErrorCode.FUNCTION_UNAVAILABLE:
                self._ask_later()
            query = self._queries[listen] = next(self._refused)
            self._mirror.show(self._mirror.assembly.refused(query, listen))
            return
        if isinstance(answer, Listening):
            self._queries[listen] = answer.query
            self._mirror.assembly.listening(answer.query, listen)

    def _drop(self, listen: Listen) -> None:
        query = self._queries.pop(listen)
        (self._stopping if query >= 0 else self._stopped).append(query)

    def _ask_later(self) -> None:
        self._again_at = min(self._again_at, self._asker.clock.now() + AGAIN_S)
