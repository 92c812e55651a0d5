"""All metrics: name, unit and labels; and the events of the runtime that are counted.

Names have the prefix ``oscc_gateway_``, base units, and labels from small closed sets. A label never contains
a user, a session, an address or any other value that clients choose.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, Generic, Literal, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from gateway.core.rate_limits import Urgency
from gateway.domain.commands import Dropped
from gateway.domain.errors import EndReason
from gateway.domain.upstream import (
    Announced,
    CatalogueChanged,
    FunctionChanged,
    LinkEvent,
    LinkReplaced,
    ObjectChanged,
    Opened,
    Reading,
    ScopeChanged,
    SessionEnded,
)

M = TypeVar("M", bound=MetricWrapperBase)
T = TypeVar("T")

Families = list[Metric]
"""The values of metrics at one instant."""
Buckets = tuple[float, ...]

PREFIX: Final = "oscc_gateway"
LATENCY_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""1 ms … 10 s, with an edge at each objective: 250 ms for events, 1 s for commands."""
WAIT_BUCKETS_S: Final = (0.01, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""10 ms … 5 min: for waits in queues, and work of another node."""
AGE_BUCKETS_S: Final = (1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0)
"""1 s … 1 d: for the life of a phone's connection."""
CHILDREN_MAX: Final = 256
SITE_CHILDREN_MAX: Final = 800  # eight functions of each of the 100 sites that can be configured
OTHER: Final = "other"
HOPS: Final = ("upstream", "bus", "edge", "total")
"""Parts of a change's way: at the owner; to the phone's node; there until it is written; the whole way."""

# The library would add a series with the time of creation to every counter and histogram.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library types it not


class Family(dict[str | tuple[str, ...], M]):
    """A metric with labels: ``family["value"]`` or ``family["one", "two"]`` is the child, made once.

    Bounded: the label sets after the first *most* share one child, ``other``.
    """

    __slots__ = ("_metric", "_most")

    def __init__(self, metric: M, most: int = CHILDREN_MAX) -> None:
        super().__init__()
        self._metric, self._most = metric, most

    def __missing__(self, labels: str | tuple[str, ...]) -> M:
        """Make the child of *labels*, in the order of the metric's label names."""
        values = (labels,) if isinstance(labels, str) else labels
        if len(self) >= self._most:
            return self._metric.labels(*(OTHER for _ in values))
        child = self[labels] = self._metric.labels(*values)
        return child


class Unlocked(Collector):
    """A metric for events of every frame or command: without a lock, as only one thread feeds it."""

    def __init__(
        self, name: str, text: str, labels: tuple[str, ...] = (), *, registry: CollectorRegistry
    ) -> None:
        self._name, self._text, self._labels = f"{PREFIX}_{name}", text, labels
        registry.register(self)


class Sum(Unlocked):
    """A counter without labels."""

    value: float = 0  # whole numbers are added faster
    _family: type[CounterMetricFamily | GaugeMetricFamily] = CounterMetricFamily

    def inc(self, amount: float = 1) -> None:
        """Add *amount*, which is 0 or more."""
        self.value += amount

    def collect(self) -> Iterator[Metric]:
        """Return the present value."""
        yield self._family(self._name, self._text, self.value)


class Level(Sum):
    """A gauge without labels."""

    _family = GaugeMetricFamily

    def dec(self) -> None:
        """Subtract 1."""
        self.value -= 1


class Counts(Unlocked):
    """A counter with labels: the counting module updates *values*, which each scrape reads.

    It has no bound of its own: labels have closed sets of values.
    """

    def __init__(self, name: str, text: str, labels: tuple[str, ...], *, registry: CollectorRegistry) -> None:
        super().__init__(name, text, labels, registry=registry)
        self.values: dict[str | tuple[str, ...], int] = defaultdict(int)

    def collect(self) -> Iterator[Metric]:
        """Return the present values."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, count in self.values.items():
            family.add_metric([labels] if isinstance(labels, str) else labels, count)
        yield family


class Spread:
    """One series of a histogram. One thread feeds it, with several equal observations at once."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds: Final = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, amount: float, times: int = 1) -> None:
        """Observe *amount* *times* times."""
        self.counts[bisect_left(self.bounds, amount)] += times
        self.total += amount * times

    def observe_all(self, amounts: list[float]) -> None:
        """Observe *amounts*, which are in order."""
        upto = 0
        for place, bound in enumerate(self.bounds):
            before, upto = upto, bisect_right(amounts, bound, upto)
            self.counts[place] += upto - before
        self.counts[-1] += len(amounts) - upto
        self.total += sum(amounts)


class Spreads(Unlocked):
    """A histogram: ``spreads["value"]`` is the series of a label; without labels the value is empty."""

    def __init__(
        self,
        name: str,
        text: str,
        bounds: tuple[float, ...],
        labels: tuple[str, ...],
        values: tuple[str, ...],
        *,
        registry: CollectorRegistry,
    ) -> None:
        super().__init__(name, text, labels, registry=registry)
        self._edges = [f"{bound:.12g}" if bound % 1 else f"{bound:.1f}" for bound in bounds] + ["+Inf"]
        self.series = {value: Spread(bounds) for value in values}
        self.before_read: Callable[[], None] = lambda: None
        """Observes what waits to be observed."""

    def __getitem__(self, value: str) -> Spread:
        """Return the series of a known value of the label."""
        return self.series[value]

    def collect(self) -> Iterator[Metric]:
        """Return the present values."""
        self.before_read()
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for value, series in self.series.items():
            buckets = list(zip(self._edges, accumulate(series.counts), strict=True))
            family.add_metric([value] if self._labels else [], buckets, series.total)
        yield family


_NEVER: Final = math.inf
"""A name of its own, as each update asks for it."""
FRESH_MAX: Final = 512
"""Latencies that wait to be observed together."""


class UpdateTimes:
    """Number, latency and age of the values that are sent to phones.

    Args:
        latency: The latency of changes, by part of the way.
        age: The time since the last message of the user's link.
    """

    __slots__ = ("_age", "_edge", "_frame_bytes", "_frames", "_fresh", "_total", "_updates")

    def __init__(self, frames: Sum, frame_bytes: Sum, updates: Sum, latency: Spreads, age: Spreads) -> None:
        self._frames, self._frame_bytes, self._updates = frames, frame_bytes, updates
        self._edge, self._total, self._age = latency["edge"], latency["total"], age[""]
        self._fresh: list[float] = []
        """Latencies of :meth:`sent_one` that are not observed yet: many take less time together."""
        latency.before_read = age.before_read = self._observe_fresh

    def sent_one(
        self, size_bytes: int, updates: int, since: float, came_at: float, under_way_s: float, now: float
    ) -> None:
        """Observe one frame that is sent to one phone, as :meth:`sent`.

        Mostly this node owns the user, and has received nothing since the change. Then the latency at the
        edge, the whole latency and the age of the data are the same.
        """
        if since != came_at or under_way_s:
            self.sent(1, size_bytes, updates, since, came_at, under_way_s, now)
            return
        self._frames.value += 1
        self._frame_bytes.value += size_bytes
        self._updates.value += updates
        fresh = self._fresh
        fresh.append(now - since)
        if len(fresh) >= FRESH_MAX:
            self._observe_fresh()

    def _observe_fresh(self) -> None:
        fresh, self._fresh = self._fresh, []
        fresh.sort()
        for spread in (self._edge, self._total, self._age):
            spread.observe_all(fresh)

    def sent(
        self,
        frames: int,
        size_bytes: int,
        updates: int,
        since: float,
        came_at: float,
        under_way_s: float,
        now: float,
        phones: int = 1,
    ) -> None:
        """Observe frames that are sent to some phones *now*, in monotonic seconds like all of these.

        Args:
            frames: Their number.
            size_bytes: Their size.
            updates: The number of values in them.
            since: When the oldest change in it came to this node; infinity: it has none.
            came_at: When the last message of the user's link came to this node; -infinity: never.
            under_way_s: How long the user's owner had had it by then; 0 at the owner.
            now: The time.
            phones: The number of phones.
        """
        if phones > 1:
            frames, size_bytes, updates = frames * phones, size_bytes * phones, updates * phones
        self._frames.value += frames
        self._frame_bytes.value += size_bytes
        self._updates.value += updates
        if since < _NEVER:  # in one function, as it happens for each update
            spread, seconds = self._edge, now - since
            place, total_s = bisect_left(spread.bounds, seconds), seconds * phones
            spread.counts[place] += phones
            spread.total += total_s
            spread = self._total
            if under_way_s:
                seconds += under_way_s
                place, total_s = bisect_left(spread.bounds, seconds), seconds * phones
            spread.counts[place] += phones
            spread.total += total_s
        if came_at > -_NEVER:
            seconds, spread = now - came_at + under_way_s, self._age
            bounds = spread.bounds
            spread.counts[0 if seconds <= bounds[0] else bisect_left(bounds, seconds)] += phones
            spread.total += seconds * phones


_PROCESS: Final = ProcessCollector(registry=None)
"""CPU time, memory and descriptors under the usual names of process dashboards."""


class _Collected(Collector):
    """Metrics that were collected before."""

    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Return them."""
        return iter(self._families)


def written(families: Families, *, has_exemplars: bool = False) -> bytes:
    """Return *families* and the client library's ``process_*`` in the text format of Prometheus.

    Any thread may do it.

    *has_exemplars*: write OpenMetrics, with the exemplars of histograms.
    """
    collected = _Collected([*families, *_PROCESS.collect()])
    write = openmetrics.generate_latest if has_exemplars else prometheus_client.generate_latest
    return write(collected)


class Declared(Generic[T]):
    """A metric of :class:`Telemetry`. Its attribute is its name; each instance makes its own, once."""

    def __init__(self, make: Callable[[str, CollectorRegistry], T], labels: tuple[str, ...] = ()) -> None:
        self._make = make
        self._labels = labels

    def __set_name__(self, owner: type[Telemetry], name: str) -> None:
        self._name = name

    def __get__(self, telemetry: Telemetry, owner: type[Telemetry]) -> T:
        """Make the metric: from then on the attribute of *telemetry* itself is found first."""
        made = self._make(self._name, telemetry.registry)
        vars(telemetry)[self._name] = made
        telemetry.labels[self._name] = self._labels
        return made


def _counter(text: str) -> Declared[Counter]:
    return Declared(lambda name, to: Counter(name, text, namespace=PREFIX, registry=to))


def _counters(text: str, *labels: str) -> Declared[Family[Counter]]:
    return Declared(
        lambda name, to: Family(Counter(name, text, labels, namespace=PREFIX, registry=to)), labels
    )


def _gauge(text: str) -> Declared[Gauge]:
    return Declared(lambda name, to: Gauge(name, text, namespace=PREFIX, registry=to))


def _gauges(text: str, *labels: str, most: int = CHILDREN_MAX) -> Declared[Family[Gauge]]:
    return Declared(
        lambda name, to: Family(Gauge(name, text, labels, namespace=PREFIX, registry=to), most), labels
    )


def _histogram(text: str, *, buckets: Buckets = LATENCY_BUCKETS_S) -> Declared[Histogram]:
    return Declared(lambda name, to: Histogram(name, text, namespace=PREFIX, registry=to, buckets=buckets))


def _histograms(text: str, *labels: str, buckets: Buckets = LATENCY_BUCKETS_S) -> Declared[Family[Histogram]]:
    def make(name: str, to: CollectorRegistry) -> Family[Histogram]:
        return Family(Histogram(name, text, labels, namespace=PREFIX, registry=to, buckets=buckets))

    return Declared(make, labels)


def _sum(text: str) -> Declared[Sum]:
    return Declared(lambda name, to: Sum(name, text, registry=to))


def _level(text: str) -> Declared[Level]:
    return Declared(lambda name, to: Level(name, text, registry=to))


def _counts(text: str, *labels: str) -> Declared[Counts]:
    return Declared(lambda name, to: Counts(name, text, labels, registry=to), labels)


def _spreads(
    text: str, bounds: Buckets, labels: tuple[str, ...] = (), values: tuple[str, ...] = ("",)
) -> Declared[Spreads]:
    return Declared(lambda name, to: Spreads(name, text, bounds, labels, values, registry=to), labels)


class Telemetry:
    """All metrics of one node, in their own registry.

    Each module counts its own events; :meth:`render` writes the current values.
    """

    # phones

    connections = _gauges("Phones connected.", "application", "platform", "codec")
    users = _gauge("Users with a phone on this node, or with a link that stays open after their last phone.")
    unhelloed_connections = _gauge("Sockets without a valid token so far.")
    connections_dropped = _sum(
        "Connections closed without an answer: too many wait for their first request or to become "
        "WebSockets, or no descriptor is left."
    )
    handshakes = _counters("Handshakes, by result.", "result")
    handshake_seconds = _histogram("Time from upgrade to welcome.")
    closes = _counters("Connections that ended.", "initiator", "code")
    slow_closes = _counter("Phones closed because they accepted no data for 10 s.")
    connection_age_seconds = _histogram("Age of connections at their end.", buckets=AGE_BUCKETS_S)
    connections_limit = _gauge("Maximum number of connections of the node.")
    fresh_connections = _gauge(
        "Phones with current data: link and bus are live, and nothing has waited for them for 2 s."
    )
    served_connections = _gauge("Phones served, fresh or not.")
    devices_per_user = _histogram(
        "Phones of the same user on this node, counted when one connects.", buckets=(1, 2, 3, 4, 5, 10, 100)
    )
    resumes = _counters("Resumes of phones, by result.", "result")
    ping_rtt_seconds = _histogram("Time from a ping to the phone's answer.")

    # what they get and send

    frames = _sum("Frames written to phones.")
    frame_bytes = _sum("Bytes of frames written to phones, before compression.")
    updates = _sum("Values sent to phones after their first state.")
    conflated = _sum("Values that a newer one replaced before they were sent.")
    event_latency_seconds = _spreads(
        "Latency of changes, by part of the way; the oldest change of a frame counts, for each phone.",
        LATENCY_BUCKETS_S,
        labels=("hop",),
        values=HOPS,
    )
    state_age_seconds = _spreads(
        "Time since the last message of the user's link, at each write.", WAIT_BUCKETS_S
    )
    dirty_keys = _gauge("Keys that wait to be sent, all phones together.")
    pace_level = _gauge("Steps of the pace ladder above the lowest, all phones together.")
    commands = _counts("Commands, by kind and outcome.", "kind", "status")
    command_seconds = _histograms("Time from a command's arrival to its result.", "kind")
    commands_in_flight = _level("Commands in progress.")

    # links and log-ons

    links = _gauges("Links to contact centres.", "state")
    link_opens = _counters("Attempts to open a link, by result.", "result")
    link_replaced = _counter("Links that were replaced by a newer one.")
    link_refused = _counters("Links that a contact centre refused, by reason.", "reason")
    budget_wait_seconds = _histograms(
        "Time that a link waited for the site's rate limit.", "class", buckets=WAIT_BUCKETS_S
    )
    log_ons = _counters("Log-ons, by application and result.", "application", "result")
    site_log_ons = _counters("Log-ons sent to sites, by result.", "site", "result")
    site_log_offs = _counters("Log-offs sent to sites, by result.", "site", "result")
    log_on_seconds = _histogram("Time from a log-on's arrival to its answer.")
    log_offs_pending = _gauge("Log-offs not confirmed by a contact centre.")
    sessions_attached = _gauges("Sessions that are attached to a link.", "application")
    session_ends = _counters("Ended sessions, by reason. One node counts each.", "reason")
    site_function_up = _gauges(
        "Functions of a site, by its live links: 1 up, 0.5 degraded, 0 down or no link, NaN unknown.",
        *("site", "function"),
        most=SITE_CHILDREN_MAX,
    )
    upstream_failures = _counters("Requests without a valid answer of a contact centre, by cause.", "cause")
    upstream_figures_dropped = _sum("Figures of contact centres beyond their bounds, shown as unknown.")
    late_elements = _sum("Elements that were older than the known ones, and ignored.")
    upstream_skipped = _sum("Readings that newer ones replaced before they were processed.")
    overloaded = _gauge("1 while contact centres send more than this node can process, else 0.")
    upstream_events = _counts("Events received on links, by type.", "type")
    asterisk_waiting = _gauges(
        "Waiting at a site that is an Asterisk: actions for their answers (at most 256), and events of "
        "the link with the most (at most 10,000).",
        *("site", "what"),
    )
    upstream_silence_seconds = _gauge("Longest time since the last message of a link.")
    pool_hit_ratio = _gauge("Share of received elements that were known already. 0 to 1.")

    # owners

    leases_held = _gauge("Users that this node owns.")
    lease_renew_seconds = _histogram("Time from a lease's renewal to its answer.")
    lease_margin_seconds = _gauge("Time until the first lease forbids commands. NaN without leases.")
    self_fences = _counter("Leases that expired because no renewal was answered.")
    takeovers = _counters("Users that this node took over, by kind.", "kind")
    takeover_blind_seconds = _histogram(
        "Time from the takeover of a user until all data that their phones follow was read again.",
        buckets=WAIT_BUCKETS_S,
    )
    ownership_moves = _counters(
        "Users that moved from one node to another, by reason. One node counts each.", "reason"
    )
    owners_without_local_device = _gauge("Users that this node owns without a phone of theirs on it.")
    stale_epoch_dropped = _counter("Messages of an earlier owner that were dropped.")
    dual_owner_observed = _counter("Users whose lease and link named different owners for too long.")

    # the bus

    bus_state = _gauge("State of the bus: 0 live, 1 recovering, 2 degraded, 3 down.")
    bus_refused = _gauges(
        "1 while the Redis of the bus refuses this node, or its writes, with that word.", "reason"
    )
    bus_probe_seconds = _histogram("Round trip of a probe through the bus.")
    bus_gaps = _counters("Detected or suspected losses of messages, by detector.", "detector")
    resyncs = _counters("Requests for the missing data of a user, by reason.", "reason")
    bus_publish = _counter("Messages published on the bus.")
    bus_unopened = _counts(
        "Messages and values in Redis that this node dropped: sealed with another key or not at all "
        "(garbage, unknown_key, forged), not readable (unreadable), or recorded and sent again "
        "(repeated, late, unproven).",
        "reason",
    )
    duplicate_node_name = _gauge("1 while another live node has the name of this one.")
    clock_offset_seconds = _gauge(
        "Time by which Redis' clock is ahead of this node's. NaN before the first answer."
    )
    registry_size = _gauges("Number of stored items, by kind.", "name")

    # the process

    loop_lag_seconds = _histogram("Delay of the event loop.")
    gc_pause_seconds = _histogram("Pauses of the process for garbage collection.")
    faults = _counters("Unexpected faults of background work, which continues.", "part")
    tasks = _gauge("Tasks of the event loop.")
    rss_bytes = _gauge("Resident memory.")
    memory_limit_bytes = _gauge("Memory limit of the node's control group; NaN without one.")
    fds = _gauges("File descriptors: open ones, limit, and reserve of the node.", "kind")
    drain_state = _gauge("1 while the node drains.")
    drain_limit_seconds = _gauge("Limit of the duration of a drain.")
    drain_planned_seconds = _gauge("Planned duration of the drain, once known.")
    phones_sent_on = _counter(
        "Phones that were sent to other nodes because this node had far more than the mean."
    )
    drain_began_timestamp_seconds = _gauge("Start of the drain, since 1970. NaN before.")
    certificate_expiry_timestamp_seconds = _gauge("Expiry of the client listener's certificate, since 1970.")
    reload_failed = _gauges(
        "1 while changed files cannot be used: authorities, certificate, keys or notices.", "what"
    )
    build_info = _gauges("Always 1.", "version", "revision", "loop", "python")

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry(auto_describe=False)
        self.labels: Final[dict[str, tuple[str, ...]]] = {}
        """The names of each metric's labels; a counter's without ``_total``."""
        self.trace_id: Callable[[], str | None] = lambda: None
        """Returns the id of the current trace, if there is one and it is recorded."""
        for declared in vars(Telemetry).values():
            if isinstance(declared, Declared):
                declared.__get__(self, Telemetry)
        self.update_times: Final = UpdateTimes(
            self.frames, self.frame_bytes, self.updates, self.event_latency_seconds, self.state_age_seconds
        )
        self.clock_offset_seconds.set(math.nan)
        self.drain_began_timestamp_seconds.set(math.nan)
        # without a certificate there is no end to warn of: no comparison with NaN is true
        self.certificate_expiry_timestamp_seconds.set(math.nan)

    def exemplar(self) -> dict[str, str] | None:
        """Return the exemplar of a present observation: the current trace, if there is one."""
        trace_id = self.trace_id()
        return None if trace_id is None else {"trace_id": trace_id}

    def render(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return written(self.collect())

    def collect(self) -> Families:
        """Return the present values for :func:`written`. The event loop does this short part."""
        return list(self.registry.collect())


# ---- events of the runtime ----


TakeoverKind = Literal["planned", "early", "expired", "assumed"]
"""How a node came to own a user of another node: offered by the owner; taken from an unreachable owner; after
its lease expired; while the store is away.
"""
GiftReason = Literal["roam", "drain", "island"]
"""Why a node gives a user to another: the phones are there; it drains; it does not reach the site."""
GapDetector = Literal["sequence", "probe", "subscription"]
"""Detectors of messages that were lost, or may have been."""
ResyncReason = Literal["gap", "bus", "epoch"]
"""Why a follower requests all that may be missing: a gap, the bus is back, another owner began."""

BackgroundPart = Literal["log_off", "fleet", "endings"]
"""Background work that continues after a fault: retries of log-offs, membership, ends of sessions."""

EVENTS: Final[Mapping[type[LinkEvent], str]] = {
    Opened: "opened",
    Reading: "reading",
    ObjectChanged: "object_changed",
    CatalogueChanged: "catalogue_changed",
    ScopeChanged: "scope_changed",
    FunctionChanged: "function_changed",
    SessionEnded: "session_ended",
    LinkReplaced: "link_replaced",
    Announced: "announced",
}
MOVE_REASONS: Final[Mapping[TakeoverKind, str]] = {"early": "deaf", "expired": "expired", "assumed": "island"}
"""Ways to take a user from another node. The node that offers a user counts the offered ones."""
URGENCY_NAMES: Final[Mapping[Urgency, str]] = {urgency: urgency.name.lower() for urgency in Urgency}
_LINK_LOG: Final = logging.getLogger("gateway.link")


SAMPLE_S: Final = 0.01
"""Interval between two messages of links whose processing is timed."""


class RuntimeCounters:
    """Counts the events of one node's runtime.

    No method blocks or raises; each is cheap enough for its caller.

    Args:
        telemetry: The metrics; without them nothing is shown.
    """

    def __init__(self, telemetry: Telemetry | None = None) -> None:
        self._telemetry = Telemetry() if telemetry is None else telemetry
        self._bus = self._telemetry.event_latency_seconds.series["bus"]
        self._unread_rows: dict[tuple[str, str], int] = {}
        self.samples_from = -math.inf
        """Monotonic seconds from which on the next message of a link is to be timed by :meth:`read`."""
        for name in EVENTS.values():
            self._telemetry.upstream_events.values.setdefault(name, 0)

    def took_over(self, kind: TakeoverKind) -> None:
        """Record that this node was granted, or took without a lease, a user of another node."""
        self._telemetry.takeovers[kind].inc()
        reason = MOVE_REASONS.get(kind)
        if reason is not None:
            self._telemetry.ownership_moves[reason].inc()

    def realtime_resumed(self, blind_s: float) -> None:
        """Record the time from the start of a takeover until everything that was requested had arrived."""
        self._telemetry.takeover_blind_seconds.observe(blind_s)

    def user_given(self, reason: GiftReason) -> None:
        """Record that another node took a user whom this node offered to it."""
        self._telemetry.ownership_moves[reason].inc()

    def link_fenced(self) -> None:
        """Record that a lease expired without a renewal: this node may no longer act under it."""
        self._telemetry.self_fences.inc()

    def two_owners_found(self) -> None:
        """Record that lease and link name different owners for longer than a move takes."""
        self._telemetry.dual_owner_observed.inc()

    def dropped_stale_epoch(self) -> None:
        """Record that data of an earlier owner was dropped."""
        self._telemetry.stale_epoch_dropped.inc()

    def found_gap(self, detector: GapDetector) -> None:
        """Record that messages of the bus were lost, or may have been."""
        self._telemetry.bus_gaps[detector].inc()

    def resynced(self, reason: ResyncReason) -> None:
        """Record that a follower requests all that may be missing."""
        self._telemetry.resyncs[reason].inc()

    def probed(self, seconds: float) -> None:
        """Record the transit time of this node's own probe."""
        self._telemetry.bus_probe_seconds.observe(seconds)

    def published(self) -> None:
        """Record that the bus took a message."""
        self._telemetry.bus_publish.inc()

    def event_came(self, event: LinkEvent) -> None:
        """Record that a link delivered *event*, which is not a reading.

        The reader of links counts readings.
        """
        self._telemetry.upstream_events.values[EVENTS[type(event)]] += 1
        if isinstance(event, LinkReplaced):
            self._telemetry.link_replaced.inc()

    def left_out(self, site: str, dropped: Sequence[Dropped]) -> None:
        """Warn of rows of a site's directory that cannot be read: once a kind, again when there are more."""
        for kind in dict.fromkeys(each.kind for each in dropped):
            faults = [each for each in dropped if each.kind == kind]
            rows, why = sum(each.rows for each in faults), max(faults, key=lambda each: each.rows).why
            if rows > self._unread_rows.get((site, kind), 0):
                self._unread_rows[site, kind] = rows
                extra = {"site": site, "kind": kind, "dropped": rows, "why": why}
                _LINK_LOG.warning("directory_rows_unreadable", extra=extra)

    def read(self, came_at: float, now: float) -> None:
        """Record that a message of a link, which came at *came_at*, was applied to the mirror at *now*."""
        self.samples_from = now + SAMPLE_S
        self._telemetry.event_latency_seconds.series["upstream"].observe(now - came_at)

    def arrived(self, seconds: float) -> None:
        """Record the time from a change's receipt at the owner to its receipt here, by wall clocks."""
        spread = self._bus  # as Spread.observe, a call less for each change
        spread.counts[bisect_left(spread.bounds, seconds)] += 1
        spread.total += seconds

    def attached(self, phones: int) -> None:
        """Record that a phone is served, and the number of its user's phones on this node."""
        self._telemetry.devices_per_user.observe(phones)

    def session_ended(self, reason: EndReason) -> None:
        """Record that a session of a user of this node ended."""
        self._telemetry.session_ends[reason.value].inc()

    def faulted(self, part: BackgroundPart) -> None:
        """Record that background work failed for an unexpected reason, and continues."""
        self._telemetry.faults[part].inc()

    def waited(self, urgency: Urgency, seconds: float) -> None:
        """Record the time that a link waited for its turn at the site."""
        self._telemetry.budget_wait_seconds[URGENCY_NAMES[urgency]].observe(seconds)
