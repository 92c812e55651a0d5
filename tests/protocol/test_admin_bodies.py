"""Bodies of the admin API are read strictly."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application
from gateway.protocol.bodies import (
    BUNDLE,
    LOG_LEVEL,
    NODE,
    AttachedSession,
    BundleBody,
    LogLevelBody,
    NodeBody,
)
from gateway.protocol.codec import read_body, write_body

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
        (LOG_LEVEL, {"level": "verbose"}, "level has a value that is not allowed"),
        (LOG_LEVEL, {"level": "debug", "Node": "gw-2"}, "Node is not known here"),
        (BUNDLE, {"preview": "yes"}, "preview is neither true nor false"),
        (BUNDLE, {"digest": "g" * 64}, "digest does not have the right form"),
        (BUNDLE, {"digest": DIGEST + "\n"}, "digest does not have the right form"),
        (BUNDLE, {"purpose": ""}, "purpose is too short"),
        (BUNDLE, {"purpose": "x" * 201}, "purpose is too long"),
    ],
)
def test_what_is_not_exactly_a_wish_is_refused_in_plain_words(
    adapter: TypeAdapter[object], sent: object, received: str
) -> None:
    with pytest.raises(GatewayError) as refused:
        read_body(json.dumps(sent).encode(), adapter)
    assert refused.value.code is ErrorCode.BAD_REQUEST
    assert refused.value.message == f"Invalid value: {received}."


def test_members_that_may_have_no_value_stand_there_all_the_same() -> None:
    session = AttachedSession("s", "hash", "main", Application.DASHBOARD, "n1", None, True, 5)
    assert json.loads(write_body(session))["node"] is None
