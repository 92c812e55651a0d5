"""Mutations of values that mostly stay frames of the protocol."""

from __future__ import annotations

import json
import random  # noqa: TID251 - seeded by the search
from collections.abc import Callable
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]  # ships no types

_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1.5, -0.0, 1e308, float("nan"), float("-inf"),
    2**53 - 1, 2**53, -(2**53), 2**64 - 1,
    "", "é", "\x00", "\ud800", "\U0001f600", "x" * 129, [], {}, [[[]]], {"kind": "pong"},
)  # fmt: skip
_KEYS: Final = ("kind", "id", "token", "topics", "client", "command", "", "é", "\ud800")
_BEYOND_JSON: Final[tuple[Any, ...]] = (
    b"", b"\xff", msgpack.ExtType(1, b"x"), msgpack.Timestamp(1, 0), {1: 2}, {b"k": 1},
)  # fmt: skip
_DEPTHS: Final = (15, 16, 17)


def reshape_json(data: bytes, seed: int) -> bytes:
    """Return JSON that is a little other than *data* if that is JSON too."""
    seeded = random.Random(seed)
    value = _changed(_or_empty(json.loads, data), seeded, _VALUES)
    written = json.dumps(value, ensure_ascii=seeded.random() < 0.5)
    if isinstance(value, dict) and value and seeded.random() < 0.1:  # a member that comes twice
        written = json.dumps(dict([seeded.choice(list(value.items()))]))[:-1] + "," + written[1:]
    return written.encode("utf-8", "surrogatepass")


def reshape_msgpack(data: bytes, seed: int) -> bytes:
    """Return msgpack that is a little other than *data* if that is msgpack too."""
    seeded = random.Random(seed)
    value = _changed(_or_empty(msgpack.unpackb, data), seeded, _VALUES + _BEYOND_JSON)
    return bytes(msgpack.packb(value, unicode_errors="surrogatepass"))


def _or_empty(read: Callable[[bytes], object], data: bytes) -> object:
    try:
        return read(data)
    except (ValueError, RecursionError):
        return {"kind": "resync"}


def _changed(value: Any, seeded: random.Random, values: tuple[Any, ...]) -> Any:  # noqa: ANN401 - any value there is
    """Return *value* with one change somewhere inside."""
    inside = value if isinstance(value, dict | list) and value else None
    if inside is None or seeded.random() < 0.1:
        return _nested(value, seeded) if seeded.random() < 0.1 else seeded.choice(values)
    at = seeded.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
    changed = inside.copy()
    turn = seeded.randrange(5)
    if turn == 0:
        del changed[at]
    elif turn > 1:
        changed[at] = _changed(inside[at], seeded, values)
    elif isinstance(changed, dict):
        changed[seeded.choice(_KEYS)] = seeded.choice(values)
    else:
        changed.append(inside[at])
    return changed


def _nested(value: object, seeded: random.Random) -> object:
    for _ in range(seeded.choice(_DEPTHS)):
        value = [value] if seeded.random() < 0.5 else {"x": value}
    return value
