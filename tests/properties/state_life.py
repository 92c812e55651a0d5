"""Events of a contact centre while states are requested, and what each phone must show.

An agent with the Remote Assistant, one at a desk, and two supervisors. Contacts come, are held and
end; time passes, routing fails, links are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from copy import deepcopy
from typing import Any, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from gateway.simulator.model import AutoPostProcessing
from tests.properties.agent_model import AgentModel, Asked, Contact
from tests.properties.simulated_node import NodeMachine, SimulatedNode, Value, WatchedLine, check_agent

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
        """Open the house; everybody but the desk logs on."""
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
        self._happens(lambda: self.at.doors.cut(KEYS[login]))
        if login == "agent1":
            self.models[ASSISTANT].app_present = False
        self._settle()

    @precondition(lambda self: self.cut)
    @rule(login=st.sampled_from(sorted(KEYS)))
    def link_is_back(self, login: str) -> None:
        login = login if login in self.cut else min(self.cut)
        self.at.doors.unreachable.discard(KEYS[login])
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
            self.at.doors.unreachable.discard(KEYS[login])
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
