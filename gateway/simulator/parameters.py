"""Routing parameters of queues and groups, and the rules for changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from gateway.simulator.errors import Refused
from gateway.simulator.model import Json, Queue, Value

DataType = Literal["Integer", "Number", "Boolean", "String", "Enum", "QueueReference"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One routing parameter: its type, bounds and default."""

    name: str
    applies_to: Literal["Queue", "Group"]
    data_type: DataType
    default: Value
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    values: tuple[str, ...] | None = None
    unit: str | None = None
    read_only: bool = False

    def as_json(self) -> Json:
        """Return the directory object."""
        optional = {
            "Min": self.minimum,
            "Max": self.maximum,
            "Step": self.step,
            "Values": self.values,
            "Unit": self.unit,
        }
        return {
            "Name": self.name,
            "AppliesTo": self.applies_to,
            "DataType": self.data_type,
            **{name: value for name, value in optional.items() if value is not None},
            "ReadOnly": self.read_only,
            "Default": self.default,
        }


def _seconds(name: str, default: int, low: int, high: int) -> Parameter:
    return Parameter(name, "Queue", "Integer", default, low, high, 5, unit="s")


PARAMETERS: Final[tuple[Parameter, ...]] = (
    _seconds("ServiceLevelThreshold", 20, 5, 600),
    _seconds("OverflowAfter", 60, 5, 3600),
    Parameter("OverflowQueue", "Queue", "QueueReference", None),
    Parameter("Priority", "Queue", "Integer", 5, 1, 10, 1),
    Parameter("AttentionContacts", "Queue", "Integer", 3, 1, 500, 1),
    Parameter("ActionContacts", "Queue", "Integer", 8, 1, 500, 1),
    Parameter("WrapupReasonRequired", "Queue", "Boolean", False),
    Parameter("Announcement", "Queue", "String", ""),
    Parameter("Distribution", "Queue", "Enum", "LongestIdle", values=("LongestIdle", "BestSkilled")),
    Parameter("TargetOccupancy", "Queue", "Number", 85.0, 10.0, 100.0, 0.5, unit="%"),
    Parameter("SchedulingVersion", "Queue", "String", "S1", read_only=True),
    Parameter("MaximumCallsWaiting", "Group", "Integer", 50, 0, 500, 1),
    Parameter("OverflowEnabled", "Group", "Boolean", True),
)

STRING_LIMIT = 200
"""Characters in a parameter of type String."""


def defaults(applies_to: Literal["Queue", "Group"]) -> dict[str, Value]:
    """Return the values that a new queue or group starts with."""
    return {each.name: each.default for each in PARAMETERS if each.applies_to == applies_to}


def check(applies_to: Literal["Queue", "Group"], changes: Mapping[str, object]) -> dict[str, Value]:
    """Check each change by itself and return the typed values.

    Raises:
        Refused: ``ParameterUnknown``, ``ParameterReadOnly``, ``WrongType``, ``ValueOutOfRange``.
    """
    known = {each.name: each for each in PARAMETERS if each.applies_to == applies_to}
    checked: dict[str, Value] = {}
    for name, value in changes.items():
        parameter = known.get(name)
        if parameter is None:
            raise Refused("ParameterUnknown", Parameter=name)
        if parameter.read_only:
            raise Refused("ParameterReadOnly", Parameter=name)
        checked[name] = _typed(parameter, value)
    return checked


def check_together(
    queue: Queue, values: Mapping[str, Value], queues: Mapping[int, Queue], visible: frozenset[int]
) -> None:
    """Check what the queue would be with *values*, among all *queues*.

    Raises:
        Refused: ``ReferenceUnknown`` (also for a queue out of sight), ``OverflowCycle``,
            ``InconsistentParameters``.
    """
    target = values["OverflowQueue"]
    if target is not None and target != queue.parameters["OverflowQueue"] and target not in visible:
        raise Refused("ReferenceUnknown", Parameter="OverflowQueue")
    seen = {queue.key}
    while isinstance(target, int) and target in queues:
        if target in seen:
            raise Refused("OverflowCycle", Parameter="OverflowQueue")
        seen.add(target)
        target = queues[target].parameters["OverflowQueue"]
    if _number(values["AttentionContacts"]) > _number(values["ActionContacts"]):
        raise Refused("InconsistentParameters", Parameter="AttentionContacts")


def _typed(parameter: Parameter, value: object) -> Value:
    match parameter.data_type, value:
        case "Boolean", bool():
            return value
        case "String", str() if len(value) <= STRING_LIMIT:
            return value
        case "Enum", str():
            if parameter.values is not None and value in parameter.values:
                return value
            raise Refused("ValueOutOfRange", Parameter=parameter.name, Values=parameter.values)
        case "QueueReference", None:
            return None
        case (("Integer" | "QueueReference"), int()) if not isinstance(value, bool):
            return _bounded(parameter, value)
        case "Number", (int() | float()) if not isinstance(value, bool):
            return _bounded(parameter, value)
        case _:
            raise Refused("WrongType", Parameter=parameter.name, DataType=parameter.data_type)


def _bounded(parameter: Parameter, value: float) -> float:
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None and not low <= value <= high:
        raise Refused("ValueOutOfRange", Parameter=parameter.name, Min=low, Max=high)
    return value


def _number(value: Value) -> float:
    return value if isinstance(value, int | float) else 0
