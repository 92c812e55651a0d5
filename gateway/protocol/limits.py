"""Limits of frames: size, depth and numbers.

One set of rules for both encodings, so that what is refused in one is refused in the other:
size, depth, integers that not every client can hold (RFC 8259 §6), NaN and infinities, lone
surrogates, keys that are no strings, keys that come twice, values that JSON has not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from gateway.protocol.frames import INT_MAX

BYTES_IN_MAX: Final = 16 * 1024
"""Largest frame that a phone may send."""
BYTES_OUT_MAX: Final = 256 * 1024
"""Largest frame that the gateway sends."""
DEPTH_MAX: Final = 16
"""Objects and arrays inside each other, the frame itself counted."""
ID_CHARS_MAX: Final = 128

TOO_BIG: Final = 1009
INVALID_TEXT: Final = 1007

_TOO_DEEP: Final = "nested too deeply"


class BadFrame(Exception):  # noqa: N818 - names what came, as the protocol's page does
    """Bytes that are no frame. Its text never holds what was in them.

    Args:
        reason: A few plain words.
        close_code: How RFC 6455 §7.4.1 closes for it; None when the session answers ``bad_request``.
        frame_id: The `id` of the frame, as far as there was one.
    """

    def __init__(self, reason: str, close_code: int | None = None, frame_id: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.close_code = close_code
        self.frame_id = frame_id


class UnknownKind(BadFrame):
    """A well-formed object of a kind that this version does not have; clients ignore it."""


def check_size(data: bytes, size_bytes: int) -> None:
    """Refuse *data* longer than *size_bytes*.

    Raises:
        BadFrame: Close with 1009.
    """
    if len(data) > size_bytes:
        raise BadFrame("frame is too big", TOO_BIG)


def unique(pairs: Iterable[tuple[object, object]]) -> dict[str, object]:
    """Make an object of its members.

    Raises:
        BadFrame: A key is no string, or comes twice.
    """
    members: dict[str, object] = {}
    for key, value in pairs:
        if type(key) is not str:
            raise BadFrame("a key is not a string")
        if key in members:
            raise BadFrame("a key comes twice")
        members[key] = value
    return members


def check_value(value: object) -> None:
    """Refuse a decoded *value* that breaks a rule anywhere inside. Its depth was checked before it was built.

    Raises:
        BadFrame: With the rule that it breaks.
    """
    kind = type(value)
    if kind is str:
        _check_text(value)  # type: ignore[arg-type]  # its exact type was compared
    elif kind is dict:
        for key, member in value.items():  # type: ignore[attr-defined]  # as above
            _check_text(key)
            check_value(member)
    elif kind is list:
        for member in value:  # type: ignore[attr-defined]  # as above
            check_value(member)
    else:
        _check_scalar(value)


def frame_id(value: object) -> str | None:
    """Return the `id` of a frame that is otherwise bad, for the answer that refuses it."""
    if not isinstance(value, dict):
        return None
    found = value.get("id")
    if not isinstance(found, str) or not 0 < len(found) <= ID_CHARS_MAX or not _is_unicode(found):
        return None
    return found


def _check_text(text: str) -> None:
    if not _is_unicode(text):
        raise BadFrame("a lone surrogate")


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_scalar(value: object) -> None:
    match value:
        case None | bool():
            return
        case int():
            if not -INT_MAX <= value <= INT_MAX:
                raise BadFrame("an integer is out of range")
        case float():
            if not math.isfinite(value):
                raise BadFrame("a number is not finite")
        case _:
            raise BadFrame("a value of a type that frames do not have")


# ---- depth, before anything is built ----

_JSON_NESTING: Final = re.compile(rb'"(?:[^"\\]+|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""Strings, ended or not (so that each byte is looked at once), and what opens and closes."""


def check_json_depth(data: bytes) -> None:
    """Refuse JSON that opens too many objects and arrays inside each other, without building any.

    Raises:
        BadFrame: It is too deep.
    """
    if data.count(b"{") + data.count(b"[") <= DEPTH_MAX:
        return
    depth = 0
    for found in _JSON_NESTING.finditer(data):
        match data[found.start()]:
            case 0x7B | 0x5B:  # { [
                depth += 1
                if depth > DEPTH_MAX:
                    raise BadFrame(_TOO_DEEP)
            case 0x7D | 0x5D:  # } ]
                depth -= 1


_MSGPACK_OPENS: Final = frozenset([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])
"""Heads of maps and arrays."""
_MSGPACK_OTHERS: Final = bytes(head for head in range(256) if head not in _MSGPACK_OPENS)
_SCALAR_BYTES: Final = {
    0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9,
    0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18,
}  # fmt: skip
"""Head → length of the whole value: floats, integers, fixext."""
_LENGTH_BYTES: Final = {
    0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4,
    0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4,
}  # fmt: skip
"""Head → width of the length that follows: bin, ext, str, array, map."""


def check_msgpack_depth(data: bytes) -> None:
    """Refuse msgpack that opens too many maps and arrays inside each other, without building any.

    A header of five bytes can ask for four billion elements, so this looks before memory is allocated.

    Raises:
        BadFrame: It is too deep.
    """
    if len(data.translate(None, _MSGPACK_OTHERS)) <= DEPTH_MAX:
        return
    waiting: list[int] = []
    at, end = 0, len(data)
    while at < end:
        at, children = _step(data, at)
        if children is not None and len(waiting) == DEPTH_MAX:
            raise BadFrame(_TOO_DEEP)
        if children:
            waiting.append(children)
            continue
        while waiting:
            waiting[-1] -= 1
            if waiting[-1]:
                break
            waiting.pop()


def _step(data: bytes, at: int) -> tuple[int, int | None]:
    """Return where the value at *at* ends without its children, and how many it has; None: can have none."""
    head = data[at]
    if head < 0x80 or head >= 0xE0:  # fixint
        return at + 1, None
    if head < 0xA0:  # fixmap, fixarray
        return at + 1, (head & 0x0F) * (2 if head < 0x90 else 1)
    if head < 0xC0:  # fixstr
        return at + 1 + (head & 0x1F), None
    width = _LENGTH_BYTES.get(head)
    if width is None:
        return at + _SCALAR_BYTES.get(head, 1), None
    length = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    at += 1 + width
    if head >= 0xDE:
        return at, 2 * length
    if head >= 0xDC:
        return at, length
    return at + length + (1 if 0xC7 <= head <= 0xC9 else 0), None
