"""Families of checks. Importing this package registers all of them."""

from tests.conformance.checks import (
    coming_back,
    commands,
    endings,
    greeting,
    http,
    liveness,
    mirror,
    notices,
    resuming,
    session,
    transport,
)

__all__ = [
    "coming_back",
    "commands",
    "endings",
    "greeting",
    "http",
    "liveness",
    "mirror",
    "notices",
    "resuming",
    "session",
    "transport",
]
