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
WAIT_BUCKETS_S: Final = (0.01, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""10 ms … 5 min: for what may queue, or needs another node."""
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
        self._measure_ownership()
        self._measure_bus()
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
        self.link_refused = self._counters(
            "link_refused", "Links that an OSCC-E Server answered and refused.", "reason"
        )
        self.budget_wait_seconds = self._histograms(
            "budget_wait_seconds",
            "How long a link waited for its turn at the site.",
            "class",
            buckets=WAIT_BUCKETS_S,
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

    def _measure_ownership(self) -> None:
        self.leases_held = self._gauge("leases_held", "Users that this node speaks for.")
        self.lease_renew_seconds = self._histogram(
            "lease_renew_seconds", "From a lease's renewal to its answer."
        )
        self.lease_margin_seconds = self._gauge(
            "lease_margin_seconds", "Until the lease that ends first allows no command. NaN without any."
        )
        self.self_fences = self._counter(
            "self_fences", "Leases that ran out because no renewal was answered."
        )
        self.takeovers = self._counters("takeovers", "Users that this node took over, by how.", "kind")
        self.takeover_blind_seconds = self._histogram(
            "takeover_blind_seconds",
            "From taking a user over until all that his phones follow was read anew.",
            buckets=WAIT_BUCKETS_S,
        )
        self.ownership_moves = self._counters(
            "ownership_moves",
            "Users that went from one node to another, by why. One node counts each.",
            "reason",
        )
        self.owners_without_local_device = self._gauge(
            "owners_without_local_device", "Users that this node speaks for without a phone of theirs."
        )
        self.stale_epoch_dropped = self._counter(
            "stale_epoch_dropped", "Messages of an earlier owner that were not taken in."
        )
        self.dual_owner_observed = self._counter(
            "dual_owner_observed", "Users whose lease and link named different owners for too long."
        )

    def _measure_bus(self) -> None:
        self.bus_state = self._gauge("bus_state", "The bus: 0 live, 1 recovering, 2 degraded, 3 down.")
        self.bus_probe_seconds = self._histogram("bus_probe_seconds", "How long a probe of the bus took.")
        self.bus_gaps = self._counters(
            "bus_gaps", "How often messages were lost, or may have been, by what noticed it.", "detector"
        )
        self.resyncs = self._counters(
            "resyncs", "How often all that may be missing of a user was asked for, by why.", "reason"
        )
        self.bus_publish = self._counter("bus_publish", "Messages that the bus took.")
        self.clock_offset_seconds = self._gauge(
            "clock_offset_seconds", "How far Redis' clock is ahead of this node's. NaN before any answer."
        )
        self.clock_offset_seconds.set(math.nan)
        self.registry_size = self._gauges("registry_size", "How much is remembered, by what it is.", "name")

    def _measure_process(self) -> None:
        self.loop_lag_seconds = self._histogram("loop_lag_seconds", "How late the event loop wakes up.")
        self.gc_pause_seconds = self._histogram(
            "gc_pause_seconds", "How long the process stood still to look for garbage in cycles."
        )
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

    def _histogram(
        self, name: str, text: str, *, buckets: tuple[float, ...] = LATENCY_BUCKETS_S
    ) -> Histogram:
        return Histogram(name, text, namespace=PREFIX, registry=self.registry, buckets=buckets)

    def _histograms(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = LATENCY_BUCKETS_S
    ) -> Family[Histogram]:
        return Family(
            Histogram(name, text, labels, namespace=PREFIX, registry=self.registry, buckets=buckets)
        )
