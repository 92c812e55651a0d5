"""OSCC-E in a simulation, and each node's connection to it.

It is the double of the unit tests, with counts of what the laws check. Each node has its own way to it,
whose network is slow, closed, or loses everything.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final, TypeVar

from gateway.domain.commands import Execute, Executed, LinkAnswer, LinkRequest
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Kind, Scope, SessionId, SessionSecret, UserId
from gateway.domain.resources import Agent, Queue, RoutingState
from gateway.domain.upstream import (
    About,
    Feature,
    LinkClosed,
    LinkEvent,
    LoggedOff,
    LoggedOn,
    LogOn,
    Part,
    SessionInfo,
    Source,
)
from gateway.runtime.ports import Clock, OnAnswer, OnReadings
from tests.doubles.fake_link import FakeLink, Prompt, Received, Waiting
from tests.doubles.fake_people import UserLink
from tests.doubles.fake_upstream import FakeUpstream
from tests.simulation.loop import OUTSIDE, NodeClock, behind

T = TypeVar("T")
SCOPE: Final = Scope(agents=frozenset({7}), queues=frozenset({5}))
REQUEST_S: Final = 5.0
LOGINS: Final = ("anna", "carl", "dora", "emil", "fay", "gus")
"""Supervisors: users 1 to 6. Agent 7 is bert."""
_LEGS: Final = (0.0, 0.001, 0.002)
_SLOW: Final = (0.005, 0.05, 0.3, 1.0)


class SimCentre(FakeUpstream):
    """The OSCC-E Server, with a record of the requests.

    Args:
        clock: Its time.
        fences: Whether it admits only higher tokens.
    """

    def __init__(self, clock: Clock, *, fences: bool) -> None:
        features = frozenset(Feature) if fences else frozenset(Feature) - {Feature.LINK_FENCING}
        super().__init__(clock, features=features)
        self.sent: Counter[str] = Counter()
        """Number of times that each command was sent here, by its key."""
        self.executed: Counter[str] = Counter()
        self.executed_at: dict[str, float] = {}
        self.wrong: Counter[str] = Counter()
        """Number of wrong passwords that were sent here, by name."""
        self.opens: Counter[UserId] = Counter()
        """Number of links that each user has had."""
        self.admitted: set[int] = set()
        """The tokens of all links that were opened."""
        self.opened: list[tuple[UserId, FakeLink]] = []
        """The open links, and some that were open."""
        self.waiting = 0
        """The true value of the queue."""
        self.waited_until: dict[int, float] = {}
        """The time at which each earlier value was replaced."""
        for number, login in enumerate(LOGINS, start=1):
            self.add_user(number, login, scope=SCOPE)
        self.add_user(7, "bert", own_agent=7)
        self.put(
            Part(Kind.AGENT, 7, Source.DIRECTORY, Agent(display_name="Bert")),
            Part(Kind.QUEUE, 5, Source.DIRECTORY, Queue(name="Billing")),
        )
        self.count()
        self.log_agents_on()

    def count(self) -> None:
        self.waited_until[self.waiting] = self.clock.now()
        self.waiting += 1
        self.set_waiting(self.waiting)

    def log_agents_on(self) -> None:
        if (Source.REALTIME, Kind.AGENT, 7) not in self.parts:
            self.put(Part(Kind.AGENT, 7, Source.REALTIME, Agent(routing_state=RoutingState.AVAILABLE)))

    def open_links(self, user: UserId) -> int:
        self.opened = [each for each in self.opened if each[1].open]
        return sum(1 for of, _ in self.opened if of == user)

    def restart(self) -> None:
        """See :meth:`FakeUpstream.restart`: the record of admitted links is removed, too."""
        super().restart()
        self.admitted.clear()

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> FakeLink:
        link = await super().open(user, secret, token=token, holder=holder)
        self.opens[user] += 1
        self.admitted.add(token)
        self.opened.append((user, link))
        return link

    def _execute(self, user_link: UserLink, request: Execute) -> Executed:
        self.sent[request.key] += 1
        answer = super()._execute(user_link, request)
        self.executed[request.key] += 1
        self.executed_at[request.key] = self.clock.now()
        return answer


class SimUpstream:
    """One node's connections to OSCC-E: the ports Upstream and Authority.

    Args:
        centre: The OSCC-E Server.
        rng: Draws the delays.
        clock: The node's: instants that cross it use its wall clock, as in the real adapter.
    """

    def __init__(self, centre: SimCentre, rng: Random, clock: NodeClock) -> None:
        self.is_dead = False
        self.is_shut = False
        """Connections are refused, and the open ones are lost."""
        self.is_deaf = False
        """Only log-ons get no answer."""
        self.is_slow = False
        self.loses_answers = False
        """Requests about log-ons are executed, and their answers lost."""
        self.swallowed: asyncio.Event | None = None
        """Until it is set, all messages of the links are delayed."""
        self._held: list[Callable[[], None]] = []
        self.links: list[SimLink] = []
        self.clock = clock
        self._centre = centre
        self._rng = rng

    # ---- what befalls it ----

    def kill(self, *, silently: bool) -> None:
        """Pass nothing from now on; the system ends all links, unless it is gone too."""
        self.is_dead = True
        if not silently:
            self.drop()

    def shut(self) -> None:
        """Refuse everything."""
        self.is_shut = True
        self.drop()

    def drop(self) -> None:
        links, self.links = self.links, []
        for link in links:
            link.inner.finish("lost", discard=True)

    def forget_closed(self) -> None:
        """Drop closed links, whose unread events hold objects of their users."""
        self.links = [link for link in self.links if link.inner.open]

    def swallow(self) -> None:
        """Pass nothing on the links, silently."""
        if self.swallowed is None:
            self.swallowed = asyncio.Event()

    def mend(self) -> None:
        self.is_shut = self.is_deaf = self.is_slow = self.loses_answers = False
        if self.swallowed is not None:
            self.swallowed.set()
            self.swallowed = None
            held, self._held = self._held, []
            for each in held:
                each()

    def when_open(self, act: Callable[[], None]) -> None:
        """Run *act* when the links carry messages again."""
        if self.swallowed is None:
            act()
        else:
            self._held.append(act)

    # ---- roads ----

    async def leg(self) -> None:
        if self.swallowed is not None:
            await self.swallowed.wait()
        seconds = self._rng.choice(_SLOW if self.is_slow else _LEGS)
        if seconds:
            await asyncio.sleep(seconds)

    def leg_s(self) -> float:
        return self._rng.choice(_SLOW if self.is_slow else _LEGS)

    async def _reach(self) -> None:
        self._check()
        try:
            async with asyncio.timeout(REQUEST_S):
                await self.leg()
        except TimeoutError:
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "no answer") from None
        self._check()

    def _check(self) -> None:
        if self.is_dead or self.is_shut:
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "not reached")

    async def _enter(self) -> None:
        if self.is_deaf:
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "not reached")
        await self._reach()

    async def _come_back(self) -> None:
        await self._reach()
        if self.loses_answers:
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "no answer")

    # ---- Upstream ----

    async def about(self) -> About:
        await self._reach()
        return await self._centre.about()

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> SimLink:
        try:
            await self._reach()
        except GatewayError:
            raise LinkClosed("unavailable") from None
        link = SimLink(await self._centre.open(user, secret, token=token, holder=holder), self)
        self.forget_closed()
        self.links.append(link)
        try:
            await self._reach()
        except BaseException as fault:
            link.inner.finish("lost", discard=True)
            if isinstance(fault, GatewayError):
                raise LinkClosed("unavailable") from None
            raise
        return link

    # ---- Authority ----

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        await self._enter()
        try:
            answer = await self._centre.log_on(credentials)
        except GatewayError as error:
            if error.code is not ErrorCode.UPSTREAM_UNAVAILABLE:  # a server that is down reads no password
                self._centre.wrong[credentials.user_name] += 1
            raise
        finally:
            await self._come_back()
        return replace(answer, expires_at_ms=answer.expires_at_ms + self._ahead_ms())

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        await self._enter()
        answer = await self._centre.log_off(secret)
        await self._come_back()
        return answer

    async def sessions(self, secret: SessionSecret) -> tuple[SessionInfo, ...]:
        await self._enter()
        return await self._centre.sessions(secret)

    async def end(self, secret: SessionSecret, session: SessionId) -> LoggedOff:
        await self._enter()
        return await self._centre.end(secret, session)

    async def keep_alive(self, secret: SessionSecret) -> int:
        await self._enter()
        return await self._centre.keep_alive(secret) + self._ahead_ms()

    def _ahead_ms(self) -> int:
        return self.clock.wall_ms() - self._centre.clock.wall_ms()


class SimLink:
    """One open link, as its node sees it: sent requests are under way, in order, and cannot be called back.

    Args:
        inner: The link at OSCC-E.
        upstream: The node's way to the server.
    """

    def __init__(self, inner: FakeLink, upstream: SimUpstream) -> None:
        self.inner = inner
        self._upstream = upstream
        self._asked_until = 0.0
        self._on_the_way: dict[Waiting, None] = {}

    @property
    def last_received_at(self) -> float:
        return self._upstream.clock.at(self.inner.last_received_at)

    @property
    def has_message(self) -> bool:
        return self.inner.has_message

    @property
    def waits_since(self) -> float | None:
        return self.inner.waits_since

    def arrival(self, on_readings: OnReadings) -> asyncio.Future[None] | None:
        return self.inner.arrival(on_readings)

    async def receive(self, on_readings: OnReadings | None = None) -> LinkEvent | None:
        event = await self.inner.receive()
        while self._upstream.swallowed is not None:
            await self._upstream.swallowed.wait()
        return event

    def send(self, request: LinkRequest, answered: OnAnswer) -> Callable[[], object] | None:
        if self._upstream.is_dead or not self.inner.open:
            return None
        answer = Prompt(answered)
        self._ask(request, answer)
        return answer.cancel

    def _ask(self, request: LinkRequest, answer: Waiting) -> None:
        loop = asyncio.get_running_loop()
        self._on_the_way[answer] = None
        due = self._asked_until = behind(self._asked_until, loop.time() + self._upstream.leg_s())
        loop.call_at(due, self._upstream.when_open, lambda: self._arrive(request, answer), context=OUTSIDE)

    async def request(self, request: LinkRequest) -> LinkAnswer:
        if self._upstream.is_dead or not self.inner.open:
            raise LinkClosed("lost")
        answer: asyncio.Future[Received] = asyncio.get_running_loop().create_future()
        self._ask(request, answer)
        try:
            # the caller of a command bounds it by the deadline
            async with asyncio.timeout(None if isinstance(request, Execute) else REQUEST_S):
                received = await answer
        except TimeoutError:
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "no answer") from None
        if isinstance(received, GatewayError | LinkClosed):
            raise received
        return received

    def _arrive(self, request: LinkRequest, answer: Waiting) -> None:
        self._on_the_way.pop(answer, None)
        self.inner.take(request, answer)

    async def close(self) -> None:
        """Close it, as the real adapter does: no answer is passed on after that."""
        for answer in (*self._on_the_way, *self.inner.pending):
            if not answer.done():
                answer.set_result(LinkClosed("lost"))
        if not self._upstream.is_dead:
            await self.inner.close()
