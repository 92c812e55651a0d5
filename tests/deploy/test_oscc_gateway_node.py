"""Script for operators: their commands run as the unit runs the node."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from gateway.app.cli import parser
from tests.deploy.programs import DEPLOY, Said, ask, machine
from tests.deploy.test_systemd_unit import ours, said, variables

SCRIPT: Final = DEPLOY / "systemd" / "oscc-gateway-node"
OURS: Final = "OSCC_GATEWAY__"
ECHO: Final = f"#!/bin/sh\nenv | grep ^{OURS} | sort\nprintf '%s\\n' \"$@\"\n"


def placed(folder: Path, program: Path) -> Path:
    """Write the script for other paths: all that the host has is in *folder*."""
    text = SCRIPT.read_text("utf-8")
    for here, there in (
        ("/etc/oscc-gateway\n", f"{folder}\n"),
        ("/var/lib/", f"{folder}/"),
        ("/opt/oscc-gateway/bin/oscc-gateway ", f"{program} "),
    ):
        assert text.count(here) == 1, here
        text = text.replace(here, there)
    script = folder / SCRIPT.name
    script.write_text(text, "utf-8")
    script.chmod(0o755)
    return script


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Where a program lies that prints what it was given."""
    program = tmp_path / "echo"
    program.write_text(ECHO, "utf-8")
    program.chmod(0o755)
    return tmp_path


def typed(host: Path, *words: str) -> Said:
    done = subprocess.run(
        [placed(host, host / "echo"), *words],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    return Said(done.returncode, done.stdout + done.stderr)


def settings(received: Said) -> dict[str, str]:
    lines = [line.partition("=") for line in received.text.splitlines() if line.startswith(OURS)]
    return {name: value for name, _, value in lines}


@pytest.mark.parametrize("node", ["1", "2"])
def test_a_command_has_what_the_unit_gives(node: str, host: Path) -> None:
    (host / f"node-{node}.env").touch()
    sources = dict(value.split(":") for value in said("LoadCredential"))
    assert {Path(path).name for path in sources.values()} == sources.keys()
    (kept,) = {str(Path(path).parent) for path in sources.values()}
    assert kept == "/etc/oscc-gateway/secrets"
    received = typed(host, node, "end-user", "main:47 11", "--json")
    assert settings(received) == ours(variables(node, host / "secrets", host))
    assert received.text.splitlines()[-5:] == [
        "end-user",
        "--config",
        f"{host}/gateway.toml",
        "main:47 11",
        "--json",
    ]


def test_keys_are_given_no_configuration_but_the_one_to_rotate(host: Path) -> None:
    received = typed(host, "1", "keys", "--rotate", "gateway.toml", "--lines", "add")
    assert f"{OURS}SECRETS__SEALING_KEYS_FILE" in settings(received)
    given = [line for line in received.text.splitlines() if not line.startswith(OURS)]
    assert given == ["keys", "--rotate", "gateway.toml", "--lines", "add"]
    parser().parse_args(given)


def test_what_a_node_has_of_its_own_is_read_as_systemd_reads_it(host: Path) -> None:
    (host / "node-2.env").write_text(
        "# ports\n"
        "OSCC_GATEWAY__ADMIN__PORT=9191\n"
        'OSCC_GATEWAY__SITES__0__DISPLAY_NAME="Zürich $HOME"\n'
        "OSCC_GATEWAY__SITES__0__URL='https://oscce.example/?a=b='\n"
        "OSCC_GATEWAY__LOG__LEVEL=in `fact`=\n"
        "PATH=/nowhere\n"
        "OSCC_GATEWAY__ADMIN__BUNDLE_FOLDER=/srv",
        "utf-8",
    )
    received = settings(typed(host, "2", "nodes"))
    own = {name: value for name, value in received.items() if not name.endswith("_FILE")}
    assert own == {
        "OSCC_GATEWAY__ADMIN__PORT": "9191",
        "OSCC_GATEWAY__SITES__0__DISPLAY_NAME": "Zürich $HOME",
        "OSCC_GATEWAY__SITES__0__URL": "https://oscce.example/?a=b=",
        "OSCC_GATEWAY__LOG__LEVEL": "in `fact`=",
        "OSCC_GATEWAY__ADMIN__BUNDLE_FOLDER": "/srv",
    }


def test_no_other_node_is_asked_instead(host: Path) -> None:
    received = typed(host, "3", "drain")
    assert received.code == 2
    assert "there is no node 3" in received.text
    assert OURS not in received.text


@pytest.mark.parametrize("words", [(), ("1",), ("nodes",)])
def test_both_must_be_said(words: tuple[str, ...], host: Path) -> None:
    received = typed(host, *words)
    assert received.code == 2
    assert "usage: oscc-gateway-node NODE COMMAND" in received.text


def test_shellcheck_finds_no_fault(tmp_path: Path) -> None:
    assert ask(machine("shellcheck"), SCRIPT) == (0, "")
    wrong = tmp_path / "wrong.sh"
    wrong.write_text(SCRIPT.read_text("utf-8").replace('"$own"', "$own"), "utf-8")
    assert "SC2086" in ask(machine("shellcheck"), wrong).text


def test_it_can_be_run() -> None:
    assert SCRIPT.stat().st_mode & 0o111 == 0o111
