"""What is measured? Every metric with its name, unit and labels, and no logic.

Names have the prefix ``oscc_gateway_``, base units, and labels from small closed sets. A label
never holds a user, a session, an address or anything that a client may choose freely.
"""

from __future__ import annotations

import math
from typing import Final, Generic, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

M = TypeVar("M", bound=MetricWrapperBase)

PREFIX: Final = "oscc_gateway"
LATENCY_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""1 ms … 10 s, with an edge at each objective: 250 ms for events, 1 s for commands."""
CHILDREN_MAX: Final = 256
OTHER: Final = "other"

# The library would add a series with the time of creation to every counter and histogram.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library types it not


class Family(Generic[M]):
    """A metric with labels: ``family["value"]`` or ``family["one", "two"]`` is the child, made once.

    Bounded: the label sets after the first :data:`CHILDREN_MAX` share one child, ``other``.
    """

    __slots__ = ("_children", "_metric")

    def __init__(self, metric: M) -> None:
        self._metric = metric
        self._children: dict[str | tuple[str, ...], M] = {}

    def __getitem__(self, labels: str | tuple[str, ...]) -> M:
        """Return the child of *labels*, in the order of the metric's label names."""
        child = self._children.get(labels)
        if child is None:
            values = (labels,) if isinstance(labels, str) else labels
            if len(self._children) >= CHILDREN_MAX:
                return self._metric.labels(*(OTHER for _ in values))
            child = self._children[labels] = self._metric.labels(*values)
        return child


class Telemetry:
    """All metrics of one node, in a registry of their own.

    Whoever lives through a thing counts it; :meth:`render` writes what stands.
    """

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry(auto_describe=False)
        self._measure_phones()
        self._measure_commands()
        self._measure_upstream()
        self._measure_process()

    def render(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return prometheus_client.generate_latest(self.registry)

    # ---- what there is ----

    def _measure_phones(self) -> None:
        self.connections = self._gauges(
            "connections", "Phones connected.", "application", "platform", "codec"
        )
        self.users = self._gauge("users", "Users with a phone here, or whose link lingers.")
        self.unhelloed_connections = self._gauge(
            "unhelloed_connections", "Sockets that have shown no valid token yet."
        )
        self.handshakes = self._counters("handshakes", "Handshakes, by what became of them.", "result")
        self.handshake_seconds = self._histogram("handshake_seconds", "From upgrade to welcome.")
        self.closes = self._counters("closes", "Connections that ended.", "initiator", "code")
        self.frames = self._counter("frames", "Frames written to phones.")
        self.frame_bytes = self._counter("frame_bytes", "Bytes of frames written to phones.")
        self.conflated = self._counter("conflated", "Values that a newer one replaced before they left.")

    def _measure_commands(self) -> None:
        self.commands = self._counters("commands", "Commands, by what became of them.", "kind", "status")
        self.command_seconds = self._histograms(
            "command_seconds", "From a command's arrival to its result.", "kind"
        )
        self.commands_in_flight = self._gauge("commands_in_flight", "Commands that await their result.")

    def _measure_upstream(self) -> None:
        self.links = self._gauges("links", "Links to OSCC-E Servers.", "state")
        self.link_opens = self._counters(
            "link_opens", "Attempts to open a link, by what became of them.", "result"
        )
        self.log_ons = self._counters("log_ons", "Log-ons, by what became of them.", "application", "result")
        self.log_on_seconds = self._histogram("log_on_seconds", "From a log-on's arrival to its answer.")
        self.log_offs_pending = self._gauge(
            "log_offs_pending", "Log-offs that no OSCC-E Server has confirmed yet."
        )
        self.sessions_attached = self._gauges(
            "sessions_attached", "Sessions that OSCC-E Servers have accepted on a link.", "application"
        )
        self.upstream_events = self._counters("upstream_events", "Events of links.", "type")
        self.upstream_silence_seconds = self._gauge(
            "upstream_silence_seconds", "Since the link that is silent longest was heard."
        )
        self.pool_hit_ratio = self._gauge(
            "pool_hit_ratio", "Elements that were known already, of all that came. 0 to 1."
        )

    def _measure_process(self) -> None:
        self.loop_lag_seconds = self._histogram("loop_lag_seconds", "How late the event loop wakes up.")
        self.tasks = self._gauge("tasks", "Tasks of the event loop.")
        self.rss_bytes = self._gauge("rss_bytes", "Resident memory.")
        self.fds = self._gauges("fds", "File descriptors: the open ones, and the limit.", "kind")
        self.drain_state = self._gauge("drain_state", "1 while the node says farewell to its phones.")
        self.certificate_expiry_timestamp_seconds = self._gauge(
            "certificate_expiry_timestamp_seconds",
            "When the client listener's certificate expires, since 1970.",
        )
        # without a certificate there is no end of it to be warned of: no comparison with NaN is true
        self.certificate_expiry_timestamp_seconds.set(math.nan)
        self.build_info = self._gauges("build_info", "Always 1.", "version", "loop", "python")

    # ---- construction ----

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, namespace=PREFIX, registry=self.registry)

    def _counters(self, name: str, text: str, *labels: str) -> Family[Counter]:
        return Family(Counter(name, text, labels, namespace=PREFIX, registry=self.registry))

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, namespace=PREFIX, registry=self.registry)

    def _gauges(self, name: str, text: str, *labels: str) -> Family[Gauge]:
        return Family(Gauge(name, text, labels, namespace=PREFIX, registry=self.registry))

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, namespace=PREFIX, registry=self.registry, buckets=LATENCY_BUCKETS_S)

    def _histograms(self, name: str, text: str, *labels: str) -> Family[Histogram]:
        return Family(
            Histogram(name, text, labels, namespace=PREFIX, registry=self.registry, buckets=LATENCY_BUCKETS_S)
        )
