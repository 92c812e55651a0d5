"""Tracing costs nothing where it is off or not installed."""

from __future__ import annotations

import subprocess
import sys
from typing import cast

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway.app.adapters import Tracing, open_tracing
from gateway.app.config.settings import TracingSection as TracingSettings
from gateway.app.metrics import CountingTally
from gateway.app.spans import SpanTracing
from gateway.runtime.ports import Upstream
from gateway.telemetry import Telemetry
from tests.doubles.clock import ManualClock

# the SDK itself says nothing: redis-py loads it wherever it is installed
LOADED = {"gateway.app.spans", "opentelemetry.exporter.otlp.proto.http"}
ENDPOINT = TracingSettings(endpoint="http://127.0.0.1:1/v1/traces")


async def test_without_a_collector_everything_stays_as_it_is() -> None:
    app, upstream = web.Application(), cast("Upstream", object())
    async with open_tracing(TracingSettings(), ManualClock()) as tracing:
        assert type(tracing) is Tracing
        tracing.enter(app)
        assert (tracing.outgoing(), tracing.upstream(upstream)) == (None, upstream)
        assert type(tracing.tally(Telemetry())) is CountingTally
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
        [sys.executable, "-c", f"import gateway.app.main, sys; print({LOADED} & sys.modules.keys())"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert shown.stdout == "set()\n"
