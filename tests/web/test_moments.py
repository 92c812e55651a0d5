"""What does a person see in the moments that matter: coming back, a dead link, a tap while things move?

Each at the size and the round-trip time at which it was seen to fail.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.web.road import Road
from tests.web.stage import ASSISTANT, DASHBOARD, DESK, Page, Stage, expect, opened

pytestmark = pytest.mark.scenario

WIDE: dict[str, Any] = {**DESK, "is_mobile": False, "has_touch": False}
RTT_S = 0.3
HIDE = """(hidden) => {
  Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});
  document.dispatchEvent(new Event('visibilitychange'));
}"""
WATCH = """() => {
  globalThis.seen = [];
  globalThis.moved = 0;
  globalThis.movers = [];
  const shell = document.querySelector('.shell');
  const look = () => {
    const text = document.querySelector('.health-text').textContent;
    const health = document.querySelector('.health').dataset.health;
    const longest = document.querySelectorAll('.kpi dd')[1]?.textContent ?? '';
    const last = [text, health, shell.dataset.frozen ?? '', longest].join('|');
    if (seen.at(-1) !== last) seen.push(last);
  };
  new MutationObserver(look).observe(shell,
    {subtree: true, childList: true, attributes: true, characterData: true});
  new PerformanceObserver((list) => {
    for (const each of list.getEntries()) {
      moved += each.value;
      for (const {node, previousRect: from, currentRect: to} of each.sources)
        movers.push(`${node?.className ?? node} ${from.x},${from.y} to ${to.x},${to.y}`);
    }
  }).observe({type: 'layout-shift'});
}"""


@asynccontextmanager
async def far(
    application: str, user: str, rtt_s: float = RTT_S, centre: dict[str, Any] | None = None, **how: Any
) -> AsyncIterator[tuple[Stage, Page, Road]]:
    """Open a live page on a road."""
    async with (
        opened(**{"warm_up_s": 0, **(centre or {})}) as stage,
        stage.far(rtt_s) as way,
        stage.page(**how) as page,
    ):
        await stage.live(page, application, user)
        yield stage, page, way


async def moved(page: Page) -> float:
    """Return how much the page has moved since it was watched."""
    await page.wait_for_timeout(100)  # entries of the last frame
    far_moved = float(await page.evaluate("moved"))
    if far_moved > 0.02:
        print(*await page.evaluate("movers"), sep="\n")  # shown when the test fails
    return far_moved


async def test_coming_back_is_grey_and_still_until_it_is_up_to_date() -> None:
    async with far(DASHBOARD, "supervisor1") as (stage, page, _):
        stage.send_away()
        stage.act("Arrive", QueueKey=next(iter(stage.simulator.center.directory.queues)))
        await expect(page.locator(".kpi dd").nth(1)).to_have_text("0:01", timeout=5000)
        await page.evaluate(WATCH)
        await page.evaluate(HIDE, True)
        await page.wait_for_timeout(3500)
        assert await page.locator(".health-text").inner_text() == "Updating …"
        await page.evaluate(HIDE, False)
        await expect(page.locator(".health-text")).to_have_text("Live")
        seen = await page.evaluate("seen")
        assert [each for each in seen if "bad" in each or "Not connected" in each] == []
        stood = {each.split("|")[3] for each in seen if each.split("|")[2]}
        assert len(stood) == 1  # while it is not live, no time runs
        assert await moved(page) <= 0.02


async def test_what_does_not_come_back_is_said_and_moves_nothing() -> None:
    async with far(DASHBOARD, "supervisor1") as (stage, page, way):
        await page.evaluate(WATCH)
        top = await page.locator(".kpis").bounding_box()
        await stage.stop()
        await expect(page.locator(".health-text")).to_have_text("Not connected")
        banner = page.locator(".banner.bad")
        await expect(banner).to_contain_text("Connection lost.")
        assert await page.locator(".kpis").bounding_box() == top
        box = await banner.bounding_box()
        assert box is not None
        assert top is not None
        assert box["y"] + box["height"] <= top["y"]  # it covers no figure
        assert await moved(page) <= 0.02
        await stage.start()
        way.restore()


async def test_a_dead_link_is_found_by_the_command_that_gets_no_answer() -> None:
    async with far(ASSISTANT, "agent1") as (stage, page, way):
        await expect(page.locator(".hero-name")).to_have_text("Unavailable")
        way.silence()
        await page.locator(".set[data-state=available]").click()
        await expect(page.locator(".health-text")).to_have_text("Updating …", timeout=5000)
        await expect(page.locator(".set[data-state=work]")).to_be_disabled()
        await expect(page.locator(".health-text")).to_have_text("Not connected", timeout=5000)
        await expect(page.locator(".act-list")).to_contain_text("no answer", timeout=10_000)
        assert stage.agent().state == "Unavailable"
        way.cut()
        await expect(page.locator(".health-text")).to_have_text("Live", timeout=20_000)
        asked = page.locator(".unsure")
        await expect(asked).to_contain_text(
            re.compile(r"No answer\. You are still Unavailable \(\d\d:\d\d\)\. Try again\?")
        )
        await asked.get_by_role("button", name="Available").click()
        await expect(page.locator(".hero-name")).to_have_text("Available")
        await expect(asked).to_be_hidden()


async def test_a_link_that_goes_silent_is_not_called_live_for_long() -> None:
    async with far(DASHBOARD, "supervisor1") as (_, page, way):
        way.silence()
        # a ping is due within 16.5 s, and is said to be late 3 s after that
        await expect(page.locator(".health-text")).to_have_text("Updating …", timeout=20_000)
        way.restore()
        await expect(page.locator(".health-text")).to_have_text("Live", timeout=5000)


@pytest.mark.parametrize(("application", "user"), [(DASHBOARD, "supervisor1"), (ASSISTANT, "agent1")])
async def test_a_function_that_is_down_is_said(application: str, user: str) -> None:
    async with far(application, user) as (stage, page, _):
        there = page.locator(".banner.caution")
        await expect(there).to_be_hidden()
        stage.simulator.faults.set_function("Voice", "Down")
        await expect(there).to_have_text("Down: Voice.")
        if application == ASSISTANT:
            await expect(page.locator(".hero .no-call")).to_have_text("No call can ring. Down: Voice")
        stage.simulator.faults.set_function("Voice", "Up")
        await expect(there).to_be_hidden()


PLACES = """(names) => names.flatMap((name) => [...document.querySelectorAll(name)])
  .map((each) => each.getBoundingClientRect()).map(({x, y}) => [Math.round(x), Math.round(y)])"""


async def test_nothing_moves_under_the_finger_of_an_agent() -> None:
    async with far(ASSISTANT, "agent1") as (stage, page, _):
        await page.evaluate(WATCH)
        fixed = [".hero-name", ".sets .set"]
        before = await page.evaluate(PLACES, fixed)
        tap = page.locator
        await tap(".set[data-state=available]").tap()
        await expect(page.locator(".hero-name")).to_have_text("Available")
        await tap(".set[data-state=unavailable]").tap()
        await expect(page.locator(".hero-name")).to_have_text("Unavailable")
        await page.locator(".reasons-part").get_by_role("button", name="Lunch").tap()
        await expect(page.locator(".hero-reason")).to_have_text("Lunch")
        key = stage.talk("agent1")
        await expect(page.locator(".hero-name")).to_have_text("Talking")
        await tap(".set[data-state=unavailable]").tap()
        await expect(page.locator(".hero-next .chip-x")).to_be_visible()
        await tap(".chip-x").tap()
        await expect(page.locator(".chip-x")).to_have_count(0)
        await page.get_by_role("button", name="Post-processing after this contact").tap()
        await expect(page.locator(".act-list")).to_contain_text("Start post-processing")
        stage.act("EndContact", UserKey=key)
        await expect(page.locator(".hero-name")).to_have_text("Post-processing")
        more = page.get_by_role("button", name="+30 s")
        box = await more.bounding_box()
        assert box is not None
        for _ in range(2):  # a double tap, where the first has not been answered
            await page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        await expect(page.locator(".hero-time")).to_contain_text("0:5", timeout=5000)
        assert await more.bounding_box() == box
        assert await page.locator(".post .chip[aria-pressed=true]").count() == 0
        await page.get_by_role("button", name="Done").tap()
        await expect(page.locator(".hero-name")).to_have_text("Available")
        assert await page.evaluate(PLACES, fixed) == before
        assert await moved(page) <= 0.02


async def sheet(page: Page, stage: Stage, user: str) -> None:
    """Open the page of an agent."""
    agent = stage.agent(user)
    if await page.locator(".tabs").is_visible():
        await page.locator(".tabs button").nth(1).click()
    await page.get_by_label("Name or extension").fill(agent.extension)
    await page.locator(".agents .agent").first.click()
    await expect(page.locator(".detail h2")).to_have_text(f"{agent.first_name} {agent.last_name}")


async def test_nothing_moves_under_the_finger_of_a_supervisor() -> None:
    async with far(DASHBOARD, "supervisor1") as (stage, page, _):
        await sheet(page, stage, "agent3")
        key = stage.talk("agent3")
        await expect(page.locator(".agent-state .now")).to_contain_text("Talking")
        await page.evaluate(WATCH)
        fixed = [".acts .button", ".skills"]
        before = await page.evaluate(PLACES, fixed)
        await page.locator(".acts").get_by_role("button", name="Unavailable", exact=True).tap()
        await expect(page.locator(".last")).to_contain_text("takes effect after this contact")
        assert await page.evaluate(PLACES, fixed) == before
        assert await moved(page) <= 0.02
        stage.act("EndContact", UserKey=key)
        await expect(page.locator(".agent-state .now")).to_contain_text("Unavailable")
        before = await page.evaluate(PLACES, fixed)
        await page.evaluate("moved = 0")
        await page.locator(".acts").get_by_role("button", name="Available", exact=True).tap()
        await expect(page.locator(".last")).to_contain_text("Available · done")
        assert await page.evaluate(PLACES, fixed) == before
        assert await moved(page) <= 0.02


async def test_nobody_is_logged_off_by_one_tap() -> None:
    async with far(DASHBOARD, "supervisor1") as (stage, page, _):
        await sheet(page, stage, "agent3")
        agent = stage.agent("agent3")
        key = stage.talk("agent3")
        await expect(page.locator(".agent-state .now")).to_contain_text("Talking")
        assert await page.locator(".acts").get_by_role("button", name="Log off").count() == 0
        await page.locator(".way-out button").tap()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("is in a contact and will be logged off after it")
        assert agent.logged_on
        await dialog.get_by_role("button", name="Log off").tap()
        await expect(page.locator(".agent-state .chip")).to_contain_text("Logged off")
        assert agent.logged_on
        stage.act("EndContact", UserKey=key)
        await expect(page.locator(".agent-state .now")).to_contain_text("Logged off")


async def test_log_off_in_a_contact_waits_in_the_app_and_can_be_taken_back() -> None:
    async with far(ASSISTANT, "agent1") as (stage, page, _):
        key = stage.talk("agent1")
        await expect(page.locator(".hero-name")).to_have_text("Talking")
        chip = page.locator(".hero-next .chip")

        async def wish() -> None:
            await page.locator(".mine").get_by_role("button", name="Log off").click()
            await page.get_by_role("dialog").get_by_role("button", name="After this contact").click()
            await expect(chip).to_have_text("Logged off after this contact")

        await wish()
        await page.reload()  # the wish outlives the page
        await expect(chip).to_have_text("Logged off after this contact")
        # no call is sent to an agent on the way out
        await expect(page.locator(".set[data-state=unavailable]")).to_have_attribute("aria-pressed", "true")
        await page.get_by_role("button", name="Stay logged on").click()
        await expect(chip).to_have_count(0)
        await expect(page.locator(".set[data-state=available]")).to_have_attribute("aria-pressed", "true")
        await wish()
        stage.act("EndContact", UserKey=key)
        await expect(page.locator(".told")).to_contain_text("Confirmed", timeout=20_000)
