"""Origins that may connect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.request_context import cors_headers, may_connect, preflight_headers

LIST = frozenset({"https://app.example", "https://other.example:8443"})


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example", True), ("https://other.example:8443", True),
        ("https://app.example:443", False), ("http://app.example", False),
        ("https://app.example.evil", False), ("https://evil.app.example", False),
        ("https://gateway.example", False), ("HTTPS://APP.EXAMPLE", False), ("null", False), ("", False),
    ],
)  # fmt: skip
def test_a_list_is_exact_and_replaces_the_same_host(origin: str, allowed: bool) -> None:
    assert may_connect(origin, "gateway.example", LIST, tls=True) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "tls", "allowed"),
    [
        ("https://gateway.example", "gateway.example", True, True),
        ("https://gateway.example", "gateway.example:443", True, True),
        ("https://GATEWAY.example", "gateway.EXAMPLE", True, True),
        ("http://gateway.example", "gateway.example", True, False),
        ("http://gateway.example:8080", "gateway.example:8080", False, True),
        ("https://gateway.example", "gateway.example", False, True),
        ("https://gateway.example:8443", "gateway.example", True, False),
        ("https://gateway.example.evil", "gateway.example", True, False),
        ("https://user@gateway.example", "gateway.example", True, False),
        ("https://gateway.example/path", "gateway.example", True, False),
        ("ftp://gateway.example", "gateway.example", False, False),
        ("https://gateway.example:99999", "gateway.example", True, False),
        ("https://[::1", "gateway.example", True, False),
        ("https://gateway.example", None, True, False),
        ("null", "null", False, False),
        ("", "gateway.example", False, False),
    ],
)
def test_without_a_list_the_same_host_may(origin: str, host: str | None, tls: bool, allowed: bool) -> None:
    assert may_connect(origin, host, frozenset(), tls=tls) is allowed


@given(st.text(max_size=60), st.text(max_size=60) | st.none(), st.booleans())
def test_nothing_that_is_said_does_harm(origin: str, host: str | None, tls: bool) -> None:
    assert may_connect(origin, host, frozenset(), tls=tls) in {True, False}


def test_a_page_may_read_answers_and_nothing_is_shared_by_caches() -> None:
    headers = cors_headers("https://app.example")
    assert headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in headers


def test_a_browser_learns_beforehand_what_it_may_send() -> None:
    headers = preflight_headers()
    assert headers["Access-Control-Allow-Methods"] == "GET, POST, DELETE"
    assert headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
