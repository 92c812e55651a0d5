"""Values between gateway and OSCC-E Server: no secret is shown, equal ones are shared."""

from __future__ import annotations

from gateway.domain.commands import AttachSession
from gateway.domain.model import Application, Device, Kind, SessionId, SessionSecret, User, UserId
from gateway.domain.resources import Agent
from gateway.domain.upstream import LoggedOn, LogOn, Part, Source

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
    assert CANARY not in repr(logged_on) + repr(AttachSession(SessionSecret(CANARY)))


def test_parts_are_equal_only_to_themselves() -> None:
    one, other = (Part(Kind.AGENT, 5, Source.REALTIME, Agent()) for _ in range(2))
    assert one == one  # noqa: PLR0124 - identity is what is tested
    assert one != other
    assert len({one, other}) == 2
