"""Are the settings what the page of operations promises: bounded, explained, immutable?"""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.app.config.errors import SETTINGS, Setting
from gateway.app.config.settings import ClientSection, LimitsSection, LogSection, Settings
from gateway.core.rate_limits import SessionLimits
from gateway.edge.request_context import AdmissionLimits


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.path)
def test_every_setting_says_why(setting: Setting) -> None:
    assert setting.field.description
    assert setting.field.description.endswith(".")


@pytest.mark.parametrize(
    "setting", [s for s in SETTINGS if s.field.annotation in (int, float)], ids=lambda setting: setting.path
)
def test_every_number_has_bounds(setting: Setting) -> None:
    bounds = {type(each).__name__ for each in setting.field.metadata}
    assert bounds & {"Ge", "Gt"}
    assert "Le" in bounds


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.many], ids=lambda setting: setting.path)
def test_every_list_has_bounds(setting: Setting) -> None:
    assert "MaxLen" in {type(each).__name__ for each in setting.field.metadata}


def test_sections_are_those_of_the_page() -> None:
    doors, cluster = ["client", "ops", "admin"], ["node", "bus", "secrets"]
    rest = ["sites", "limits", "notices", "privacy", "log", "tracing"]
    assert list(Settings.model_fields) == doors + cluster + rest


def test_limits_are_those_of_what_they_limit() -> None:
    limits, session, doors = LimitsSection(), SessionLimits(), AdmissionLimits()
    assert (limits.devices, limits.ping_s) == (session.devices, session.ping_s)
    assert (limits.connections, limits.unhelloed) == (doors.connections, doors.unhelloed)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        ClientSection().port = 1  # type: ignore[misc]  # the violation that is shown


@pytest.mark.parametrize("port", [-1, 65_536])
def test_ports_are_ports(port: int) -> None:
    with pytest.raises(ValidationError):
        ClientSection(port=port)


def test_levels_are_words() -> None:
    assert LogSection(level="debug").level == "debug"
