"""The OpenAPI document of the admin API has every route, answer and refusal."""

from __future__ import annotations

import re
from typing import Any

import pytest
from openapi_spec_validator import validate

from gateway.domain.errors import ERRORS, ErrorCode
from gateway.protocol.openapi import USER_ID, admin_openapi
from tests.protocol.references import references, resolves

DOCUMENT = admin_openapi()
ROUTES = {
    ("get", "/openapi.json"): {"200"},
    ("get", "/sessions"): {"200"},
    ("delete", "/sessions/{id}"): {"200"},
    ("post", "/users/{id}/end"): {"200"},
    ("get", "/users/{id}/export"): {"200"},
    ("post", "/drain"): {"202"},
    ("get", "/nodes"): {"200"},
    ("get", "/closes"): {"200"},
    ("post", "/log-level"): {"200"},
    ("post", "/support-bundle"): {"200"},
    ("post", "/reload"): {"200"},
}
OPERATIONS: list[tuple[str, str, dict[str, Any]]] = [
    (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
]


def test_it_is_openapi() -> None:
    validate(DOCUMENT)


def test_every_route_is_there_with_its_answers() -> None:
    found = {
        (method, path): {status for status in operation["responses"] if int(status) < 400}
        for method, path, operation in OPERATIONS
    }
    assert found == ROUTES


def test_every_call_needs_the_token() -> None:
    assert DOCUMENT["security"] == [{"token": []}]
    assert all("security" not in operation for _, _, operation in OPERATIONS)


@pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[f"{m} {p}" for m, p, _ in OPERATIONS]
)
def test_refusals_stand_under_their_status(method: str, path: str, operation: dict[str, Any]) -> None:
    statuses = set(operation["responses"])
    assert {"400", "401", "403", "429", "500"} <= statuses
    for status, answer in operation["responses"].items():
        if int(status) >= 400 and "$ref" not in answer:
            choices = answer["content"]["application/problem+json"]["schema"]["oneOf"]
            codes = {choice["$ref"].rpartition("Problem_")[2] for choice in choices}
            assert {ERRORS[ErrorCode(code)].status for code in codes} == {int(status)}


def test_every_reference_leads_somewhere() -> None:
    assert [ref for ref in references(DOCUMENT) if not resolves(DOCUMENT, ref)] == []


@pytest.mark.parametrize("name", ["0123456789abcdef", "main:4711", "site-2:0"])
def test_a_user_is_named_by_hash_or_by_site_and_key(name: str) -> None:
    assert re.fullmatch(USER_ID, name)


@pytest.mark.parametrize("name", ["", "anna", "main:", "main:x", "Main:1", "0123456789ABCDEF", "main:1:2"])
def test_a_user_is_named_in_no_other_way(name: str) -> None:
    assert re.fullmatch(USER_ID, name) is None
