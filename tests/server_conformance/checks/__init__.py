"""Families of checks. Importing this package registers all of them."""

from tests.server_conformance.checks import (
    about,
    attach,
    commands,
    contacts,
    directory,
    ends,
    fencing,
    link,
    listen,
    log_off,
    log_on,
    owner,
    presence,
    requests,
    scope,
    session,
)

__all__ = [
    "about",
    "attach",
    "commands",
    "contacts",
    "directory",
    "ends",
    "fencing",
    "link",
    "listen",
    "log_off",
    "log_on",
    "owner",
    "presence",
    "requests",
    "scope",
    "session",
]
