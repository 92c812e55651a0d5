"""``demo --asterisk``: both apps over an Asterisk, a small simulated one or a real one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from pydantic import SecretStr

from gateway.app import wiring
from gateway.app.config_faults import ConfigError
from gateway.app.config_sections import Admin, Asterisk, Client, Ops, Secrets, Settings, Site
from gateway.app.living import alive
from gateway.app.stopping import Stopping
from gateway.app.watch import watch
from gateway.app.watch_options import Options
from gateway.runtime.clock import SystemClock
from gateway.simulator.ami import FakeAsterisk
from gateway.simulator.ami_day import Day
from gateway.simulator.clock import RealClock
from gateway.upstream.asterisk.people import hash_password

SITE: Final = "demo"
PASSWORD: Final = "demo"  # noqa: S105 - of a demonstration that listens on this machine only
SECRET_VARIABLE: Final = "OSCC_GATEWAY_AMI_SECRET"  # noqa: S105 - the name of a variable
_PEOPLE: Final = 12

_INTRODUCTION: Final = """\
{what}
A gateway to it (no TLS):   {client}
Its metrics:                {ops}/metrics

In a browser:               {client}/app/
{people}
Ctrl-C ends it.
"""
_SIMULATED: Final = """\
Log on with password demo:
  Dashboard         boss (sees everything)
  Remote Assistant  remote1 … remote{people}, remote number e.g. +49 30 1234567
"""


class DemoSite(NamedTuple):
    """An Asterisk, and what is said of it."""

    url: str
    settings: Asterisk
    what: str
    people: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this demonstration."""
    parser.add_argument(
        "--asterisk",
        nargs="?",
        const="",
        metavar="URL",
        help="over an Asterisk instead of an OSCC-E Server: a small simulated one, or ami://host:5038; "
        f"then with --people and the secret in {SECRET_VARIABLE}",
    )
    parser.add_argument("--people", type=Path, metavar="FILE", help="who may log on at a real Asterisk")
    parser.add_argument("--ami-user", default="oscc-gateway", metavar="NAME", help="default oscc-gateway")


async def run(args: argparse.Namespace, secrets: Secrets) -> int:
    """Run the demo until SIGTERM, SIGINT or the time is over. Returns the exit code.

    Raises:
        ConfigError: A real Asterisk is named without its people or secret.
    """
    stopping, clock = Stopping(), SystemClock()
    with stopping.on_signals():
        async with AsyncExitStack() as stack:
            place = real(args) if args.asterisk else await stack.enter_async_context(_simulated(args))
            settings = _settings(place, args.port)
            addresses = await stack.enter_async_context(wiring.serving(settings, secrets, clock, stopping))
            told = _INTRODUCTION.format(
                what=place.what, client=addresses.client, ops=addresses.ops, people=place.people
            )
            sys.stdout.write(told)
            sys.stdout.flush()
            if args.no_board or args.asterisk:
                await stopping.wait(clock, args.for_s)
                return 0
            options = Options(
                addresses.client,
                "boss",
                PASSWORD,
                site=SITE,
                for_s=args.for_s,
                refresh_s=1.0 if sys.stdout.isatty() else 5.0,
                lines=args.lines,
                footer=f"gateway {addresses.client} · password {PASSWORD} · Ctrl-C ends it",
            )
            code = await watch(options, stopping=stopping)
            return 0 if stopping.asked.is_set() else code


def real(args: argparse.Namespace) -> DemoSite:
    """Return the real Asterisk that the command line names.

    Raises:
        ConfigError: Its people or its secret are missing.
    """
    secret = os.environ.get(SECRET_VARIABLE, "")
    faults = []
    if args.people is None:
        faults.append("--asterisk URL needs --people FILE: who may log on.")
    if not secret:
        faults.append(f"--asterisk URL needs the AMI account's secret in {SECRET_VARIABLE}.")
    if faults:
        raise ConfigError(faults)
    settings = Asterisk(user=args.ami_user, secret=SecretStr(secret), people_file=args.people)
    return DemoSite(args.asterisk, settings, f"The Asterisk at {args.asterisk}", "")


@asynccontextmanager
async def _simulated(args: argparse.Namespace) -> AsyncIterator[DemoSite]:
    """Run a small Asterisk with people, callers and agents."""
    clock = RealClock()
    asterisk = FakeAsterisk(lambda: clock.now_ms() / 1000)
    day = Day(asterisk, clock)
    queues = min(args.queues, 5)
    day.furnish(agents=min(args.agents, 40), queues=queues)
    await asterisk.start()
    names = list(asterisk.queues)
    with TemporaryDirectory() as folder:
        people = Path(folder) / "people.toml"
        people.write_text(_people(names), "utf-8")
        settings = Asterisk(
            user="oscc",
            secret=SecretStr("secret"),
            people_file=people,
            unavailable_reasons=("Lunch", "Meeting", "Training"),
            work_reasons=("Paperwork",),
            wrap_up_s=dict.fromkeys(names, 10),
        )
        what = f"A simulated Asterisk:       {len(names)} queues, ami://127.0.0.1:{asterisk.port}"
        url = f"ami://127.0.0.1:{asterisk.port}"
        async with alive(day.run()):
            yield DemoSite(url, settings, what, _SIMULATED.format(people=_PEOPLE))
    await asterisk.stop()


def _people(queues: list[str]) -> str:
    hashed = hash_password(PASSWORD, bytes(16))
    entries = [
        (
            f'[[people]]\nlogin = "boss"\nname = "Bea Boss"\npassword = "{hashed}"\n'
            'supervisor = true\nsees = ["*"]\n'
        )
    ]
    for place in range(1, _PEOPLE + 1):
        own = ", ".join(f'"{name}"' for name in dict.fromkeys((queues[place % len(queues)], queues[0])))
        entries.append(
            f'[[people]]\nlogin = "remote{place}"\nname = "Remote Agent {place}"\npassword = "{hashed}"\n'
            f"agent = true\nqueues = [{own}]\n"
        )
    return "\n".join(entries)


def _settings(place: DemoSite, port: int) -> Settings:
    site = Site(
        id=SITE,
        url=place.url,
        display_name="Asterisk",
        country="DE",
        asterisk=place.settings,
        insecure=True,
    )
    return Settings(
        client=Client(port=port, insecure=True), ops=Ops(port=0), admin=Admin(port=0), sites=(site,)
    )
