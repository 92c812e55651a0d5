"""After any interleaving of events, commands, answers, cuts and reloads a link shows Asterisk's truth."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.commands import (
    Command,
    Executed,
    SetAgentRoutingState,
    SetSkills,
    SkillChange,
    TargetState,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Kind
from gateway.domain.upstream import Source
from gateway.upstream.asterisk.people import Rules, number_of
from tests.asterisk.site import Ear, Place, place
from tests.cluster.asterisk import REASON, AsteriskTruth, truth_of
from tests.doubles.clock import ManualClock

DESKS = ("Local/2005@desk/n", "Local/2006@desk/n")
QUEUES = ("sales", "support")
PEOPLE = {DESKS[0]: "cem"}
AGENTS = (number_of("person", "cem"), number_of("interface", DESKS[1]))
REASONS = {"unavailable": None, "available": None, "work": str(number_of("reason", REASON))}
HEALS_WITHIN = 120
"""Half seconds: a whole reading comes every 5 s, and a connection that was cut is back in 15 s."""
SETTLES_WITHIN = 3
"""Where events tell everything: a contact whose caller has left is shown for half a second."""
SILENT = {"reload", "cut", "freeze"}

desks, queues = st.sampled_from(DESKS), st.sampled_from(QUEUES)
Step = tuple[Any, ...]
steps = st.one_of(
    st.tuples(st.just("state"), st.sampled_from(AGENTS), st.sampled_from(sorted(REASONS))),
    st.tuples(st.just("skills"), st.sampled_from(AGENTS), queues, st.integers(0, 10)),
    st.tuples(st.just("pause"), desks, st.sampled_from([None, "Lunch", "Ärzte: 10:30"])),
    st.tuples(st.just("device"), desks, st.sampled_from([1, 2])),
    st.tuples(st.just("call"), queues, desks),
    st.tuples(st.just("goes_on"), st.booleans()),
    st.tuples(st.just("reload"), queues, desks),
    st.tuples(st.sampled_from(["cut", "freeze", "thaw", "look", "turn"])),
)


class Play:
    """One Asterisk, a supervisor's link, and what happens to them."""

    def __init__(self, at: Place, ear: Ear, clock: ManualClock, tasks: asyncio.TaskGroup) -> None:
        self.at, self.ear, self.clock, self.tasks = at, ear, clock, tasks
        self.call: tuple[str, str, str] | None = None
        self.given: list[asyncio.Task[str]] = []

    async def do(self, step: Step) -> None:
        name, *more = step
        fake = self.at.fake
        match name:
            case "state" | "skills":
                command = self._state if name == "state" else self._skills
                self.given.append(self.tasks.create_task(self._give(command(*more))))
            case "call" | "goes_on" | "reload" | "device":
                getattr(self, f"_{name}")(*more)
            case "pause":
                fake.set_paused(*more)
            case "look" | "turn":
                await self.clock.advance(5 if name == "look" else 0.1)
            case _:
                getattr(fake, name)()

    def _state(self, agent: int, state: TargetState) -> Command:
        return SetAgentRoutingState(str(agent), state, REASONS[state])

    def _skills(self, agent: int, queue: str, level: int) -> Command:
        part = self.ear.shown(Kind.AGENT, Source.CONFIGURATION).get(agent)
        version = getattr(part.value, "version", 0) if part is not None else 0
        return SetSkills(str(agent), (SkillChange(str(number_of("queue", queue)), level),), "patch", version)

    async def _give(self, command: Command) -> str:
        """Give a command; returns what became of it."""
        try:
            answer = await self.ear.command(command)
        except GatewayError as error:
            return "unknown" if error.code is ErrorCode.UPSTREAM_TIMEOUT else "refused"
        assert isinstance(answer, Executed)
        return answer.state

    def _device(self, desk: str, status: int) -> None:
        if self.call is None or self.call[2] != desk:
            self.at.fake.device(desk, status)

    def _call(self, queue: str, desk: str) -> None:
        fake = self.at.fake
        if self.call is None and desk in fake.queues[queue].members:
            self.call = queue, fake.join(queue), desk
            fake.ring(*self.call)

    def _goes_on(self, is_answered: bool) -> None:
        fake = self.at.fake
        if self.call is None or self.call[2] not in fake.queues[self.call[0]].members:
            return
        queue, caller, desk = self.call
        if any(one.unique == caller for one in fake.queues[queue].callers):
            if is_answered:
                fake.answer(queue, caller, desk)
                return
            fake.abandon(queue, caller)
            fake.device(desk, 1)
        else:
            fake.complete(queue, caller, desk)
        self.call = None

    def _reload(self, queue: str, desk: str) -> None:
        fake = self.at.fake
        if desk not in fake.queues[queue].members:
            fake.add_static(queue, desk, "At a desk")
        elif self.call is None or self.call[2] != desk:
            fake.remove_static(queue, desk)

    # ---- laws ----

    def shown(self) -> dict[str, dict[str, Any]]:
        """Return what the link has sent, as a phone shows it."""
        found: dict[str, dict[str, Any]] = {}
        for kind in (Kind.AGENT, Kind.QUEUE):
            for number, part in self.ear.shown(kind, Source.REALTIME).items():
                found[f"{kind.value}:{number}"] = {
                    name: getattr(part.value, name, None)
                    for name in (
                        *("routing_state", "reason_id", "contacts_waiting"),
                        *("agents_logged_on", "agents_handling", "agents_available"),
                    )
                }
        return found

    def differences(self) -> list[str]:
        truth = AsteriskTruth(truth_of(self.at.fake), PEOPLE)
        return [one for one in truth.differences(self.shown(), {}) if "name:" not in one.split(" shown")[0]]

    async def settle(self, *, is_reported: bool) -> None:
        """Let everything come to rest; all commands end, and what is shown is true.

        *is_reported*: events have reported all that happened.
        """
        self.at.fake.thaw()
        for _ in range(SETTLES_WITHIN if is_reported else HEALS_WITHIN):
            if all(task.done() for task in self.given) and not self.differences():
                break
            await self.clock.advance(0.5)
        assert self.differences() == []
        said = Counter(task.result() for task in self.given)
        sent = sum(
            one["Action"] in {"QueuePause", "QueuePenalty", "QueueAdd"} for one in self.at.fake.received
        )
        assert said["applied"] <= sent <= said["applied"] + said["unknown"] + said["refused"], said


@given(script=st.lists(steps, max_size=20))
def test_a_link_shows_the_truth_after_any_interleaving_and_no_command_is_sent_twice(
    script: list[Step],
) -> None:
    async def play() -> None:
        clock = ManualClock()
        rules = Rules(work_reasons=(REASON,))
        async with (
            asyncio.timeout(30),
            place(clock=clock, rules=rules, look_s=5, figures_s=1) as at,
            at.linked(await at.boss()) as ear,
            asyncio.TaskGroup() as tasks,
        ):
            at.fake.add_static("support", DESKS[1], "At a desk")
            await clock.advance(6)  # only a reading reports it
            made = Play(at, ear, clock, tasks)
            for step in script:
                await made.do(step)
                await asyncio.sleep(0)
            await made.settle(is_reported=SILENT.isdisjoint(step[0] for step in script))

    asyncio.run(play())
