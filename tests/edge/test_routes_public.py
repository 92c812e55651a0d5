"""Public routes."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_network

import pytest

from gateway.edge.policies import NoticesInForce, NoticeText, OperatorNotice
from gateway.edge.request_context import EdgeSettings
from gateway.edge.routes import PublishedDocuments
from gateway.protocol import codec
from gateway.protocol.schemas import inventory
from tests.edge.conftest import Open
from tests.edge.visits import SETTINGS, Gateway

NOTICES = NoticesInForce(
    [
        OperatorNotice(
            "privacy",
            1,
            "privacy",
            5,
            True,
            {"en": NoticeText("Read", "this"), "de": NoticeText("Lies", "das")},
        )
    ]
)


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
    gateway_with: Open,
    settings: EdgeSettings,
    proto: str | None,
    trusted: bool,
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
    assert await answer.json() == json.loads(codec.write_body(inventory()))


async def test_the_list_of_schemas_has_all_that_can_be_had(gateway: Gateway) -> None:
    listed = (await (await gateway.client.get("/v1/schemas")).json())["schemas"]
    of = {entry["kind"]: entry["of"] for entry in listed}
    assert len(of) == len(listed) == len(PublishedDocuments().schemas)
    assert (of["hello"], of["changes"], of["bye"], of["queue"]) == (
        *("client_frame", "gateway_frame", "frame", "resource"),
    )
    for entry in listed:
        assert (await gateway.client.get(entry["href"])).status == 200
