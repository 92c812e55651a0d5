"""Both encodings are equivalent, and only frames are accepted."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack  # type: ignore[import-untyped]  # ships no types
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.resources import Agent, Queue, Resource, RoutingState
from gateway.protocol.codec import JSON, MSGPACK, BadFrame, Codec, plain_fields
from gateway.protocol.frames import INT_MAX, Changes, ClientFrame
from tests.protocol import strategies as any_of

CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)


def read(codec: Codec, data: bytes) -> Any:  # noqa: ANN401 - whatever the reference parser finds
    """Read by the libraries alone, as a client of another language would."""
    return json.loads(data) if codec is JSON else msgpack.unpackb(data)


def met(run: Callable[[], object]) -> object:
    """Return what came of it, or what was raised, for a test to compare."""
    try:
        return run()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return error


# ---- frames ----


@CODECS
@given(frame=any_of.client_frames)
def test_what_a_phone_writes_is_what_the_gateway_reads(codec: Codec, frame: ClientFrame) -> None:
    assert met(lambda: codec.decode_client(codec.encode(frame))) == frame


@CODECS
@given(frame=any_of.written_by_gateway)
def test_what_the_gateway_writes_is_what_a_phone_reads(codec: Codec, frame: any_of.Written) -> None:
    assert met(lambda: codec.decode_gateway(codec.encode(frame))) == frame


@given(frame=any_of.client_frames | any_of.written_by_gateway)
def test_both_encodings_carry_the_same(frame: ClientFrame | any_of.Written) -> None:
    assert read(JSON, JSON.encode(frame)) == read(MSGPACK, MSGPACK.encode(frame))


def verdicts(codec: Codec, data: bytes) -> list[object]:
    """Read *data* as a client's and as a gateway's frame; a refusal is compared by its parts."""
    found: list[object] = []
    for decode in (codec.decode_client, codec.decode_gateway):
        try:
            found.append(decode(data))
        except BadFrame as bad:
            found.append((type(bad), bad.reason, bad.close_code, bad.frame_id))
    return found


NEAR_FRAMES = st.builds(
    lambda frame, changes: json.loads(JSON.encode(frame)) | changes,
    any_of.client_frames | any_of.written_by_gateway,
    st.dictionaries(
        st.sampled_from(["kind", "id", "topics", "client", "command", "seq", "after", "put", "outcome"]),
        any_of.PLAIN | st.integers(-(2**63), 2**63),
        max_size=2,
    ),
)
"""Frames with something wrong, or not."""


@given(value=NEAR_FRAMES | any_of.PLAIN)
@example(value={"kind": "pong", "nonce": "x", "extra": 2**53})
@example(value={"kind": "hello", "position": {"stream": "s", "seq": -(2**53)}})
def test_both_encodings_refuse_the_same_for_the_same_reason(value: object) -> None:
    assert verdicts(JSON, json.dumps(value).encode()) == verdicts(MSGPACK, msgpack.packb(value))


# ---- state ----

FRAGMENTS = st.dictionaries(st.sampled_from(any_of.RESOURCE_KEYS) | any_of.TEXT, any_of.resources, max_size=5)


@CODECS
@given(
    put=FRAGMENTS,
    patch=FRAGMENTS,
    gone=st.lists(any_of.TEXT, max_size=3),
    head=st.tuples(any_of.INTEGERS, any_of.INTEGERS, st.none() | any_of.TEXT, st.booleans(), st.booleans()),
)
def test_spliced_changes_are_the_frame_that_they_stand_for(
    codec: Codec,
    put: dict[str, Resource],
    patch: dict[str, Resource],
    gone: list[str],
    head: tuple[int, int, str | None, bool, bool],
) -> None:
    after, upto, stream, reset, more = head
    spliced = codec.changes(
        after=after,
        upto=upto,
        stream=stream,
        reset=reset,
        more=more,
        put=[(key, codec.fragment(value)) for key, value in put.items()],
        patch=[(key, codec.fragment(value)) for key, value in patch.items()],
        gone=gone,
    )
    assert met(lambda: codec.decode_gateway(spliced)) == Changes(
        after,
        upto,
        stream,
        reset,
        more,
        {key: plain_fields(value) for key, value in put.items()},
        {key: plain_fields(value) for key, value in patch.items()},
        tuple(gone),
    )


@pytest.mark.parametrize(
    ("codec", "count"),
    [(JSON, 0), (JSON, 1), (JSON, 17), *((MSGPACK, count) for count in (0, 1, 15, 16, 17, 65_535, 65_536))],
)
def test_splices_of_any_size_can_be_read(codec: Codec, count: int) -> None:
    fragment = codec.fragment(Queue())
    put = [(f"queue:{number}", fragment) for number in range(count)]
    frame = met(
        lambda: codec.changes(
            after=0, upto=1, stream=None, reset=False, more=False, put=put, patch=put[:17], gone=[]
        )
    )
    assert isinstance(frame, bytes)
    found = read(codec, frame)
    assert found.get("put", {}) == {key: plain_fields(Queue()) for key, _ in put}
    assert found.get("patch", {}) == {key: plain_fields(Queue()) for key, _ in put[:17]}


@CODECS
@given(value=any_of.resources)
def test_a_fragment_is_the_value_without_its_nulls(codec: Codec, value: Resource) -> None:
    found = read(codec, codec.fragment(value))
    assert found == plain_fields(value)
    assert None not in found.values()
    held = {name: getattr(value, name) for name in type(value).__dataclass_fields__}
    assert found.keys() == {name for name, member in held.items() if member is not None}


PAIRS = st.sampled_from(any_of.RESOURCE_TYPES).flatmap(
    lambda of: st.tuples(any_of.built(of), any_of.built(of))
)


@CODECS
@given(pair=PAIRS)
@example(pair=(Agent(reason_id="1", group_ids=("2",)), Agent(routing_state=RoutingState.WORK)))
def test_a_patch_leads_from_one_value_to_the_other(codec: Codec, pair: tuple[Resource, Resource]) -> None:
    before, after = pair
    patch = codec.patch_fragment(before, after)
    merged = plain_fields(before) | ({} if patch is None else read(codec, patch))
    assert {name: member for name, member in merged.items() if member is not None} == plain_fields(after)
    assert (patch is None) == (before == after)


@CODECS
@given(value=any_of.resources)
def test_equal_values_need_no_patch_and_have_one_fragment(codec: Codec, value: Resource) -> None:
    same = msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value))  # of other objects
    assert codec.patch_fragment(value, value) is None
    assert codec.patch_fragment(value, same) is None
    assert codec.fragment(value) == codec.fragment(value)


# ---- hostile bytes ----


def refused(codec: Codec, data: bytes) -> list[BadFrame]:
    """Decode both ways; whatever is raised must be a :class:`BadFrame`."""
    raised = [
        found
        for decode in (codec.decode_client, codec.decode_gateway)
        if isinstance(found := met(partial(decode, data)), Exception)
    ]
    bad = [error for error in raised if isinstance(error, BadFrame)]
    assert raised == bad
    return bad


@CODECS
@given(data=st.binary(max_size=200))
@example(data=b"")
@example(data=b"\xdd\xff\xff\xff\xff")
@example(data=b"\xd6\xff\x00\x00\x00\x00")
@example(data=b"\xc7\x0c\xff" + bytes(12))
@example(data=b"1" * 5000)
def test_arbitrary_bytes_are_refused_as_bad_frames(codec: Codec, data: bytes) -> None:
    assert len(refused(codec, data)) == 2


@CODECS
@given(
    frame=any_of.client_frames,
    at=st.integers(0, 10_000),
    noise=st.binary(max_size=4),
    cut=st.integers(0, 3),
)
def test_damaged_frames_raise_nothing_else(
    codec: Codec, frame: ClientFrame, at: int, noise: bytes, cut: int
) -> None:
    data = codec.encode(frame)
    at %= len(data)
    refused(codec, data[:at] + noise + data[at + cut :])


MSGPACKISH = st.recursive(
    any_of.SCALARS | st.binary(max_size=3) | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(any_of.TEXT | st.integers(0, 9) | st.binary(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(value=MSGPACKISH)
def test_msgpack_that_json_could_not_say_is_refused(value: object) -> None:
    assert len(refused(MSGPACK, msgpack.packb({"kind": "resync", "": value}))) == (
        1 if says_json(value) else 2
    )


def says_json(value: object) -> bool:
    match value:
        case dict():
            return all(isinstance(key, str) and says_json(member) for key, member in value.items())
        case list():
            return all(says_json(member) for member in value)
        case bytes() | msgpack.ExtType():
            return False
        case bool() | None:
            return True
        case int():
            return abs(value) <= INT_MAX
        case _:
            return True


CANARY = "canary-4711"


@CODECS
@given(
    value=NEAR_FRAMES, place=st.sampled_from(["id", "topics", "token", "kind", "command", "client", CANARY])
)
@example(value={"kind": "changes", "after": 1, "upto": 1, "put": {CANARY: 1}}, place=CANARY)
def test_refusals_never_repeat_what_came(codec: Codec, value: dict[str, Any], place: str) -> None:
    for planted in (CANARY, [CANARY], {CANARY: CANARY}, {"kind": CANARY}):
        tainted = value | {place: planted}
        data = json.dumps(tainted).encode() if codec is JSON else msgpack.packb(tainted)
        assert not [bad for bad in refused(codec, data) if CANARY in bad.reason + str(bad)]
