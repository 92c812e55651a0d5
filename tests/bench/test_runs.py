"""Contenders take turns, a case that fails is told and skipped, and what is there is not measured again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from bench.case import Case
from bench.contenders import Gateway, Outcome
from bench.kept import Kept, kept
from bench.plan import Sitting
from bench.programs import BenchError
from bench.runs import Play, line, reason
from bench.stage import Stage
from bench.work import Figures, Record, Work

NO_STAGE = cast("Stage", None)


class Double(Gateway):
    """Answers with what it is told to, and notes what it was asked for."""

    asked: list[list[int]]
    ends_before: int

    def __init__(self, name: str, ends_before: int = 0) -> None:
        super().__init__(name)
        # a gateway is frozen; its double is not
        object.__setattr__(self, "asked", [])
        object.__setattr__(self, "ends_before", ends_before)

    async def play(self, stage: Stage, works: Sequence[Work]) -> list[Outcome]:
        self.asked.append([work.phones for work in works])
        found: list[Outcome] = []
        for work in works:
            if work.phones == self.ends_before:
                return [*found, BenchError("phones were sent away")]
            found.append({"phone_kb": float(work.phones)})
        return found


def cases(*gateways: Gateway) -> tuple[Case, ...]:
    """Return three cases of one sitting."""
    return tuple(Case(f"{phones} phones", Work(phones), gateways) for phones in (1, 2, 3))


async def played(folder: Path, sitting: Sitting, runs: int = 2) -> tuple[list[Record], int]:
    """Play a sitting; returns what was kept, and the number of troubles."""
    play = Play(NO_STAGE, Kept(folder, {}), [], runs)
    await play.sitting(sitting)
    return list(kept(folder)), play.troubles


async def test_contenders_take_turns(tmp_path: Path) -> None:
    records, troubles = await played(tmp_path, Sitting("idle", cases(Double("a"), Double("b"))))
    whose = [(record.run, record.contender) for record in records]
    assert whose == [(0, "a")] * 3 + [(0, "b")] * 3 + [(1, "a")] * 3 + [(1, "b")] * 3
    assert troubles == 0


async def test_a_case_that_fails_is_told_and_asked_no_more_and_costs_the_others_nothing(
    tmp_path: Path,
) -> None:
    double = Double("a", ends_before=2)
    records, troubles = await played(tmp_path, Sitting("idle", cases(double)))
    assert [(each.run, each.case, each.trouble != "") for each in records] == [
        (0, "1 phones", False),
        (0, "2 phones", True),
        (0, "3 phones", False),
        (1, "1 phones", False),
        (1, "3 phones", False),
    ]
    # what came after the trouble had a server's life of its own
    assert double.asked == [[1, 2, 3], [3], [1, 3]]
    assert troubles == 1


async def test_only_what_is_missing_is_measured(tmp_path: Path) -> None:
    Kept(tmp_path, {}).add(Record("idle", "2 phones", "a", 0, {"phone_kb": 7.0}))
    double = Double("a")
    records, _ = await played(tmp_path, Sitting("idle", cases(double)), runs=1)
    assert double.asked == [[1, 3]]
    assert len(records) == 3


async def test_what_a_play_finds_goes_to_its_cases(tmp_path: Path) -> None:
    async def play(_: Stage) -> Mapping[str, Figures]:
        return {"afresh": {"x": 1.0}, "resumed": {"x": 2.0}}

    only = Sitting("storm", (Case("resumed", play=play),))
    assert (await played(tmp_path, only, runs=1))[0] == [Record("storm", "resumed", "gateway", 0, {"x": 2.0})]


async def test_a_fault_of_any_kind_ends_nothing(tmp_path: Path) -> None:
    async def play(_: Stage) -> Mapping[str, Figures]:
        raise KeyError("ready")

    records, troubles = await played(tmp_path, Sitting("storm", (Case("a", play=play), Case("b", play=play))))
    assert [record.trouble for record in records] == ["KeyError: 'ready'"] * 2
    assert troubles == 2


def test_the_reason_is_the_innermost_one() -> None:
    group = ExceptionGroup("several", [ExceptionGroup("more", [BenchError("it ended")])])
    assert reason(group) == "BenchError: it ended"


@pytest.mark.parametrize(
    ("record", "end"),
    [
        (Record("idle", "10 phones", "gateway", 0, {"phone_kb": 2.5}), "#1  phone_kb=2.50"),
        (Record("idle", "10 phones", "gateway", 1, trouble="it ended\nat once"), "#2  it ended"),
    ],
)
def test_a_line_tells_figures_or_trouble(record: Record, end: str) -> None:
    assert line(record).endswith(end)
