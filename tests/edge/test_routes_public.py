"""Public routes: their documents, and the headers of every answer."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_network
from unittest.mock import Mock

import pytest
from aiohttp import web

from gateway.domain.resources import RESOURCES
from gateway.edge.policies import NoticesInForce, NoticeText, OperatorNotice
from gateway.edge.request_context import EdgeSettings
from gateway.edge.routes import published
from gateway.protocol.bodies import write_body
from gateway.protocol.schemas import CLIENT_FRAMES, GATEWAY_FRAMES, inventory, whole_schemas
from tests.edge.conftest import Open
from tests.edge.visits import SETTINGS, Gateway
from tests.protocol.references import references

TEXTS = {"en": NoticeText("Read", "this"), "de": NoticeText("Lies", "das")}
NOTICES = NoticesInForce([OperatorNotice("privacy", 1, "privacy", 5, True, TEXTS)])


async def test_about_says_what_the_page_says(gateway_with: Open) -> None:
    gateway = await gateway_with(replace(SETTINGS, privacy_contact="dpo@example", privacy_statement_url=None))
    answer = await gateway.client.get("/v1/about")
    assert answer.status == 200
    assert await answer.json() == {
        "name": "OSCC gateway",
        "version": "1.2.3",
        "protocols": ["oscc.v1.json", "oscc.v1.msgpack"],
        "sites": [{"id": "main", "display_name": "Main", "applications": ["dashboard", "remote_assistant"]}],
        "capabilities": list(SETTINGS.capabilities),
        "trusted_transport": False,
        "privacy": {"contact": "dpo@example", "statement_url": None},
        "client_may_keep": ["address", "login_data", "session_token"],
        "client_must_not_keep": ["realtime_data"],
    }


LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("settings", "proto", "trusted"),
    [
        (SETTINGS, None, False),
        (replace(SETTINGS, tls=True), None, True),
        (replace(SETTINGS, trusted_proxies=LOOPBACK), "https", True),
        (replace(SETTINGS, trusted_proxies=LOOPBACK), "http", False),
        (SETTINGS, "https", False),
    ],
)
async def test_about_says_whether_the_way_is_encrypted(
    gateway_with: Open, settings: EdgeSettings, proto: str | None, trusted: bool
) -> None:
    gateway = await gateway_with(settings)
    headers = {} if proto is None else {"X-Forwarded-Proto": proto}
    about = await (await gateway.client.get("/v1/about", headers=headers)).json()
    assert about["trusted_transport"] is trusted


async def test_notices_come_in_the_readers_language(gateway_with: Open) -> None:
    gateway = await gateway_with(notices=NOTICES)
    for language, title in (("de-AT", "Lies"), ("fr", "Read")):
        answer = await gateway.client.get("/v1/notices", headers={"Accept-Language": language})
        (notice,) = (await answer.json())["notices"]
        assert notice["title"] == title
        assert answer.headers["Vary"] == "Accept-Language"


async def test_the_inventory_is_published(gateway: Gateway) -> None:
    answer = await gateway.client.get("/v1/privacy/inventory")
    assert await answer.json() == json.loads(write_body(inventory()))


async def test_the_list_of_schemas_has_all_that_can_be_had(gateway: Gateway) -> None:
    listed = (await (await gateway.client.get("/v1/schemas")).json())["schemas"]
    of = {entry["kind"]: entry["of"] for entry in listed}
    assert len(of) == len(listed) == len(SCHEMAS)
    assert (of["hello"], of["changes"], of["bye"], of["queue"]) == (
        *("client_frame", "gateway_frame", "frame", "resource"),
    )
    for entry in listed:
        assert (await gateway.client.get(entry["href"])).status == 200


# ---- published documents are complete, one for each kind ----


SCHEMAS = whole_schemas()
KINDS = sorted(
    {str(of.__dataclass_fields__["kind"].default) for of in (*CLIENT_FRAMES, *GATEWAY_FRAMES)}
    | set(RESOURCES)
)


def test_a_schema_is_there_for_each_kind_and_complete() -> None:
    assert sorted(SCHEMAS) == KINDS
    for kind in KINDS:
        schema = SCHEMAS[kind]
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        held = {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}
        assert references(schema) == held, kind
    assert len(SCHEMAS["bye"]["anyOf"]) == 2


async def test_documents_are_made_once(gateway: Gateway) -> None:
    made = Mock(return_value=b"{}")
    get = published(made)
    first, again = await get(Mock()), await get(Mock())
    assert isinstance(first, web.Response)
    assert isinstance(again, web.Response)
    assert first.body is again.body
    made.assert_called_once_with()
    for name, starts in (("openapi", "3.1"), ("asyncapi", "3.")):
        document = await (await gateway.client.get(f"/v1/{name}.json")).json()
        assert document[name].startswith(starts)


# ---- CORS and headers of every answer ----


PAGE = "https://app.example"
LISTED = replace(SETTINGS, origins=frozenset({PAGE}))


async def test_pages_on_the_list_may_ask_and_read_and_foreign_ones_nothing(gateway_with: Open) -> None:
    gateway = await gateway_with(LISTED)
    for method, path in (("GET", "/v1/about"), ("POST", "/v1/sessions"), ("DELETE", "/v1/session")):
        answer = await gateway.client.request(method, path, headers={"Origin": "https://evil.example"})
        assert (answer.status, (await answer.json())["code"]) == (403, "forbidden")
        assert "Access-Control-Allow-Origin" not in answer.headers
    answer = await gateway.client.get("/v1/about", headers=[("Origin", PAGE), ("Origin", PAGE)])
    assert answer.status == 403
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
