"""Does the OpenAPI document describe every route, answer and refusal of the page?"""

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
    """Return the error codes of an operation by status."""
    return {
        status: {
            choice["$ref"].rpartition("Problem.")[2]
            for choice in answer["content"]["application/problem+json"]["schema"]["oneOf"]
        }
        for status, answer in operation["responses"].items()
        if int(status) >= 400
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
        "over_capacity", "bad_request",
    }  # fmt: skip
    assert "unauthenticated" not in found


@pytest.mark.parametrize(
    ("code", "members"),
    [
        ("account_locked", {"retry_after_s"}),
        ("notice_must_be_acknowledged", {"notices"}),
        ("already_logged_on", {"where", "since_ms"}),
        ("version_unsupported", {"minimum"}),
        ("session_ended", {"verdict"}),
        ("upstream_unavailable", {"retry_after_s"}),
        ("rate_limited", {"retry_after_s"}),
        ("over_capacity", {"retry_after_s"}),
        ("forbidden", set()),
    ],
)
def test_members_beside_the_code_are_described(code: str, members: set[str]) -> None:
    _, own = DOCUMENT["components"]["schemas"][f"Problem.{code}"]["allOf"]
    assert own["properties"].keys() == {"status", "code"} | members
    assert own["properties"]["status"]["const"] == ERRORS[ErrorCode(code)].status


def test_a_refusal_that_may_pass_says_when_to_try_again() -> None:
    answers = PATHS["/v1/realtime"]["get"]["responses"]
    assert "Retry-After" in answers["429"]["headers"]
    assert "Retry-After" in answers["503"]["headers"]
    assert "headers" not in answers["403"]


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
