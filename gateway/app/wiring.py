"""Composition root: build one node from its settings, start it, serve, and drain it at the end."""

from __future__ import annotations

import asyncio
import logging
import platform
import random
import secrets as randomness
import socket
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final, NamedTuple

from aiohttp import web

import gateway
from gateway.app.adapters import (
    Keyring,
    Randomness,
    SiteServer,
    Tracing,
    edge_settings,
    limits_of,
    linger,
    measured_sites,
    node_id,
    numbers,
    open_bus,
    open_server,
    open_tracing,
    rates,
    site_context,
)
from gateway.app.admin import (
    AdminOperations,
    StatusLog,
    log_bus_faults,
    log_clock_offset,
    log_duplicate_name,
    log_key_differences,
    log_status,
)
from gateway.app.config.settings import MEMORY, LimitsSection, SecretsSection, Settings
from gateway.app.drain import Departure, PhoneBalancer, drain_limit_s, drain_node
from gateway.app.logging import AuditTrail, CloseHistory, LineWriter, Pseudonyms, log_session
from gateway.app.metrics import (
    ProcessMetrics,
    create_startup_series,
    measure_bus,
    measure_node,
    measure_schedulers,
    measure_shared,
)
from gateway.app.process import (
    SPARE_FILES,
    BoundListener,
    StopRequest,
    SystemdNotifier,
    background_tasks,
    collect_when_idle,
    file_limit,
    listening,
    listening_in_thread,
    on_this_loop,
    tuned_gc,
)
from gateway.app.reload import (
    AuthoritiesReloader,
    CertificateReloader,
    KeysReloader,
    NoticesReloader,
    ReadSecrets,
    Reloader,
    reload_on_hangup,
)
from gateway.core.lease import BusState
from gateway.core.registry import RegistryLimits
from gateway.domain.model import NodeId
from gateway.edge.channel import ConnectionSummary
from gateway.edge.credentials import Tokens
from gateway.edge.export import OwnDataExport
from gateway.edge.handshake import EdgeParts
from gateway.edge.limits import PENDING_CONNECTIONS, REQUEST_RATES, SocketAdmission
from gateway.edge.policies import NoticeBroadcast
from gateway.edge.request_context import EdgeSettings
from gateway.edge.scheduler import Scheduler, in_turns
from gateway.edge.server import OpsParts, make_app, make_ops_app
from gateway.edge.socket import PhoneSocket
from gateway.runtime.event_loop import REST_S, LinkScheduler
from gateway.runtime.node import Node, NodeSettings
from gateway.runtime.ports import ENTRY_REFUSALS, Clock, Cluster
from gateway.runtime.sessions import ATTACH_S, LogOffs
from gateway.telemetry import Families, Telemetry, written
from gateway.upstream.oscce import OsccServer

_LOG: Final = logging.getLogger("gateway.app")


PRUNE_EVERY_S: Final = 2.0
"""Interval in which pools remove old entries."""


async def prune_at_intervals(prunes: Collection[Callable[[float], None]], clock: Clock) -> None:
    """Have *prunes* remove old entries of pools at intervals, also without new data; never ends."""
    while True:
        await clock.sleep(PRUNE_EVERY_S)
        for prune in prunes:
            prune(clock.now())


class LogOffsLost(Exception):  # noqa: N818 - names what happened
    """A node has ended, and no node retries some log-offs that OSCC-E has not confirmed.

    Their sessions end at their idle timeout.
    """

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count: Final = count


@asynccontextmanager
async def handing_over_log_offs(log_offs: LogOffs) -> AsyncIterator[None]:
    """After the block, leave the unconfirmed log-offs to other nodes.

    Raises:
        LogOffsLost: There is no store that outlives this node, or it does not answer.
    """
    lost = 0
    try:
        yield
    finally:
        lost = await log_offs.leave_to_others()
        left = len(log_offs) - lost
        if left:
            _LOG.info("log_offs_left", extra={"log_offs": left})
        if lost:
            _LOG.error("log_offs_unconfirmed", extra={"log_offs": lost})
    if lost:
        raise LogOffsLost(lost)


_RANDOMNESS: Final = Randomness(random.random, randomness.token_bytes)


class Addresses(NamedTuple):
    """Addresses of the listeners."""

    client: str
    ops: str
    admin: str | None = None
    """None: operators have no token here."""


class NodeOptions(NamedTuple):
    """Options of a node besides its settings."""

    keyring: Keyring
    """Passes changed keys to the modules that use them."""
    holder: str = ""
    """This process's life; drawn when it is empty."""
    reread: ReadSecrets | None = None
    """Reads the secrets again; None: they do not change."""
    tracing: Tracing = Tracing()
    log: LineWriter | None = None
    """Gets the fields of every line; its last lines are part of a support bundle."""


class Gateway:
    """One node, built and not yet started.

    Args:
        secrets: The secrets of the settings, or those made for this process.
        servers: The contact centres by the id of their site; the caller closes them.
        cluster: The parts that all nodes share; the caller closes them.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: SecretsSection,
        servers: Mapping[str, SiteServer],
        cluster: Cluster,
        clock: Clock,
        telemetry: Telemetry,
        options: NodeOptions,
    ) -> None:
        edge = edge_settings(settings)
        self.is_started = False
        self.telemetry: Final = telemetry
        self._servers, self._cluster = servers, cluster
        self._oscc: Final = [server for server in servers.values() if isinstance(server, OsccServer)]
        self._bus, self._log = settings.bus, options.log
        self._requires_bus: Final = settings.bus.required_at_start and settings.bus.url != MEMORY
        self.admission: Final = SocketAdmission(edge.admission, self._files_of_phones)
        self.process_metrics: Final = ProcessMetrics(clock, self.telemetry, self.admission.lagged)
        self.notices_reloader: Final = NoticesReloader(settings.notices.files, clock, telemetry)
        self.certificate_reloader: Final = CertificateReloader(settings.client, clock, telemetry)
        self.status_log: Final = StatusLog(servers)
        sites = measured_sites(servers, telemetry, options.tracing, self.status_log.reaches, rates(settings))
        own, counters = _node_settings(settings, options), options.tracing.counters(telemetry)
        self.audit_trail: Final = AuditTrail(own.node, own.holder)
        self.node: Final = Node(own, sites, cluster, clock, random.random, self.audit_trail.note, counters)
        self.pseudonyms: Final = Pseudonyms(secrets.pseudonym_key)
        self.closes: Final = CloseHistory(self.node.orders.node, self.pseudonyms, clock.wall_ms)
        self.scheduler: Final[Scheduler[PhoneSocket]] = _scheduler(clock, servers)
        tokens = Tokens(options.keyring.raw, list(servers), randomness.token_bytes)
        options.keyring.subscribe(tokens.rekey)
        parts = self._parts(settings, edge, tokens)
        self.phones: Final = parts.phones
        self.broadcast: Final = NoticeBroadcast(parts.notices, parts.phones, clock)
        self._balancing: Final = self._balancer(settings.limits) if settings.limits.balance else None
        self.reloading: Final = self._reloader(settings, secrets, options)
        self.edge: Final = make_app(parts)
        self.ops: Final = self._ops(clock)
        self._connect(options)
        self._show_constants(settings)

    def _files_of_phones(self) -> float:
        """Return how many descriptors phones may have beside the links of their users."""
        return file_limit() - SPARE_FILES - self.node.links_most

    def _balancer(self, limits: LimitsSection) -> PhoneBalancer:
        node = self.node
        return PhoneBalancer(
            node.membership,
            lambda: not node.is_draining and node.exchange.machine.state is BusState.LIVE,
            self.phones,
            limits.log_ons_per_s,
            node.clock,
            random.shuffle,
            self.telemetry,
        )

    def _reloader(self, settings: Settings, secrets: SecretsSection, options: NodeOptions) -> Reloader:
        clock, telemetry = self.node.clock, self.telemetry
        renew = partial(in_turns, self.phones, PhoneSocket.renew, clock)
        keys = KeysReloader(options.reread, secrets, options.keyring, renew, telemetry)
        trust = {site: server.trust for site, server in self._servers.items()}
        authorities = AuthoritiesReloader(settings.sites, trust, telemetry)
        files = self.notices_reloader, self.certificate_reloader, authorities
        return Reloader([each.check_files for each in files], (keys.check_files,), clock)

    def _ops(self, clock: Clock) -> web.Application:
        measure = on_this_loop(self.measure, clock)
        return make_ops_app(OpsParts(self.process_metrics.live, self.ready, self.started, measure, clock.now))

    def started(self) -> str | None:
        """Return why the node has not started, or None."""
        return None if self.is_started else "starting"

    def ready(self) -> str | None:
        """Return why no phone should be sent here, or None."""
        if self.node.membership.has_given_notice:
            return "draining"
        if self.node.is_partitioned:
            return "cut off from the other nodes"
        if self.admission.is_full:
            return "over capacity"
        return self.started() or self.joined() or self.process_metrics.live()

    def joined(self) -> str | None:
        """Return why this node has not joined the other nodes, or is cut off; None: it has joined."""
        refused = sorted(self.node.bus_refusals & ENTRY_REFUSALS)
        if refused:
            return f"Redis refuses this node: {', '.join(refused)}"
        if self._requires_bus and not self.node.orders.has_joined:
            return "has not reached Redis yet"
        return None if self.node.membership.may_serve else "waits for its part of the log-ons"

    def render(self) -> bytes:
        """Return all metrics as text."""
        return written(self.measure())

    def measure(self) -> Families:
        """Update the metrics that are read on request only, and return all metrics."""
        self.process_metrics.sample()
        measure_node(self.node, self._servers, self.telemetry)
        measure_bus(self._cluster, self.telemetry)
        self.telemetry.connections_dropped.value = self.edge[PENDING_CONNECTIONS].dropped
        measure_schedulers({server.link_scheduler for server in self._oscc}, self.telemetry)
        measure_shared((server.pool for server in self._oscc), self.telemetry)
        self.telemetry.drain_state.set(int(self.node.membership.has_given_notice))
        return self.telemetry.collect()

    async def reload_all(self) -> None:
        """Apply the present content of all files that can be reloaded.

        Raises:
            ReloadFailed: Some of it cannot be used; the rest is in force.
        """
        try:
            await self.reloading.reload_all()
        finally:
            await self.broadcast.send()

    def tasks(self) -> tuple[Coroutine[None, None, None], ...]:
        """Return the background tasks of the node."""
        clock, membership = self.node.clock, self.node.membership
        watching = (
            log_status(self.status_log, self.node, self.telemetry, clock),
            log_bus_faults(self._bus, clock),
            log_duplicate_name(membership, clock),
            log_key_differences(membership, clock),
            log_clock_offset(self._cluster.clock_offset_s, clock),
        )
        rates, pending = self.edge[REQUEST_RATES], self.edge[PENDING_CONNECTIONS]
        prunes = self.admission.prune, rates.prune, pending.prune, self.node.account.prune
        prunes_of_pools = [server.pool.prune for server in self._oscc]
        upkeep = prune_at_intervals((*prunes, *prunes_of_pools), clock), collect_when_idle(clock)
        balancing = () if self._balancing is None else (self._balancing.run(),)
        running = self.node.run(), self.scheduler.run(), self.process_metrics.run()
        return *running, *watching, *upkeep, *balancing

    def administration(self, settings: Settings, stopping: StopRequest) -> AdminOperations:
        """Return the operations for operators, and register them with the node."""
        made = AdminOperations(
            settings,
            self.node,
            self.closes,
            self.pseudonyms,
            self.audit_trail,
            stopping,
            self.reload_all,
            self.render,
            self._log.last if self._log is not None else list,
        )
        made.register_orders()
        return made

    def _parts(self, settings: Settings, edge: EdgeSettings, tokens: Tokens) -> EdgeParts:
        return EdgeParts(
            edge,
            self.node,
            tokens,
            self.notices_reloader.notices,
            numbers(settings),
            self.admission,
            self.node.clock,
            self.scheduler,
            random.random,
            self.telemetry,
            self._log_end,
            OwnDataExport(self.node.orders, self.node.clock).of,
        )

    def _is_overloaded(self) -> bool:
        return any(server.link_scheduler.is_overloaded for server in self._oscc)

    def _is_late(self) -> bool:
        return self.node.pauses.was_late(self.node.clock.now(), ATTACH_S)

    def _unread_s(self) -> float:
        most_s = 0.0  # a plain loop, as it is called for each user who has work
        for server in self._oscc:
            most_s = max(most_s, server.link_scheduler.unread_s)
        return most_s

    def _log_end(self, life: ConnectionSummary) -> None:
        log_session(life)
        self.closes.note(life)

    def _connect(self, options: NodeOptions) -> None:
        """Give parts the functions of others that were made after them."""
        node = self.node
        if options.log is not None:
            options.log.context = partial(_line_context, node.orders.node, options.tracing)
        self.telemetry.trace_id = options.tracing.trace_id
        node.is_overloaded, node.unread_s = self._is_overloaded, self._unread_s
        for server in self._oscc:
            server.is_late = self._is_late
        node.exchange.phones = self.scheduler

    def _show_constants(self, settings: Settings) -> None:
        """Create the series that alerts use, and set the metrics that do not change."""
        create_startup_series(self.telemetry)
        self.telemetry.drain_limit_seconds.set(drain_limit_s(settings.limits))
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        about = gateway.__version__, gateway.__revision__, loop, platform.python_version()
        self.telemetry.build_info[about].set(1)


def _line_context(node: NodeId, tracing: Tracing) -> dict[str, object]:
    """Return the fields of every log line."""
    trace_id = tracing.trace_id()
    return {"node": node} if trace_id is None else {"node": node, "trace_id": trace_id}


def _node_settings(settings: Settings, options: NodeOptions) -> NodeSettings:
    holder = options.holder or randomness.token_hex(8)
    return NodeSettings(
        node_id(settings, socket.gethostname(), holder),
        holder,
        limits_of(RegistryLimits, settings.limits),
        linger(settings.limits),
        settings.limits.log_ons_per_s,
        settings.limits.log_ons_in_flight,
        gateway.__version__,
        settings.limits.handshakes_per_s,
        lambda: options.keyring.names,
    )


@asynccontextmanager
async def serving(
    settings: Settings,
    secrets: SecretsSection,
    clock: Clock,
    stopping: StopRequest,
    supervisor: SystemdNotifier | None = None,
    *,
    reread: ReadSecrets | None = None,
    log: LineWriter | None = None,
    holder: str = "",
) -> AsyncIterator[Addresses]:
    """Run one node while the block lasts; then drain it, at once when *stopping* is hurried.

    A *supervisor* is informed of reloads. *reread* reads the secrets again when there is one. *log* gets the
    node's name and traces; its last lines are part of support bundles. *holder* is this process's life.

    Raises:
        ConfigError: A file that the settings name cannot be used.
        CannotListen: An address cannot be used.
        LogOffsLost: The node has ended, and no other node retries its unconfirmed log-offs.
    """
    async with AsyncExitStack() as stack:
        tracing = await stack.enter_async_context(open_tracing(settings.tracing, clock))
        servers = await _servers(settings, stack, clock, tracing)
        telemetry, keyring = Telemetry(), Keyring(secrets.sealing_keys)
        options = NodeOptions(keyring, holder or randomness.token_hex(8), reread, tracing, log)
        cluster = await stack.enter_async_context(_bus(settings, secrets, options, clock, telemetry))
        made = Gateway(settings, secrets, servers, cluster, clock, telemetry, options)
        tracing.enter(made.edge)
        send, is_any = made.broadcast.send, _may_change(settings)
        hangup = stack.enter_context(reload_on_hangup(made.reloading, send, supervisor, is_any=is_any))
        await stack.enter_async_context(handing_over_log_offs(made.node.log_offs))
        await stack.enter_async_context(background_tasks(*made.tasks(), made.reloading.run(hangup)))
        ops = await stack.enter_async_context(_ops_listening(settings, made))
        client = await stack.enter_async_context(_client_listening(settings, made))
        admin = await stack.enter_async_context(made.administration(settings, stopping).listening())
        stack.enter_context(tuned_gc(clock, telemetry.gc_pause_seconds.observe))
        made.is_started = True
        _log_start(settings, made.node.record().node, client, ops)
        try:
            yield Addresses(client.url, ops.url, admin)
        finally:
            await _drain(made, client, settings.limits, stopping)


def _ops_listening(settings: Settings, made: Gateway) -> AbstractAsyncContextManager[BoundListener]:
    return listening_in_thread("ops", made.ops, settings.ops.host, settings.ops.port)


def _client_listening(settings: Settings, made: Gateway) -> AbstractAsyncContextManager[BoundListener]:
    host, port, context = settings.client.host, settings.client.port, made.certificate_reloader.context
    return listening("client", made.edge, host, port, context, keeps_reserve=True)


async def _servers(
    settings: Settings, stack: AsyncExitStack, clock: Clock, tracing: Tracing
) -> dict[str, SiteServer]:
    """Open the contact centres of all sites on *stack*."""
    servers: dict[str, SiteServer] = {}
    links, is_alone = LinkScheduler(clock, rest_s=REST_S), settings.bus.url == MEMORY
    for place, site in enumerate(settings.sites):
        tls, trace = site_context(place, site), tracing.outgoing()
        server = open_server(site, clock, tls, links, trace=trace, is_alone=is_alone, chance=_RANDOMNESS)
        servers[site.id] = await stack.enter_async_context(server)
    return servers


def _scheduler(clock: Clock, servers: Mapping[str, SiteServer]) -> Scheduler[PhoneSocket]:
    """Return the scheduler of phones: they have their turns after the links, in the same turn of the loop."""
    made: Scheduler[PhoneSocket] = Scheduler(clock)
    for server in servers.values():
        if isinstance(server, OsccServer):
            server.link_scheduler.phones = made
    return made


def _bus(
    settings: Settings, secrets: SecretsSection, options: NodeOptions, clock: Clock, telemetry: Telemetry
) -> AbstractAsyncContextManager[Cluster]:
    node = node_id(settings, socket.gethostname(), options.holder)
    return open_bus(
        settings.bus,
        secrets,
        clock,
        jitter=random.random,
        draw=randomness.token_bytes,
        node=node,
        renewed=telemetry.lease_renew_seconds.observe,
        keyring=options.keyring,
    )


def _may_change(settings: Settings) -> bool:
    """Return whether any file can be reloaded while the node runs."""
    files = settings.notices.files, settings.client.certificate, *(site.ca_file for site in settings.sites)
    return any(files) or settings.secrets is not None


async def _drain(made: Gateway, client: BoundListener, limits: LimitsSection, stopping: StopRequest) -> None:
    await made.node.membership.give_notice()
    sockets, watch_move = (lambda: made.admission.sockets), made.node.watch_move
    departure = Departure(made.node, made.phones, sockets, client.refuse, random.shuffle, watch_move)
    await drain_node(departure, limits, stopping, made.node.clock, made.telemetry)


def _log_start(settings: Settings, node: NodeId, client: BoundListener, ops: BoundListener) -> None:
    _LOG.info("listening", extra={"listener": "ops", "host": settings.ops.host, "port": ops.port})
    _LOG.info(
        "listening",
        extra={
            "listener": "client",
            "host": settings.client.host,
            "port": client.port,
            "tls": settings.client.certificate is not None,
            "insecure": settings.client.insecure,
            "version": gateway.__version__,
            "node": node,
        },
    )
