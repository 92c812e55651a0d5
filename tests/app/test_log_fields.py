"""Each field of a log line takes its own shape only."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway
from gateway.app.keys import SecretKey
from gateway.app.logging import Pseudonyms, field_shapes, network_of, shape_text
from gateway.domain import resources
from gateway.domain.errors import CloseCode
from gateway.domain.model import Application, Privacy, UserHash, UserId

PSEUDONYMS = Pseudonyms(SecretKey(bytes(32)))
FIELDS = field_shapes(PSEUDONYMS)
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def test_no_field_has_the_name_of_personal_or_realtime_data() -> None:
    guarded = {
        field.name
        for each in vars(resources).values()
        if isinstance(each, type) and dataclasses.is_dataclass(each)
        for field in dataclasses.fields(each)
        if field.metadata.get("privacy") is not Privacy.NEUTRAL
    }
    assert len(guarded) > 50
    # the logging library's own name for its severity
    assert set(FIELDS) & guarded == {"level"}


def _lines_of(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield each call that writes a log line."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="_LOG"), attr=level)) if level in LEVELS:
                yield node


def test_every_field_that_a_line_of_the_log_has_is_shown() -> None:
    """A field that is not listed is left out: the page would promise what the log does not have."""
    lines = [
        (path.name, line)
        for path in sorted(Path(gateway.__file__).parent.rglob("*.py"))
        for line in _lines_of(ast.parse(path.read_text("utf-8")))
    ]
    assert len(lines) > 40
    own = {"exc_info", "extra"}
    hidden = {
        (name, line.lineno, word.arg)
        for name, line in lines
        for word in line.keywords
        if word.arg is not None and word.arg not in {*FIELDS, *own}
    }
    assert hidden == set()


@pytest.mark.parametrize(
    "name", ["password", "token", "remote_number", "user_name", "query", "url", "path", "by"]
)
def test_fields_that_could_hold_secrets_are_not_listed(name: str) -> None:
    assert name not in FIELDS


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("site", "main", "main"),
        ("application", Application.DASHBOARD, "dashboard"),
        ("codec", "oscc.v1.json", "oscc.v1.json"),
        ("close_code", CloseCode.SLOW, 4108),
        ("connections", 5, 5),
        ("lasted_s", 1.23456, 1.235),
        ("lasted_s", 2, 2.0),
        ("tls", True, True),
        ("version", "0.1.0", "0.1.0"),
        ("place", "gateway/edge/socket.py:12:fail", "gateway/edge/socket.py:12:fail"),
        ("place", "a/b.py:1:f < c.py:2:<lambda>", "a/b.py:1:f < c.py:2:<lambda>"),
        ("place", "a/b.py:1:f < secret", None),
        ("host", "::1", "::1"),
        ("site", "+49301234567", None),
        ("site", "agent12345", None),
        ("site", "a@b", None),
        ("site", "x" * 65, None),
        ("site", 5, None),
        ("connections", True, None),
        ("connections", "5", None),
        ("lasted_s", "5", None),
        ("tls", 1, None),
        ("version", "1234567", None),
        ("host", "user@host", None),
        ("place", "a b:1", None),
        ("event", 5, None),
        ("user", UserHash("0123456789abcdef"), "0123456789abcdef"),
        ("user", "0123456789abcdef", None),
        ("user", UserHash("canary"), None),
        ("by_node", "gw-2", "gw-2"),
        ("life", "0123456789abcdef", "0123456789abcdef"),
        ("life", "canary", None),
        ("address", "x", None),
        ("address", None, None),
    ],
)
def test_a_value_without_its_shape_is_nothing(name: str, value: object, shown: object) -> None:
    found = FIELDS[name](value)
    assert (found, type(found)) == (shown, type(shown))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        (ip_address("203.0.113.77"), "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
    ],
)
def test_addresses_are_truncated(address: object, shown: str) -> None:
    assert network_of(address) == shown


def test_users_are_keyed_hashes() -> None:
    name = PSEUDONYMS(UserId("main", 5))
    assert name == PSEUDONYMS(UserId("main", 5))
    others = {
        name,
        PSEUDONYMS(UserId("main", 6)),
        PSEUDONYMS(UserId("other", 5)),
        Pseudonyms(SecretKey(bytes([1]) * 32))(UserId("main", 5)),
    }
    assert len(others) == 4
    assert name is not None
    assert len(name) == 16


@pytest.mark.parametrize("value", ["main", 5, ("main", 5), None])
def test_only_a_user_id_is_taken_for_a_user(value: object) -> None:
    assert PSEUDONYMS(value) is None


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("The link is open.", "The link is open."),
        ("call +49 (30) 123-4567 now", "call … now"),
        ("call 030/1234567", "call …"),
        ("GET /v1/x?token=canary done", "GET /v1/x… done"),
        ("token " + "aB3-" * 10, "token …"),
        ("first\nsecond", "first"),
        ("x " * 200, "x " * 100),
        ("port 8080, code 4108", "port 8080, code 4108"),
    ],
)
def test_sentences_lose_what_looks_like_a_number_a_token_or_a_query(sentence: str, shown: str) -> None:
    assert shape_text(sentence) == shown


@given(
    st.from_regex(r"\+?[1-9][0-9]{6,14}", fullmatch=True), st.sampled_from(sorted(set(FIELDS) - {"event"}))
)
def test_a_telephone_number_fits_no_field(number: str, field: str) -> None:
    shown = FIELDS[field](number)
    # operators name machines as they like
    is_machine = field in {"host", "node", "by_node"} and not number.startswith("+")
    assert shown is None or is_machine or number.lstrip("+") not in str(shown)


@given(st.from_regex(r"\+?[1-9][0-9]{6,14}", fullmatch=True))
def test_a_telephone_number_is_in_no_sentence(number: str) -> None:
    assert number not in str(shape_text(f"number {number} refused"))
