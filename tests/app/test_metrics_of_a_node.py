"""Metrics of a live node: valid for promtool, with the listed labels."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from docs._generate.metrics import ANY, VALUES
from gateway.app import wiring
from gateway.app.config.sources import generate_secrets
from gateway.app.process import StopRequest
from gateway.runtime.event_loop import SystemClock
from gateway.simulator import Simulator, SimulatorSettings
from gateway.telemetry import PREFIX
from tests.app.samples import LOG_ON, settings_for
from tests.deploy.programs import ask, machine

BESIDES = {"le"}


async def _visit(http: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse[bool]:
    """Fail to log on, log on, be served, command; returns the phone."""
    as_ios = {**LOG_ON, "device": {**LOG_ON["device"], "platform": "ios"}}
    async with http.post(f"{url}/v1/sessions", json={**as_ios, "password": "wrong"}) as refused:
        assert refused.status == 401
    async with http.post(f"{url}/v1/sessions", json=as_ios) as created:
        token = (await created.json())["token"]
    async with http.get(f"{url}/v1/realtime") as refused:
        assert refused.status == 400
    ws = await http.ws_connect(f"{url}/v1/realtime", protocols=["oscc.v1.json"])
    client = {"app": "test", "version": "1", "platform": "iOS"}
    await ws.send_json({"kind": "hello", "token": token, "client": client})
    received = [await ws.receive_json() for _ in range(3)]
    nonce = next(frame["nonce"] for frame in received if frame["kind"] == "ping")
    await ws.send_json({"kind": "pong", "nonce": nonce})
    stream = next(frame["stream"] for frame in received if frame["kind"] == "changes")
    command = {"kind": "agent.routing_state.set", "agent_id": "999", "state": "work", "when": "now"}
    asked = {"id": "1", "key": "00000000-0000-4000-8000-000000000001", "stream": stream, "command": command}
    await ws.send_json({"kind": "command", **asked, "expires_at_ms": SystemClock().wall_ms() + 5_000})
    while (await ws.receive_json())["kind"] != "result":
        pass
    return ws


@pytest.fixture(scope="module")
def scraped() -> str:
    """What a node shows after a phone's visit."""

    async def live() -> str:
        async with (
            asyncio.timeout(30),
            Simulator(SimulatorSettings(agents=2, queues=1, users=1)) as simulator,
            wiring.serving(
                settings_for(simulator.url), generate_secrets(), SystemClock(), StopRequest()
            ) as addresses,
            aiohttp.ClientSession() as http,
        ):
            phone = await _visit(http, addresses.client)
            async with http.get(f"{addresses.ops}/metrics") as response:
                text = await response.text()
            await phone.close()
            return text

    return asyncio.run(live())


def test_promtool_finds_no_fault(scraped: str) -> None:
    said = ask(machine("promtool"), "check", "metrics", given=scraped)
    assert (said.code, said.text) == (0, "")


def test_promtool_would_find_one(scraped: str) -> None:
    wrong = scraped.replace(f"{PREFIX}_slow_closes_total", f"{PREFIX}_slow_closes")
    assert ask(machine("promtool"), "check", "metrics", given=wrong).code != 0


def test_labels_have_no_value_that_is_not_listed(scraped: str) -> None:
    strangers, seen = [], set()
    for family in text_string_to_metric_families(scraped):
        name = family.name.removeprefix(f"{PREFIX}_")
        for sample in family.samples:
            for label in sample.labels.keys() - BESIDES:
                allowed, value = VALUES[f"{name}.{label}"], sample.labels[label]
                seen.add(f"{name}.{label}")
                if ANY not in allowed and value not in allowed:
                    strangers.append((name, label, value))
    assert strangers == []
    assert len(seen) > 15


def test_what_the_phone_lived_through_is_reported(scraped: str) -> None:
    received = {
        (sample.name.removeprefix(f"{PREFIX}_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
    }
    expected = {
        ("connections", "dashboard", "json", "ios"): 1,
        ("log_ons_total", "dashboard", "invalid_credentials"): 1,
        ("log_ons_total", "dashboard", "ok"): 1,
        ("site_log_ons_total", "answered", "main"): 2,
        ("site_log_ons_total", "unavailable", "main"): 0,
        ("handshakes_total", "bad_request"): 1,
        ("handshakes_total", "ok"): 1,
        ("ping_rtt_seconds_count",): 1,
        ("commands_in_flight",): 0,
        ("served_connections",): 1,
        ("fresh_connections",): 1,
        ("site_function_up", "realtime", "main"): 1,
        ("devices_per_user_count",): 1,
        ("registry_size", "households"): 1,
    }
    assert {key: received.get(key) for key in expected} == expected
    assert received["frames_total",] > 0
    assert received["state_age_seconds_count",] > 0


def test_names_and_numbers_of_people_are_not_there(scraped: str) -> None:
    assert not [word for word in ("supervisor1", "agent1", "127.0.0.1", "test") if word in scraped]
