"""Users of a keyboard or a screen reader keep their place, and get all announcements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.web.stage import (
    ASSISTANT,
    DASHBOARD,
    DESK,
    NUMBER,
    PASSWORD,
    Page,
    Stage,
    expect,
    live_page,
    opened,
)

pytestmark = pytest.mark.scenario

HELD = "document.activeElement.closest('dialog')?.querySelector('h2').textContent ?? null"
NOWHERE = "!document.activeElement || document.activeElement === document.body"
NOTICE = """
id = "{0}"
version = 1
category = "security"
effective_at = 2026-03-01T00:00:00Z
must_acknowledge = false
[texts.en]
title = "{0}"
summary = "Read this."
"""


async def name_of_focus(page: Page) -> str:
    """Return what the focused control is called."""
    return str(
        await page.evaluate(
            "document.activeElement.querySelector('.a-name, .q-name')?.textContent"
            " ?? document.activeElement.textContent"
        )
    )


async def agents(stage: Stage, page: Page) -> None:
    await stage.live(page, DASHBOARD, "supervisor1")
    if await page.locator(".tabs").is_visible():
        await page.locator(".tabs button").nth(1).click()
    await expect(page.locator(".agents .agent").first).to_be_visible()


def key_of(stage: Stage, name: str) -> int:
    """Return the key of the agent with a display name."""
    every = stage.simulator.center.directory.agents.values()
    return next(agent.key for agent in every if f"{agent.first_name} {agent.last_name}" == name)


async def test_a_row_that_moves_takes_the_focus_along() -> None:
    async with opened(warm_up_s=0) as stage, stage.page(**DESK) as page:
        await agents(stage, page)
        stage.send_away()
        row = page.locator(".agents .agent[data-state=unavailable]").nth(2)
        await row.focus()
        name = await name_of_focus(page)
        stage.act("SetRoutingState", UserKey=key_of(stage, name), RoutingState="Available", By="System")
        first = page.locator(".agents .rows > :first-child .a-name")
        await expect(first).to_have_text(name)
        assert await name_of_focus(page) == name


async def test_a_row_that_is_scrolled_away_is_still_the_same_agent() -> None:
    async with opened(agents=300) as stage, stage.page() as page:
        await agents(stage, page)
        await page.locator(".agents .agent").nth(1).focus()
        name = await name_of_focus(page)
        await page.locator(".agents .scroll").evaluate("(pane) => pane.scrollTo(0, pane.scrollHeight)")
        await expect(page.locator(".agents [aria-posinset='300']")).to_be_visible()
        assert await name_of_focus(page) == name
        await page.keyboard.press("Enter")
        await expect(page.locator(".detail h2")).to_have_text(name)


async def test_a_row_that_goes_leaves_the_focus_to_its_neighbour() -> None:
    async with opened(warm_up_s=0) as stage, stage.page(**DESK) as page:
        await agents(stage, page)
        await page.locator(".filters .chip").filter(has_text="Unavailable").click()
        rows = page.locator(".agents .agent")
        await rows.nth(1).focus()
        name, follower = await name_of_focus(page), await rows.nth(2).locator(".a-name").inner_text()
        stage.act("SetRoutingState", UserKey=key_of(stage, name), RoutingState="Available", By="System")
        await expect(page.locator(".agents .a-name").filter(has_text=name)).to_have_count(0)
        assert await name_of_focus(page) == follower


@pytest.mark.parametrize("how", [{}, DESK], ids=["phone", "desk"])
async def test_back_leads_to_what_was_opened(how: dict[str, Any]) -> None:
    async with live_page(DASHBOARD, "supervisor1", how) as (_, page):
        await page.locator(".tile").nth(1).focus()
        name = await name_of_focus(page)
        await page.keyboard.press("Enter")
        await expect(page.locator(".detail h2")).to_be_focused()
        await page.locator(".detail .agent").first.focus()
        agent = await name_of_focus(page)
        await page.keyboard.press("Enter")
        await expect(page.locator(".detail h2")).to_have_text(agent)
        await page.locator(".back").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator(".detail .agent:focus .a-name")).to_have_text(agent)
        await page.locator(".back").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator(".tile:focus .q-name")).to_have_text(name)


async def test_what_was_asked_with_the_keyboard_keeps_its_place_and_is_announced() -> None:
    async with opened(warm_up_s=0) as stage, stage.page(**DESK) as page:
        await agents(stage, page)
        await page.locator(".filters .chip").filter(has_text="Unavailable").click()
        await page.locator(".agents .agent[data-state=unavailable]").first.focus()
        await page.keyboard.press("Enter")
        ask = page.locator(".acts").get_by_role("button", name="Available", exact=True)
        await ask.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator(".last")).to_contain_text("done")
        await expect(page.locator("#say")).to_contain_text("Available: done")
        await expect(page.locator(".acts button:focus")).to_have_text("Available")  # in its place, and off
        work = page.locator(".acts").get_by_role("button", name="Work")
        await work.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator(".pick").first).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator(".last")).to_contain_text("Work")
        await expect(page.locator(".last")).to_contain_text("done")
        await expect(work).to_be_focused()


async def test_an_agent_who_cancels_is_not_sent_to_the_top() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        assert await page.evaluate("document.activeElement.id") == "place"
        stage.talk("agent1")
        await expect(page.locator(".hero")).to_have_attribute("data-state", "contact")
        unavailable = page.locator(".set[data-state=unavailable]")
        await unavailable.focus()
        await page.keyboard.press("Enter")
        await page.locator(".chip-x").focus()
        await expect(page.locator("#say")).to_contain_text("takes effect after this contact")
        await page.keyboard.press("Enter")
        await expect(page.locator(".chip-x")).to_have_count(0)
        await page.wait_for_timeout(100)
        assert await page.evaluate("document.activeElement.closest('.assist-main') !== null")


async def test_each_step_of_a_change_begins_at_its_words() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK) as (_, page):
        await page.locator(".tile").first.click()
        await page.locator(".detail summary").click()
        edit = page.locator(".detail").get_by_role("button", name="Edit")
        await edit.focus()
        await page.keyboard.press("Enter")
        title = page.locator("dialog h2")
        await expect(title).to_be_focused()
        await page.get_by_label("Attention contacts").fill("400")
        for name, words in (
            ("Review", "Please check what will change."),
            ("Apply", "The values contradict each other."),
        ):
            await page.get_by_role("button", name=name).focus()
            await page.keyboard.press("Enter")
            await expect(page.locator("dialog .body :focus")).to_have_text(words)
        await page.keyboard.press("Escape")
        await expect(edit).to_be_focused()


async def test_a_tap_beside_a_form_does_not_throw_it_away() -> None:
    async with opened() as stage, stage.page() as page:
        await agents(stage, page)
        await page.locator(".agents .agent").first.click()
        await page.locator(".detail h3 .button").click()
        await page.mouse.click(180, 4)
        await expect(page.locator(".skill-edit").first).to_be_visible()


async def test_what_is_acknowledged_leaves_the_focus_to_the_next(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(NOTICE.format(name))
    async with live_page(DASHBOARD, "supervisor1", DESK, notices=tmp_path) as (_, page):
        await page.get_by_role("button", name="2 notices").focus()
        await page.keyboard.press("Enter")
        buttons = page.get_by_role("button", name="Acknowledge")
        await buttons.first.focus()
        await page.keyboard.press("Enter")
        await expect(buttons).to_have_count(1)
        await expect(buttons).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.get_by_role("button", name="Settings")).to_be_focused()


async def test_a_dialog_says_that_the_connection_is_lost_and_what_was_done() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        await page.get_by_role("button", name="Change number").click()
        received = page.get_by_role("dialog").get_by_role("log")
        await page.evaluate(
            "globalThis.told = []; new MutationObserver((all) => all.forEach(({addedNodes}) =>"
            " addedNodes.forEach((each) => told.push(each.textContent))))"
            ".observe(document.querySelector('dialog .say'), {childList: true})"
        )
        stage.act("SetRoutingState", UserKey=stage.agent().key, RoutingState="Available", By="Supervisor")
        await page.wait_for_function("() => told.includes('Available')")
        await stage.stop()
        await expect(received).to_contain_text("Not connected")
        await expect(page.locator(".toast.bad")).to_have_text("Not connected")
        await stage.start()
        await page.wait_for_function("() => told.includes('Live')")
        assert await page.evaluate(HELD) == "Change number"


async def test_a_banner_that_goes_does_not_take_the_focus_along() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK) as (stage, page):
        await stage.stop()
        now = page.get_by_role("button", name="Try now")
        await now.focus()
        await stage.start()
        await page.keyboard.press("Enter")
        await expect(page.locator(".health-text")).to_have_text("Live")
        await page.wait_for_timeout(100)
        assert await page.evaluate(NOWHERE) is False


async def test_who_waits_for_the_gateway_is_left_in_peace() -> None:
    async with opened() as stage, stage.context(service_workers="allow") as context:
        page = await stage.tab(context)
        await page.wait_for_function("() => navigator.serviceWorker.controller")
        await stage.stop()
        await page.reload()
        await expect(page.locator("h1")).to_be_focused()
        now = page.get_by_role("button", name="Try now")
        await now.focus()
        await page.keyboard.press("Enter")
        await page.wait_for_timeout(500)
        await expect(now).to_be_focused()
        await stage.start()
        await page.keyboard.press("Enter")
        await expect(page.locator("#in-user")).to_be_visible()


async def test_the_log_off_is_where_one_goes_on() -> None:
    async with opened(warm_up_s=0) as stage, stage.page() as page:
        await page.goto(f"{stage.base}/app/")
        await expect(page.locator("h1")).to_be_focused()
        await page.locator(f"input[value={ASSISTANT}]").check(force=True)
        await page.fill("#in-user", "agent1")
        await page.fill("#in-number", NUMBER)
        await page.fill("#in-password", PASSWORD)
        await page.keyboard.press("Enter")
        await expect(page.locator(".health-text")).to_have_text("Live")
        await page.get_by_role("button", name="Log off").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("dialog").get_by_role("button", name="Log off").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator(".told.done")).to_be_visible()
        await expect(page.locator("h1")).to_be_focused()
