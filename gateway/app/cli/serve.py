"""Command ``serve``: run a node."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Final

import structlog

from gateway.app import logging, process, wiring
from gateway.app.cli.command import add_config
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import SecretsSection, Settings
from gateway.app.config.sources import generate_secrets, load
from gateway.app.listeners import CannotListen
from gateway.app.logging import flush_suppressed
from gateway.app.process import (
    StopRequest,
    SystemClock,
    SystemdNotifier,
    background_tasks,
    disable_core_dumps,
)
from gateway.app.reload import ReadSecrets
from gateway.app.wiring import LogOffsLost

UNCONFIRMED: Final = 3
"""Exit code: the node has ended in order, but no node retries some log-offs."""
_UNCONFIRMED_TEXT: Final = (
    "The contact centre has not confirmed {count} log-off(s), and no other node will ask it again. "
    "Calls may reach the remote numbers of those people until their sessions end by themselves."
)
_LOG: Final = structlog.get_logger("gateway.app")


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_config(parser)


def run_serve(args: argparse.Namespace) -> int:
    """Run a node until SIGTERM or SIGINT. Returns the exit code.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    settings = load(args.config, os.environ).settings
    secrets = settings.secrets or generate_secrets()
    log = logging.configure(settings.log.level, secrets.pseudonym_key)
    if settings.secrets is None:
        _LOG.warning("secrets_generated")
    process.raise_file_limit()
    disable_core_dumps()
    try:
        process.run_loop(
            _serve(settings, secrets, lambda: load(args.config, os.environ).settings.secrets, log)
        )
    except CannotListen as taken:
        sys.stderr.write(f"oscc-gateway: {taken}\n")
        return 1
    except LogOffsLost as lost:
        sys.stderr.write(f"oscc-gateway: {_UNCONFIRMED_TEXT.format(count=lost.count)}\n")
        return UNCONFIRMED
    except ConfigError:
        raise
    except Exception:  # noqa: BLE001 - the last line: a trace may hold secrets, the log shows type and place
        _LOG.exception("node_failed")
        return 1
    _LOG.info("stopped")
    return 0


async def _serve(settings: Settings, secrets: SecretsSection, reread: ReadSecrets, log: logging.Log) -> None:
    stopping, clock = StopRequest(), SystemClock()
    supervisor = SystemdNotifier(os.environ, os.getpid(), clock)
    with stopping.on_signals():
        async with (
            background_tasks(supervisor.run(), flush_suppressed(log.flood, clock)),
            wiring.serving(
                settings,
                secrets,
                clock,
                stopping,
                supervisor,
                reread=reread if settings.secrets is not None else None,
                log=log.writer,
            ),
        ):
            supervisor.ready()
            await stopping.wait(clock)
            supervisor.stopping()
