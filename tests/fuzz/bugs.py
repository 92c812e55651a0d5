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

from gateway.edge import command_runner, credentials
from gateway.protocol import json_form, limits, msgpack_form, websocket
from gateway.protocol.codec import JSON, MSGPACK, Codec
from gateway.upstream.oscce import messages, socket
from tests.fuzz import doors, oracles

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


TOKEN_BUGS: Final = {
    "another spelling opens": ('rstrip(b"=") == text.encode() else None', 'rstrip(b"=") else None'),
    "any version": ("if raw[:1] != _VERSION:", "if not raw:"),
    "a nonce is short": ("if len(raw) <= at + _NONCE_BYTES:", "if len(raw) < at:"),
    "an id is no text": ('.decode(errors="replace")', ".decode()"),
    "what ends now opens": ("if late_ms >= 0 and", "if late_ms > 0 and"),
    "any site opens": ("if site not in self._sites:", "if not site:"),
    "no key is on its way out": ("stale=key is not self._first", "stale=False"),
}  # fmt: skip
NUMBER_BUGS: Final = {
    "own numbers pass": ("(*self.deny, *self.own)", "self.deny"),
    "denied numbers pass": ("(*self.deny, *self.own)", "self.own"),
    "numbers of any country pass": ("(is_home or e164.startswith(self.allow))", "number"),
}
FRAME_BUGS: Final = {
    "reserved bits pass": ("if first & _RESERVED:", "if first & 0x10:"),
    "a message begins within another": ("is (self._parts is None):", "and self._parts is None:"),
    "lengths longer than need be": ("if size < (_LONG if len(told) == 2 else 1 << 16):", "if size < 0:"),
    "the size of fragments is not added": ("elif size + self._parts_bytes >", "elif size >"),
    "a byte is read ahead": (
        "            if stop > end:\n                self._needed",
        "            if stop > end + 1:\n                self._needed",
    ),
    "something follows a close": ("        self._end()  # §5.5.1: nothing follows a close\n", ""),
    "texts are any bytes": ("return payload.decode()", 'return payload.decode(errors="replace")'),
    "pongs are pings": ("if opcode == PING:", "if opcode >= PING:"),
    "a byte is lost between pieces": ("self._held = [data[read:]]", "self._held = [data[read + 1 :]]"),
}  # fmt: skip
LINK_BUGS: Final = {
    "a fault tells what came": ('_VALUE.sub("", str(error))', "str(error)"),
    "the number of a query comes twice": ('and "QueryID" not in rest and', "and"),
    "names are shown as they came": ("readable_or_none(told.by)", "told.by"),
}


def planted(module: ModuleType, old: str, new: str) -> ModuleType:
    """Return *module* with a bug."""
    source = Path(str(module.__file__)).read_text("utf-8")
    assert source.count(old) == 1, f"the place of {new!r} is gone"
    made = ModuleType(f"{module.__name__}_planted")
    with mock.patch.dict("sys.modules", {made.__name__: made}):  # where its dataclasses look for themselves
        exec(compile(source.replace(old, new), new, "exec"), vars(made))  # noqa: S102 - our own source
    return made


def _plants(where: ModuleType, module: ModuleType, bugs: dict[str, tuple[str, str]]) -> dict[str, Plant]:
    """Return how each of *bugs* of *module* is planted for the oracles that stand in *where*."""
    name = module.__name__.rpartition(".")[2]

    def plant(old: str, new: str) -> AbstractContextManager[object]:
        return mock.patch.object(where, name, planted(module, old, new))

    return {bug: partial(plant, *change) for bug, change in bugs.items()}


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
    "websocket": _plants(oracles, websocket, PARSER_BUGS),
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
    "log_on": {
        "keys come twice": partial(mock.patch.object, json_form, "_READER", json.JSONDecoder()),
        **_plants(doors, command_runner, NUMBER_BUGS),
    },
    "token": _plants(doors, credentials, TOKEN_BUGS),
    "link": _plants(doors, messages, LINK_BUGS),
    "server": _plants(doors, socket, FRAME_BUGS),
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
