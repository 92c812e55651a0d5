"""A collector of traces gets nothing about people, to the last byte that is sent to it.

A whole gateway, a simulated contact centre, and the real exporter with a collector that keeps what comes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import SpanKind

from gateway.app import spans, wiring
from gateway.app.adapters import Tracing
from gateway.app.config.sources import generate_secrets
from gateway.app.process import StopRequest
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.schemas import inventory
from gateway.runtime.event_loop import SystemClock
from gateway.simulator import Simulator, SimulatorSettings
from gateway.telemetry import Telemetry
from tests.app.samples import settings_for

NUMBER = "+4930555019042"
CANARY = "canary"
PASSWORD = "canary-password"
KEY = "00000000-0000-4000-8000-0ca0a0000001"
CENTRE = SimulatorSettings(agents=3, queues=1, users=1, warm_up_s=0, password=PASSWORD)


class Collector:
    """Takes OTLP over HTTP, and keeps it as it came."""

    def __init__(self) -> None:
        self.came: list[bytes] = []
        self.received: list[dict[str, str]] = []
        self.tracing: Tracing | None = None

    async def take(self, request: web.Request) -> web.Response:
        self.came.append(await request.read())
        self.received.append(dict(request.headers))
        return web.Response()

    @property
    def spans(self) -> list[Any]:
        batches = [ExportTraceServiceRequest.FromString(body) for body in self.came]
        resources = [each for batch in batches for each in batch.resource_spans]
        return [span for each in resources for scope in each.scope_spans for span in scope.spans]

    def found(self, canaries: list[str]) -> list[str]:
        everything = b"\n".join((*self.came, json.dumps(self.received).encode()))
        return [canary for canary in canaries if canary.encode() in everything]


@asynccontextmanager
async def traced(upstream: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, Collector]]:
    """Run a gateway that is traced; gives its address. When the block is over all has come."""
    collector, exporting = Collector(), spans.exporting

    def remembered(*args: Any) -> Tracing:  # noqa: ANN401 - as they come
        collector.tracing = exporting(*args)
        return collector.tracing

    monkeypatch.setattr(spans, "exporting", remembered)
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    async with TestServer(app) as collecting:
        tracing = {"endpoint": str(collecting.make_url("/v1/traces")), "sampled": 1}
        settings = settings_for(upstream, limits={"drain_s": 0}, tracing=tracing)
        async with wiring.serving(settings, generate_secrets(), SystemClock(), StopRequest()) as addresses:
            yield addresses.client, collector


async def log_on(http: aiohttp.ClientSession, client: str, name: str, password: str) -> dict[str, Any]:
    device = {"id": CANARY, "name": CANARY, "platform": "ios", "app_version": "1"}
    body = {"site": "main", "user_name": name, "password": password, "device": device}
    body["application"] = "dashboard" if name.startswith("supervisor") else "remote_assistant"
    if body["application"] == "remote_assistant":
        body["remote_number"] = NUMBER
    headers = {"tracestate": f"a={CANARY}", "baggage": f"a={CANARY}", "traceparent": CANARY}
    async with http.post(f"{client}/v1/sessions?q={CANARY}", json=body, headers=headers) as answer:
        received: dict[str, Any] = await answer.json()
        return received


async def act(http: aiohttp.ClientSession, client: str, token: str) -> list[str]:
    """Change the state of an agent as a phone does, and back; returns the names that it saw."""
    names: list[str] = []
    async with http.ws_connect(f"{client}/v1/realtime", protocols=["oscc.v1.json"]) as ws:
        phone = {"app": CANARY, "version": "1", "platform": "ios"}
        await ws.send_json({"kind": "hello", "token": token, "client": phone})
        while True:
            frame = await ws.receive_json()
            put = frame.get("put", {})
            names += [str(each["display_name"]) for each in put.values() if each.get("display_name")]
            agents = [key.partition(":")[2] for key in put if key.startswith("agent:")]
            if agents:
                wanted = {"kind": "agent.routing_state.set", "agent_id": agents[0], "state": "unavailable"}
                expires = {"expires_at_ms": SystemClock().wall_ms() + 5_000, "stream": frame["stream"]}
                await ws.send_json({"kind": "command", "id": "1", "key": KEY, "command": wanted, **expires})
            if frame["kind"] == "result":
                return names


async def test_nobody_is_in_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        asyncio.timeout(30),
        Simulator(CENTRE) as simulator,
        traced(simulator.url, monkeypatch) as (client, collector),
        aiohttp.ClientSession() as http,
    ):
        refused = await log_on(http, client, "supervisor1", f"{CANARY}-wrong")
        assert refused["code"] == "invalid_credentials"
        made = [await log_on(http, client, name, PASSWORD) for name in ("supervisor1", "agent1")]
        names = await act(http, client, made[0]["token"])
        assert isinstance(collector.tracing, spans.SpanTracing)
        collector.tracing.counters(Telemetry()).realtime_resumed(1.0)
        # whether a command of a phone fails depends on what the agent does at this time of the day
        with suppress(GatewayError), collector.tracing.span("command", SpanKind.CLIENT):
            raise GatewayError(ErrorCode.INTERNAL, CANARY)
    sent = collector.spans
    assert sorted(span.name for span in sent) == ["command", "command", *["log on"] * 3, "takeover"]
    canaries = [CANARY, NUMBER[1:], KEY, "supervisor1", "agent1", *names]
    for each in made:
        user, session = each["user"], each["session"]
        canaries += [each["token"], user["display_name"], session["id"]]
    assert collector.found(canaries) == []
    assert not any(b"127.0.0.1" in body for body in collector.came)
    (received,) = (entry for entry in inventory().entries if entry.category == "traces")
    said = {attribute.key for span in sent for attribute in span.attributes}
    assert {"http.response.status_code", "oscc.command", "error.type"} == said
    assert said <= set(received.fields)


async def test_a_name_in_a_span_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(30), traced("http://127.0.0.1:1", monkeypatch) as (_, collector):
        assert isinstance(collector.tracing, spans.SpanTracing)
        with collector.tracing.span("log on", SpanKind.SERVER) as span:
            span.set_attribute("user", f"{CANARY}-name")
    assert collector.found([CANARY, NUMBER]) == [CANARY]
