"""Which command line options choose the settings?"""

from __future__ import annotations

import argparse
from dataclasses import fields as fields_of

from gateway.simulator.settings import SimulatorSettings

_DEFAULTS = SimulatorSettings()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the simulator's options to *parser*."""
    add = parser.add_argument
    add("--host", default=_DEFAULTS.host, help="address to listen at")
    add("--port", type=int, default=8443, help="0: any free port")
    add(
        "--control-port", type=int, default=_DEFAULTS.control_port, help="control port, loopback only; 0: any"
    )
    add("--tls", action="store_true", help="HTTPS with a self-signed certificate")
    add("--agents", type=int, default=_DEFAULTS.agents)
    add("--queues", type=int, default=_DEFAULTS.queues)
    add("--groups", type=int, default=_DEFAULTS.groups, help="0: one for every 25 agents")
    add("--users", type=int, default=_DEFAULTS.users, help="Dashboard users supervisor1…N")
    add(
        "--all-see-everything",
        action="store_true",
        help="show everything to all supervisors, not only to supervisor1",
    )
    add("--seed", type=int, default=_DEFAULTS.seed)
    add("--password", default=_DEFAULTS.password, help="password of all users")
    add("--scale", type=float, default=_DEFAULTS.scale, help="speed of the centre's clock; 1 is real time")
    add("--interval-s", type=float, default=_DEFAULTS.interval_s, help="seconds between realtime readings")
    add("--on-change", action="store_true", help="send a reading at each change")
    add("--events-per-s", type=float, default=None, help="element changes a second in the whole centre")
    add("--warm-up-s", type=float, default=_DEFAULTS.warm_up_s, help="simulated seconds before it opens")
    add("--start-paused", action="store_true", help="start paused, until resumed by the control port")
    add("--idle-timeout-s", type=int, default=_DEFAULTS.idle_timeout_s)
    add("--attach-within-s", type=int, default=_DEFAULTS.attach_within_s)
    add("--session-life-s", type=int, default=_DEFAULTS.session_life_s)
    add("--log-on-budget-per-s", type=float, default=_DEFAULTS.log_on_budget_per_s)
    add("--extensions-version", default=_DEFAULTS.extensions_version)
    add("--contact-center-version", default=_DEFAULTS.contact_center_version)


def settings_from(args: argparse.Namespace) -> SimulatorSettings:
    """Return the settings that the parsed options mean.

    Raises:
        ValueError: They contradict each other.
    """
    names = {each.name for each in fields_of(SimulatorSettings)}
    return SimulatorSettings(**{name: value for name, value in vars(args).items() if name in names})
