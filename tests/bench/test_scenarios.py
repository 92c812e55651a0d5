"""Scenarios ask for what this machine and the gateway can do, and a glance stays one."""

from __future__ import annotations

import itertools

import pytest

from bench.case import Scale
from bench.plan import sittings
from bench.scenarios import SCENARIOS

FULL, QUICK = Scale(19_500), Scale(19_500, is_quick=True)


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("scale", [FULL, QUICK, Scale(900)])
def test_cases_have_names_of_their_own_and_fit(name: str, scale: Scale) -> None:
    cases = SCENARIOS[name](scale)
    assert cases
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        assert (case.work is None) != (case.play is None)
        if case.work is not None and name not in {"crowd", "stalled"}:
            assert case.work.phones <= scale.phones_most


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("scale", [FULL, QUICK, Scale(900)])
def test_who_sits_together_can_share_a_life(name: str, scale: Scale) -> None:
    for sitting in sittings(name, SCENARIOS[name](scale)):
        works = [case.work for case in sitting.cases if case.work is not None]
        assert len({work.life for work in works}) <= 1
        # phones come, and none leaves
        assert [work.phones for work in works] == sorted(work.phones for work in works)
        # a share is one of what was delivered just before
        assert all(work.share is None or before.window for before, work in itertools.pairwise(works))
        assert len({case.play for case in sitting.cases}) == 1 or works


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_glance_is_short(name: str) -> None:
    works = [case.work for case in SCENARIOS[name](QUICK) if case.work is not None]
    assert all(work.phones <= 1_000 and work.duration_s <= 2 for work in works)


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_update_overtakes_another_within_the_pace(name: str) -> None:
    """A resource has its next turn after more than the 50 ms in which a phone gets one frame."""
    for scale in (FULL, QUICK):
        for case in SCENARIOS[name](scale):
            if case.work is not None:
                work, per_s = case.work, case.work.per_s or 0.0
                turns_per_s = per_s * work.size / (work.topics * (work.queues + work.agents))
                assert turns_per_s <= 10, case.name
