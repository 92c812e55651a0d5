"""How does one run a simulated OSCC-E Server? The command ``simulate``."""

from __future__ import annotations

import argparse
import sys

from gateway.app import loop
from gateway.app.listener import why
from gateway.app.stopping import Stopping
from gateway.simulator import Simulator, SimulatorSettings
from gateway.simulator.options import add_arguments, settings_from
from gateway.simulator.server import introduction

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Be an OSCC-E Server until SIGTERM or SIGINT. Returns the exit code."""
    try:
        settings = settings_from(args)
    except ValueError as error:
        sys.stderr.write(f"oscc-gateway: {error}\n")
        return 2
    loop.raise_file_limit()
    reasons: list[str] = []
    try:
        loop.run(_simulate(settings))
    except* OSError as taken:
        reasons = [why(error) for error in taken.exceptions if isinstance(error, OSError)]
    for reason in reasons:
        sys.stderr.write(f"oscc-gateway: The simulator cannot have {args.host} port {args.port}: {reason}.\n")
    return 1 if reasons else 0


async def _simulate(settings: SimulatorSettings) -> None:
    stopping = Stopping()
    with stopping.on_signals():
        async with Simulator(settings) as simulator:
            sys.stdout.write(introduction(simulator))
            sys.stdout.flush()
            await stopping.asked.wait()
