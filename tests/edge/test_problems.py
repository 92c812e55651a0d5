"""Failed requests end in problem details that reveal nothing."""

from __future__ import annotations

import json
import logging

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler
from hypothesis import given
from hypothesis import strategies as st
from pytest_aiohttp.plugin import AiohttpClient

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.request_context import problem, problems, reword


async def visitor(aiohttp_client: AiohttpClient, handler: Handler) -> TestClient[web.Request, None]:
    """Return the client of an application whose only page is *handler*."""
    app = web.Application(middlewares=[problems])
    app.on_response_prepare.append(reword)
    app.router.add_get("/", handler)
    client: TestClient[web.Request, None] = await aiohttp_client(TestServer(app))
    return client


async def get(aiohttp_client: AiohttpClient, error: Exception) -> tuple[int, dict[str, object]]:
    """Return what a request gets whose handler raises *error*."""

    async def fail(_: web.Request) -> web.Response:
        raise error

    client = await visitor(aiohttp_client, fail)
    async with client.get("/") as response:
        return response.status, await response.json(content_type=None)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_its_status_and_retry_after_where_it_may_succeed_later(code: ErrorCode) -> None:
    error = GatewayError(code, "Sorry.")
    response = problem(error)
    assert (response.status, response.content_type) == (code.status, "application/problem+json")
    assert ("WWW-Authenticate" in response.headers) is (
        code in {ErrorCode.UNAUTHENTICATED, ErrorCode.SESSION_ENDED}
    )
    assert waits(error) == ((5.0, "5") if code.is_temporary else (None, None))


def waits(error: GatewayError) -> tuple[object, str | None]:
    """Return when to try again, as the body and as the header say it."""
    response = problem(error)
    assert response.text is not None
    return json.loads(response.text).get("retry_after_s"), response.headers.get("Retry-After")


@given(st.floats(0, 1e9))
def test_nobody_is_called_too_early_or_much_too_late(wait_s: float) -> None:
    body, header = waits(GatewayError(ErrorCode.ACCOUNT_LOCKED, "Wait.", retry_after_s=wait_s))
    assert isinstance(body, float)
    assert wait_s - 1e-6 <= body <= wait_s + 0.1
    assert max(1, body) <= int(header or 0) < max(1, body) + 1


async def test_a_refusal_is_reported_with_its_members(aiohttp_client: AiohttpClient) -> None:
    error = GatewayError(ErrorCode.VERSION_UNSUPPORTED, "Too old.", minimum="2.0")
    assert await get(aiohttp_client, error) == (
        422,
        {
            "type": "urn:oscc-gateway:error:version_unsupported",
            "title": "Version unsupported",
            "status": 422,
            "detail": "Too old.",
            "code": "version_unsupported",
            "minimum": "2.0",
        },
    )


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (web.HTTPNotFound(), 404, "not_found"),
        (web.HTTPMethodNotAllowed("PUT", ["GET"]), 405, "bad_request"),
        (web.HTTPRequestEntityTooLarge(1, 2), 413, "bad_request"),
        (web.HTTPUnsupportedMediaType(), 415, "bad_request"),
        (web.HTTPBadRequest(text="what was sent"), 400, "bad_request"),
        (web.HTTPExpectationFailed(), 417, "bad_request"),
        (web.RequestPayloadError("what was sent"), 400, "bad_request"),
    ],
)
async def test_what_http_refuses_is_reported_likewise(
    aiohttp_client: AiohttpClient, refusal: Exception, status: int, code: str
) -> None:
    got, body = await get(aiohttp_client, refusal)
    assert (got, body["status"], body["code"]) == (status, status, code)
    assert "what was sent" not in str(body)


async def test_who_compresses_a_body_is_told_not_to(aiohttp_client: AiohttpClient) -> None:
    _, body = await get(aiohttp_client, web.HTTPUnsupportedMediaType())
    assert body["detail"] == "The body must be application/json, and not compressed."


@pytest.mark.parametrize("path", ["/", "/nowhere"])
async def test_refusals_before_any_handler_are_alike(aiohttp_client: AiohttpClient, path: str) -> None:
    async def greet(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    client = await visitor(aiohttp_client, greet)
    async with client.get(path, headers={"Expect": "CANARY"}) as response:
        text = await response.text()
        assert (response.status, response.content_type) == (417, "application/problem+json")
        assert response.headers["Content-Type"] == "application/problem+json"
    assert json.loads(text)["code"] == "bad_request"
    assert "CANARY" not in text
    async with client.get("/") as response:
        assert await response.text() == "hello"


async def test_a_redirect_is_no_problem(aiohttp_client: AiohttpClient) -> None:
    async def move(_: web.Request) -> web.Response:
        raise web.HTTPSeeOther("/elsewhere")

    client = await visitor(aiohttp_client, move)
    async with client.get("/", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/elsewhere")


async def test_a_fault_of_ours_shows_no_stack_and_logs_no_text(
    aiohttp_client: AiohttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        status, body = await get(aiohttp_client, RuntimeError("SECRET-VALUE"))
    assert (status, body["code"], body["detail"]) == (
        500,
        "internal",
        "Internal error of the gateway. Try again, or give the operator the time of the request.",
    )
    (record,) = [one for one in caplog.records if one.getMessage() == "request_failed"]
    assert vars(record)["error"] == "RuntimeError"
    assert vars(record)["place"].startswith("tests/edge/test_problems.py:")
    assert "SECRET-VALUE" not in caplog.text + str(body)
