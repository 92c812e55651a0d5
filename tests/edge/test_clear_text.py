"""No secret travels in clear text."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import aiohttp
import pytest

from gateway.protocol.openapi import openapi
from tests.edge.bad_requests import filled
from tests.edge.conftest import Open
from tests.edge.test_routes_realtime import UPGRADE, knock
from tests.edge.test_routes_sessions import code_of
from tests.edge.visits import SETTINGS, bearer

REFUSED = (403, "untrusted_transport")
ELSEWHERE = replace(SETTINGS, insecure=False, trusted_proxies=(ip_network("10.0.0.0/8"),))
"""TLS ends at proxies, and who knocks is none of them."""
BEHIND = replace(ELSEWHERE, trusted_proxies=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
"""Who knocks is the proxy."""


async def test_where_secrets_come_along_clear_text_is_refused_and_nowhere_else(gateway_with: Open) -> None:
    """Secrets are tokens, or the password of a log-on."""
    gateway = await gateway_with(ELSEWHERE)
    for path, item in openapi()["paths"].items():
        headers = bearer(gateway.token()) | (UPGRADE if path == "/v1/realtime" else {})
        for method in item.keys() & {"get", "post", "delete"}:
            async with gateway.client.request(method, filled(path), headers=headers) as answer:
                if item[method]["security"] or path == "/v1/sessions":
                    assert await code_of(answer) == REFUSED
                else:
                    assert answer.status in {200, 404}
    assert (gateway.node.connections, gateway.node.credentials) == ([], [])


async def test_head_is_refused_like_get(gateway_with: Open) -> None:
    gateway = await gateway_with(ELSEWHERE)
    assert (await gateway.client.head("/v1/session", headers=bearer(gateway.token()))).status == 403


async def test_a_socket_is_refused_before_the_upgrade_also_without_a_token(gateway_with: Open) -> None:
    gateway = await gateway_with(ELSEWHERE)
    assert await code_of(await knock(gateway)) == REFUSED
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await gateway.hello(gateway.token())
    assert gateway.sample("handshakes_total", result="untrusted_transport") == 2


async def test_a_page_may_ask_beforehand(gateway_with: Open) -> None:
    gateway = await gateway_with(replace(ELSEWHERE, origins=frozenset({"https://app.example"})))
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    assert (await gateway.client.options("/v1/session", headers=headers)).status == 204


@pytest.mark.parametrize(("proto", "status"), [(None, 200), ("https", 200), ("wss", 200), ("http", 403)])
async def test_a_proxy_vouches_unless_it_says_http(
    gateway_with: Open, proto: str | None, status: int
) -> None:
    gateway = await gateway_with(BEHIND)
    said = {} if proto is None else {"X-Forwarded-Proto": proto}
    answer = await gateway.client.get("/v1/session", headers=bearer(gateway.token()) | said)
    assert answer.status == status
    assert (await knock(gateway, **said)).status == (101 if status == 200 else 403)
