"""Entry point of ``oscc-gateway``: the command line, its exit codes, and the command ``serve``.

Exit codes: 0 done, 1 something failed or a check found a fault, 2 the command line or the configuration
cannot be used. Reasons go to standard error, one sentence each.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from secrets import token_hex
from typing import Final

import structlog

import gateway
from gateway.app import logging, process, wiring
from gateway.app.adapters import node_id
from gateway.app.cli import admin, check, doctor, watch
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import SecretsSection, Settings
from gateway.app.config.sources import generate_secrets, load
from gateway.app.logging import flush_suppressed
from gateway.app.process import (
    CannotListen,
    CliCommand,
    StopRequest,
    SystemdNotifier,
    add_config,
    background_tasks,
    disable_core_dumps,
)
from gateway.app.reload import ReadSecrets
from gateway.app.wiring import LogOffsLost
from gateway.runtime.event_loop import SystemClock

UNUSABLE: Final = 2
INTERRUPTED: Final = 130
"""As in shells: 128 and the number of SIGINT."""
BROKEN_PIPE: Final = 141
"""The same with SIGPIPE."""

_ABOUT: Final = "Realtime gateway between a contact centre and thin mobile clients."
_EXAMPLES: Final = """\
examples:
  oscc-gateway demo                                  show a simulated contact centre live
  oscc-gateway keys >> gateway.toml                  create the secrets
  oscc-gateway check-config --config gateway.toml    check the settings and the sites
  oscc-gateway serve --config gateway.toml           run a node; Ctrl-C or SIGTERM ends it

`oscc-gateway COMMAND --help` explains a command.
"""


# ---- serve ----


UNCONFIRMED: Final = 3
"""Exit code: the node has ended in order, but no node retries some log-offs."""
_UNCONFIRMED_TEXT: Final = (
    "The contact centre has not confirmed {count} log-off(s), and no other node will repeat it. "
    "Calls may reach the remote numbers of those users until their sessions end at the idle timeout."
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
    process.keep_standard_descriptors()
    settings = load(args.config, os.environ).settings
    secrets = settings.secrets or generate_secrets()
    log, holder = logging.configure(settings.log.level, secrets.pseudonym_key), token_hex(8)
    named = {"node": node_id(settings, socket.gethostname(), holder)}
    log.writer.context = lambda: named  # until the node adds its traces
    if settings.secrets is None:
        _LOG.warning("secrets_generated")
    files, needed = process.raise_file_limit(), process.files_needed(settings.limits.connections)
    if files < needed:
        _LOG.warning("file_limit_low", files=files, needed=needed)
    disable_core_dumps()
    try:
        process.run_loop(
            _serve(settings, secrets, lambda: load(args.config, os.environ).settings.secrets, log, holder)
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


async def _serve(
    settings: Settings, secrets: SecretsSection, reread: ReadSecrets, log: logging.Log, holder: str
) -> None:
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
                holder=holder,
            ),
        ):
            supervisor.ready()
            await stopping.wait(clock)
            supervisor.stopping()


# ---- the command line ----


def _simulated() -> Mapping[str, CliCommand]:
    """Return the commands that need the simulator, which the image of a gateway does not contain."""
    if find_spec("gateway.simulator") is None:
        return {}
    from gateway.app.cli import demo, demo_cluster  # noqa: PLC0415 - the image has neither of them

    found = demo.COMMANDS | demo_cluster.COMMANDS
    return {name: found[name] for name in ("demo", "demo-cluster", "simulate")}


COMMANDS: Final = {
    "serve": CliCommand(
        "run one node until SIGTERM or Ctrl-C, then send its phones to other nodes",
        add_serve_arguments,
        run_serve,
        "oscc-gateway serve --config gateway.toml\n"
        "  OSCC_GATEWAY__LOG__LEVEL=debug oscc-gateway serve --config gateway.toml",
    ),
    **_simulated(),
    "watch": CliCommand(
        "log on as a supervisor and show a live board in this terminal",
        watch.add_watch_arguments,
        watch.run_watch,
        "oscc-gateway watch https://gateway.example --user anna\n"
        "  OSCC_GATEWAY_WATCH_PASSWORD=… oscc-gateway watch https://gateway.example --user anna --once",
    ),
    "check-config": CliCommand(
        "show the effective settings without their secrets, and test the files and servers that they name",
        check.add_check_arguments,
        check.run_check,
        "oscc-gateway check-config --config gateway.toml\n"
        "  oscc-gateway check-config --schema > gateway.schema.json",
    ),
    "doctor": CliCommand(
        "check this machine for a node: file limit, kernel queues, clock, Redis, proxy",
        doctor.add_doctor_arguments,
        doctor.run_doctor,
        "oscc-gateway doctor --config gateway.toml",
    ),
    "size": CliCommand(
        "compute how many nodes a number of phones needs, and which limits to set",
        doctor.add_size_arguments,
        doctor.run_size,
        "oscc-gateway size --phones 50000\n"
        "  oscc-gateway size --phones 12000 --users 4000 --dashboards 300 --tls",
    ),
    "nodes": CliCommand(
        "list the live nodes of a gateway",
        admin.add_nodes_arguments,
        admin.run_nodes,
        "oscc-gateway nodes --config gateway.toml\n  oscc-gateway nodes --config gateway.toml --json",
    ),
    "keys": CliCommand(
        "create the secrets of a gateway, or rotate its sealing key",
        check.add_keys_arguments,
        check.run_keys,
        "oscc-gateway keys >> gateway.toml\n  oscc-gateway keys --rotate gateway.toml",
    ),
    "person": CliCommand(
        "create an entry for the people file of an Asterisk site",
        check.add_person_arguments,
        check.run_person,
        "oscc-gateway person ana --name Ana --agent --queue sales >> people.toml\n"
        "  oscc-gateway person bea --name Bea --supervisor --sees '*' >> people.toml",
    ),
    **admin.ADMIN_COMMANDS,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command of the command line. Returns the exit code."""
    args = parser().parse_args(arguments)
    command: CliCommand = args.command
    try:
        code = command.run(args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has gone, as `head` does after its lines
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except ConfigError as error:
        for fault in error.faults:
            print(f"oscc-gateway: {fault}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:  # commands that run until Ctrl-C handle the signal themselves, and end in order
        return INTERRUPTED
    return code


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; its result has the :class:`CliCommand` as ``command``."""
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="oscc-gateway", description=_ABOUT, epilog=_EXAMPLES, formatter_class=raw, allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"oscc-gateway {gateway.__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        added = commands.add_parser(
            name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            epilog=f"examples:\n  {command.examples}",
            formatter_class=raw,
            allow_abbrev=False,
        )
        command.add_arguments(added)
        added.set_defaults(command=command)
    return top
