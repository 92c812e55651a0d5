"""axe-core finds no fault on any page, in any look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.web.stage import ASSISTANT, DASHBOARD, DESK, NUMBER, Page, Stage, expect, live_page, opened

axe = pytest.importorskip("axe_playwright_python", reason="the group `web` is not installed")

pytestmark = pytest.mark.scenario

AXE = (Path(axe.__file__).parent / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CHECK = """async (tags) => (await axe.run(document, {
  runOnly: {type: 'tag', values: tags}, resultTypes: ['violations'], selectors: false,
})).violations"""
"""All of its rules; to describe each element that passes would take as long again."""
TARGETS = """() => [...document.querySelectorAll('button, select, input, a[href], summary')]
  .filter((each) => each.checkVisibility() && !each.closest('.sr, .skip'))
  .map((each) => [each, each.matches('[type=checkbox], [type=radio]') && each.closest('label') || each])
  .map(([each, target]) => [each, target.getBoundingClientRect()])
  .filter(([each, box]) => box.height < 43.5 && !each.matches('[role=switch]'))
  .map(([each, box]) => `${each.outerHTML.slice(0, 120)} is ${Math.round(box.height)} px high`)"""
REST = """async () => {
  const moving = () => document.getAnimations().filter(({playState: state, effect}) =>
    state === 'running' && effect.getComputedTiming().endTime !== Infinity && !effect.target.closest('.bar'));
  const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  for (await drawn(); moving().length; await drawn()) {
    await Promise.allSettled(moving().map(({finished}) => finished));
  }
}"""
"""Waits until what moves has come to rest, but for what turns or runs down all the time."""
COLOURS = """async () => (await axe.run(document, {
  runOnly: {type: 'rule', values: ['color-contrast', 'link-in-text-block']}, resultTypes: ['violations'],
  selectors: false,
})).violations"""
"""What another look of the same page may change."""

Look = Literal["light", "dark"]
Act = Callable[[Page, Stage], Awaitable[None]]


def described(violations: list[dict[str, Any]]) -> list[str]:
    return [
        f"{each['id']}: {each['help']}: {node['html'][:160]} {node['failureSummary']}"
        for each in violations
        for node in each["nodes"]
    ]


async def faults(page: Page) -> list[str]:
    """Return what axe finds, and what is too small to hit."""
    await page.evaluate(REST)
    await page.evaluate(AXE)
    return described(await page.evaluate(CHECK, TAGS)) + list(await page.evaluate(TARGETS))


async def faults_of_looks(page: Page, present: Look = "light") -> list[str]:
    """Return the same, and what is wrong in the other look."""
    found = await faults(page)
    await page.emulate_media(color_scheme="dark" if present == "light" else "light")
    await page.evaluate(REST)
    found += [f"in the other look: {each}" for each in described(await page.evaluate(COLOURS))]
    await page.emulate_media(color_scheme=present)
    return found


async def test_log_on() -> None:
    async with opened() as stage, stage.page() as page:
        await page.goto(f"{stage.base}/app/")
        await page.locator(f"input[value={ASSISTANT}]").check(force=True)
        assert await faults_of_looks(page) == []
        await page.click("button[type=submit]")
        await expect(page.locator(".problem")).to_be_visible()
        assert await faults_of_looks(page) == []


async def queues(page: Page, _: Stage) -> None:
    await expect(page.locator(".tile").first).to_be_visible()


async def agents(page: Page, _: Stage) -> None:
    if await page.locator(".tabs").is_visible():
        await page.locator(".tabs button").nth(1).click()
    await expect(page.locator(".agents .agent").first).to_be_visible()


async def sheet(page: Page, _: Stage) -> None:
    await page.locator(".agents .agent").first.click()
    await page.locator(".acts button").first.click()
    await expect(page.locator(".last")).not_to_be_empty()


async def skills(page: Page, _: Stage) -> None:
    await page.locator(".detail h3 .button").click()
    await page.locator(".skill-edit input").first.fill("33")


async def review(page: Page, _: Stage) -> None:
    await page.locator(".step-foot .primary").click()
    await expect(page.locator(".diff")).to_be_visible()


async def queue(page: Page, _: Stage) -> None:
    await page.keyboard.press("Escape")
    if await page.locator(".tabs").is_visible():
        await page.locator(".tabs button").first.click()
    await page.locator(".tile").first.click()
    await page.locator(".detail summary").click()


async def parameters(page: Page, _: Stage) -> None:
    await page.locator(".part > .button").click()


async def settings(page: Page, _: Stage) -> None:
    await page.keyboard.press("Escape")
    await page.locator(".strip .square").last.click()


async def old(page: Page, stage: Stage) -> None:
    await page.keyboard.press("Escape")
    await stage.fall_silent(page)


PAGES: tuple[Act, ...] = (queues, agents, sheet, skills, review, queue, parameters, settings, old)
"""What leads from page to page."""


@pytest.mark.parametrize(
    ("how", "look"), [({"locale": "de-DE"}, "dark"), (DESK, "light")], ids=["phone", "desk"]
)
async def test_dashboard(how: dict[str, Any], look: Look) -> None:
    """What both sizes have is seen in both looks; what one size has alone is on the first page."""
    async with live_page(DASHBOARD, "supervisor1", {"color_scheme": look, **how}, agents=12) as (stage, page):
        for act in PAGES:
            await act(page, stage)
            found = await (faults_of_looks(page, look) if act is queues else faults(page))
            assert found == [], act.__name__


async def test_assistant() -> None:
    async with opened(warm_up_s=0) as stage, stage.page(locale="de-DE") as page:
        await stage.live(page, ASSISTANT, "agent1", NUMBER)
        assert await faults_of_looks(page) == []
        await page.locator(".set[data-state=work]").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert await faults_of_looks(page) == []
        await page.locator(".pick").first.click()
        key = stage.talk("agent1")
        await expect(page.locator(".hero")).to_have_attribute("data-state", "contact")
        await page.locator(".set[data-state=unavailable]").click()
        await expect(page.locator(".hero-next .chip-x")).to_be_visible()
        assert await faults_of_looks(page) == []
        await page.locator(".area > .button").click()
        await expect(page.locator(".act-list li")).not_to_have_count(0)
        stage.act("EndContact", UserKey=key)
        await expect(page.locator(".hero")).to_have_attribute("data-state", "post")
        assert await faults_of_looks(page) == []
        await stage.fall_silent(page)
        assert await faults_of_looks(page) == []
