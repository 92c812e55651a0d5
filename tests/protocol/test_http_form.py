"""HTTP bodies follow the rules of frames, errors RFC 9457."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.bodies import BODY_BYTES_MAX, LOG_ON, problem_members, read_body
from tests.protocol import strategies as any_of

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
        (GOOD.replace(b'"dashboard"', b'"canary"'), "application has a value that is not allowed"),
        (b'["canary"]', "the body is not an object"),
        (b"5", "the body is not an object"),
    ],
)
def test_what_cannot_be_read_is_a_bad_request_that_repeats_nothing(data: bytes, received: str) -> None:
    with pytest.raises(GatewayError, match=received) as refused:
        read_body(data, LOG_ON)
    assert refused.value.code is ErrorCode.BAD_REQUEST
    assert refused.value.__suppress_context__
    assert "canary" not in str(refused.value)


@given(data=st.binary(max_size=100) | any_of.PLAIN.map(lambda value: json.dumps(value).encode()))
def test_arbitrary_bodies_raise_nothing_else(data: bytes) -> None:
    with pytest.raises(GatewayError):
        read_body(data, LOG_ON)


def test_an_error_is_written_with_its_details() -> None:
    error = GatewayError(ErrorCode.ALREADY_LOGGED_ON, "Another session is open.", where="desk", since_ms=5)
    assert problem_members(error) == {
        "type": "urn:oscc-gateway:error:already_logged_on",
        "title": "Already logged on",
        "status": 409,
        "detail": "Another session is open.",
        "code": "already_logged_on",
        "where": "desk",
        "since_ms": 5,
    }


def test_an_error_says_how_long_to_wait() -> None:
    assert (
        problem_members(GatewayError(ErrorCode.RATE_LIMITED, "m", retry_after_s=1.5))["retry_after_s"] == 1.5
    )
    assert "retry_after_s" not in problem_members(GatewayError(ErrorCode.INTERNAL, "m"))
