"""People log on, see beforehand what they should know, and take over what is open elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gateway.runtime.accounts import RANDOM_ID
from tests.web.stage import (
    ASSISTANT,
    DASHBOARD,
    NUMBER,
    PASSWORD,
    Route,
    expect,
    live_page,
    opened,
)

pytestmark = pytest.mark.scenario

STORED = "JSON.stringify([localStorage, sessionStorage])"
TOASTS = """() => {
  globalThis.toasts = [];
  new MutationObserver((changes) => {
    for (const {addedNodes} of changes) for (const each of addedNodes) toasts.push(each.textContent);
  }).observe(document.querySelector('#toasts'), {childList: true});
}"""
"""Notes the messages that are shown from now on."""
NOTICE = """
id = "statement"
version = 2
category = "privacy"
effective_at = 2026-03-01T00:00:00Z
must_acknowledge = true
[texts.en]
title = "Privacy statement"
summary = "What is handled, and why."
link = "https://example.org/privacy"
[texts.de]
title = "Datenschutzerklärung"
summary = "Was verarbeitet wird, und warum."
"""


@pytest.fixture
def notice(tmp_path: Path) -> Path:
    path = tmp_path / "statement.toml"
    path.write_text(NOTICE)
    return path


async def test_both_applications_are_offered_and_opened() -> None:
    async with live_page(DASHBOARD, "supervisor1") as (stage, page):
        await expect(page).to_have_title("Dashboard · Berlin")
        async with stage.page() as other:
            await stage.live(other, ASSISTANT, "agent1")
            await expect(other.locator(".number")).to_have_text("+49 301 234 567")
        assert stage.simulator.sessions.routing_table() == {"agent1": "+49301234567"}


async def test_what_is_wrong_is_said_and_focused() -> None:
    async with opened() as stage, stage.page() as page:
        await stage.log_on(page, ASSISTANT, "agent1", number="")
        await expect(page.locator(".problem")).to_contain_text("Remote number")
        await expect(page.locator("#in-number")).to_be_focused()
        await expect(page.locator("#in-number")).to_have_attribute("aria-invalid", "true")
        await page.fill("#in-number", "110")
        await page.click("button[type=submit]")
        await expect(page.locator(".problem")).to_contain_text("Calls may not be sent to this number")
        await page.fill("#in-number", NUMBER)
        await page.fill("#in-password", "wrong")
        await page.click("button[type=submit]")
        await expect(page.locator(".problem")).to_have_text("User name or password is wrong.")
        await expect(page.locator("#in-password")).to_be_focused()
        await expect(page.locator("#in-password")).to_have_attribute("aria-invalid", "true")
        assert await page.locator("#in-number").get_attribute("aria-invalid") is None


async def test_a_refusal_is_said_in_words() -> None:
    async with opened() as stage, stage.page() as page:
        await page.goto(f"{stage.base}/app/")
        await expect(page.locator("#in-user")).to_be_visible()
        say = "async (error) => (await import('/app/ui.js')).refusal(error)"
        for refused, words in (
            ({"code": "account_locked", "retryAfterS": 899.5}, "locked for a while. Try again in 15 min."),
            ({"code": "rate_limited", "retryAfterS": 119.2}, "Too many requests. Try again in 120 s."),
            ({"code": "function_unavailable", "details": {"function": "remote_agent"}}, "Remote agents"),
            ({"code": "value_out_of_range", "details": {"min": 1}}, "must be at least 1."),
            ({"code": "value_out_of_range", "details": {"max": 9, "unit": "s"}}, "must be at most 9 s."),
            ({"code": "value_out_of_range", "details": {}}, "The value is not allowed."),
        ):
            assert words in await page.evaluate(say, refused)


async def test_a_gateway_with_a_long_version_serves_its_own_page() -> None:
    async with opened() as stage, stage.page() as page:

        async def longer(route: Route) -> None:
            about = await (await route.fetch()).json()
            await route.fulfill(json={**about, "version": "1.2.3.dev1234+gabcdef012.d20261130"})

        await page.route("**/v1/about", longer)
        await stage.live(page, DASHBOARD, "supervisor1")


async def test_the_browser_gets_an_id_by_which_the_gateway_recognises_it() -> None:
    async with opened() as stage, stage.context() as context:
        page = await stage.tab(context)
        await page.evaluate("localStorage.setItem('oscc.device', '\"0123456789abcdef\"')")  # as of before
        ids = []
        for user in ("supervisor1", "supervisor2"):
            page = stage.watched(await context.new_page())
            await stage.live(page, DASHBOARD, user)
            ids.append(json.loads(await page.evaluate("localStorage.getItem('oscc.device')")))
        assert RANDOM_ID.fullmatch(ids[0])
        assert ids[1] == ids[0]


async def test_notices_and_privacy_stand_before_the_log_on(notice: Path) -> None:
    async with opened(notice) as stage, stage.page() as page:
        await stage.log_on(page, DASHBOARD, "supervisor1")
        await expect(page.locator(".problem")).to_contain_text("read and accept the notices")
        await expect(page.locator(".unsafe")).to_contain_text("not encrypted")
        statement = page.get_by_role("link", name="Privacy statement")
        assert await statement.get_attribute("href") == "https://example.org/privacy"
        await page.get_by_role("button", name="How data is used").click()
        await expect(page.get_by_role("dialog")).to_contain_text("routing_state")
        await page.keyboard.press("Escape")
        await page.locator(".notices input").check()
        await page.fill("#in-password", PASSWORD)
        await page.click("button[type=submit]")
        await expect(page.locator(".health-text")).to_have_text("Live")
        await expect(page.get_by_role("button", name="1 notice")).to_be_hidden()


async def test_the_use_of_data_is_told_in_the_language_of_the_page(notice: Path) -> None:
    async with opened(notice) as stage, stage.page(locale="de-DE") as page:
        await page.goto(f"{stage.base}/app/")
        await page.get_by_role("button", name="Datenverarbeitung").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("die Antwort des Contact Centers auf die Anmeldung")
        await expect(dialog.locator("dt").nth(3)).to_have_text("Zweck")
        names = await dialog.locator("[lang=en]").all_inner_texts()
        assert all(re.fullmatch(r"[\w.:, \[\]]+", name) for name in names)  # what the protocol names


async def test_a_notice_that_comes_later_is_acknowledged_inside(tmp_path: Path) -> None:
    path = tmp_path / "statement.toml"
    path.write_text(NOTICE.replace("must_acknowledge = true", "must_acknowledge = false"))
    async with live_page(DASHBOARD, "supervisor1", notices=path) as (_, page):
        bell = page.get_by_role("button", name="1 notice")
        await bell.click()
        await expect(page.get_by_role("dialog")).to_contain_text("What is handled, and why.")
        await page.get_by_role("button", name="Acknowledge").click()
        await expect(bell).to_be_hidden()
        await page.reload()
        await expect(page.locator(".health-text")).to_have_text("Live")
        await expect(page.get_by_role("button", name="1 notice")).to_be_hidden()


async def test_a_session_elsewhere_is_named_and_taken_over() -> None:
    async with opened() as stage, stage.page() as first, stage.page() as second:
        await stage.live(first, ASSISTANT, "agent1")
        await stage.log_on(second, ASSISTANT, "agent1", "+49 89 7654321")
        dialog = second.get_by_role("dialog")
        await expect(dialog).to_contain_text("logged on elsewhere")
        await expect(dialog).to_contain_text("Chrome")
        await second.evaluate(TOASTS)
        await second.get_by_role("button", name="Take over here").click()
        await expect(second.locator(".number")).to_have_text("+49 897 654 321")
        await expect(first.locator(".told")).to_contain_text("taken over elsewhere")
        await second.wait_for_timeout(500)
        assert await second.evaluate("toasts") == [], "it was taken over from here"


async def test_a_name_is_typed_no_longer_than_a_gateway_reads_it() -> None:
    async with opened() as stage, stage.page() as page:
        await page.goto(f"{stage.base}/app/")
        for name, most in (("user", 256), ("password", 1024)):
            await page.focus(f"#in-{name}")
            await page.keyboard.insert_text("x" * 2000)
            assert len(await page.locator(f"#in-{name}").input_value()) == most
        await page.click("button[type=submit]")
        await expect(page.locator(".problem")).to_have_text("User name or password is wrong.")


async def test_what_is_remembered_is_offered_and_forgotten() -> None:
    async with opened() as stage, stage.context() as context:
        page = stage.watched(await context.new_page())
        await stage.live(page, ASSISTANT, "agent1", NUMBER, remember=True)
        again = await stage.tab(context)
        await expect(again.locator("#in-user")).to_have_value("agent1")
        number = again.locator("#in-number")
        await expect(number).to_have_value(NUMBER)
        await again.fill("#in-user", "agent2")  # whose it is not, and who has chosen nothing
        await expect(number).to_have_value("")
        await expect(again.locator("input[name=remember]")).not_to_be_checked()
        await expect(again.get_by_role("button", name="Forget these")).to_be_hidden()
        await again.fill("#in-user", "agent1")
        await expect(again.locator("input[name=remember]")).to_be_checked()
        await again.get_by_role("button", name=NUMBER).click()
        await expect(number).to_have_value(NUMBER)
        assert NUMBER in await again.evaluate(STORED)
        await again.get_by_role("button", name="Forget these").click()
        await expect(number).to_have_value("")
        await expect(number).to_be_focused()
        assert NUMBER not in await again.evaluate(STORED)
        assert PASSWORD not in await again.evaluate(STORED)


async def test_numbers_are_kept_for_the_one_who_is_remembered_and_five_of_them() -> None:
    others = [f"+49 89 765432{each}" for each in range(5)]
    async with opened() as stage, stage.page() as page:
        await stage.live(page, ASSISTANT, "agent1", others[0], remember=True)
        kept = json.loads(await page.evaluate("localStorage.getItem('oscc.numbers')"))
        assert kept["list"] == [others[0]]
        kept["list"] = others
        await page.evaluate("(kept) => localStorage.setItem('oscc.numbers', JSON.stringify(kept))", kept)
        await page.reload()
        await page.get_by_role("button", name="Change number").click()
        change = page.get_by_role("dialog")
        await expect(change.locator(".chip")).to_have_text(others)
        await change.locator("#new-number").fill(NUMBER)
        await page.keyboard.press("Enter")
        await expect(page.locator(".number")).to_have_text("+49 301 234 567")
        kept = json.loads(await page.evaluate("localStorage.getItem('oscc.numbers')"))
        assert kept["list"] == [NUMBER, *others[:4]]
        stage.act("EndSession", User="agent1", Reason="Maintenance")
        await expect(page.locator("#in-number")).to_have_value(NUMBER)
        await stage.live(page, ASSISTANT, "agent2", others[4], remember=True)
        assert NUMBER not in await page.evaluate(STORED)  # the device remembers one person
        await page.reload()
        await page.get_by_role("button", name="Change number").click()
        await expect(change.locator(".chip")).to_have_text([others[4]])


async def test_the_number_of_who_is_not_remembered_is_in_memory_only() -> None:
    async with opened() as stage, stage.page() as page:
        await stage.live(page, ASSISTANT, "agent2", "+49 89 7654321", remember=True)
        stage.act("EndSession", User="agent2", Reason="Maintenance")
        await page.locator("input[name=remember]").uncheck()
        await stage.sign(page, ASSISTANT, "agent1")
        await expect(page.locator(".health-text")).to_have_text("Live")
        stored = await page.evaluate(STORED)
        assert [each for each in (NUMBER, "7654321", "agent2") if each in stored] == []
        await page.get_by_role("button", name="Change number").click()
        await expect(page.get_by_role("dialog").locator(".chip")).to_have_text([NUMBER])
        await page.reload()
        await page.get_by_role("button", name="Change number").click()
        await expect(page.locator("#new-number")).to_be_focused()
        await expect(page.get_by_role("dialog").locator(".chip")).to_have_count(0)
        await page.keyboard.press("Escape")
        stage.act("EndSession", User="agent1", Reason="Maintenance")
        await expect(page.locator("#in-number")).to_have_value("")


async def test_german_is_spoken_to_germans_and_by_choice() -> None:
    async with live_page(DASHBOARD, "supervisor1", {"locale": "de-DE"}) as (_, page):
        await expect(page.locator(".queues h2")).to_have_text("Warteschlangen")
        await expect(page.locator("html")).to_have_attribute("lang", "de")
        await page.get_by_role("button", name="Einstellungen").click()
        await page.get_by_label("Sprache").select_option("en")
        await expect(page.locator(".queues h2")).to_have_text("Queues")
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_label("Appearance").select_option("dark")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
