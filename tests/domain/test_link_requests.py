"""Is what a gateway asks on a link a closed set of values that show no secret?"""

from __future__ import annotations

import typing

from gateway.domain.commands import (
    AttachSession,
    Directory,
    Execute,
    Executed,
    LinkAnswer,
    LinkRequest,
    Listen,
    Listening,
    SetRoutingState,
)
from gateway.domain.model import Kind, SessionSecret
from gateway.domain.upstream import Attached, Source


def test_the_secret_of_a_session_shows_nowhere() -> None:
    assert "canary" not in repr(AttachSession(SessionSecret("canary")))
    assert AttachSession(SessionSecret("canary")).secret == "canary"


def test_equal_questions_are_one_question() -> None:
    asked = {Listen(Kind.AGENT, Source.REALTIME, frozenset({1, 2})) for _ in range(2)}
    assert asked == {Listen(Kind.AGENT, Source.REALTIME, frozenset({2, 1}))}
    assert Listen(Kind.AGENT, Source.REALTIME, None) not in asked


def test_a_command_travels_with_its_key_and_its_deadline() -> None:
    execute = Execute(3, SetRoutingState("work"), "key", 17)
    assert (execute.alias, execute.command, execute.key, execute.not_after_ms) == (
        *(3, SetRoutingState("work"), "key", 17),
    )


def test_eight_questions_have_five_kinds_of_answers() -> None:
    assert len(typing.get_args(LinkRequest)) == 8
    assert set(typing.get_args(LinkAnswer)) == {Attached, Listening, Directory, Executed, type(None)}


def test_an_answer_without_a_version_has_none() -> None:
    assert Executed("applied").version is None
