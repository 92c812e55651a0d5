"""Both SDKs pass the kit, and the kit detects faulty clients.

Processes, sockets and waits are real. Without Node its tests are skipped, unless REQUIRE_NODE=1 says that it
must be there.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.conformance import checks as registered
from tests.conformance.__main__ import main
from tests.conformance.faults import FAULTS, Fault
from tests.conformance.registry import CHECKS
from tests.conformance.report import Report, Verdict
from tests.conformance.runner import run

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600)]

ROOT: Final = Path(__file__).parents[2]
SDK: Final = ROOT / "gateway" / "web" / "oscc-client.js"
DRIVER: Final = ROOT / "tests" / "conformance" / "drivers" / "js.mjs"
PYTHON: Final = f"{shlex.quote(sys.executable)} -m tests.conformance.drivers.python"
HIDDEN_BY_BROWSERS: Final = {
    "coming_back.upgrade_refused",
    "coming_back.upgrade_limited",
    "coming_back.upgrade_forbidden",
}
"""A WebSocket as browsers have it does not tell the status of a refused upgrade."""


@pytest.fixture(scope="module")
def caught(node: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Verdict]:
    """What the kit says of each faulty client; all of them are looked at beside each other."""
    folder = tmp_path_factory.mktemp("faulty")
    verdicts: dict[str, Verdict] = {}

    async def look(name: str, number: int, at_once: asyncio.Semaphore) -> None:
        file = folder / f"{number}.js"
        file.write_text(spoilt(FAULTS[name]), "utf-8")
        command = f"{node} {DRIVER} --sdk {file}"
        async with at_once:
            report = await run(command, [CHECKS[FAULTS[name].found_by]], at_once=1)
        (verdicts[name],) = report.verdicts

    async def look_at_all() -> None:
        at_once = asyncio.Semaphore(8)
        async with asyncio.TaskGroup() as tasks:
            for number, name in enumerate(FAULTS):
                tasks.create_task(look(name, number, at_once))

    asyncio.run(look_at_all())
    return verdicts


def spoilt(fault: Fault) -> str:
    """Return the text of the SDK with *fault* in it."""
    text = SDK.read_text("utf-8")
    assert text.count(fault.right) == 1, f"stands {text.count(fault.right)} times in the SDK: {fault.right!r}"
    return text.replace(fault.right, fault.wrong)


def broken(report: Report) -> str:
    return "\n".join(verdict.line for verdict in report.failed)


async def test_the_python_sdk_keeps_the_page() -> None:
    report = await run(PYTHON, list(CHECKS.values()), again=1)
    assert not report.failed, broken(report)
    assert {verdict.outcome for verdict in report.verdicts} == {"passed"}
    assert len(report.verdicts) == len(CHECKS)


async def test_the_javascript_sdk_keeps_the_page(node: str) -> None:
    report = await run(f"{node} {DRIVER}", list(CHECKS.values()), again=1)
    assert not report.failed, broken(report)
    skipped = {verdict.name for verdict in report.verdicts if verdict.outcome == "skipped"}
    assert skipped == HIDDEN_BY_BROWSERS


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_client_is_caught(caught: Mapping[str, Verdict], name: str) -> None:
    verdict = caught[name]
    assert verdict.outcome == "failed", f"the kit does not see a client that {name}"


def test_each_family_catches_something() -> None:
    assert {fault.found_by.split(".")[0] for fault in FAULTS.values()} == set(registered.__all__)


def kit(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.conformance", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_line_prints_what_a_client_keeps(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    done = kit("--client", PYTHON, "--only", "mirror.p*", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout
    report = json.loads(file.read_text("utf-8"))
    assert report["passed"] is True
    assert {check["outcome"] for check in report["checks"]} == {"passed"}


def test_the_command_line_prints_what_a_client_breaks(
    node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt_file, file = tmp_path / "spoilt.js", tmp_path / "report.json"
    spoilt_file.write_text(spoilt(FAULTS["merges what replaces"]), "utf-8")
    driver = f"{node} {DRIVER} --sdk {spoilt_file}"
    assert main(["--client", driver, "--only", "mirror.put", "--json", str(file)]) == 1
    assert CHECKS["mirror.put"].sentence in capsys.readouterr().out
    assert json.loads(file.read_text("utf-8"))["passed"] is False


@pytest.mark.parametrize("driver", ["true", "/nowhere/at/all"])
def test_a_program_that_is_no_driver_is_distinguished_from_one_that_fails(driver: str) -> None:
    assert main(["--client", driver, "--only", "mirror.put"]) == 2
