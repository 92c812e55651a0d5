"""How does one make and rotate the secrets? The command ``keys``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gateway.app.config import load
from gateway.app.config_faults import ConfigError
from gateway.app.keys import new_sealing_key, new_secret_key, newest_first, write_block, write_lines

_NEW = "# Made by `oscc-gateway keys`. All nodes need the same. Keep it as you keep passwords.\n"
_ROTATED = """\
# The first key seals, all open. With several nodes, first give them the new key at the end of the list,
# and when all have it, at its head. `oscc-gateway reload`, or SIGHUP, puts each step in force; nobody is
# logged out. Phones get fresh tokens at once, those that are away when they come: take an old key out
# when the last session that it sealed has ended. Where the keys are a file of their own, `--lines add` and
# `--lines lead` print what it has to hold at the two steps.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--rotate",
        type=Path,
        metavar="FILE",
        help="print the [secrets] of this configuration with a new sealing key in front",
    )
    parser.add_argument(
        "--lines",
        choices=("add", "lead"),
        help="with --rotate, print the lines of the file sealing_keys instead: first `add`, with a new key "
        "at the end; when all nodes have that, `lead`, with the newest key at the head. Write them to "
        "another file and rename it: `>` empties the file itself before it is read",
    )


def run(args: argparse.Namespace) -> int:
    """Print a ``[secrets]`` table, or the lines of a file of keys. Returns the exit code.

    Raises:
        ConfigError: The configuration to rotate cannot be used, or none is named.
    """
    if args.rotate is None:
        if args.lines is not None:
            raise ConfigError(["--lines needs --rotate FILE: the lines are those of its keys."])
        sys.stdout.write(_NEW + write_block([new_sealing_key()], new_secret_key()))
        return 0
    secrets = load(args.rotate, os.environ).settings.secrets
    if secrets is None:
        sys.stderr.write(
            f"oscc-gateway: {args.rotate} has no [secrets]: make them with `oscc-gateway keys`.\n"
        )
        return 1
    present = secrets.sealing_keys
    if args.lines is not None:
        lines = newest_first(present) if args.lines == "lead" else [*present, new_sealing_key(present)]
        sys.stdout.write(write_lines(lines))
        return 0
    sys.stdout.write(_ROTATED + write_block([new_sealing_key(present), *present], secrets.pseudonym_key))
    return 0
