"""Plan of a run: what is measured together, how often, and how long it takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.case import Case
from bench.contenders import DRAIN_S, Gateway, Other
from bench.work import Work

GATEWAY_STARTS_S, PEER_STARTS_S, ENDS_S = 4.0, 0.7, 0.5
PHONES_PER_S, USERS_PER_S, SEALED_PER_S, PEERS_PER_S = 600.0, 250.0, 250.0, 4_000.0
"""Connections per second: of phones, of users without a link, over TLS, to peers."""


@dataclass(frozen=True, slots=True)
class CaseGroup:
    """Cases that share one server process.

    Attributes:
        scenario: The scenario of the cases.
        cases: The cases, in order.
    """

    scenario: str
    cases: tuple[Case, ...]

    def contenders(self, peers: Sequence[Other]) -> list[Gateway | Other]:
        """Return the contenders that run any of the cases."""
        ours = {gateway: None for case in self.cases for gateway in case.gateways}
        return [*ours, *(peers if any(case.with_peers for case in self.cases) else ())]

    def asked(self, contender: Gateway | Other) -> list[Case]:
        """Return the cases that *contender* runs."""
        is_peer = isinstance(contender, Other)
        return [case for case in self.cases if (case.with_peers if is_peer else contender in case.gateways)]

    def runs(self, most: int) -> int:
        """Return how often to run: *most* times, or fewer where no case needs as many."""
        return min(most, max(case.runs or most for case in self.cases))


def case_groups(scenario: str, cases: Iterable[Case]) -> list[CaseGroup]:
    """Return the cases of a scenario in groups, adjacent cases of the same group together."""
    turns = itertools.count()
    found = itertools.groupby(cases, key=lambda case: case.group or next(turns))
    return [CaseGroup(scenario, tuple(together)) for _, together in found]


def expected_s(group: CaseGroup, peers: Sequence[Other], most: int) -> float:
    """Return how long all runs of a group will take."""
    once = sum(_once_s(group.asked(each), each) for each in group.contenders(peers))
    return once * group.runs(most)


def _once_s(cases: Sequence[Case], contender: Gateway | Other) -> float:
    works = [case.work for case in cases if case.work is not None]
    played_s = sum(case.seconds for case in cases)
    if not works:
        return played_s
    spans_s = sum(work.warmup_s + work.duration_s + DRAIN_S + 0.2 for work in works)
    starts_s = PEER_STARTS_S if isinstance(contender, Other) else GATEWAY_STARTS_S
    return starts_s + _coming_s(works, contender) + spans_s + works[0].settle_s + played_s + ENDS_S


def _coming_s(works: Sequence[Work], contender: Gateway | Other) -> float:
    most = max(works, key=lambda work: work.phones)
    if most.connect_per_s:
        return most.phones / most.connect_per_s
    if isinstance(contender, Other):
        return most.phones / PEERS_PER_S
    links = min(most.phones, most.topics if most.topics > 1 else most.users or 0)
    return links / USERS_PER_S + most.phones / (SEALED_PER_S if most.tls else PHONES_PER_S)


def plan_text(plan: Sequence[CaseGroup], peers: Sequence[Other], most: int) -> str:
    """Return the plan as text: minutes of each scenario, and of all."""
    minutes: dict[str, float] = {}
    cases: dict[str, int] = {}
    for group in plan:
        s = expected_s(group, peers, most)
        minutes[group.scenario] = minutes.get(group.scenario, 0.0) + s / 60
        cases[group.scenario] = cases.get(group.scenario, 0) + len(group.cases)
    lines = [f"  {name:10} {cases[name]:3} cases  {each:5.1f} min" for name, each in minutes.items()]
    who = ", ".join(peer.name for peer in peers) or "nobody else"
    head = f"the plan, {most} runs, with {who}:"
    return "\n".join(
        [head, *lines, f"  all        {sum(cases.values()):3} cases  {sum(minutes.values()):5.1f} min"]
    )
