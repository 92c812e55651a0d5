"""Secrets are made as files that the gateway and Redis accept, never twice."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.app.config.sources import load
from tests.app.samples import SMALLEST, write
from tests.deploy.programs import DEPLOY, Said, ask, machine

SCRIPT = DEPLOY / "make-secrets.sh"
NAMES = {
    *("sealing_keys", "pseudonym_key", "admin_token", "bus_url", "grafana_password"),
    *("redis_password", "redis_admin_password"),
}


def made(folder: Path, *more: str, gateway: str = f"{sys.executable} -m gateway") -> Said:
    """Run the script as a person does."""
    return ask("env", f"OSCC_GATEWAY={gateway}", SCRIPT, folder, *more)


def test_the_gateway_takes_them_nobody_else_may_look_and_nothing_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    said = made(folder, "redis://redis.example:6379")
    assert said.code == 0, said.text
    texts = {path.name: path.read_text("utf-8").strip() for path in folder.iterdir()}
    assert texts.keys() == NAMES
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(set(texts.values())) == len(NAMES)
    for text in texts.values():
        assert len(text) >= 40
        assert text not in said.text
    environ = {
        "OSCC_GATEWAY__SECRETS__SEALING_KEYS_FILE": str(folder / "sealing_keys"),
        "OSCC_GATEWAY__SECRETS__PSEUDONYM_KEY_FILE": str(folder / "pseudonym_key"),
        "OSCC_GATEWAY__BUS__URL_FILE": str(folder / "bus_url"),
        "OSCC_GATEWAY__ADMIN__TOKEN_FILE": str(folder / "admin_token"),
    }
    settings = load(write(tmp_path, SMALLEST), environ).settings
    assert settings.secrets is not None
    assert settings.admin.token is not None
    bus = urlsplit(settings.bus.url)
    password = texts["redis_password"]
    assert (bus.username, bus.password, bus.hostname) == ("oscc-gateway", password, "redis.example")
    assert len(password) == 48


@pytest.mark.parametrize("is_installed", [True, False])
def test_in_a_clone_the_command_is_that_of_its_environment(tmp_path: Path, is_installed: bool) -> None:
    script = tmp_path / "a clone" / "deploy" / SCRIPT.name
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, script)
    if is_installed:
        command = script.parents[1] / ".venv" / "bin" / "oscc-gateway"
        command.parent.mkdir(parents=True)
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m gateway "$@"\n', "utf-8")
        command.chmod(0o755)
    said = ask("env", "--unset=OSCC_GATEWAY", "PATH=/usr/bin:/bin", script, tmp_path / "secrets")
    assert said.code == (0 if is_installed else 1), said.text
    assert ("run make venv" in said.text) is not is_installed
    assert (tmp_path / "secrets").exists() is is_installed


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "pseudonym_key").write_text("old", "utf-8")
    said = made(tmp_path, gateway="true")
    assert said.code == 1
    assert "is there already" in said.text
    assert [(path.name, path.read_text("utf-8")) for path in tmp_path.iterdir()] == [("pseudonym_key", "old")]


@pytest.mark.parametrize("bus", ["redis.example:6379", "x"])
def test_what_is_no_address_is_refused_before_anything_is_made(bus: str, tmp_path: Path) -> None:
    said = made(tmp_path, bus)
    assert said.code == 1
    assert "is no address" in said.text
    assert list(tmp_path.iterdir()) == []


def test_without_keys_there_is_nothing(tmp_path: Path) -> None:
    assert made(tmp_path, gateway="false").code != 0
    assert list(tmp_path.iterdir()) == []


def test_shellcheck_finds_no_fault(tmp_path: Path) -> None:
    assert ask(machine("shellcheck"), SCRIPT) == (0, "")
    wrong = tmp_path / "wrong.sh"
    wrong.write_text(SCRIPT.read_text("utf-8").replace('"$folder"', "$folder"), "utf-8")
    assert "SC2086" in ask(machine("shellcheck"), wrong).text
