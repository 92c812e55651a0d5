"""Entry point of ``oscc-gateway``: the command line, its exit codes, and the command ``serve``.

Exit codes: 0 done, 1 something failed or a check found a fault, 2 the command line or the configuration
cannot be used. Reasons go to standard error, one sentence each.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Final, NamedTuple

import gateway
from gateway.app import process, wiring
from gateway.app.adapters import node_id
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import SecretsSection, Settings
from gateway.app.config.sources import generate_secrets, load
from gateway.app.logging import Log, configure, flush_suppressed
from gateway.app.process import (
    CommandFailed,
    StopRequest,
    SystemdNotifier,
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


# ---- what commands have in common ----


PROGRAM: Final = "oscc-gateway"


class CliCommand(NamedTuple):
    """One command. *run* returns the exit code."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    examples: str


def advise(advices: Iterable[str]) -> None:
    """Print advice, a line each."""
    sys.stderr.writelines(f"advice: {advice}\n" for advice in advices)


def report_faults(faults: Sequence[str]) -> int:
    """Print the faults that a check has found, a line each; return its exit code."""
    sys.stderr.writelines(f"fault: {fault}\n" for fault in faults)
    return 1 if faults else 0


def program_name() -> str:
    """Return how to call this program: its name where the shell finds it, else its path."""
    own = Path(sys.argv[0])
    if shutil.which(PROGRAM) is not None or own.name != PROGRAM:
        return PROGRAM
    path = os.path.relpath(own)
    if path.startswith(".."):
        return str(own.absolute())
    return path if os.sep in path else f"./{path}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return *rows* below their *headings*, a line each, without control characters."""
    lines = [headings, *([_shown(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "".join(f"{'  '.join(map(str.ljust, line, widths)).rstrip()}\n" for line in lines)


def _shown(cell: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in cell)


def within(kind: Callable[[str], float], least: float, most: float, shown: str) -> Callable[[str], float]:
    """Return a reader of an option's number, from *least* to *most*; *shown* are these bounds in words."""

    def read(text: str) -> float:
        number = math.nan
        with suppress(ValueError):
            number = kind(text)
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"must be {shown}")
        return number

    return read


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``; without it all settings come from the environment."""
    parser.add_argument(
        "--config",
        "-c",
        type=Path,
        metavar="FILE",
        help="the TOML file; OSCC_GATEWAY__SECTION__KEY variables override it",
    )


# ---- serve ----


UNCONFIRMED: Final = 3
"""Exit code: the node has ended in order, but no node retries some log-offs."""
_UNCONFIRMED_TEXT: Final = (
    "The contact centre has not confirmed {count} log-off(s), and no other node will repeat it. "
    "Calls may reach the remote numbers of those users until their sessions end at the idle timeout."
)
_LOG: Final = logging.getLogger("gateway.app")


def run_serve(args: argparse.Namespace) -> int:
    """Run a node until SIGTERM or SIGINT. Returns the exit code.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    process.keep_standard_descriptors()
    settings = load(args.config, os.environ).settings
    secrets = settings.secrets or generate_secrets()
    log, holder = configure(settings.log.level, secrets.pseudonym_key), token_hex(8)
    named = {"node": node_id(settings, socket.gethostname(), holder)}
    log.writer.context = lambda: named  # until the node adds its traces
    if settings.secrets is None:
        _LOG.warning("secrets_generated")
    files, needed = process.raise_file_limit(), process.files_needed(settings.limits.connections)
    if files < needed:
        _LOG.warning("file_limit_low", extra={"files": files, "needed": needed})
    disable_core_dumps()
    try:
        process.run_loop(
            _serve(settings, secrets, lambda: load(args.config, os.environ).settings.secrets, log, holder)
        )
    except LogOffsLost as lost:
        sys.stderr.write(f"oscc-gateway: {_UNCONFIRMED_TEXT.format(count=lost.count)}\n")
        return UNCONFIRMED
    except (CommandFailed, ConfigError):
        raise
    except Exception:  # noqa: BLE001 - the last line: a trace may hold secrets, the log shows type and place
        _LOG.exception("node_failed")
        return 1
    _LOG.info("stopped")
    return 0


async def _serve(
    settings: Settings, secrets: SecretsSection, reread: ReadSecrets, log: Log, holder: str
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


SERVE: Final = CliCommand(
    "run one node until SIGTERM or Ctrl-C, then send its phones to other nodes",
    add_config,
    run_serve,
    "oscc-gateway serve --config gateway.toml\n"
    "  OSCC_GATEWAY__LOG__LEVEL=debug oscc-gateway serve --config gateway.toml",
)
_SIMULATED: Final = {"demo": "demo", "demo-cluster": "demo_cluster", "simulate": "demo"}
"""The commands that need the simulator, which the image of a gateway does not contain."""
_MODULES: Final = {
    **(_SIMULATED if find_spec("gateway.simulator") is not None else {}),
    "watch": "watch",
    "check-config": "check",
    "doctor": "doctor",
    "size": "doctor",
    "nodes": "admin",
    "keys": "check",
    "person": "check",
    "sessions": "admin",
    "end-session": "admin",
    "end-user": "admin",
    "export": "admin",
    "drain": "admin",
    "closes": "admin",
    "log-level": "admin",
    "reload": "admin",
    "support-bundle": "admin",
}
"""The module of each command but ``serve``: a node does not load them."""
COMMANDS: Final = ("serve", *_MODULES)


def command_named(name: str) -> CliCommand:
    """Return one of :data:`COMMANDS`."""
    if name == "serve":
        return SERVE
    found: CliCommand = import_module(f"{__name__}.{_MODULES[name]}").COMMANDS[name]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command of the command line. Returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    args = parser(*words[:1]).parse_args(words)
    command: CliCommand = args.command
    try:
        code = command.run(args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has gone, as `head` does after its lines
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except CommandFailed as failed:
        print(f"oscc-gateway: {failed}", file=sys.stderr)
        return 1
    except ConfigError as error:
        for fault in error.faults:
            print(f"oscc-gateway: {fault}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:  # commands that run until Ctrl-C handle the signal themselves, and end in order
        return INTERRUPTED
    return code


def parser(name: str = "") -> argparse.ArgumentParser:
    """Return the parser of the command line; its result has the :class:`CliCommand` as ``command``.

    *name*: The only command to parse; any other text: all commands.
    """
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="oscc-gateway", description=_ABOUT, epilog=_EXAMPLES, formatter_class=raw, allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"oscc-gateway {gateway.__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for each in [name] if name in COMMANDS else COMMANDS:
        command = command_named(each)
        added = commands.add_parser(
            each,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            epilog=f"examples:\n  {command.examples}",
            formatter_class=raw,
            allow_abbrev=False,
        )
        command.add_arguments(added)
        added.set_defaults(command=command)
    return top
