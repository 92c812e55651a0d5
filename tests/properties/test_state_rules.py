"""Whatever is asked of agents and happens to them, phones see what the state rules say.

Everybody sets states; post-processing follows contacts, is asked for, extended, finished and forgotten.
All of it goes the whole way: frames of phones, the node, texts of the link, the simulated server with
a clock of its own, and back. After each step every phone and every result is held to a model that was
written from the pages alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.properties.agent_model import AgentModel, Asked, Verdict, rejected
from tests.properties.simulated_node import Received, Value, WatchedLine
from tests.properties.state_life import AGENT, ASSISTANT, SUPERVISORS, StateLife

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
        events = sum(end.events for end in self.at.doors.ends.values())
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
            assert sum(end.events for end in self.at.doors.ends.values()) == events, "an event for nothing"
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
