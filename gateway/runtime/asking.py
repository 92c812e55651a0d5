"""What must be asked on a link, so that it carries what the user's sessions need and nothing else?

Whoever changes what is wanted only says so; one round of questions after another makes what
OSCC-E was asked equal to what is wanted, so no two changes ever cross.
"""

from __future__ import annotations

import asyncio
import math
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
        self._sure: set[str] = set()
        """Sessions whose scope cannot have changed unheard."""
        self._queries: dict[Listen, int] = {}
        """What is listened to; a query below 0 was refused."""
        self._refused = count(-1, -1)
        self._stopping: list[int] = []
        self._stopped: list[int] = []
        self._leaving: list[int] = []
        self._present: dict[int, bool | None] = {}
        """What OSCC-E knows; None: what it was told last got no answer, and may yet arrive."""
        self._again_at = math.inf

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
        if self.settled or self._asking or not self._directory_known or not self._mirror.assembly.settled:
            return
        self.settled = True
        stopped, self._stopped = self._stopped, []
        for query in stopped:
            self._mirror.show(self._mirror.assembly.stopped(query))
        if not self._mirror.live:
            self._mirror.settle()
        self._asker.synced()

    # ---- rounds ----

    async def _ask(self) -> None:
        while self._needed:
            self._needed = False
            await self._detach()
            await self._hear_of_directory()
            await self._attach()
            if not self._directory_known:
                await self._query_directory()
            await self._say_presence()
            await self._listen()
        self._asking = False
        self._mirror.prune()
        self.settle()
        self._asker.answered()

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
            self._sure.clear()
            self._directory_known = False

    async def _attach(self) -> None:
        for member in self._roster:
            if not member.on_link or member.handle not in self._sure:
                await self._attach_one(member)

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
        self._sure.add(member.handle)
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
        told, self._present = self._present, {}
        for member in self._roster:
            if member.attached is not None and member.on_link:
                alias = member.attached.alias
                self._present[alias] = await self._tell_present(
                    alias, told=told.get(alias, False), present=member.present
                )

    async def _tell_present(self, alias: int, *, told: bool | None, present: bool) -> bool | None:
        """Tell whether a device is there, unless that was *told*; returns what OSCC-E surely knows now."""
        if present is told:
            return told
        try:
            await self._link.request(Presence(alias, present))
        except GatewayError:
            self._ask_later()
            return None
        return present

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
