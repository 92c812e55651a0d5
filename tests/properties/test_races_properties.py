"""Races of commands, log-offs, takeovers and revocations: each is done once and reported truly.

Two supervisors and an agent, two devices each. They give commands and give them again, log on, log
off, lose sockets and links, and go away; contacts ring and end, scopes and rights shrink; whatever is
asked or answered may be held on its way and arrive later, or not at all. All of it goes the whole
way: frames of phones, the node, texts of the link, the simulated server, and back. Then all ways
are opened, and everybody shows the truth.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from gateway.simulator.model import Contact, Scope
from tests.properties.race_node import (
    AGENT,
    KEYS,
    OTHER_AGENT,
    Given,
    RaceLine,
    RaceNode,
    shown,
)
from tests.properties.simulated_node import NodeMachine

Act = tuple[Any, ...]
"""What is done, and with what."""
LOGIN = st.sampled_from([*KEYS, "agent1"])
SUPERVISOR = st.sampled_from(["supervisor1", "supervisor2"])
DEVICE = st.sampled_from(["d1", "d1", "d2"])
STATES = ("available", "unavailable")
SETTLES = st.sampled_from([True, True, False])
HELD = st.sampled_from(
    ["request", "answer", "request", "answer", "log-on asked", "log-on answers", "log-on broken"]
)
"""What may be held: what goes on a user's link, or log-ons and log-offs."""
GIVE = st.tuples(st.just("give"), LOGIN, DEVICE, st.sampled_from(STATES), st.integers(0, 9))
AGAIN = st.tuples(st.just("again"), LOGIN, DEVICE, st.integers(1, 4), st.booleans())
RIGHTS = st.tuples(st.just("rights"), SUPERVISOR, st.booleans())
COMMANDS = st.lists(st.one_of(GIVE, GIVE, AGAIN), min_size=1, max_size=5)
ACTS = st.lists(
    st.one_of(
        GIVE,
        AGAIN,
        st.tuples(st.sampled_from(["log_on", "hello", "die", "log_off"]), LOGIN, DEVICE),
        st.tuples(st.just("link"), LOGIN),
        st.tuples(st.just("contact")),
        st.tuples(
            st.just("scope"), st.sampled_from([frozenset({AGENT, OTHER_AGENT}), frozenset({OTHER_AGENT})])
        ),
        RIGHTS,
        RIGHTS,
    ),
    min_size=1,
    max_size=4,
)
MEETS = st.sampled_from(["give", "log_on", "log_off", "hello"] * 2 + ["again", "die"])


class Meeting(NamedTuple):
    """What one user does first and then, and what is held meanwhile. *settles*: before the next thing."""

    first: str
    second: str
    login: str
    held: str
    settles: bool


MEETINGS = st.lists(st.builds(Meeting, MEETS, MEETS, LOGIN, HELD, SETTLES), min_size=1, max_size=3)


Made = TypeVar("Made")
QUIET_S: Final = 40.0
AWAY_S: Final = 100.0
"""Longer than a supervisor's link lingers."""


class LogOff(NamedTuple):
    """A log-off under way."""

    line: RaceLine
    answer: asyncio.Task[Any]
    log_ons: int
    """How many of the user's there were before it."""


class Races(NodeMachine):
    def __init__(self) -> None:
        super().__init__()
        self.here: dict[tuple[str, str], RaceLine] = {}
        """The newest line of each device."""
        self.given: dict[str, list[Given]] = {login: [] for login in KEYS}
        """What each user asked for."""
        self.log_offs: list[LogOff] = []
        self.log_ons = dict.fromkeys(KEYS, 0)
        self.late: list[tuple[RaceLine, bool]] = []
        """Lines whose session had been logged off before their hello; whether it is known how it ended."""
        self.contact: Contact | None = None
        self.names = 0

    @initialize()
    def begin(self) -> None:
        self.at = self.open_node(RaceNode)
        self.rights = {
            login: self.at.server.accounts.by_name[login].dashboard_rights
            for login in ("supervisor1", "supervisor2")
        }
        for login in KEYS:
            self._act(self.at.arrive(login, "d1", self.here))

    # ---- what people do ----

    @rule(acts=COMMANDS | ACTS, settles=SETTLES)
    def people_act_at_once(self, acts: Sequence[Act], settles: bool) -> None:
        async def act() -> None:
            for name, *drawn in acts:
                getattr(self, f"_{name}")(*drawn)

        self._act(act(), settles=settles)

    @rule(meetings=MEETINGS)
    def two_things_meet(self, meetings: Sequence[Meeting]) -> None:
        """Let what one user does meet what he does next, while something is held."""
        for each in meetings:
            self._hold(each.held, each.login)
            for name in (each.first, each.second):
                drawn = {"give": ("available", 5), "again": (1, False)}.get(name, ())
                self.people_act_at_once([(name, each.login, "d1", *drawn)], each.settles)
            self.release(None, settles=True)

    @rule(login=SUPERVISOR, asks_again=st.booleans(), chance=st.integers(0, 3))
    def nobody_is_there(self, login: str, asks_again: bool, chance: int) -> None:
        """Let a supervisor go away, until his link is given up and his next one has another epoch."""
        if chance:
            return
        gone = [("die", login, device) for device in ("d1", "d2")]
        self.people_act_at_once(gone, settles=True)
        self._act(self.at.pass_time(AWAY_S))
        if asks_again:
            for act in (("hello", login, "d1"), ("again", login, "d1", 1, False)):
                self.people_act_at_once([act], settles=True)

    def _log_on(self, login: str, device: str) -> None:
        self.log_ons[login] += 1
        self.at.tasks.create_task(self.at.arrive(login, device, self.here))

    def _hello(self, login: str, device: str) -> None:
        old = self.here.get((login, device))
        if old is None:
            return
        line = self.here[login, device] = RaceLine(self.at, old.ticket, login)
        for each in self.log_offs:
            if each.line.ticket.session == line.ticket.session and each.answer.done():
                self.late.append((line, each.log_ons == self.log_ons[login]))
        line.hello()

    def _die(self, login: str, device: str) -> None:
        line = self._line(login, device)
        if line is not None:
            line.leave()

    def _log_off(self, login: str, device: str) -> None:
        line = self.here.get((login, device))
        if line is not None:
            self.at.leaving.add(line.ticket.session)
            leaving = self.at.node.account.log_off(line.ticket)
            self.log_offs.append(LogOff(line, self.at.tasks.create_task(leaving), self.log_ons[login]))

    def _give(self, login: str, device: str, state: str, number: int) -> None:
        line = self._line(login, device)
        if line is None:
            if (login, device) not in self.here or not self.here[login, device].is_open:
                self._log_on(login, device)
            return
        wanted: dict[str, Any] = {"kind": "routing_state.set", "state": state, "when": "now"}
        if login == "agent1" and number < 3:
            wanted = {"kind": "remote_number.change", "number": f"+4930333333{number}"}
        elif login != "agent1":
            state = "logged_off" if number == 0 else state
            wanted |= {"kind": "agent.routing_state.set", "agent_id": str(AGENT), "state": state}
        key = f"00000000-0000-4000-8000-{self.names:0>12}"
        expires_at_ms = self.at.clock.wall_ms() + 10_000
        self.given[login].append(Given(key, json.dumps(wanted), expires_at_ms, line.stream, retry=False))
        line.give(self._name(), self.given[login][-1])

    def _again(self, login: str, device: str, back: int, is_other: bool) -> None:
        line, known = self._line(login, device), self.given[login]
        if line is None or len(known) < back:
            return
        given = known[-back]._replace(retry=True)
        body = json.loads(given.body)
        if is_other and "state" in body:
            body["state"] = next(each for each in STATES if each != body["state"])
        line.give(self._name(), given._replace(body=json.dumps(body)))

    def _link(self, login: str) -> None:
        self.at.access.cut(KEYS[login])
        self.at.access.unreachable.discard(KEYS[login])
        self.at.note()

    def _contact(self) -> None:
        center = self.at.server.center
        agent = center.directory.agents[AGENT]
        if self.contact is not None and self.contact in agent.contacts:
            contact = self.contact
            self.at.change(lambda: center.drop(contact))
        elif agent.logged_on:
            self.at.change(lambda: setattr(self, "contact", center.give(agent, None, "Voice", "Ringing")))

    def _scope(self, agents: frozenset[int]) -> None:
        account = self.at.server.accounts.by_name["supervisor2"]
        self.at.change(lambda: self.at.server.administration.set_scope(account, Scope(agents)))

    def _rights(self, login: str, has: bool) -> None:
        account = self.at.server.accounts.by_name[login]
        rights = self.rights[login] if has else ()
        self.at.change(lambda: self.at.server.administration.set_rights(account, rights))

    # ---- what is held ----

    @rule(login=LOGIN, held=HELD)
    def hold(self, login: str, held: str) -> None:
        self._hold(held, login)

    def _hold(self, held: str, login: str) -> None:
        access, link = self.at.access, self.at.access.links[KEYS[login]]
        match held:
            case "request" | "answer":
                link.hold(held)
            case "log-on asked":
                access.asks.shut()
            case "log-on answers":
                access.answers.shut()
            case _:
                access.is_broken = True

    @rule(login=st.none() | LOGIN, settles=SETTLES)
    def release(self, login: str | None, settles: bool) -> None:
        """Let everything pass on one user's link, or everywhere."""
        access = self.at.access
        self._act(
            _now(access.release if login is None else access.links[KEYS[login]].release), settles=settles
        )

    @rule(seconds=st.sampled_from([1, 3, 6, 20]))
    def time_passes(self, seconds: int) -> None:
        self._act(self.at.pass_time(seconds))

    # ---- what is always true ----

    @invariant()
    def nothing_is_wrong(self) -> None:
        if not hasattr(self, "at"):
            return
        if self.at.wrong:
            raise self.at.wrong[0]
        assert set(self.at.access.sent.values()) <= {1}, "a command was sent twice"
        assert not self.at.refused & self.at.done.keys(), "refused, and done"
        remote = self.at.server.center.directory.agents[AGENT].remote
        lives = any(session.remote for session in self.at.server.sessions.of_user(AGENT))
        assert remote is None or lives or remote.routed_until_ms is not None, "a number without a session"

    @rule()
    def all_is_quiet(self) -> None:
        """Let all pass, let time pass, and see that everybody shows the truth."""
        at = self.at
        at.access.release()
        self._act(at.pass_time(QUIET_S))
        self.nothing_is_wrong()
        for login in KEYS:
            at.allowed[login] = at.scope_of(login)
        lines = [line for line in at.lines if isinstance(line, RaceLine)]
        self._check_log_offs()
        self._check_ends(lines)
        for line in lines:
            if line.is_open:
                self._check_line(line)

    def teardown(self) -> None:
        try:
            if hasattr(self, "at"):
                self.all_is_quiet()
        finally:
            self.close_node()

    def _check_log_offs(self) -> None:
        agent = self.at.server.center.directory.agents[AGENT]
        if not agent.contacts:
            assert len(self.at.node.account.log_offs) == 0, "a log-off is left"
        living = {session.public_id for session in self.at.server.sessions}
        gone = {each.line.ticket.session for each in self.log_offs}
        assert all(each.answer.done() for each in self.log_offs), "a log-off without an answer"
        assert not gone & living, "a session lives that was logged off"
        for line, is_known in self.late:
            assert not line.of_kind("welcome"), "served after its log-off"
            if is_known and line.closed is not None:
                assert line.closed.code in {4005, 4004}, "nobody knows how it ended"

    def _check_ends(self, lines: list[RaceLine]) -> None:
        served = [line for line in lines if line.is_open]
        assert len({line.ticket.session for line in served}) == len(served), "a session on two lines"
        assert all(line.of_kind("welcome") for line in served), "a hello without an answer"
        living = {session.public_id for session in self.at.server.sessions}
        assert all(line.ticket.session in living for line in served), "served after its end"
        for line in lines:
            if line.is_open or line.is_over:
                assert line.given.keys() == line.received.keys(), "a command without a result"

    def _check_line(self, line: RaceLine) -> None:
        at = self.at
        assert line.health == "live", "not live"
        seen = line.phone.shown
        assert "me" in seen, "not its own"
        agents = {int(key.partition(":")[2]) for key in seen if key.startswith("agent:")}
        assert agents == at.scope_of(line.login), "not the scope"
        assert bool(seen["me"]["rights"]) == at.may_command(line.login), "not the rights"
        if AGENT in agents:
            assert shown(seen[f"agent:{AGENT}"]) == at.agent_now(), "not the truth"
        if line.login == "agent1":
            routed = at.server.sessions.routing_table().get("agent1")
            assert seen["me"].get("remote_number") == routed, "not the number"

    # ---- inner ----

    def _line(self, login: str, device: str) -> RaceLine | None:
        line = self.here.get((login, device))
        return line if line is not None and line.is_open and line.of_kind("welcome") else None

    def _name(self) -> str:
        self.names += 1
        return str(self.names)

    def _act(self, work: Coroutine[object, object, Made], *, settles: bool = True) -> Made:
        async def acted() -> Made:
            made = await work
            if settles:
                await self.at.clock.settle()
            return made

        return self.runner.run(acted())


async def _now(act: Callable[[], object]) -> None:
    act()


TestRaces = Races.TestCase
# one step here goes the whole way several times, and a quiet at the end of each example many times
TestRaces.settings = settings(
    max_examples=max(12, settings().max_examples // 6),
    stateful_step_count=max(20, settings().stateful_step_count // 2),
)
