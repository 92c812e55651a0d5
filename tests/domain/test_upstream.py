"""Do the words between a gateway and an OSCC-E Server keep secrets, and share by identity?"""

from __future__ import annotations

import typing

from gateway.domain.model import Application, Device, Kind, SessionId, SessionSecret, User, UserId
from gateway.domain.resources import Agent
from gateway.domain.upstream import (
    Feature,
    LinkClosed,
    LinkEvent,
    LoggedOn,
    LogOn,
    Opened,
    Part,
    Reading,
    Source,
)

CANARY = "canary-4711"


def test_credentials_show_nothing() -> None:
    credentials = LogOn(
        Application.REMOTE_ASSISTANT, CANARY, CANARY, Device(CANARY, CANARY), remote_number=CANARY
    )
    assert CANARY not in repr(credentials)
    assert CANARY not in f"{[credentials]}"


def test_a_session_that_was_opened_shows_nothing() -> None:
    user = User(UserId("main", 1), CANARY, CANARY)
    logged_on = LoggedOn(SessionSecret(CANARY), SessionId(CANARY), 1, 0, user, CANARY)
    assert CANARY not in repr(logged_on)


def test_parts_are_equal_only_to_themselves() -> None:
    one, other = (Part(Kind.AGENT, 5, Source.REALTIME, Agent()) for _ in range(2))
    assert one == one  # noqa: PLR0124 - identity is what is tested
    assert one != other
    assert len({one, other}) == 2


def test_a_reading_says_what_is_in_it_and_what_left() -> None:
    assert Reading(1, None, Source.CONFIGURATION, 0, complete=True, parts=()).removed == ()


def test_features_have_the_names_that_settings_and_logs_use() -> None:
    assert Feature("link_fencing") is Feature.LINK_FENCING
    assert len(Feature) == 9


def test_a_link_tells_nine_things_the_first_of_which_is_that_it_is_open() -> None:
    assert len(typing.get_args(LinkEvent)) == 9
    assert typing.get_args(LinkEvent)[0] is Opened


def test_a_closed_link_says_why() -> None:
    assert (LinkClosed("stale", token=7).reason, LinkClosed("stale", token=7).token) == ("stale", 7)
    assert (str(LinkClosed("lost")), LinkClosed("lost").token) == ("lost", None)
