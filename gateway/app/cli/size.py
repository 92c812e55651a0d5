"""Command ``size``: how many nodes a number of phones needs, and the limits to set, from measured figures."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from annotated_types import Le
from pydantic import ValidationError

from gateway.app.cli.doctor import SPARE_FILES
from gateway.app.config.settings import LimitsSection
from gateway.runtime.ownership import RENEW_S

# ---- measured: docs/benchmarks.md, one core of its machine; a test holds these to its tables ----

FRESH_MB: Final = 96.0
"""Memory of a node without phones."""
PHONE_KB: Final = 3.66
PHONE_TLS_KB: Final = 72.25
"""Memory of an idle phone, in clear text behind a proxy, and when the node ends TLS itself."""
USER_KB: Final = 78.0
"""Memory of a user with a link: 5,000 users take 487 MB."""
WATCHED_UPDATE_S: Final = 7.9e-6
"""CPU time of an update to a Dashboard, of the largest site."""
WATCHED_PER_S: Final = 175.0
"""Updates a second to a Dashboard there: 5 readings a second of 35 elements."""
OWN_UPDATE_S: Final = 90.2e-6
"""CPU time of an update that comes over a user's own link alone."""
OWN_PER_S: Final = 1.0
"""Updates a second to a Remote Assistant: their own state and the queues that they serve."""
PHONES_MAX: Final = 19_500
USERS_MAX: Final = 5_000
"""The most phones and users of one node that were measured."""
REDIS_USER_BYTES: Final = 464
RENEWALS_PER_S: Final = 7_000
"""Renewals of leases a second that one Redis did on the same machine: docs/operations.md."""

# ---- chosen ----

CPU_SHARE: Final = 0.6
"""Of a core, when one node is missing: the rest is for bursts."""
MEMORY_SHARE: Final = 0.6
"""Of a node's limit of memory, when one node is missing."""
DRAIN_MIN_S: Final = int(LimitsSection().drain_s)
LOG_ONS_PER_S: Final = float(LimitsSection().log_ons_per_s)


class Wanted(NamedTuple):
    """What a gateway is to carry."""

    phones: int
    users: int
    dashboards: int
    tls: bool = False
    log_ons_per_s: float = LOG_ONS_PER_S


class Sizing(NamedTuple):
    """Nodes, what each carries, and what to set. Figures of a node hold while one node is missing."""

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
    """Return the fewest nodes that carry *wanted* while one of them is missing; two at least."""
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
        files=2 * connections + SPARE_FILES,
        drain_s=max(DRAIN_MIN_S, math.ceil(_drain_s(wanted, staying) / 10) * 10),
        all_logged_on_s=math.ceil(2 * wanted.users / wanted.log_ons_per_s),
        redis_per_s=math.ceil(wanted.users / RENEW_S) + (staying + 1) ** 2,
        redis_mb=math.ceil(wanted.users * REDIS_USER_BYTES / 1e6),
    )


def _drain_s(wanted: Wanted, staying: int) -> float:
    """Return how long a node needs to give its users away: docs/operations.md, *Stop it*."""
    return wanted.users / staying / wanted.log_ons_per_s


def _nodes_for_drain(wanted: Wanted) -> int:
    """Return how many nodes must stay so that a drain ends within the longest that can be set."""
    return math.ceil(wanted.users / wanted.log_ons_per_s / _most("drain_s"))


def _most(setting: str) -> float:
    """Return the largest value that a setting of ``[limits]`` may have."""
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
    yield f"  limits.log_ons_per_s {wanted.log_ons_per_s:g}   (what each site's server bears)"
    yield f"  limits.drain_s       {found.drain_s}   (and the grace period with it; the chart adds it up)"
    yield f"start of a shift       all are logged on after about {found.all_logged_on_s} s"
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
            "site bears it."
        )


def add_size_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--phones", type=_count, required=True, metavar="N", help="phones that are connected at once"
    )
    parser.add_argument(
        "--users", type=_count, metavar="N", help="users behind them; default: as many as phones"
    )
    parser.add_argument(
        "--dashboards",
        type=_count_or_none,
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
        help=f"what the sites bear; default: {LOG_ONS_PER_S:g}",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 10_000_000:
        raise argparse.ArgumentTypeError("between 1 and 10,000,000")
    return number


def _count_or_none(text: str) -> int:
    return 0 if int(text) == 0 else _count(text)


def _pace(text: str) -> float:
    """Return a number that ``limits.log_ons_per_s`` may have."""
    number = float(text)
    try:
        return LimitsSection(log_ons_per_s=number).log_ons_per_s
    except ValidationError as error:
        most = _most("log_ons_per_s")
        raise argparse.ArgumentTypeError(f"more than 0, and at most {most:,.0f}") from error


def run_size(args: argparse.Namespace) -> int:
    """Print nodes and limits. Returns 0, or 2 when the numbers contradict each other."""
    users = args.phones if args.users is None else args.users
    dashboards = math.ceil(users / 10) if args.dashboards is None else args.dashboards
    if users > args.phones or dashboards > users:
        sys.stderr.write(
            "oscc-gateway: there are at most as many users as phones, and Dashboards as users.\n"
        )
        return 2
    wanted = Wanted(args.phones, users, dashboards, args.tls, args.log_ons_per_s)
    found = size(wanted)
    if args.json:
        sys.stdout.write(json.dumps(found._asdict()) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines(wanted, found))
    return 0


# ---- the page ----

SHOWN: Final = (1_000, 10_000, 50_000, 200_000)


def page_table() -> str:
    """Return the table of docs/sizing.md."""
    head = ["phones", "TLS", "nodes", "cores a node", "MB a node", "memory limit", "`connections`"]
    head += ["open files", "`drain_s`", "shift start", "Redis"]
    rows = [f"| {' | '.join(head)} |", "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for phones in SHOWN:
        for tls in (False, True):
            one = size(Wanted(phones, phones, phones // 10, tls))
            rows.append(
                f"| {phones:,} | {'nodes' if tls else 'proxy'} | {one.nodes} | {one.cores} | {one.memory_mb} "
                f"| {one.memory_limit_mb} MB | {one.connections} | {one.files} | {one.drain_s} s "
                f"| {one.all_logged_on_s:,} s | {one.redis_per_s:,}/s, {one.redis_mb} MB |"
            )
    return "\n".join(rows) + "\n"
