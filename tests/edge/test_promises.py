"""The gateway answers as its OpenAPI document says, whatever is requested."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jsonschema
import pytest

from gateway.protocol.openapi import openapi
from gateway.upstream.oscce import http
from gateway.upstream.oscce.errors import NAMES
from tests.edge.bad_requests import BY_NAME, CASES, REFUSED_LOG_ONS, Case, filled
from tests.edge.conftest import Open
from tests.edge.promised import PROBLEM, Promises, Received
from tests.edge.visits import SETTINGS, Gateway, bearer

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
NOWHERE = ("/v1", "/v2/about", "/v1/nothing", "/v1/sessions/a/b", "/v1/session/", "/V1/about", "/v1/%00")


async def published(gateway: Gateway) -> Promises:
    return Promises(await (await gateway.client.get("/v1/openapi.json")).json())


async def pieces(body: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for piece in body:
        yield piece


async def ask(gateway: Gateway, case: Case) -> aiohttp.ClientResponse:
    """Ask once, and let time pass where the answer takes its time."""
    async with asyncio.TaskGroup() as tasks:
        headers = {**case.headers, **(bearer(gateway.token()) if case.token else {})}
        data = pieces(case.body) if isinstance(case.body, tuple) else case.body
        asked = gateway.client.request(case.method, case.path, headers=headers, data=data)
        asking = tasks.create_task(asked.__aenter__())
        while case.takes_time and not asking.done():
            await gateway.clock.advance(0.3)
    return asking.result()


@pytest.mark.parametrize("operation", BY_NAME)
async def test_every_answer_is_one_that_was_promised(
    gateway_with: Open, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    usual = await gateway_with()
    promises = await published(usual)
    for case in (each for each in CASES if each.operation == operation):
        is_usual = case.settings is SETTINGS and case.notices is None
        gateway = usual if is_usual else await gateway_with(case.settings, case.notices)
        with monkeypatch.context() as patch:
            await case.prepare(gateway, patch)
            seen = len(gateway.node.credentials)
            async with await ask(gateway, case) as answer:
                received = Received(case.operation, case.status, case.code)
                if case.status == 101:
                    assert (answer.status, received in promises.all()) == (101, True)
                else:
                    assert await promises.kept(case.method, case.path, answer) == received, case.name
        refused_here = case.status in {400, 403, 413, 415}
        assert not refused_here or len(gateway.node.credentials) == seen, "a password was shown to the server"


def test_nothing_is_promised_that_nobody_ever_gets() -> None:
    received = {Received(case.operation, case.status, case.code) for case in CASES}
    assert received == Promises(openapi()).all()


async def test_a_method_that_is_not_there_is_refused_with_those_that_are(gateway: Gateway) -> None:
    promises = await published(gateway)
    for template in {path for _, path in promises.operations}:
        there = {method for method, path in promises.operations if path == template}
        head = {"HEAD"} if "GET" in there and template != "/v1/realtime" else set()
        for method in {*METHODS, "HEAD"} - there - head:
            async with gateway.client.request(method, filled(template)) as answer:
                code = None if method == "HEAD" else "bad_request"
                assert await promises.kept(method, filled(template), answer) == ("no method", 405, code)
                assert set(answer.headers["Allow"].split(",")) == there | head


async def test_a_path_that_is_not_there_is_refused(gateway: Gateway) -> None:
    promises = await published(gateway)
    for method, path in itertools.product(METHODS, NOWHERE):
        async with gateway.client.request(method, path) as answer:
            assert await promises.kept(method, path, answer) == ("no path", 404, "not_found")
        async with gateway.client.request(method, path, headers={"Expect": "x"}) as answer:
            assert await promises.kept(method, path, answer) == ("no path", 417, "bad_request")


async def test_head_is_answered_like_get_without_the_body(gateway: Gateway) -> None:
    promises = await published(gateway)
    for method, template in promises.operations:
        if method == "GET" and template != "/v1/realtime":
            for headers in ({}, bearer(gateway.token()), {"Origin": "null"}, {"Expect": "x"}):
                path = filled(template)
                async with (
                    gateway.client.get(path, headers=headers) as got,
                    gateway.client.head(path, headers=headers) as answer,
                ):
                    assert answer.status == got.status
                    assert answer.headers["Content-Length"] == got.headers["Content-Length"]
                    assert (await promises.kept("HEAD", path, answer)).status == got.status


NAMES_OF_LOG_ONS = {name for name, *_ in REFUSED_LOG_ONS}


@pytest.mark.parametrize(
    ("of_session", "operation"),
    [(False, "POST /v1/sessions"), (True, "GET /v1/sessions"), (True, "DELETE /v1/sessions/{id}")],
)
def test_whatever_the_server_refuses_has_a_code_that_was_promised(of_session: bool, operation: str) -> None:
    promised = {
        (received.status, received.code)
        for received in Promises(openapi()).all()
        if received.operation == operation
    }
    known = {*NAMES.values(), *NAMES_OF_LOG_ONS, "Teapot", ""}
    for name, status in itertools.product(known, (400, 401, 403, 404, 409, 418, 422, 423, 500, 503)):
        error = http.refused(status, b'{"Error":"%b"}' % name.encode(), of_session=of_session)
        assert (error.status, error.code.value) in promised, name


# ---- the check itself ----


def _without_status(responses: dict[str, Any]) -> None:
    del responses["401"]


def _with_other_codes(responses: dict[str, Any]) -> None:
    responses["401"]["content"][PROBLEM]["schema"]["oneOf"].pop()


def _with_another_header(responses: dict[str, Any]) -> None:
    responses["401"]["headers"]["Retry-After"] = {"required": True, "schema": {"type": "integer"}}


def _with_another_status(responses: dict[str, Any]) -> None:
    responses["401"]["content"][PROBLEM]["schema"]["properties"]["status"]["const"] = 403


async def test_an_answer_that_was_not_promised_is_found(gateway: Gateway) -> None:
    async with gateway.client.get("/v1/session") as answer:
        for spoil, complaint in (
            (_without_status, AssertionError),
            (_with_other_codes, jsonschema.ValidationError),
            (_with_another_header, AssertionError),
            (_with_another_status, jsonschema.ValidationError),
        ):
            document = openapi()
            spoil(document["paths"]["/v1/session"]["get"]["responses"])
            with pytest.raises(complaint):
                await Promises(document).kept("GET", "/v1/session", answer)
        assert (await Promises(openapi()).kept("GET", "/v1/session", answer)).code == "unauthenticated"
