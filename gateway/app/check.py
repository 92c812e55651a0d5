"""Is a configuration right, and is what it points to there? The command ``check-config``."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator, Sequence

from gateway.app import config_shown
from gateway.app.bundle_writing import folder_faults
from gateway.app.bus_check import bus_found
from gateway.app.certificates import Flaw, chain_of, covers, flaws, read_pair, told
from gateway.app.cli_options import add_config
from gateway.app.config import load
from gateway.app.config_faults import ConfigError
from gateway.app.config_sections import Settings
from gateway.app.notices import read_notices
from gateway.app.site_check import ask
from gateway.app.tls import client_context, site_context
from gateway.runtime.clock import SystemClock
from gateway.runtime.ports import Clock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_config(parser)
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="what phones call the node, a name or address: the certificate must be for it; may be repeated",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of the file, check nothing"
    )
    what.add_argument(
        "--reference", action="store_true", help="print the page of all settings, check nothing"
    )
    what.add_argument("--offline", action="store_true", help="check all but Redis and the sites")


def run(args: argparse.Namespace) -> int:
    """Print the settings in effect, then a sentence per fault or advice. Returns the exit code."""
    if args.schema or args.reference:
        sys.stdout.write(config_shown.schema() if args.schema else config_shown.reference())
        return 0
    configuration = load(args.config, os.environ)
    sys.stdout.write(config_shown.effective(configuration))
    clock = SystemClock()
    certificate = certificate_told(configuration.settings)
    if certificate is not None:
        sys.stdout.write(f"# client.certificate is {certificate}\n")
    for advice in advices(configuration.settings, clock.wall_ms()):
        sys.stderr.write(f"advice: {advice}\n")
    faults = [*files(configuration.settings, clock.wall_ms()), *strange(configuration.settings, args.host)]
    if not faults and not args.offline:
        faults += asyncio.run(reached(configuration.settings, clock))
    for fault in faults:
        sys.stderr.write(f"fault: {fault}\n")
    return 1 if faults else 0


def files(settings: Settings, wall_ms: int) -> Iterator[str]:
    """Yield a sentence per fault of a file or folder, and of what it holds."""
    yield from client_files(settings)
    try:
        read_notices(settings.notices.files)
    except ConfigError as error:
        yield from error.faults
    yield from (flaw.text for flaw in certificate_flaws(settings, wall_ms) if flaw.is_fault)
    if settings.admin.bundle_folder is not None:
        yield from folder_faults(settings.admin.bundle_folder)
    for place, site in enumerate(settings.sites):
        try:
            site_context(place, site)
        except ConfigError as error:
            yield from error.faults


def client_files(settings: Settings) -> Sequence[str]:
    """Return a sentence per fault that keeps the listener from TLS."""
    try:
        client_context(settings.client)
    except ConfigError as error:
        return error.faults
    return ()


def certificate_flaws(settings: Settings, wall_ms: int) -> list[Flaw]:
    """Return what phones would not accept of the listener's certificate, and what is worth a thought."""
    try:
        pair = read_pair(settings.client)
        return [] if pair is None else list(flaws(settings.client, pair, wall_ms))
    except ConfigError:
        return []  # it cannot be read at all, which is told of the file


def strange(settings: Settings, hosts: Sequence[str]) -> Iterator[str]:
    """Yield a sentence per host of *hosts* for which the listener's certificate is not."""
    try:
        pair = read_pair(settings.client)
        chain = None if pair is None else chain_of(settings.client, pair)
    except ConfigError:
        return  # it cannot be read at all, which is told of the file
    for host in hosts:
        if chain is None:
            yield f"client.certificate is not set, so whether it is for {host} can be asked of a proxy only."
        elif not covers(chain[0], host):
            yield f"client.certificate {settings.client.certificate} is not for {host}."


def certificate_told(settings: Settings) -> str | None:
    """Return for whom and until when the listener's certificate is; None without one that can be read."""
    try:
        pair = read_pair(settings.client)
        return None if pair is None else told(chain_of(settings.client, pair))
    except ConfigError:
        return None


async def reached(settings: Settings, clock: Clock) -> list[str]:
    """Try Redis and the sites; tells those that answer and what to think of, returns a sentence per fault."""
    bus = await bus_found(settings.bus, clock)
    for answer in bus.told:
        sys.stdout.write(f"# {answer}\n")
    for advice in bus.advices:
        sys.stderr.write(f"advice: {advice}\n")
    return [*bus.faults, *await sites(settings, clock)]


async def sites(settings: Settings, clock: Clock) -> list[str]:
    """Ask each site which server it is; tells those that answer, returns a sentence per one that does not."""
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(ask(place, site, clock)) for place, site in enumerate(settings.sites)]
    answers = [task.result() for task in asked]
    for answer in answers:
        if answer.told is not None:
            sys.stdout.write(f"# {answer.told}\n")
        if answer.advice is not None:
            sys.stderr.write(f"advice: {answer.advice}\n")
    return [answer.fault for answer in answers if answer.fault is not None]


def advices(settings: Settings, wall_ms: int) -> Iterator[str]:
    """Yield what is allowed and yet worth a thought."""
    if settings.secrets is None:
        yield "[secrets] is not set: sessions end with the process; make them with `oscc-gateway keys`."
    if settings.client.insecure:
        yield "client.insecure is true: passwords travel readable."
    if settings.admin.token is None:
        yield "admin.token is not set: the admin listener stays closed."
    if not (settings.privacy.contact or settings.privacy.statement_url or settings.notices.files):
        yield (
            "privacy.contact, privacy.statement_url and notices.files are empty: nobody is told what is done "
            "with his data, nor whom to ask."
        )
    yield from (flaw.text for flaw in certificate_flaws(settings, wall_ms) if not flaw.is_fault)
