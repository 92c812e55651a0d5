"""Are the values of a command among those that OSCC-E declared?

Skills with their levels, reasons with their kinds, routing parameters with their types and
bounds; steps are a hint for editors, and not checked. What depends on more than one resource
(cycles, contradictions) only OSCC-E can judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.core.declared import Declared
from gateway.domain.catalogue import Parameter, Reason, ReasonKind, RoutingParameter, Scalar
from gateway.domain.commands import SetAgentRoutingState, SetRoutingState, SetSkills
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Kind, Scope, parse_key
from gateway.domain.resources import Agent

_REASON_KINDS: Final[Mapping[str, ReasonKind]] = {"unavailable": "unavailable", "work": "work"}
"""Routing state → the kind of its reasons; the other states have none."""
_REFERENCES: Final[Mapping[str, Kind]] = {
    f"{word}{ending}": kind
    for word, kind in {
        "user": Kind.AGENT,
        "queue": Kind.QUEUE,
        "group": Kind.GROUP,
        "aggregate": Kind.AGGREGATE,
    }.items()
    for ending in ("", "_key", "_reference")
}
"""Data type → the kind of resource that its values name. The link's page names no data types."""
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "enum": (str,),
}
"""Data type → what its values are here; of a type that is not known OSCC-E judges."""


def check_skills(command: SetSkills, declared: Declared) -> None:
    """Refuse skills that are named twice or do not exist, and levels and preferences out of range.

    Raises:
        GatewayError: ``duplicate_skill``, ``skill_unknown``, ``level_out_of_range``,
            ``preference_out_of_range``; all tell which skill.
    """
    named: set[str] = set()
    for change in command.changes:
        if change.skill_id in named:
            raise GatewayError(ErrorCode.DUPLICATE_SKILL, "A skill is named twice.", skill_id=change.skill_id)
        named.add(change.skill_id)
    known = declared.skills
    if known is None:
        return
    for change in command.changes:
        skill = known.get(change.skill_id)
        if skill is None:
            raise GatewayError(ErrorCode.SKILL_UNKNOWN, "There is no such skill.", skill_id=change.skill_id)
        if _is_outside(change.level, skill.level_min, skill.level_max):
            raise GatewayError(
                ErrorCode.LEVEL_OUT_OF_RANGE,
                "The level is out of range.",
                skill_id=skill.skill_id,
                min=skill.level_min,
                max=skill.level_max,
            )
        if _is_outside(change.preference, skill.preference_min, skill.preference_max):
            raise GatewayError(
                ErrorCode.PREFERENCE_OUT_OF_RANGE,
                "The preference is out of range.",
                skill_id=skill.skill_id,
                min=skill.preference_min,
                max=skill.preference_max,
            )


def check_reason(
    command: SetAgentRoutingState | SetRoutingState, present: Agent | None, declared: Declared
) -> None:
    """Refuse a reason that does not exist or belongs to another state, and a state that lacks one.

    The present state asked for again needs no reason: nothing changes. A reason belongs to the
    state of its kind, and to those that need it.

    Raises:
        GatewayError: ``reason_required``, ``reason_unknown``, ``reason_wrong_kind``.
    """
    known, wanted = declared.reasons, command.reason_id
    if known is None or _is_present(command, present):
        return
    if wanted is None:
        if any(command.state in reason.required_for for reason in known.values()):
            raise GatewayError(ErrorCode.REASON_REQUIRED, "This state needs a reason.")
        return
    reason = _known(wanted, known)
    if reason.kind != _REASON_KINDS.get(command.state) and command.state not in reason.required_for:
        raise GatewayError(ErrorCode.REASON_WRONG_KIND, "The reason does not belong to this state.")


def check_wrap_up(reason_ids: tuple[str, ...], declared: Declared) -> None:
    """Refuse wrap-up reasons that do not exist or are of another kind.

    Raises:
        GatewayError: ``reason_unknown``, ``reason_wrong_kind``.
    """
    known = declared.reasons
    if known is not None:
        for reason_id in reason_ids:
            if _known(reason_id, known).kind != "wrapup":
                raise GatewayError(ErrorCode.REASON_WRONG_KIND, "The reason is none to wrap up with.")


def check_parameters(
    changes: Mapping[str, Parameter],
    kind: Kind,
    present: Mapping[str, Parameter],
    scope: Scope,
    declared: Declared,
) -> None:
    """Refuse parameters that do not exist or cannot be changed, and values of the wrong type or size.

    Args:
        changes: By name.
        kind: Of the resource they are for.
        present: Its parameters now. What is there may stay, whatever it is, and so may the default.
        scope: What the session may see, and so refer to.
        declared: The catalogue.

    Raises:
        GatewayError: ``parameter_unknown``, ``parameter_read_only``, ``wrong_type``,
            ``value_out_of_range``, ``reference_unknown``; all tell which parameter.
    """
    known = declared.parameters(kind)
    if known is None:
        return
    for name, value in changes.items():
        parameter = known.get(name)
        if parameter is None:
            raise _refusal(ErrorCode.PARAMETER_UNKNOWN, "There is no such routing parameter.", name)
        if parameter.read_only:
            raise _refusal(ErrorCode.PARAMETER_READ_ONLY, "The routing parameter cannot be changed.", name)
        legal = (present.get(name), parameter.default)
        if any(_is_same(value, each) for each in legal):
            continue
        holds_one = parameter.data_type in _TYPES or parameter.data_type in _REFERENCES
        if holds_one and isinstance(value, tuple) and not any(isinstance(each, tuple) for each in legal):
            raise _wrong_type(parameter)
        _check_value(parameter, value, scope)


def _check_value(parameter: RoutingParameter, value: Parameter, scope: Scope) -> None:
    """Check a value, or each member of a list; of null OSCC-E judges."""
    for member in value if isinstance(value, tuple) else (value,):
        if member is not None:
            _check_member(parameter, member, scope)


def _check_member(parameter: RoutingParameter, value: Scalar, scope: Scope) -> None:
    referred = _REFERENCES.get(parameter.data_type)
    if referred is not None:
        _check_reference(parameter.name, value, referred, scope)
    elif type(value) not in _TYPES.get(parameter.data_type, (type(value),)):
        raise _wrong_type(parameter)
    listed = parameter.values
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if not _is_outside(number, parameter.min, parameter.max) and (listed is None or value in listed):
        return
    raise GatewayError(
        ErrorCode.VALUE_OUT_OF_RANGE,
        "The value is out of range.",
        parameter=parameter.name,
        min=parameter.min,
        max=parameter.max,
        unit=parameter.unit,
    )


def _check_reference(name: str, value: Scalar, kind: Kind, scope: Scope) -> None:
    """Refuse what is no id, and the id of what is out of sight, which is told like what does not exist."""
    if not isinstance(value, str):
        raise _refusal(ErrorCode.WRONG_TYPE, "The value must be an id, or null.", name)
    parsed = parse_key(f"{kind}:{value}")
    if parsed is None or parsed[1] not in scope.of(kind):
        raise _refusal(ErrorCode.REFERENCE_UNKNOWN, "The value names an object that does not exist.", name)


def _is_same(one: Parameter, other: Parameter) -> bool:
    """Tell equal values of one type: True is not 1."""
    return type(one) is type(other) and one == other


def _wrong_type(parameter: RoutingParameter) -> GatewayError:
    message = f"The value must be of the type {parameter.data_type}."
    return _refusal(ErrorCode.WRONG_TYPE, message, parameter.name)


def _known(reason_id: str, known: Mapping[str, Reason]) -> Reason:
    reason = known.get(reason_id)
    if reason is None:
        raise GatewayError(ErrorCode.REASON_UNKNOWN, "There is no such reason.")
    return reason


def _is_present(command: SetAgentRoutingState | SetRoutingState, present: Agent | None) -> bool:
    return (
        present is not None
        and present.routing_state == command.state
        and command.reason_id in {None, present.reason_id}
    )


def _is_outside(value: float | None, low: float | None, high: float | None) -> bool:
    if value is None:
        return False
    return (low is not None and value < low) or (high is not None and value > high)


def _refusal(code: ErrorCode, message: str, parameter: str) -> GatewayError:
    return GatewayError(code, message, parameter=parameter)
