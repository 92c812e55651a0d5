"""``check-config`` before an Asterisk: what is missing there is named."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.app.cli import check as check_module
from gateway.app.cli.check import SiteCheck, check_site
from gateway.app.process import SystemClock
from tests.app.samples import SECRET, loaded
from tests.asterisk.site import Place, place


async def check(at: Place, folder: Path, secret: str = "secret") -> SiteCheck:
    table = f'[sites.asterisk]\nuser = "oscc"\nsecret = "{secret}"\npeople_file = "{at.people}"\n'
    text = SECRET.replace("https://oscce.example", f"ami://127.0.0.1:{at.fake.port}") + table
    return await check_site(0, loaded(folder, text).settings.sites[0], SystemClock())


async def test_an_asterisk_with_everything_is_only_told(tmp_path: Path) -> None:
    async with place() as at:
        found = await check(at, tmp_path)
        assert (found.advice, found.fault) == (None, None)
        assert found.told == (
            f"site main answers: Asterisk {at.fake.version}, AMI 13.0.0, 2 queues, 3 people"
        )


@pytest.mark.parametrize(
    ("write", "ami", "queue", "advice"),
    [
        ("", "13.0.0", "support", "Site main: its AMI account may not use QueuePause, QueuePenalty,"),
        ("agent", "13.0.0", "support", "Site main: its AMI account may not use DBPut, DBDel, DBGetTree,"),
        ("agent,system", "2.10.6", "support", "Site main: AMI 2.10.6 is older than Asterisk 16: some"),
        ("agent,system", "13.0.0", "Support", "people names queues that Asterisk does not have: Support."),
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
        assert found.fault is None
        assert advice in str(found.advice)


async def test_why_it_cannot_be_used_is_a_fault_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(check_module, "SITE_S", 60.0)
    async with place() as at, asyncio.timeout(30):
        wrong = await check(at, tmp_path, secret="another")
        assert str(wrong.fault).endswith("it refuses the user or the secret.")
        at.fake.allows_many = False
        found = await check(at, tmp_path)
        assert "is logged in already" in str(found.fault)
