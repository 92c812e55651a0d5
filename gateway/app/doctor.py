"""Is this machine fit for a node? The command ``doctor``: what the kernel allows, the clock, and Redis.

Beyond what ``check-config`` tries, and only what can be seen from here.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from gateway.app.bus_check import bus_found
from gateway.app.check import certificate_flaws, client_files
from gateway.app.cli_options import add_config
from gateway.app.config import load
from gateway.app.config_sections import Settings
from gateway.app.listener import BACKLOG
from gateway.app.proxies import judged, unknown
from gateway.runtime.clock import SystemClock

SPARE_FILES: Final = 200
"""Beside phones and links: listeners, Redis, HTTP to the sites, logs."""
_PROC: Final = Path("/proc/sys")
_SYNCHRONISED: Final = (
    Path("/run/systemd/timesync/synchronized"),
    Path("/run/chrony"),
    Path("/run/ntpd.pid"),
)


class Machine(NamedTuple):
    """What the kernel says; None where it says nothing."""

    files: int
    """How many this process may open, once it has asked for all it may have."""
    somaxconn: int | None
    syn_backlog: int | None
    is_time_kept: bool
    """Whether a service is seen that keeps the clock right."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_config(parser)
    parser.add_argument(
        "--proxy",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a configuration of HAProxy or nginx before the node: does it bear with phones that are quiet?",
    )


def run(args: argparse.Namespace) -> int:
    """Print what was looked at, and a sentence per fault or advice. Returns 0, or 1 with a fault.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    settings = load(args.config, os.environ).settings
    machine = this_machine()
    clock = SystemClock()
    bus = asyncio.run(bus_found(settings.bus, clock))
    proxies = [judged(path) for path in args.proxy]
    certificate = certificate_flaws(settings, clock.wall_ms())
    for told in (*_told(machine), *bus.told, *(line for lines, _ in proxies for line in lines)):
        sys.stdout.write(f"{told}\n")
    thoughts = [flaw.text for flaw in certificate if not flaw.is_fault]
    if settings.client.trusted_proxies and not proxies:
        thoughts.append(unknown())
    for advice in (*advices(machine), *bus.advices, *thoughts):
        sys.stderr.write(f"advice: {advice}\n")
    found = [*faults(machine, settings), *bus.faults, *(line for _, lines in proxies for line in lines)]
    found += [*(flaw.text for flaw in certificate if flaw.is_fault), *client_files(settings)]
    for fault in found:
        sys.stderr.write(f"fault: {fault}\n")
    return 1 if found else 0


def faults(machine: Machine, settings: Settings) -> Iterator[str]:
    """Yield what a node on *machine* would run into."""
    needed = settings.limits.connections * 2 + SPARE_FILES
    if machine.files < needed:
        yield (
            f"This process may open {machine.files} files, but limits.connections = "
            f"{settings.limits.connections} needs {needed} (a phone and its user's link each take one): "
            "raise LimitNOFILE or ulimit -n, or take fewer connections."
        )


def advices(machine: Machine) -> Iterator[str]:
    """Yield what is worth a thought."""
    for name, value in (("somaxconn", machine.somaxconn), ("tcp_max_syn_backlog", machine.syn_backlog)):
        if value is not None and value < BACKLOG:
            where = "net.core" if name == "somaxconn" else "net.ipv4"
            yield (
                f"{where}.{name} is {value}: after another node's end more phones come at once; set it to "
                f"{BACKLOG} or more."
            )
    if not machine.is_time_kept:
        yield "No service is seen that keeps the clock right: timesyncd, chrony or ntpd. Instants need it."


def this_machine() -> Machine:
    """Return what this machine's kernel says."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Machine(
        sys.maxsize if hard == resource.RLIM_INFINITY else hard,
        _number(_PROC / "net/core/somaxconn"),
        _number(_PROC / "net/ipv4/tcp_max_syn_backlog"),
        any(path.exists() for path in _SYNCHRONISED),
    )


def _told(machine: Machine) -> Iterator[str]:
    yield f"files: {machine.files}"
    yield f"somaxconn: {machine.somaxconn}, tcp_max_syn_backlog: {machine.syn_backlog}"
    yield f"clock: {'kept' if machine.is_time_kept else 'not known to be kept'}"


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None
