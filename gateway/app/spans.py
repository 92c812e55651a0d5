"""Spans of log-ons, commands and takeovers, without personal data.

A span never identifies a person: attributes are words from closed sets. Of the W3C trace context only
``traceparent`` is accepted and passed on: ``tracestate`` and ``baggage`` may contain anything.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp import hdrs, web
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import gateway
from gateway.app.adapters import Tracing
from gateway.domain.commands import Execute, Executed, LinkAnswer, LinkRequest
from gateway.domain.errors import GatewayError
from gateway.domain.model import SessionSecret, UserId
from gateway.domain.upstream import About, LinkClosed, LinkEvent
from gateway.edge.request_context import Handler
from gateway.runtime.ports import Clock, Link, OnAnswer, OnReadings, Upstream
from gateway.telemetry import RuntimeCounters, Telemetry

LOG_ON: Final = "/v1/sessions"
EXPORT_S: Final = 5
"""How long the collector may take for a batch; spans that it does not accept are lost."""
_PARENT: Final = "traceparent"
_CONTEXT: Final = TraceContextTextMapPropagator()
_FORM: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
"""Of a ``traceparent``; the additions of later versions are ignored."""
_NS: Final = 1_000_000_000
_SHARED_BITS: Final = 64
"""The bits of a trace's number by which the sampled share is chosen."""


def exporting(endpoint: str, sampled: float, clock: Clock) -> Tracing:
    """Return the sender of traces to *endpoint* by OTLP over HTTP, with its own thread and queue."""
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_S)
    processor = BatchSpanProcessor(exporter, export_timeout_millis=EXPORT_S * 1000)
    return SpanTracing(processor, sampled, clock, secrets.randbits(_SHARED_BITS))


class _Share(TraceIdRatioBased):
    """Samples a share of traces that clients cannot influence.

    A phone chooses its trace's number, so the number alone does not decide.
    """

    def __init__(self, sampled: float, drawn: int) -> None:
        super().__init__(sampled)
        self._drawn = drawn

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        *args: Any,  # noqa: ANN401 - handed on as they come
        **more: Any,  # noqa: ANN401 - likewise
    ) -> SamplingResult:
        """Decide by the trace's number and a random number."""
        return super().should_sample(parent_context, trace_id ^ self._drawn, name, *args, **more)


class SpanTracing(Tracing):
    """Traces by OpenTelemetry.

    Invariants: no span lives as long as a connection. No span has the text of an exception.

    Args:
        sampled: The share of traces that are kept. A caller cannot request a larger share.
        drawn: An unpredictable number of 64 bits, by which the share is chosen.
    """

    def __init__(self, processor: SpanProcessor, sampled: float, clock: Clock, drawn: int = 0) -> None:
        share = _Share(sampled, drawn)
        self._provider: Final = TracerProvider(
            sampler=ParentBased(share, remote_parent_sampled=share, remote_parent_not_sampled=ALWAYS_OFF),
            # without the library's own resource data: command lines and hosts
            resource=Resource({"service.name": "oscc-gateway", "service.version": gateway.__version__}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer: Final = self._provider.get_tracer("gateway")
        self._clock = clock

    def outgoing(self) -> aiohttp.TraceConfig | None:
        """See :class:`TracingSection`, as all below."""
        config = aiohttp.TraceConfig()
        config.on_request_start.append(_propagate)
        return config

    def enter(self, app: web.Application) -> None:
        """Add the tracing middleware to *app*, before all others."""
        app.middlewares.insert(0, self.log_ons)

    @web.middleware
    async def log_ons(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Trace log-ons, as part of the trace in their header; pass all other requests on."""
        if request.path != LOG_ON or request.method != hdrs.METH_POST:
            return await handler(request)
        with self.span("log on", SpanKind.SERVER, _parent_of(request)) as span:
            response = await handler(request)
            span.set_attribute("http.response.status_code", response.status)
            return response

    def upstream(self, upstream: Upstream) -> Upstream:
        """Return *upstream* with tracing."""
        return TracedUpstream(upstream, self)

    def counters(self, telemetry: Telemetry) -> RuntimeCounters:
        """Return counters that also trace takeovers."""
        return _TracingCounters(telemetry, self.took_over)

    def took_over(self, blind_s: float) -> str | None:
        """Trace a takeover that has just ended; return the trace's id, if it is sampled."""
        end_ns = self._clock.wall_ms() * 1_000_000
        span = self._tracer.start_span("takeover", Context(), start_time=end_ns - round(blind_s * _NS))
        span.end(end_ns)
        return _trace_id(span)

    @contextmanager
    def span(self, name: str, kind: SpanKind, parent: Context | None = None) -> Iterator[Span]:
        """Trace the block; for an error only its kind is stored."""
        with self._tracer.start_as_current_span(
            name, parent, kind, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except Exception as error:
                _mark_failed(span, error)
                raise

    def begin(self, name: str, kind: SpanKind) -> Span:
        """Begin a trace of its own; the caller ends it."""
        return self._tracer.start_span(name, Context(), kind)

    def trace_id(self) -> str | None:
        """Return the id of the current trace, if it is sampled."""
        return _trace_id(trace.get_current_span())

    def close(self) -> None:
        """Send the remaining spans."""
        self._provider.shutdown()


class TracedUpstream:
    """The port Upstream with traced commands. Invariant: it changes nothing else."""

    def __init__(self, upstream: Upstream, tracing: SpanTracing) -> None:
        self._upstream = upstream
        self._tracing = tracing

    async def about(self) -> About:
        """Return which server this is."""
        return await self._upstream.about()

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> Link:
        """Open the user's link."""
        link = await self._upstream.open(user, secret, token=token, holder=holder)
        return TracedLink(link, self._tracing)


class TracedLink:
    """The port Link with traced commands. Invariant: it changes nothing else."""

    def __init__(self, link: Link, tracing: SpanTracing) -> None:
        self._link = link
        self._tracing = tracing

    @property
    def last_received_at(self) -> float:
        """When a message of the server was last received."""
        return self._link.last_received_at

    @property
    def has_message(self) -> bool:
        """Whether an event waits to be received."""
        return self._link.has_message

    @property
    def waits_since(self) -> float | None:
        """When the oldest message came that waits to be received."""
        return self._link.waits_since

    def arrival(self, on_readings: OnReadings) -> asyncio.Future[None] | None:
        """Return what is done when there is something to receive; None: now."""
        return self._link.arrival(on_readings)

    async def receive(self, on_readings: OnReadings | None = None) -> LinkEvent | None:
        """Return the next event."""
        return await self._link.receive(on_readings)

    async def request(self, request: LinkRequest) -> LinkAnswer:
        """Send *request* and wait for its answer."""
        if not isinstance(request, Execute):
            return await self._link.request(request)
        # a trace of its own: the current context belongs to the task that woke the owner
        with self._tracing.span("command", SpanKind.CLIENT, Context()) as span:
            span.set_attribute("oscc.command", request.command.kind)
            try:
                answer = await self._link.request(request)
            except LinkClosed as closed:
                span.set_attribute("oscc.link", closed.reason)
                raise
            return _traced(answer, span)

    def send(self, request: LinkRequest, answered: OnAnswer) -> Callable[[], object] | None:
        """Send *request* without a task."""
        if not isinstance(request, Execute):
            return self._link.send(request, answered)
        span = self._tracing.begin("command", SpanKind.CLIENT)
        span.set_attribute("oscc.command", request.command.kind)

        def end(answer: LinkAnswer | GatewayError | LinkClosed) -> None:
            if isinstance(answer, LinkClosed):
                span.set_attribute("oscc.link", answer.reason)
            if isinstance(answer, Exception):
                _mark_failed(span, answer)
            span.end()
            answered(answer if isinstance(answer, GatewayError | LinkClosed) else _traced(answer, span))

        try:
            withdraw = self._link.send(request, end)
        except GatewayError as error:
            _mark_failed(span, error)
            span.end()
            raise
        return None if withdraw is None else partial(_withdrawn, span, withdraw)

    async def close(self) -> None:
        """Close it."""
        await self._link.close()


class _TracingCounters(RuntimeCounters):
    """Counts events, and traces takeovers."""

    def __init__(self, telemetry: Telemetry, trace_takeover: Callable[[float], str | None]) -> None:
        super().__init__(telemetry)
        self._trace_takeover = trace_takeover

    def realtime_resumed(self, blind_s: float) -> None:
        """Observe it, with its trace as exemplar."""
        trace_id = self._trace_takeover(blind_s)
        exemplar = None if trace_id is None else {"trace_id": trace_id}
        self._telemetry.takeover_blind_seconds.observe(blind_s, exemplar)


def _mark_failed(span: Span, error: Exception) -> None:
    """Store the kind of *error*."""
    refused = error.code.value if isinstance(error, GatewayError) else type(error).__name__
    span.set_attribute("error.type", refused)
    span.set_status(Status(StatusCode.ERROR))


def _traced(answer: LinkAnswer, span: Span) -> LinkAnswer:
    """Return *answer* with its trace: the histogram of commands is at the phone's node."""
    return replace(answer, trace_id=_trace_id(span)) if isinstance(answer, Executed) else answer


def _withdrawn(span: Span, withdraw: Callable[[], object]) -> None:
    """End the trace of a command whose answer nobody waits for."""
    if withdraw() is not None:
        _mark_failed(span, TimeoutError())
        span.end()


def _trace_id(span: Span) -> str | None:
    """Return the id of the trace of *span*, if it is sampled."""
    about = span.get_span_context()
    return f"{about.trace_id:032x}" if about.is_valid and about.trace_flags.sampled else None


def _parent_of(request: web.Request) -> Context:
    """Return the trace of a request's header; an invalid or repeated header begins another trace.

    An invalid one is not passed to the library, which logs a line for each that is too long.
    """
    given = request.headers.getall(_PARENT, [])
    is_sound = len(given) == 1 and _FORM.fullmatch(given[0]) is not None
    return _CONTEXT.extract({_PARENT: given[0]}) if is_sound else Context()


async def _propagate(
    session: aiohttp.ClientSession,
    context: types.SimpleNamespace,
    params: aiohttp.TraceRequestStartParams,
) -> None:
    """Write the trace of a request into its header."""
    del session, context
    if trace.get_current_span().get_span_context().is_valid:
        carrier: dict[str, str] = {}
        _CONTEXT.inject(carrier)
        params.headers[_PARENT] = carrier[_PARENT]
