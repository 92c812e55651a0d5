"""Plain mappings of values for the wire.

Dataclasses become mappings, tuples lists, enumerations their values. A field is left out when
its value and its default are both None, or both False: an absent field means its default. A
field without a default, or marked :data:`~gateway.protocol.frames.ALWAYS_WRITTEN`, stands there
as null when it has no value. Members of a mapping are data, not fields: their nulls stay.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, NamedTuple, cast

from gateway.protocol.frames import ALWAYS_WRITTEN

Plain = dict[str, object]
"""What JSON and msgpack can write: strings, numbers, booleans, None, lists, and such mappings."""

_SCALARS: Final = frozenset({str, int, bool, float, type(None)})
_NEVER_LEFT_OUT: Final = object()


class _Shape(NamedTuple):
    """How values of one dataclass are taken apart."""

    names: tuple[str, ...]
    values: Callable[[object], tuple[object, ...]]
    left_out: tuple[object, ...]
    """Of each field the value that is left out."""


class _Shapes(dict[type, _Shape]):
    """The shape of each type, made when first asked for; as many as the protocol has dataclasses."""

    def __missing__(self, of: type[Any]) -> _Shape:
        listed = sorted(dataclasses.fields(of), key=lambda field: field.name != "kind")
        names = tuple(field.name for field in listed)
        made = _Shape(names, _getter(names), tuple(_left_out(field) for field in listed))
        self[of] = made
        return made


_SHAPES: Final = _Shapes()


def plain(value: object) -> object:
    """Return what stands for *value* on the wire."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is tuple or kind is list:
        return [plain(member) for member in cast("tuple[object, ...]", value)]
    if kind is dict:
        return {key: plain(member) for key, member in cast("Plain", value).items()}
    if isinstance(value, enum.Enum):
        return value.value
    return fields(value)


def fields(value: object) -> Plain:
    """Return the mapping that stands for the dataclass *value*; its `kind`, if it has one, comes first."""
    names, values, left_out = _SHAPES[type(value)]
    return {
        name: member if type(member) in _SCALARS else plain(member)
        for name, member, default in zip(names, values(value), left_out, strict=True)
        if member is not default
    }


def changed_fields(before: object, after: object) -> Plain:
    """Return the fields of *after* that differ from *before*, of the same type; cleared ones are None."""
    names, values, _ = _SHAPES[type(after)]
    return {
        name: new if type(new) in _SCALARS else plain(new)
        for name, old, new in zip(names, values(before), values(after), strict=True)
        if new is not old and new != old
    }


def _left_out(field: dataclasses.Field[Any]) -> object:
    if ALWAYS_WRITTEN in field.metadata or (field.default is not None and field.default is not False):
        return _NEVER_LEFT_OUT
    return field.default


def _getter(names: tuple[str, ...]) -> Callable[[object], tuple[object, ...]]:
    if len(names) > 1:
        return cast("Callable[[object], tuple[object, ...]]", attrgetter(*names))
    only = attrgetter(*names)
    return lambda value: (only(value),)
