"""How does an operator see a support bundle before it is written? The command ``support-bundle``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from typing import Final

from gateway.app.admin_asking import NotDone, ask
from gateway.app.cli_command import Command
from gateway.app.cli_options import add_config
from gateway.app.config import load
from gateway.app.config_sections import Admin

_PATH: Final = "/support-bundle"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_config(parser)
    parser.add_argument("--purpose", metavar="TEXT", help="what it is for; stands in the bundle")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write what was shown to admin.bundle_folder without asking; otherwise it is asked, "
        "and without a terminal it is shown only",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON alone, with the file's path at the end"
    )


def run(args: argparse.Namespace) -> int:
    """Print the bundle, and write it when that is wanted. Returns 0, or 1 when it was not done.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    admin = load(args.config, os.environ).settings.admin
    try:
        asyncio.run(_bundle(admin, args))
    except NotDone as why:
        sys.stderr.write(f"oscc-gateway: {why}\n")
        return 1
    return 0


async def _bundle(admin: Admin, args: argparse.Namespace) -> None:
    wish = {"preview": True} | ({} if args.purpose is None else {"purpose": args.purpose})
    shown = await ask(admin, "POST", _PATH, body=wish)
    sys.stdout.write(json.dumps(shown["bundle"], indent=1, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    if not args.write and not (sys.stdin.isatty() and not args.json and _is_wanted(shown["size_bytes"])):
        return
    written = await ask(admin, "POST", _PATH, body={"digest": shown["digest"]})
    told = json.dumps({"path": written["path"]}) if args.json else f"Written to {written['path']}"
    sys.stdout.write(f"{told}\n")


def _is_wanted(size_bytes: int) -> bool:
    sys.stderr.write(f"This would be written, {size_bytes} bytes. Write it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


COMMAND: Final = Command(
    "show a support bundle, and write it to the configured folder if told so; it is never sent",
    add_arguments,
    run,
    "oscc-gateway support-bundle --config gateway.toml --purpose case-4711\n"
    "  oscc-gateway support-bundle --config gateway.toml --write",
)
