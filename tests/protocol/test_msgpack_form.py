"""msgpack: strict reading, portable writing."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]  # ships no types
import pytest

from gateway.protocol.codec import BadFrame, check_value, msgpack_changes, read_msgpack, write_msgpack


def test_what_is_written_is_msgpack() -> None:
    value = {"a": [1, 1.5, None, True, "é\x00", -5, 2**53 - 1], "b": {}}
    assert msgpack.unpackb(write_msgpack(value)) == value == read_msgpack(write_msgpack(value))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x81\xa1a", b"\x80\x80", b"\xa2a", b"\xa1\xff", b"\xa3\xed\xa0\x80",
        b"\xd6\xff\x00", b"\xc7\x05\xff" + bytes(5), b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff",
        msgpack.packb({1: 2}), msgpack.packb({b"a": 2}), msgpack.packb([{None: 1}]),
        b"\x82\xa1a\x01\xa1a\x01", b"\x81\x90\x01", b"\x81\x80\x01", b"\x91" * 100,
    ],
)  # fmt: skip
def test_what_is_no_strict_msgpack_is_refused(data: bytes) -> None:
    with pytest.raises(BadFrame) as refused:
        read_msgpack(data)
    assert refused.value.close_code is None


@pytest.mark.parametrize(
    "value", [b"", b"bin", msgpack.ExtType(1, b"x"), msgpack.Timestamp(5), msgpack.Timestamp(2**40, 7)]
)
def test_types_that_json_has_not_do_not_pass_for_values(value: object) -> None:
    with pytest.raises(BadFrame):
        check_value(read_msgpack(msgpack.packb({"a": value})))


def test_single_precision_is_read_as_the_number_it_is() -> None:
    assert read_msgpack(msgpack.packb(1.5, use_single_float=True)) == 1.5


def test_changes_leave_out_what_is_empty() -> None:
    nothing: dict[str, list[tuple[str, bytes]]] = {"put": [], "patch": []}
    frame = msgpack_changes(after=3, upto=3, stream=None, reset=False, more=False, gone=(), **nothing)
    assert frame == msgpack.packb({"kind": "changes", "after": 3, "upto": 3})


def test_changes_hold_the_fragments_as_they_are() -> None:
    frame = msgpack_changes(
        after=0,
        upto=70_000,
        stream="8.ab",
        reset=True,
        more=True,
        put=[("agent:5", msgpack.packb({"a": 1})), ("site", b"\x80")],
        patch=[("queue:1", msgpack.packb({"b": None}))],
        gone=["group:1", "group:2"],
    )
    assert frame == msgpack.packb(
        {
            "kind": "changes",
            "after": 0,
            "upto": 70_000,
            "stream": "8.ab",
            "reset": True,
            "more": True,
            "put": {"agent:5": {"a": 1}, "site": {}},
            "patch": {"queue:1": {"b": None}},
            "gone": ["group:1", "group:2"],
        }
    )
