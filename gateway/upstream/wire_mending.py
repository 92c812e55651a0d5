"""What did a server mean that writes JSON otherwise than most do?

JSON knows one kind of number (RFC 8259 §6), so 10.0 and 1E2 are integers; and it lets a text hold half of a
character (§8.2), which no encoding can carry. Whoever reads JSON into types takes neither. What cannot be
read is written anew and read once more; what can be read costs nothing.
"""

from __future__ import annotations

import re
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
