"""``python -m gateway.simulator``: an OSCC-E Server on its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from gateway.simulator.server import run
from gateway.simulator.settings import add_arguments, settings_from


def main() -> None:
    """Parse the options and run until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m gateway.simulator", description=__doc__)
    add_arguments(parser)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(settings_from(parser.parse_args())))


if __name__ == "__main__":
    main()
