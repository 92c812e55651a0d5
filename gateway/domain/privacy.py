"""Privacy classes of fields.

Every field of a value that travels carries its class, from which the data inventory and the
log rules are derived; a field without one fails the build.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, Final


class Privacy(enum.StrEnum):
    """How a field may be handled."""

    NEUTRAL = "neutral"
    PERSONAL = "personal"
    REALTIME = "realtime"
    CREDENTIAL = "credential"


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
