"""The OpenAPI document describes the content of every refusal."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.errors import ERRORS, ErrorCode
from gateway.protocol.openapi import (
    BY_HTTP,
    LOG_ON,
    TOKEN,
    UPSTREAM,
    by_http,
    problem_schemas,
    refusals,
)

SCHEMAS = problem_schemas()


def own(code: ErrorCode) -> dict[str, Any]:
    """Return what a code adds to problem details."""
    _, own = SCHEMAS[f"Problem_{code.value}"]["allOf"]
    assert isinstance(own, dict)
    return own


@pytest.mark.parametrize(
    ("code", "always", "maybe"),
    [
        ("notice_must_be_acknowledged", {"notices"}, set()),
        ("already_logged_on", set(), {"where", "since_ms"}),
        ("version_unsupported", {"minimum"}, set()),
        ("session_ended", {"verdict"}, set()),
        ("upstream_rejected", {"upstream_code"}, set()),
        ("function_unavailable", {"retry_after_s"}, {"function"}),
        ("forbidden", set(), set()),
    ],
)
def test_members_beside_the_code_are_described(code: str, always: set[str], maybe: set[str]) -> None:
    described = own(ErrorCode(code))
    assert described["properties"].keys() == {"status", "code"} | always | maybe
    assert set(described.get("required", [])) == always


@pytest.mark.parametrize("code", ErrorCode)
def test_refusals_that_may_succeed_later_document_retry_after(code: ErrorCode) -> None:
    assert ("retry_after_s" in own(code).get("required", [])) is ERRORS[code].retry
    (answer,) = (
        answer
        for answer in refusals(code).values()
        if code.value in answer.get("description", "").split(" · ")
    )
    assert ("Retry-After" in answer.get("headers", {})) is ERRORS[code].retry


def test_a_status_is_either_for_what_may_succeed_later_or_for_what_may_not() -> None:
    by_status: dict[int, set[bool]] = {}
    for code in {*LOG_ON, *UPSTREAM, *TOKEN}:
        by_status.setdefault(ERRORS[code].status, set()).add(ERRORS[code].retry)
    assert all(len(kinds) == 1 for kinds in by_status.values())


def test_a_token_that_is_asked_for_is_asked_for_in_the_header_too() -> None:
    assert refusals(*TOKEN)["401"]["headers"]["WWW-Authenticate"]["required"]
    assert "headers" not in refusals(ErrorCode.INVALID_CREDENTIALS)["401"]


def test_what_http_refuses_keeps_its_status_under_our_code() -> None:
    for status, (name, code, _) in BY_HTTP.items():
        allowed = own(code)["properties"]["status"]
        assert status in allowed.get("enum", [allowed.get("const")])
        schema = by_http()[name]["content"]["application/problem+json"]["schema"]
        assert schema["properties"]["status"]["const"] == status
        assert schema["oneOf"] == [{"$ref": f"#/components/schemas/Problem_{code.value}"}]
    assert by_http()["MethodNotAllowed"]["headers"]["Allow"]["required"]


def test_every_operation_may_be_forbidden_to_a_page_fail_or_not_meet_an_expectation() -> None:
    assert list(refusals()) == ["403", "417", "429", "500"]
    assert list(refusals(ErrorCode.BUSY, statuses=(413,))) == ["403", "413", "417", "429", "500", "503"]
