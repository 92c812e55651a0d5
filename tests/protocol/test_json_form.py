"""JSON: strict reading, portable writing."""

from __future__ import annotations

import json

import pytest

from gateway.protocol.codec import BadFrame, json_changes, read_json, write_json


def test_what_is_written_is_json() -> None:
    value = {"a": [1, 1.5, None, True, 'é"\\\n\x00'], "b": {}}
    assert json.loads(write_json(value)) == value == read_json(write_json(value))


def test_text_that_is_not_utf_8_closes_with_its_code() -> None:
    for data in (b'"\xff"', b'{"a":"\xed\xa0\x80"}', b"\xc0\x80"):
        with pytest.raises(BadFrame) as refused:
            read_json(data)
        assert refused.value.close_code == 1007


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "{", "[1,]", "{'a':1}", "{}{}", "{} x", "nul", "01", "+1", "1.", '"\n"', '"\\x"', "\ufeff{}",
        "NaN", "[Infinity]", '{"a":-Infinity}', '{"a":1,"a":1}', '{"a":{"b":1,"b":2}}', "9" * 5000,
        "[" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_strict_json_is_refused(text: str) -> None:
    with pytest.raises(BadFrame) as refused:
        read_json(text.encode())
    assert refused.value.close_code is None


def test_changes_leave_out_what_is_empty() -> None:
    nothing: dict[str, list[tuple[str, bytes]]] = {"put": [], "patch": []}
    frame = json_changes(after=3, upto=3, stream=None, reset=False, more=False, gone=(), **nothing)
    assert frame == b'{"kind":"changes","after":3,"upto":3}'


def test_changes_hold_the_fragments_as_they_are() -> None:
    frame = json_changes(
        after=0,
        upto=7,
        stream='8.a"b',
        reset=True,
        more=True,
        put=[("agent:5", b'{"a":1}'), ("site", b"{}")],
        patch=[("queue:1", b'{"b":null}')],
        gone=["group:1", "group:2"],
    )
    assert frame == (
        b'{"kind":"changes","after":0,"upto":7,"stream":"8.a\\"b","reset":true,"more":true,'
        b'"put":{"agent:5":{"a":1},"site":{}},"patch":{"queue:1":{"b":null}},"gone":["group:1","group:2"]}'
    )
