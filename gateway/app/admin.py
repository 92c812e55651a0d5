"""What operators get of a node: recent closes, bundles, operations and their listener, the status log."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import platform
import resource
import secrets
import stat
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args
from urllib.parse import urlsplit

from aiohttp import web

import gateway
from gateway.app.adapters import redis_url
from gateway.app.config.errors import PREFIX
from gateway.app.config.settings import AdminSection, BusSection, Settings, socket_path, without_password
from gateway.app.config.sources import Configuration, effective_toml
from gateway.app.logging import AuditTrail, CloseHistory, LogLevel, LogLines, Pseudonyms, set_level
from gateway.app.metrics import SiteReach
from gateway.app.process import DEFAULT_CONNECTIONS, CannotListen, StopRequest, listening, os_error_text
from gateway.app.reload import ReloadFailed
from gateway.bus import OLDEST, ClusterFacts, RedisUnreachable, ServerFacts, parse_url
from gateway.core.lease import BusState
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId
from gateway.domain.upstream import Trouble
from gateway.edge.admin import AdminParts, make_admin_app
from gateway.edge.export import AdminUsers, NodeHoldings
from gateway.edge.limits import PendingConnections
from gateway.edge.server import ListenerRunner
from gateway.protocol.bodies import BundleView
from gateway.protocol.envelopes import NodeRecord, Order
from gateway.protocol.schemas import API_VERSION
from gateway.runtime.cluster_receiver import ClusterMembership, Page
from gateway.runtime.node import Node
from gateway.runtime.ports import NODE_TTL_S, Clock
from gateway.telemetry import Telemetry

_LOG: Final = logging.getLogger("gateway.app")

# ---- support bundle ----


BUNDLE_FORMAT: Final = 1
BUNDLE_KEEP_S: Final = 30 * 86_400
"""Age after which a bundle is to be deleted, as its text says."""
BUNDLE_CLOSES: Final = 1_000
BUNDLE_SESSIONS: Final = 200
"""Last closed connections: how many are counted by reason, and how many are listed."""
PURPOSE_UNSTATED: Final = "support; no other purpose was given"
_PACKAGES: Final = (
    "aiohttp",
    "cryptography",
    "hiredis",
    "msgpack",
    "msgspec",
    "phonenumbers",
    "prometheus-client",
    "pydantic",
    "redis",
    "structlog",
    "uvloop",
)
_CLOSE_COLUMNS: Final = ("at_ms", "initiator", "close_code", "close_reason", "application", "lasted_s")

Bundle = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BundleSources:
    """Sources of a bundle. *render* writes the metrics, *nodes* returns the live nodes, this one first.

    *log_lines* returns the last log lines of this process, the oldest first.
    """

    settings: Settings
    closes: CloseHistory
    render: Callable[[], bytes]
    nodes: Callable[[], tuple[NodeRecord, ...]]
    wall_ms: Callable[[], int]
    environ: Mapping[str, str]
    log_lines: LogLines = list


def make_bundle(parts: BundleSources, purpose: str | None) -> Bundle:
    """Return a bundle with the present data."""
    made_at_ms = parts.wall_ms()
    nodes = parts.nodes()
    return {
        "bundle": {
            "format": BUNDLE_FORMAT,
            "purpose": purpose or PURPOSE_UNSTATED,
            "node": nodes[0].node,
            "made_at_ms": made_at_ms,
            "expires_at_ms": made_at_ms + BUNDLE_KEEP_S * 1000,
            "handling": "Users are keyed hashes, addresses are networks. Delete it when its purpose is "
            "served, at the latest when it expires. The gateway sends it nowhere.",
        },
        "environment": _environment(parts.environ),
        "versions": _versions(),
        "configuration": effective_toml(Configuration(parts.settings, {})).splitlines(),
        "nodes": [{**node._asdict(), "sealing_keys": node.sealing_keys.split()} for node in nodes],
        "metrics": parts.render().decode().splitlines(),
        "closes": [
            {name: line[name] for name in _CLOSE_COLUMNS} for line in parts.closes.last(BUNDLE_CLOSES)
        ],
        "sessions": parts.closes.last(BUNDLE_SESSIONS),
        "log": parts.log_lines(),
    }


def _environment(environ: Mapping[str, str]) -> Bundle:
    """Return where the node runs. Only the names of variables: some values are secrets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "open_files_soft": soft,
        "open_files_hard": hard,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "variables": sorted(name for name in environ if name.upper().startswith(f"{PREFIX}_")),
    }


def _versions() -> dict[str, str | None]:
    return {
        "oscc-gateway": gateway.__version__,
        "protocol": API_VERSION,
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


# ---- writing a bundle ----


PREVIEW_KEEP_S: Final = 600.0
"""How long a preview may be written; after that, or after the next preview, it is removed."""
_DIGEST_CHARACTERS: Final = 12


class _Previewed(NamedTuple):
    digest: str
    data: bytes
    node: str
    until: float


class BundleWriter:
    """Shows bundles, and writes the last one shown.

    Invariant: a written bundle is byte for byte the one that was shown; at most one preview is stored.
    Without a *folder* none is written.
    """

    def __init__(self, parts: BundleSources, folder: Path | None, clock: Clock) -> None:
        self._parts = parts
        self._folder = folder
        self._clock = clock
        self._last: _Previewed | None = None

    async def preview(self, purpose: str | None) -> BundleView:
        """See :meth:`gateway.edge.admin.SupportBundles.preview`."""
        bundle = make_bundle(self._parts, purpose)
        data = json.dumps(bundle, indent=1, ensure_ascii=False).encode() + b"\n"
        digest = hashlib.sha256(data).hexdigest()
        self._last = _Previewed(digest, data, bundle["bundle"]["node"], self._clock.now() + PREVIEW_KEEP_S)
        return BundleView(digest, len(data), bundle)

    async def write(self, digest: str) -> BundleView:
        """See :meth:`gateway.edge.admin.SupportBundles.write`."""
        last = self._last
        if last is None or last.digest != digest or self._clock.now() >= last.until:
            raise GatewayError(ErrorCode.NOT_FOUND, "This node has no such bundle. Ask for a preview first.")
        if self._folder is None:
            raise GatewayError(ErrorCode.FORBIDDEN, "No folder is configured: see admin.bundle_folder.")
        path = self._folder / f"oscc-gateway-{last.node}-{digest[:_DIGEST_CHARACTERS]}.json"
        try:
            await asyncio.to_thread(_write_new_file, path, last.data)
        except FileExistsError as error:
            raise GatewayError(ErrorCode.KEY_REUSED, "This bundle was already written.") from error
        except OSError as error:
            sentence = f"The bundle cannot be written: {os.strerror(error.errno or 0).lower()}."
            raise GatewayError(ErrorCode.FORBIDDEN, sentence) from error
        self._last = None
        return BundleView(digest, len(last.data), path=str(path))


def folder_faults(folder: Path) -> Iterator[str]:
    """Yield what prevents bundles from being written to *folder*, or lets other users read them."""
    name = f"admin.bundle_folder {folder}"
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        if not _is_writable(folder.parent):
            yield f"{name} is not there, and this user cannot make it."
        return
    except OSError as error:
        yield f"{name} cannot be inspected: {os.strerror(error.errno or 0).lower()}."
        return
    if not stat.S_ISDIR(mode):
        yield f"{name} is not a folder."
        return
    if not _is_writable(folder):
        yield f"{name} cannot be written to by this user."
    if mode & stat.S_IRWXO:
        yield f"{name} is open to every user of this machine: restrict it, as by chmod o-rwx."


def _is_writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _write_new_file(path: Path, data: bytes) -> None:
    """Write a new file that only its owner may read; make a missing folder for the owner alone."""
    with suppress(FileExistsError):
        path.parent.mkdir(mode=0o700)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "wb") as file:  # noqa: PTH123 - of a descriptor, not of a path
        file.write(data)


# ---- operations ----


_DONE: Final = Page()
_LEVELS: Final[dict[str, LogLevel]] = {level: level for level in get_args(LogLevel)}


@dataclass(frozen=True, slots=True)
class AdminOperations:
    """Operations for operators at one node.

    *reload_all* reloads the files, or raises :class:`ReloadFailed`. *render* returns the metrics as text,
    *log_lines* the last log lines.
    """

    settings: Settings
    node: Node
    closes: CloseHistory
    pseudonyms: Pseudonyms
    trail: AuditTrail
    stopping: StopRequest
    reload_all: Callable[[], Awaitable[None]]
    render: Callable[[], bytes]
    log_lines: LogLines = list

    def register_orders(self) -> None:
        """Register the operations with the node, for requests here or at another node."""
        AdminUsers(self.node, self.pseudonyms.of).register_orders()
        holdings = NodeHoldings(self.node, self.pseudonyms.of, self.closes.of)
        for act in (
            self.closes.closes,
            holdings.export,
            self.drain,
            self.log_level,
            self.reload,
        ):
            self.node.orders.register(act.__name__, act)

    async def drain(self, order: Order) -> Page:
        """Drain, as on SIGTERM; a repeated request does not hurry it."""
        if not self.stopping.asked.is_set():
            _LOG.info("drain_requested", extra={"node": order.node})
        self.stopping.ask_without_hurry()
        return _DONE

    async def log_level(self, order: Order) -> Page:
        """Change the lowest level that is logged.

        Raises:
            GatewayError: ``bad_request``: there is no such level.
        """
        level = _LEVELS.get(order.subject)
        if level is None:
            raise GatewayError(ErrorCode.BAD_REQUEST, "There is no such level.")
        before = logging.getLevelName(logging.getLogger().level).lower()
        if level != before:
            set_level("info")  # the line that explains why others are missing is never missing itself
            _LOG.info("log_level_changed", extra={"gone": before, "new": level, "node": order.node})
            set_level(level)
        return _DONE

    async def reload(self, order: Order) -> Page:  # noqa: ARG002 - an order's signature
        """Reload what may change.

        Return the sealing keys in force, and the names of parts that could not be reloaded.
        """
        kept: tuple[str, ...] = ()
        try:
            await self.reload_all()
        except ReloadFailed as old:
            kept = old.what
        keys = {"sealing_keys": self.node.record().sealing_keys.split()}
        return Page((keys, *({"kept": each} for each in kept)))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str | None]:
        """Serve operators while the block lasts, if there is a token; yield the address.

        Raises:
            CannotListen: The address cannot be used.
        """
        admin, node = self.settings.admin, self.node
        if admin.token is None:
            yield None
            return
        bundles = BundleSources(
            self.settings,
            self.closes,
            self.render,
            self._nodes,
            node.clock.wall_ms,
            os.environ,
            self.log_lines,
        )
        parts = AdminParts(
            admin.token.get_secret_value(),
            node,
            self.pseudonyms.of,
            self.trail.note,
            BundleWriter(bundles, admin.bundle_folder, node.clock),
            node.clock,
            partial(secrets.token_hex, 8),
        )
        async with admin_listening(admin, make_admin_app(parts)) as address:
            _LOG.info("listening", extra={"listener": "admin", **_address_fields(admin.host, address)})
            yield address

    def _nodes(self) -> tuple[NodeRecord, ...]:
        own = self.node.record()
        return (own, *(each for each in self.node.membership.nodes if each.holder != own.holder))


def _address_fields(host: str, address: str) -> dict[str, str | int | None]:
    """Return the address of a listener in the form of log lines."""
    if address.startswith("unix:"):
        return {"socket": address.removeprefix("unix:")}
    return {"host": host, "port": urlsplit(address).port}


# ---- admin listener ----


_OWNER_ONLY = 0o177


@asynccontextmanager
async def admin_listening(admin: AdminSection, app: web.Application) -> AsyncIterator[str]:
    """Serve *app* at the address of *admin* while the block lasts; yield the address.

    Raises:
        CannotListen: The address cannot be used.
    """
    path = socket_path(admin.host)
    if path is None:
        async with listening("admin", app, admin.host, admin.port) as listener:
            yield listener.url
        return
    runner = ListenerRunner(app, PendingConnections(DEFAULT_CONNECTIONS, DEFAULT_CONNECTIONS))
    await runner.setup()
    try:
        own = await _open_socket(runner, path)
        try:
            yield f"unix:{path}"
        finally:
            _remove_socket(path, own)
    finally:
        await runner.cleanup()


def _remove_socket(path: Path, inode: int | None = None) -> None:
    """Remove a socket that an earlier process left, or the one with *inode*; other files stay."""
    with suppress(FileNotFoundError):
        there = path.lstat()
        if stat.S_ISSOCK(there.st_mode) and inode in {None, there.st_ino}:
            path.unlink()


async def _open_socket(runner: web.AppRunner, path: Path) -> int:
    """Listen at a socket that only the process's user may open, from its first moment; return its inode.

    Raises:
        CannotListen: It cannot be used.
    """
    before = os.umask(_OWNER_ONLY)
    try:
        _remove_socket(path)
        await web.UnixSite(runner, path).start()
        return _inode(path)
    except OSError as error:
        raise CannotListen(f"The admin listener cannot listen at {path}: {os_error_text(error)}.") from error
    finally:
        os.umask(before)


def _inode(path: Path) -> int:
    return path.lstat().st_ino


# ---- status ----


STATUS_EVERY_S: Final = 1.0
"""Interval of the checks; a change that is over before the next check leaves no line."""
BUS_LINES: Final = 4
BUS_WINDOW: Final = 60


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


class _BusLines:
    """Lines about the state of the bus: at most :data:`BUS_LINES` of a level in :data:`BUS_WINDOW` checks.

    A Redis that is slow for hours changes the state each second or two. The newest state that has no line
    gets it as soon as there is room.
    """

    def __init__(self, first: BusState) -> None:
        self._was = first
        self._changes = 0
        """Changes since the last line."""
        self._checks = 0
        self._written: Final[dict[bool, deque[int]]] = {
            is_warning: deque(maxlen=BUS_LINES) for is_warning in (False, True)
        }
        """The checks with the last lines, by whether they are warnings."""

    def update(self, bus: BusState) -> None:
        """Log a change, now or later."""
        self._checks += 1
        self._changes += bus is not self._was
        self._was = bus
        written = self._written[bus is BusState.DOWN]
        is_full = len(written) == BUS_LINES and self._checks - written[0] < BUS_WINDOW
        if self._changes and not is_full:
            fields = {"suppressed": self._changes - 1} if self._changes > 1 else {}
            (_LOG.warning if bus is BusState.DOWN else _LOG.info)(
                "bus_state_changed", extra={"bus": bus, **fields}
            )
            written.append(self._checks)
            self._changes = 0


class StatusLog:
    """Compares each status with the one before, and logs the changes.

    Invariant: one :meth:`update` writes at most one line for each subject, and none without a change.
    """

    def __init__(self, sites: Iterable[str]) -> None:
        self.reaches: Final[Mapping[str, SiteReach]] = {site: SiteReach() for site in sites}
        self._away: Final[dict[str, set[Trouble | None]]] = {}
        """Sites that are not reached, and the cause of each."""
        self._was = NodeStatus(BusState.DEGRADED, 0, 0, 0)  # the first state of a bus: nothing to log yet
        self._bus: Final = _BusLines(self._was.bus)

    def update(self, now: NodeStatus) -> None:
        """Log the differences from the last status."""
        was, self._was = self._was, now
        self._bus.update(now.bus)
        for word in sorted(now.refused - was.refused):
            _LOG.error("bus_refuses", extra={"cause": word})
        for word in sorted(was.refused - now.refused):
            _LOG.info("bus_refuses_no_more", extra={"cause": word})
        if now.fences > was.fences:
            fields = {"cause": " ".join(sorted(now.refused))} if now.refused else {}
            _LOG.warning("leases_expired", extra={"users": now.fences - was.fences, **fields})
        if now.two_owners > was.two_owners:
            _LOG.warning("two_owners_seen", extra={"users": now.two_owners - was.two_owners})
        self._log_log_offs(was.log_offs, now.log_offs)
        for site, reach in self.reaches.items():
            self._log_site(site, reach)

    def _log_log_offs(self, before: int, now: int) -> None:
        if now and not before:
            _LOG.warning("log_offs_pending", extra={"log_offs": now})
        elif before and not now:
            _LOG.info("log_offs_done")

    def _log_site(self, site: str, reach: SiteReach) -> None:
        if reach.error is not None:
            causes = self._away.setdefault(site, set())
            if reach.cause not in causes:
                causes.add(reach.cause)
                cause = {} if reach.cause is None else {"cause": reach.cause}
                _LOG.warning("site_unreachable", extra={"site": site, "error": reach.error, **cause})
        elif self._away.pop(site, None) is not None:
            _LOG.info("site_reachable", extra={"site": site})


async def log_status(status_log: StatusLog, node: Node, telemetry: Telemetry, clock: Clock) -> None:
    """Compare the status of *node* every :data:`STATUS_EVERY_S`, until cancelled."""
    counters = telemetry.self_fences, telemetry.dual_owner_observed
    while True:
        await clock.sleep(STATUS_EVERY_S)
        fences, two_owners = (int(next(iter(each.collect())).samples[0].value) for each in counters)
        state, log_offs = node.exchange.machine.state, len(node.log_offs)
        status_log.update(NodeStatus(state, log_offs, fences, two_owners, node.bus_refusals))


# ---- bus check ----


OFFSET_S: Final = 2.0
"""Leases use Redis' time: a node's clock that differs by more shows trouble with one of them."""

NODE_TIMEOUT_S: Final = 5.0
"""A failed primary of a Redis Cluster must be replaced before leases expire, after 10 s."""


class CheckReport(NamedTuple):
    """Result of a check, a sentence each. *notes*: what is well; *faults*: no node should run with them."""

    notes: tuple[str, ...] = ()
    advices: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


async def check_bus(bus: BusSection, clock: Clock) -> CheckReport:
    """Check the bus's Redis, if there is one; bounded in time."""
    url = redis_url(bus)
    if url is None:
        return CheckReport()
    from gateway.bus.stores import inspect, inspect_cluster  # noqa: PLC0415 - as in adapters.open_bus

    try:
        address = parse_url(url)
        if address.is_cluster:
            return report_on_cluster(await inspect_cluster(address, clock))
        return report_on(await inspect(address, clock))
    except RedisUnreachable as error:
        fault = f"The Redis at {without_password(bus.url)} cannot be used: {error}."
        return CheckReport(faults=(f"{fault} {_remedy(error, is_tls=url.startswith(_TLS_SCHEMES))}",))


def _remedy(error: RedisUnreachable, *, is_tls: bool) -> str:
    """Return what to do when Redis cannot be used, as a sentence."""
    if error.word is not None:
        return _REMEDIES.get(error.word, "Check bus.url, and look into the log of that server.")
    named, tls = ("bus.url, bus.ca_file", "on") if is_tls else ("bus.url", "off")
    return f"Check {named} and firewalls, that the server runs, and that TLS is {tls} at its port."


_TLS_SCHEMES: Final = ("rediss://", "rediss+")
_REMEDIES: Final = {
    "NOAUTH": "It wants a password: put it into bus.url or bus.password.",
    "WRONGPASS": "Correct user and password in bus.url (percent-encoded), or in bus.password (as it is).",
    "NOPERM": "Give the user the rights of the user in deploy/redis.conf.",
    "READONLY": "Name the primary in bus.url, or the Sentinels.",
    "TLS": "Check bus.ca_file, the name in the certificate, and that TLS is on at that port.",
}
"""First word of a refusal → what to do, as a sentence."""


def report_on(seen: ServerFacts) -> CheckReport:
    """Return the report on a server."""
    engine = f"{seen.engine or 'a Redis'} {'.'.join(map(str, seen.version))}".strip()
    faults = list(_bus_faults(seen))
    if seen.is_cluster_node:
        faults.append(
            f"The server at {seen.endpoint} is a node of a Redis Cluster: bus.url must begin with "
            "redis+cluster:// or rediss+cluster://."
        )
    return CheckReport(
        (f"Redis at {seen.endpoint} answers: {engine}",), tuple(_bus_advices(seen)), tuple(faults)
    )


def report_on_cluster(seen: ClusterFacts) -> CheckReport:
    """Return the report on a Redis Cluster."""
    reports = [report_on(server._replace(is_cluster_node=False)) for server in seen.servers]
    faults = [fault for report in reports for fault in report.faults]
    if seen.lost_slots:
        faults.append(f"{seen.lost_slots} of 16384 slots of the Redis Cluster are served by no primary.")
    return CheckReport(
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
            f"The server at {seen.endpoint} takes no writes ({seen.write_refusal}): nodes continue without "
            "leases, and at sites without link fencing no new user could be served. "
            "docs/runbook.md#osccgatewaybusrefuseswrites says what to do for each word."
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
KEYS_CHECK_S: Final = 10.0
"""Keys that differ in two checks do so for longer than a reload of all nodes takes."""


async def log_bus_faults(bus: BusSection, clock: Clock) -> None:
    """Check the bus's Redis until it answers once, and log its faults."""
    while True:
        found = await check_bus(bus, clock)
        for fault in found.faults:
            _LOG.error("bus_check_failed", extra={"fault": fault})
        for advice in found.advices:
            _LOG.warning("bus_check_advice", extra={"fault": advice})
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
                _LOG.warning("clock_differs", extra={"offset_s": round(ahead_s, 3)})
            else:
                _LOG.info("clock_agrees", extra={"offset_s": round(ahead_s, 3)})
        await clock.sleep(CLOCK_EVERY_S)


async def log_key_differences(membership: ClusterMembership, clock: Clock) -> None:
    """Log when another node's sealing keys begin to differ from this one's, and when they agree again."""
    before: set[NodeId] = set()
    reported: set[NodeId] = set()
    while True:
        await clock.sleep(KEYS_CHECK_S)
        own, others = membership.sealing_keys, membership.sealing_keys_of_others
        differ = {node for node, keys in others.items() if keys and keys != own}
        for node in sorted((differ & before) - reported):
            _LOG.warning(
                "sealing_keys_differ", extra={"node": node, "sealing_keys": own, "other_keys": others[node]}
            )
        for node in sorted(reported & others.keys() - differ):
            _LOG.info("sealing_keys_agree", extra={"node": node, "sealing_keys": own})
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
            _LOG.error("duplicate_node_name", extra={"node": membership.node})
        was_there = is_there
