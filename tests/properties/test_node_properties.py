"""Whatever people, links and OSCC-E do, every phone shows the truth of its scope in the end.

Two supervisors and an agent on one node over a double of OSCC-E. Phones come, go, resume, command
and log off; links drop, fall silent and are replaced; OSCC-E restarts, ends sessions, moves scopes,
loses functions, and changes what it sends. When all links are back, after one quiet ping, each
connected phone equals the double within its scope. Meanwhile no user has two links, no frame names
what was never in the session's scope, no command runs twice, and each gets one result.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.session import State
from gateway.domain.commands import Execute, Listen
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import Application, Kind, Scope, UserId
from gateway.domain.resources import Agent, FunctionState, Queue, RoutingState
from gateway.domain.upstream import LinkClosed, Part, Source
from tests.doubles.fake_link import FakeLink
from tests.properties.phone import Phone
from tests.properties.strict_line import (
    AGENTS,
    History,
    StrictLine,
    check_mirrors,
    check_shown,
    watch_links,
)
from tests.runtime.scene import PhoneLine, Scene, scene, user

Made = TypeVar("Made")
QUEUES = (5, 6)
PEOPLE = {"anna": 1, "cleo": 2, "bert": 7}
SCOPES = st.builds(
    Scope, agents=st.frozensets(st.sampled_from(AGENTS)), queues=st.frozensets(st.sampled_from(QUEUES))
)
STATES = st.sampled_from([RoutingState.AVAILABLE, RoutingState.UNAVAILABLE, RoutingState.WORK])
REASONS = st.sampled_from([EndReason.EXPIRED, EndReason.BLOCKED, EndReason.TAKEN_OVER])
DOWN = GatewayError(ErrorCode.FUNCTION_UNAVAILABLE, "the function is down")
PHONES = [("anna", "d1"), ("anna", "d2"), ("cleo", "d1"), ("bert", "d1"), ("bert", "d2")]
"""Who holds which device. The agent's second one is refused while the first is logged on."""
PHONE = st.integers(0, len(PHONES) - 1)
RARELY = st.sampled_from([True, False, False, False])
REST_S = 90.0
"""Long enough for every back-off, silence and deadline to be over, and for a ping."""


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.over = asyncio.Event()
        self.links: list[tuple[UserId, FakeLink]] = []
        self.lines: dict[int, StrictLine] = {}
        """The newest connection of each phone."""
        self.history = History()
        self.asked: list[tuple[StrictLine, str, int]] = []
        self.kicks = 0

    def go(self, work: Coroutine[object, object, Made]) -> Made:
        """Let something happen, and whatever comes of it."""

        async def settled() -> Made:
            made = await work
            self.history.note(self.at)
            await self.at.clock.settle()
            return made

        return self.runner.run(settled())

    @initialize(scopes=st.tuples(SCOPES, SCOPES))
    def begin(self, scopes: tuple[Scope, Scope]) -> None:
        async def life(ready: asyncio.Future[Scene]) -> None:
            async with scene() as at:
                ready.set_result(at)
                await self.over.wait()

        async def born() -> Scene:
            ready: asyncio.Future[Scene] = asyncio.get_running_loop().create_future()
            self.life = asyncio.create_task(life(ready))  # noqa: TID251 - lives until teardown
            return await ready

        self.at = self.runner.run(born())
        self.history.note(self.at)
        upstream = self.at.upstream
        upstream.add_user(2, "cleo", scope=scopes[1])
        upstream.people[user(1)].scopes[Application.DASHBOARD] = scopes[0]
        upstream.put(
            Part(Kind.AGENT, 9, Source.DIRECTORY, Agent(display_name="Dora")),
            Part(Kind.QUEUE, 6, Source.DIRECTORY, Queue(name="Sales")),
        )
        watch_links(upstream, self.links)
        for index in range(len(PHONES)):
            self.come(index)

    # ---- people ----

    @rule(index=PHONE)
    def come(self, index: int) -> None:
        """A phone connects, from what it holds; it logs on when its session has ended.

        Its last connection may still be there.
        """
        old = self.lines.get(index)
        known = old is not None and old.ticket.secret in self.at.upstream.live
        self.go(self._connect(index, old) if old is not None and known else self._log_on(index))

    @rule(index=PHONE, polite=st.booleans())
    def leave(self, index: int, polite: bool) -> None:
        line = self.lines.get(index)
        if line is not None and line.closed is None:
            self._now(line.bye if polite else line.leave)

    @rule(index=PHONE, key=st.integers(1, 5), state=STATES, retry=st.booleans())
    def command(self, index: int, key: int, state: RoutingState, retry: bool) -> None:
        line = self.lines.get(index)
        if line is None or line.session.state is not State.LIVE:
            return
        name, own = str(len(self.asked)), line.ticket.application is Application.REMOTE_ASSISTANT
        wanted: dict[str, object] = {"state": state.value, "when": "now"}
        wanted |= (
            {"kind": "routing_state.set"} if own else {"kind": "agent.routing_state.set", "agent_id": "7"}
        )

        async def ask() -> None:
            line.command(name, str(key), command=wanted, **({"retry": True} if retry else {}))

        self.go(ask())
        self.asked.append((line, name, key))

    @rule(index=PHONE, really=RARELY)
    def log_off(self, index: int, really: bool) -> None:
        line = self.lines.get(index)
        if line is not None and really:
            self.go(self.at.node.account.log_off(line.ticket))

    # ---- OSCC-E ----

    @rule(number=st.sampled_from(QUEUES), waiting=st.integers(0, 9))
    def queue_moves(self, number: int, waiting: int) -> None:
        self._put(Part(Kind.QUEUE, number, Source.REALTIME, Queue(contacts_waiting=waiting)))

    @rule(number=st.sampled_from(AGENTS), state=STATES)
    def agent_moves(self, number: int, state: RoutingState) -> None:
        self._put(Part(Kind.AGENT, number, Source.REALTIME, Agent(routing_state=state)))

    @rule(number=st.sampled_from(AGENTS), source=st.sampled_from([Source.REALTIME, Source.DIRECTORY]))
    def agent_goes(self, number: int, source: Source) -> None:
        if (source, Kind.AGENT, number) in self.at.upstream.parts:
            self._now(lambda: self.at.upstream.remove(Kind.AGENT, number, source))

    @rule(number=st.sampled_from(AGENTS), name=st.sampled_from(["Bert", "Bertha"]))
    def agent_is_named(self, number: int, name: str) -> None:
        self._put(Part(Kind.AGENT, number, Source.DIRECTORY, Agent(display_name=name)))

    @rule(login=st.sampled_from(["anna", "cleo"]), scope=SCOPES)
    def scope_moves(self, login: str, scope: Scope) -> None:
        of = user(PEOPLE[login])
        self._now(lambda: self.at.upstream.set_scope(of, Application.DASHBOARD, scope))

    @rule(index=PHONE, reason=REASONS, really=RARELY)
    def session_ends(self, index: int, reason: EndReason, really: bool) -> None:
        line = self.lines.get(index)
        session = None if line is None else self.at.upstream.live.get(line.ticket.secret)
        if session is not None and really:
            self._now(lambda: self.at.upstream.end_session(session, reason))

    @rule(really=RARELY)
    def restart(self, really: bool) -> None:
        if really:
            self._now(self.at.upstream.restart)

    @rule(unreachable=RARELY)
    def network(self, unreachable: bool) -> None:
        self.at.upstream.unreachable = unreachable

    @rule(down=RARELY)
    def functions(self, down: bool) -> None:
        def change() -> None:
            upstream = self.at.upstream
            if down:
                upstream.refusals[Listen] = DOWN
            else:
                upstream.refusals.pop(Listen, None)
            upstream.set_function("realtime", FunctionState.DOWN if down else FunctionState.UP)

        self._now(change)

    # ---- links ----

    @rule(login=st.sampled_from(sorted(PEOPLE)))
    def link_drops(self, login: str) -> None:
        of = user(PEOPLE[login])
        if of in self.at.upstream.wires:
            self._now(lambda: self.at.upstream.drop(of))

    @rule(login=st.sampled_from(sorted(PEOPLE)), silent=st.booleans())
    def link_falls_silent(self, login: str, silent: bool) -> None:
        link = self.at.upstream.link(user(PEOPLE[login]))
        if link is not None:
            self._now(link.mute if silent else link.unmute)

    @precondition(lambda self: self.kicks < 2)
    @rule(index=PHONE)
    def link_is_replaced(self, index: int) -> None:
        if index not in self.lines:
            return
        ticket = self.lines[index].ticket
        token = max((token for token, _ in self.at.upstream.fences.values()), default=0) + 10**6
        self.kicks += 1

        async def kick() -> None:
            try:
                await self.at.upstream.open(ticket.user, ticket.secret, token=token, holder="rival")
            except LinkClosed:
                return

        self.go(kick())

    @rule(seconds=st.sampled_from([0.1, 1, 7, 25, 70]))
    def time_passes(self, seconds: float) -> None:
        self.go(self.at.pass_time(seconds))

    # ---- always ----

    @invariant()
    def a_user_has_one_link(self) -> None:
        links = Counter(of for of, link in self.links if link.open)
        assert all(count == 1 for count in links.values()), "an old link was left open"

    @invariant()
    def a_command_runs_once(self) -> None:
        if not hasattr(self, "at"):
            return
        ran = Counter(
            (of, asked.key) for of, asked in self.at.upstream.requests if isinstance(asked, Execute)
        )
        assert all(count == 1 for count in ran.values()), "a command was sent twice"

    def teardown(self) -> None:
        if not hasattr(self, "at"):
            self.runner.close()
            return
        try:
            self._come_to_rest()
            self._compare()
        finally:
            self.over.set()
            self.runner.run(self._end())
            self.runner.close()

    # ---- inner ----

    async def _end(self) -> None:
        await self.life

    def _come_to_rest(self) -> None:
        upstream = self.at.upstream
        upstream.unreachable = False
        upstream.refusals.clear()
        for wire in list(upstream.wires.values()):
            self._now(wire.link.unmute)
        self._now(lambda: upstream.set_function("realtime", FunctionState.UP))
        self.go(self.at.pass_time(REST_S))
        for index in range(len(PHONES)):
            if index not in self.lines or self.lines[index].session.state is not State.LIVE:
                self.come(index)
        self.go(self.at.pass_time(REST_S))

    def _compare(self) -> None:
        check_mirrors(self.at)
        for line in self.lines.values():
            assert line.session.state is not State.ATTACHING, "it is neither served nor refused"
            if line.session.state is State.LIVE:
                check_shown(line)
        for line, name, _ in self.asked:
            if line.session.state is State.LIVE:
                assert line.result(name) is not None, "a command got no result"

    async def _log_on(self, index: int) -> None:
        login, device = PHONES[index]
        remote = login == "bert"
        application = Application.REMOTE_ASSISTANT if remote else Application.DASHBOARD
        arriving: list[PhoneLine] = []

        async def arrive() -> None:
            number = "1234" if remote else None
            with suppress(GatewayError):  # OSCC-E is not reached, or the agent is logged on elsewhere
                arriving.append(await self.at.phone(login, application, device=device, number=number))

        task = self.at.tasks.create_task(arrive())
        await self.at.clock.settle()
        while not task.done():  # log-ons of one address that come too fast wait for their turn
            await self.at.pass_time(0.5)
        if not arriving:
            return
        (first,) = arriving
        self.at.lines.remove(first)
        line = self.lines[index] = StrictLine(self.at, first.ticket, Phone(), self.history)
        line.hello()

    async def _connect(self, index: int, old: StrictLine) -> None:
        phone = Phone()
        phone.shown = {key: dict(fields) for key, fields in old.phone.shown.items()}
        phone.position = old.phone.position
        line = self.lines[index] = StrictLine(self.at, old.ticket, phone, self.history)
        if phone.position is None:
            line.hello()
        else:
            line.hello(position={"stream": phone.position[0], "seq": phone.position[1]})

    def _put(self, part: Part) -> None:
        self._now(lambda: self.at.upstream.put(part))

    def _now(self, change: Any) -> None:  # noqa: ANN401 - whatever it returns is of no interest
        async def happen() -> None:
            change()

        self.go(happen())


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=max(36, settings().max_examples),
    stateful_step_count=max(60, settings().stateful_step_count),
)
