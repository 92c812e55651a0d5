"""``check-config`` before an Asterisk: what is missing there is named."""

from __future__ import annotations

import asyncio
import configparser
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import gateway
from gateway.app.admin import CheckReport
from gateway.app.cli import check as check_module
from gateway.app.cli import main
from gateway.app.cli.check import check_site
from gateway.app.config.settings import AsteriskSection
from gateway.runtime.event_loop import SystemClock
from gateway.simulator.ami import FakeAsterisk
from gateway.simulator.ami_session import Account
from gateway.simulator.settings import RealClock
from gateway.upstream.asterisk.link import NUMBERS, UNTIL
from gateway.upstream.asterisk.people import remote_interface
from tests.app.samples import SECRET, loaded, write
from tests.architecture.house import imports, tracked
from tests.asterisk.site import Place, place


async def check(at: Place, folder: Path, secret: str = "secret") -> CheckReport:
    table = f'[sites.asterisk]\nuser = "oscc"\nsecret = "{secret}"\npeople_file = "{at.people}"\n'
    text = SECRET.replace("https://oscce.example", f"ami://127.0.0.1:{at.fake.port}") + table
    return await check_site(0, loaded(folder, text).settings.sites[0], SystemClock())


async def test_an_asterisk_with_everything_is_only_described(tmp_path: Path) -> None:
    async with place() as at:
        found = await check(at, tmp_path)
        assert (found.advices, found.faults) == ((), ())
        assert found.notes[0] == (
            f"site main answers: Asterisk {at.fake.version}, AMI 13.0.0, 2 queues, 3 people"
        )


@pytest.mark.parametrize(
    ("write", "ami", "queue", "advice"),
    [
        ("", "13.0.0", "support", "Site main: its AMI account may not use QueuePause, QueuePenalty,"),
        ("agent", "13.0.0", "support", "Site main: its AMI account may not use DBPut, DBDel, DBGetTree,"),
        ("agent,system", "2.10.6", "support", "Site main: AMI 2.10.6 is older than Asterisk 16: some"),
        (
            "agent,system",
            "13.0.0",
            "Support",
            "people file names queues that Asterisk does not have: Support.",
        ),
    ],
)
async def test_what_is_missing_is_advised(
    tmp_path: Path, write: str, ami: str, queue: str, advice: str
) -> None:
    async with place() as at:
        at.fake.accounts["oscc"].write = frozenset(write.split(",")) - {""}
        at.fake.ami = ami
        at.people.write_text(at.people.read_text("utf-8").replace("support", queue), "utf-8")
        found = await check(at, tmp_path)
        assert found.faults == ()
        assert advice in found.advices[0]
        is_shown = "system" in write  # the version is
        assert found.notes[0].startswith(
            f"site main answers: Asterisk {at.fake.version if is_shown else 'of'}"
        )


async def test_why_it_cannot_be_used_is_a_fault_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(check_module, "SITE_S", 60.0)
    async with place() as at, asyncio.timeout(30):
        wrong = await check(at, tmp_path, secret="another")
        assert wrong.faults[0].endswith("it refuses the user or the secret.")
        at.fake.allows_many = False
        found = await check(at, tmp_path)
        assert "is logged in already" in found.faults[0]


# ---- The files of "Your Asterisk in 20 minutes" fit each other, and the gateway accep ----


PAGE = (Path(gateway.__file__).parents[1] / "docs" / "asterisk.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """Return the blocks of code of one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_gateway_accepts_the_site_and_logs_in_as_manager_conf_says(tmp_path: Path) -> None:
    (site,) = [one for one in blocks("toml") if "[[sites]]" in one]
    asterisk = loaded(tmp_path, site).settings.sites[0].asterisk
    assert isinstance(asterisk, AsteriskSection)
    account = manager_conf()[asterisk.user]
    assert account["secret"] == asterisk.secret.get_secret_value()
    assert {account["read"], account["write"]} == {"agent,system"}
    assert tomllib.loads(site)["sites"][0]["url"].endswith(":5038")


def make_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Run the commands of step 4, as the page has them."""
    people = Path("people.toml")
    people.touch(0o600)
    for line in PAGE.splitlines():
        if line.startswith("$ oscc-gateway person "):
            assert main(shlex.split(line.partition(">>")[0])[2:]) == 0
            printed = capsys.readouterr()
            assert printed.err == ""
            people.write_text(people.read_text("utf-8") + printed.out, "utf-8")


def manager_conf() -> configparser.ConfigParser:
    """Return the account of step 1."""
    manager = configparser.ConfigParser()
    manager.read_string(next(one for one in blocks("ini") if "permit" in one))
    return manager


async def test_the_guide_as_it_stands_ends_with_a_site_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps 4 and 5 in an empty folder, before an Asterisk with the account of step 1."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OSCC_GATEWAY_PERSON_PASSWORD", "correct horse")
    await asyncio.to_thread(make_people, capsys)
    (site,) = [one for one in blocks("toml") if "[[sites]]" in one]
    manager = manager_conf()
    clock = RealClock()
    fake = FakeAsterisk(lambda: clock.now_ms() / 1000)
    fake.accounts = {name: Account(manager[name]["secret"]) for name in manager.sections()}
    for queue in ("sales", "support"):
        fake.add_queue(queue)
    await fake.start()
    try:
        file = write(tmp_path, site.replace(":5038", f":{fake.port}"))
        code = await asyncio.to_thread(main, ["check-config", "--config", str(file)])
    finally:
        await fake.stop()
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "# site main answers: Asterisk" in printed.out
    assert "2 queues, 2 people" in printed.out
    assert "people" not in printed.err


def test_the_dialplan_reads_what_the_gateway_writes() -> None:
    plan = next(one for one in blocks("ini") if "exten =>" in one)
    context = AsteriskSection.model_fields["remote_context"].default
    assert plan.startswith(f"[{context}]\n")
    assert remote_interface("ana", context) == f"Local/ana@{context}/n"
    assert f"${{DB({NUMBERS}/${{EXTEN}})}}" in plan
    assert f"${{DB({UNTIL}/${{EXTEN}})}}" in plan


# ---- The adapter for an Asterisk and the one for an OSCC-E Server do not see each oth ----


UPSTREAM = "gateway.upstream"
ASTERISK = "gateway.upstream.asterisk"


def test_neither_adapter_imports_the_other() -> None:
    graph = imports(tracked("gateway/"))
    asterisk = {module for module in graph if module.startswith(ASTERISK)}
    others = {module for module in graph if module.startswith(UPSTREAM)} - asterisk - {UPSTREAM}
    assert asterisk
    assert others
    assert not set().union(*(graph[module] for module in asterisk)) & others
    assert not set().union(*(graph[module] for module in others)) & asterisk
