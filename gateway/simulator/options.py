"""Command-line options of the simulator."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from dataclasses import fields as fields_of
from typing import Final

from gateway.simulator.settings import SimulatorSettings

_DEFAULTS: Final = asdict(SimulatorSettings()) | {"port": 8443}
_VALUES: Final[tuple[tuple[str, type, str], ...]] = (
    ("--host", str, "address to listen at"),
    ("--port", int, "0: any free port"),
    ("--control-port", int, "control port, loopback only; 0: any"),
    ("--agents", int, "agents agent1…N"),
    ("--queues", int, "queues"),
    ("--groups", int, "0: one for every 25 agents"),
    ("--users", int, "Dashboard users supervisor1…N"),
    ("--seed", int, "of all chance: the same seed, the same centre"),
    ("--password", str, "password of all users"),
    ("--scale", float, "speed of the centre's clock; 1 is real time"),
    ("--interval-s", float, "seconds between realtime readings"),
    ("--events-per-s", float, "element changes a second in the whole centre"),
    ("--warm-up-s", float, "simulated seconds before it opens"),
    ("--idle-timeout-s", int, "seconds that a session lives without a device"),
    ("--attach-within-s", int, "seconds within which a session must be attached"),
    ("--session-life-s", int, "seconds that any session lives"),
    ("--log-on-budget-per-s", float, "log-ons that it takes"),
    ("--extensions-version", str, "version of the server that it reports"),
    ("--contact-center-version", str, "version of the contact centre that it reports"),
)
_SWITCHES: Final = (
    ("--tls", "HTTPS with a self-signed certificate"),
    ("--all-see-everything", "show everything to all supervisors, not only to supervisor1"),
    ("--on-change", "send a reading at each change"),
    ("--start-paused", "start paused, until resumed by the control port"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the simulator's options to *parser*, each with its default."""
    for flag, kind, text in _VALUES:
        default = _DEFAULTS[flag.removeprefix("--").replace("-", "_")]
        shown = "as many as its agents make" if default is None else default
        parser.add_argument(flag, type=kind, default=default, help=f"{text}; default: {shown}")
    for flag, text in _SWITCHES:
        parser.add_argument(flag, action="store_true", help=text)


def settings_from(args: argparse.Namespace) -> SimulatorSettings:
    """Return the settings that the parsed options mean.

    Raises:
        ValueError: They contradict each other.
    """
    names = {each.name for each in fields_of(SimulatorSettings)}
    return SimulatorSettings(**{name: value for name, value in vars(args).items() if name in names})
