"""Both apps at an Asterisk: what it does not report is left out, and what it reports is counted."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.simulator.model import Json
from tests.doubles.fake_ami import FakeAsterisk, quick_hash
from tests.web.stage import DASHBOARD, PASSWORD, Page, expect, live_page

pytestmark = pytest.mark.scenario

DAY_S = 86_400
DESK_PHONE = "PJSIP/2001"
BOSS = f"""
[[people]]
login = "bea"
name = "Bea Boss"
password = "{quick_hash(PASSWORD)}"
supervisor = true
sees = ["*"]
"""


@asynccontextmanager
async def asterisk(folder: Path) -> AsyncIterator[tuple[FakeAsterisk, Json]]:
    """Run a small Asterisk; yields it and its site in the configuration."""
    people = folder / "people.toml"
    people.write_text(BOSS)
    fake = FakeAsterisk(time.time)
    for name in ("sales", "support"):
        fake.add_queue(name)
    fake.add_static("sales", DESK_PHONE, "Ada Adler", penalty=2)
    await fake.start()
    account = {"user": "oscc", "secret": "secret", "people_file": str(people)}
    try:
        yield (
            fake,
            {
                "url": f"ami://127.0.0.1:{fake.port}",
                "display_name": "PBX",
                "insecure": True,
                "asterisk": account,
            },
        )
    finally:
        await fake.stop()


async def figure(page: Page, name: str, wanted: str) -> None:
    """Wait for a key figure."""
    place = page.locator(".kpi", has=page.locator(f"dt:text-is('{name}')"))
    await expect(place.locator("dd > span").first).to_have_text(wanted)


async def test_shares_of_all_queues_are_weighted_by_answered_and_abandoned_calls(tmp_path: Path) -> None:
    """An Asterisk does not report how many calls a queue received."""
    async with asterisk(tmp_path) as (fake, site):
        sales, support = fake.queues["sales"], fake.queues["support"]
        sales.completed, sales.within = 80, 72
        support.completed, support.within, support.abandoned = 20, 10, 20
        async with live_page(DASHBOARD, "bea", site=site) as (_, page):
            await figure(page, "Service level", "77 %")
            await figure(page, "Abandoned", "17 %")


async def test_a_skill_without_preferences_shows_and_asks_none(tmp_path: Path) -> None:
    async with asterisk(tmp_path) as (fake, site):
        fake.queues["sales"].members[DESK_PHONE].log_in = int(time.time()) - 3 * DAY_S
        async with live_page(DASHBOARD, "bea", {"timezone_id": "UTC"}, site=site) as (_, page):
            await page.locator(".tabs button").nth(1).click()
            await page.locator(".agents .agent").first.click()
            skill = page.locator(".skills li").first
            await expect(skill).to_have_text("sales8")
            assert await skill.locator(".meter i").evaluate("(bar) => bar.style.transform") == "scaleX(0.8)"
            since = page.locator(".facts div", has_text="Counted since")
            joined = time.gmtime(time.time() - 3 * DAY_S)
            await expect(since).to_contain_text(f"{joined.tm_mday} {time.strftime('%b', joined)}")
            await page.locator(".detail h3 .button").click()
            await expect(page.locator(".skill-edit")).to_contain_text("Level")
            await expect(page.locator(".skill-edit")).not_to_contain_text("Preference")
            await page.locator(".skill-edit input").first.fill("5")
            await page.get_by_role("button", name="Review").click()
            await expect(page.locator(".diff td")).to_have_text(["8", "5"])
            await page.get_by_role("button", name="Apply").click()
            await expect(skill).to_have_text("sales5")
        assert fake.queues["sales"].members[DESK_PHONE].penalty == 5
