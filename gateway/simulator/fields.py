"""Read fields of request bodies, and refuse one that is missing or of a wrong type.

A missing or wrong field is a ``BadRequest``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from gateway.simulator.errors import Refused

ChoiceT = TypeVar("ChoiceT", bound=str)
Body = Mapping[str, object]
TEXT_LIMIT = 1024
"""Characters of any text in a request."""
LIST_LIMIT = 100_000
"""Members of any list in a request."""


def integer(body: Body, name: str) -> int:
    """Return a whole number."""
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused("BadRequest", Field=name)
    return value


def optional_integer(body: Body, name: str) -> int | None:
    """Return a whole number, or None when it is absent or null."""
    return None if body.get(name) is None else integer(body, name)


def text(body: Body, name: str) -> str:
    """Return a bounded text."""
    value = body.get(name)
    if not isinstance(value, str) or len(value) > TEXT_LIMIT:
        raise Refused("BadRequest", Field=name)
    return value


def optional_text(body: Body, name: str) -> str | None:
    """Return a bounded text, or None when it is absent or null."""
    return None if body.get(name) is None else text(body, name)


def one_of(body: Body, name: str, choices: tuple[ChoiceT, ...]) -> ChoiceT:
    """Return one of *choices*."""
    value = body.get(name)
    for choice in choices:
        if value == choice:
            return choice
    raise Refused("BadRequest", Field=name)


def flag(body: Body, name: str, *, default: bool | None = None) -> bool:
    """Return true or false; *default* when it is absent."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise Refused("BadRequest", Field=name)
    return value


def integers(body: Body, name: str) -> list[int]:
    """Return a bounded list of whole numbers."""
    value = body.get(name)
    if not isinstance(value, list) or len(value) > LIST_LIMIT:
        raise Refused("BadRequest", Field=name)
    if any(not isinstance(each, int) or isinstance(each, bool) for each in value):
        raise Refused("BadRequest", Field=name)
    return value


def mapping(body: Body, name: str) -> Body:
    """Return an object."""
    value = body.get(name)
    if not isinstance(value, dict):
        raise Refused("BadRequest", Field=name)
    return value


def mappings(body: Body, name: str) -> list[Body]:
    """Return a bounded list of objects."""
    value = body.get(name)
    if not isinstance(value, list) or len(value) > LIST_LIMIT:
        raise Refused("BadRequest", Field=name)
    if any(not isinstance(each, dict) for each in value):
        raise Refused("BadRequest", Field=name)
    return value
