"""Sources of a configuration: file, environment and secret files."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app.cli.watch import PASSWORD_VARIABLE
from gateway.app.config.sources import FILE_BYTES, SECRET_BYTES, read_sources
from tests.app.samples import SMALLEST, write


def test_variables_win_over_the_file(tmp_path: Path) -> None:
    found = read_sources(write(tmp_path, SMALLEST), {"OSCC_GATEWAY__CLIENT__PORT": "8443"})
    client = found.values["client"]
    assert isinstance(client, dict)
    assert (client["port"], client["host"]) == ("8443", "127.0.0.1")
    assert found.origins == {"client.port": "OSCC_GATEWAY__CLIENT__PORT"}
    assert found.faults == []


def test_lists_are_words(tmp_path: Path) -> None:
    found = read_sources(None, {"OSCC_GATEWAY__CLIENT__ORIGINS": " https://a, https://b\nhttps://c "})
    assert found.values == {"client": {"origins": ["https://a", "https://b", "https://c"]}}


def test_sites_are_counted_from_0_in_the_order_of_numbers_without_a_gap() -> None:
    environ = {f"OSCC_GATEWAY__SITES__{place}__ID": f"s{place}" for place in range(11)}
    assert read_sources(None, environ).values == {"sites": [{"id": f"s{place}"} for place in range(11)]}
    assert read_sources(None, {"OSCC_GATEWAY__SITES__1__ID": "x"}).faults == [
        "OSCC_GATEWAY__SITES__1__ID: there is no site before place 1; the first has place 0."
    ]


def test_sites_of_the_file_can_be_changed_and_others_added(tmp_path: Path) -> None:
    environ = {"OSCC_GATEWAY__SITES__0__COUNTRY": "AT", "OSCC_GATEWAY__SITES__1__ID": "second"}
    sites = read_sources(write(tmp_path, SMALLEST), environ).values["sites"]
    assert isinstance(sites, list)
    assert (sites[0]["id"], sites[0]["country"], sites[1]) == ("main", "AT", {"id": "second"})


def test_a_table_of_a_site_is_changed_key_by_key(tmp_path: Path) -> None:
    text = SMALLEST + '[sites.remote_numbers]\nallow = ["+1"]\ndeny = ["+43"]\n'
    variable = "OSCC_GATEWAY__SITES__0__REMOTE_NUMBERS__ALLOW"
    found = read_sources(write(tmp_path, text), {variable: "+4331, +41"})
    sites = found.values["sites"]
    assert isinstance(sites, list)
    assert sites[0]["remote_numbers"] == {"allow": ["+4331", "+41"], "deny": ["+43"]}
    assert found.origins == {"sites[0].remote_numbers.allow": variable}


def test_the_environment_makes_the_table_that_it_needs() -> None:
    found = read_sources(None, {"OSCC_GATEWAY__SITES__0__REMOTE_NUMBERS__OWN": "+49301"})
    assert found.values == {"sites": [{"remote_numbers": {"own": ["+49301"]}}]}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("CLEINT__PORT", "CLIENT__PORT"),
        ("SITES__0__CUONTRY", "SITES__0__COUNTRY"),
        ("SITES__0__REMOTE_NUMBER__ALLOW", "SITES__0__REMOTE_NUMBERS__ALLOW"),
        ("ADMIN__TOKEN_FIEL", "ADMIN__TOKEN_FILE"),
        ("CLIENT__PORT_FILE", "CLIENT__PORT"),
        ("OSCC_GATEWAY_CLIENT_PORT", "CLIENT__PORT"),
        ("OSCC_GATWAY__CLIENT__PORT", "CLIENT__PORT"),
        ("oscc_gateway__client__port", None),
    ],
)
def test_misspelt_variables_are_refused_with_the_nearest_name(name: str, near: str | None) -> None:
    variable = name if name.upper().startswith("OSCC") else f"OSCC_GATEWAY__{name}"
    hint = f"; did you mean OSCC_GATEWAY__{near}?" if near is not None else "."
    assert read_sources(None, {variable: "1"}).faults == [f"{variable}: there is no such setting{hint}"]


def test_variables_of_others_are_none_of_ours() -> None:
    others = {
        "PATH": "x",
        "OSCC_HOME": "x",
        PASSWORD_VARIABLE: "canary",
        "OSCC_GATEWAY_SERVICE_HOST": "10.0.0.1",
        "OSCC_GATEWAY_SERVICE_PORT_HTTP": "80",
        "OSCC_GATEWAY_PORT": "tcp://10.0.0.1:80",
        "OSCC_GATEWAY_OPS_PORT": "tcp://10.0.0.1:90",
        "OSCC_GATEWAY_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    found = read_sources(None, others)
    assert (found.values, found.faults) == ({}, [])


def test_an_empty_variable_counts_as_not_set() -> None:
    assert read_sources(None, {"OSCC_GATEWAY__CLIENT__CERTIFICATE": ""}).values == {}


# ---- secrets ----


def test_a_secret_comes_from_a_file_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("canary\n", "utf-8")
    found = read_sources(None, {"OSCC_GATEWAY__ADMIN__TOKEN_FILE": str(secret)})
    assert found.values == {"admin": {"token": "canary"}}
    assert found.origins == {"admin.token": "OSCC_GATEWAY__ADMIN__TOKEN_FILE"}


def test_sealing_keys_come_one_a_line(tmp_path: Path) -> None:
    secret = tmp_path / "keys"
    secret.write_text("k2:b\nk1:a\n", "utf-8")
    found = read_sources(None, {"OSCC_GATEWAY__SECRETS__SEALING_KEYS_FILE": str(secret)})
    assert found.values == {"secrets": {"sealing_keys": ["k2:b", "k1:a"]}}


def test_a_secret_from_two_places_is_refused(tmp_path: Path) -> None:
    environ = {"OSCC_GATEWAY__ADMIN__TOKEN": "canary", "OSCC_GATEWAY__ADMIN__TOKEN_FILE": "x"}
    assert read_sources(None, environ).faults == [
        "OSCC_GATEWAY__ADMIN__TOKEN_FILE and OSCC_GATEWAY__ADMIN__TOKEN are both set: keep one."
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"\xff\xfe", "is not UTF-8."),
        (b" \n", f"is empty or larger than {SECRET_BYTES} bytes."),
        (b"x" * (SECRET_BYTES + 1), f"is empty or larger than {SECRET_BYTES} bytes."),
    ],
)
def test_secret_files_that_hold_none_are_refused(tmp_path: Path, content: bytes | None, fault: str) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    found = read_sources(None, {"OSCC_GATEWAY__ADMIN__TOKEN_FILE": str(path)})
    assert found.faults == [f"OSCC_GATEWAY__ADMIN__TOKEN_FILE: {path} {fault}"]


def test_the_placeholders_of_the_documentation_are_no_secrets(tmp_path: Path) -> None:
    values = read_sources(write(tmp_path, SMALLEST), {}).values
    assert "secrets" not in values
    assert values["admin"] == {"host": "127.0.0.1", "port": 9091}


# ---- the file ----


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"[client\n", "is not TOML: "),
        (b"x = '\xff'\n", "is not UTF-8."),
        (b"#" * (FILE_BYTES + 1), f"is larger than {FILE_BYTES} bytes."),
        (None, "cannot be read: No such file or directory."),
    ],
)
def test_files_that_cannot_be_read_are_reported(tmp_path: Path, content: bytes | None, fault: str) -> None:
    path = tmp_path / "gateway.toml"
    if content is not None:
        path.write_bytes(content)
    (found,) = read_sources(path, {}).faults
    assert found.startswith(f"{path} {fault}")


def test_a_table_that_is_none_is_left_to_validation(tmp_path: Path) -> None:
    own = "OSCC_GATEWAY__SITES__0__REMOTE_NUMBERS__OWN"
    environ = {"OSCC_GATEWAY__CLIENT__PORT": "1", "OSCC_GATEWAY__SITES__0__ID": "x", own: "+49301"}
    found = read_sources(write(tmp_path, "client = 5\nsites = 6\n"), environ)
    assert found.values == {"client": 5, "sites": 6}
    found = read_sources(write(tmp_path, "[[sites]]\nremote_numbers = 5\n"), {own: "+49301"})
    assert found.values == {"sites": [{"remote_numbers": 5}]}
