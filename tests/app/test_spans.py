"""Traces of log-ons, commands and takeovers, without personal data."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gateway.app import spans, wiring
from gateway.app.adapters import Tracing, open_tracing
from gateway.app.config.settings import TracingSection as TracingSettings
from gateway.app.config.sources import generate_secrets
from gateway.app.process import StopRequest, listening
from gateway.app.spans import SpanTracing, TracedLink, exporting
from gateway.domain.commands import Execute, Executed, KeepAlive, LinkRequest, SetRoutingState
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.upstream import LinkClosed
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ports import Clock, Link, OnAnswer, Upstream
from gateway.simulator import Simulator, SimulatorSettings
from gateway.telemetry import RuntimeCounters, Telemetry, written
from tests.app.phone import arrived, command, hello
from tests.app.samples import LOG_ON, settings_for
from tests.doubles.clock import ManualClock
from tests.doubles.log_lines import capture_logs

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
CANARY = "canary"


class Collector:
    """Traces, and shows the spans that ended."""

    def __init__(self, clock: Clock, sampled: float = 1.0, drawn: int = 0) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracing = SpanTracing(SimpleSpanProcessor(self._exporter), sampled, clock, drawn)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


@asynccontextmanager
async def gateway(
    collector: Collector, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[wiring.Addresses]:
    """A whole gateway whose spans *collector* shows."""
    monkeypatch.setattr(spans, "exporting", lambda *_: collector.tracing)
    tracing = {"endpoint": "http://127.0.0.1:1/v1/traces"}
    settings = settings_for(upstream, limits={"drain_s": 0}, tracing=tracing)
    async with wiring.serving(settings, generate_secrets(), SystemClock(), StopRequest()) as addresses:
        yield addresses


async def ask_log_on(http: aiohttp.ClientSession, client: str, **headers: str) -> tuple[int, dict[str, Any]]:
    asked = {**LOG_ON, "device": {**LOG_ON["device"], "id": CANARY, "name": CANARY}}
    async with http.post(f"{client}/v1/sessions", json=asked, headers=headers) as found:
        return found.status, await found.json()


async def test_log_on_and_command_of_a_whole_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Collector(SystemClock())
    sized = SimulatorSettings(agents=5, queues=1, users=1)
    async with (
        asyncio.timeout(30),
        Simulator(sized) as simulator,
        gateway(collector, simulator.url, monkeypatch) as at,
        aiohttp.ClientSession() as http,
    ):
        client = at.client
        status, made = await ask_log_on(
            http, client, traceparent=PARENT, tracestate=f"x={CANARY}", baggage=f"user={CANARY}"
        )
        assert status == 201
        (span,) = collector.spans
        assert span.name == "log on"
        assert span.context is not None
        assert f"{span.context.trace_id:032x}" == TRACE
        assert dict(span.attributes or {}) == {"http.response.status_code": 201}
        async with http.get(f"{client}/v1/about", headers={"traceparent": PARENT}) as response:
            assert response.status == 200
        await command_something(http, client, made["token"])
        kept = await exemplars(http, f"{at.ops}/metrics")

    seen = collector.spans
    assert [span.name for span in seen] == ["log on", "command"], "neither other requests nor a socket's life"
    assert dict(seen[1].attributes or {})["oscc.command"] == "agent.routing_state.set"
    assert seen[1].parent is None
    assert seen[1].context is not None
    assert kept == {
        "oscc_gateway_log_on_seconds_bucket": TRACE,
        "oscc_gateway_command_seconds_bucket": f"{seen[1].context.trace_id:032x}",
    }
    received = "".join(span.to_json() for span in seen)
    assert not [word for word in (CANARY, "supervisor1", "127.0.0.1") if word in received]


async def command_something(http: aiohttp.ClientSession, client: str, token: str) -> None:
    """Have the gateway execute a command."""
    ws = await hello(http, client, token)
    changes = await arrived(ws, "changes")
    agent = next(name.partition(":")[2] for name in changes["put"] if name.startswith("agent:"))
    await command(ws, changes["stream"], kind="agent.routing_state.set", agent_id=agent, state="unavailable")
    await arrived(ws, "result")
    await ws.close()


async def exemplars(http: aiohttp.ClientSession, url: str) -> dict[str, str]:
    """Return the traces that exemplars of a page of metrics name, by their sample's name."""
    async with http.get(url, headers={"Accept": "application/openmetrics-text"}) as page:
        assert page.content_type == "application/openmetrics-text"
        families = list(text_string_to_metric_families(await page.text()))  # type: ignore[no-untyped-call]  # untyped in the library
    samples = [sample for family in families for sample in family.samples if sample.exemplar is not None]
    return {sample.name: sample.exemplar.labels["trace_id"] for sample in samples if sample.exemplar}


async def answered(collector: Collector, *received: str) -> str | None:
    """Answer a log-on whose request has such headers; returns the trace that a line of the log would name."""
    seen = list[str | None]()

    async def handler(_: web.Request) -> web.Response:
        seen.append(collector.tracing.trace_id())
        return web.Response()

    headers = CIMultiDict[str]([("traceparent", each) for each in received])
    await collector.tracing.log_ons(make_mocked_request("POST", spans.LOG_ON, headers), handler)
    return seen[0]


async def test_a_log_line_can_name_the_trace_it_belongs_to() -> None:
    collector = Collector(ManualClock())
    assert await answered(collector, PARENT) == TRACE
    assert collector.tracing.trace_id() is None
    dropped = Collector(ManualClock(), sampled=0.0)
    with dropped.tracing.span("log on", SpanKind.SERVER):
        assert dropped.tracing.trace_id() is None


async def asked(collector: Collector, *received: str) -> ReadableSpan:
    """Return the span of such a log-on."""
    await answered(collector, *received)
    return collector.spans[-1]


async def test_a_trace_that_a_phone_names_rightly_goes_on() -> None:
    span = await asked(Collector(ManualClock()), PARENT)
    assert span.parent is not None
    assert f"00-{span.parent.trace_id:032x}-{span.parent.span_id:016x}-01" == PARENT


@pytest.mark.parametrize(
    "received",
    [
        [], [""], [PARENT, PARENT], [PARENT.upper()], [PARENT[:-1]], [f"{PARENT}-{CANARY}"], [f" {PARENT}"],
        [f"{PARENT}\n"], [PARENT.replace("0", "\u0660")], [f"ff{PARENT[2:]}"],
        [f"00-{'0' * 32}-b7ad6b7169203331-01"], [f"00-{TRACE}-{'0' * 16}-01"],
        [f"01{PARENT[2:]}-{'x' * 8000}"],
    ],
)  # fmt: skip
async def test_one_that_is_named_wrongly_or_twice_is_not_gone_on_with(
    received: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    span = await asked(Collector(ManualClock()), *received)
    assert span.parent is None
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" != TRACE
    assert caplog.records == [], "a client could fill the log"


async def test_the_trace_is_handed_on_to_the_server_without_what_others_wrote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response(status=503)

    app, collector = web.Application(), Collector(SystemClock())
    app.router.add_route("*", "/{path:.*}", answer)
    async with (
        asyncio.timeout(20),
        listening("server", app, "127.0.0.1", 0) as server,
        gateway(collector, server.url, monkeypatch) as at,
        aiohttp.ClientSession() as http,
    ):
        status, _ = await ask_log_on(http, at.client, traceparent=PARENT, tracestate=f"x={CANARY}")
    assert status == 503
    (span,) = collector.spans
    assert span.context is not None
    assert asked
    assert {each.get("traceparent") for each in asked} == {f"00-{TRACE}-{span.context.span_id:016x}-01"}
    assert CANARY not in str(asked)


class FarLink:
    """Answers, or refuses."""

    def __init__(self, answer: Executed | Exception) -> None:
        self.answer = answer

    async def request(self, request: LinkRequest) -> Executed:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def send(self, command: Execute, answered: OnAnswer) -> Callable[[], object]:
        answer = self.answer
        if isinstance(answer, Executed | GatewayError | LinkClosed):
            answered(answer)
        return lambda: None


EXECUTE = Execute(1, SetRoutingState("available"), "key", 1)


@pytest.mark.parametrize("has_task", [True, False], ids=["in a task", "without one"])
@pytest.mark.parametrize(
    ("answer", "attributes"),
    [
        (Executed("applied"), {}),
        (GatewayError(ErrorCode.BUSY, CANARY), {"error.type": "busy"}),
        (LinkClosed("unavailable"), {"error.type": "LinkClosed", "oscc.link": "unavailable"}),
    ],
)
async def test_of_a_refusal_only_its_kind_is_kept(
    answer: Executed | Exception, attributes: dict[str, str], *, has_task: bool
) -> None:
    collector = Collector(ManualClock())
    link, seen = TracedLink(cast("Link", FarLink(answer)), collector.tracing), list[object]()
    if not has_task:
        withdraw = link.send(EXECUTE, seen.append)
        assert withdraw is not None
        withdraw()
    elif isinstance(answer, Exception):
        with pytest.raises(type(answer)) as caught:
            await link.request(EXECUTE)
        seen.append(caught.value)
    else:
        seen.append(await link.request(EXECUTE))
    assert seen == [answer]
    assert not isinstance(seen[0], Executed) or seen[0].trace_id is not None
    (span,) = collector.spans
    assert (span.name, span.kind) == ("command", SpanKind.CLIENT)
    assert dict(span.attributes or {}) == {"oscc.command": "routing_state.set", **attributes}
    assert span.events == ()
    assert (span.status.status_code is StatusCode.ERROR) is bool(attributes)
    assert CANARY not in span.to_json()


async def test_a_command_that_is_not_waited_for_any_more_has_a_failed_trace() -> None:
    collector = Collector(ManualClock())
    far = FarLink(TimeoutError())
    vars(far)["send"] = lambda *sent: lambda: sent
    withdraw = TracedLink(cast("Link", far), collector.tracing).send(EXECUTE, print)
    assert withdraw is not None
    withdraw()
    (span,) = collector.spans
    assert dict(span.attributes or {})["error.type"] == "TimeoutError"


async def test_the_outcome_of_a_command_names_a_trace_only_if_that_is_recorded() -> None:
    link = TracedLink(cast("Link", FarLink(Executed("applied"))), Collector(ManualClock(), sampled=0).tracing)
    executed = await link.request(EXECUTE)
    assert isinstance(executed, Executed)
    assert executed.trace_id is None


async def test_what_is_no_command_is_not_traced() -> None:
    collector = Collector(ManualClock())
    link = TracedLink(cast("Link", FarLink(Executed("applied"))), collector.tracing)
    await link.request(KeepAlive())
    assert collector.spans == []


def test_a_takeover_is_as_long_as_it_was_and_still_counted() -> None:
    clock, telemetry = ManualClock(), Telemetry()
    collector = Collector(clock)
    collector.tracing.counters(telemetry).realtime_resumed(2.5)
    (span,) = collector.spans
    assert span.name == "takeover"
    assert span.end_time == clock.wall_ms() * 1_000_000
    assert span.start_time == span.end_time - 2_500_000_000
    assert b"oscc_gateway_takeover_blind_seconds_count 1.0\n" in telemetry.render()
    assert span.context is not None
    kept = f'trace_id="{span.context.trace_id:032x}"'.encode()
    assert kept in written(telemetry.collect(), has_exemplars=True)
    assert kept not in telemetry.render()


def test_who_asks_for_a_trace_gets_no_larger_share_and_who_declines_gets_none() -> None:
    collector = Collector(ManualClock(), sampled=0.0)
    collector.tracing.counters(Telemetry()).realtime_resumed(1.0)
    assert collector.spans == []


async def test_nobody_outside_can_choose_a_number_that_is_always_kept() -> None:
    lowest = f"00-{1:032x}-b7ad6b7169203331-01"
    for drawn, kept in ((0, 1), (2**64 - 1, 0)):
        collector = Collector(ManualClock(), sampled=0.1, drawn=drawn)
        await answered(collector, lowest)
        assert len(collector.spans) == kept


async def test_a_collector_that_is_away_keeps_nobody() -> None:
    tracing = exporting("http://127.0.0.1:1/v1/traces", 1.0, ManualClock())
    tracing.counters(Telemetry()).realtime_resumed(1.0)
    async with asyncio.timeout(20):
        await asyncio.to_thread(tracing.close)


# ---- tracing costs nothing where it is off or not installed ----


# the SDK itself says nothing: redis-py loads it wherever it is installed
LOADED = {"gateway.app.spans", "opentelemetry.exporter.otlp.proto.http"}
ENDPOINT = TracingSettings(endpoint="http://127.0.0.1:1/v1/traces")


async def test_without_a_collector_everything_stays_as_it_is() -> None:
    app, upstream = web.Application(), cast("Upstream", object())
    async with open_tracing(TracingSettings(), ManualClock()) as tracing:
        assert type(tracing) is Tracing
        tracing.enter(app)
        assert (tracing.outgoing(), tracing.upstream(upstream)) == (None, upstream)
        assert type(tracing.counters(Telemetry())) is RuntimeCounters
    assert len(app.middlewares) == 0


async def test_with_a_collector_there_are_spans() -> None:
    async with open_tracing(ENDPOINT, ManualClock()) as tracing:
        assert isinstance(tracing, SpanTracing)


async def test_without_the_extra_nothing_is_traced_and_that_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gateway.app.spans", None)
    with capture_logs() as logged:
        async with open_tracing(ENDPOINT, ManualClock()) as tracing:
            assert type(tracing) is Tracing
    assert [line["event"] for line in logged] == ["tracing_unavailable"]


def test_a_node_without_tracing_loads_nothing_of_it() -> None:

    shown = subprocess.run(
        [sys.executable, "-c", f"import gateway.app.cli, sys; print({LOADED} & sys.modules.keys())"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert shown.stdout == "set()\n"
