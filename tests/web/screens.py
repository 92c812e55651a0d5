"""Screenshots of the web client: ``make screenshots`` retakes docs/screenshots.

Three series: one shift of an agent on a phone, a supervisor's morning on a phone, and both on a desk.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Page

from gateway.app.config.sources import generate_secrets
from gateway.app.logging import configure
from tests.web.stage import ASSISTANT, DASHBOARD, DESK, NUMBER, Stage, expect, opened

COLOURS = 256
"""A picture of flat surfaces needs no more; it is a third of the size then."""
CENTRE: dict[str, Any] = {
    "agents": 120, "queues": 16, "groups": 6, "users": 4, "start_paused": False, "seed": 3,
}  # fmt: skip
HERE = {"timezone_id": "Europe/Berlin"}
"""Where the centre is."""
DARK = {"color_scheme": "dark"}
GERMAN = {"locale": "de-DE"}
_CALM_MS = 700


class Album:
    """The folder that pictures go to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def take(self, page: Page, name: str) -> None:
        """Take a picture once the page is at rest, and no message lies over its head."""
        await expect(page.locator(".toast")).to_have_count(0)
        await page.wait_for_timeout(_CALM_MS)
        path = self.folder / f"{name}.png"
        await page.screenshot(path=path)
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(
                COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE
            )
        small.save(path, optimize=True)


async def shift(stage: Stage, album: Album) -> None:
    """Log on, be available, a contact, post-processing, log off. No other call comes between."""
    async with stage.page(**HERE) as page:
        await page.goto(f"{stage.base}/app/")
        await page.locator(f"input[value={ASSISTANT}]").check(force=True)
        await page.fill("#in-user", "agent1")
        await page.fill("#in-number", NUMBER)
        await album.take(page, "shift-1-log-on")
        await stage.live(page, ASSISTANT, "agent1")
        await page.locator(".reasons-part").get_by_role("button", name="Meeting").click()
        await album.take(page, "shift-2-logged-on")
        stage.talk("agent1")
        stage.crowd(stage.queue_of(stage.agent("agent1")), 3)
        await expect(page.locator(".hero")).to_have_attribute("data-state", "contact")
        await page.locator(".set[data-state=unavailable]").click()
        await page.locator(".reasons-part").get_by_role("button", name="Lunch").click()
        await album.take(page, "shift-3-contact")
        await page.get_by_role("button", name="Post-processing after this contact").click()
        stage.act("EndContact", UserKey=stage.agent("agent1").key)
        await expect(page.locator(".hero")).to_have_attribute("data-state", "post")
        await page.get_by_role("button", name="Solved").click()
        await album.take(page, "shift-4-post-processing")
        await page.get_by_role("button", name="Done").click()
        await expect(page.locator(".hero-reason")).to_have_text("Lunch")
        await album.take(page, "shift-5-lunch")
        await page.get_by_role("button", name="Log off").click()
        await page.get_by_role("dialog").get_by_role("button", name="Log off").click()
        await expect(page.locator(".told.done")).to_be_visible()
        await album.take(page, "shift-6-logged-off")


async def morning(stage: Stage, album: Album) -> None:
    """Queues, agents, one agent, a change with its diff, old data."""
    async with stage.page(**HERE, **DARK) as page:
        await stage.live(page, DASHBOARD, "supervisor1")
        await album.take(page, "dashboard-1-queues")
        await page.locator(".tile").first.click()
        await album.take(page, "dashboard-2-queue")
        await page.locator(".back").click()
        await page.get_by_role("button", name="Agents").click()
        await album.take(page, "dashboard-3-agents")
        await page.locator(".agents .agent").nth(4).click()
        await page.locator(".acts button:not([aria-disabled])").first.click()
        await album.take(page, "dashboard-4-agent")
        await page.locator(".detail h3 .button").click()
        await page.locator(".skill-edit input").first.fill("85")
        await page.locator(".step-foot .primary").click()
        await album.take(page, "dashboard-5-diff")
        await page.keyboard.press("Escape")


async def desk(stage: Stage, album: Album) -> None:
    """Both applications on a desk, in both looks and languages."""
    async with stage.page(**HERE, **DESK) as page:
        await stage.live(page, DASHBOARD, "supervisor1")
        await page.locator(".tile").first.click()
        await album.take(page, "desk-dashboard-light")
        await page.get_by_role("button", name="Table", exact=True).click()
        await album.take(page, "desk-table")
        await page.get_by_role("button", name="Wallboard").click()
        await album.take(page, "desk-wallboard")
    async with stage.page(**HERE, **DESK, **DARK, **GERMAN) as page:
        await stage.live(page, DASHBOARD, "supervisor1")
        await page.locator(".agents .agent").nth(3).click()
        await album.take(page, "desk-dashboard-dark-german")
    async with stage.page(**HERE, **DESK, **DARK, **GERMAN) as page:
        await stage.live(page, ASSISTANT, "agent7")
        await album.take(page, "desk-assistant-dark-german")


async def old(stage: Stage, album: Album) -> None:
    """What is seen when the contact centre cannot be reached."""
    async with stage.page(**HERE) as page:
        await stage.live(page, DASHBOARD, "supervisor1")
        await stage.fall_silent(page)
        await album.take(page, "dashboard-6-old-data")


async def main(folder: Path) -> None:
    """Take all pictures."""
    configure("error", generate_secrets().pseudonym_key, sys.stderr)
    album = Album(folder)
    async with opened(warm_up_s=0) as stage:
        await shift(stage, album)
    async with opened(**CENTRE) as stage:
        for series in (morning, desk, old):
            await series(stage, album)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
    print(f"{len(list(Path(sys.argv[1]).glob('*.png')))} pictures in {sys.argv[1]}")
