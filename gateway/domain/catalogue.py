"""Catalogues of a contact centre: skills, reasons, routing parameters.

Catalogues are resources like the others: immutable values whose fields carry a privacy class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.domain.model import neutral

Scalar = bool | int | float | str | None
Parameter = Scalar | tuple[Scalar, ...]
"""Value of a routing parameter; references to other objects are id strings."""


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill that agents may have, with its bounds."""

    skill_id: str = neutral()
    name: str | None = neutral()
    level_min: int | None = neutral()
    level_max: int | None = neutral()
    preference_min: int | None = neutral()
    preference_max: int | None = neutral()


@dataclass(frozen=True, slots=True)
class Skills:
    """The catalogue of skills."""

    skills: tuple[Skill, ...] = neutral(many=True)


ReasonKind = Literal["unavailable", "work", "post_processing", "wrapup"]


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason that agents may give for a state. A state needs one when any reason lists it."""

    reason_id: str = neutral()
    kind: ReasonKind = neutral()
    name: str | None = neutral()
    required_for: tuple[str, ...] = neutral(many=True)


@dataclass(frozen=True, slots=True)
class Reasons:
    """The catalogue of reasons."""

    reasons: tuple[Reason, ...] = neutral(many=True)


@dataclass(frozen=True, slots=True)
class RoutingParameter:
    """A routing parameter of queues or groups, with its type and bounds."""

    name: str = neutral()
    applies_to: str = neutral()
    data_type: str = neutral()
    min: float | None = neutral()
    max: float | None = neutral()
    step: float | None = neutral()
    values: tuple[Parameter, ...] | None = neutral()
    unit: str | None = neutral()
    read_only: bool | None = neutral()
    default: Parameter = neutral()


@dataclass(frozen=True, slots=True)
class RoutingParameters:
    """The catalogue of routing parameters."""

    parameters: tuple[RoutingParameter, ...] = neutral(many=True)
