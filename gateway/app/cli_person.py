"""The command ``person``: make an entry of the file of people of a site that is an Asterisk."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import secrets
import sys
from typing import Final

from pydantic import ValidationError

from gateway.app.config_faults import ConfigError
from gateway.upstream.asterisk.people import Person, hash_password

PASSWORD_VARIABLE: Final = "OSCC_GATEWAY_PERSON_PASSWORD"  # noqa: S105 - the name of a variable
PASSWORD_CHARS: Final = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("login", help="what the person logs on with: 1 to 32 of a-z, 0-9, _ . -")
    parser.add_argument("--name", required=True, help="what others see")
    parser.add_argument("--supervisor", action="store_true", help="may use the Dashboard")
    parser.add_argument("--agent", action="store_true", help="may use the Remote Assistant")
    parser.add_argument(
        "--interface", action="append", default=[], metavar="NAME", help="a telephone at the desk"
    )
    parser.add_argument(
        "--queue", action="append", default=[], metavar="NAME", help="joined as a remote agent"
    )
    parser.add_argument("--sees", action="append", default=[], metavar="NAME", help="a queue, or * for all")
    parser.add_argument("--penalty", type=int, default=0, help="in these queues; default 0")


def run(args: argparse.Namespace) -> int:
    """Print the entry. The password is asked for, or taken from the environment. Returns the exit code.

    Raises:
        ConfigError: The entry would not be valid, or the password is too short.
    """
    password = os.environ.get(PASSWORD_VARIABLE) or getpass.getpass("Password: ")
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
        raise ConfigError([f"{one['loc'][0]}: {one['msg']}." for one in found]) from None
    sys.stdout.write(entry(person))
    return 0


def entry(person: Person) -> str:
    """Return a person as TOML."""
    lines = ["[[people]]"]
    for name, value in person.model_dump(exclude_defaults=True).items():
        shown = list(value) if isinstance(value, tuple) else value
        lines.append(f"{name} = {json.dumps(shown, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
