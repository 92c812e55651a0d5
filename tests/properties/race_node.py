"""Racing commands and sessions, and the invariants of every race.

One node before the simulated server, and links between them that a test can hold. Of the server it is
noted what it read, what it did, and how the agent was after each change.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from gateway.core.rate_limits import SessionLimits
from gateway.core.session import Session
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, SessionSecret, Ticket
from gateway.domain.upstream import LoggedOff, LoggedOn, LogOn
from gateway.protocol.codec import JSON
from gateway.runtime.ports import Clock
from gateway.simulator import Simulator
from gateway.simulator.links import Link
from gateway.upstream.oscce.socket import Incoming
from tests.properties.onlooker import comes_back
from tests.properties.simulated_node import SimulatedNode, Value, WatchedLine
from tests.properties.socketless import CLOSED, ServerAccess, ServerEnd
from tests.runtime.rivals import Gate

KEYS: Final = {"supervisor1": 100_001, "supervisor2": 100_002, "agent1": 10_001}
"""Who has a link, and as which user."""
Direction = Literal["request", "answer"]


class HeldQueue(asyncio.Queue[Incoming]):
    """What a server says on one link, as far as the test lets it pass.

    Args:
        gate: The link's.
        passed: Receives each text that the gateway receives.
    """

    def __init__(self, gate: Gate, passed: Callable[[str], None]) -> None:
        super().__init__()
        self._gate = gate
        self._passed = passed

    async def get(self) -> Incoming:
        item = await super().get()
        if item is not CLOSED:
            await self._gate.passed()
        if isinstance(item, str):
            self._passed(item)
        return item

    def put_nowait(self, item: Incoming) -> None:
        """Take a message in; the end of the link is held by nothing."""
        super().put_nowait(item)
        if item is CLOSED:
            self._gate.give_up()


class HeldLink:
    """The two ways of one user's link."""

    def __init__(self) -> None:
        self.answers = Gate()
        self._is_held = False
        self._requests: list[Callable[[], None]] = []

    def hold(self, direction: Direction) -> None:
        if direction == "answer":
            self.answers.shut()
        else:
            self._is_held = True

    def release(self) -> None:
        self._is_held = False
        self.answers.open()
        waiting, self._requests = self._requests, []
        for read in waiting:
            read()

    def carry(self, read: Callable[[], None]) -> None:
        """Have a request read, now or when it may pass."""
        if self._is_held:
            self._requests.append(read)
        else:
            read()


class HeldAccess(ServerAccess):
    """Ways to the server that may be held."""

    def __init__(self, server: Simulator, clock: Clock, race: RaceNode) -> None:
        super().__init__("main", server, clock)
        self._race = race
        self.links = {key: HeldLink() for key in KEYS.values()}
        self.asks, self.answers = Gate(), Gate()
        """What is asked about log-ons, and what is answered."""
        self.is_broken = False
        """Whether nobody gets through with a log-on or log-off."""
        self.asked: dict[str, str] = {}
        """Key → the state or number that was asked for."""
        self.sent: Counter[str] = Counter()
        """Key → how often it was sent."""
        self.delivered: set[str] = set()
        """Keys whose answers the gateway received."""

    def release(self) -> None:
        self.is_broken = False
        for gate in (self.asks, self.answers):
            gate.open()
        for link in self.links.values():
            link.release()

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        await self._through()
        try:
            return await super().log_on(credentials)
        finally:
            self._race.note()
            await self.answers.passed()

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        await self._through()
        try:
            return await super().log_off(secret)
        finally:
            self._race.note()
            await self.answers.passed()

    async def _through(self) -> None:
        await self.asks.passed()
        if self.is_broken:
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "No log-on gets through.")

    def _receiver(self, link: Link, end: ServerEnd) -> Callable[[Any], None]:
        received, held = super()._receiver(link, end), self.links[link.account.key]
        keys: dict[int, str] = {}

        def passed(text: str) -> None:
            message = json.loads(text)
            if message["Type"] == "Response" and message["RequestID"] in keys:
                self.delivered.add(keys[message["RequestID"]])

        def carried(body: Any) -> None:  # noqa: ANN401 - JSON
            key = body.get("RequestKey")
            if key is not None:
                keys[body["RequestID"]] = key
                self.sent[key] += 1
                self.asked[key] = str(body.get("RoutingState", body.get("RemoteNumber")))
            held.carry(lambda: self._race.noted(key, lambda: received(body)))

        end.to_gateway = HeldQueue(held.answers, passed)
        return carried


AGENT, OTHER_AGENT = 10_001, 10_002
NUMBERS: Final = {"d1": "+493011111111", "d2": "+493022222222"}
DONE: Final = frozenset({"applied", "pending", "unchanged"})
NOT_ASKED: Final = frozenset({"forbidden", "not_found", "overloaded", "key_reused"})
"""Refusals of this time only: what became of the command before is not looked at."""
KEPT_S: Final = 590.0
"""So long at least an outcome is remembered."""
EAGER: Final = SessionLimits(frames_per_s=1_000.0, frames_burst=100_000)
"""No frame is dropped: each command gets its result."""


class Shown(NamedTuple):
    """How an agent is, or is shown."""

    state: str
    reason: str | None
    pending: str | None
    pending_by: str | None


def shown(agent: Value) -> Shown:
    return Shown(
        agent["routing_state"],
        agent.get("reason_id"),
        agent.get("pending_routing_state"),
        agent.get("pending_by"),
    )


class Given(NamedTuple):
    """A command that a phone gave."""

    key: str
    body: str
    expires_at_ms: int
    stream: str
    retry: bool

    @property
    def wanted(self) -> str:
        body = json.loads(self.body)
        return str(body.get("state", body.get("number")))


class RaceLine(WatchedLine):
    """A connection that knows what it gave, and what it may receive."""

    def __init__(self, at: RaceNode, ticket: Ticket, login: str) -> None:
        self.login = login
        self.given: dict[str, Given] = {}
        self.early: set[str] = set()
        """Commands that were given before the gateway had their answers."""
        self.race = at
        super().__init__(at, ticket)
        self.session = Session(JSON, EAGER, at.clock.now(), 0.5)

    @property
    def is_open(self) -> bool:
        return self.closed is None and not self.is_gone

    @property
    def is_over(self) -> bool:
        """Whether nobody comes back for what it was not sent."""
        return self.closed is not None and not comes_back(self.closed.code)

    def give(self, name: str, given: Given) -> None:
        self.given[name] = given
        if given.key not in self.race.access.delivered:
            self.early.add(name)
        retry = {"retry": True} if given.retry else {}
        self.command(
            name,
            given.key[-12:],
            command=json.loads(given.body),
            stream=given.stream,
            expires_at_ms=given.expires_at_ms,
            **retry,
        )

    def leave(self) -> None:
        """Be gone; as with a socket, the node notices it a little later."""
        self.is_gone = True
        self.session.release()
        self.race.tasks.create_task(self._left())

    async def _left(self) -> None:
        for _ in range(5):
            await self.race.clock.sleep(0)
        self.leave_commands()
        self.race.node.detach(self)

    def wake(self) -> None:
        """Write at once: frames are followed one by one."""
        self.take()

    def take(self) -> None:
        """Take what leaves now; what is wrong with it is noted in the race: the node may have called."""
        before = len(self.frames)
        try:
            super().take()
            for frame in self.frames[before:]:
                self._look_at(frame)
        except AssertionError as wrong:
            self.race.wrong.append(wrong)

    def _look_at(self, frame: dict[str, Any]) -> None:
        named = {*frame.get("put", ()), *frame.get("patch", ())}
        agents = {int(key.partition(":")[2]) for key in named if key.startswith("agent:")}
        assert agents <= self.race.allowed[self.login], "an agent outside the scope was named"
        if frame["kind"] == "result":
            self.race.check_result(self, frame["id"], frame["outcome"])


class RaceNode(SimulatedNode):
    """The node, the server and what is known of them."""

    access: HeldAccess

    def __init__(self) -> None:
        super().__init__(0)
        self.history: list[Shown] = [self.agent_now()]
        self.effects: dict[str, int] = {}
        """Key → how many changes there were when the command was executed."""
        self.done: dict[str, tuple[str, float]] = {}
        """Key → what the server answered to a command that it executed, and when."""
        self.refused: set[str] = set()
        """Keys of which somebody was answered that they will not be executed."""
        self.allowed = {login: set[int]() for login in KEYS}
        """The users that each user's phones may see since all was quiet."""
        self.leaving: set[str] = set()
        """Sessions that log themselves off."""
        self.wrong: list[AssertionError] = []
        """What was wrong with frames."""
        self._answers: list[dict[str, object]] = []
        """What the server answered to the request that it reads."""
        self._record_answers()

    def new_access(self) -> ServerAccess:
        """Return ways to the server that may be held."""
        return HeldAccess(self.server, self.clock, self)

    def _record_answers(self) -> None:
        requests = self.server.requests
        execute = requests._guarded

        def recorded(link: Link, body: Mapping[str, object]) -> dict[str, object]:
            self._answers.append(execute(link, body))
            return self._answers[-1]

        requests._guarded = recorded  # type: ignore[method-assign]  # what it answers is recorded

    # ---- what is true ----

    def agent_now(self) -> Shown:
        agent = self.server.center.directory.agents[AGENT]
        if not agent.logged_on:
            return Shown("logged_off", None, None, None)
        pending = agent.pending
        return Shown(
            agent.state.lower(),
            None if agent.reason_key is None else str(agent.reason_key),
            None if pending is None else _snake(pending.state),
            None if pending is None else pending.by.lower(),
        )

    def scope_of(self, login: str) -> set[int]:
        if login == "agent1":
            return {AGENT}
        return set(self.server.accounts.by_name[login].scope.users)

    def may_command(self, login: str) -> bool:
        account = self.server.accounts.by_name[login]
        return login == "agent1" or bool(account.dashboard_rights)

    def note(self) -> None:
        now = self.agent_now()
        if now != self.history[-1]:
            self.history.append(now)
        for login, seen in self.allowed.items():
            seen.update(self.scope_of(login))

    def noted(self, key: str | None, read: Callable[[], None]) -> None:
        """Let the server read a request, and note what it did."""
        self._answers.clear()
        read()
        self.note()
        if key is not None and self._answers and self._answers[0]["Error"] == 0:
            self.done[key] = (str(self._answers[0]["State"]).lower(), self.clock.now())
            self.effects[key] = len(self.history) - 1

    # ---- what is checked when a result comes ----

    def check_result(self, line: RaceLine, name: str, outcome: dict[str, Any]) -> None:
        self.note()
        given, status = line.given[name], outcome["status"]
        code = outcome.get("error", {}).get("code")
        did, at = self.done.get(given.key, (None, self.clock.now()))
        if status in DONE:
            assert did == status, "the server did something else"
            assert _snake(self.access.asked[given.key]) == given.wanted, "another command was done"
            agent = line.received[name].shown.get(f"agent:{AGENT}")
            has_effect = "state" in given.body and status != "unchanged"
            if agent is not None and has_effect and line.health == "live":
                assert shown(agent) in self.history[self.effects[given.key] :], "a result before its state"
        elif status == "rejected" and code not in NOT_ASKED:
            assert did is None or self.clock.now() - at > KEPT_S, "rejected, and done"
            self.refused |= {given.key} if did is None else set()
        elif code == "owner_lost":
            assert line.is_over, "lost, though it may come back"
            if name in line.early and line.ticket.session not in self.leaving:
                assert given.key not in self.access.delivered, "lost, though the answer came before the end"

    # ---- acts ----

    async def arrive(self, login: str, device: str, lines: dict[tuple[str, str], RaceLine]) -> None:
        remote = login == "agent1"
        application = Application.REMOTE_ASSISTANT if remote else Application.DASHBOARD
        number = NUMBERS[device] if remote else None
        try:
            first = await self.phone(login, application, device=device, number=number, takeover=True)
        except GatewayError:
            return
        self.lines.remove(first)
        line = lines[login, device] = RaceLine(self, first.ticket, login)
        line.hello()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and the phones answer their pings."""
        await super().pass_time(seconds)
        self.note()

    def change(self, act: Callable[[], object]) -> None:
        """Let something happen at the server, and be sent."""
        act()
        self.server.board.flush_ended()
        self.note()
        self.server.board.publish()


def _snake(word: str) -> str:
    return "logged_off" if word == "LoggedOff" else word.lower()
