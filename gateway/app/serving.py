"""How does one run a node? The command ``serve``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Final

import structlog

from gateway.app import logging, loop, wiring
from gateway.app.cli_options import add_config
from gateway.app.config import load, own_secrets
from gateway.app.config_faults import ConfigError
from gateway.app.config_sections import Secrets, Settings
from gateway.app.draining import LogOffsLost
from gateway.app.flood import FloodControl, settling
from gateway.app.keys_watch import Reread
from gateway.app.listener import CannotListen
from gateway.app.living import alive
from gateway.app.stopping import Stopping
from gateway.app.systemd import Supervisor
from gateway.app.undumped import keep_memory
from gateway.runtime.clock import SystemClock

UNCONFIRMED: Final = 3
"""Exit code: the node has ended in order, but nobody retries some log-offs."""
_UNCONFIRMED: Final = (
    "The OSCC-E Server has not confirmed {count} log-off(s), and no other node will ask it again. "
    "Calls may reach the remote numbers of those people until their sessions end by themselves."
)
_LOG: Final = structlog.get_logger("gateway.app")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Run a node until SIGTERM or SIGINT. Returns the exit code.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    settings = load(args.config, os.environ).settings
    secrets = settings.secrets or own_secrets()
    flood = logging.configure(settings.log.level, secrets.pseudonym_key)
    if settings.secrets is None:
        _LOG.warning("made its own secrets, sessions end with this process: none are configured")
    loop.raise_file_limit()
    keep_memory()
    try:
        loop.run(_serve(settings, secrets, lambda: load(args.config, os.environ).settings.secrets, flood))
    except CannotListen as taken:
        sys.stderr.write(f"oscc-gateway: {taken}\n")
        return 1
    except LogOffsLost as lost:
        sys.stderr.write(f"oscc-gateway: {_UNCONFIRMED.format(count=lost.count)}\n")
        return UNCONFIRMED
    except ConfigError:
        raise
    except Exception:  # noqa: BLE001 - the last line: a trace may hold secrets, the log shows type and place
        _LOG.exception("the node failed")
        return 1
    _LOG.info("has ended")
    return 0


async def _serve(settings: Settings, secrets: Secrets, reread: Reread, flood: FloodControl) -> None:
    stopping, clock = Stopping(), SystemClock()
    supervisor = Supervisor(os.environ, os.getpid(), clock)
    with stopping.on_signals():
        async with (
            alive(supervisor.run(), settling(flood, clock)),
            wiring.serving(
                settings,
                secrets,
                clock,
                stopping,
                supervisor,
                reread=reread if settings.secrets is not None else None,
            ),
        ):
            supervisor.ready()
            await stopping.wait(clock)
            supervisor.stopping()
