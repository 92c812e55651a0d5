"""Do two tabs of one browser keep out of each other's way, and does each know of a new version?"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest

from tests.web.stage import ASSISTANT, DASHBOARD, PASSWORD, BrowserContext, Page, Stage, expect, opened

pytestmark = pytest.mark.scenario

WEB = resources.files("gateway") / "web"
SHARED = "({local: {...localStorage}, cookie: document.cookie})"


async def token(page: Page) -> str:
    """Return the token that a tab holds."""
    held: dict[str, Any] = json.loads(await page.evaluate("sessionStorage.getItem('oscc.session')"))
    return str(held["token"])


async def pair(stage: Stage, context: BrowserContext) -> tuple[Page, Page]:
    """Open the Dashboard in one tab and the Remote Assistant in another; both want to be remembered."""
    board, hand = [stage.watched(await context.new_page()) for _ in range(2)]
    await board.goto(f"{stage.base}/app/")
    await board.locator("input[name=remember]").check()
    await board.fill("#in-user", "supervisor1")
    await board.fill("#in-password", PASSWORD)
    await board.click("button[type=submit]")
    await expect(board.locator(".health-text")).to_have_text("Live")
    await stage.live(hand, ASSISTANT, "agent1")
    await expect(hand.locator(".number")).to_have_text("+49301234567")
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
        third = stage.watched(await context.new_page())
        await third.goto(f"{stage.base}/app/")
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
            await page.goto(f"{stage.base}/app/")
            await page.locator("input[name=remember]").check()
            await page.fill("#in-user", user)
            await page.fill("#in-password", PASSWORD)
            await page.click("button[type=submit]")
            await expect(page.locator(".health-text")).to_have_text("Live")
        for page, user in ((first, "supervisor1"), (second, "supervisor2")):
            stage.act("EndSession", User=user, Reason="Maintenance")
            await expect(page.locator("#in-user")).to_have_value(user)
        await first.locator("input[name=remember]").uncheck()
        await first.fill("#in-password", PASSWORD)
        await first.click("button[type=submit]")
        await expect(first.locator(".health-text")).to_have_text("Live")
        third = stage.watched(await context.new_page())
        await third.goto(f"{stage.base}/app/")
        await expect(third.locator("#in-user")).to_have_value("")


async def settled(stage: Stage, page: Page) -> None:
    """Open the page until a worker serves it."""
    await page.goto(f"{stage.base}/app/")
    await page.wait_for_function("() => navigator.serviceWorker.controller")


async def test_a_new_version_is_offered_wherever_one_is_and_taken_by_all_tabs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened() as stage, stage.context(service_workers="allow") as context:
        page, other = [stage.watched(await context.new_page()) for _ in range(2)]
        await settled(stage, page)
        await stage.live(other, DASHBOARD, "supervisor1")
        texts = {each.name: each.read_bytes() for each in WEB.iterdir()}
        texts["app.css"] += b"/* newer */"
        monkeypatch.setattr("gateway.edge.web._carried", lambda: texts)
        await stage.stop()
        await stage.start()
        await expect(other.get_by_role("button", name="Load it")).to_be_visible(timeout=30_000)
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
