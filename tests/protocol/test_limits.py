"""Limits of frames: exact bounds, refused before values are built."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]  # ships no types
import pytest

from gateway.protocol.codec import (
    DEPTH_MAX,
    BadFrame,
    check_json_depth,
    check_msgpack_depth,
    check_size,
    check_value,
    frame_id,
    unique,
)
from gateway.protocol.frames import INT_MAX


def test_size_is_bounded_with_its_close_code() -> None:
    check_size(b"1234", 4)
    with pytest.raises(BadFrame) as refused:
        check_size(b"12345", 4)
    assert refused.value.close_code == 1009


def test_an_object_is_made_of_its_members() -> None:
    assert unique([("a", 1), ("b", None)]) == {"a": 1, "b": None}


@pytest.mark.parametrize("pairs", [[("a", 1), ("a", 1)], [(1, 1)], [(b"a", 1)], [(None, 1)]])
def test_keys_are_strings_that_come_once(pairs: list[tuple[object, object]]) -> None:
    with pytest.raises(BadFrame) as refused:
        unique(pairs)
    assert refused.value.close_code is None


@pytest.mark.parametrize(
    "value", [None, True, 0, INT_MAX, -INT_MAX, 1.5, "", "é𝄞", [], {}, {"a": [1, {"b": "c"}]}, [[[[]]]]]
)
def test_what_frames_may_hold(value: object) -> None:
    check_value(value)


@pytest.mark.parametrize(
    "value",
    [
        INT_MAX + 1, -INT_MAX - 1, float("nan"), float("inf"), float("-inf"), "\ud800", "a\udfff",
        {"\ud800": 1}, b"", bytearray(), (1,), msgpack.Timestamp(0), msgpack.ExtType(1, b""), {1, 2},
    ],
)  # fmt: skip
def test_what_frames_may_not_hold(value: object) -> None:
    for placed in (value, [value], {"a": value}):
        with pytest.raises(BadFrame) as refused:
            check_value(placed)
        assert refused.value.close_code is None


@pytest.mark.parametrize("id_", ["1", "x" * 128, "é"])
def test_an_id_is_found(id_: str) -> None:
    assert frame_id({"id": id_}) == id_


@pytest.mark.parametrize(
    "value", [{}, {"id": 1}, {"id": ""}, {"id": "x" * 129}, {"id": "\ud800"}, ["id"], None]
)
def test_an_id_that_cannot_be_repeated_is_none(value: object) -> None:
    assert frame_id(value) is None


# ---- depth ----


@pytest.mark.parametrize(
    "text",
    [
        b"[" * DEPTH_MAX + b"]" * DEPTH_MAX,
        b"[" + b"[]," * 100 + b"[]]",
        b'{"a":"' + b"[{" * 100 + b'"}',
        b'{"a":"\\"' + b"[" * 100 + b'\\\\"}',
        b'["' + b"\\[" * 100,
    ],
)
def test_json_is_deep_by_nesting_only(text: bytes) -> None:
    check_json_depth(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * (DEPTH_MAX + 1),
        b'{"a":' * (DEPTH_MAX + 1),
        b'["\\\\",' + b"[" * DEPTH_MAX,
        b'[{"a":"]]]]"},' + b"[" * DEPTH_MAX,
    ],
)
def test_deep_json_is_refused(text: bytes) -> None:
    with pytest.raises(BadFrame, match="deep"):
        check_json_depth(text)


SAMPLES = [
    None, True, 7, -7, 200, -200, 70_000, -70_000, 5_000_000_000, -5_000_000_000, 2**63, 1.5,
    "x" * 20, "x" * 200, "x" * 300, "x" * 70_000, b"x" * 20, b"x" * 300, b"x" * 70_000,
    msgpack.ExtType(5, b"x"), msgpack.ExtType(5, b"xx"), msgpack.ExtType(5, b"x" * 4),
    msgpack.ExtType(5, b"x" * 8), msgpack.ExtType(5, b"x" * 16), msgpack.ExtType(5, b"x" * 20),
    msgpack.ExtType(5, b"x" * 300), msgpack.ExtType(5, b"x" * 70_000), [], {}, [1] * 20, [1] * 70_000,
    {str(n): n for n in range(20)}, {str(n): n for n in range(70_000)},
]  # fmt: skip
"""One value of each of msgpack's formats."""


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{type(sample).__name__}")
def test_msgpack_of_any_format_is_stepped_over(sample: object) -> None:
    """Many arrays beside each other are distinguished from as many inside each other."""
    flat = [sample, *([[]] * DEPTH_MAX), sample, [sample, 1]]
    check_msgpack_depth(msgpack.packb(flat))
    deep: object = [sample, []]
    for _ in range(DEPTH_MAX - 2):
        deep = [deep, 1]
    check_msgpack_depth(msgpack.packb(deep))
    with pytest.raises(BadFrame, match="deep"):
        check_msgpack_depth(msgpack.packb([sample, deep, sample]))


@pytest.mark.parametrize(
    "data",
    [
        b"\x91" * 20,
        b"\x81\xa1a" * 20,
        b"\xdc\x3f\xff" * 5000,
        b"\xdd\xff\xff\xff\xff" * 3000,
        b"\xdf\xff\xff\xff\xff" * 20,
    ],
)
def test_bombs_are_refused_before_anything_is_built(data: bytes) -> None:
    with pytest.raises(BadFrame, match="deep"):
        check_msgpack_depth(data)


@pytest.mark.parametrize(
    "data", [b"", b"\xdd", b"\xd9", b"\x90" * 100, b"\x91" * DEPTH_MAX + b"\x01", b"\xc7" * 40]
)
def test_truncated_msgpack_is_left_to_the_reader(data: bytes) -> None:
    check_msgpack_depth(data)
