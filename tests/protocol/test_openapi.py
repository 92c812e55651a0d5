"""The OpenAPI document has every route, answer and refusal of the page."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import validate

from gateway.domain.errors import ERRORS, ErrorCode
from gateway.protocol.openapi import openapi
from tests.protocol.references import references, resolves

DOCUMENT = openapi()
PATHS = DOCUMENT["paths"]
ROUTES = {
    ("get", "/v1/about"): {"200"},
    ("get", "/v1/notices"): {"200"},
    ("get", "/v1/privacy/inventory"): {"200"},
    ("get", "/v1/openapi.json"): {"200"},
    ("get", "/v1/asyncapi.json"): {"200"},
    ("get", "/v1/schemas"): {"200"},
    ("get", "/v1/schemas/{kind}.json"): {"200"},
    ("post", "/v1/sessions"): {"201"},
    ("get", "/v1/session"): {"200"},
    ("delete", "/v1/session"): {"202", "204"},
    ("get", "/v1/sessions"): {"200"},
    ("delete", "/v1/sessions/{id}"): {"202", "204"},
    ("get", "/v1/me/export"): {"200"},
    ("get", "/v1/realtime"): {"101"},
}
TOKEN = {
    ("get", "/v1/session"),
    ("delete", "/v1/session"),
    ("get", "/v1/sessions"),
    ("delete", "/v1/sessions/{id}"),
    ("get", "/v1/me/export"),
}
OPERATIONS = [
    (method, path, operation)
    for path, item in PATHS.items()
    for method, operation in item.items()
    if method != "parameters"
]


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


def by_http(operation: dict[str, Any]) -> dict[str, str]:
    """Return what HTTP itself refuses: the name of the response by status."""
    return {
        status: answer["$ref"].rpartition("/")[2]
        for status, answer in operation["responses"].items()
        if "$ref" in answer
    }


def test_every_route_is_there_with_its_answers() -> None:
    found = {
        (method, path): {status for status in operation["responses"] if int(status) < 400}
        for method, path, operation in OPERATIONS
    }
    assert found == ROUTES


def test_a_token_is_asked_for_where_the_page_asks() -> None:
    asked = {
        (method, path) for method, path, operation in OPERATIONS if operation["security"] == [{"token": []}]
    }
    assert asked == TOKEN
    assert PATHS["/v1/realtime"]["get"]["security"] == [{"token": []}, {}]


@pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[f"{m} {p}" for m, p, _ in OPERATIONS]
)
def test_codes_stand_under_their_status(method: str, path: str, operation: dict[str, Any]) -> None:
    for status, named in codes(operation).items():
        assert {ERRORS[ErrorCode(code)].status for code in named} == {int(status)}


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


@pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[f"{m} {p}" for m, p, _ in OPERATIONS]
)
def test_bodies_are_refused_where_bodies_are_read(method: str, path: str, operation: dict[str, Any]) -> None:
    of_bodies = (
        {"413": "ContentTooLarge", "415": "UnsupportedMediaType"} if "requestBody" in operation else {}
    )
    assert by_http(operation) == {"417": "ExpectationFailed"} | of_bodies


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


def test_every_reference_leads_somewhere_and_every_name_is_unique() -> None:
    assert [found for found in references(DOCUMENT) if not resolves(DOCUMENT, found)] == []
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(names) == len(set(names))


def test_the_document_is_valid_openapi() -> None:
    validate(DOCUMENT)
