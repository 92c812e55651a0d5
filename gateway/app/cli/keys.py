"""Commands ``keys`` and ``person``: create secrets, rotate them, and add people of an Asterisk site."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from gateway.app.config.errors import ConfigError
from gateway.app.config.sources import load
from gateway.app.keys import new_sealing_key, new_secret_key, newest_first, write_block, write_lines
from gateway.upstream.asterisk.people import Person, hash_password

_NEW_HEADER = "# Made by `oscc-gateway keys`. All nodes need the same. Keep it as you keep passwords.\n"
_ROTATED_HEADER = """\
# The first key seals, all open. With several nodes, first give them the new key at the end of the list,
# and when all have it, at its head. `oscc-gateway reload`, or SIGHUP, puts each step in force; nobody is
# logged out. Phones get fresh tokens at once, those that are away when they come: take an old key out
# when the last session that it sealed has ended. Where the keys are a file of their own, `--lines add` and
# `--lines lead` print what it has to hold at the two steps.
"""


def add_keys_arguments(parser: argparse.ArgumentParser) -> None:
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
        help="with --rotate, print the lines of the file sealing_keys instead: `add` puts a new key at the "
        "end; `lead` puts the newest key first, after all nodes have it. Write the output to another file "
        "and rename that: `>` would empty the file before it is read",
    )


def run_keys(args: argparse.Namespace) -> int:
    """Print a ``[secrets]`` table, or the lines of a file of keys. Returns the exit code.

    Raises:
        ConfigError: The configuration to rotate cannot be used, or none is named.
    """
    if args.rotate is None:
        if args.lines is not None:
            raise ConfigError(["--lines needs --rotate FILE: the lines are those of its keys."])
        sys.stdout.write(_NEW_HEADER + write_block([new_sealing_key()], new_secret_key()))
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
    sys.stdout.write(
        _ROTATED_HEADER + write_block([new_sealing_key(present), *present], secrets.pseudonym_key)
    )
    return 0


# ---- person ----


PERSON_PASSWORD_VARIABLE: Final = "OSCC_GATEWAY_PERSON_PASSWORD"  # noqa: S105 - the name of a variable
PASSWORD_CHARS: Final = 8


def add_person_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("login", help="the user name: 1 to 32 of a-z, 0-9, _ . -")
    parser.add_argument("--name", required=True, help="the name that others see")
    parser.add_argument("--supervisor", action="store_true", help="may use the Dashboard")
    parser.add_argument("--agent", action="store_true", help="may use the Remote Assistant")
    parser.add_argument(
        "--interface",
        action="append",
        default=[],
        metavar="NAME",
        help="a telephone at the desk, as `queue show` prints it",
    )
    parser.add_argument(
        "--queue",
        action="append",
        default=[],
        metavar="NAME",
        help="a queue that the person joins as a remote agent",
    )
    parser.add_argument("--sees", action="append", default=[], metavar="NAME", help="a queue, or * for all")
    parser.add_argument("--penalty", type=int, default=0, help="penalty in these queues; default 0")


def run_person(args: argparse.Namespace) -> int:
    """Print the entry. The password is asked for, or taken from the environment. Returns the exit code.

    Raises:
        ConfigError: The entry would not be valid, or the password is too short.
    """
    password = os.environ.get(PERSON_PASSWORD_VARIABLE) or getpass.getpass("Password: ")
    if len(password) < PASSWORD_CHARS:
        raise ConfigError([f"The password has fewer than {PASSWORD_CHARS} characters."])
    try:
        person = Person(
            login=args.login,
            name=args.name,
            password=hash_password(password, secrets.token_bytes(16)),
            supervisor=args.supervisor,
            agent=args.agent,
            interfaces=tuple(args.interface),
            queues=tuple(args.queue),
            penalty=args.penalty,
            sees=tuple(args.sees),
        )
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        said = [(one["loc"][0], str(one["msg"]).removeprefix("Value error, ").rstrip(".")) for one in found]
        raise ConfigError([f"{field}: {text}." for field, text in said]) from None
    sys.stdout.write(person_toml(person))
    for advice in person_advices(person):
        sys.stderr.write(f"advice: {advice}\n")
    return 0


def person_advices(person: Person) -> Iterator[str]:
    """Yield what is missing before the person can use an app; the entry is valid without it."""
    if not (person.supervisor or person.agent):
        yield f"{person.login} may use no app: add --supervisor, --agent or both."
    if person.supervisor and not person.sees:
        yield f"{person.login} sees no queue in the Dashboard: add --sees NAME, or --sees '*'."
    if person.agent and not person.queues:
        yield f"{person.login} joins no queue in the Remote Assistant: add --queue NAME."


def person_toml(person: Person) -> str:
    """Return a person as TOML."""
    lines = ["[[people]]"]
    for name, value in person.model_dump(exclude_defaults=True).items():
        shown = list(value) if isinstance(value, tuple) else value
        lines.append(f"{name} = {json.dumps(shown, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
