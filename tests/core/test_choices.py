"""Refused values are reported with the bounds that they break.

Which values pass is the model of ``tests/properties/test_choices_properties.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.command_checks import check_parameters, check_skills
from gateway.domain.commands import SetSkills, SkillChange
from gateway.domain.errors import Detail, ErrorCode, GatewayError
from gateway.domain.model import ROUTING_PARAMETERS, SKILLS, Kind, Scope
from gateway.domain.resources import Parameter, RoutingParameter, RoutingParameters, Skill, Skills
from tests.core.samples import declared

Refusal = tuple[ErrorCode, dict[str, Detail]]
PARAMETERS = RoutingParameters(
    (
        RoutingParameter("Priority", "queue", "integer", 1, 10, 3, unit="steps"),
        RoutingParameter("Share", "queue", "number", 0.5, 99.5),
        RoutingParameter("Open", "queue", "boolean"),
        RoutingParameter("Order", "queue", "enum", values=("old", "new")),
        RoutingParameter("Floor", "queue", "integer", min=3),
        RoutingParameter("ToSome", "queue", "queue_key", values=("1", "9"), unit="id"),
        RoutingParameter("Priority", "group", "integer", 100, 200),
    )
)
DECLARED = declared(
    "h",
    {
        SKILLS: Skills((Skill("61", "French", 1, 10, 2, 5), Skill("62", "Fax"), Skill("60", "Any"))),
        ROUTING_PARAMETERS: PARAMETERS,
    },
)
LEVELS: dict[str, Detail] = {"skill_id": "61", "min": 1, "max": 10}
PREFERENCES: dict[str, Detail] = {"skill_id": "61", "min": 2, "max": 5}


def refused(check: Callable[[], None]) -> Refusal | None:
    """Return why a check refuses, None when it does not."""
    try:
        check()
    except GatewayError as error:
        return error.code, error.details
    return None


def skills(*changes: SkillChange) -> Refusal | None:
    return refused(lambda: check_skills(SetSkills("5", changes, "patch", 1), DECLARED))


def parameters(changes: dict[str, Parameter], kind: Kind = Kind.QUEUE) -> Refusal | None:
    scope = Scope(queues=frozenset({1, 2}))
    return refused(lambda: check_parameters(changes, kind, {}, scope, DECLARED))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (SkillChange("61", 10, 2, active=False), None),
        (SkillChange("61", 0), (ErrorCode.LEVEL_OUT_OF_RANGE, LEVELS)),
        (SkillChange("61", 11), (ErrorCode.LEVEL_OUT_OF_RANGE, LEVELS)),
        (SkillChange("61", 5, 1), (ErrorCode.PREFERENCE_OUT_OF_RANGE, PREFERENCES)),
        (SkillChange("61", 5, 6), (ErrorCode.PREFERENCE_OUT_OF_RANGE, PREFERENCES)),
        (SkillChange("061", 5), (ErrorCode.SKILL_UNKNOWN, {"skill_id": "061"})),
    ],
)
def test_a_skill_that_is_refused_is_reported_with_its_bounds(
    change: SkillChange, expected: Refusal | None
) -> None:
    assert skills(change) == expected
    assert skills(SkillChange("60", 1), change, SkillChange("99", 1)) == (
        expected or (ErrorCode.SKILL_UNKNOWN, {"skill_id": "99"})
    )


@pytest.mark.parametrize(
    ("name", "values", "bounds"),
    [
        ("Priority", [0, 11], {"min": 1, "max": 10, "unit": "steps"}),
        ("Share", [0, 99.6], {"min": 0.5, "max": 99.5, "unit": None}),
        ("Order", ["", "OLD"], {"min": None, "max": None, "unit": None}),
        ("Floor", [2], {"min": 3, "max": None, "unit": None}),
        ("ToSome", ["2"], {"min": None, "max": None, "unit": "id"}),
    ],
)
def test_a_parameter_out_of_range_is_reported_with_its_range(
    name: str, values: list[Parameter], bounds: dict[str, Detail]
) -> None:
    expected = (ErrorCode.VALUE_OUT_OF_RANGE, {"parameter": name} | bounds)
    assert [parameters({name: value}) for value in values] == [expected] * len(values)


def test_a_list_is_no_value_of_a_parameter_that_has_one() -> None:
    assert parameters({"Open": (True,)}) == (ErrorCode.WRONG_TYPE, {"parameter": "Open"})
    assert parameters({"ToSome": ("1",)}) == (ErrorCode.WRONG_TYPE, {"parameter": "ToSome"})
