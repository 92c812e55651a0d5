"""systemd unit: valid, hardened, and fit to run a node."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from gateway.app.config.settings import LimitsSection
from gateway.app.config.sources import load
from tests.app.certificates import make
from tests.app.samples import KEY, OTHER_KEY, SMALLEST, loaded, write
from tests.deploy.programs import DEPLOY, ask, machine

UNIT = DEPLOY / "systemd" / "oscc-gateway@.service"
EXPOSURE_MOST = 2.0
MARGIN_S = 10
ANY_PORT = {f"OSCC_GATEWAY__{section}__PORT": "0" for section in ("CLIENT", "OPS", "ADMIN")}
CREDENTIALS = {
    "sealing_keys": f"k1:{KEY}",
    "pseudonym_key": OTHER_KEY,
    "bus_url": "memory://",
    "admin_token": "token of the operators",
}


def said(key: str, text: str | None = None) -> list[str]:
    """Return the values that the unit gives to *key*, in order."""
    text = UNIT.read_text("utf-8") if text is None else text
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def seconds(key: str) -> int:
    (value,) = said(key)
    return int(value)


def verified(text: str, folder: Path) -> str:
    """Return what systemd says about a unit of *text*: nothing when it is well."""
    unit = folder / UNIT.name
    unit.write_text(text.replace("/opt/oscc-gateway/bin", str(Path(sys.executable).parent)), "utf-8")
    return ask(machine("systemd-analyze"), "verify", "--man=no", unit).text


def test_systemd_understands_all_of_it(tmp_path: Path) -> None:
    assert verified(UNIT.read_text("utf-8"), tmp_path) == ""


def test_systemd_would_report_a_misspelt_key(tmp_path: Path) -> None:
    text = UNIT.read_text("utf-8").replace("WatchdogSec", "WatchDogSec")
    assert "Unknown key 'WatchDogSec'" in verified(text, tmp_path)


def exposure(unit: Path) -> float:
    received = ask(machine("systemd-analyze"), "security", "--offline=true", "--no-pager", unit).text
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", received)
    assert found is not None, received
    return float(found[1])


def test_it_is_exposed_little(tmp_path: Path) -> None:
    open_door = tmp_path / "open-door.service"
    open_door.write_text("[Service]\nExecStart=/bin/true\n", "utf-8")
    assert exposure(UNIT) <= EXPOSURE_MOST < exposure(open_door)


def test_it_may_take_as_long_to_stop_as_a_drain_takes() -> None:
    limits = LimitsSection()
    assert seconds("TimeoutStopSec") >= limits.drain_notice_s + limits.drain_s + MARGIN_S


def test_it_has_no_rights_and_restarts_what_failed() -> None:
    assert said("CapabilityBoundingSet") == [""]
    assert said("DynamicUser") == ["yes"]
    assert said("Restart") == ["on-failure"]
    assert said("Type") == ["notify"]
    assert int(said("LimitNOFILE")[0]) >= 4 * LimitsSection().connections


def test_memory_is_given_back_here_and_in_the_image() -> None:
    wanted = "MALLOC_MMAP_THRESHOLD_=131072"
    assert wanted in said("Environment")
    assert wanted in (DEPLOY / "Dockerfile").read_text("utf-8").split()


def variables(node: str, credentials: Path, state: Path) -> dict[str, str]:
    """Return what the unit sets for a node, its credentials and its state in these folders."""
    places = {"%d": str(credentials), "%S": str(state), "%i": node}
    received = dict(word.split("=", 1) for value in said("Environment") for word in value.split())
    return {name: re.sub("%[dSi]", lambda found: places[found[0]], value) for name, value in received.items()}


def ours(received: dict[str, str]) -> dict[str, str]:
    """Return those of *received* that are settings."""
    return {name: value for name, value in received.items() if name.startswith("OSCC_GATEWAY__")}


def credentials(folder: Path) -> dict[str, str]:
    """Write what systemd would hand over; returns the variables of the unit that name it."""
    names = [value.partition(":")[0] for value in said("LoadCredential")]
    assert set(names) == set(CREDENTIALS)
    for name in names:
        (folder / name).write_text(CREDENTIALS[name], "utf-8")
    return variables("1", folder, folder)


def test_the_gateway_finds_its_secrets_where_the_unit_puts_them(tmp_path: Path) -> None:
    given = ours(credentials(tmp_path))
    settings = load(write(tmp_path, SMALLEST), given).settings
    assert settings.secrets is not None
    assert [key.id for key in settings.secrets.sealing_keys] == ["k1"]
    assert settings.admin.token is not None
    assert len([name for name in given if name.endswith("_FILE")]) == len(CREDENTIALS)


def test_support_bundles_go_where_the_unit_lets_it_write(tmp_path: Path) -> None:
    folder = loaded(tmp_path, SMALLEST, **ours(credentials(tmp_path))).settings.admin.bundle_folder
    (name,) = said("StateDirectory")
    assert folder == tmp_path / name.replace("%i", "1")


def allowed_calls() -> list[str]:
    """Return the system calls that the unit leaves to a node."""

    def members(group: str) -> set[str]:
        received = ask(machine("systemd-analyze"), "syscall-filter", "--no-pager", group).text
        names = set(re.findall(r"^ {4}(\S+)$", received, re.MULTILINE))
        inner = {name for name in names if name.startswith("@")}
        return (names - inner).union(*map(members, inner))

    calls = members("@default")
    for words in said("SystemCallFilter"):
        groups = [members(group) for group in words.lstrip("~").split()]
        calls = calls.difference(*groups) if words.startswith("~") else calls.union(*groups)
    return sorted(calls | members("@default"))


@pytest.fixture
def cell(tmp_path: Path) -> list[str]:
    """What to put before a command so that it lives as in the unit."""
    assert said("MemoryDenyWriteExecute") == ["yes"]
    calls = tmp_path / "calls"
    calls.write_text("\n".join(allowed_calls()), "utf-8")
    return [sys.executable, str(Path(__file__).with_name("confined.py")), str(calls)]


@pytest.mark.takes(5)
def test_a_node_lives_in_it(cell: list[str], tmp_path: Path) -> None:
    environ = {**os.environ, **ANY_PORT, **credentials(tmp_path)}
    config = write(tmp_path, SMALLEST)
    words = [*cell, sys.executable, "-m", "gateway", "serve", "--config", str(config)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environ, text=True) as node:
        assert node.stdout is not None
        try:
            received: dict[str, object] = {}
            while received.get("listener") != "client":
                received = json.loads(node.stdout.readline())
            with urllib.request.urlopen(
                f"http://127.0.0.1:{received['port']}/v1/about", timeout=10
            ) as answer:
                assert answer.status == 200
            node.send_signal(signal.SIGTERM)
            assert node.wait(timeout=20) == 0
            assert '"level": "error"' not in node.stdout.read()
        finally:
            node.kill()


def started(config: Path) -> list[list[str]]:
    """Return what the unit runs at a start, in order, for the configuration of a test."""
    return [
        [
            word.replace("/opt/oscc-gateway/bin", str(Path(sys.executable).parent)).replace(
                "/etc/oscc-gateway/gateway.toml", str(config)
            )
            for word in shlex.split(line)
        ]
        for line in said("(?:ExecCondition|ExecStartPre|ExecStart)")
    ]


@pytest.mark.takes(2)
def test_serving_and_error_lines_delay_no_start(tmp_path: Path) -> None:
    certificate, key = make(tmp_path, days=1)  # it has expired long ago
    config = write(
        tmp_path, SMALLEST.replace("insecure = true", f'certificate = "{certificate}"\nkey = "{key}"')
    )
    environ = {**os.environ, **ANY_PORT, **credentials(tmp_path)}
    *before, serve = started(config)
    for words in before:
        assert subprocess.run(words, env=environ, check=False, capture_output=True).returncode == 0, words
    with subprocess.Popen(serve, stdout=subprocess.PIPE, env=environ, text=True) as node:
        assert node.stdout is not None
        try:
            lines = [json.loads(node.stdout.readline())]
            while lines[-1].get("listener") != "client":
                lines.append(json.loads(node.stdout.readline()))
            assert "error" in {line["level"] for line in lines}
            trusting = ssl._create_unverified_context()  # noqa: S323 - phones would refuse it
            about = f"https://127.0.0.1:{lines[-1]['port']}/v1/about"
            with urllib.request.urlopen(about, timeout=10, context=trusting) as answer:
                assert answer.status == 200
            node.send_signal(signal.SIGTERM)
            assert node.wait(timeout=20) == 0
        finally:
            node.kill()


def test_the_cell_has_walls(cell: list[str]) -> None:
    changed = ask(*cell, sys.executable, "-c", "import os; os.sched_setaffinity(0, [0])")
    assert "PermissionError" in changed.text
    executed = "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)"
    assert "PermissionError" in ask(*cell, sys.executable, "-c", executed).text
