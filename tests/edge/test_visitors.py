"""Is what a request says of its sender believed as far as the settings allow?"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.request_context import EdgeSettings, RequestContext
from tests.edge.conftest import Open
from tests.edge.visits import SETTINGS, Gateway

PAGE = "https://app.example"
LISTED = replace(SETTINGS, origins=frozenset({PAGE}))


def request_of(peer: str, **headers: str) -> web.Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = make_mocked_request("GET", "/", headers={"Host": "gateway.example", **named})
    return request.clone(remote=peer)


PROXIED = replace(SETTINGS, insecure=False, trusted_proxies=(ip_network("10.0.0.0/8"),))


@pytest.mark.parametrize(
    ("peer", "headers", "address"),
    [
        ("10.0.0.1", {"X_Forwarded_For": "192.0.2.7"}, "192.0.2.7"),
        ("192.0.2.1", {"X_Forwarded_For": "192.0.2.7"}, "192.0.2.1"),
    ],
)
def test_the_address_is_the_clients(peer: str, headers: dict[str, str], address: str) -> None:
    assert RequestContext(PROXIED).address(request_of(peer, **headers)) == ip_address(address)


@pytest.mark.parametrize(
    ("settings", "peer", "headers", "may"),
    [
        (PROXIED, "10.0.0.1", {}, True),
        (PROXIED, "10.0.0.1", {"X_Forwarded_Proto": "https"}, True),
        (PROXIED, "10.0.0.1", {"X_Forwarded_Proto": "http"}, False),
        (PROXIED, "192.0.2.1", {"X_Forwarded_Proto": "https"}, False),
        (PROXIED, "127.0.0.1", {}, False),
        (replace(PROXIED, tls=True), "192.0.2.1", {}, True),
        (replace(PROXIED, insecure=True), "192.0.2.1", {}, True),
    ],
)
def test_secrets_need_a_safe_way(
    settings: EdgeSettings,
    peer: str,
    headers: dict[str, str],
    may: bool,
) -> None:
    code = None
    try:
        RequestContext(settings).check_transport(request_of(peer, **headers))
    except GatewayError as refused:
        code = refused.code
    assert code is (None if may else ErrorCode.UNTRUSTED_TRANSPORT)


def test_an_app_has_no_page() -> None:
    assert RequestContext(LISTED).origin(request_of("192.0.2.1")) is None


def test_a_page_is_named_by_its_origin() -> None:
    assert RequestContext(LISTED).origin(request_of("192.0.2.1", Origin=PAGE)) == PAGE
    with pytest.raises(GatewayError) as refused:
        RequestContext(LISTED).origin(request_of("192.0.2.1", Origin="https://evil.example"))
    assert refused.value.code is ErrorCode.FORBIDDEN


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


@pytest.mark.parametrize("path", ["/v1/about", "/v1/session", "/nowhere"])
@pytest.mark.parametrize("tls", [False, True])
async def test_every_answer_wears_its_headers(gateway_with: Open, path: str, tls: bool) -> None:
    gateway = await gateway_with(replace(SETTINGS, tls=tls))
    headers = (await gateway.client.get(path)).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["Server"] == "oscc-gateway"
    assert ("Strict-Transport-Security" in headers) is tls
