"""Refusals become one error with a stable code."""

from __future__ import annotations

import pytest

from gateway.client.http import error_of
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.codec import problem_members


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
