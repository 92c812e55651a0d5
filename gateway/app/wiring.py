"""Which concrete classes make a gateway? The one place that names them.

One node, alone or one of many: built, started, served, and ended with a farewell.
"""

from __future__ import annotations

import asyncio
import platform
import random
import secrets as randomness
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final, NamedTuple

import structlog
from aiohttp import web

import gateway
from gateway.app.admin import Administration
from gateway.app.apply import edge_settings, linger, node_id, numbers, registry_limits
from gateway.app.aside import asked_of_this_loop, listening_aside
from gateway.app.audit_trail import AuditTrail, log_acts
from gateway.app.authorities_watch import AuthoritiesWatch
from gateway.app.beginning import begin
from gateway.app.buses import open_bus
from gateway.app.census import (
    clock_offset_s,
    count_all,
    count_dropped,
    count_shared,
    count_turns,
    read_clock,
)
from gateway.app.certificate_watch import CertificateWatch
from gateway.app.closes import Closes
from gateway.app.collecting import seldom
from gateway.app.config_bus_url import MEMORY
from gateway.app.config_sections import Limits, Secrets, Settings
from gateway.app.draining import Parting, handing_on, leave, limit_s
from gateway.app.keyring import Keyring
from gateway.app.keys_watch import KeysWatch, Reread
from gateway.app.listener import Listener, listening
from gateway.app.living import alive
from gateway.app.log_fields import Pseudonyms
from gateway.app.logging import log_session
from gateway.app.looking import look_at_bus, look_at_clock, look_at_keys, look_for_namesake
from gateway.app.notices_watch import NoticesWatch
from gateway.app.reloading import Reloading, hearing
from gateway.app.sites import Chance, Server, counted_sites, open_server
from gateway.app.stopping import Stopping
from gateway.app.surroundings import Surroundings, watch
from gateway.app.systemd import Supervisor
from gateway.app.tls import site_context
from gateway.app.tracing import Tracing, open_tracing
from gateway.app.vitals import Vitals
from gateway.domain.model import NodeId
from gateway.edge.gathering import OwnData
from gateway.edge.limits import Doors
from gateway.edge.ops import OpsParts, make_ops_app
from gateway.edge.pump import Pump
from gateway.edge.renewal import renew_all
from gateway.edge.server import EdgeParts, make_app
from gateway.edge.settings import EdgeSettings
from gateway.edge.socket import PhoneSocket
from gateway.edge.token import Tokens
from gateway.edge.unread import Crier
from gateway.edge.witness import Life
from gateway.runtime.node import Node
from gateway.runtime.parts import Cluster, NodeSettings, Site
from gateway.runtime.ports import ENTRY_REFUSALS, Clock
from gateway.runtime.tally import Tally
from gateway.runtime.turns import REST_S, Turns
from gateway.telemetry import Families, Telemetry, written
from gateway.upstream.client import OsccServer

_LOG: Final = structlog.get_logger("gateway.app")


_CHANCE: Final = Chance(random.random, randomness.token_bytes)


class Addresses(NamedTuple):
    """Where a node listens."""

    client: str
    ops: str
    admin: str | None = None
    """None: operators have no token here."""


class Beside(NamedTuple):
    """What a node may do beside serving phones. *keyring*: of those who share its keys."""

    keyring: Keyring | None = None
    reread: Reread | None = None
    """Reads the secrets again; None: they stay."""
    tracing: Tracing = Tracing()


class Gateway:
    """One node, put together and not yet alive.

    Args:
        settings: Valid ones.
        secrets: Those of the settings, or made for this process.
        servers: The contact centres by the id of their site; whoever made them closes them.
        cluster: What it shares with other nodes; whoever opened it closes it.
        clock: The only time.
        telemetry: Where all of it is counted.
        beside: What it may do more.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        servers: Mapping[str, Server],
        cluster: Cluster,
        clock: Clock,
        telemetry: Telemetry,
        beside: Beside | None = None,
    ) -> None:
        beside = beside or Beside()
        edge = edge_settings(settings)
        self.telemetry: Final = telemetry
        self.vitals: Final = Vitals(clock, self.telemetry)
        self.doors: Final = Doors(edge.doors)
        self.watch: Final = NoticesWatch(settings.notices.files, clock)
        self.certificate: Final = CertificateWatch(settings.client, clock, telemetry)
        self.surroundings: Final = Surroundings(servers)
        sites = counted_sites(servers, telemetry, beside.tracing, self.surroundings.reaches)
        ring = beside.keyring or Keyring(secrets.sealing_keys)
        own = _node_settings(settings, ring)
        self.node, self.trail = _audited(own, sites, cluster, clock, beside.tracing.tally(telemetry))
        self.pseudonyms: Final = Pseudonyms(secrets.pseudonym_key)
        self.closes: Final = Closes(self.node.orders.node, self.pseudonyms, clock.wall_ms)
        self.pump: Final[Pump[PhoneSocket]] = Pump(clock)
        tokens = _tokens(secrets, servers)
        parts = self._parts(settings, edge, tokens)
        self.phones: Final = parts.phones
        self.crier: Final = Crier(parts.notices, parts.phones, clock)
        ring.tell(tokens.rekey)
        keys = KeysWatch(beside.reread, secrets, ring, lambda: renew_all(self.phones, clock), telemetry)
        authorities = AuthoritiesWatch(settings.sites, servers, telemetry)
        always = self.watch.look, self.certificate.look, authorities.look
        self.reloading: Final = Reloading(always, (keys.look,), clock)
        self.edge: Final = make_app(parts)
        self.ops: Final = self._ops(clock)
        self.is_started = False
        self._servers, self._cluster, self._capacity = servers, cluster, edge.doors.connections
        self._requires_bus = settings.bus.required_at_start and settings.bus.url != MEMORY
        self._begin(settings)

    def _ops(self, clock: Clock) -> web.Application:
        measure = asked_of_this_loop(self.measure, clock)
        return make_ops_app(OpsParts(self.vitals.live, self.ready, self.started, measure, clock.now))

    def started(self) -> str | None:
        """Return why the node has not started, or None."""
        return None if self.is_started else "starting"

    def ready(self) -> str | None:
        """Return why no phone should be sent here, or None."""
        if self.node.fleet.has_given_notice:
            return "draining"
        if self.node.is_cut_off:
            return "cut off from the other nodes"
        if self.doors.sockets >= self._capacity:
            return "over capacity"
        return self.started() or self.joined() or self.vitals.live()

    def joined(self) -> str | None:
        """Return why this node is not one of the gateway's yet, or is none any longer; None: it is one."""
        refused = sorted(self.node.bus_refusals & ENTRY_REFUSALS)
        if refused:
            return f"Redis refuses this node: {', '.join(refused)}"
        if self._requires_bus and not self.node.has_joined:
            return "has not reached Redis yet"
        return None if self.node.fleet.may_serve else "waits for its part of the log-ons"

    def render(self) -> bytes:
        """Return all metrics as text."""
        return written(self.measure())

    def measure(self) -> Families:
        """Measure what is only read when asked for, and return all metrics."""
        self.vitals.sample()
        count_all(self.node, self._servers, self.telemetry)
        read_clock(self._cluster.leases, self.telemetry)
        count_dropped(self._cluster.bus, self.telemetry)
        behind = [server for server in self._servers.values() if isinstance(server, OsccServer)]
        count_turns({server.turns for server in behind}, self.telemetry)
        count_shared((server.pool for server in behind), self.telemetry)
        self.telemetry.drain_state.set(int(self.node.fleet.has_given_notice))
        self.telemetry.reload_failed["notices"].set(int(self.watch.is_stale))
        return self.telemetry.collect()

    async def read_anew(self) -> None:
        """Put in force what may change while the node lives, as the files say now.

        Raises:
            StaysOld: Some of it cannot be used; the rest is in force.
        """
        try:
            await self.reloading.read_anew()
        finally:
            await self.crier.cry()

    def lives(self) -> tuple[Coroutine[None, None, None], ...]:
        """Return what runs for as long as the node lives."""
        watching = watch(self.surroundings, self.node, self.telemetry, self.node.clock)
        return self.node.run(), self.pump.run(), self.vitals.run(), watching

    def administration(self, settings: Settings, stopping: Stopping) -> Administration:
        """Return what operators may do here; from now on the node does it."""
        made = Administration(
            settings,
            self.node,
            self.closes,
            self.pseudonyms,
            self.trail,
            stopping,
            self.read_anew,
            self.render,
        )
        made.teach()
        return made

    def _parts(self, settings: Settings, edge: EdgeSettings, tokens: Tokens) -> EdgeParts:
        return EdgeParts(
            edge,
            self.node,
            self.node.account,
            tokens,
            self.watch.notices,
            numbers(settings),
            self.doors,
            self.node.clock,
            self.pump,
            random.random,
            self.telemetry,
            self._note_end,
            OwnData(self.node.orders, self.node.clock).of,
        )

    def _is_overloaded(self) -> bool:
        behind = (each for each in self._servers.values() if isinstance(each, OsccServer))
        return any(server.turns.is_overloaded for server in behind)

    def _note_end(self, life: Life) -> None:
        log_session(life)
        self.closes.note(life)

    def _begin(self, settings: Settings) -> None:
        self.node.is_overloaded = self._is_overloaded
        begin(self.telemetry)
        self.telemetry.drain_limit_seconds.set(limit_s(settings.limits))
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        self.telemetry.build_info[gateway.__version__, loop, platform.python_version()].set(1)


def _audited(
    own: NodeSettings, sites: Mapping[str, Site], cluster: Cluster, clock: Clock, tally: Tally
) -> tuple[Node, AuditTrail]:
    """Return the node, and where what somebody may have to answer for is written down."""
    trail = AuditTrail(log_acts(own.node, own.holder))
    return Node(own, sites, cluster, clock, random.random, trail.note, tally), trail


def _node_settings(settings: Settings, ring: Keyring) -> NodeSettings:
    holder = randomness.token_hex(8)
    return NodeSettings(
        node_id(settings, socket.gethostname(), holder),
        holder,
        registry_limits(settings.limits),
        linger(settings.limits),
        settings.limits.log_ons_per_s,
        settings.limits.log_ons_in_flight,
        gateway.__version__,
        settings.limits.handshakes_per_s,
        lambda: ring.names,
    )


def _tokens(secrets: Secrets, servers: Mapping[str, Server]) -> Tokens:
    keys = [(key.id, key.key.raw) for key in secrets.sealing_keys]
    return Tokens(keys, list(servers), randomness.token_bytes)


@asynccontextmanager
async def serving(
    settings: Settings,
    secrets: Secrets,
    clock: Clock,
    stopping: Stopping,
    supervisor: Supervisor | None = None,
    *,
    reread: Reread | None = None,
) -> AsyncIterator[Addresses]:
    """Live as one node while the block lasts; then say farewell, in a hurry when *stopping* is.

    A *supervisor* hears of reloads; *reread* reads the secrets again when there is one.

    Raises:
        ConfigError: A file that the settings name cannot be used.
        CannotListen: An address is not to be had.
        LogOffsLost: The node has ended, and log-offs that nobody confirmed are in no other node's hands.
    """
    async with AsyncExitStack() as stack:
        keyring = Keyring(secrets.sealing_keys)
        tracing = await stack.enter_async_context(open_tracing(settings.tracing, clock))
        servers = await _servers(settings, stack, clock, tracing)
        telemetry = Telemetry()
        cluster = await stack.enter_async_context(_bus(settings, secrets, keyring, clock, telemetry))
        made = Gateway(
            settings, secrets, servers, cluster, clock, telemetry, Beside(keyring, reread, tracing)
        )
        tracing.enter(made.edge)
        is_any = _may_change(settings)
        cry = stack.enter_context(hearing(made.reloading, made.crier.cry, supervisor, is_any=is_any))
        looks = _looks(settings, made, cluster, clock)
        await stack.enter_async_context(handing_on(made.node.log_offs))
        await stack.enter_async_context(alive(*made.lives(), made.reloading.run(cry), *looks))
        where, door = settings.ops, settings.client
        ops = await stack.enter_async_context(listening_aside("ops", made.ops, where.host, where.port))
        client = await stack.enter_async_context(
            listening("client", made.edge, door.host, door.port, made.certificate.context, keeps_reserve=True)
        )
        admin = await stack.enter_async_context(made.administration(settings, stopping).listening())
        stack.enter_context(seldom(clock, telemetry.gc_pause_seconds.observe))
        made.is_started = True
        _note_start(settings, made.node.record().node, client, ops)
        try:
            yield Addresses(client.url, ops.url, admin)
        finally:
            await _say_farewell(made, client, settings.limits, stopping)


async def _servers(
    settings: Settings, stack: AsyncExitStack, clock: Clock, tracing: Tracing
) -> dict[str, Server]:
    """Open the contact centres of all sites on *stack*."""
    servers: dict[str, Server] = {}
    turns, is_alone = Turns(clock, rest_s=REST_S), settings.bus.url == MEMORY
    for place, site in enumerate(settings.sites):
        tls, trace = site_context(place, site), tracing.outgoing()
        server = open_server(site, clock, tls, turns, trace=trace, is_alone=is_alone, chance=_CHANCE)
        servers[site.id] = await stack.enter_async_context(server)
    return servers


def _looks(
    settings: Settings, made: Gateway, cluster: Cluster, clock: Clock
) -> tuple[Coroutine[None, None, None], ...]:
    return (
        look_at_bus(settings.bus, clock),
        look_for_namesake(made.node.fleet, clock),
        look_at_keys(made.node.fleet, clock),
        look_at_clock(partial(clock_offset_s, cluster.leases), clock),
    )


def _bus(
    settings: Settings, secrets: Secrets, keyring: Keyring, clock: Clock, telemetry: Telemetry
) -> AbstractAsyncContextManager[Cluster]:
    return open_bus(
        settings.bus,
        secrets,
        clock,
        jitter=random.random,
        draw=randomness.token_bytes,
        renewed=telemetry.lease_renew_seconds.observe,
        keyring=keyring,
    )


def _may_change(settings: Settings) -> bool:
    """Tell whether there is anything to read anew while the node lives."""
    files = settings.notices.files, settings.client.certificate, *(site.ca_file for site in settings.sites)
    return any(files) or settings.secrets is not None


async def _say_farewell(made: Gateway, client: Listener, limits: Limits, stopping: Stopping) -> None:
    await made.node.fleet.give_notice()
    parting = Parting(made.node, made.phones, lambda: made.doors.sockets, client.refuse, random.shuffle)
    await leave(parting, limits, stopping, made.node.clock, made.telemetry)


def _note_start(settings: Settings, node: NodeId, client: Listener, ops: Listener) -> None:
    _LOG.info("listens", listener="ops", host=settings.ops.host, port=ops.port)
    _LOG.info(
        "listens",
        listener="client",
        host=settings.client.host,
        port=client.port,
        tls=settings.client.certificate is not None,
        insecure=settings.client.insecure,
        version=gateway.__version__,
        node=node,
    )
