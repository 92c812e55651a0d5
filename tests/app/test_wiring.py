"""Is a gateway put together so that a phone is served, and sent away at the end?"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.app import wiring
from gateway.app.adapters import open_bus
from gateway.app.config import settings as config_settings
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import Settings
from gateway.app.config.sources import generate_secrets
from gateway.app.keys import Keyring
from gateway.app.listeners import CannotListen
from gateway.app.process import StopRequest, SystemClock
from gateway.bus.stores import BackendOptions
from gateway.domain.model import NodeId
from gateway.protocol.envelopes import NodeRecord
from gateway.runtime.node import Cluster, Node
from gateway.runtime.ports import Clock
from gateway.simulator import Simulator, SimulatorSettings
from gateway.telemetry import Telemetry
from gateway.upstream.oscce.client import OsccServer
from tests.doubles.alone import alone
from tests.doubles.clock import ManualClock

LOG_ON = {
    "site": "main",
    "application": "dashboard",
    "user_name": "supervisor1",
    "password": "demo",
    "device": {"id": "d", "name": "test", "platform": "desktop", "app_version": "1"},
}

NOTICE = """\
id = "upkeep"
version = {}
category = "maintenance"
effective_at = 2026-01-31T08:00:00Z
texts.en = {{title = "Upkeep", summary = "On Sunday."}}
"""


def settings_for(upstream: str, **client: object) -> Settings:
    return Settings.model_validate(
        {
            "client": {"port": 0, "insecure": True, **client},
            "ops": {"port": 0},
            "admin": {"port": 0},
            "sites": [{"id": "main", "url": upstream, "display_name": "Main", "country": "DE"}],
            "limits": {"drain_s": 7},
        }
    )


@asynccontextmanager
async def running(stopping: StopRequest, *notices: Path) -> AsyncIterator[wiring.Addresses]:
    """A gateway before a small contact centre."""
    async with Simulator(SimulatorSettings(agents=2, queues=1, users=1)) as simulator:
        settings = settings_for(simulator.url).model_copy(
            update={"notices": config_settings.NoticesSection(files=notices)}
        )
        async with wiring.serving(settings, generate_secrets(), SystemClock(), stopping) as addresses:
            yield addresses


async def text_of(http: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with http.get(url) as response:
        return response.status, await response.text()


async def _hello(http: aiohttp.ClientSession, client: str) -> aiohttp.ClientWebSocketResponse:
    """Log on and say hello."""
    async with http.post(f"{client}/v1/sessions", json=LOG_ON) as response:
        assert response.status == 201
        token = (await response.json())["token"]
    ws = await http.ws_connect(f"{client}/v1/realtime", protocols=["oscc.v1.json"])
    phone = {"app": "test", "version": "1", "platform": "test"}
    await ws.send_json({"kind": "hello", "token": token, "client": phone})
    return ws


async def _rest(ws: aiohttp.ClientWebSocketResponse) -> list[dict[str, object]]:
    return [json.loads(message.data) async for message in ws]


async def _heard(ws: aiohttp.ClientWebSocketResponse, *kinds: str) -> dict[str, Any]:
    """Return the next frame of one of *kinds*."""
    while True:
        frame: dict[str, Any] = await ws.receive_json()
        if frame["kind"] in kinds:
            return frame


async def test_a_phone_is_served_and_sent_away_at_the_end() -> None:
    stopping = StopRequest()
    async with aiohttp.ClientSession() as http, asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        async with running(stopping) as addresses:
            ws = await _hello(http, addresses.client)
            assert (await ws.receive_json())["kind"] == "welcome"
            changes = await ws.receive_json()
            assert {"queue:1", "me", "site"} & changes["put"].keys()
            _, metrics = await text_of(http, f"{addresses.ops}/metrics")
            assert "oscc_gateway_users 1.0\n" in metrics
            assert 'oscc_gateway_link_opens_total{result="ok"} 1.0\n' in metrics
            assert 'oscc_gateway_upstream_events_total{type="reading"} ' in metrics
            assert "oscc_gateway_leases_held 1.0\n" in metrics
            assert "oscc_gateway_clock_offset_seconds 0.0\n" in metrics
            assert 'oscc_gateway_budget_wait_seconds_count{class="person"} 1.0\n' in metrics
            rest = tasks.create_task(_rest(ws))
        frames = await rest
        (bye,) = [frame for frame in frames if frame["kind"] == "bye"]
        assert (bye["code"], bye["reconnect"], bye["min_s"], bye["max_s"]) == (4200, "after", 0.0, 1.0)
        assert ws.close_code == 4200


async def test_a_notice_that_changes_is_shown_and_acknowledged(tmp_path: Path) -> None:
    file = tmp_path / "notice.toml"
    file.write_text(NOTICE.format(1), "utf-8")
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as http,
        running(StopRequest(), tmp_path) as addresses,
    ):
        ws = await _hello(http, addresses.client)
        assert (await _heard(ws, "notice"))["version"] == 1
        file.write_text(NOTICE.format(2), "utf-8")
        os.kill(os.getpid(), signal.SIGHUP)
        assert (await _heard(ws, "notice"))["version"] == 2
        command = {"kind": "notices.acknowledge", "notice_id": "upkeep", "version": 2}
        key, deadline_ms = "00000000-0000-4000-8000-000000000001", SystemClock().wall_ms() + 5_000
        asked = {"id": "1", "key": key, "stream": "1.x", "expires_at_ms": deadline_ms, "command": command}
        await ws.send_json({"kind": "command", **asked})
        renewed = await _heard(ws, "renewed", "result")
        assert (await _heard(ws, "result"))["outcome"] == {"status": "applied"}
        again = {"Authorization": f"Bearer {renewed['token']}"}
        async with http.get(f"{addresses.client}/v1/me/export", headers=again) as response:
            assert '"accepted_notices":[{"id":"upkeep","version":2}]' in await response.text()
        await ws.close()


async def test_the_ops_listener_tells_how_it_fares() -> None:
    async with running(StopRequest()) as addresses, aiohttp.ClientSession() as http:
        for path in ("livez", "readyz", "startupz"):
            assert await text_of(http, f"{addresses.ops}/{path}") == (200, "ok\n")
        _, metrics = await text_of(http, f"{addresses.ops}/metrics")
        assert "oscc_gateway_build_info{" in metrics
        assert "oscc_gateway_certificate_expiry_timestamp_seconds NaN\n" in metrics
        assert 'oscc_gateway_fds{kind="open"} ' in metrics


async def test_a_taken_port_is_told_as_it_is_and_nothing_is_left() -> None:
    before = len(asyncio.all_tasks())
    async with running(StopRequest()) as addresses:
        port = int(addresses.client.rpartition(":")[2])
        settings = settings_for("http://127.0.0.1:1", port=port)
        with pytest.raises(CannotListen, match=r"The client listener cannot have 127\.0\.0\.1 port"):
            async with wiring.serving(settings, generate_secrets(), SystemClock(), StopRequest()):
                pass
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before


async def test_files_that_cannot_be_used_are_told_before_a_door_opens() -> None:
    settings = settings_for("http://127.0.0.1:1", insecure=False, certificate="none.crt", key="none.key")
    with pytest.raises(ConfigError, match=r"client\.certificate none\.crt cannot be read"):
        async with wiring.serving(settings, generate_secrets(), SystemClock(), StopRequest()):
            pass


async def test_a_node_that_fails_ends_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: Node) -> None:
        raise RuntimeError("seeded")

    monkeypatch.setattr(Node, "run", fail)
    stopping = StopRequest()
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(10), running(stopping):
            await stopping.wait(SystemClock())
    assert caught.group_contains(RuntimeError, match="seeded")


async def test_an_error_inside_leaves_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with running(StopRequest()):
            raise KeyError("mine")


async def test_how_long_renewals_take_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    tellers: list[Callable[[float], None]] = []

    @asynccontextmanager
    async def opened(
        bus: config_settings.BusSection,
        secrets: config_settings.SecretsSection,
        clock: Clock,
        *,
        jitter: Callable[[], float],
        draw: Callable[[int], bytes],
        options: BackendOptions,
        keyring: Keyring,
    ) -> AsyncIterator[Cluster]:
        assert keyring.ids == tuple(key.id for key in secrets.sealing_keys)
        assert options.renewed is not None
        tellers.append(options.renewed)
        async with open_bus(bus, secrets, clock, jitter=jitter, draw=draw) as cluster:
            yield cluster

    monkeypatch.setattr(wiring, "open_bus", opened)
    async with aiohttp.ClientSession() as http, running(StopRequest()) as addresses:
        tellers[0](0.2)
        _, metrics = await text_of(http, f"{addresses.ops}/metrics")
    assert "oscc_gateway_lease_renew_seconds_count 1.0\n" in metrics


# ---- with time in the test's hand ----


@asynccontextmanager
async def gateway(clock: ManualClock) -> AsyncIterator[wiring.Gateway]:
    settings = settings_for("http://127.0.0.1:1")
    async with OsccServer("main", "http://127.0.0.1:1", clock) as server:
        yield wiring.Gateway(settings, generate_secrets(), {"main": server}, alone(clock), clock, Telemetry())


async def test_a_node_is_ready_once_it_may_serve_and_while_its_redis_lets_it_in() -> None:
    clock, words = ManualClock(), set[str]()
    bus = config_settings.BusSection(url="redis://127.0.0.1:1")
    settings = settings_for("http://127.0.0.1:1").model_copy(update={"bus": bus})
    cluster = alone(clock)._replace(refusals=lambda: frozenset(words))
    upstream = OsccServer("main", "http://127.0.0.1:1", clock)
    async with upstream as server, asyncio.TaskGroup() as tasks:
        made = wiring.Gateway(settings, generate_secrets(), {"main": server}, cluster, clock, Telemetry())
        made.is_started = True
        words.add("WRONGPASS")
        assert made.ready() == "Redis refuses this node: WRONGPASS"
        words.clear()
        assert made.ready() == "has not reached Redis yet"
        await cluster.registry.announce(NodeRecord(NodeId("other"), "o-1", "", 0, 0, False, 100.0))
        serving = tasks.create_task(made.node.run())
        await clock.settle()
        assert made.ready() == "waits for its part of the log-ons"
        await clock.advance(4)
        assert made.ready() is None
        words.add("NOPERM")
        assert made.ready() == "Redis refuses this node: NOPERM"
        words.clear()
        words.add("OOM")
        assert made.ready() is None
        assert b'oscc_gateway_bus_refused{reason="OOM"} 1.0\n' in made.render()
        serving.cancel()


async def test_ready_means_started_not_full_and_not_leaving() -> None:
    async with gateway(ManualClock()) as made:
        assert (made.started(), made.ready()) == ("starting", "starting")
        made.is_started = True
        assert (made.started(), made.ready()) == (None, None)
        made.admission.sockets = 20_000
        assert made.ready() == "over capacity"
        made.admission.sockets = 0
        made.node.is_cut_off = True
        assert made.ready() == "cut off from the other nodes"
        made.node.is_cut_off = False
        await made.node.membership.give_notice()
        assert (made.started(), made.ready()) == (None, "draining")
        told = made.render()
        assert b"oscc_gateway_drain_state 1.0\n" in told
        assert b"oscc_gateway_drain_limit_seconds 27.0\n" in told
        assert b'oscc_gateway_takeovers_total{kind="expired"} 0.0\n' in told


def test_every_node_of_a_machine_is_another_holder() -> None:
    async def holders() -> set[str]:
        found = set()
        for _ in range(2):
            async with gateway(ManualClock()) as made:
                found.add(made.node._settings.holder)
        return found

    assert len(asyncio.run(holders())) == 2
