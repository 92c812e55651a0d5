"""How does one make and rotate the secrets? The command ``keys``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gateway.app.config import load
from gateway.app.keys import new_sealing_key, new_secret_key, write_block

_NEW = "# Made by `oscc-gateway keys`. All nodes need the same. Keep it as you keep passwords.\n"
_ROTATED = """\
# The first key seals, all open. With several nodes, first give them the new key at the end of the list,
# and when all have it, at its head. `oscc-gateway reload`, or SIGHUP, puts each step in force; nobody is
# logged out. Phones get fresh tokens at once, those that are away when they come: take an old key out
# when the last session that it sealed has ended.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--rotate",
        type=Path,
        metavar="FILE",
        help="print the [secrets] of this configuration with a new sealing key in front",
    )


def run(args: argparse.Namespace) -> int:
    """Print a ``[secrets]`` table. Returns the exit code.

    Raises:
        ConfigError: The configuration to rotate cannot be used.
    """
    if args.rotate is None:
        sys.stdout.write(_NEW + write_block([new_sealing_key()], new_secret_key()))
        return 0
    secrets = load(args.rotate, os.environ).settings.secrets
    if secrets is None:
        sys.stderr.write(
            f"oscc-gateway: {args.rotate} has no [secrets]: make them with `oscc-gateway keys`.\n"
        )
        return 1
    present = secrets.sealing_keys
    sys.stdout.write(_ROTATED + write_block([new_sealing_key(present), *present], secrets.pseudonym_key))
    return 0
