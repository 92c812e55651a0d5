"""A crowd on one node: every mirror equals the simulator's truth, with one link per user throughout."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests.scenarios.phones import Counts, Phone
from tests.scenarios.site import Installation, installation
from tests.scenarios.truth import Truth

pytestmark = pytest.mark.scenario


class Size(NamedTuple):
    users: int
    phones_per_user: int
    seconds: float
    cuts: int
    agents: int
    queues: int


SIZES = {
    "light": Size(20, 2, 8.0, 10, agents=200, queues=20),
    "full": Size(1000, 2, 300.0, 50, agents=1500, queues=100),
}
SIZE = SIZES[os.environ.get("SCENARIO_SIZE", "light")]
LOG_ONS_AT_A_TIME = 16
QUIET_S = 30.0
RESUMED_AT_LEAST = 0.8
"""A phone may be cut again before it is back."""


@pytest.mark.timeout(SIZE.seconds + 600)
@pytest.mark.takes(8)
async def test_every_mirror_equals_the_truth_and_cut_phones_resume(tmp_path: Path) -> None:
    options = ["--users", str(SIZE.users), "--agents", str(SIZE.agents), "--queues", str(SIZE.queues)]
    options += ["--interval-s", "0.5", "--events-per-s", "500"]
    limits = {"connections": 20000, "log_ons_per_s": 200}
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        installation(tmp_path, *options, limits=limits) as site,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        users = {user["UserName"]: user for user in (await site.centre.ask("users"))["Users"]}
        counts = Counts()
        phones = [
            Phone(http, site.gateway.base, counts, f"supervisor{user}", f"d{device}")
            for user in range(1, SIZE.users + 1)
            for device in range(SIZE.phones_per_user)
        ]
        started = time.monotonic()
        await _log_on(phones)
        async with asyncio.TaskGroup() as tasks:
            lives = [tasks.create_task(_live(phone)) for phone in phones]
            await asyncio.wait_for(_all_ready(phones), 120)
            took_s = time.monotonic() - started
            print(f"\n{len(phones)} phones of {SIZE.users} users connected in {took_s:.1f} s")
            await _endure(site, phones, counts)
            await site.centre.ask("pause", {})
            differences = await _settle(site, phones, users)
            links = await site.centre.ask("links")
            for life in lives:
                life.cancel()
        print(f"{links['PublishedChanges']} changes published by the simulator")
        assert differences == []
        assert len(links["Links"]) == SIZE.users
        assert all(link["MostAtOnce"] == 1 for link in links["Links"].values())
        log = site.gateway.written().splitlines()
        assert not [line for line in log if "Traceback" in line or '"error"' in line]


async def _endure(site: Installation, phones: list[Phone], counts: Counts) -> None:
    """Cut phones at random while the centre lives; each must resume without a reset."""
    resets, frames, began_cpu_s = counts.resets, counts.frames, _cpu_s(site.gateway.pid)
    await _cut_at_random(phones, SIZE)
    cpu = (_cpu_s(site.gateway.pid) - began_cpu_s) / SIZE.seconds
    print(
        f"{SIZE.seconds:.0f} s: {counts.frames - frames} frames; gateway {cpu * 100:.0f} % of a core, "
        f"RSS {_rss_kb(site.gateway.pid) / 1024:.0f} MB; {SIZE.cuts} cuts, {counts.resumed} resumed"
    )
    assert counts.resets == resets, "a cut phone was reset though its stream stayed"
    assert counts.resumed >= SIZE.cuts * RESUMED_AT_LEAST


async def _log_on(phones: list[Phone]) -> None:
    gate = asyncio.Semaphore(LOG_ONS_AT_A_TIME)

    async def one(phone: Phone) -> None:
        async with gate:
            await phone.log_on()

    async with asyncio.TaskGroup() as tasks:
        for phone in phones:
            tasks.create_task(one(phone))


async def _live(phone: Phone) -> None:
    while True:
        wait_s = random.uniform(0.05, 0.5)
        try:
            await phone.live()
        except aiohttp.WSServerHandshakeError as refused:
            if refused.status not in (429, 503) or refused.headers is None:
                raise
            wait_s += float(refused.headers["Retry-After"])
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(wait_s)


async def _all_ready(phones: list[Phone]) -> None:
    for phone in phones:
        await phone.ready.wait()


async def _cut_at_random(phones: list[Phone], size: Size) -> None:
    ends = time.monotonic() + size.seconds
    for _ in range(size.cuts):
        await asyncio.sleep(size.seconds / (size.cuts + 1))
        random.choice(phones).cut()
    await asyncio.sleep(max(0.0, ends - time.monotonic()))


async def _settle(site: Installation, phones: list[Phone], users: dict[str, Any]) -> list[str]:
    """Return what is still shown wrongly after a while of quiet."""
    ends = time.monotonic() + QUIET_S
    differences = ["nothing was compared"]
    while differences and time.monotonic() < ends:
        await asyncio.sleep(1)
        truth = Truth(await site.centre.ask("truth"))
        differences = [
            f"{phone.name}/{phone.device} {difference}"
            for phone in phones
            for difference in truth.differences(phone.shown, users[phone.name]["Scope"])[:3]
        ]
    return differences[:20]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0
