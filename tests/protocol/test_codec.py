"""Refusals of a codec: texts and close codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]  # ships no types
import pytest

from gateway.domain.commands import SetAgentRoutingState, SetRoutingState
from gateway.domain.resources import Agent
from gateway.protocol import frames
from gateway.protocol.codec import JSON, MSGPACK, BadFrame, Codec, UnknownKind, codec_for

CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)
PACK: dict[str, Callable[[object], bytes]] = {
    JSON.name: lambda value: json.dumps(value).encode(),
    MSGPACK.name: msgpack.packb,
}
COMMAND = {
    "kind": "command",
    "id": "7",
    "key": "0b6f0c4e-27a1-4f0c-9d0e-3a1f6f1f2b11",
    "stream": "812.a1f3",
    "expires_at_ms": 1_767_225_600_000,
    "command": {"kind": "routing_state.set", "state": "work", "reason_id": "3", "when": "after_contact"},
}
HELLO = {"kind": "hello", "client": {"app": "dashboard", "version": "1.0", "platform": "web"}}


def refusal(codec: Codec, value: object) -> BadFrame:
    with pytest.raises(BadFrame) as refused:
        codec.decode_client(PACK[codec.name](value))
    return refused.value


def test_a_subprotocol_has_one_codec() -> None:
    assert codec_for("oscc.v1.json") is JSON
    assert codec_for("oscc.v1.msgpack") is MSGPACK
    assert codec_for("oscc.v2.json") is None
    assert (JSON.text, MSGPACK.text) == (True, False)
    assert (JSON.name, MSGPACK.name) == ("json", "msgpack")


@CODECS
def test_a_command_is_read_with_its_type(codec: Codec) -> None:
    own = codec.decode_client(PACK[codec.name](COMMAND))
    assert isinstance(own, frames.CommandFrame)
    assert own.command == SetRoutingState("work", "3", "after_contact")
    assert own.retry is False
    others = COMMAND | {
        "retry": True,
        "command": {"kind": "agent.routing_state.set", "agent_id": "5", "state": "logged_off"},
    }
    frame = codec.decode_client(PACK[codec.name](others))
    assert isinstance(frame, frames.CommandFrame)
    assert frame.command == SetAgentRoutingState("5", "logged_off")
    assert frame.retry is True


@CODECS
def test_unknown_fields_are_ignored(codec: Codec) -> None:
    value = HELLO | {"later": {"a": [1]}, "client": {**HELLO["client"], "later": None}}  # type: ignore[dict-item]  # the literal's members differ in type
    assert codec.decode_client(PACK[codec.name](value)) == frames.Hello(
        frames.ClientInfo("dashboard", "1.0", "web")
    )


@CODECS
@pytest.mark.parametrize(
    ("value", "reason", "frame_id"),
    [
        ({}, "union_tag_not_found", None),
        ([], "a frame is one object", None),
        ("hello", "a frame is one object", None),
        (None, "a frame is one object", None),
        ({"kind": "nonsense", "id": "9"}, "unknown kind", "9"),
        ({"kind": "ping"}, "unknown kind", None),
        ({"kind": None}, "unknown kind", None),
        ({"kind": ["pong"]}, "unknown kind", None),
        (HELLO | {"topics": "agents"}, "hello.topics: tuple_type", None),
        (HELLO | {"topics": ["x"] * 65}, "hello.topics: too_long", None),
        (HELLO | {"topics": [1]}, "hello.topics.0: string_type", None),
        (HELLO | {"pace_s": 61}, "hello.pace_s: less_than_equal", None),
        (HELLO | {"pace_s": True}, "hello.pace_s: float_type", None),
        (HELLO | {"ping_s": "25"}, "hello.ping_s: float_type", None),
        (HELLO | {"position": {"stream": "1.a", "seq": -1}}, "hello.position.seq: greater_than_equal", None),
        (HELLO | {"position": {"stream": "1.a", "seq": 1.0}}, "hello.position.seq: int_type", None),
        ({"kind": "hello"}, "hello.client: missing", None),
        ({"kind": "follow", "id": "4", "topics": None}, "follow.topics: tuple_type", "4"),
        ({"kind": "follow", "id": 4, "topics": []}, "follow.id: string_type", None),
        (COMMAND | {"key": "7"}, "command.key: string_pattern_mismatch", "7"),
        (COMMAND | {"retry": 1}, "command.retry: bool_type", "7"),
        (COMMAND | {"expires_at_ms": True}, "command.expires_at_ms: int_type", "7"),
        (COMMAND | {"command": {"kind": "x"}}, "unknown kind of command.command", "7"),
        (COMMAND | {"command": {}}, "command.command: union_tag_not_found", "7"),
        (
            COMMAND | {"command": {"kind": "routing_state.set", "state": "logged_off"}},
            "command.command.routing_state.set.state: literal_error",
            "7",
        ),
        (COMMAND | {"more": 2**53}, "an integer is out of range", "7"),
        (COMMAND | {"more": [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}, "nested too deeply", None),
    ],
)
def test_bad_frames_are_named_by_our_own_words(
    codec: Codec, value: object, reason: str, frame_id: str | None
) -> None:
    bad = refusal(codec, value)
    assert (bad.reason, bad.close_code, bad.frame_id) == (reason, None, frame_id)


@CODECS
def test_a_frame_of_the_largest_size_is_read_and_a_larger_one_is_not(codec: Codec) -> None:
    room = 16 * 1024 - len(PACK[codec.name]({"kind": "pong", "x": "x" * 300})) + 300
    assert codec.decode_client(PACK[codec.name]({"kind": "pong", "x": "x" * room})) == frames.Pong()
    bad = refusal(codec, {"kind": "pong", "x": "x" * (room + 1)})
    assert (bad.reason, bad.close_code) == ("frame is too big", 1009)
    with pytest.raises(BadFrame, match="too big"):
        codec.decode_client(PACK[codec.name](HELLO), size_bytes=20)


@CODECS
def test_what_the_gateway_sends_may_be_larger(codec: Codec) -> None:
    large = frames.ErrorFrame("internal", "x" * 200_000)
    assert codec.decode_gateway(codec.encode(large)) == large
    with pytest.raises(BadFrame, match="too big"):
        codec.decode_gateway(codec.encode(frames.ErrorFrame("internal", "x" * 262_144)))


WELCOME = {
    "kind": "welcome",
    "session": {"id": "s1", "application": "dashboard", "expires_at_ms": 1},
    "user": {"user_id": "1", "display_name": "Nora"},
    "rights": ["skills_write", "queues_merge"],
    "application": "dashboard",
    "topics": {"granted": [], "refused": [{"topic": "x", "reason": "later"}]},
    "resumed": False,
    "server_time_ms": 1,
    "ping_s": 25.0,
    "pace_s": 0.0,
    "limits": {
        "frame_bytes_in": 1,
        "frame_bytes_out": 1,
        "frames_per_s": 1.0,
        "frames_burst": 1,
        "topics": 1,
        "commands_in_flight": 1,
        "devices": 1,
    },
}
PING = {"kind": "ping", "after": 1, "upto": 1, "nonce": "1", "as_of_ms": 1, "server_time_ms": 1}
NOTICE = {"id": "1", "version": 1, "title": "", "summary": "", "link": None, "effective_at_ms": 1}


@CODECS
@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (WELCOME, lambda frame: frame.rights == ("skills_write",)),
        (
            {**PING, "upstream": "paused", "bus": "moving"},
            lambda frame: (frame.upstream, frame.bus) == ("stale", "degraded"),
        ),
        (
            {"kind": "result", "id": "1", "outcome": {"status": "queued"}},
            lambda frame: frame.outcome.status == "unknown",
        ),
        (
            {**NOTICE, "kind": "notice", "category": "outage", "must_acknowledge": False},
            lambda frame: frame.category == "maintenance",
        ),
        ({"kind": "bye", "code": 4207, "reason": "", "reconnect": "soon"}, lambda frame: frame.code == 4207),
    ],
)
def test_a_value_that_a_later_gateway_added_is_no_fault(
    codec: Codec, sent: dict[str, Any], read: Callable[[Any], bool]
) -> None:
    assert read(codec.decode_gateway(PACK[codec.name](sent)))


@CODECS
def test_a_kind_of_a_later_gateway_can_be_distinguished_from_nonsense(codec: Codec) -> None:
    with pytest.raises(UnknownKind):
        codec.decode_gateway(PACK[codec.name]({"kind": "later"}))
    with pytest.raises(BadFrame) as refused:
        codec.decode_gateway(PACK[codec.name]({"kind": "changes", "after": 1, "upto": 1, "put": {"k": 1}}))
    assert not isinstance(refused.value, UnknownKind)
    assert refused.value.reason == "changes.put: dict_type"


def test_json_closes_for_text_that_is_not_utf_8() -> None:
    with pytest.raises(BadFrame) as refused:
        JSON.decode_client(b'{"kind":"pong","nonce":"\xff"}')
    assert refused.value.close_code == 1007


def test_msgpack_text_that_is_not_utf_8_is_a_bad_frame() -> None:
    with pytest.raises(BadFrame) as refused:
        MSGPACK.decode_client(b"\x82\xa4kind\xa4pong\xa5nonce\xa1\xff")
    assert refused.value.close_code is None


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(BadFrame, match="surrogate"):
        JSON.decode_client(b'{"kind":"follow","topics":[],"id":"\\ud800"}')
    assert JSON.decode_client(b'{"kind":"pong","nonce":"\\ud834\\udd1e"}') == frames.Pong("𝄞")


@CODECS
def test_nothing_that_came_hangs_on_the_refusal(codec: Codec) -> None:
    bad = refusal(codec, HELLO | {"token": ["secret"]})
    assert bad.__suppress_context__
    assert "secret" not in repr(bad)


@CODECS
def test_secrets_do_not_show(codec: Codec) -> None:
    hello = codec.decode_client(PACK[codec.name](HELLO | {"token": "secret"}))
    assert "secret" not in repr(hello)


@CODECS
def test_fields_are_what_a_fragment_holds(codec: Codec) -> None:
    agent = Agent(display_name="A", version=3)
    unpack = json.loads if codec is JSON else msgpack.unpackb
    assert unpack(codec.fragment(agent)) == codec.fields(agent)
    assert codec.patch_fragment(agent, Agent(display_name="A", version=3)) is None
    assert unpack(codec.patch_fragment(agent, Agent(version=4)) or b"") == {
        "display_name": None,
        "version": 4,
    }


@CODECS
@pytest.mark.parametrize("count", [1, 2, 17])
def test_patches_alone_make_the_frame_of_changes_without_the_rest(codec: Codec, count: int) -> None:
    patch = [(f"queue:{number}", codec.fragment(Agent(version=number))) for number in range(count)]
    whole = codec.changes(
        after=3, upto=70_000, stream=None, reset=False, more=False, put=(), patch=patch, gone=()
    )
    assert codec.patches(3, 70_000, patch) == whole
    assert codec.patches(3, 70_000, codec.members(patch)) == whole
