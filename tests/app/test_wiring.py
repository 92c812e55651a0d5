"""Wiring of a gateway: the bus of its settings, and a phone from its log-on to the end of the node."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway.app import process, wiring
from gateway.app.adapters import Keyring, open_bus
from gateway.app.admin import check_bus
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import BusSection, SecretsSection
from gateway.app.config.sources import generate_secrets
from gateway.app.process import SPARE_FILES, CannotListen, StopRequest
from gateway.domain.errors import GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import NodeRecord
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.node import Node
from gateway.runtime.ports import Clock, Cluster
from gateway.simulator import Simulator, SimulatorSettings
from gateway.telemetry import Telemetry
from gateway.upstream.oscce import OsccServer
from tests.app.phone import Socket, arrived, command, hello, log_on
from tests.app.samples import settings_for
from tests.doubles.alone import alone
from tests.doubles.clock import ManualClock
from tests.doubles.servers import redis_server, until

NOTICE = """\
id = "upkeep"
version = {}
category = "maintenance"
effective_at = 2026-01-31T08:00:00Z
texts.en = {{title = "Upkeep", summary = "On Sunday."}}
"""


@asynccontextmanager
async def running(stopping: StopRequest, *notices: Path) -> AsyncIterator[wiring.Addresses]:
    """A gateway before a small contact centre."""
    async with Simulator(SimulatorSettings(agents=2, queues=1, users=1)) as simulator:
        settings = settings_for(simulator.url, limits={"drain_s": 7}, notices={"files": notices})
        async with wiring.serving(settings, generate_secrets(), SystemClock(), stopping) as addresses:
            yield addresses


async def metrics_of(http: aiohttp.ClientSession, addresses: wiring.Addresses) -> str:
    async with http.get(f"{addresses.ops}/metrics") as response:
        return await response.text()


async def _hello(http: aiohttp.ClientSession, client: str) -> Socket:
    """Log on and say hello."""
    return await hello(http, client, (await log_on(http, client))["token"])


async def _rest(ws: Socket) -> list[dict[str, object]]:
    return [json.loads(message.data) async for message in ws]


async def test_a_phone_is_served_and_sent_away_at_the_end() -> None:
    stopping = StopRequest()
    async with aiohttp.ClientSession() as http, asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        async with running(stopping) as addresses:
            ws = await _hello(http, addresses.client)
            assert (await ws.receive_json())["kind"] == "welcome"
            changes = await ws.receive_json()
            assert {"queue:1", "me", "site"} & changes["put"].keys()
            metrics = await metrics_of(http, addresses)
            for line in (
                "users 1.0\n",
                'link_opens_total{result="ok"} 1.0\n',
                'upstream_events_total{type="reading"} ',
                "leases_held 1.0\n",
                "clock_offset_seconds 0.0\n",
                'budget_wait_seconds_count{class="person"} 1.0\n',
                "build_info{",
                "certificate_expiry_timestamp_seconds NaN\n",
                'fds{kind="open"} ',
            ):
                assert f"oscc_gateway_{line}" in metrics
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
        assert (await arrived(ws, "notice"))["version"] == 1
        file.write_text(NOTICE.format(2), "utf-8")
        os.kill(os.getpid(), signal.SIGHUP)
        assert (await arrived(ws, "notice"))["version"] == 2
        await command(ws, "1.x", kind="notices.acknowledge", notice_id="upkeep", version=2)
        renewed = await arrived(ws, "renewed", "result")
        assert (await arrived(ws, "result"))["outcome"] == {"status": "applied"}
        again = {"Authorization": f"Bearer {renewed['token']}"}
        async with http.get(f"{addresses.client}/v1/me/export", headers=again) as response:
            assert '"accepted_notices":[{"id":"upkeep","version":2}]' in await response.text()
        await ws.close()


async def test_a_taken_port_is_reported_as_it_is_and_nothing_is_left() -> None:
    before = len(asyncio.all_tasks())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_for("http://127.0.0.1:1", client={"port": taken.getsockname()[1]})
        with pytest.raises(CannotListen, match=r"The client listener cannot listen at 127\.0\.0\.1 port"):
            async with wiring.serving(settings, generate_secrets(), SystemClock(), StopRequest()):
                pass
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before


async def test_files_that_cannot_be_used_are_reported_before_a_door_opens() -> None:
    files = {"insecure": False, "certificate": "none.crt", "key": "none.key"}
    with pytest.raises(ConfigError, match=r"client\.certificate none\.crt cannot be read"):
        async with wiring.serving(
            settings_for("http://127.0.0.1:1", client=files), generate_secrets(), SystemClock(), StopRequest()
        ):
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
        *given: object, renewed: Callable[[float], None], keyring: Keyring, **more: object
    ) -> AsyncIterator[Cluster]:
        assert keyring.ids == ("k1",)
        tellers.append(renewed)
        async with open_bus(*given, **more) as cluster:  # type: ignore[arg-type]  # handed on as they came
            yield cluster

    monkeypatch.setattr(wiring, "open_bus", opened)
    async with aiohttp.ClientSession() as http, running(StopRequest()) as addresses:
        tellers[0](0.2)
        assert "oscc_gateway_lease_renew_seconds_count 1.0\n" in await metrics_of(http, addresses)


# ---- with time in the test's hand ----


@asynccontextmanager
async def gateway(
    clock: ManualClock,
    cluster: Cluster | None = None,
    server: OsccServer | None = None,
    **sections: Mapping[str, object],
) -> AsyncIterator[wiring.Gateway]:
    url = "http://127.0.0.1:1"
    settings = settings_for(url, limits={"drain_s": 7}, **sections)
    async with server or OsccServer("main", url, clock) as opened:
        secrets = generate_secrets()
        options = wiring.NodeOptions(Keyring(secrets.sealing_keys))
        yield wiring.Gateway(
            settings, secrets, {"main": opened}, cluster or alone(clock), clock, Telemetry(), options
        )


async def test_a_node_is_ready_once_it_may_serve_and_while_its_redis_lets_it_in() -> None:
    clock, words = ManualClock(), set[str]()
    cluster = alone(clock)._replace(refusals=lambda: frozenset(words))
    async with (
        gateway(clock, cluster, bus={"url": "redis://127.0.0.1:1"}) as made,
        asyncio.TaskGroup() as tasks,
    ):
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


async def test_a_node_reports_to_its_server_that_it_is_late() -> None:
    clock = ManualClock()
    server = OsccServer("main", "http://127.0.0.1:1", clock)
    async with gateway(clock, server=server) as made:
        made.node.pauses.record_beat(clock.now())
        assert not server.is_late()
        await clock.advance(2)
        assert server.is_late(), "the next beat is long overdue"


async def test_ready_means_started_not_full_and_not_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(ManualClock()) as made:
        assert (made.started(), made.ready()) == ("starting", "starting")
        made.is_started = True
        assert (made.started(), made.ready()) == (None, None)
        made.admission.sockets = 20_000
        assert made.ready() == "over capacity"
        made.admission.sockets = 0
        with monkeypatch.context() as patch:
            patch.setattr(resource, "getrlimit", lambda _: (SPARE_FILES + 1, SPARE_FILES + 1))
            assert made.ready() == "over capacity", "a phone and its link need two descriptors"
            patch.setattr(resource, "getrlimit", lambda _: (SPARE_FILES + 2, SPARE_FILES + 2))
            assert made.ready() is None
        made.admission.sockets = 0
        made.node.is_partitioned = True
        assert made.ready() == "cut off from the other nodes"
        made.node.is_partitioned = False
        await made.node.membership.give_notice()
        assert (made.started(), made.ready()) == (None, "draining")
        received = made.render()
        assert b"oscc_gateway_drain_state 1.0\n" in received
        assert b"oscc_gateway_drain_limit_seconds 27.0\n" in received
        assert b'oscc_gateway_takeovers_total{kind="expired"} 0.0\n' in received


def test_every_node_of_a_machine_is_another_holder() -> None:
    async def holders() -> set[str]:
        found = set()
        for _ in range(2):
            async with gateway(ManualClock()) as made:
                found.add(made.node.record().holder)
        return found

    assert len(asyncio.run(holders())) == 2


# ---- settings open the bus that they name; nodes of one Redis reach each other ----


ANNA = UserId("main", 1)


@asynccontextmanager
async def opened(bus: BusSection, secrets: SecretsSection, clock: Clock) -> AsyncIterator[Cluster]:
    async with open_bus(bus, secrets, clock, jitter=lambda: 0.5, draw=os.urandom) as cluster:
        yield cluster


async def _is_up(cluster: Cluster) -> bool:
    try:
        await cluster.registry.nodes()
    except GatewayError:
        return False
    return True


async def test_without_redis_a_node_is_alone() -> None:
    clock, secrets = ManualClock(), generate_secrets()
    async with opened(BusSection(), secrets, clock) as one, opened(BusSection(), secrets, clock) as other:
        mine = await one.leases.acquire(ANNA, NodeId("n1"), "h1", floor=0)
        theirs = await other.leases.acquire(ANNA, NodeId("n2"), "h2", floor=0)
    assert (mine.holder, theirs.holder) == ("h1", "h2")


async def _meet() -> None:
    clock, secrets = SystemClock(), generate_secrets()
    async with redis_server() as server:
        bus = BusSection(url=server.url)
        assert (await check_bus(bus, clock)).faults == ()
        async with opened(bus, secrets, clock) as one, opened(bus, secrets, clock) as other:
            for cluster in (one, other):
                await until(lambda cluster=cluster: _is_up(cluster), "Redis was not reached")  # type: ignore[misc]  # binds this turn's
            record = NodeRecord(NodeId("n1"), "h1", "1", 3, 2, draining=False, accepts_per_s=10.0)
            await one.registry.announce(record)
            assert await other.registry.nodes() == (record,)
            await one.leases.acquire(ANNA, NodeId("n1"), "h1", floor=0)
            grant = await other.leases.acquire(ANNA, NodeId("n2"), "h2", floor=0)
            assert grant.holder == "h1"


def test_nodes_of_one_redis_and_the_same_secrets_meet_on_the_loop_that_nodes_run_on() -> None:
    process.run_loop(_meet())


async def test_a_file_of_an_authority_that_is_none_is_reported(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("none", "utf-8")
    for name in ("ca.pem", "missing.pem"):
        bus = BusSection(url="rediss://h", ca_file=tmp_path / name)
        with pytest.raises(ConfigError, match=r"bus\.ca_file holds no certificate that can be read"):
            await open_bus(
                bus, generate_secrets(), SystemClock(), jitter=lambda: 0.5, draw=os.urandom
            ).__aenter__()
