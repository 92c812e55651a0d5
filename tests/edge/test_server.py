"""The whole edge under arbitrary input: it stays up, and logs no secret."""

from __future__ import annotations

import json
import logging
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.protocol import frames
from gateway.protocol.codec import JSON, MSGPACK
from gateway.protocol.openapi import openapi
from tests.edge.bad_requests import LOG_ON
from tests.edge.promised import Promises
from tests.edge.visits import Gateway, Phone, bearer, opened, ticket_of

PROMISES = Promises(openapi())
FUZZ = settings(
    max_examples=min(25, settings().max_examples // 2),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(
    ["hello", "follow", "pace", "command", "pong", "resync", "bye", "welcome", "x", 5, None]
)
NAMES = st.sampled_from(
    ["id", "key", "stream", "topics", "every_s", "command", "expires_at_ms", "token", "client", "nonce"]
)
FRAMES = st.builds(
    lambda kind, fields: {"kind": kind} | fields, KINDS, st.dictionaries(NAMES, PLAIN, max_size=5)
)
TEXTS = (FRAMES | PLAIN).map(json.dumps) | st.text(max_size=80)
BYTES = st.binary(max_size=120)
MESSAGES = st.lists(TEXTS | BYTES, max_size=12)


async def send(phone: Phone, messages: list[str | bytes]) -> None:
    """Send whatever it is, until the other side has had enough."""
    for message in messages:
        if phone.ws.closed:
            return
        try:
            await (phone.ws.send_str(message) if isinstance(message, str) else phone.ws.send_bytes(message))
        except (aiohttp.ClientError, UnicodeEncodeError):
            return


async def leave(phone: Phone) -> None:
    await phone.ws.close()


@FUZZ
@given(MESSAGES, st.booleans(), st.booleans())
async def test_whatever_a_phone_says_others_see_nothing_of_it(
    messages: list[str | bytes], helloed: bool, text: bool
) -> None:
    gateway = await opened()
    try:
        other = await gateway.served(ticket=ticket_of(gateway.clock, session="other", key=8))
        codec = JSON if text else MSGPACK
        phone = await (gateway.served(codec) if helloed else gateway.connect(codec))
        await send(phone, messages)
        await gateway.clock.settle()
        await leave(phone)
        await gateway.clock.advance(1)
        gateway.node.wait_for(1, queue=2)
        seen = await other.hear_one(frames.Changes)
        assert seen.patch == {"queue:2": {"contacts_waiting": 1}}
        assert gateway.admission.sockets == 1
        assert (await gateway.client.get("/v1/about")).status == 200
    finally:
        await gateway.client.close()


@FUZZ
@given(
    st.sampled_from(["GET", "POST", "DELETE", "PUT", "OPTIONS", "HEAD", "PATCH"]),
    st.sampled_from(
        ["/v1/sessions", "/v1/session", "/v1/sessions/x", "/v1/realtime", "/v1/about", "/v1/%00", "/"]
    ),
    st.dictionaries(
        st.sampled_from(
            ["Authorization", "Content-Type", "Origin", "Accept-Language", "X-Forwarded-For", "Expect"]
        ),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
        max_size=4,
    ),
    TEXTS.map(str.encode) | BYTES,
)
async def test_whatever_is_asked_is_answered_as_it_was_promised(
    method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    gateway = await opened()
    try:
        data = body if method in {"POST", "PUT", "PATCH"} else None
        answer = await gateway.client.request(method, path, headers=headers, data=data)
        assert answer.status != 500
        await PROMISES.kept(method, path, answer)
    finally:
        await gateway.client.close()


# ---- what a session makes of bad messages, over real sockets ----


async def test_the_wrong_type_of_message_is_1003(gateway: Gateway) -> None:
    phone, other = await gateway.served(JSON), await gateway.served(MSGPACK)
    await phone.ws.send_bytes(b"{}")
    await other.ws.send_str("{}")
    assert [(await each.end())[1] for each in (phone, other)] == [1003, 1003]


async def test_a_bad_frame_is_answered_and_four_in_a_second_are_4007(gateway: Gateway) -> None:
    phone = await gateway.served()
    for number in range(3):
        await phone.ws.send_str(json.dumps({"kind": "nonsense", "id": f"x{number}"}))
        error = await phone.hear_one(frames.ErrorFrame)
        assert (error.code, error.id) == ("bad_request", f"x{number}")
    await phone.ws.send_str("{")
    assert (await phone.end())[1] == 4007


async def test_frames_over_the_rate_are_dropped_and_then_it_is_4102(gateway: Gateway) -> None:
    phone = await gateway.served()
    for _ in range(41):
        await phone.say(frames.Pong("1"))
    error = (await phone.hear_all("error"))[-1]
    assert error.code == "rate_limited"
    for _ in range(200):
        await phone.say(frames.Pong("1"))
    assert (await phone.end())[1] == 4102


# ---- canaries ----


async def test_no_log_line_holds_a_secret(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        body = LOG_ON | {"application": "remote_assistant", "password": "CANARY-PASSWORD"}
        body |= {"remote_number": "+49 89 47110815"}
        async with gateway.client.post("/v1/sessions", json=body | {"takeover": "CANARY-BODY"}) as refused:
            assert "CANARY" not in await refused.text()
        spoilt = body | {"remote_number": "+4989CANARY"}
        async with gateway.client.post("/v1/sessions", json=spoilt) as refused:
            assert "CANARY" not in await refused.text()
        gateway.node.fault = RuntimeError("CANARY-FAULT")
        assert (await gateway.client.post("/v1/sessions", json=body)).status == 500
        gateway.node.fault = None
        token = gateway.token()
        await gateway.client.get("/v1/session", headers=bearer(token))
        await gateway.client.get(f"/v1/session?token={token}", headers=bearer(token[:-2] + "xx"))
        phone = await gateway.served()
        await phone.ws.send_str(json.dumps({"kind": "hello", "token": token, "CANARY": 1}))
        await phone.hear_all("error")
        await (await gateway.hello(token + "x")).end()
    assert "CANARY" not in caplog.text
    assert "47110815" not in caplog.text
    assert token[:40] not in caplog.text
    assert "SECRET" not in caplog.text
