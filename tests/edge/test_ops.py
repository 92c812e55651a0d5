"""Does the ops listener say what the node says of itself?"""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pytest_aiohttp.plugin import AiohttpClient

from gateway.edge.ops import OpsParts, make_ops_app
from gateway.telemetry import Telemetry


class Node:
    """What is asked."""

    def __init__(self) -> None:
        self.wrong: dict[str, str] = {}
        self.telemetry = Telemetry()
        self.is_busy = False

    def parts(self) -> OpsParts:
        return OpsParts(
            live=lambda: self.wrong.get("/livez"),
            ready=lambda: self.wrong.get("/readyz"),
            started=lambda: self.wrong.get("/startupz"),
            render=self.render,
        )

    async def render(self) -> bytes:
        if self.is_busy:
            raise TimeoutError
        return self.telemetry.render()


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


async def test_metrics_are_shown_as_prometheus_reads_them(aiohttp_client: AiohttpClient) -> None:
    node = Node()
    node.telemetry.frames.inc(3)
    client = await open_ops(aiohttp_client, node)
    shown = await client.get("/metrics")
    assert shown.headers["Content-Type"].startswith("text/plain; version=")
    assert "oscc_gateway_frames_total 3.0" in await shown.text()


async def test_metrics_that_nobody_comes_to_write_are_refused(aiohttp_client: AiohttpClient) -> None:
    node = Node()
    node.is_busy = True
    client = await open_ops(aiohttp_client, node)
    shown = await client.get("/metrics")
    assert (shown.status, await shown.text()) == (503, "the event loop is busy\n")


async def test_there_is_nothing_else(aiohttp_client: AiohttpClient) -> None:
    client = await open_ops(aiohttp_client, Node())
    assert (await client.get("/v1/about")).status == 404
    assert (await client.post("/livez")).status == 405
