"""Ops listener: health and metrics of the node."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from pytest_aiohttp.plugin import AiohttpClient

from gateway.edge import server as edge_server
from gateway.edge.server import OpsParts, make_ops_app
from gateway.telemetry import Families, Telemetry


@pytest.fixture(autouse=True)
def _once_a_second(_fresh_metrics: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_server, "FRESH_S", 1.0)


class Node:
    """What is asked."""

    def __init__(self) -> None:
        self.wrong: dict[str, str] = {}
        self.telemetry = Telemetry()
        self.is_busy = False
        self.measured = 0
        self.now = 100.0

    def parts(self) -> OpsParts:
        return OpsParts(
            live=lambda: self.wrong.get("/livez"),
            ready=lambda: self.wrong.get("/readyz"),
            started=lambda: self.wrong.get("/startupz"),
            measure=self.measure,
            now=lambda: self.now,
        )

    async def measure(self) -> Families:
        self.measured += 1
        await asyncio.sleep(0)
        if self.is_busy:
            raise TimeoutError
        return self.telemetry.collect()


async def open_ops(aiohttp_client: AiohttpClient, node: Node) -> TestClient[web.Request, None]:
    client: TestClient[web.Request, None] = await aiohttp_client(TestServer(make_ops_app(node.parts())))
    return client


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz"])
async def test_each_check_answers_for_itself(aiohttp_client: AiohttpClient, path: str) -> None:
    node = Node()
    client = await open_ops(aiohttp_client, node)
    fine = await client.get(path)
    assert (fine.status, await fine.text(), fine.headers["Cache-Control"]) == (200, "ok\n", "no-store")
    node.wrong[path] = "draining"
    wrong = await client.get(path)
    assert (wrong.status, await wrong.text()) == (503, "draining\n")
    for other in {"/livez", "/readyz", "/startupz"} - {path}:
        assert (await client.get(other)).status == 200


async def test_metrics_are_written_as_prometheus_or_openmetrics(aiohttp_client: AiohttpClient) -> None:
    node = Node()
    node.telemetry.frames.inc(3)
    client = await open_ops(aiohttp_client, node)
    shown = await client.get("/metrics")
    assert shown.headers["Content-Type"].startswith("text/plain; version=")
    assert "oscc_gateway_frames_total 3.0" in await shown.text()
    node = Node()
    node.telemetry.frames.inc(3)
    client = await open_ops(aiohttp_client, node)
    asked = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    shown = await client.get("/metrics", headers={"Accept": asked})
    assert shown.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    parsed = text_string_to_metric_families(await shown.text())  # type: ignore[no-untyped-call]  # untyped in the library
    families = {family.name: family for family in parsed}
    assert families["oscc_gateway_frames"].samples[0].value == 3
    plain = await client.get("/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain")


async def test_a_busy_loop_is_asked_for_metrics_once_for_all_who_wait(aiohttp_client: AiohttpClient) -> None:
    node = Node()
    node.is_busy = True
    client = await open_ops(aiohttp_client, node)
    shown = await client.get("/metrics")
    assert (shown.status, await shown.text()) == (503, "the event loop is busy\n")
    node = Node()
    node.is_busy = True
    client = await open_ops(aiohttp_client, node)
    statuses = [(await client.get("/metrics")).status for _ in range(5)]
    assert (statuses, node.measured) == ([503] * 5, 1)
    node.now, node.is_busy = node.now + 1.0, False
    assert (await client.get("/metrics")).status == 200


async def test_metrics_are_collected_once_a_second_however_often_asked(aiohttp_client: AiohttpClient) -> None:
    node = Node()
    client = await open_ops(aiohttp_client, node)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(client.get("/metrics"))
    assert node.measured == 1
    node.telemetry.frames.inc(3)
    assert "oscc_gateway_frames_total 0.0" in await (await client.get("/metrics")).text()
    node.now += 1.0
    assert "oscc_gateway_frames_total 3.0" in await (await client.get("/metrics")).text()
    assert node.measured == 2


async def test_there_is_nothing_else(aiohttp_client: AiohttpClient) -> None:
    client = await open_ops(aiohttp_client, Node())
    assert (await client.get("/v1/about")).status == 404
    assert (await client.post("/livez")).status == 405
