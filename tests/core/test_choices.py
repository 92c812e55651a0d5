"""Does a value pass exactly when the catalogues have it?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.command_checks import Declared, check_reason, check_skills, check_wrap_up
from gateway.domain.commands import SetAgentRoutingState, SetRoutingState, SetSkills, SkillChange, TargetState
from gateway.domain.errors import Detail, ErrorCode, GatewayError
from gateway.domain.model import REASONS, SKILLS, Scope
from gateway.domain.resources import (
    Agent,
    Reason,
    Reasons,
    Resource,
    RoutingState,
    Skill,
    Skills,
)
from tests.core.samples import declared

Refusal = tuple[ErrorCode, dict[str, Detail]]
SCOPE = Scope(
    agents=frozenset({5}), queues=frozenset({1, 2}), groups=frozenset({3}), aggregates=frozenset({4})
)
NOTHING = declared("h", {})


def refused(check: Callable[[], None]) -> Refusal | None:
    """Return why a check refuses, None when it does not."""
    try:
        check()
    except GatewayError as error:
        return error.code, error.details
    return None


def told(key: str, value: Resource) -> Declared:
    """Return what is declared when one catalogue is."""
    return declared("h", {key: value})


# ---- skills ----

CATALOGUE = told(SKILLS, Skills((Skill("61", "French", 1, 10, 2, 5), Skill("62", "Fax"), Skill("60", "Any"))))


def skills(*changes: SkillChange, of: Declared = CATALOGUE) -> Refusal | None:
    return refused(lambda: check_skills(SetSkills("5", changes, "patch", 1), of))


LEVELS: dict[str, Detail] = {"skill_id": "61", "min": 1, "max": 10}
PREFERENCES: dict[str, Detail] = {"skill_id": "61", "min": 2, "max": 5}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (SkillChange("61", None), None),
        (SkillChange("61", 1), None),
        (SkillChange("61", 10), None),
        (SkillChange("61", 0), (ErrorCode.LEVEL_OUT_OF_RANGE, LEVELS)),
        (SkillChange("61", 11), (ErrorCode.LEVEL_OUT_OF_RANGE, LEVELS)),
        (SkillChange("61", 5, 2, active=False), None),
        (SkillChange("61", None, 5), None),
        (SkillChange("61", 5, 1), (ErrorCode.PREFERENCE_OUT_OF_RANGE, PREFERENCES)),
        (SkillChange("61", 5, 6), (ErrorCode.PREFERENCE_OUT_OF_RANGE, PREFERENCES)),
        (SkillChange("61", 0, 6), (ErrorCode.LEVEL_OUT_OF_RANGE, LEVELS)),
        (SkillChange("62", -(10**9), 10**9), None),
        (SkillChange("63", 5), (ErrorCode.SKILL_UNKNOWN, {"skill_id": "63"})),
        (SkillChange("061", 5), (ErrorCode.SKILL_UNKNOWN, {"skill_id": "061"})),
        (SkillChange("", None), (ErrorCode.SKILL_UNKNOWN, {"skill_id": ""})),
    ],
)
def test_a_skill_must_exist_and_stay_within_its_bounds(change: SkillChange, expected: Refusal | None) -> None:
    assert skills(change) == expected
    assert skills(SkillChange("60", 1), change, SkillChange("99", 1)) == (
        expected or (ErrorCode.SKILL_UNKNOWN, {"skill_id": "99"})
    )


@pytest.mark.parametrize("of", [CATALOGUE, NOTHING])
def test_a_skill_is_named_once(of: Declared) -> None:
    found = skills(SkillChange("61", 1), SkillChange("62", 1), SkillChange("61", 1), of=of)
    assert found == (ErrorCode.DUPLICATE_SKILL, {"skill_id": "61"})


def test_no_skills_at_all_may_be_named() -> None:
    assert skills() is None


def test_skills_that_are_not_told_yet_are_left_to_the_server() -> None:
    assert skills(SkillChange("99", 10**9, -1), of=NOTHING) is None


# ---- reasons ----

GIVEN = told(
    REASONS,
    Reasons(
        (
            Reason("31", "unavailable", "Lunch"),
            Reason("32", "work", "Back office", ("work",)),
            Reason("33", "unavailable", "End of shift", ("logged_off",)),
            Reason("41", "post_processing", "Notes", ("post_processing",)),
            Reason("51", "wrapup", "Solved"),
        )
    ),
)


def reason(
    command: SetAgentRoutingState | SetRoutingState, present: Agent | None = None, of: Declared = GIVEN
) -> Refusal | None:
    return refused(lambda: check_reason(command, present, of))


@pytest.mark.parametrize(
    ("state", "reason_id", "expected"),
    [
        ("available", None, None),
        ("unavailable", None, None),
        ("work", None, ErrorCode.REASON_REQUIRED),
        ("logged_off", None, ErrorCode.REASON_REQUIRED),
        ("unavailable", "31", None),
        ("unavailable", "33", None),
        ("work", "32", None),
        ("logged_off", "33", None),
        ("available", "31", ErrorCode.REASON_WRONG_KIND),
        ("unavailable", "32", ErrorCode.REASON_WRONG_KIND),
        ("work", "31", ErrorCode.REASON_WRONG_KIND),
        ("work", "33", ErrorCode.REASON_WRONG_KIND),
        ("work", "51", ErrorCode.REASON_WRONG_KIND),
        ("unavailable", "41", ErrorCode.REASON_WRONG_KIND),
        ("logged_off", "31", ErrorCode.REASON_WRONG_KIND),
        ("work", "99", ErrorCode.REASON_UNKNOWN),
        ("available", "99", ErrorCode.REASON_UNKNOWN),
        ("work", "", ErrorCode.REASON_UNKNOWN),
        ("unavailable", "031", ErrorCode.REASON_UNKNOWN),
    ],
)
def test_a_reason_must_exist_and_belong_to_its_state(
    state: TargetState, reason_id: str | None, expected: ErrorCode | None
) -> None:
    refusal: Refusal | None = None if expected is None else (expected, {})
    for present in (None, Agent(), Agent(routing_state=RoutingState.UNKNOWN)):
        assert reason(SetAgentRoutingState("5", state, reason_id), present) == refusal
        if state != "logged_off":
            assert reason(SetRoutingState(state, reason_id), present) == refusal


@pytest.mark.parametrize(
    ("reason_id", "expected"),
    [(None, None), ("32", None), ("31", ErrorCode.REASON_WRONG_KIND), ("99", ErrorCode.REASON_UNKNOWN)],
)
def test_the_present_state_needs_no_reason_but_takes_no_wrong_one(
    reason_id: str | None, expected: ErrorCode | None
) -> None:
    present = Agent(routing_state=RoutingState.WORK, reason_id="32")
    found = reason(SetRoutingState("work", reason_id), present)
    assert found == (None if expected is None else (expected, {}))


def test_a_reason_that_was_removed_since_may_stay() -> None:
    present = Agent(routing_state=RoutingState.WORK, reason_id="99")
    assert reason(SetRoutingState("work", "99"), present) is None


def test_another_state_than_the_present_one_needs_its_reason() -> None:
    present = Agent(routing_state=RoutingState.UNAVAILABLE, pending_routing_state=RoutingState.WORK)
    found = reason(SetRoutingState("work"), present)
    assert found == (ErrorCode.REASON_REQUIRED, {})


@pytest.mark.parametrize(
    ("reason_ids", "expected"),
    [
        ((), None),
        (("51",), None),
        (("51", "51"), None),
        (("51", "99"), ErrorCode.REASON_UNKNOWN),
        (("99", "31"), ErrorCode.REASON_UNKNOWN),
        (("31",), ErrorCode.REASON_WRONG_KIND),
        (("51", "41"), ErrorCode.REASON_WRONG_KIND),
    ],
)
def test_wrap_up_reasons_are_of_their_kind(reason_ids: tuple[str, ...], expected: ErrorCode | None) -> None:
    found = refused(lambda: check_wrap_up(reason_ids, GIVEN))
    assert found == (None if expected is None else (expected, {}))


def test_reasons_that_are_not_told_yet_are_left_to_the_server() -> None:
    assert reason(SetRoutingState("work"), of=NOTHING) is None
    assert reason(SetRoutingState("work", "99"), of=NOTHING) is None
    assert refused(lambda: check_wrap_up(("99",), NOTHING)) is None
