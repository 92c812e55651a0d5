"""CORS and headers of every answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.edge.conftest import Open
from tests.edge.visits import SETTINGS, Gateway

PAGE = "https://app.example"
LISTED = replace(SETTINGS, origins=frozenset({PAGE}))


async def test_a_foreign_page_reads_nothing(gateway_with: Open) -> None:
    gateway = await gateway_with(LISTED)
    for method, path in (("GET", "/v1/about"), ("POST", "/v1/sessions"), ("DELETE", "/v1/session")):
        answer = await gateway.client.request(method, path, headers={"Origin": "https://evil.example"})
        assert (answer.status, (await answer.json())["code"]) == (403, "forbidden")
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_two_origins_are_none(gateway_with: Open) -> None:
    gateway = await gateway_with(LISTED)
    answer = await gateway.client.get("/v1/about", headers=[("Origin", PAGE), ("Origin", PAGE)])
    assert answer.status == 403


async def test_a_page_on_the_list_may_ask_and_read(gateway_with: Open) -> None:
    gateway = await gateway_with(LISTED)
    asked = await gateway.client.options(
        "/v1/sessions", headers={"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    )
    assert asked.status == 204
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]
    for answer in (
        asked,
        await gateway.client.get("/v1/about", headers={"Origin": PAGE}),
        await gateway.client.get("/v1/session", headers={"Origin": PAGE}),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE


async def test_options_without_a_question_is_no_method(gateway: Gateway) -> None:
    assert (await gateway.client.options("/v1/about")).status == 405


@pytest.mark.parametrize("tls", [False, True])
async def test_every_answer_wears_its_headers(gateway_with: Open, tls: bool) -> None:
    gateway = await gateway_with(replace(SETTINGS, tls=tls))
    for path in ("/v1/about", "/v1/session", "/nowhere"):
        headers = (await gateway.client.get(path)).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["Server"] == "oscc-gateway"
        assert ("Strict-Transport-Security" in headers) is tls
