"""Commands ``doctor`` and ``size``: whether this machine fits a node, and the nodes for a number of phones.

``doctor`` makes more checks than ``check-config``, but only those that this machine allows. ``size`` computes
from measured figures.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import itertools
import json
import math
import os
import re
import resource
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from secrets import token_hex
from typing import Final, NamedTuple

import aiohttp
from aiohttp import web
from annotated_types import Le

from gateway.app.adapters import client_context
from gateway.app.admin import CheckReport, check_bus
from gateway.app.cli import PROGRAM, CliCommand, add_config, advise, report_faults, within
from gateway.app.cli.check import (
    asterisk_advices,
    client_file_faults,
    listener_certificate_problems,
    people_faults,
)
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import LimitsSection, Settings
from gateway.app.config.sources import load
from gateway.app.drain import drain_limit_s
from gateway.app.process import BACKLOG, CannotListen, files_needed, listening
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ownership import RENEW_S
from gateway.runtime.ports import Clock

HOLD_S: Final = 60.0
"""A phone may choose a pause between pings of up to 55 s; a proxy must wait at least this long."""
HOLD_MAX_S: Final = 3_600.0
_COUNT_MAX: Final = 10_000_000
_COUNT: Final = within(int, 1, _COUNT_MAX, f"between 1 and {_COUNT_MAX:,}")
OPEN_S: Final = 10.0
FOUND_S: Final = 10.0
"""Time in which the health checks of a proxy find this process."""
_AGAIN_S: Final = 0.5
_NO_NODE: Final = frozenset(
    {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
)
"""Answers of a proxy that has found no healthy node yet."""
STREAM_PATH: Final = "/v1/realtime"
_MARK: Final = "X-Oscc-Doctor"
_PROXY_SETTINGS: Final = "timeout tunnel of HAProxy, proxy_read_timeout and proxy_send_timeout of nginx"
_BALANCER_HINT: Final = "The proxy must have no other node, or the others must be stopped, during this check."
_PROXY_ADVICE: Final = (
    f"client.trusted_proxies names proxies: let each wait {HOLD_S:g} s or more for a quiet stream "
    f"({_PROXY_SETTINGS}). `oscc-gateway doctor --through URL` tries it while the node is stopped."
)
_PROC: Final = Path("/proc/sys")
_SYNCHRONISED: Final = (
    Path("/run/systemd/timesync/synchronized"),
    Path("/run/chrony"),
    Path("/run/ntpd.pid"),
)


class RunningNode(NamedTuple):
    """A process of ``serve`` on this machine, and the file limit of its service."""

    pid: int
    files: int


class MachineLimits(NamedTuple):
    """Limits of the kernel; None where there is none."""

    files: int
    """File limit of this process, once raised to its maximum: that of its shell."""
    somaxconn: int | None
    syn_backlog: int | None
    is_time_kept: bool
    """Whether a service that sets the clock was found."""
    nodes: tuple[RunningNode, ...] = ()
    """Nodes that run here, as far as this user may see them."""


def add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_config(parser)
    parser.add_argument(
        "--through",
        action="append",
        default=[],
        metavar="URL",
        help="test the proxy at the address that phones use: with the node stopped, listen in its place, "
        "hold a quiet WebSocket through the proxy, and report whether it stays open; repeatable",
    )
    parser.add_argument(
        "--hold",
        type=within(float, 1, HOLD_MAX_S, f"between 1 and {HOLD_MAX_S:g} seconds"),
        default=HOLD_S,
        metavar="S",
        help=f"with --through, hold for S seconds; default {HOLD_S:g}",
    )


def run_doctor(args: argparse.Namespace) -> int:
    """Print the results, and a sentence per fault or advice. Returns 0, or 1 with a fault.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    settings = load(args.config, os.environ).settings
    machine, clock = this_machine(), SystemClock()
    bus = asyncio.run(check_bus(settings.bus, clock))
    held = asyncio.run(check_proxies(settings, args.through, args.hold, clock)) if args.through else []
    certificate = listener_certificate_problems(settings, clock.wall_ms())
    for line in (*_machine_lines(machine), *bus.notes, *(note for one in held for note in one.notes)):
        sys.stdout.write(f"{line}\n")
    advices = [problem.text for problem in certificate if not problem.is_fault]
    if settings.client.trusted_proxies and not args.through:
        advices.append(_PROXY_ADVICE)
    advices += asterisk_advices(settings)
    advise((*machine_advices(machine), *bus.advices, *advices))
    found = [*machine_faults(machine, settings), *bus.faults, *people_faults(settings)]
    found += [fault for one in held for fault in one.faults]
    found += [*(problem.text for problem in certificate if problem.is_fault), *client_file_faults(settings)]
    return report_faults(found)


def machine_faults(machine: MachineLimits, settings: Settings) -> Iterator[str]:
    """Yield the faults of *machine* for a node."""
    needed = files_needed(settings.limits.connections)
    asks = (
        f"but limits.connections = {settings.limits.connections} needs {needed} (a phone and its user's link "
        "each take one)"
    )
    for node in machine.nodes:
        if node.files < needed:
            yield (
                f"The node with process id {node.pid} may open {node.files} files, {asks}: raise LimitNOFILE "
                "of its unit, or ulimits of its container, or lower limits.connections."
            )
    if not machine.nodes and machine.files < needed:
        yield (
            f"This shell may open {machine.files} files, {asks}: raise ulimit -n or lower "
            "limits.connections. A service has a limit of its own (LimitNOFILE of its unit): run doctor "
            "while the node runs to see it."
        )


def machine_advices(machine: MachineLimits) -> Iterator[str]:
    """Yield advice about *machine*."""
    for name, value in (("somaxconn", machine.somaxconn), ("tcp_max_syn_backlog", machine.syn_backlog)):
        if value is not None and value < BACKLOG:
            where = "net.core" if name == "somaxconn" else "net.ipv4"
            yield (
                f"{where}.{name} is {value}: when another node ends, many phones come at once; set it to "
                f"{BACKLOG} or more."
            )
    if not machine.is_time_kept:
        yield "No service that synchronises the clock was found: timesyncd, chrony or ntpd."


def this_machine() -> MachineLimits:
    """Return the limits of this machine."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MachineLimits(
        sys.maxsize if hard == resource.RLIM_INFINITY else hard,
        _number(_PROC / "net/core/somaxconn"),
        _number(_PROC / "net/ipv4/tcp_max_syn_backlog"),
        any(path.exists() for path in _SYNCHRONISED),
        tuple(running_nodes(Path("/proc"))),
    )


def running_nodes(proc: Path) -> Iterator[RunningNode]:
    """Yield the nodes among the processes of *proc* that this user may see."""
    for folder in sorted(proc.glob("[0-9]*")):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"serve" not in words or not any(word.endswith(PROGRAM.encode()) for word in words):
                continue
            limits = (folder / "limits").read_text("ascii")
        except OSError:
            continue
        found = re.search(r"(?m)^Max open files +\S+ +(\S+)", limits)
        if found is not None:
            files = sys.maxsize if found[1] == "unlimited" else int(found[1])
            yield RunningNode(int(folder.name), files)


def _machine_lines(machine: MachineLimits) -> Iterator[str]:
    yield f"files: {machine.files} (of this shell)"
    for node in machine.nodes:
        yield f"files: {node.files} (of the node with process id {node.pid})"
    yield f"somaxconn: {machine.somaxconn}, tcp_max_syn_backlog: {machine.syn_backlog}"
    yield f"clock: {'a service sets it' if machine.is_time_kept else 'no service that sets it was found'}"


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None


# ---- proxies ----


async def check_proxies(
    settings: Settings, urls: Sequence[str], hold_s: float, clock: Clock
) -> list[CheckReport]:
    """Listen in the node's place, and hold an idle WebSocket through each of *urls* at the same time."""
    mark = token_hex(8)
    app, ops = web.Application(), web.Application()
    app.router.add_get(STREAM_PATH, _quiet_stream(mark))
    ops.router.add_get("/{any:.*}", _healthy)
    client = settings.client
    try:
        async with (
            listening("ops", ops, settings.ops.host, settings.ops.port),
            listening("client", app, client.host, client.port, client_context(client)),
            aiohttp.ClientSession() as http,
            asyncio.TaskGroup() as group,
        ):
            held = [group.create_task(hold_quiet(http, url, mark, hold_s, clock)) for url in urls]
    except CannotListen as taken:
        return [_refusal(f"{taken} Stop the node first: --through listens in its place.")]
    return [task.result() for task in held]


async def hold_quiet(
    http: aiohttp.ClientSession, url: str, mark: str, hold_s: float, clock: Clock
) -> CheckReport:
    """Hold one idle WebSocket through *url* for *hold_s*, then send one message each way.

    *mark* is the value of the header by which the answer of this process is recognised.
    """
    try:
        stream = await _open_stream(http, url, clock)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return _refusal(_no_stream(url, error))
    async with stream:
        response = stream._response  # noqa: SLF001 - aiohttp shows the headers of an upgrade nowhere else
        if response.headers.get(_MARK) != mark:
            return _refusal(f"{url} leads to another machine. {_BALANCER_HINT}")
        began = clock.now()
        if not await _is_cut(stream, hold_s, clock) and await _is_alive(stream, clock):
            return CheckReport((f"{url} kept a quiet WebSocket open for {hold_s:g} s",))
        lasted_s = clock.now() - began
    return _refusal(
        f"{url} closed a quiet WebSocket after {lasted_s:.0f} s: let the proxy wait {HOLD_S:g} s "
        f"or more ({_PROXY_SETTINGS})."
    )


def _refusal(fault: str) -> CheckReport:
    return CheckReport(faults=(fault,))


def _no_stream(url: str, error: Exception) -> str:
    """Return why no WebSocket was opened, and what to do."""
    match error:
        case aiohttp.WSServerHandshakeError():
            return f"{url} opens no WebSocket to this machine ({error.status}). {_BALANCER_HINT}"
        case aiohttp.ClientConnectorCertificateError():
            return f"{url} has a certificate that is not trusted here: SSL_CERT_FILE names its authority."
        case aiohttp.ClientSSLError():
            return f"{url} has no TLS at that port, which https:// needs: check port and proxy."
        # after the refused certificates, which are ValueErrors, too
        case _ if isinstance(error, ValueError) or not url.startswith(("http://", "https://")):
            return f"{url} is not an address such as https://gateway.example or http://127.0.0.1:8080."
        case aiohttp.ClientConnectorDNSError():
            return f"{url} has a host name that cannot be resolved: check it."
        case TimeoutError():
            return f"{url} does not answer within {OPEN_S:g} s: check host, port and firewalls."
        case OSError() if error.errno == errno.ECONNREFUSED:
            return f"{url} refuses the connection: start the proxy, or check host and port."
        case _:
            return f"{url} breaks the connection: read the log of the proxy."


async def _open_stream(
    http: aiohttp.ClientSession, url: str, clock: Clock
) -> aiohttp.ClientWebSocketResponse:
    until = clock.now() + FOUND_S
    while True:
        try:
            async with clock.timeout(OPEN_S):
                return await http.ws_connect(f"{url.rstrip('/')}{STREAM_PATH}", autoping=False)
        except aiohttp.WSServerHandshakeError as error:
            if error.status not in _NO_NODE or clock.now() >= until:
                raise
        await clock.sleep(_AGAIN_S)


async def _is_cut(stream: aiohttp.ClientWebSocketResponse, hold_s: float, clock: Clock) -> bool:
    """Return whether the connection ends before *hold_s* have passed."""
    with suppress(TimeoutError):
        async with clock.timeout(hold_s):
            await stream.receive()
            return True
    return False


async def _is_alive(stream: aiohttp.ClientWebSocketResponse, clock: Clock) -> bool:
    """Return whether a message comes back: a proxy may drop a stream without closing it."""
    with suppress(TimeoutError, OSError, aiohttp.ClientError):
        async with clock.timeout(OPEN_S):
            await stream.send_str("still there?")
            return (await stream.receive()).type is aiohttp.WSMsgType.TEXT
    return False


def _quiet_stream(mark: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        stream = web.WebSocketResponse(autoping=False)
        stream.headers[_MARK] = mark
        await stream.prepare(request)
        async for message in stream:
            if message.type is aiohttp.WSMsgType.TEXT:
                await stream.send_str(message.data)
        return stream

    return serve


async def _healthy(request: web.Request) -> web.Response:  # noqa: ARG001 - a handler's signature
    """Answer the proxy's health checks like a ready node."""
    return web.Response(text="ok\n")


# ---- measured: docs/benchmarks.md, one core of its machine; a test holds these to its tables ----

FRESH_MB: Final = 96.0
"""Memory of a node without phones."""
PHONE_KB: Final = 3.66
PHONE_TLS_KB: Final = 72.25
"""Memory of an idle phone, in clear text behind a proxy, and when the node ends TLS itself."""
USER_KB: Final = 59.2
"""Memory of a user with a link: 5,000 users take 392 MB."""
WATCHED_UPDATE_S: Final = 3.9e-6
"""CPU time of an update to a Dashboard, at the largest site."""
WATCHED_PER_S: Final = 175.0
"""Updates per second to a Dashboard there: 5 readings per second of 35 elements."""
OWN_UPDATE_S: Final = 71.4e-6
"""CPU time of an update that comes over one user's own link only."""
OWN_PER_S: Final = 1.0
"""Updates per second to a Remote Assistant: its own state and its queues."""
PHONES_MAX: Final = 19_500
USERS_MAX: Final = 5_000
"""Highest numbers of phones and users of one node that were measured."""
REDIS_USER_BYTES: Final = 464
RENEWALS_PER_S: Final = 7_000
"""Renewals of leases per second of one Redis on the same machine: docs/operations.md."""

# ---- chosen ----

CPU_SHARE: Final = 0.6
"""Highest use of a core while one node is missing: the rest is for bursts."""
MEMORY_SHARE: Final = 0.6
"""Highest use of a node's memory limit while one node is missing."""
DRAIN_MIN_S: Final = int(LimitsSection().drain_s)
DRAIN_SPARE: Final = 1.5
"""Multiple of the time that a drain takes at the full rate: busy nodes open links more slowly."""
LOG_ONS_PER_S: Final = float(LimitsSection().log_ons_per_s)


class Wanted(NamedTuple):
    """The load that a gateway has to carry."""

    phones: int
    users: int
    dashboards: int
    tls: bool = False
    log_ons_per_s: float = LOG_ONS_PER_S


class Sizing(NamedTuple):
    """The result: nodes, the load of each, and settings. Figures of a node hold while one node is missing."""

    nodes: int
    phones: int
    users: int
    cores: float
    memory_mb: int
    memory_limit_mb: int
    connections: int
    files: int
    drain_s: int
    all_logged_on_s: int
    redis_per_s: int
    redis_mb: int


def size(wanted: Wanted) -> Sizing:
    """Return the fewest nodes that carry *wanted* while one of them is missing; at least two."""
    cores = (
        wanted.dashboards * WATCHED_PER_S * WATCHED_UPDATE_S
        + (wanted.users - wanted.dashboards) * OWN_PER_S * OWN_UPDATE_S
    )
    staying = max(
        1,
        math.ceil(cores / CPU_SHARE),
        math.ceil(wanted.phones / PHONES_MAX),
        math.ceil(wanted.users / USERS_MAX),
        _nodes_for_drain(wanted),
    )
    phones, users = math.ceil(wanted.phones / staying), math.ceil(wanted.users / staying)
    memory = FRESH_MB + (phones * (PHONE_TLS_KB if wanted.tls else PHONE_KB) + users * USER_KB) / 1_000
    connections = math.ceil(phones * 1.1 / 100) * 100
    return Sizing(
        nodes=staying + 1,
        phones=phones,
        users=users,
        cores=round(cores / staying, 2),
        memory_mb=round(memory),
        memory_limit_mb=math.ceil(memory / MEMORY_SHARE / 128) * 128,
        connections=connections,
        files=files_needed(connections),
        drain_s=max(DRAIN_MIN_S, math.ceil(DRAIN_SPARE * _drain_s(wanted, staying) / 10) * 10),
        all_logged_on_s=math.ceil(2 * wanted.users / wanted.log_ons_per_s),
        redis_per_s=math.ceil(wanted.users / RENEW_S) + (staying + 1) ** 2,
        redis_mb=math.ceil(wanted.users * REDIS_USER_BYTES / 1e6),
    )


def _drain_s(wanted: Wanted, staying: int) -> float:
    """Return how long a node needs to give its users to others: docs/operations.md, *Stop it*.

    The last node of a rolling restart has the users of the one that was restarted last, too. The draining
    node keeps its share of the budget.
    """
    moved_per_s = wanted.log_ons_per_s * staying / (staying + 1)
    return wanted.users / staying / moved_per_s


def _nodes_for_drain(wanted: Wanted) -> int:
    """Return how many nodes must remain for a drain to end within the longest allowed time."""
    most_s = _most("drain_s") / DRAIN_SPARE
    return next(staying for staying in itertools.count(1) if _drain_s(wanted, staying) <= most_s)


def _most(setting: str) -> float:
    """Return the upper bound of a setting of ``[limits]``."""
    (bound,) = [one for one in LimitsSection.model_fields[setting].metadata if isinstance(one, Le)]
    return float(bound.le)  # type: ignore[arg-type]  # a number's bound is a number


def lines(wanted: Wanted, found: Sizing) -> Iterator[str]:
    """Yield the lines to print."""
    way = "TLS on the nodes" if wanted.tls else "clear text behind a proxy that ends TLS"
    of_them = f"{wanted.dashboards:,} of them Dashboards"
    yield f"{wanted.phones:,} phones of {wanted.users:,} users, {of_them}; {way}"
    yield f"nodes            {found.nodes}, of one core each; one may be missing"
    yield (
        f"a node then has  {found.phones:,} phones, {found.users:,} users, {found.cores} of a core, "
        f"{found.memory_mb} MB"
    )
    yield "set"
    yield f"  memory limit         {found.memory_limit_mb} MB"
    yield f"  limits.connections   {found.connections}"
    yield f"  open files           {found.files}   (LimitNOFILE, ulimits)"
    yield f"  limits.log_ons_per_s {wanted.log_ons_per_s:g}   (what each site accepts)"
    yield f"  limits.drain_s       {found.drain_s}"
    yield (
        f"  stop timeout         {math.ceil(drain_limit_s(LimitsSection(drain_s=found.drain_s)))} s   "
        "(TimeoutStopSec; the chart computes terminationGracePeriodSeconds)"
    )
    yield f"start of a shift       all are logged on after about {_duration(found.all_logged_on_s)}"
    yield (
        f"Redis                  about {found.redis_per_s:,} a second: renewals of leases, of which several "
        f"share one script, and messages between nodes; {found.redis_mb} MB"
    )
    if found.redis_per_s > RENEWALS_PER_S:
        yield (
            f"advice: one Redis was measured with {RENEWALS_PER_S:,} renewals a second: use several "
            "gateways, each with its own Redis and some of the sites."
        )
    if found.all_logged_on_s > 1_800:
        yield (
            "advice: the start of a shift takes more than half an hour: a larger log_ons_per_s helps, if the "
            "site accepts it."
        )


def _duration(seconds: float) -> str:
    """Return a time as people say it."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def add_size_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--phones", type=_COUNT, required=True, metavar="N", help="phones that are connected at once"
    )
    parser.add_argument(
        "--users", type=_COUNT, metavar="N", help="users behind them; default: as many as phones"
    )
    parser.add_argument(
        "--dashboards",
        type=within(int, 0, _COUNT_MAX, f"between 0 and {_COUNT_MAX:,}"),
        metavar="N",
        help="users of the Dashboard; default: a tenth of the users",
    )
    parser.add_argument(
        "--tls", action="store_true", help="the nodes end TLS themselves; default: a proxy does"
    )
    parser.add_argument(
        "--log-ons-per-s",
        type=_pace,
        default=LOG_ONS_PER_S,
        metavar="N",
        help=f"log-ons and links per second that each site accepts; default: {LOG_ONS_PER_S:g}",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def _pace(text: str) -> float:
    """Return a number within the bounds of ``limits.log_ons_per_s``."""
    try:
        return LimitsSection(log_ons_per_s=float(text)).log_ons_per_s
    except ValueError as error:
        most = _most("log_ons_per_s")
        raise argparse.ArgumentTypeError(f"must be more than 0, and at most {most:,.0f}") from error


def run_size(args: argparse.Namespace) -> int:
    """Print nodes and limits. Returns 0.

    Raises:
        ConfigError: The numbers contradict each other.
    """
    users = args.phones if args.users is None else args.users
    dashboards = math.ceil(users / 10) if args.dashboards is None else args.dashboards
    if users > args.phones or dashboards > users:
        raise ConfigError(["There are at most as many users as phones, and Dashboards as users."])
    wanted = Wanted(args.phones, users, dashboards, args.tls, args.log_ons_per_s)
    found = size(wanted)
    if args.json:
        sys.stdout.write(json.dumps(found._asdict()) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines(wanted, found))
    return 0


COMMANDS: Final = {
    "doctor": CliCommand(
        "check this machine for a node: file limit, kernel queues, clock, Redis, proxy",
        add_doctor_arguments,
        run_doctor,
        "oscc-gateway doctor --config gateway.toml",
    ),
    "size": CliCommand(
        "compute how many nodes a number of phones needs, and which limits to set",
        add_size_arguments,
        run_size,
        "oscc-gateway size --phones 50000\n"
        "  oscc-gateway size --phones 12000 --users 4000 --dashboards 300 --tls",
    ),
}
