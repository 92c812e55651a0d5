"""Whatever is asked of agents and happens to them, phones see what the state rules say.

Everybody sets states; post-processing follows contacts, is asked for, extended, finished and forgotten.
All of it goes the whole way: frames of phones, the node, texts of the link, the simulated server with
a clock of its own, and back. After each step every phone and every result is held to a model that was
written from the pages alone.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from copy import deepcopy
from typing import Any, Final, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from gateway.simulator.model import AutoPostProcessing
from tests.properties.agent_model import AgentModel, Asked, Contact, Verdict, rejected
from tests.properties.simulated_node import (
    NodeMachine,
    Received,
    SimulatedNode,
    Value,
    WatchedLine,
    check_agent,
)

Made = TypeVar("Made")
SUPERVISORS: Final = ("supervisor1", "supervisor2")
ASSISTANT: Final = "10001"
DESK: Final = "10002"
KEYS: Final = {"supervisor1": 100_001, "supervisor2": 100_002, "agent1": 10_001}
NUMBER: Final = "+49 30 1234567"
IDLE_S: Final = 3_000
"""For so long may the assistant's link be away: then its session would end soon."""

AGENT = st.sampled_from([ASSISTANT, ASSISTANT, DESK])
RARELY = st.sampled_from([True, False, False, False])
TURNS = st.sampled_from(["Talking", "Holding", "Consulting"])


class StateLife(NodeMachine):
    """The people, their phones, and a model of each agent that receives the same as the server.

    Invariant: after each step everybody's phone shows what the models say, unless its link is lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, WatchedLine] = {}
        self.models: dict[str, AgentModel] = {}
        self.routing = True
        self.cut: dict[str, dict[str, Value]] = {}
        """Whose link is lost, and what his phone showed then."""
        self.cut_s = 0.0

    def open(self, skew_ms: int, *, wrap_up: bool) -> None:
        """Run the node; everybody but the agent with a telephone logs on."""
        self.at = self.open_node(lambda: SimulatedNode(skew_ms))
        directory = self.at.server.center.directory
        self.queues = {str(key): directory.queues[queues[0]] for key, queues in directory.queues_of.items()}
        for queue in self.queues.values():
            queue.parameters["WrapupReasonRequired"] = wrap_up
        for login in SUPERVISORS:
            self.lines[login] = self._go(self.at.come(login))
        reasons = self.lines["supervisor1"].phone.shown["catalogue:reasons"]["reasons"]
        self.reasons = {each["name"]: each["reason_id"] for each in reasons}
        known = {each["reason_id"]: {"required_for": [], **each} for each in reasons}
        needy = frozenset(str(queue.key) for queue in self.queues.values() if wrap_up)
        self.models = {key: AgentModel(known, needy) for key in (ASSISTANT, DESK)}
        self.assistant_logs_on()

    # ---- agents come and go ----

    @precondition(lambda self: "agent1" not in self.lines and self.routing)
    @rule()
    def assistant_logs_on(self) -> None:
        self.lines["agent1"] = self._go(self.at.come("agent1", number=NUMBER))
        model = self.models[ASSISTANT]
        model.log_on(self._now_ms, remote=True)
        model.app_present = True
        self._settle()

    @precondition(lambda self: "agent1" in self.lines and not self.models[ASSISTANT].contacts)
    @rule(really=RARELY)
    def assistant_logs_off(self, really: bool) -> None:
        if really:
            self._go(self.at.node.account.log_off(self.lines["agent1"].ticket))
            self.models[ASSISTANT].logs_off(Asked("logged_off", None, "self"))
            self._settle()

    @precondition(lambda self: not self.models[DESK].logged_on)
    @rule(auto=st.booleans())
    def desk_opens(self, auto: bool) -> None:
        agent, model = self._agent(DESK), self.models[DESK]
        agent.auto = AutoPostProcessing(on=auto, duration_s=20)
        self._happens(lambda: self.at.server.center.log_on(agent))
        model.auto_on, model.auto_s = auto, 20
        model.log_on(self._now_ms, remote=False)
        self._settle()

    # ---- contacts ----

    @rule(key=AGENT, direct=st.booleans())
    def contact_comes(self, key: str, direct: bool) -> None:
        """A contact comes to his queue, or to him past all queues."""
        model, center, agent = self.models[key], self.at.server.center, self._agent(key)
        if direct and model.logged_on and len(model.contacts) < 2:
            given = self._happens(lambda: center.give(agent, None, "Voice", "Ringing"))
            model.rings(Contact(given.call_id, None), self._now_ms)
        elif not direct and len(model.waiting) < 2:
            queue = self.queues[key]
            arrived = self._happens(lambda: center.arrive(queue))
            model.arrives(Contact(arrived.call_id, str(queue.key)), self._now_ms)
        self._settle()

    @rule(key=AGENT, index=st.integers(0, 1), state=TURNS)
    def contact_turns(self, key: str, index: int, state: Any) -> None:  # noqa: ANN401 - one of few words
        """A contact is answered, or held, consulted about, retrieved."""
        key = self._busy(key)
        model, center = self.models[key], self.at.server.center
        if not model.contacts:
            return
        index %= len(model.contacts)
        contact = self._agent(key).contacts[index]
        if model.contacts[index].answered:
            self._happens(lambda: center.turn(contact, state))
            model.turns(index, state.lower(), self._now_ms)
        else:
            self._happens(lambda: center.answer(contact))
            model.turns(index, "talking", self._now_ms)
        self._settle()

    @rule(key=AGENT, index=st.integers(0, 1))
    def contact_ends(self, key: str, index: int) -> None:
        """Somebody hangs up."""
        key = self._busy(key)
        if not self.models[key].contacts:
            return
        index %= len(self.models[key].contacts)
        contact = self._agent(key).contacts[index]
        self._happens(lambda: self.at.server.center.end(contact))
        self.models[key].ends(index, self._now_ms)
        self._settle()

    @precondition(lambda self: any(model.waiting for model in self.models.values()))
    @rule(key=AGENT)
    def waiting_customer_hangs_up(self, key: str) -> None:
        model, queue = self.models[key], self.queues[key]
        if model.waiting:
            self._happens(lambda: self.at.server.center.abandon(queue.waiting[0]))
            model.gives_up(model.waiting[0])
            self._settle()

    # ---- time, functions, links ----

    @rule(seconds=st.sampled_from([3, 12, 31, 61]))
    def time_passes(self, seconds: int) -> None:
        self._pass(seconds)
        self._settle()

    @rule(really=RARELY)
    def routing_fails_or_is_back(self, really: bool) -> None:
        if self.routing and not really:
            return
        self.routing = not self.routing
        state: Any = "Up" if self.routing else "Down"
        self._happens(lambda: self.at.server.faults.set_function("LocalRouting", state))
        self._settle()

    @rule(login=st.sampled_from(sorted(KEYS)), really=RARELY)
    def link_is_lost(self, login: str, really: bool) -> None:
        if login in self.cut or login not in self.lines or not really:
            return
        self.cut[login] = deepcopy(self.lines[login].phone.shown)
        self.cut_s = 0.0
        self._happens(lambda: self.at.access.cut(KEYS[login]))
        if login == "agent1":
            self.models[ASSISTANT].app_present = False
        self._settle()

    @precondition(lambda self: self.cut)
    @rule(login=st.sampled_from(sorted(KEYS)))
    def link_is_back(self, login: str) -> None:
        login = login if login in self.cut else min(self.cut)
        self.at.access.unreachable.discard(KEYS[login])
        line = self.lines[login]
        for _ in range(60):
            self._pass(1)
            if line.health == "live" or line.closed is not None:
                break
        if line.closed is None:
            del self.cut[login]
        if login == "agent1":
            self.models[ASSISTANT].app_present = True
        self._settle()

    def teardown(self) -> None:
        self.close_node()

    # ---- inner ----

    def _go(self, work: Coroutine[object, object, Made]) -> Made:
        return self.runner.run(work)

    def _happens(self, act: Callable[[], Made]) -> Made:
        """Let something happen at the server; returns what came of it."""
        made: list[Made] = []
        self._go(self.at.happens(lambda: made.append(act())))
        return made[0]

    def _agent(self, key: str) -> Any:  # noqa: ANN401 - the server's own, called and not looked into
        return self.at.server.center.directory.agents[int(key)]

    def _busy(self, key: str) -> str:
        """Return *key*, or else the agent who has a contact in hand."""
        return key if self.models[key].contacts else DESK if key == ASSISTANT else ASSISTANT

    def _reason(self, name: str | None) -> str | None:
        return None if name is None else self.reasons.get(name, "4242")

    @property
    def _now_ms(self) -> int:
        return self.at.clock.wall_ms()

    def _pass(self, seconds: float) -> None:
        if "agent1" in self.cut and self.cut_s + seconds > IDLE_S:
            return
        self.cut_s += seconds
        self._go(self.at.pass_time(seconds))
        for model in self.models.values():
            model.time_is(self._now_ms)

    def _settle(self) -> None:
        """Let a second pass, in which all phones catch up, and look at all of them."""
        self._pass(1)
        for login in list(self.lines):
            self._check_phone(login)

    def _check_phone(self, login: str) -> None:
        line = self.lines[login]
        if login == "agent1" and not self.models[ASSISTANT].logged_on and line.closed is not None:
            self._check_end(line)
            del self.lines[login]
            self.cut.pop(login, None)
            self.at.access.unreachable.discard(KEYS[login])
        elif login in self.cut:
            assert line.closed is None, "nobody is disconnected because a link is lost"
            assert line.health == "down"
            assert line.phone.shown == self.cut[login], "a phone forgot or invented while its link was lost"
        else:
            assert line.closed is None, "closed, though all is well"
            assert login != "agent1" or self.models[ASSISTANT].logged_on, "logged off, and not notified"
            assert line.health == "live"
            self._check_shown(login, line.phone.shown)

    def _check_shown(self, login: str, shown: dict[str, Value]) -> None:
        own = login == "agent1"
        keys = {f"agent:{key}" for key in ([ASSISTANT] if own else self.models)}
        assert {key for key in shown if key.startswith("agent:")} == keys
        for key in sorted(keys):
            check_agent(shown[key], self.models[key.removeprefix("agent:")], self._now_ms, own=own)

    def _check_end(self, line: WatchedLine) -> None:
        """An agent who was logged off learns it, and by whom where a link could say so."""
        assert line.closed is not None
        assert line.closed.code == 4005
        ended = self.models[ASSISTANT].ended
        if ended is not None and ended.by == "supervisor" and "agent1" not in self.cut:
            assert line.closed.by == ended.who


REASON_CODES = ("reason_required", "reason_unknown", "reason_wrong_kind")
FITTING = st.sampled_from(
    [
        ("available", None),
        ("unavailable", None),
        ("unavailable", "Lunch"),
        ("unavailable", "Break"),
        ("work", "Back office"),
        ("work", "Email"),
    ]
)
WILD = st.tuples(
    st.sampled_from(["available", "unavailable", "work"]),
    st.sampled_from([None, "Lunch", "Email", "Solved", "nobody's"]),
)
OFF = st.tuples(st.just("logged_off"), st.sampled_from([None, None, None, "Lunch"]))
OWN = st.one_of(FITTING, FITTING, WILD)
ANOTHERS = st.one_of(FITTING, FITTING, WILD, OFF)
WHEN = st.sampled_from(["now", "after_contact"])
NEXT = st.sampled_from([None, None, "available", "unavailable", "work"])
WHERE_POST = st.sampled_from(["anywhere", "in post-processing", "in post-processing", "in post-processing"])
WHERE = st.sampled_from(["anywhere", "anywhere", "in a contact", "in post-processing"])
WRAP_UP = st.sampled_from([(), (), ("Solved",), ("Solved", "Call back"), ("Lunch",), ("nobody's",)])
STATUS = {"Applied": "applied", "Pending": "pending", "Unchanged": "unchanged"}


class StateRules(StateLife):
    """Everybody asks."""

    asked = 0

    @initialize(skew_ms=st.sampled_from([0, 90_000, -7_500]), wrap_up=st.booleans(), auto=st.booleans())
    def begin(self, skew_ms: int, wrap_up: bool, auto: bool) -> None:
        self.open(skew_ms, wrap_up=wrap_up)
        if auto:
            self.assistant_sets_auto(on=True, duration_s=45)

    # ---- states are asked for ----

    @rule(login=st.sampled_from(SUPERVISORS), key=AGENT, wanted=ANOTHERS, when=WHEN, where=WHERE)
    def supervisor_sets(
        self, login: str, key: str, wanted: tuple[str, str | None], when: str, where: str
    ) -> None:
        self._bring(key, where)
        state, reason = wanted[0], self._reason(wanted[1])
        asked = Asked(state, reason, "supervisor", name_of(self.lines[login]))
        self._command(
            login,
            set_state(key, asked, when),
            lambda model: model.ask(asked, when, self._now_ms),
            key=key,
        )

    @precondition(lambda self: self.routing and not self.cut.keys() & set(SUPERVISORS))
    @rule(key=AGENT, wanted=st.tuples(ANOTHERS, ANOTHERS), where=WHERE)
    def both_supervisors_set(
        self, key: str, wanted: tuple[tuple[str, str | None], tuple[str, str | None]], where: str
    ) -> None:
        """Two ask at once, on two links: what each receives is as if one had come after the other."""
        self._bring(key, where)
        lines = [self.lines[login] for login in SUPERVISORS]
        asks = [
            Asked(state, self._reason(reason), "supervisor", name_of(line))
            for (state, reason), line in zip(wanted, lines, strict=True)
        ]
        verdicts = [self.models[key].ask(ask, "after_contact", self._now_ms) for ask in asks]
        commands = [set_state(key, ask) for ask in asks]
        names = self._go(self._send(*zip(lines, commands, strict=True)))
        for line, name, verdict in zip(lines, names, verdicts, strict=True):
            check_outcome(line.received[name].outcome, verdict)
        self._settle()

    @precondition(lambda self: "agent1" in self.lines)
    @rule(wanted=OWN, when=WHEN, where=WHERE)
    def assistant_sets(self, wanted: tuple[str, str | None], when: str, where: str) -> None:
        self._bring(ASSISTANT, where)
        state, reason = wanted[0], self._reason(wanted[1])
        self._command(
            "agent1",
            {"kind": "routing_state.set", "state": state, "when": when},
            lambda model: model.ask(Asked(state, reason, "self"), when, self._now_ms),
            reason_id=reason,
        )

    @rule(key=AGENT, wanted=st.one_of(FITTING, st.just(("logged_off", None))), system=st.booleans())
    def somebody_else_sets(self, key: str, wanted: tuple[str, str | None], system: bool) -> None:
        """The server by itself, or the agent at his desk."""
        model, center, agent = self.models[key], self.at.server.center, self._agent(key)
        if not model.logged_on or (key == ASSISTANT and not system):
            return
        state, reason = wanted[0], self._reason(wanted[1])
        target: Any = "LoggedOff" if state == "logged_off" else state.title()
        number = None if reason is None else int(reason)
        verdict = self._happens(
            lambda: center.ask(agent, target, number, "AfterContact", "System" if system else "Self")
        )
        asked = Asked(state, reason, "system" if system else "self")
        assert model.ask(asked, "after_contact", self._now_ms).status == STATUS[verdict]
        self._settle()

    # ---- post-processing is asked for ----

    @precondition(lambda self: "agent1" in self.lines)
    @rule(on=st.booleans(), duration_s=st.sampled_from([None, 0, 10, 45, 300, 301]))
    def assistant_sets_auto(self, on: bool, duration_s: int | None) -> None:
        self._command(
            "agent1",
            {"kind": "post_processing.set_auto", "on": on},
            lambda model: model.set_auto(on=on, duration_s=duration_s),
            duration_s=duration_s,
        )

    @precondition(lambda self: "agent1" in self.lines)
    @rule(where=WHERE)
    def assistant_starts(self, where: str) -> None:
        self._bring(ASSISTANT, where)
        self._start()

    def _start(self) -> None:
        self._command("agent1", {"kind": "post_processing.start"}, lambda model: model.start(self._now_ms))

    @precondition(lambda self: "agent1" in self.lines)
    @rule(by_s=st.sampled_from([-10, 0, 5, 60]), from_limit=st.booleans(), where=WHERE_POST)
    def assistant_extends(self, by_s: int, from_limit: bool, where: str) -> None:
        self._bring(ASSISTANT, where)
        post = self.models[ASSISTANT].post
        ends_ms = self._now_ms if post is None else post.limit_ms if from_limit else post.ends_ms
        until_ms = ends_ms + 1000 * by_s
        received = self._command(
            "agent1",
            {"kind": "post_processing.extend", "until_ms": until_ms},
            lambda model: model.extend(until_ms),
        )
        error = {} if received is None else received.outcome.get("error", {})
        if error.get("code") == "limit_reached" and post is not None:
            assert error["until_ms"] == post.limit_ms

    @precondition(lambda self: "agent1" in self.lines)
    @rule(next_state=NEXT, wrap_up=WRAP_UP, where=WHERE_POST)
    def assistant_finishes(self, next_state: str | None, wrap_up: tuple[str, ...], where: str) -> None:
        self._bring(ASSISTANT, where)
        named = tuple(str(self._reason(name)) for name in wrap_up)
        self._command(
            "agent1",
            {"kind": "post_processing.finish"},
            lambda model: model.finish(next_state, named, self._now_ms),
            next_state=next_state,
            wrap_up_reason_ids=list(named) or None,
        )

    @rule(key=AGENT, beyond_s=st.sampled_from([-2, -1, 0]), where=WHERE_POST)
    def deadline_comes(self, key: str, beyond_s: int, where: str) -> None:
        """The end of post-processing is reached, or nearly."""
        self._bring(key, where)
        post = self.models[key].post
        if post is not None:
            self._pass(max(0, (post.ends_ms - self._now_ms) // 1000 + beyond_s))
            self._settle()

    # ---- inner ----

    def _bring(self, key: str, where: str) -> None:
        """Let contacts come and go until an agent is where something is to be tried, if he can get there."""
        model = self.models[key]
        if where == "anywhere" or not model.logged_on:
            return
        if where == "in post-processing" and model.post is not None:
            return
        if not model.contacts:
            self.contact_comes(key, direct=True)
        if not any(contact.answered for contact in model.contacts):
            self.contact_turns(key, 0, "Talking")
        if where == "in post-processing":
            if key == ASSISTANT and not model.auto_on and "agent1" in self.lines:
                self._start()
            while model.contacts:
                self.contact_ends(key, 0)

    def _command(
        self,
        login: str,
        command: Value,
        rule_of: Callable[[AgentModel], Verdict],
        *,
        key: str = ASSISTANT,
        **optional: object,
    ) -> Received | None:
        """Let a phone give a command, and compare what it receives with the model."""
        line = self.lines[login]
        verdict = self._verdict(login, key, rule_of)
        changes = {each: each.changes for each in self.at.watched}
        events = sum(end.events for end in self.at.access.ends.values())
        wanted = command | {field: value for field, value in optional.items() if value is not None}
        (name,) = self._go(self._send((line, wanted)))
        received = line.received.get(name)
        if received is None:
            assert line.closed is not None, "a command gets a result"
            assert not self.models[ASSISTANT].logged_on, "only who logged himself off receives nothing more"
        else:
            self._check_result(login, received, verdict)
        if verdict.status in {"unchanged", "rejected"}:
            assert {each: each.changes for each in self.at.watched} == changes, "a change, though none was"
            assert sum(end.events for end in self.at.access.ends.values()) == events, "an event for nothing"
        self._settle()
        return received

    async def _send(self, *sent: tuple[WatchedLine, Value]) -> list[str]:
        """Let phones give commands at once; returns under which names."""
        names = []
        for line, wanted in sent:
            self.asked += 1
            names.append(str(self.asked))
            line.command(names[-1], names[-1], command=wanted)
        await self.at.settle()
        return names

    def _verdict(self, login: str, key: str, rule_of: Callable[[AgentModel], Verdict]) -> Verdict:
        model = self.models[key]
        if login in self.cut:
            # by what it received last a node may know of a wrong reason, or of a function that is down
            routing = self.cut[login]["site"]["functions"]["routing"]
            down = {"function_unavailable"} if routing == "down" else set()
            return rejected("upstream_unavailable", *REASON_CODES, *down)
        if not self.routing:
            return rejected("function_unavailable")
        return rule_of(model)

    def _check_result(self, login: str, received: Received, verdict: Verdict) -> None:
        check_outcome(received.outcome, verdict)
        if login not in self.cut:
            self._check_shown(login, received.shown)


def name_of(line: WatchedLine) -> str:
    """Return who holds the phone, as agents see who logged them off."""
    return str(line.phone.shown["me"]["display_name"])


def set_state(key: str, asked: Asked, when: str = "after_contact") -> Value:
    command = {"kind": "agent.routing_state.set", "agent_id": key, "state": asked.state, "when": when}
    return command if asked.reason is None else command | {"reason_id": asked.reason}


def check_outcome(outcome: Value, verdict: Verdict) -> None:
    assert outcome["status"] == verdict.status
    if verdict.status == "rejected":
        error = outcome["error"]
        assert error["code"] in verdict.codes
        if error["code"] == "function_unavailable":
            assert error["function"] == "routing"


TestStateRules = StateRules.TestCase
# one step here goes the whole way several times: half as many say as much
TestStateRules.settings = settings(
    max_examples=max(40, settings().max_examples // 2),
    stateful_step_count=max(30, settings().stateful_step_count // 2),
)
