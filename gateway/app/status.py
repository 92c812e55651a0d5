"""Status log: one line for each change of the bus, a site, a lease, a clock or a node's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import structlog

from gateway.app.config.settings import BusSection, redis_url, without_password
from gateway.bus.connect import RedisUnreachable, parse_url
from gateway.bus.stores import OLDEST, ClusterFacts, ServerFacts, inspect, inspect_cluster
from gateway.core.lease import BusState
from gateway.domain.errors import ErrorCode
from gateway.domain.model import NodeId
from gateway.domain.upstream import Trouble
from gateway.runtime.cluster_receiver import ClusterMembership
from gateway.runtime.node import Node
from gateway.runtime.ports import NODE_TTL_S, Clock
from gateway.telemetry import Telemetry

STATUS_EVERY_S: Final = 1.0
"""Interval of the checks; a change that is over before the next check leaves no line."""

_LOG: Final = structlog.get_logger("gateway.app")
_UNREACHED: Final = frozenset({ErrorCode.UPSTREAM_UNAVAILABLE, ErrorCode.UPSTREAM_VERSION_UNSUPPORTED})
"""All other refusals come from a server that was reached."""


class SiteReach:
    """The result of the latest log-on, log-off or opening of a link at one site."""

    def __init__(self) -> None:
        self.error: ErrorCode | None = None
        """Why the site was not reached; None: it was, or it was not tried."""
        self.cause: Trouble | None = None
        """The cause, when there was no usable answer."""

    def note(self, refusal: ErrorCode | None = None, cause: Trouble | None = None) -> None:
        """Record a result; None: success."""
        self.error = refusal if refusal in _UNREACHED else None
        self.cause = None if self.error is None else cause


class NodeStatus(NamedTuple):
    """The status of a node at one moment."""

    bus: BusState
    log_offs: int
    """Log-offs that no OSCC-E Server has confirmed, now."""
    fences: int
    """Leases that expired without an answered renewal, since the node began."""
    two_owners: int
    """Users for whom another owner was seen, since the node began."""
    refused: frozenset[str] = frozenset()
    """What the bus server refuses now, in its own words."""


class StatusLog:
    """Compares each status with the one before, and logs the changes.

    Invariant: one :meth:`look` writes at most one line for each subject, and none without a change.

    Args:
        sites: The ids of the sites.
    """

    def __init__(self, sites: Iterable[str]) -> None:
        self.reaches: Final[Mapping[str, SiteReach]] = {site: SiteReach() for site in sites}
        self._away: Final[dict[str, set[Trouble | None]]] = {}
        """Sites that are not reached, and the cause of each."""
        self._was = NodeStatus(BusState.DEGRADED, 0, 0, 0)  # the first state of a bus: nothing to log yet

    def look(self, now: NodeStatus) -> None:
        """Log the differences from the last look."""
        was, self._was = self._was, now
        if now.bus is not was.bus:
            (_LOG.warning if now.bus is BusState.DOWN else _LOG.info)("bus_state_changed", bus=now.bus)
        for word in sorted(now.refused - was.refused):
            _LOG.error("bus_refuses", cause=word)
        for word in sorted(was.refused - now.refused):
            _LOG.info("bus_refuses_no_more", cause=word)
        if now.fences > was.fences:
            fields = {"cause": " ".join(sorted(now.refused))} if now.refused else {}
            _LOG.warning("leases_expired", users=now.fences - was.fences, **fields)
        if now.two_owners > was.two_owners:
            _LOG.warning("two_owners_seen", users=now.two_owners - was.two_owners)
        self._log_log_offs(was.log_offs, now.log_offs)
        for site, reach in self.reaches.items():
            self._log_site(site, reach)

    def _log_log_offs(self, before: int, now: int) -> None:
        if now and not before:
            _LOG.warning("log_offs_pending", log_offs=now)
        elif before and not now:
            _LOG.info("log_offs_done")

    def _log_site(self, site: str, reach: SiteReach) -> None:
        if reach.error is not None:
            causes = self._away.setdefault(site, set())
            if reach.cause not in causes:
                causes.add(reach.cause)
                cause = {} if reach.cause is None else {"cause": reach.cause}
                _LOG.warning("site_unreachable", site=site, error=reach.error, **cause)
        elif self._away.pop(site, None) is not None:
            _LOG.info("site_reachable", site=site)


async def log_status(surroundings: StatusLog, node: Node, telemetry: Telemetry, clock: Clock) -> None:
    """Compare the status of *node* every :data:`STATUS_EVERY_S`, until cancelled."""
    counters = telemetry.self_fences, telemetry.dual_owner_observed
    while True:
        await clock.sleep(STATUS_EVERY_S)
        fences, two_owners = (int(next(iter(each.collect())).samples[0].value) for each in counters)
        state, log_offs = node.exchange.machine.state, node.account.log_offs_pending
        surroundings.look(NodeStatus(state, log_offs, fences, two_owners, node.bus_refusals))


# ---- bus check ----


OFFSET_S: Final = 2.0
"""Leases use Redis' time: a node's clock that differs by more shows trouble with one of them."""

NODE_TIMEOUT_S: Final = 5.0
"""A failed primary of a Redis Cluster must be replaced before leases expire, after 10 s."""


class BusReport(NamedTuple):
    """Result of the check, a sentence each. *notes*: what is well; *faults*: no node should run with them."""

    notes: tuple[str, ...] = ()
    advices: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


async def check_bus(bus: BusSection, clock: Clock) -> BusReport:
    """Check the bus's Redis, if there is one; bounded in time."""
    url = redis_url(bus)
    if url is None:
        return BusReport()
    try:
        address = parse_url(url)
        if address.is_cluster:
            return report_on_cluster(await inspect_cluster(address, clock))
        return report_on(await inspect(address, clock))
    except RedisUnreachable as error:
        return BusReport(faults=(f"The Redis at {without_password(bus.url)} cannot be used: {error}.",))


def report_on(seen: ServerFacts) -> BusReport:
    """Return the report on a server."""
    engine = f"{seen.engine or 'a Redis'} {'.'.join(map(str, seen.version))}".strip()
    faults = list(_bus_faults(seen))
    if seen.is_cluster_node:
        faults.append(
            f"The server at {seen.endpoint} is a node of a Redis Cluster: bus.url must begin with "
            "redis+cluster:// or rediss+cluster://."
        )
    return BusReport(
        (f"Redis at {seen.endpoint} answers: {engine}",), tuple(_bus_advices(seen)), tuple(faults)
    )


def report_on_cluster(seen: ClusterFacts) -> BusReport:
    """Return the report on a Redis Cluster."""
    reports = [report_on(server._replace(is_cluster_node=False)) for server in seen.servers]
    faults = [fault for report in reports for fault in report.faults]
    if seen.lost_slots:
        faults.append(f"{seen.lost_slots} of 16384 slots of the Redis Cluster are served by no primary.")
    return BusReport(
        tuple(line for report in reports for line in report.notes),
        (*(advice for report in reports for advice in report.advices), *_cluster_advices(seen)),
        tuple(faults),
    )


def _cluster_advices(seen: ClusterFacts) -> Iterator[str]:
    for primary in seen.without_replica:
        yield f"The primary at {primary} has no replica: nothing takes over its users when it fails."
    if seen.node_timeout_s is not None and seen.node_timeout_s > NODE_TIMEOUT_S:
        yield (
            f"A failed primary is replaced after {seen.node_timeout_s:g} s, when leases have run out: set "
            f"cluster-node-timeout {NODE_TIMEOUT_S * 1000:g}."
        )
    if seen.needs_all_slots:
        yield (
            "Without one shard the Redis Cluster refuses all writes: set cluster-require-full-coverage no, "
            "so that only users of that shard are affected."
        )


def _bus_faults(seen: ServerFacts) -> Iterator[str]:
    if seen.is_too_old:
        oldest = " or ".join(f"{name} {major}.{minor}" for name, (major, minor, *_) in OLDEST.items())
        yield f"The server at {seen.endpoint} is too old: the gateway needs {oldest}, or newer."

    if seen.write_refusal is not None:
        yield (
            f"The server at {seen.endpoint} takes no writes ({seen.write_refusal}): no new "
            "user could be served. docs/runbook.md#osccgatewaybusrefuseswrites says what to do for each word."
        )


def _bus_advices(seen: ServerFacts) -> Iterator[str]:
    if seen.engine is None:
        yield f"The server at {seen.endpoint} does not report its version, which could not be checked."
    if seen.persists:
        yield (
            f"The server at {seen.endpoint} writes its data to a disk, where it outlives the users' "
            'sessions: set save "" and appendonly no.'
        )
    elif seen.persists is None:
        yield (
            f"The server at {seen.endpoint} does not show this user whether it writes snapshots to a disk: "
            'check that its configuration has save "" and appendonly no.'
        )
    if seen.evicts:
        yield (
            f"The server at {seen.endpoint} evicts keys when its memory is full, and with them the "
            "owners of users: set maxmemory-policy noeviction."
        )
    if seen.clock_offset_s is not None and abs(seen.clock_offset_s) > OFFSET_S:
        ahead = "ahead of" if seen.clock_offset_s > 0 else "behind"
        yield (
            f"The clock of the server at {seen.endpoint} is {abs(seen.clock_offset_s):.0f} s {ahead} this "
            "machine's: synchronise both with the same time service."
        )


# ---- checks at the start and while running ----


BUS_RETRY_S: Final = 5.0
"""Pause before an unreachable Redis is checked again."""
DUPLICATE_NAME_EVERY_S: Final = NODE_TTL_S + 5.0
"""Interval of checks; at the first one no message of this node's own former life is under way."""

CLOCK_OFF_S: Final = 1.0
"""Clock differences above this are logged: the times on phones are wrong by as much."""
CLOCK_EVERY_S: Final = 10.0
KEYS_LOOK_S: Final = 10.0
"""Keys that differ in two checks do so for longer than a reload of all nodes takes."""


async def log_bus_faults(bus: BusSection, clock: Clock) -> None:
    """Check the bus's Redis until it answers once, and log its faults."""
    while True:
        found = await check_bus(bus, clock)
        for fault in found.faults:
            _LOG.error("bus_check_failed", fault=fault)
        for advice in found.advices:
            _LOG.warning("bus_check_advice", fault=advice)
        if found.notes or not found.faults:
            return
        await clock.sleep(BUS_RETRY_S)


async def log_clock_offset(offset_s: Callable[[], float | None], clock: Clock) -> None:
    """Log when this node's clock and that of Redis begin to differ, and when they agree again; never ends."""
    is_off = False
    while True:
        ahead_s = offset_s()
        if ahead_s is not None and (abs(ahead_s) >= CLOCK_OFF_S) is not is_off:
            is_off = not is_off
            if is_off:
                _LOG.warning("clock_differs", offset_s=round(ahead_s, 3))
            else:
                _LOG.info("clock_agrees", offset_s=round(ahead_s, 3))
        await clock.sleep(CLOCK_EVERY_S)


async def log_key_differences(membership: ClusterMembership, clock: Clock) -> None:
    """Log when another node's sealing keys begin to differ from this one's, and when they agree again."""
    before: set[NodeId] = set()
    reported: set[NodeId] = set()
    while True:
        await clock.sleep(KEYS_LOOK_S)
        own, others = membership.sealing_keys, membership.sealing_keys_of_others
        differ = {node for node, keys in others.items() if keys and keys != own}
        for node in sorted((differ & before) - reported):
            _LOG.warning("sealing_keys_differ", node=node, sealing_keys=own, other_keys=others[node])
        for node in sorted(reported & others.keys() - differ):
            _LOG.info("sealing_keys_agree", node=node, sealing_keys=own)
        reported = differ & (before | reported)
        before = differ


async def log_duplicate_name(membership: ClusterMembership, clock: Clock) -> None:
    """Log when another live node has this one's name: each would get the other's messages.

    Only a node that sends messages counts: while Redis is away, the record of this node's own former life is
    kept.
    """
    was_there = False
    while True:
        await clock.sleep(DUPLICATE_NAME_EVERY_S)
        is_there = membership.has_namesake
        if is_there and not was_there:
            _LOG.error("duplicate_node_name", node=membership.node)
        was_there = is_there
