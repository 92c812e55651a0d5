"""Do the options mean the settings?"""

from __future__ import annotations

import argparse

from gateway.simulator.settings import SimulatorSettings, add_arguments, settings_from


def parse(*options: str) -> SimulatorSettings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--something-else", default=1)
    return settings_from(parser.parse_args(options))


def test_without_options_the_defaults_hold_but_for_the_port() -> None:
    assert parse() == SimulatorSettings(port=8443)


def test_options_are_taken_over() -> None:
    settings = parse(
        "--agents", "1500", "--queues", "100", "--users", "2000", "--port", "0", "--on-change", "--tls"
    )
    assert (settings.agents, settings.queues, settings.users, settings.port) == (1500, 100, 2000, 0)
    assert settings.on_change
    assert settings.tls
    assert parse("--events-per-s", "500").events_per_s == 500
    assert parse("--warm-up-s", "0").warm_up_s == 0
