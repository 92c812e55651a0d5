"""The configuration as shown to people and machines: complete, without secrets."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import gateway
from gateway.app.config.errors import SETTINGS
from gateway.app.config.sources import effective_toml, json_schema, load, reference_page
from tests.app.samples import KEY, OTHER_KEY, SECRET, SMALLEST, loaded, write


def test_the_effective_settings_are_toml_and_hide_secrets(tmp_path: Path) -> None:
    shown = effective_toml(loaded(tmp_path, SECRET.replace('token = "…"', 'token = "canary-of-operators"')))
    assert "canary" not in shown
    assert KEY not in shown
    assert OTHER_KEY not in shown
    values = tomllib.loads(shown)
    assert values["secrets"] == {"sealing_keys": ["k1:********"], "pseudonym_key": "********"}
    assert values["admin"]["token"] == "********"
    assert values["client"]["port"] == 8080
    assert values["limits"]["devices"] == 5


def test_every_text_that_is_never_shown_counts_as_a_secret() -> None:
    hidden = {setting.path for setting in SETTINGS if "SecretStr" in str(setting.field.annotation)}
    assert hidden >= {"admin.token", "bus.password", "bus.sentinel_password"}
    assert hidden <= {setting.path for setting in SETTINGS if setting.secret}


def test_the_effective_settings_say_where_each_came_from(tmp_path: Path) -> None:
    shown = effective_toml(
        loaded(tmp_path, OSCC_GATEWAY__OPS__PORT="1", OSCC_GATEWAY__SITES__0__COUNTRY="AT")
    )
    assert "port = 1  # OSCC_GATEWAY__OPS__PORT\n" in shown
    assert 'country = "AT"  # OSCC_GATEWAY__SITES__0__COUNTRY\n' in shown
    assert 'level = "info"  # default\n' in shown
    assert "port = 8080\n" in shown
    assert "# [secrets] is not set" in shown
    assert "# certificate is not set" in shown


def test_a_table_of_a_site_is_shown_with_where_each_key_came_from(tmp_path: Path) -> None:
    variable = "OSCC_GATEWAY__SITES__0__REMOTE_NUMBERS__ALLOW"
    text = SMALLEST + 'remote_numbers.deny = ["+4319"]\n'
    shown = effective_toml(loaded(tmp_path, text, **{variable: "+43,+41"}))
    assert f'remote_numbers.allow = ["+43", "+41"]  # {variable}\n' in shown
    assert 'remote_numbers.deny = ["+4319"]\n' in shown
    assert "remote_numbers.own = []  # default\n" in shown


def test_the_effective_settings_without_secrets_load_again(tmp_path: Path) -> None:
    numbers = 'remote_numbers = { deny = ["+4319"] }\n'
    first = loaded(tmp_path, SMALLEST + numbers + '[log]\nlevel = "error"\n[notices]\nfiles = ["a b.toml"]\n')
    again = load(write(tmp_path, effective_toml(first)), {})
    assert again.settings == first.settings


def test_the_page_of_all_settings_is_fresh() -> None:
    page = Path(gateway.__file__).parents[1] / "docs" / "configuration.md"
    assert page.read_text("utf-8") == reference_page(), "run: oscc-gateway check-config --reference"


def test_the_page_explains_every_setting() -> None:
    page = reference_page()
    for setting in SETTINGS:
        assert f"| `{setting.key}` | " in page
    assert "| `port` | whole number 0 … 65535 | `8080` | " in page
    assert "| `level` | `debug` or `info` or `warning` or `error` | `info` | " in page
    assert "| `sealing_keys` | secrets | required | " in page
    assert "| `remote_numbers.allow` | texts | none | " in page
    assert "| `handshakes_per_s` | number more than 0 … 100000 | `500.0` | " in page


def test_the_schema_refuses_unknown_keys_and_marks_secrets() -> None:
    found = json.loads(json_schema())
    assert found["additionalProperties"] is False
    assert found["required"] == ["sites"]
    secrets = found["$defs"]["SecretsSection"]["properties"]
    assert secrets["pseudonym_key"]["writeOnly"] is True
    assert secrets["sealing_keys"]["items"]["writeOnly"] is True
    assert found["$defs"]["AdminSection"]["properties"]["token"]["anyOf"][0]["writeOnly"] is True
    assert found["$defs"]["ClientSection"]["properties"]["port"]["maximum"] == 65_535
