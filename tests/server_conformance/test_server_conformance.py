"""The simulator passes the kit, and the kit detects faulty servers.

Sockets and waits are real.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import pytest

from gateway.simulator import Simulator, SimulatorSettings
from tests.conformance.report import Report, Verdict
from tests.server_conformance import checks as registered
from tests.server_conformance.__main__ import main
from tests.server_conformance.driver import Driver, User, read
from tests.server_conformance.faults import FAULTS, Fault
from tests.server_conformance.faulty import Call, FaultyServer, Line, Message, Spoil
from tests.server_conformance.faulty import Said as Answered
from tests.server_conformance.registry import CHECKS
from tests.server_conformance.runner import run
from tests.server_conformance.small_server import PASSWORD, USERS, SmallServer

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600)]

ROOT: Final = Path(__file__).parents[2]
DRIVER: Final = Path(__file__).parent / "drivers" / "simulator.toml"
SETTINGS: Final = SimulatorSettings(
    agents=10,
    queues=4,
    groups=2,
    users=6,
    all_see_everything=True,
    warm_up_s=0,
    start_paused=True,
    idle_timeout_s=20,
)
PATIENCE_S: Final = 20.0
FAULTY_PATIENCE_S: Final = 5.0
"""What a faulty server does not do is not waited for so long."""
NONSENSE_PATIENCE_S: Final = 2.0
"""Long enough for the one answer that is needed, the first, on a machine that is busy with other things."""


def driver_of(simulator: Simulator, server: str, patience_s: float) -> Driver:
    values = {"control": f"{simulator.control_url}/simulator/v1"}
    return read(DRIVER, values, server=server, patience_s=patience_s)


async def look(name: str, fault: Fault, into: dict[str, Verdict]) -> None:
    """Run the check that must tell against a faulty server."""
    async with Simulator(SETTINGS) as simulator, FaultyServer(simulator.url, fault.spoil()) as server:
        driver = driver_of(simulator, server.url, FAULTY_PATIENCE_S)
        report = await run(driver, [CHECKS[fault.found_by]])
    (into[name],) = report.verdicts


async def the_simulator() -> Report:
    async with Simulator(SETTINGS) as simulator:
        return await run(driver_of(simulator, simulator.url, PATIENCE_S), list(CHECKS.values()), slow=True)


async def the_simulator_behind_a_proxy() -> Report:
    quick = [check for check in CHECKS.values() if not check.slow_s]
    async with Simulator(SETTINGS) as simulator, FaultyServer(simulator.url, Spoil()) as server:
        return await run(driver_of(simulator, server.url, PATIENCE_S), quick)


async def a_small_server() -> Report:
    async with SmallServer() as server:
        users = tuple(User(name, PASSWORD) for name in USERS)
        quick = [check for check in CHECKS.values() if not check.slow_s]
        return await run(Driver(server.url, dashboards=users, patience_s=PATIENCE_S), quick)


class Nonsense(Spoil):
    """A server that answers, and nothing that it says has any meaning."""

    def __init__(self, words: Sequence[object]) -> None:
        super().__init__()
        self._words = itertools.cycle(words)

    def reply(self, call: Call, said: Answered) -> Answered:
        kept = call.path == "/sessions" and call.method == "POST"
        return said if kept else Answered(said.status, next(self._words))

    def down(self, line: Line, message: Message) -> Iterable[Message | str]:
        if message["Type"] == "LinkOpened":
            return (message,)
        number = {"RequestID": message["RequestID"]} if "RequestID" in message else {}
        word = next(self._words)
        return (json.dumps({"Type": message["Type"], **number, **word} if isinstance(word, dict) else word),)


NONSENSE: Final[tuple[object, ...]] = (
    [], 7, None, "text", {}, {"Type": 5}, {"Type": "New", "Time": "now"}, {"Error": "7"}, {"Elements": [3]},
    {"Error": 0, "QueryID": [1], "Session": {}, "Objects": []}, {"Objects": {"User": [{}], "Queue": 7}},
    {"Type": "Event", "QueryID": 1, "EventType": "UserRealtime", "Time": 1, "Elements": [{"UserKey": "x"}]},
    {"Sessions": [{}]}, {"ExpiresAt": {}}, {"Routing": 7}, {"Features": [[]]}, {"Error": 5, "ErrorName": []},
)  # fmt: skip


async def a_server_of_nonsense() -> Report:
    quick = [check for check in CHECKS.values() if not check.slow_s]
    async with Simulator(SETTINGS) as simulator, FaultyServer(simulator.url, Nonsense(NONSENSE)) as server:
        return await run(driver_of(simulator, server.url, NONSENSE_PATIENCE_S), quick)


class Said(NamedTuple):
    """What the kit says of all of them."""

    simulator: Report
    unspoilt: Report
    """Of the simulator behind a proxy without a fault."""
    small: Report
    """Of a server that has nothing but what it must have."""
    nonsense: Report
    faulty: Mapping[str, Verdict]


@pytest.fixture(scope="module")
def said() -> Said:
    """Run the kit against the simulator and against each faulty server: all wait beside each other."""
    verdicts: dict[str, Verdict] = {}

    async def look_at_all() -> tuple[Report, Report, Report, Report]:
        at_once = asyncio.Semaphore(6)

        async def one(name: str) -> None:
            async with at_once:
                await look(name, FAULTS[name], verdicts)

        async with asyncio.TaskGroup() as tasks:
            whole = tasks.create_task(the_simulator())
            unspoilt = tasks.create_task(the_simulator_behind_a_proxy())
            for name in FAULTS:
                tasks.create_task(one(name))
            small = tasks.create_task(a_small_server())
            nonsense = tasks.create_task(a_server_of_nonsense())
        return whole.result(), unspoilt.result(), small.result(), nonsense.result()

    return Said(*asyncio.run(look_at_all()), verdicts)


def not_passed(report: Report) -> list[str]:
    return [verdict.line for verdict in report.verdicts if verdict.outcome != "passed"]


def test_the_simulator_keeps_the_page(said: Said) -> None:
    assert not not_passed(said.simulator)
    assert len(said.simulator.verdicts) == len(CHECKS)


def test_a_proxy_without_a_fault_keeps_it_too(said: Said) -> None:
    assert not not_passed(said.unspoilt)


def test_a_server_without_anything_that_may_be_absent_keeps_it_too(said: Said) -> None:
    assert not said.small.failed, not_passed(said.small)
    passed = {verdict.name for verdict in said.small.verdicts if verdict.outcome == "passed"}
    assert {"listen.first.QueueRealtime", "link.lingers", "fencing.newest", "log_off.dashboard"} <= passed


def test_the_kit_does_not_stumble_over_nonsense(said: Said) -> None:
    verdicts = said.nonsense.verdicts
    assert len(verdicts) == len([check for check in CHECKS.values() if not check.slow_s])
    assert len(said.nonsense.failed) > len(verdicts) / 2


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_server_is_caught(said: Said, name: str) -> None:
    fault, verdict = FAULTS[name], said.faulty[name]
    assert verdict.outcome == "failed", f"the kit does not see a server that {name}: {verdict.line}"
    wanted = fault.breaks or CHECKS[fault.found_by].sentence.quote
    assert " ".join(wanted.split()) in verdict.line


def test_each_family_catches_something() -> None:
    assert {fault.found_by.split(".")[0] for fault in FAULTS.values()} == set(registered.__all__)


async def test_a_server_where_a_state_needs_a_reason_keeps_it_too() -> None:
    names = ("requests.key*", "requests.new_key", "commands.effect_first", "commands.by_whom", "listen.stop")
    checks = [each for each in CHECKS.values() if any(fnmatch(each.name, name) for name in names)]
    needed = {"Act": "Add", "Kind": "UnavailableReason", "Name": "Break", "RequiredFor": ["Unavailable"]}
    async with Simulator(SETTINGS) as simulator, aiohttp.ClientSession() as owner:
        done = await owner.post(f"{simulator.control_url}/simulator/v1/act", json=needed)
        assert done.ok, await done.text()
        report = await run(driver_of(simulator, simulator.url, PATIENCE_S), checks)
    assert not not_passed(report)
    assert len(report.verdicts) == len(checks) > len(names)


async def test_a_server_that_writes_integers_in_another_form_keeps_it_too() -> None:
    names = ("link.opens", "attach.*", "listen.first.*", "requests.key_once", "commands.skills", "session.*")
    checks = [each for each in CHECKS.values() if any(fnmatch(each.name, name) for name in names)]

    class Writes(Spoil):
        def down(self, line: Line, message: Message) -> Iterable[Message | str]:
            return (re.sub(r"([:\[,] ?)(\d+)(?=[,\]}])", r"\1\2.0", json.dumps(message)),)

    async with Simulator(SETTINGS) as simulator, FaultyServer(simulator.url, Writes()) as server:
        report = await run(driver_of(simulator, server.url, PATIENCE_S), checks)
    assert not not_passed(report)


async def test_a_check_leaves_no_agent_in_post_processing() -> None:
    """A server may keep an agent in it after the log-off, and then the next check of that agent fails."""
    actions: list[str] = []

    class Listens(Spoil):
        def up(self, line: Line, message: Message) -> Iterable[Message]:
            if message.get("Method") == "PostProcessing":
                actions.append(message["Action"])
            return super().up(line, message)

    async with Simulator(SETTINGS) as simulator, FaultyServer(simulator.url, Listens()) as server:
        driver = driver_of(simulator, server.url, PATIENCE_S)
        report = await run(driver, [CHECKS["contacts.pending_post_processing"]])
    assert not not_passed(report)
    assert actions == ["SetAuto", "Start", "Finish"]


def kit(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.server_conformance", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


async def test_the_command_line_prints_what_a_server_keeps(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    who = ("--user", "supervisor1", "--password", "demo", "--json", str(file))
    async with Simulator(SETTINGS) as simulator:
        asked = ("--server", simulator.url, *who, "--only", "log_o*", "--only", "ends.Expired")
        done = await asyncio.to_thread(kit, *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout
    report = json.loads(file.read_text("utf-8"))
    assert report["passed"] is True
    outcomes = {check["name"]: (check["outcome"], check["text"]) for check in report["checks"]}
    assert outcomes["log_on.dashboard"] == ("passed", "")
    assert outcomes["log_on.assistant"][0] == "skipped"
    assert outcomes["ends.Expired"] == ("skipped", "the driver has no hook end_session (user, id, reason)")


async def test_the_command_line_prints_what_a_server_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    spoil = FAULTS["answers a log-on with 200"].spoil()
    async with Simulator(SETTINGS) as simulator, FaultyServer(simulator.url, spoil) as server:
        asked = ("--server", server.url, "--user", "supervisor1", "--password", "demo")
        assert await asyncio.to_thread(main, [*asked, "--only", "log_on.dashboard"]) == 1
    assert "docs/oscce-link.md, Log on: answers 201 with" in capsys.readouterr().out
