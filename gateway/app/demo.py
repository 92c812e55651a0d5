"""What is there to see? The command ``demo``: a simulated contact centre, a gateway, a live board."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from gateway.app import demo_asterisk, logging, loop, wiring
from gateway.app.config import own_secrets
from gateway.app.config_sections import Admin, Client, Ops, Secrets, Settings, Site
from gateway.app.draining import LogOffsLost
from gateway.app.listener import CannotListen
from gateway.app.stopping import Stopping
from gateway.app.watch import watch
from gateway.app.watch_options import Options, Refusal, add_lines
from gateway.runtime.clock import SystemClock
from gateway.simulator import Simulator, SimulatorSettings

SITE: Final = "demo"
BOARD_USER: Final = "supervisor1"
PLAIN_REFRESH_S: Final = 5.0
"""How often a board is printed where it cannot be drawn in place."""

_INTRODUCTION: Final = """\
A simulated contact centre: {agents} agents, {queues} queues, {upstream}
A gateway to it (no TLS):   {client}
Its metrics:                {ops}/metrics

In a browser:               {client}/app/
Log on with password {password}:
  Dashboard         {board_user} (sees everything) or supervisor2 … supervisor{users}
  Remote Assistant  agent1 … agent{agents}, remote number e.g. +49 30 1234567

In another terminal:
  OSCC_GATEWAY_WATCH_PASSWORD={password} \\
    oscc-gateway watch {client} --user supervisor2
  curl {client}/v1/about
  curl {client}/v1/sessions -H 'Content-Type: application/json' \\
    -d '{{"site": "{site}", "application": "remote_assistant",
    "user_name": "agent1", "password": "{password}", "remote_number": "+49301234567",
    "device": {{"id": "d1", "name": "curl", "platform": "desktop",
    "app_version": "1"}}}}'

Ctrl-C ends it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_demonstration(parser, "the gateway")
    demo_asterisk.add_arguments(parser)


def add_demonstration(parser: argparse.ArgumentParser, door: str) -> None:
    """Add the options of every demonstration; *door* is what people connect to."""
    parser.add_argument("--port", type=int, default=8080, help=f"of {door} (8080); 0: any free one")
    parser.add_argument("--agents", type=int, default=200, metavar="N", help="default 200")
    parser.add_argument("--queues", type=int, default=20, metavar="N", help="default 20")
    add_lines(parser)
    parser.add_argument("--no-board", action="store_true", help="show no board, only run")
    parser.add_argument("--for", dest="for_s", type=float, metavar="S", help="end after S seconds")


def run(args: argparse.Namespace) -> int:
    """Run the demo until SIGTERM, SIGINT or the time is over. Returns the exit code."""
    try:
        center = SimulatorSettings(agents=args.agents, queues=args.queues)
    except ValueError as error:
        sys.stderr.write(f"oscc-gateway: {error}\n")
        return 2
    secrets = own_secrets()
    logging.configure("error", secrets.pseudonym_key, sys.stderr)
    loop.raise_file_limit()
    is_asterisk = args.asterisk is not None
    try:
        return loop.run(demo_asterisk.run(args, secrets) if is_asterisk else _demo(center, secrets, args))
    except LogOffsLost:
        return 0  # the contact centre ends, too
    except (CannotListen, Refusal) as refused:
        sys.stderr.write(f"oscc-gateway: {refused}\n")
        return 1


async def _demo(center: SimulatorSettings, secrets: Secrets, args: argparse.Namespace) -> int:
    stopping, clock = Stopping(), SystemClock()
    with stopping.on_signals():
        async with Simulator(center) as simulator:
            settings = demo_settings(simulator.url, args.port)
            async with wiring.serving(settings, secrets, clock, stopping) as addresses:
                sys.stdout.write(f"{introduction(center, simulator.url, addresses)}\n")
                sys.stdout.flush()
                if args.no_board:
                    await stopping.wait(clock, args.for_s)
                    return 0
                options = board_options(center, addresses, args.for_s, args.lines)
                code = await watch(options, stopping=stopping)
                return 0 if stopping.asked.is_set() else code


def demo_settings(upstream: str, port: int) -> Settings:
    """Return the gateway's settings: this machine only, clear text, one site."""
    return Settings(
        client=Client(port=port, insecure=True),
        ops=Ops(port=0),
        admin=Admin(port=0),
        sites=(Site(id=SITE, url=upstream, display_name="Demo", country="DE"),),
    )


def board_options(
    center: SimulatorSettings, addresses: wiring.Addresses, for_s: float | None, lines: int | None = None
) -> Options:
    """Return whose board is shown: that of the supervisor who sees everything."""
    return Options(
        addresses.client,
        BOARD_USER,
        center.password,
        site=SITE,
        for_s=for_s,
        refresh_s=1.0 if sys.stdout.isatty() else PLAIN_REFRESH_S,
        lines=lines,
        footer=f"gateway {addresses.client} · password {center.password} · Ctrl-C ends it",
    )


def introduction(center: SimulatorSettings, upstream: str, addresses: wiring.Addresses) -> str:
    """Return what a person who starts it wants to know."""
    return _INTRODUCTION.format(
        agents=center.agents,
        queues=center.queues,
        users=center.users,
        password=center.password,
        upstream=upstream,
        client=addresses.client,
        ops=addresses.ops,
        board_user=BOARD_USER,
        site=SITE,
    )
