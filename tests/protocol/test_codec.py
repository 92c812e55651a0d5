"""The codecs: strict reading, portable writing, and the text and close code of each refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # ships no types
import pytest

from gateway.domain.commands import SetRoutingState
from gateway.domain.errors import CloseCode
from gateway.domain.model import Application
from gateway.domain.resources import (
    Agent,
    AgentSkill,
    Functions,
    FunctionState,
    Media,
    Queue,
    RoutingState,
    Switch,
)
from gateway.protocol import frames
from gateway.protocol.bodies import LogOffPending, PrivacyView, SiteView
from gateway.protocol.codec import (
    JSON,
    MSGPACK,
    BadFrame,
    Codec,
    UnknownKind,
    codec_for,
    plain,
    plain_fields,
    read_json,
    read_msgpack,
    write_json,
    write_msgpack,
)

CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)
PACK: dict[str, Callable[[object], bytes]] = {
    JSON.name: lambda value: json.dumps(value, separators=(",", ":")).encode(),
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
RIGHT: dict[str, dict[str, Any]] = {"hello": HELLO, "command": COMMAND}


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
def test_unknown_fields_are_ignored(codec: Codec) -> None:
    value = HELLO | {"later": {"a": [1]}, "client": {**HELLO["client"], "later": None}}  # type: ignore[dict-item]  # the literal's members differ in type
    assert codec.decode_client(PACK[codec.name](value)) == frames.Hello(
        frames.ClientInfo("dashboard", "1.0", "web")
    )


def bad_frames() -> list[tuple[Any, str]]:
    """Return the frames of bad_frames.txt, and why each is refused."""
    found = list[tuple[Any, str]]()
    text = Path(__file__).with_name("bad_frames.txt").read_text("utf-8")
    for line in text.partition("\n\n")[2].splitlines():
        sent, reason = line.split(" → ")
        kind, _, changes = sent.partition(" {")
        is_changed = kind in RIGHT
        found.append((RIGHT[kind] | json.loads("{" + changes) if is_changed else json.loads(sent), reason))
    return found


@CODECS
@pytest.mark.parametrize(("value", "reason"), bad_frames())
def test_bad_frames_are_named_by_our_own_words(codec: Codec, value: Any, reason: str) -> None:  # noqa: ANN401 - whatever came
    bad = refusal(codec, value)
    is_read = isinstance(value, dict) and reason != "nested too deeply"
    sent_id = value.get("id") if is_read else None
    frame_id = sent_id if isinstance(sent_id, str) else None
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
        "frame_bytes_in": 1, "frame_bytes_out": 1, "frames_per_s": 1.0, "frames_burst": 1, "topics": 1,
        "commands_in_flight": 1, "devices": 1,
    },
}  # fmt: skip
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
    assert refused.value.reason == "changes.put contains a value that is not allowed"


@pytest.mark.parametrize("data", [b'{"kind":"pong","nonce":"\xff"}', b'{"a":"\xed\xa0\x80"}', b"\xc0\x80"])
def test_json_closes_for_text_that_is_not_utf_8(data: bytes) -> None:
    with pytest.raises(BadFrame) as refused:
        JSON.decode_client(data)
    assert refused.value.close_code == 1007


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
def test_changes_leave_out_what_is_empty(codec: Codec) -> None:
    frame = codec.changes(after=3, upto=3, stream=None, reset=False, more=False, put=(), patch=(), gone=())
    assert frame == PACK[codec.name]({"kind": "changes", "after": 3, "upto": 3})


@CODECS
@pytest.mark.parametrize("count", [1, 2, 17])
def test_patches_alone_make_the_frame_of_changes_without_the_rest(codec: Codec, count: int) -> None:
    patch = [(f"queue:{number}", codec.fragment(Agent(version=number))) for number in range(count)]
    whole = codec.changes(
        after=3, upto=70_000, stream=None, reset=False, more=False, put=(), patch=patch, gone=()
    )
    assert codec.patches(3, 70_000, patch) == whole
    assert codec.patches(3, 70_000, codec.members(patch)) == whole


# ---- fields that are sent or left out ----


LISTS: dict[str, list[str]] = {
    "group_ids": [],
    "queue_ids": [],
    "skills": [],
    "handling": [],
    "allowed_actions": [],
}
SKILL = {"skill_id": "7", "level": 5, "active": False}
SET = {"kind": "routing_state.set", "state": "work", "when": "now"}
SENT = {"kind": "command", "id": "1", "key": "k", "stream": "1.x", "expires_at_ms": 5, "command": SET}
INFO = {"app": "a", "version": "1", "platform": "web"}
DOWN = {**PING, "as_of_ms": None, "upstream": "down", "bus": "live"}
SHOWN = {**NOTICE, "kind": "notice", "category": "privacy", "must_acknowledge": False}
BYE = {"kind": "bye", "code": 4108, "reason": "", "reconnect": "after", "min_s": None, "max_s": None}
PENDING = {"routed_until_ms": None, "state": "pending", "retry_after_s": 5.0}
SITE = {"id": "main", "display_name": "Main", "applications": ["dashboard"]}


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        (Queue(name="Sales", contacts_waiting=0), {"name": "Sales", "contacts_waiting": 0}),
        (Queue(routing_parameters={"a": None, "b": ("1",)}), {"routing_parameters": {"a": None, "b": ["1"]}}),
        (Agent(), LISTS),
        (Agent(app_present=False), {**LISTS, "app_present": False}),
        (Agent(media=Media(voice=Switch.ON)), {**LISTS, "media": {"voice": "on"}}),
        (Agent(skills=(AgentSkill("7", level=5, active=False),)), {**LISTS, "skills": [SKILL]}),
        (Functions(voice=FunctionState.UP), {"voice": "up"}),
        (SetRoutingState("work"), SET),
        (frames.CommandFrame("1", "k", "1.x", 5, SetRoutingState("work")), SENT),
        (frames.Hello(frames.ClientInfo(**INFO), topics=()), {"kind": "hello", "client": INFO, "topics": []}),
        (frames.Hello(frames.ClientInfo(**INFO)), {"kind": "hello", "client": INFO}),
        (frames.Ping(1, 1, "1", None, "down", "live", 1), DOWN),
        (frames.NoticeFrame("1", 1, "privacy", "", "", None, 1, must_acknowledge=False), SHOWN),
        (frames.Bye(4108, "", "after"), BYE),
        (LogOffPending(None, retry_after_s=5.0), PENDING),
        (PrivacyView(None, None), {"contact": None, "statement_url": None}),
        (SiteView("main", "Main", (Application.DASHBOARD,)), SITE),
    ],
    ids=lambda each: type(each).__name__,
)
def test_fields_are_left_out_when_absent_means_the_same(value: object, fields: dict[str, object]) -> None:
    found = plain_fields(value)
    assert found == fields
    assert "kind" not in found or next(iter(found)) == "kind"


def test_enumerations_are_their_plain_values() -> None:
    assert type(plain_fields(Agent(routing_state=RoutingState.WORK))["routing_state"]) is str
    assert type(plain(CloseCode.SLOW)) is int


# ---- JSON ----


def test_what_is_written_is_json() -> None:
    value = {"a": [1, 1.5, None, True, 'é"\\\n\x00'], "b": {}}
    assert json.loads(write_json(value)) == value == read_json(write_json(value))


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


# ---- msgpack ----


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


def test_single_precision_is_read_as_the_number_it_is() -> None:
    assert read_msgpack(msgpack.packb(1.5, use_single_float=True)) == 1.5
