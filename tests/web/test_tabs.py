"""Two tabs of one browser do not disturb each other, and each learns of a new version."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from tests.web.stage import ASSISTANT, DASHBOARD, PASSWORD, BrowserContext, Page, Stage, expect, opened

pytestmark = pytest.mark.scenario

WEB = resources.files("gateway") / "web"
NOTICE = """
id = "hours"
version = 1
category = "maintenance"
effective_at = 2026-03-01T00:00:00Z
[texts.en]
title = "Hours"
summary = "Nothing runs at night."
"""
SHARED = "({local: {...localStorage}, cookie: document.cookie})"


async def token(page: Page) -> str:
    """Return the token that a tab holds."""
    held: dict[str, Any] = json.loads(await page.evaluate("sessionStorage.getItem('oscc.session')"))
    return str(held["token"])


async def pair(stage: Stage, context: BrowserContext) -> tuple[Page, Page]:
    """Open the Dashboard in one tab and the Remote Assistant in another; both want to be remembered."""
    board, hand = [await stage.tab(context) for _ in range(2)]
    await stage.live(board, DASHBOARD, "supervisor1", remember=True)
    await stage.live(hand, ASSISTANT, "agent1")
    await expect(hand.locator(".number")).to_have_text("+49 301 234 567")
    return board, hand


async def test_two_tabs_are_two_sessions() -> None:
    async with opened(warm_up_s=0) as stage, stage.context() as context:
        board, hand = await pair(stage, context)
        tokens = {await token(board), await token(hand)}
        assert len(tokens) == 2
        shared = json.dumps(await hand.evaluate(SHARED))
        assert not [each for each in (*tokens, "1234567", PASSWORD) if each in shared]
        for page, application in ((board, DASHBOARD), (hand, ASSISTANT), (board, DASHBOARD)):
            await page.reload()
            await expect(page.locator(f".shell.{application}")).to_be_visible()
            await expect(page.locator(".health-text")).to_have_text("Live")
        assert {await token(board), await token(hand)} == tokens
        third = await stage.tab(context)
        await expect(third.locator("#in-user")).to_be_visible()  # nobody's session is found here
        assert await third.evaluate("sessionStorage.getItem('oscc.session')") is None


async def test_the_end_of_one_session_is_none_of_the_others() -> None:
    async with opened(warm_up_s=0) as stage, stage.context() as context:
        board, hand = await pair(stage, context)
        await hand.get_by_role("button", name="Log off").click()
        await hand.get_by_role("dialog").get_by_role("button", name="Log off").click()
        await expect(hand.locator(".told.done")).to_be_visible()
        assert await hand.evaluate("sessionStorage.getItem('oscc.session')") is None
        await board.reload()
        await expect(board.locator(".health-text")).to_have_text("Live")
        await stage.live(hand, ASSISTANT, "agent2")  # somebody else, with other wishes
        await hand.get_by_role("button", name="Settings").click()
        await hand.get_by_label("Appearance").select_option("dark")
        await board.reload()
        await expect(board.locator("html")).to_have_attribute("data-theme", "auto")
        stage.act("EndSession", User="supervisor1", Reason="Maintenance")
        await expect(board.locator("#in-user")).to_have_value("supervisor1")
        await expect(board.locator("input[value=dashboard]")).to_be_checked()
        await expect(hand.locator(".health-text")).to_have_text("Live")


async def test_two_people_who_are_remembered_do_not_overwrite_each_other() -> None:
    async with opened() as stage, stage.context() as context:
        first, second = [stage.watched(await context.new_page()) for _ in range(2)]
        for page, user in ((first, "supervisor1"), (second, "supervisor2")):
            await stage.live(page, DASHBOARD, user, remember=True)
        for page, user in ((first, "supervisor1"), (second, "supervisor2")):
            stage.act("EndSession", User=user, Reason="Maintenance")
            await expect(page.locator("#in-user")).to_have_value(user)
        await first.locator("input[name=remember]").uncheck()
        await first.fill("#in-password", PASSWORD)
        await first.click("button[type=submit]")
        await expect(first.locator(".health-text")).to_have_text("Live")
        third = await stage.tab(context)
        await expect(third.locator("#in-user")).to_have_value("")


async def left(page: Page) -> str | None:
    """Return the token that the device keeps for the next tab."""
    held = await page.evaluate(f"localStorage.getItem('oscc.session.{DASHBOARD}')")
    return str(json.loads(held)["token"]) if held else None


async def log_off(page: Page) -> None:
    """Log off, and see it confirmed."""
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_role("dialog").get_by_role("button", name="Log off").click()
    await page.get_by_role("dialog").get_by_role("button", name="Log off").click()
    await expect(page.locator(".told.done")).to_be_visible()


async def test_nobody_stays_logged_on_who_does_not_choose_it() -> None:
    async with opened() as stage, stage.context() as context:
        page = await stage.tab(context)
        await expect(page.locator("input[name=stay]")).not_to_be_checked()
        await stage.live(page, DASHBOARD, "supervisor1")
        assert await left(page) is None
        await page.close()
        again = await stage.tab(context)
        await expect(again.locator("#in-user")).to_be_visible()


async def test_who_stays_is_there_after_a_reload_in_a_new_tab_and_in_a_new_browser(tmp_path: Path) -> None:
    async with opened() as stage:
        async with stage.lasting(tmp_path) as context:
            page, other = [stage.watched(await context.new_page()) for _ in range(2)]
            await stage.live(page, DASHBOARD, "supervisor1", stay=True)
            held = await token(page)
            assert await left(page) == held
            await page.reload()
            await expect(page.locator(".health-text")).to_have_text("Live")
            await other.goto(f"{stage.base}/app/")  # the session has a living tab
            await expect(other.locator("#in-user")).to_be_visible()
            await page.close()
            await other.reload()
            await expect(other.locator(".health-text")).to_have_text("Live")
            assert await token(other) == held
        async with stage.lasting(tmp_path) as context:
            page = await stage.tab(context)
            await expect(page.locator(".health-text")).to_have_text("Live")
            assert await token(page) == held
            assert PASSWORD not in json.dumps(await page.evaluate(SHARED))
            await log_off(page)
            assert await left(page) is None
        async with stage.lasting(tmp_path) as context:
            page = await stage.tab(context)
            await expect(page.locator("#in-user")).to_be_visible()


async def test_one_of_two_stays_and_neither_ends_the_others_session() -> None:
    async with opened() as stage, stage.context() as context:
        first, second, third = [stage.watched(await context.new_page()) for _ in range(3)]
        await stage.live(first, DASHBOARD, "supervisor1", stay=True)
        await stage.live(second, DASHBOARD, "supervisor2", stay=False)
        held = await token(first)
        assert await token(second) != held
        assert await left(second) == held  # a user who does not stay logged on ends no tab's session
        await log_off(second)
        assert await left(second) == held
        await first.reload()
        await expect(first.locator(".health-text")).to_have_text("Live")
        await third.goto(f"{stage.base}/app/")
        await stage.sign(third, DASHBOARD, "supervisor2", stay=True)
        await expect(third.locator(".health-text")).to_have_text("Live")
        assert await left(third) == await token(third)  # one is kept, the newest
        await log_off(first)
        assert await left(third) == await token(third)
        await third.close()
        await first.reload()
        await expect(first.locator(".health-text")).to_have_text("Live")
        await log_off(first)
        assert await left(first) is None


async def test_another_choice_at_the_log_on_ends_what_was_left() -> None:
    async with opened() as stage, stage.context() as context:
        first, second = [stage.watched(await context.new_page()) for _ in range(2)]
        await stage.live(first, DASHBOARD, "supervisor1", stay=True)
        await second.goto(f"{stage.base}/app/")
        await expect(second.locator("#in-user")).to_be_visible()
        await first.close()
        await stage.sign(second, DASHBOARD, "supervisor2", stay=False)
        await expect(second.locator(".health-text")).to_have_text("Live")
        assert await left(second) is None


async def test_what_was_left_is_renewed_and_says_how_it_ended(tmp_path: Path) -> None:
    notice = tmp_path / "notice.toml"
    notice.write_text(NOTICE)
    async with opened(notice) as stage, stage.context() as context:
        page, other = [stage.watched(await context.new_page()) for _ in range(2)]
        await stage.live(page, DASHBOARD, "supervisor1", stay=True)
        held = await token(page)
        await page.get_by_role("button", name="1 notice").click()
        await page.get_by_role("button", name="Acknowledge").click()
        await expect(page.get_by_role("button", name="1 notice")).to_be_hidden()
        await page.wait_for_function("(held) => !sessionStorage['oscc.session'].includes(held)", arg=held)
        assert await left(page) == await token(page)
        await page.close()
        stage.act("EndSession", User="supervisor1", Reason="Maintenance")
        await other.goto(f"{stage.base}/app/")
        await expect(other.locator(".told.bad")).to_contain_text("ended for maintenance")
        assert await left(other) is None
        assert await other.evaluate("sessionStorage.getItem('oscc.session')") is None


async def test_where_a_browser_has_no_locks_the_newest_tab_has_what_was_left() -> None:
    async with opened() as stage, stage.context() as context:
        await context.add_init_script("Object.defineProperty(navigator, 'locks', {value: undefined})")
        first, second = [stage.watched(await context.new_page()) for _ in range(2)]
        await stage.live(first, DASHBOARD, "supervisor1", stay=True)
        await second.goto(f"{stage.base}/app/")
        await expect(second.locator(".health-text")).to_have_text("Live")
        await expect(first.locator("h1")).to_have_text("Open in another window")


async def settled(stage: Stage, page: Page) -> None:
    """Open the page until a worker serves it."""
    await page.goto(f"{stage.base}/app/")
    await page.wait_for_function("() => navigator.serviceWorker.controller")


LATE_STATES = """(() => {
  const postMessage = (_, [port]) => port.postMessage(document.documentElement.dataset.version);
  const worker = Object.assign(new EventTarget(), {state: 'installing', postMessage});
  const found = Object.assign(new EventTarget(), {installing: worker, waiting: null, active: null});
  const {serviceWorker: workers} = navigator;
  let taken = null;
  Object.defineProperty(workers, 'controller', {get: () => taken});
  Object.assign(workers, {register: async () => found, getRegistration: async () => null});
  window.takes = () => {
    taken = worker;
    workers.dispatchEvent(new Event('controllerchange'));
    found.dispatchEvent(new Event('updatefound'));
    Object.assign(found, {installing: null, waiting: worker, active: new EventTarget()});
    worker.state = 'installed';
    worker.dispatchEvent(new Event('statechange'));
  };
})()"""
"""A browser that reports the states of the first worker late, and as of one that replaces another."""


async def test_the_first_version_is_no_new_one_though_its_states_are_reported_late() -> None:
    async with opened() as stage, stage.context() as context:
        await context.add_init_script(LATE_STATES)
        page = stage.watched(await context.new_page())
        await stage.live(page, DASHBOARD, "supervisor1")
        await page.wait_for_selector("link[rel=manifest]", state="attached")
        await page.evaluate("takes()")
        await expect(page.get_by_role("button", name="Load it")).to_be_hidden()


async def test_a_new_version_is_offered_wherever_one_is_and_taken_by_all_tabs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened() as stage, stage.context(service_workers="allow") as context:
        page, other = [stage.watched(await context.new_page()) for _ in range(2)]
        await settled(stage, page)
        await stage.live(other, DASHBOARD, "supervisor1")
        texts = {each.name: each.read_bytes() for each in WEB.iterdir()}
        texts["app.css"] += b"/* newer */"
        monkeypatch.setattr("gateway.edge.routes._carried", lambda: texts)
        await stage.stop()
        await stage.start()
        await expect(other.get_by_role("button", name="Load it")).to_be_visible()
        offer = page.get_by_role("button", name="Load it")
        await page.reload()
        await expect(offer).to_be_visible()
        await page.reload()  # it waits, and is offered again
        await expect(offer).to_be_visible()
        await stage.live(page, DASHBOARD, "supervisor2")
        await expect(offer).to_be_visible()
        async with other.expect_navigation(), page.expect_navigation():
            await offer.click()
        for each in (page, other):
            await expect(each.locator(".health-text")).to_have_text("Live")
            await expect(each.get_by_role("button", name="Load it")).to_be_hidden()
        assert "newer" in await page.evaluate("fetch('app.css').then((answer) => answer.text())")
        assert len(await page.evaluate("caches.keys()")) == 1
