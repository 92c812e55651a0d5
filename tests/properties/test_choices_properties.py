"""Whatever OSCC-E declared, a command passes exactly when its catalogues allow all that it says.

The model lists every fault of a command, by the page alone; the first one found must be among them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.commands import check_parameters, check_reason, check_skills, check_wrap_up
from gateway.domain.commands import SetAgentRoutingState, SetSkills, SkillChange
from gateway.domain.errors import GatewayError
from gateway.domain.model import REASONS, ROUTING_PARAMETERS, SKILLS, Kind, Scope
from gateway.domain.resources import (
    Agent,
    Parameter,
    Reason,
    Reasons,
    Resource,
    RoutingParameter,
    RoutingParameters,
    RoutingState,
    Scalar,
    Skill,
    Skills,
)
from tests.core.samples import declared

THOROUGH = settings(max_examples=max(150, settings().max_examples))


class Fault(NamedTuple):
    """What is wrong, and with which skill or parameter."""

    code: str
    what: object = None


def found(check: Callable[[], None]) -> Fault | None:
    """Return the refusal of a check, None when it lets pass."""
    try:
        check()
    except GatewayError as error:
        details = error.details
        return Fault(error.code.value, details.get("skill_id", details.get("parameter")))
    return None


def agrees(fault: Fault | None, faults: set[Fault]) -> bool:
    """Tell whether the one fault found is one of those that there are."""
    return fault in faults if faults else fault is None


def mirror(key: str, catalogue: Resource | None) -> dict[str, Resource]:
    """Return what a mirror holds when OSCC-E sent a catalogue, or none yet."""
    return {} if catalogue is None else {key: catalogue}


def within(value: float, low: float | None, high: float | None) -> bool:
    """Tell whether a value is between bounds, of which each may be missing."""
    return (float("-inf") if low is None else low) <= value <= (float("inf") if high is None else high)


# ---- skills ----

SMALL = st.integers(-1, 4)
BOUND = st.none() | SMALL
SKILL_IDS = st.sampled_from(["61", "62", "63", "061"])
SKILL = st.builds(Skill, SKILL_IDS, st.just("s"), BOUND, BOUND, BOUND, BOUND)
CHANGE = st.builds(SkillChange, SKILL_IDS, st.none() | SMALL, st.none() | SMALL, st.none() | st.booleans())


@THOROUGH
@given(
    skills=st.none() | st.lists(SKILL, unique_by=lambda skill: skill.skill_id).map(tuple),
    changes=st.lists(CHANGE, max_size=3).map(tuple),
)
def test_skills_pass_exactly_when_they_are_as_declared(
    skills: tuple[Skill, ...] | None, changes: tuple[SkillChange, ...]
) -> None:
    times = Counter(change.skill_id for change in changes)
    faults = {Fault("duplicate_skill", skill_id) for skill_id, count in times.items() if count > 1}
    for change in changes if skills is not None else ():
        same = [skill for skill in skills or () if skill.skill_id == change.skill_id]
        if not same:
            faults.add(Fault("skill_unknown", change.skill_id))
        for skill in same:
            if change.level is not None and not within(change.level, skill.level_min, skill.level_max):
                faults.add(Fault("level_out_of_range", skill.skill_id))
            if change.preference is not None and not within(
                change.preference, skill.preference_min, skill.preference_max
            ):
                faults.add(Fault("preference_out_of_range", skill.skill_id))
    received = declared("h", mirror(SKILLS, None if skills is None else Skills(skills)))
    assert agrees(found(lambda: check_skills(SetSkills("5", changes, "patch", 1), received)), faults)


# ---- reasons ----

REASON_IDS = st.sampled_from(["31", "32", "51", "031"])
STATES = st.sampled_from(["available", "unavailable", "work", "logged_off"])
REASON = st.builds(
    Reason,
    REASON_IDS,
    st.sampled_from(["unavailable", "work", "post_processing", "wrapup"]),
    st.just("r"),
    st.lists(STATES, max_size=2).map(tuple),
)
CATALOGUE = st.none() | st.lists(REASON, unique_by=lambda reason: reason.reason_id).map(
    lambda reasons: Reasons(tuple(reasons))
)
PRESENT = st.none() | st.builds(
    lambda state, reason_id: Agent(routing_state=RoutingState(state), reason_id=reason_id),
    STATES,
    st.none() | REASON_IDS,
)


@THOROUGH
@given(catalogue=CATALOGUE, state=STATES, reason_id=st.none() | REASON_IDS, present=PRESENT)
def test_a_state_passes_exactly_when_its_reason_is_one_of_its_own(
    catalogue: Reasons | None, state: str, reason_id: str | None, present: Agent | None
) -> None:
    listed = () if catalogue is None else catalogue.reasons
    stays = present is not None and present.routing_state == state
    faults: set[Fault] = set()
    if reason_id is None:
        if not stays and state in {needs for reason in listed for needs in reason.required_for}:
            faults.add(Fault("reason_required"))
    elif catalogue is not None and not (stays and present is not None and present.reason_id == reason_id):
        given_reasons = [reason for reason in listed if reason.reason_id == reason_id]
        if not given_reasons:
            faults.add(Fault("reason_unknown"))
        elif state not in {given_reasons[0].kind, *given_reasons[0].required_for}:
            faults.add(Fault("reason_wrong_kind"))
    command = SetAgentRoutingState("5", state, reason_id)  # type: ignore[arg-type]  # one of its words
    received = declared("h", mirror(REASONS, catalogue))
    assert agrees(found(lambda: check_reason(command, present, received)), faults)


@THOROUGH
@given(catalogue=CATALOGUE, reason_ids=st.lists(REASON_IDS, max_size=3).map(tuple))
def test_wrap_up_reasons_pass_exactly_when_they_are_declared_as_such(
    catalogue: Reasons | None, reason_ids: tuple[str, ...]
) -> None:
    kinds = {} if catalogue is None else {each.reason_id: each.kind for each in catalogue.reasons}
    faults = {
        Fault("reason_wrong_kind" if reason_id in kinds else "reason_unknown")
        for reason_id in reason_ids
        if catalogue is not None and kinds.get(reason_id) != "wrapup"
    }
    received = declared("h", mirror(REASONS, catalogue))
    assert agrees(found(lambda: check_wrap_up(reason_ids, received)), faults)


# ---- routing parameters ----

SAID: dict[str, list[Parameter]] = {
    "boolean": [True, False],
    "integer": [-1, 0, 1, 2, 3, 4],
    "number": [-1.5, 0.5, 1.0, 2.5],
    "string": ["0", "1", "2", "3", "01", "", "x", "queue:1"],
    "null": [None],
    "list": [(), ("1",), ("x", "1"), ("1", None, "3"), (1, 2.5)],
}
"""What a value is on the wire → such values."""
FITTING = {
    "boolean": {"boolean"}, "integer": {"integer"}, "number": {"integer", "number"}, "string": {"string"},
    "enum": {"string"}, "colour": set(SAID),
}  # fmt: skip
REFERENCES = {
    "user": "agents", "queue_reference": "queues", "group_key": "groups", "aggregate": "aggregates",
}  # fmt: skip
"""Data type → where in a scope the ids stand that its values may be."""
VALUES = st.one_of([st.sampled_from(values) for values in SAID.values()])


def changed(data_type: str) -> st.SearchStrategy[tuple[RoutingParameter, Parameter]]:
    """Return a strategy for a parameter and its new value, which is often of the right type."""
    fitting = FITTING.get(data_type, {"string"})
    right = st.sampled_from([value for of in sorted(fitting) for value in SAID[of]])
    parameter = st.builds(
        RoutingParameter,
        st.sampled_from(["a", "b"]),
        st.sampled_from(["queue"] * 7 + ["group"]),
        st.just(data_type),
        min=BOUND,
        max=BOUND,
        values=st.none() | st.lists(right, min_size=1, max_size=4).map(tuple),
        read_only=st.sampled_from([None, False] * 4 + [True]),
        default=st.one_of(st.none(), right, VALUES),
    )
    return st.tuples(parameter, st.booleans().flatmap(lambda fits: right if fits else VALUES))


CHANGES = st.sampled_from([*FITTING, *REFERENCES]).flatmap(changed)
SOME = st.frozensets(st.integers(0, 3), min_size=1, max_size=3)
SCOPES = st.builds(Scope, SOME, SOME, SOME, SOME)


def json_type(value: Parameter) -> str:
    text = json.dumps(value)
    if text[0] in '"[n':
        return {'"': "string", "[": "list", "n": "null"}[text[0]]
    if text[0] in "tf":
        return "boolean"
    return "number" if "." in text else "integer"


def fault_of(
    parameter: RoutingParameter, value: Parameter, present: dict[str, Parameter], scope: Scope
) -> str | None:
    """Return what is wrong with one change of a queue, by the page."""
    if parameter.applies_to != "queue":
        return "parameter_unknown"
    if parameter.read_only:
        return "parameter_read_only"
    legal = [parameter.default, present.get(parameter.name)]
    if json.dumps(value) in map(json.dumps, legal):
        return None
    if not isinstance(value, tuple):
        return fault_of_one(parameter, value, scope)
    if parameter.data_type != "colour" and not any(isinstance(each, tuple) for each in legal):
        return "wrong_type"
    return next(filter(None, (fault_of_one(parameter, each, scope) for each in value)), None)


def fault_of_one(parameter: RoutingParameter, value: Scalar, scope: Scope) -> str | None:
    """Return what is wrong with one value; whether there may be none only OSCC-E can tell."""
    of, referred = json_type(value), REFERENCES.get(parameter.data_type)
    if of == "null":
        return None
    if of not in ({"string"} if referred else FITTING[parameter.data_type]):
        return "wrong_type"
    if referred and value not in {str(number) for number in getattr(scope, referred)}:
        return "reference_unknown"
    is_number = of in {"integer", "number"}
    fits = not is_number or within(float(value), parameter.min, parameter.max)  # type: ignore[arg-type]  # a number
    listed = parameter.values is None or value in parameter.values
    return None if fits and listed else "value_out_of_range"


INNOCENT = RoutingParameter("innocent", "queue", "boolean")


@THOROUGH
@given(
    change=CHANGES,
    received=st.sampled_from([True] * 7 + [False]),
    holds=st.dictionaries(st.sampled_from(["a", "b"]), st.none() | VALUES),
    scope=SCOPES,
    last=st.booleans(),
)
def test_parameters_pass_exactly_when_their_values_are_as_declared(
    change: tuple[RoutingParameter, Parameter],
    received: bool,
    holds: dict[str, Parameter],
    scope: Scope,
    last: bool,
) -> None:
    parameter, value = change
    present = {name: value if held is None else held for name, held in holds.items()}
    fault = fault_of(parameter, value, present, scope) if received else None
    catalogue = RoutingParameters((parameter, INNOCENT)) if received else None
    of = declared("h", mirror(ROUTING_PARAMETERS, catalogue))
    changes = [(parameter.name, value), (INNOCENT.name, True)]
    in_order = dict(reversed(changes) if last else changes)
    refusal = found(lambda: check_parameters(in_order, Kind.QUEUE, present, scope, of))
    assert refusal == (None if fault is None else Fault(fault, parameter.name))
