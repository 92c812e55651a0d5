"""Tracing: off by default; :mod:`gateway.app.spans` implements it with OpenTelemetry."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import structlog
from aiohttp import web

from gateway.app.config.settings import TracingSection as TracingSettings
from gateway.app.metrics import CountingTally
from gateway.runtime.ports import Clock, Upstream
from gateway.telemetry import Telemetry

_MODULE: Final = "gateway.app.spans"
_LOG: Final = structlog.get_logger("gateway.app")


class Tracing:
    """Traces nothing and costs nothing: each argument is returned unchanged. A subclass traces."""

    def outgoing(self) -> aiohttp.TraceConfig | None:
        """Return what hands the context of a trace on to an OSCC-E Server; None: nothing does."""
        return None

    def enter(self, app: web.Application) -> None:
        """Have log-ons traced that come in at *app*, which does not run yet."""

    def upstream(self, upstream: Upstream) -> Upstream:
        """Return *upstream*, whose links have their commands traced."""
        return upstream

    def tally(self, telemetry: Telemetry) -> CountingTally:
        """Return what counts, and has takeovers traced."""
        return CountingTally(telemetry)

    def trace_id(self) -> str | None:
        """Return the number of the trace that the current task is in, if there is one and it is kept."""
        return None

    def close(self) -> None:
        """Send what is left, within seconds. Blocks."""


@asynccontextmanager
async def open_tracing(settings: TracingSettings, clock: Clock) -> AsyncIterator[Tracing]:
    """Give what traces while the block lasts: nothing does without a collector, or without the extra."""
    tracing = Tracing()
    if settings.endpoint is not None:
        try:
            tracing = importlib.import_module(_MODULE).exporting(settings.endpoint, settings.sampled, clock)
        except ImportError:
            _LOG.warning("tracing_unavailable")
    try:
        yield tracing
    finally:
        await asyncio.to_thread(tracing.close)
