"""Fields that are sent, and those that are left out."""

from __future__ import annotations

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
from gateway.protocol.codec import changed_fields, plain, plain_fields


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
    assert changed_fields(before, after) == {"reason_id": None, "media": {"voice": "off"}, "group_ids": ["1"]}
    assert changed_fields(after, after) == {}
    assert changed_fields(Queue(contacts_waiting=0), Queue(contacts_waiting=None)) == {
        "contacts_waiting": None
    }
