"""Does a routing parameter take exactly the values that its catalogue has?"""

from __future__ import annotations

import pytest

from gateway.core.command_checks import check_parameters
from gateway.domain.errors import Detail, ErrorCode
from gateway.domain.model import ROUTING_PARAMETERS, Kind
from gateway.domain.resources import Parameter, RoutingParameter, RoutingParameters
from tests.core.test_choices import NOTHING, SCOPE, Refusal, refused, told

PARAMETERS = told(
    ROUTING_PARAMETERS,
    RoutingParameters(
        (
            RoutingParameter("Priority", "queue", "integer", 1, 10, 3, unit="steps"),
            RoutingParameter("Share", "queue", "number", 0.5, 99.5),
            RoutingParameter("Open", "queue", "boolean"),
            RoutingParameter("Note", "queue", "string"),
            RoutingParameter("Order", "queue", "enum", values=("old", "new")),
            RoutingParameter("Size", "queue", "integer", values=(1, 5)),
            RoutingParameter("Floor", "queue", "integer", min=3),
            RoutingParameter("Fixed", "queue", "integer", read_only=True),
            RoutingParameter("Colour", "queue", "colour", 1, 10),
            RoutingParameter("ToUser", "queue", "user_reference"),
            RoutingParameter("ToQueue", "queue", "queue_reference"),
            RoutingParameter("ToGroup", "queue", "group_key"),
            RoutingParameter("ToAll", "queue", "aggregate"),
            RoutingParameter("ToSome", "queue", "queue_key", values=("1", "9"), unit="id"),
            RoutingParameter("Priority", "group", "integer", 100, 200),
        )
    ),
)


def parameters(
    changes: dict[str, Parameter], kind: Kind = Kind.QUEUE, present: dict[str, Parameter] | None = None
) -> Refusal | None:
    return refused(lambda: check_parameters(changes, kind, present or {}, SCOPE, PARAMETERS))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Priority", [1, 10, 2]),
        ("Share", [0.5, 1, 99.5]),
        ("Open", [True, False]),
        ("Note", ["", "x" * 1000]),
        ("Order", ["old", "new"]),
        ("Size", [1, 5]),
        ("Floor", [3, 10**12]),
        ("Colour", [1, 10, "red", True, False, None, ("red",), 2.5]),
        ("ToUser", ["5", None]),
        ("ToQueue", ["1", "2", None]),
        ("ToGroup", ["3", None]),
        ("ToAll", ["4", None]),
        ("ToSome", ["1", None]),
    ],
)
def test_values_that_the_catalogue_has_are_let_through(name: str, values: list[Parameter]) -> None:
    assert [parameters({name: value}) for value in values] == [None] * len(values)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Priority", [5.0, "5", True, ("5",), (5,)]),
        ("Share", ["1", False]),
        ("Open", [1, 0, "true"]),
        ("Note", [1, ("x",), False]),
        ("Order", [1, ("old",)]),
        ("Size", [True, "1"]),
        ("ToUser", [5, True, 5.0, ("5",)]),
        ("ToQueue", [1, False, ("1",)]),
        ("ToSome", [1]),
    ],
)
def test_values_of_another_type_are_refused(name: str, values: list[Parameter]) -> None:
    expected = (ErrorCode.WRONG_TYPE, {"parameter": name})
    assert [parameters({name: value}) for value in values] == [expected] * len(values)


@pytest.mark.parametrize(
    ("name", "values", "bounds"),
    [
        ("Priority", [0, 11, -1], {"min": 1, "max": 10, "unit": "steps"}),
        ("Share", [0.4, 0, 100, 99.6], {"min": 0.5, "max": 99.5, "unit": None}),
        ("Order", ["", "OLD"], {"min": None, "max": None, "unit": None}),
        ("Size", [2], {"min": None, "max": None, "unit": None}),
        ("Floor", [2], {"min": 3, "max": None, "unit": None}),
        ("Colour", [0, 11, 10.5], {"min": 1, "max": 10, "unit": None}),
        ("ToSome", ["2"], {"min": None, "max": None, "unit": "id"}),
    ],
)
def test_values_out_of_range_are_refused_with_the_range(
    name: str, values: list[Parameter], bounds: dict[str, Detail]
) -> None:
    expected = (ErrorCode.VALUE_OUT_OF_RANGE, {"parameter": name} | bounds)
    assert [parameters({name: value}) for value in values] == [expected] * len(values)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ToUser", ["1", "6", "", "x", "05", "agent:5", "user:5"]),
        ("ToQueue", ["3", "9", "queue:1"]),
        ("ToGroup", ["1", "9"]),
        ("ToAll", ["1", "9"]),
        ("ToSome", ["9"]),
    ],
)
def test_references_to_what_is_out_of_sight_are_refused_like_those_to_nothing(
    name: str, values: list[Parameter]
) -> None:
    expected = (ErrorCode.REFERENCE_UNKNOWN, {"parameter": name})
    assert [parameters({name: value}) for value in values] == [expected] * len(values)


def test_a_present_reference_out_of_sight_may_stay_or_go() -> None:
    assert parameters({"ToQueue": "9"}, present={"ToQueue": "9"}) is None
    assert parameters({"ToQueue": None}, present={"ToQueue": "9"}) is None
    assert parameters({"ToQueue": "9"}, present={"ToSome": "9"}) == (
        ErrorCode.REFERENCE_UNKNOWN,
        {"parameter": "ToQueue"},
    )


def test_what_is_there_may_stay_and_the_default_may_come_back_whatever_they_are() -> None:
    assert parameters({"Floor": 2}, present={"Floor": 2}) is None
    assert parameters({"Floor": 2}, present={"Floor": 4}) is not None
    assert parameters({"Open": 1}, present={"Open": True}) is not None, "1 is not True"


@pytest.mark.parametrize("name", ["Priority", "Share", "Open", "Note", "Order", "ToQueue"])
def test_whether_nothing_is_a_value_is_left_to_oscc_e(name: str) -> None:
    assert parameters({name: None}) is None


def test_members_of_a_list_are_judged_one_by_one() -> None:
    present: dict[str, Parameter] = {"Order": ("old",), "ToQueue": ("1",)}
    assert parameters({"Order": ("old", "new", None), "ToQueue": ("2", "1")}, present=present) is None
    assert parameters({"Order": ("OLD",)}, present=present) is not None
    assert parameters({"ToQueue": ("1", "99")}, present=present) == (
        ErrorCode.REFERENCE_UNKNOWN,
        {"parameter": "ToQueue"},
    )


@pytest.mark.parametrize("name", ["Nothing", "priority", ""])
def test_parameters_that_do_not_exist_are_refused(name: str) -> None:
    assert parameters({"Open": True, name: 5}) == (ErrorCode.PARAMETER_UNKNOWN, {"parameter": name})


def test_parameters_that_cannot_be_changed_are_refused_whatever_the_value() -> None:
    for value in (1, "x", None):
        assert parameters({"Fixed": value}) == (ErrorCode.PARAMETER_READ_ONLY, {"parameter": "Fixed"})


def test_queues_and_groups_have_their_own() -> None:
    assert parameters({"Priority": 150}, Kind.GROUP) is None
    assert parameters({"Priority": 5}, Kind.GROUP) == (
        ErrorCode.VALUE_OUT_OF_RANGE,
        {"parameter": "Priority", "min": 100, "max": 200, "unit": None},
    )
    assert parameters({"Open": True}, Kind.GROUP) == (ErrorCode.PARAMETER_UNKNOWN, {"parameter": "Open"})


def test_every_change_is_checked() -> None:
    assert parameters({}) is None
    assert parameters({"Priority": 5, "Open": True, "ToQueue": "1"}) is None
    assert parameters({"Priority": 5, "Open": True, "ToQueue": "9"}) is not None


def test_parameters_that_are_not_told_yet_are_left_to_the_server() -> None:
    assert refused(lambda: check_parameters({"x": 5}, Kind.QUEUE, {}, SCOPE, NOTHING)) is None
