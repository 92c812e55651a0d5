"""Fields that are sent or left out, and JSON: strict reading, portable writing."""

from __future__ import annotations

import json

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
from gateway.protocol.bodies import AboutBody, LogOffPending, PrivacyView, SiteView
from gateway.protocol.codec import (
    JSON,
    BadFrame,
    json_changes,
    plain,
    plain_fields,
    read_json,
    write_json,
)


def test_fields_without_a_value_are_left_out() -> None:
    assert plain_fields(Queue(name="Sales", contacts_waiting=0)) == {"name": "Sales", "contacts_waiting": 0}


def test_empty_lists_stay() -> None:
    assert plain_fields(Agent()) == {
        "group_ids": [],
        "queue_ids": [],
        "skills": [],
        "handling": [],
        "allowed_actions": [],
    }


def test_parts_leave_out_what_they_do_not_know_too() -> None:
    agent = Agent(media=Media(voice=Switch.ON), skills=(AgentSkill("7", level=5, active=False),))
    assert plain_fields(agent)["media"] == {"voice": "on"}
    assert plain_fields(agent)["skills"] == [{"skill_id": "7", "level": 5, "active": False}]


def test_nulls_inside_a_mapping_are_data() -> None:
    assert plain_fields(Queue(routing_parameters={"a": None, "b": ("1",)})) == {
        "routing_parameters": {"a": None, "b": ["1"]}
    }


def test_enumerations_are_their_plain_values() -> None:
    state = plain_fields(Agent(routing_state=RoutingState.WORK))["routing_state"]
    assert (type(state), state) == (str, "work")
    assert type(plain(CloseCode.SLOW)) is int
    assert plain(Functions(voice=FunctionState.UP)) == {"voice": "up"}


def test_false_is_left_out_where_it_is_the_default_only() -> None:
    command = frames.CommandFrame("1", "k", "s", 5, SetRoutingState("work"))
    assert "retry" not in plain_fields(command)
    assert plain_fields(Agent(app_present=False))["app_present"] is False


def test_a_default_that_says_something_is_written() -> None:
    assert plain(SetRoutingState("work")) == {"kind": "routing_state.set", "state": "work", "when": "now"}


def test_the_kind_comes_first() -> None:
    assert next(iter(plain_fields(frames.Pong("1")))) == "kind"


def test_no_topics_are_distinguished_from_none_named() -> None:
    info = frames.ClientInfo("a", "1", "web")
    assert plain_fields(frames.Hello(info, topics=()))["topics"] == []
    assert "topics" not in plain_fields(frames.Hello(info))


def test_fields_that_are_never_optional_stand_as_null() -> None:
    ping = frames.Ping(1, 1, "n", None, "down", "live", 5)
    assert plain_fields(ping)["as_of_ms"] is None
    bye = plain_fields(frames.Bye(CloseCode.SLOW, "slow", "after"))
    assert bye == {
        "kind": "bye", "code": 4108, "reason": "slow", "reconnect": "after", "min_s": None, "max_s": None,
    }  # fmt: skip
    notice = frames.NoticeFrame("n", 1, "privacy", "t", "s", None, 5, must_acknowledge=False)
    assert plain_fields(notice)["link"] is None
    assert plain_fields(notice)["must_acknowledge"] is False


def test_bodies_follow_the_same_rules() -> None:
    site = SiteView("main", "Main", (Application.DASHBOARD,))
    about = plain_fields(
        AboutBody("gateway", "1", (site,), trusted_transport=False, privacy=PrivacyView(None, None))
    )
    assert about["sites"] == [{"id": "main", "display_name": "Main", "applications": ["dashboard"]}]
    assert about["trusted_transport"] is False
    assert about["privacy"] == {"contact": None, "statement_url": None}
    pending = {"routed_until_ms": None, "state": "pending", "retry_after_s": 5.0}
    assert plain_fields(LogOffPending(None, retry_after_s=5.0)) == pending


def test_changed_fields_clear_with_null_and_replace_parts_whole() -> None:
    before = Agent(reason_id="3", media=Media(voice=Switch.ON, email=Switch.ON), version=1)
    after = Agent(media=Media(voice=Switch.OFF), group_ids=("1",), version=1)
    patch = read_json(JSON.patch_fragment(before, after) or b"")
    assert patch == {"reason_id": None, "media": {"voice": "off"}, "group_ids": ["1"]}
    assert JSON.patch_fragment(after, after) is None
    cleared = JSON.patch_fragment(Queue(contacts_waiting=0), Queue(contacts_waiting=None))
    assert cleared == b'{"contacts_waiting":null}'


# ---- JSON ----


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
