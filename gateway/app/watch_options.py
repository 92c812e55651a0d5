"""Whose board is shown, how, and for how long?"""

from __future__ import annotations

import argparse
import getpass
import os
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Final

PASSWORD_VARIABLE: Final = "OSCC_GATEWAY_WATCH_PASSWORD"  # noqa: S105 - the name of a variable, not a password
PLAIN_LINES: Final = 40
"""Lines of a frame where no terminal says how many there are."""
_LINES_LEAST: Final = 16
_LINES_MOST: Final = 10_000


@dataclass(frozen=True, slots=True, repr=False)
class Options:
    """Whose board, and for how long. Its repr shows no password.

    *for_s*: None until the end is asked for; 0: one frame, as soon as there is data.
    *lines*: of a frame; None: as many as the terminal has, or :data:`PLAIN_LINES`.
    """

    address: str
    user_name: str
    password: str
    site: str | None = None
    takeover: bool = False
    accept_notices: bool = False
    for_s: float | None = None
    refresh_s: float = 1.0
    lines: int | None = None
    footer: str | Callable[[], str] | None = None
    """What stands below the board, in a line or several; told anew for each frame when it is asked for."""
    trusted: ssl.SSLContext | None = None
    zone: tzinfo | None = None


class Refusal(Exception):  # noqa: N818 - names what happened
    """The board cannot be shown, and a sentence why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("address", metavar="URL", help="the gateway, for example https://gateway.example")
    parser.add_argument("--user", required=True, metavar="NAME", help="the supervisor's user name")
    parser.add_argument("--site", metavar="ID", help="the site; needed when the gateway has several")
    parser.add_argument("--takeover", action="store_true", help="end the session that is open elsewhere")
    parser.add_argument(
        "--accept-notices", action="store_true", help="accept the notices that must be acknowledged"
    )
    span = parser.add_mutually_exclusive_group()
    span.add_argument("--once", action="store_true", help="print one frame and log off")
    span.add_argument("--for", dest="for_s", type=_seconds, metavar="S", help="end after so many seconds")
    parser.add_argument("--refresh", type=_seconds, default=1.0, metavar="S", help="seconds between frames")
    add_lines(parser)
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="trust these authorities instead")


def add_lines(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how tall a board is."""
    told = f"lines of the board; default: the terminal's, {PLAIN_LINES} without one"
    parser.add_argument("--lines", type=_lines, metavar="N", help=told)


def options_from(args: argparse.Namespace) -> Options:
    """Return what the parsed command line means; asks for the password where a person can answer.

    Raises:
        Refusal: There is no password, or a file holds no certificate.
    """
    return Options(
        address=args.address,
        user_name=args.user,
        password=_password(),
        site=args.site,
        takeover=args.takeover,
        accept_notices=args.accept_notices,
        for_s=0.0 if args.once else args.for_s,
        refresh_s=args.refresh,
        lines=args.lines,
        trusted=_trusted(args.ca_file),
    )


def _password() -> str:
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is not None:
        return password
    if not sys.stdin.isatty():
        raise Refusal(f"There is nobody to ask for the password: set {PASSWORD_VARIABLE}.")
    return getpass.getpass()


def _trusted(ca_file: Path | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError):
        raise Refusal(f"{ca_file} holds no certificate that can be read.") from None


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("between 0.1 and 86400 seconds")
    return seconds


def _lines(text: str) -> int:
    lines = int(text)
    if not _LINES_LEAST <= lines <= _LINES_MOST:
        raise argparse.ArgumentTypeError(f"between {_LINES_LEAST} and {_LINES_MOST} lines")
    return lines
