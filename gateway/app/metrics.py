"""Metrics of a node: startup series, process and user gauges, and counters around the upstream ports."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import resource
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from itertools import product
from pathlib import Path
from typing import Final, get_args

from gateway.app.process import SPARE_FILES
from gateway.bus.sealing import DropReason
from gateway.core.fanout_group import FanoutGroup
from gateway.core.lease import BusState
from gateway.core.ledger import Ledger
from gateway.core.outbox import Outbox
from gateway.core.session import Resumption
from gateway.domain.commands import Status
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError
from gateway.domain.model import SITE, Application, SessionId, SessionSecret, UserId
from gateway.domain.resources import Functions, FunctionState, Site
from gateway.domain.upstream import (
    About,
    LinkClosed,
    LoggedOff,
    LoggedOn,
    LogOn,
    SessionInfo,
    Trouble,
    trouble_of,
)
from gateway.edge.channel import OK, REFUSED
from gateway.edge.socket import FAILED
from gateway.protocol.frames import COMMANDS
from gateway.runtime.event_loop import LinkScheduler
from gateway.runtime.node import Node
from gateway.runtime.ports import ENTRY_REFUSALS, WRITE_REFUSALS, Authority, Clock, Cluster, Link, Upstream
from gateway.runtime.user_state import Owner
from gateway.telemetry import (
    MOVE_REASONS,
    URGENCY_NAMES,
    Family,
    GapDetector,
    GiftReason,
    M,
    ResyncReason,
    TakeoverKind,
    Telemetry,
)
from gateway.upstream.oscce.readings import Readings

# ---- startup series ----


LINK_REFUSALS: Final = ("session_unknown", "stale", "version_unsupported")
OWN_REFUSALS: Final = (
    *(code.value for code in (ErrorCode.OVER_CAPACITY, ErrorCode.RATE_LIMITED)),
    REFUSED[CloseCode.INTERNAL],
)
"""Handshakes that a node refuses for reasons of its own."""
OWN_CLOSES: Final = tuple(str(code.value) for code in (CloseCode.INTERNAL, CloseCode.OVER_CAPACITY))
"""Connections that a node ends for reasons of its own."""


def create_startup_series(telemetry: Telemetry) -> None:
    """Create the series that alerts and the dashboard use, and all series with few labels."""
    _create(telemetry.handshakes, (OK, *OWN_REFUSALS))
    _create(telemetry.closes, ("gateway",), OWN_CLOSES)
    _create(telemetry.resumes, get_args(Resumption))
    for labels in product(COMMANDS, (*Status, FAILED)):
        telemetry.commands.values[labels] += 0
    _create(telemetry.command_seconds, COMMANDS)
    _create(telemetry.link_opens, (OK, *LINK_REFUSALS, "unavailable"))
    _create(telemetry.link_refused, LINK_REFUSALS)
    _create(telemetry.budget_wait_seconds, URGENCY_NAMES.values())
    _create(telemetry.session_ends, EndReason)
    _create(telemetry.takeovers, get_args(TakeoverKind))
    _create(telemetry.ownership_moves, (*get_args(GiftReason), *MOVE_REASONS.values()))
    _create(telemetry.bus_gaps, get_args(GapDetector))
    _create(telemetry.resyncs, get_args(ResyncReason))
    for reason in DropReason:
        telemetry.bus_unopened.values[reason.value] += 0


def _create(family: Family[M], *values: Iterable[str]) -> None:
    for labels in product(*values):
        family[labels if len(labels) > 1 else labels[0]]  # this creates it, with the value 0


# ---- gauges of a node ----


LINK_STATES: Final = ("live", "stale", "down")
"""Names that are sent to phones."""
BUS_STATES: Final[Mapping[BusState, int]] = {
    BusState.LIVE: 0,
    BusState.RECOVERING: 1,
    BusState.DEGRADED: 2,
    BusState.DOWN: 3,
}
"""A higher value is worse."""


FRESH_S: Final = 2.0
"""Highest waiting time of a phone whose data counts as fresh."""
FUNCTION_LEVELS: Final[Mapping[FunctionState, float]] = {
    FunctionState.UP: 1.0,
    FunctionState.DEGRADED: 0.5,
    FunctionState.DOWN: 0.0,
    FunctionState.UNKNOWN: math.nan,
}


def measure_node(node: Node, sites: Iterable[str], telemetry: Telemetry) -> None:
    """Record the figures of *node*, and of the OSCC-E Servers of *sites*."""
    measure_users(node, telemetry)
    measure_owned(node, telemetry)
    measure_phones(node, telemetry)
    measure_functions(node, sites, telemetry)
    telemetry.late_elements.value = node.composer.late
    telemetry.upstream_events.values["reading"] = node.composer.readings


def measure_users(node: Node, telemetry: Telemetry) -> None:
    """Record the figures of the users of *node*."""
    links: Counter[str] = Counter()
    sessions: Counter[Application] = Counter()
    silence_s, now = 0.0, node.clock.now()
    for user_state in node.user_states.values():
        links[user_state.feed.ledger.health.upstream] += 1
        owner = user_state.owner
        if owner is None:
            continue
        sessions.update(member.ticket.application for member in owner.user_sessions if member.on_link)
        silence_s = max(silence_s, _silence_s(owner, user_state.feed.ledger, now))
    telemetry.users.set(len(node.user_states))
    telemetry.upstream_silence_seconds.set(silence_s)
    telemetry.log_offs_pending.set(len(node.log_offs))
    for state in LINK_STATES:
        telemetry.links[state].set(links[state])
    for application in Application:
        telemetry.sessions_attached[application.value].set(sessions[application])


def _silence_s(owner: Owner, ledger: Ledger, now: float) -> float:
    """Return how long OSCC-E has been silent; 0 for a user without any data yet.

    While there is no link, the age continues from the last message, also from one that another owner
    received.
    """
    if owner.link is not None:
        return now - owner.link.last_received_at
    return now - ledger.came_at + ledger.under_way_s if ledger.came_at > -math.inf else 0.0


def measure_phones(node: Node, telemetry: Telemetry) -> None:
    """Record the state of *node*'s phones, once for each fan-out group and each single phone."""
    phones = fresh = dirty = levels = 0
    by = node.clock.now() - FRESH_S
    for user_state in node.user_states.values():
        feed = user_state.feed
        is_live = feed.ledger.health.upstream == "live" and feed.ledger.health.bus == "live"
        for reader in feed.ledger.readers:
            if isinstance(reader, Outbox):
                size = 1
                levels += reader.pace.level
            elif isinstance(reader, FanoutGroup):
                size = len(reader.members)
            else:
                continue
            names, since = reader.waits
            phones += size
            dirty += names * size
            fresh += size if is_live and since > by else 0
    telemetry.served_connections.set(phones)
    telemetry.fresh_connections.set(fresh)
    telemetry.dirty_keys.set(dirty)
    telemetry.pace_level.set(levels)


def measure_functions(node: Node, sites: Iterable[str], telemetry: Telemetry) -> None:
    """Record the functions that one live link of each of *sites* reports; without one, no function is up."""
    known: dict[str, Functions | None] = {}
    for user, user_state in node.user_states.items():
        if user_state.owner is None or known.get(user.site) is not None:
            continue
        element = user_state.feed.ledger.get(SITE) if user_state.owner.link is not None else None
        value = None if element is None else element.value
        known[user.site] = value.functions if isinstance(value, Site) else None
    for site in sites:
        functions = known.get(site)
        for function in fields(Functions):
            level = math.nan if site not in known else 0.0
            if functions is not None:
                level = FUNCTION_LEVELS[asdict(functions)[function.name]]
            telemetry.site_function_up[site, function.name].set(level)


def measure_owned(node: Node, telemetry: Telemetry) -> None:
    """Record the users that *node* owns, and how the others are reached."""
    held = alone = 0
    margin_s, now = math.inf, node.clock.now()
    for user_state in node.user_states.values():
        owner = user_state.owner
        if owner is None or not owner.lease.is_ours:
            continue
        held += 1
        alone += not user_state.feed.connections
        margin_s = min(margin_s, owner.lease.left_s(now))
    telemetry.leases_held.set(held)
    telemetry.owners_without_local_device.set(alone)
    telemetry.lease_margin_seconds.set(margin_s if held else math.nan)
    telemetry.bus_state.set(BUS_STATES[node.exchange.machine.state])
    telemetry.duplicate_node_name.set(int(node.membership.has_namesake))
    refused = node.bus_refusals
    for word in sorted(ENTRY_REFUSALS | WRITE_REFUSALS):
        telemetry.bus_refused[word].set(int(word in refused))
    for name, size in node.sizes.items():
        telemetry.registry_size[name].set(size)


def measure_bus(cluster: Cluster, telemetry: Telemetry) -> None:
    """Record the dropped messages of the bus, and how far the clock of its server is ahead."""
    offset_s = cluster.clock_offset_s()
    telemetry.clock_offset_seconds.set(math.nan if offset_s is None else offset_s)
    for reason, count in cluster.dropped().items():
        telemetry.bus_unopened.values[reason] = count


def measure_schedulers(schedulers: Iterable[LinkScheduler], telemetry: Telemetry) -> None:
    """Record whether the node keeps up with its links, and how many readings newer ones replaced."""
    each = list(schedulers)
    telemetry.overloaded.set(int(any(one.is_overloaded for one in each)))
    telemetry.upstream_skipped.value = sum(one.skipped for one in each)


def measure_shared(pools: Iterable[Readings], telemetry: Telemetry) -> None:
    """Record how many elements were shared, and how many could not be shown."""
    shared = parsed = giants = 0
    for pool in pools:
        giants += pool.giants
        shared += pool.shared
        parsed += pool.parsed
    telemetry.upstream_figures_dropped.value = giants
    telemetry.pool_hit_ratio.set(shared / (shared + parsed) if shared else 0.0)


# ---- gauges of the process ----


LOOP_CHECK_S: Final = 0.5
"""Interval in which the loop is tested; the excess is its lag."""
STUCK_S: Final = 10.0

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_STATM: Final = Path("/proc/self/statm")
_CGROUP: Final = Path("/proc/self/cgroup")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_FDS: Final = "/proc/self/fd"


class ProcessMetrics:
    """Measures the loop that :meth:`run` runs on.

    Invariant: :meth:`live` reports a fault exactly when the loop has not turned for :data:`STUCK_S`. It may
    be called from any thread.
    """

    def __init__(
        self, clock: Clock, telemetry: Telemetry, lagged: Callable[[float, float], None] | None = None
    ) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._lagged = lagged
        self._turned_at = clock.now()
        telemetry.memory_limit_bytes.set(memory_limit_bytes(_CGROUP, _CGROUPS))

    async def run(self) -> None:
        """Measure the loop's lag until cancelled."""
        while True:
            await self._clock.sleep(LOOP_CHECK_S)
            now = self._clock.now()
            lag_s = max(0.0, now - self._turned_at - LOOP_CHECK_S)
            self._telemetry.loop_lag_seconds.observe(lag_s)
            if self._lagged is not None:
                self._lagged(lag_s, now)
            self._turned_at = now

    def live(self) -> str | None:
        """Return the fault of the loop, if there is one."""
        silent_s = self._clock.now() - self._turned_at
        return None if silent_s < STUCK_S else "the event loop is stuck"

    def sample(self) -> None:
        """Update the metrics that are read on request only."""
        telemetry = self._telemetry
        telemetry.tasks.set(len(asyncio.all_tasks()))
        telemetry.rss_bytes.set(int(_STATM.read_text("ascii").split()[1]) * _PAGE_BYTES)
        with os.scandir(_FDS) as found:
            telemetry.fds["open"].set(sum(1 for _ in found))
        telemetry.fds["limit"].set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        telemetry.fds["reserved"].set(SPARE_FILES)


def memory_limit_bytes(cgroup: Path, cgroups: Path) -> float:
    """Return the lowest memory limit of the control group in *cgroup* and its parents; NaN without one."""
    try:
        own = next(line[3:] for line in cgroup.read_text("ascii").splitlines() if line.startswith("0::"))
        inside = Path(own.lstrip("/"))
        limits = [(cgroups / one / "memory.max") for one in (inside, *inside.parents)]
        found = [
            int(text) for one in limits if one.exists() and (text := one.read_text("ascii").strip()) != "max"
        ]
    except (OSError, ValueError, StopIteration):
        return math.nan
    return float(min(found, default=math.nan))


# ---- log-ons and log-offs ----


ANSWERED: Final = "answered"
UNAVAILABLE: Final = "unavailable"
_SITE_REFUSALS: Final = frozenset(
    {
        ErrorCode.UPSTREAM_UNAVAILABLE,
        ErrorCode.UPSTREAM_VERSION_UNSUPPORTED,
        ErrorCode.FUNCTION_UNAVAILABLE,
        ErrorCode.BUSY,
    }
)
"""Refusals of a log-on that concern all users. All others concern one user: the site has answered."""
_ALL_REFUSALS: Final = frozenset(ErrorCode)
"""A refused log-off is as open as one that was not received, whatever the reason."""


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

    def note_failure(self, refusal: ErrorCode | None, error: Exception, telemetry: Telemetry) -> None:
        """Record a *refusal*, and count its cause if there was no usable answer."""
        if refusal is not ErrorCode.UPSTREAM_UNAVAILABLE:
            self.note(refusal)
            return
        cause = trouble_of(error)
        telemetry.upstream_failures[cause].inc()
        self.note(refusal, cause)


class CountedAuthority:
    """The port Authority with counters. Invariant: it changes nothing.

    All its series exist from the start, since a series that begins with its first event shows no increase.
    """

    def __init__(self, authority: Authority, site: str, telemetry: Telemetry, reach: SiteReach) -> None:
        self._authority = authority
        self._reach = reach
        self._telemetry = telemetry
        results = (ANSWERED, UNAVAILABLE)
        self._log_ons = {result: telemetry.site_log_ons[site, result].inc for result in results}
        self._log_offs = {result: telemetry.site_log_offs[site, result].inc for result in results}

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        """Open a session."""
        with self._counting(self._log_ons, _SITE_REFUSALS):
            return await self._authority.log_on(credentials)

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        """End the session."""
        with self._counting(self._log_offs, _ALL_REFUSALS):
            return await self._authority.log_off(secret)

    async def sessions(self, secret: SessionSecret) -> tuple[SessionInfo, ...]:
        """List the sessions of the user."""
        return await self._authority.sessions(secret)

    async def end(self, secret: SessionSecret, session: SessionId) -> LoggedOff:
        """End another session of the same user."""
        return await self._authority.end(secret, session)

    async def keep_alive(self, secret: SessionSecret) -> int:
        """Request a longer life."""
        return await self._authority.keep_alive(secret)

    @contextmanager
    def _counting(
        self, counts: Mapping[str, Callable[[], None]], unavailable: frozenset[ErrorCode]
    ) -> Iterator[None]:
        """Count how the block ends; a cancelled block shows nothing about the site."""
        try:
            yield
        except GatewayError as error:
            counts[UNAVAILABLE if error.code in unavailable else ANSWERED]()
            self._reach.note_failure(error.code, error, self._telemetry)
            raise
        counts[ANSWERED]()
        self._reach.note()


# ---- links ----


_LINK_LOG: Final = logging.getLogger("gateway.link")
_LINK_REFUSALS: Final[Mapping[str, ErrorCode]] = {
    "unavailable": ErrorCode.UPSTREAM_UNAVAILABLE,
    "lost": ErrorCode.UPSTREAM_UNAVAILABLE,
    "version_unsupported": ErrorCode.UPSTREAM_VERSION_UNSUPPORTED,
}
"""Reasons of a refused link while the server is not reached. All other reasons are its answers."""


class CountedUpstream:
    """The port Upstream with counters. Invariant: it changes nothing.

    A try to open a link begins with a query of the server's version, so its refusal counts, too.
    """

    def __init__(self, upstream: Upstream, telemetry: Telemetry, reach: SiteReach) -> None:
        self._upstream = upstream
        self._telemetry = telemetry
        self._reach = reach
        for cause in get_args(Trouble):
            telemetry.upstream_failures[cause].inc(0)

    async def about(self) -> About:
        """Return name, version and features of the server."""
        try:
            return await self._upstream.about()
        except GatewayError as error:
            unsupported = error.code is ErrorCode.UPSTREAM_VERSION_UNSUPPORTED
            self._telemetry.link_opens["version_unsupported" if unsupported else "unavailable"].inc()
            self._reach.note_failure(error.code, error, self._telemetry)
            raise

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> Link:
        """Open the user's link."""
        try:
            link = await self._upstream.open(user, secret, token=token, holder=holder)
        except LinkClosed as closed:
            self._telemetry.link_opens[closed.reason].inc()
            self._reach.note_failure(_LINK_REFUSALS.get(closed.reason), closed, self._telemetry)
            if closed.reason != "unavailable":
                self._telemetry.link_refused[closed.reason].inc()
            raise
        self._telemetry.link_opens["ok"].inc()
        self._reach.note()
        _LINK_LOG.debug("link_opened", extra={"user": user})
        return link
