"""Read unusual but valid JSON of a server.

JSON has one kind of number (RFC 8259 §6), so 10.0 and 1E2 are integers; and a text may contain half of a
character (§8.2), which no encoding can carry. Typed decoders accept neither. A message that cannot be read
is rewritten and read once more; one that can be read costs nothing.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Final, TypeVar

from gateway.upstream.wire_errors import UNREADABLE
from gateway.upstream.wire_names import MOST

T = TypeVar("T")

_TOKEN: Final = re.compile(
    r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)'
    r"|(?<![-+.0-9eE])-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)(?![-+.0-9eE])",
    re.DOTALL,
)
"""A text, also one that does not end; or a number that is not written as an integer."""
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""Two halves of a character, one (the group), or anything else that is escaped."""


FIGURES_MOST: Final = 64
"""So many figures of one object are dropped; with more it cannot be read."""
GREATEST: Final = 1e12
"""No figure is beyond it: in seconds it is 30,000 years."""
_INTEGER_DIGITS: Final = 400
_PLACE: Final = re.compile(r" - at `\$(.*)`$")
_STEP: Final = re.compile(r"\.(\w+)|\[([0-9]+)\]")


def read_as_meant(read: Callable[[str | bytes], T], text: str | bytes) -> T:
    """Return what *read* makes of *text*, or else of what it means.

    Raises:
        Exception: Whatever *read* raises on what cannot be read either way.
    """
    try:
        return read(text)
    except UNREADABLE:
        meant = as_meant(text)
        if meant is None:
            raise
    return read(meant)


def read_without_giants(read: Callable[[bytes], T], raw: bytes) -> tuple[T, int] | None:
    """Return what *read* makes of an object once figures that nobody can be told are null, and how many.

    A figure is what is read as a number; a Key that is no Key stays one that cannot be read. None: the
    object cannot be read either way.
    """
    try:
        told = json.loads(raw, parse_int=_number, parse_float=_number, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    for giants in range(FIGURES_MOST + 1):
        try:
            return read(json.dumps(told).encode()), giants
        except UNREADABLE as fault:
            if not _drop_giant(told, str(fault)):
                return None
    return None


def _drop_giant(told: object, fault: str) -> bool:
    """Make the figure null that *fault* names, if it is beyond all that a figure can be."""
    place = _PLACE.search(fault)
    steps = [] if place is None else _STEP.findall(place[1])
    for at, (name, index) in enumerate(steps):
        step = name or int(index)
        try:
            value = told[step]  # type: ignore[index] # where it has no such place, there is nothing to drop
        except (LookupError, TypeError):
            return False
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if at == len(steps) - 1 and is_number and abs(value) > GREATEST:
            told[step] = None  # type: ignore[index] # it was found there
            return True
        told = value
    return False


def _number(token: str) -> int | float:
    """Read a number of any size; one beyond all floats is the greatest."""
    number = int(token) if len(token) < _INTEGER_DIGITS and token.lstrip("-").isdigit() else float(token)
    return max(-sys.float_info.max, min(number, sys.float_info.max)) if isinstance(number, float) else number


def _no_number(token: str) -> None:
    raise ValueError(f"JSON has no {token}")


def as_meant(text: str | bytes) -> str | None:
    """Return *text* with integers written as such, and a control character for each half of a character.

    None when it has neither: then it is what it is. A control character is dropped where a text is shown,
    and a name with one is no name.
    """
    try:
        written = text if isinstance(text, str) else text.decode()
    except UnicodeDecodeError:
        return None
    meant = _TOKEN.sub(_token, written)
    return None if meant == written else meant


def _token(found: re.Match[str]) -> str:
    token = found[0]
    if token[0] == '"':
        return _ESCAPE.sub(_escape, token) if "\\u" in token else token
    number = float(token)
    return str(int(number)) if abs(number) <= MOST and number.is_integer() else token


def _escape(found: re.Match[str]) -> str:
    return found[0] if found[1] is None else "\\u0000"
