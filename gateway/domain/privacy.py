"""Privacy classes of fields.

Every field of a value that travels carries its class, from which the data inventory and the
log rules are derived; a field without one fails the build.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any, Final, TypeVar, dataclass_transform

T = TypeVar("T")


class Privacy(enum.StrEnum):
    """How a field may be handled."""

    NEUTRAL = "neutral"
    PERSONAL = "personal"
    REALTIME = "realtime"
    CREDENTIAL = "credential"


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def value(*, eq: bool = True) -> Callable[[type[T]], type[T]]:
    """Make a class whose instances never change: a frozen dataclass to the type checker.

    Nothing guards its fields at run time, since a guard makes an instance of 24 fields cost four times as
    much, and each update makes some.
    """
    return dataclasses.dataclass(slots=True, eq=eq, unsafe_hash=eq)


def _of(privacy: Privacy, *, many: bool, shown: bool = True) -> Any:  # noqa: ANN401 - dataclasses.field returns Any by design
    default: object = () if many else None
    return dataclasses.field(default=default, repr=shown, metadata={"privacy": privacy})


def neutral(*, many: bool = False) -> Any:  # noqa: ANN401 - as _of
    """Declare a field that says nothing about a person."""
    return _of(Privacy.NEUTRAL, many=many)


def personal(*, many: bool = False, shown: bool = True) -> Any:  # noqa: ANN401 - as _of
    """Declare a field that identifies or describes a person. *shown*: whether a repr shows it."""
    return _of(Privacy.PERSONAL, many=many, shown=shown)


def realtime(*, many: bool = False) -> Any:  # noqa: ANN401 - as _of
    """Declare a field that says what goes on right now; never stored anywhere."""
    return _of(Privacy.REALTIME, many=many)


_MASK_SHOWS: Final = 3


def masked(number: str) -> str:
    """Return a remote number with all but its last three characters hidden; a short one wholly."""
    hidden = len(number) - _MASK_SHOWS
    return "*" * hidden + number[hidden:] if hidden > 0 else "*" * _MASK_SHOWS
