"""Bodies of the HTTP API and the admin API: as documented, read like frames, with hidden secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application
from gateway.protocol import bodies
from gateway.protocol.bodies import (
    BODY_BYTES_MAX,
    BUNDLE,
    LOG_LEVEL,
    NODE,
    AttachedSession,
    BundleBody,
    LogLevelBody,
    NodeBody,
    read_body,
    write_body,
)
from gateway.protocol.frames import SessionView, UserView
from tests.doubles.refusals import refused_with
from tests.protocol import strategies as any_of

DEVICE: dict[str, Any] = {"id": "d-1", "name": "My phone", "platform": "android", "app_version": "1.0"}
LOG_ON: dict[str, Any] = {
    "site": "main",
    "application": "remote_assistant",
    "user_name": "erika",
    "password": "secret",
    "device": DEVICE,
}


def test_a_log_on_is_read() -> None:
    body = bodies.LOG_ON.validate_python(LOG_ON | {"later": 1})
    assert body == bodies.LogOnBody(
        "main", Application.REMOTE_ASSISTANT, "erika", "secret", bodies.DeviceBody(**DEVICE)
    )
    assert (body.remote_number, body.takeover, body.accepted_notices) == (None, False, None)
    more = {"remote_number": "+49 89 1", "takeover": True, "accepted_notices": [{"id": "n", "version": 3}]}
    body = bodies.LOG_ON.validate_python(LOG_ON | more)
    assert (body.remote_number, body.takeover) == ("+49 89 1", True)
    assert body.accepted_notices == (bodies.NoticeReference("n", 3),)


@pytest.mark.parametrize(
    "wrong",
    [
        {"site": ""}, {"site": "x" * 65}, {"site": 1}, {"application": "webmail"},
        {"user_name": ""}, {"user_name": "x" * 257}, {"password": None}, {"password": "x" * 1025},
        {"takeover": "true"}, {"takeover": 1}, {"remote_number": 49}, {"remote_number": "1" * 65},
        {"device": None}, {"device": DEVICE | {"id": ""}}, {"device": DEVICE | {"name": "x" * 129}},
        {"device": {"id": "d-1"}}, {"accepted_notices": [{"id": "n", "version": "3"}]},
        {"accepted_notices": [{"id": "n", "version": 1}] * 33},
    ],
)  # fmt: skip
def test_a_log_on_is_checked_strictly(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        bodies.LOG_ON.validate_python(LOG_ON | wrong)


def test_reprs_show_no_secret() -> None:
    body = bodies.LOG_ON.validate_python(LOG_ON | {"remote_number": "+49 89 4711"})
    for secret in ("secret", "4711", "erika"):
        assert secret not in repr(body)
    created = bodies.SessionCreated(
        "secret", SessionView("1", Application.DASHBOARD, 5), UserView("1", "Erika"), "+49 89 4711"
    )
    for secret in ("secret", "4711"):
        assert secret not in repr(created)


# ---- the bytes of a body follow the rules of frames ----


GOOD = (
    b'{"site":"main","application":"dashboard","user_name":"u","password":"canary",'
    b'"device":{"id":"d","name":"n","platform":"p","app_version":"1"}}'
)


@pytest.mark.parametrize(
    ("data", "received"),
    [
        (b"", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100, "deep"),
        (GOOD.replace(b'"u"', b"NaN"), "finite"),
        (GOOD.replace(b'"u"', b"9007199254740992"), "range"),
        (GOOD.replace(b'"u"', b'"\\ud800"'), "surrogate"),
        (GOOD.replace(b'"site"', b'"password"'), "twice"),
        (GOOD + b" " * BODY_BYTES_MAX, "too big"),
        (GOOD.replace(b'"canary"', b'["canary"]'), "password is not a text"),
        (GOOD.replace(b'"application"', b'"x"'), "application is missing"),
        (GOOD.replace(b'"dashboard"', b'"canary"'), "application is not 'dashboard' or 'remote_assistant'"),
        (b'["canary"]', "the body is not an object"),
        (b"5", "the body is not an object"),
    ],
)
def test_what_cannot_be_read_is_a_bad_request_that_repeats_nothing(data: bytes, received: str) -> None:
    with pytest.raises(GatewayError, match=received) as refused:
        read_body(data, bodies.LOG_ON)
    assert refused.value.code is ErrorCode.BAD_REQUEST
    assert refused.value.__suppress_context__
    assert "canary" not in str(refused.value)


@given(data=st.binary(max_size=100) | any_of.PLAIN.map(lambda value: json.dumps(value).encode()))
def test_arbitrary_bodies_raise_nothing_else(data: bytes) -> None:
    with pytest.raises(GatewayError):
        read_body(data, bodies.LOG_ON)


# ---- bodies of the admin API are read strictly ----


DIGEST = "0" * 64


@pytest.mark.parametrize(
    ("adapter", "sent", "meant"),
    [
        (NODE, {}, NodeBody()),
        (NODE, {"node": "gw-2.example"}, NodeBody("gw-2.example")),
        (LOG_LEVEL, {"level": "debug"}, LogLevelBody("debug")),
        (BUNDLE, {"preview": True, "purpose": "case 7"}, BundleBody(preview=True, purpose="case 7")),
        (BUNDLE, {"digest": DIGEST}, BundleBody(digest=DIGEST)),
    ],
)
def test_what_is_meant_is_understood(adapter: TypeAdapter[object], sent: object, meant: object) -> None:
    assert read_body(json.dumps(sent).encode(), adapter) == meant


@pytest.mark.parametrize(
    ("adapter", "sent", "received"),
    [
        (NODE, {"nod": "gw-2"}, "nod is not known here"),
        (NODE, {"node": "../gw-2"}, "node does not have the right form"),
        (NODE, {"node": 2}, "node is not a text"),
        (NODE, [], "the body is not an object"),
        (LOG_LEVEL, {}, "level is missing"),
        (LOG_LEVEL, {"level": "verbose"}, "level is not 'debug', 'info', 'warning' or 'error'"),
        (LOG_LEVEL, {"level": "debug", "Node": "gw-2"}, "Node is not known here"),
        (BUNDLE, {"preview": "yes"}, "preview is neither true nor false"),
        (BUNDLE, {"digest": "g" * 64}, "digest does not have the right form"),
        (BUNDLE, {"digest": DIGEST + "\n"}, "digest does not have the right form"),
        (BUNDLE, {"purpose": ""}, "purpose is empty"),
        (BUNDLE, {"purpose": "x" * 201}, "purpose is longer than 200 characters"),
    ],
)
def test_what_is_not_exactly_a_wish_is_refused_in_plain_words(
    adapter: TypeAdapter[object], sent: object, received: str
) -> None:
    with refused_with(ErrorCode.BAD_REQUEST) as refused:
        read_body(json.dumps(sent).encode(), adapter)
    assert refused.value.message == f"Invalid value: {received}."


def test_members_that_may_have_no_value_stand_there_all_the_same() -> None:
    session = AttachedSession("s", "hash", "main", Application.DASHBOARD, "n1", None, True, 5)
    assert json.loads(write_body(session))["node"] is None
