"""Each request is answered once; a repeated command is the same command."""

from __future__ import annotations

import pytest

from gateway.client.dialogue import WAITING_MAX, Requests, outcome_of
from gateway.client.http import error_of
from gateway.domain.commands import Outcome, SetRoutingState, Status
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.bodies import problem_members
from gateway.protocol.frames import CommandFrame, Follow, Followed, GrantedTopics, OutcomeView

APPLIED = OutcomeView("applied")
TOPICS = GrantedTopics(("queues",), ())
OTHER = GrantedTopics(("agents",), ())


def _command(id_: str) -> CommandFrame:
    return CommandFrame(id_, f"key-{id_}", "1.a", 99, SetRoutingState("available"))


@pytest.fixture
def requests() -> Requests:
    return Requests()


@pytest.fixture
def outcomes() -> list[Outcome]:
    return []


@pytest.fixture
def grants() -> list[GrantedTopics | GatewayError]:
    return []


def test_a_follow_is_answered_by_a_hello_that_asked_the_same_and_sent_again_otherwise(
    requests: Requests, grants: list[GrantedTopics | GatewayError]
) -> None:
    later = Follow("2", ("agents",))
    requests.follow(Follow("1", ("queues",)), grants.append)
    requests.follow(later, grants.append)
    assert requests.welcomed(TOPICS, ("queues",)) == (later,)
    assert grants == [TOPICS]
    assert requests.welcomed(OTHER, ("agents",)) == ()
    assert grants == [TOPICS, OTHER]


def test_a_follow_that_was_replaced_does_not_overtake_the_newer_one(
    requests: Requests, grants: list[GrantedTopics | GatewayError]
) -> None:
    requests.follow(Follow("1", ("queues",)), grants.append)
    requests.follow(Follow("2", ("agents",)), grants.append)
    assert requests.welcomed(TOPICS, ("agents",)) == ()
    requests.followed(Followed("2", OTHER))
    assert grants == [TOPICS, TOPICS], "each is answered once"


def test_follows_that_wait_are_bounded(requests: Requests) -> None:
    for number in range(WAITING_MAX):
        requests.follow(Follow(f"f{number}", ()), lambda _: None)
    with pytest.raises(GatewayError):
        requests.follow(Follow("more", ()), lambda _: None)


def test_an_outcome_is_reported_in_the_words_of_the_domain() -> None:
    view = OutcomeView("rejected", {"code": "reason_required", "message": "Why?", "x": 1}, 7)
    outcome = outcome_of(view)
    assert (outcome.status, outcome.version) == (Status.REJECTED, 7)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.details) == (ErrorCode.REASON_REQUIRED, {"x": 1})


# ---- refusals become one error with a stable code ----


def test_problem_details_come_back_as_the_error_that_they_were() -> None:
    notices: list[dict[str, str | int | bool | None]] = [{"id": "n", "version": 3, "must": True}]
    for code in ErrorCode:
        error = GatewayError(code, "Why.", retry_after_s=2.5, where="phone", since_ms=7, notices=notices)
        back = error_of(problem_members(error), error.status)
        assert (back.code, back.message, back.retry_after_s) == (code, "Why.", 2.5)
        assert back.details == {"where": "phone", "since_ms": 7, "notices": notices}


@pytest.mark.parametrize(("status", "code"), [(409, ErrorCode.BAD_REQUEST), (500, ErrorCode.INTERNAL)])
def test_a_code_of_a_later_version_is_reported_in_the_details(status: int, code: ErrorCode) -> None:
    error = error_of({"code": "of_tomorrow", "detail": "New."}, status)
    assert (error.code, error.message, error.details) == (code, "New.", {"unknown_code": "of_tomorrow"})


def test_retry_after_of_the_header_holds_when_the_body_says_nothing() -> None:
    assert error_of({"code": "busy"}, 503, retry_after_s=4.0).retry_after_s == 4.0
    assert error_of({"code": "busy", "retry_after_s": 2}, 503, retry_after_s=4.0).retry_after_s == 2.0


def test_odd_members_break_nothing() -> None:
    odd = {"code": 7, "message": 8, "retry_after_s": "soon", "self": 1, "x": {"y": 1}, "z": [1, {"a": [2]}]}
    error = error_of(odd)
    assert (error.code, error.message) == (ErrorCode.BAD_REQUEST, "bad_request")
    assert error.retry_after_s is None
    assert error.details == {"x": "{'y': 1}", "z": [{"a": "[2]"}]}
