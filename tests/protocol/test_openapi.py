"""The OpenAPI documents, of clients and of operators, have every route, answer and refusal."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from openapi_spec_validator import validate

from gateway.domain.errors import ErrorCode
from gateway.protocol.openapi import (
    BY_HTTP,
    LOG_ON,
    TOKEN,
    UPSTREAM,
    USER_ID,
    admin_openapi,
    by_http,
    openapi,
    problem_schemas,
    refusals,
)
from tests.protocol.references import references, resolves

DOCUMENT, ADMIN = openapi(), admin_openapi()
PATHS = DOCUMENT["paths"]
ROUTES: Final = {
    ("get", "/v1/about"): {"200"}, ("get", "/v1/notices"): {"200"},
    ("get", "/v1/privacy/inventory"): {"200"}, ("get", "/v1/openapi.json"): {"200"},
    ("get", "/v1/asyncapi.json"): {"200"}, ("get", "/v1/schemas"): {"200"},
    ("get", "/v1/schemas/{kind}.json"): {"200"}, ("post", "/v1/sessions"): {"201"},
    ("get", "/v1/session"): {"200"}, ("delete", "/v1/session"): {"202", "204"},
    ("get", "/v1/sessions"): {"200"}, ("delete", "/v1/sessions/{id}"): {"202", "204"},
    ("get", "/v1/me/export"): {"200"}, ("get", "/v1/realtime"): {"101"},
}  # fmt: skip
ADMIN_ROUTES: Final = {
    ("get", "/openapi.json"): {"200"}, ("get", "/sessions"): {"200"}, ("delete", "/sessions/{id}"): {"200"},
    ("post", "/users/{id}/end"): {"200"}, ("get", "/users/{id}/export"): {"200"},
    ("post", "/drain"): {"202"}, ("get", "/nodes"): {"200"}, ("get", "/closes"): {"200"},
    ("post", "/log-level"): {"200"}, ("post", "/support-bundle"): {"200"}, ("post", "/reload"): {"200"},
}  # fmt: skip
WITH_TOKEN: Final = {
    ("get", "/v1/session"),
    ("delete", "/v1/session"),
    ("get", "/v1/sessions"),
    ("delete", "/v1/sessions/{id}"),
    ("get", "/v1/me/export"),
}
Operation = tuple[str, str, dict[str, Any]]


def operations(document: dict[str, Any]) -> list[Operation]:
    """Return the method, the path and the description of each operation."""
    return [
        (method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]


OPERATIONS, ADMIN_OPERATIONS = operations(DOCUMENT), operations(ADMIN)
BOTH = pytest.mark.parametrize("document", [DOCUMENT, ADMIN], ids=["clients", "operators"])


def codes(operation: dict[str, Any]) -> dict[str, set[str]]:
    """Return the error codes of an operation by status; not what HTTP itself refuses."""
    return {
        status: {
            choice["$ref"].rpartition("Problem_")[2]
            for choice in answer["content"]["application/problem+json"]["schema"]["oneOf"]
        }
        for status, answer in operation["responses"].items()
        if int(status) >= 400 and "$ref" not in answer
    }


def of_http(operation: dict[str, Any]) -> dict[str, str]:
    """Return what HTTP itself refuses: the name of the response by status."""
    return {
        status: answer["$ref"].rpartition("/")[2]
        for status, answer in operation["responses"].items()
        if "$ref" in answer
    }


@pytest.mark.parametrize(
    ("listed", "routes"),
    [(OPERATIONS, ROUTES), (ADMIN_OPERATIONS, ADMIN_ROUTES)],
    ids=["clients", "operators"],
)
def test_every_route_is_there_with_its_answers(
    listed: list[Operation], routes: dict[tuple[str, str], set[str]]
) -> None:
    found = {
        (method, path): {status for status in operation["responses"] if int(status) < 400}
        for method, path, operation in listed
    }
    assert found == routes


def test_a_token_is_asked_for_where_the_page_asks() -> None:
    asked = {
        (method, path) for method, path, operation in OPERATIONS if operation["security"] == [{"token": []}]
    }
    assert asked == WITH_TOKEN
    assert PATHS["/v1/realtime"]["get"]["security"] == [{"token": []}, {}]
    assert ADMIN["security"] == [{"token": []}]
    assert all("security" not in operation for _, _, operation in ADMIN_OPERATIONS)


@pytest.mark.parametrize(
    "operation", [pytest.param(one, id=f"{m} {p}") for m, p, one in OPERATIONS + ADMIN_OPERATIONS]
)
def test_codes_stand_under_their_status(operation: dict[str, Any]) -> None:
    for status, named in codes(operation).items():
        assert {ErrorCode(code).status for code in named} == {int(status)}


def test_every_call_of_an_operator_may_be_refused() -> None:
    for method, path, operation in ADMIN_OPERATIONS:
        assert {"400", "401", "403", "429", "500"} <= set(operation["responses"]), (method, path)


def test_a_log_on_may_be_refused_as_the_page_says() -> None:
    found = set().union(*codes(PATHS["/v1/sessions"]["post"]).values())
    assert found >= {
        "invalid_credentials", "account_locked", "account_blocked", "role_missing", "untrusted_transport",
        "notice_must_be_acknowledged", "already_logged_on", "remote_number_missing", "remote_number_invalid",
        "remote_number_not_allowed", "remote_number_in_use", "site_unknown", "version_unsupported",
        "upstream_version_unsupported", "too_many_devices", "upstream_unavailable", "rate_limited",
        "over_capacity", "bad_request", "function_unavailable", "busy", "upstream_rejected",
        "unsupported_by_upstream",
    }  # fmt: skip
    assert "unauthenticated" not in found


@pytest.mark.parametrize("operation", [pytest.param(one, id=f"{m} {p}") for m, p, one in OPERATIONS])
def test_bodies_are_refused_where_bodies_are_read(operation: dict[str, Any]) -> None:
    of_bodies = (
        {"413": "ContentTooLarge", "415": "UnsupportedMediaType"} if "requestBody" in operation else {}
    )
    assert of_http(operation) == {"417": "ExpectationFailed"} | of_bodies


def test_capacity_is_counted_only_where_connections_and_sessions_begin() -> None:
    crowded = {
        (method, path)
        for method, path, operation in OPERATIONS
        if "over_capacity" in set().union(*codes(operation).values())
    }
    assert crowded == {("post", "/v1/sessions"), ("get", "/v1/realtime")}


def test_a_log_off_does_not_ask_whether_the_session_still_lives() -> None:
    assert codes(PATHS["/v1/session"]["delete"])["401"] == {"unauthenticated"}


def test_the_password_is_never_part_of_an_answer() -> None:
    holders = {
        name
        for name, schema in DOCUMENT["components"]["schemas"].items()
        if "password" in schema.get("properties", {})
    }
    assert holders == {"LogOnBody"}


@BOTH
def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    assert [found for found in references(document) if not resolves(document, found)] == []


@BOTH
def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document)


@pytest.mark.parametrize(
    ("names", "is_one"),
    [
        (("0123456789abcdef", "main:4711", "site-2:0"), True),
        (("", "anna", "main:", "main:x", "Main:1", "0123456789ABCDEF", "main:1:2"), False),
    ],
)
def test_a_user_is_named_by_hash_or_by_site_and_key(names: tuple[str, ...], *, is_one: bool) -> None:
    assert [bool(re.fullmatch(USER_ID, name)) for name in names] == [is_one] * len(names)


# ---- the content of every refusal ----


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
    assert ("retry_after_s" in own(code).get("required", [])) is code.is_temporary
    (answer,) = (
        answer
        for answer in refusals(code).values()
        if code.value in answer.get("description", "").split(" · ")
    )
    assert ("Retry-After" in answer.get("headers", {})) is code.is_temporary


def test_a_status_is_either_for_what_may_succeed_later_or_for_what_may_not() -> None:
    by_status: dict[int, set[bool]] = {}
    for code in {*LOG_ON, *UPSTREAM, *TOKEN}:
        by_status.setdefault(code.status, set()).add(code.is_temporary)
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
