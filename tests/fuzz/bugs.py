"""Which bugs must the inputs that are kept find?"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from unittest import mock

from gateway.protocol import json_form, limits, msgpack_form, websocket
from gateway.protocol.codec import JSON, MSGPACK, Codec
from tests.fuzz import oracles

Plant = Callable[[], AbstractContextManager[object]]

PARSER_BUGS: Final = {
    "reserved bits pass": ("if first & _RESERVED:", "if first & 0x10:"),
    "a mask is not asked for": ("if not second & _MASKED:", "if second > _MASKED + 200:"),
    "opcodes above are data": ("elif opcode > BINARY:", "elif opcode > 5:"),
    "control opcodes above are pongs": ("if opcode > PONG:", "if opcode > 13:"),
    "a message begins within another": ("elif self._fragments is not None:", "elif False:"),
    "pings come in fragments": ("    if not fin:  # §5.5", "    if not fin and opcode != PING:  # §5.5"),
    "long pings": ("if length > CONTROL_BYTES_MAX:", "if length > CONTROL_BYTES_MAX + 1:"),
    "lengths longer than need be": ("if size < (_LONG if", "if size + 1 < (_LONG if"),
    "lengths of 64 bits": ("if size >> 63:", "if size >> 64:"),
    "the size of fragments is not added": ("size + len(self._fragments or b\"\") >", "size >"),
    "a frame too many": ("self._between == FRAMES", "self._between - 1 == FRAMES"),
    "a byte is read ahead": ("if len(buffer) < end:", "if len(buffer) < end - 1:"),
    "a byte is left": ("del buffer[:end]", "del buffer[: end - 1]"),
    "half a head is a head": ("if len(buffer) < start:", "if len(buffer) < start - 1:"),
    "the mask of what is judged ahead does not turn": ("mask[turn:] + mask[:turn]", "mask"),
    "what was judged ahead is judged again": ("payload[self._judged :], is_last", "payload, is_last"),
    "what was judged is not forgotten": ("            self._judged = 0\n\n    def _read", "\n    def _read"),
    "binary fragments are judged": ("opcode == CONTINUATION and self._is_text", "opcode == CONTINUATION"),
    "a text never ends": ("decode(part, is_last)", "decode(part)"),
    "code 1004 travels": ("1000 <= code <= 1003", "1000 <= code <= 1004"),
    "code 1015 travels": ("1007 <= code <= 1014", "1007 <= code <= 1015"),
    "code 2999 travels": ("3000 <= code", "2999 <= code"),
    "code 5000 travels": ("code <= 4999", "code <= 5000"),
    "reasons are any bytes": ("payload[2:].decode()", "payload[2:].decode(errors='replace')"),
    "something follows a close": ("        self._end()  # §5.5.1", "        # §5.5.1"),
    "bytes behind the end are held": ("if not self._is_over:\n", "if self is not None:\n"),
    "pongs are pings": ("if opcode == PING:", "if opcode >= PING:"),
    "a whole message does not end the count": ("        self._between = 0\n        return", "        return"),
}  # fmt: skip
"""What is wrong with a parser → the place in its source, and what stands there."""


def planted(bug: str) -> ModuleType:
    """Return the parser with a bug."""
    old, new = PARSER_BUGS[bug]
    source = Path(str(websocket.__file__)).read_text("utf-8")
    assert source.count(old) == 1, f"the place of {bug!r} is gone"
    module = ModuleType("gateway.protocol.websocket_planted")
    with mock.patch.dict(
        "sys.modules", {module.__name__: module}
    ):  # where its dataclasses look for themselves
        exec(compile(source.replace(old, new), bug, "exec"), vars(module))  # noqa: S102 - our own source
    return module


def _parser(bug: str) -> AbstractContextManager[object]:
    return mock.patch.object(oracles, "websocket", planted(bug))


def _writes_no_zeros(codec: Codec) -> AbstractContextManager[object]:
    write: Callable[[Any], bytes] = codec._write
    return mock.patch.object(
        codec, "_write", lambda value: write({name: member for name, member in value.items() if member != 0})
    )


_SHARED: Final[dict[str, Plant]] = {
    "integers beyond 53 bits pass": partial(mock.patch.object, limits, "INT_MAX", 1 << 60),
    "values are not looked at": partial(mock.patch, "gateway.protocol.codec.check_value"),
}

BUGS: Final[dict[str, dict[str, Plant]]] = {
    "websocket": {bug: partial(_parser, bug) for bug in PARSER_BUGS},
    "json": {
        **_SHARED,
        "lone surrogates pass": partial(mock.patch.object, limits, "_is_unicode", lambda _: True),
        "keys come twice": partial(mock.patch.object, json_form, "_READER", json.JSONDecoder()),
        "depth is not looked at": partial(mock.patch.object, json_form, "check_json_depth"),
        "zeros are not written": partial(_writes_no_zeros, JSON),
    },
    "msgpack": {
        **_SHARED,
        "keys come twice": partial(mock.patch.object, msgpack_form, "unique", dict),
        "depth is not looked at": partial(mock.patch.object, msgpack_form, "check_msgpack_depth"),
        "binary values pass": partial(mock.patch.object, limits, "_check_scalar"),
        "zeros are not written": partial(_writes_no_zeros, MSGPACK),
    },
}
"""Name of a corpus → bugs, and how each is planted."""


def finds(name: str, data: bytes) -> bool:
    """Tell whether an oracle is broken by *data*."""
    try:
        oracles.ORACLES[name](data)
    except Exception:  # noqa: BLE001 - whatever it is, it is a finding
        return True
    return False


def finders(name: str, inputs: list[bytes]) -> dict[str, bytes]:
    """Return the first of *inputs* that finds each bug."""
    found: dict[str, bytes] = {}
    for bug, plant in BUGS[name].items():
        with plant():
            for data in inputs:
                if finds(name, data):
                    found[bug] = data
                    break
    return found
