"""Old data is shown as old, and the page comes back by itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from tests.web.engines import HIDDEN
from tests.web.stage import ASSISTANT, DASHBOARD, expect, live_page, opened, until

pytestmark = pytest.mark.scenario

AS_OF = re.compile(r"as of \d\d:\d\d:\d\d")


async def test_data_of_a_silent_centre_is_grey_frozen_and_dated() -> None:
    async with live_page(DASHBOARD, "supervisor1") as (stage, page):
        await stage.fall_silent(page)
        await expect(page.locator(".banner.warn")).to_contain_text("cannot be reached")
        await expect(page.locator(".age")).to_have_text(AS_OF)
        longest = page.locator(".kpi dd").nth(1)
        await page.wait_for_timeout(1100)  # times are painted each second: the last is that of the data
        stopped = await longest.inner_text()
        await page.wait_for_timeout(1500)
        assert await longest.inner_text() == stopped
        await page.locator(".tile").first.click()
        await page.locator(".detail summary").click()
        await expect(page.locator(".detail").get_by_role("button", name="Edit")).to_be_disabled()


async def test_an_assistant_cannot_tap_what_is_not_true_any_more() -> None:
    async with live_page(ASSISTANT, "agent1") as (stage, page):
        await expect(page.locator(".set[data-state=work]")).to_be_enabled()
        await stage.fall_silent(page)
        await expect(page.locator(".set[data-state=work]")).to_be_disabled()


async def test_a_gateway_that_was_away_is_found_again() -> None:
    async with live_page(DASHBOARD, "supervisor1") as (stage, page):
        await stage.stop()
        banner = page.locator(".banner.bad")
        await expect(banner).to_contain_text("Connection lost.")
        await expect(page.locator(".shell")).to_have_attribute("data-frozen", "lost")
        await expect(page.locator(".age")).to_have_text(AS_OF)
        now = await banner.get_by_role("button", name="Try now").element_handle()
        await stage.start()
        await now.evaluate("(button) => button.click()")  # the page may have come back by itself just now
        await expect(page.locator(".health-text")).to_have_text("Live")
        await expect(banner).to_be_hidden()


async def test_a_lost_connection_is_shown_at_once_and_named_before_two_seconds_have_passed() -> None:
    shut = """WebSocket = class extends WebSocket {
      constructor(...a) { if (globalThis.shut) throw new Error('shut'); globalThis.last = super(...a); }
    };"""
    async with opened() as stage, stage.page() as page:
        shell, health = page.locator(".shell"), page.locator(".health-text")
        await page.add_init_script(shut)
        await page.clock.install()
        await stage.live(page, DASHBOARD, "supervisor1")
        await page.clock.pause_at(await page.evaluate("Date.now()") / 1000 + 1)
        await page.evaluate("shut = true; last.dispatchEvent(new CloseEvent('close', {code: 1006}))")
        await page.clock.run_for(200)
        assert await shell.get_attribute("data-frozen") == "updating"
        assert await health.inner_text() == "Updating …"
        await page.clock.run_for(1600)
        assert await shell.get_attribute("data-frozen") == "lost"
        assert await health.inner_text() == "Not connected"
        await expect(page.locator(".banner.bad")).to_contain_text("Connection lost.")
        await page.evaluate("shut = false")
        await page.clock.resume()
        await expect(health).to_have_text("Live")


async def test_a_page_that_starts_without_a_gateway_claims_nothing_and_learns_it_later() -> None:
    async with live_page(ASSISTANT, "agent1", {"service_workers": "allow"}) as (stage, page):
        await page.evaluate("navigator.serviceWorker.ready.then(() => null)")
        await page.reload()  # from now on the worker has the page
        await expect(page.locator(".health-text")).to_have_text("Live")
        await stage.stop()
        await page.reload()
        await expect(page.locator(".health-text")).to_have_text("Not connected")
        await expect(page.locator(".my-queues")).to_have_text("–")
        await stage.start()
        await expect(page.locator(".where")).to_contain_text("Berlin")
        await expect(page.locator(".health-text")).to_have_text("Live")


async def test_on_a_device_whose_clock_is_wrong_ones_commands_have_the_centres_time() -> None:
    ahead = "(() => { const {now} = Date; Date.now = () => now() + 3_600_000; })()"
    async with opened(warm_up_s=0) as stage, stage.page(timezone_id="UTC") as page:
        await page.add_init_script(ahead)
        await stage.live(page, ASSISTANT, "agent1")
        earliest = datetime.now(UTC)
        await page.locator(".set[data-state=available]").click()
        at = page.locator(".act-list time").first
        await expect(at).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
        hour, minute, second = (int(part) for part in (await at.inner_text()).split(":"))
        late_s = (hour - earliest.hour) * 3600 + (minute - earliest.minute) * 60 + second - earliest.second
        assert -5 < late_s % 86_400 < 600 or late_s % 86_400 > 86_390


async def test_in_the_background_it_says_bye_and_resumes_at_once() -> None:
    async with opened() as stage, stage.page() as page:
        said: list[str] = []
        page.on("websocket", lambda ws: ws.on("framesent", lambda frame: said.append(str(frame))))
        await stage.live(page, DASHBOARD, "supervisor1")
        await page.evaluate(HIDDEN, True)
        await page.wait_for_function("() => document.querySelector('.shell').dataset.frozen")
        await until(page, lambda: '"bye"' in said[-1])
        await page.evaluate(HIDDEN, False)
        await expect(page.locator(".health-text")).to_have_text("Live")

        def hellos() -> list[str]:
            return [frame for frame in said if '"hello"' in frame]

        await until(page, lambda: len(hellos()) == 2)
        assert '"position"' in hellos()[1]


async def test_a_second_window_takes_the_session_and_gives_it_back() -> None:
    async with opened() as stage, stage.context() as context:
        first = stage.watched(await context.new_page())
        await stage.live(first, DASHBOARD, "supervisor1")
        kept = await first.evaluate("sessionStorage.getItem('oscc.session')")
        second = await stage.tab(context)
        await second.evaluate("(kept) => sessionStorage.setItem('oscc.session', kept)", kept)
        await second.reload()
        await expect(second.locator(".health-text")).to_have_text("Live")
        await expect(first.locator("h1")).to_have_text("Open in another window")
        await first.bring_to_front()
        await first.get_by_role("button", name="Use it here").click()
        await expect(first.locator(".health-text")).to_have_text("Live")
        await expect(second.locator("h1")).to_have_text("Open in another window")


async def test_an_expired_session_leads_to_the_log_on() -> None:
    async with live_page(DASHBOARD, "supervisor1") as (stage, page):
        stage.act("EndSession", User="supervisor1", Reason="Maintenance")
        await expect(page.locator(".told")).to_contain_text("ended for maintenance")
        await expect(page.locator("#in-user")).to_be_visible()


@pytest.mark.parametrize(("code", "kept"), [(4007, True), (4001, False)])
async def test_only_an_end_of_the_session_throws_its_token_away(code: int, kept: bool) -> None:
    async with opened() as stage, stage.page() as page:
        await page.add_init_script(
            "WebSocket = class extends WebSocket { constructor(...a) { globalThis.last = super(...a); } };"
        )
        await stage.live(page, DASHBOARD, "supervisor1")
        await page.evaluate("(code) => last.dispatchEvent(new CloseEvent('close', {code}))", code)
        if kept:
            await expect(page.locator("h1")).to_have_text("The connection was closed")
            await expect(page.get_by_role("button", name="Log off")).to_be_visible()
        else:
            await expect(page.locator("#in-user")).to_be_visible()
        token = await page.evaluate("sessionStorage.getItem('oscc.session')")
        assert (token is not None) is kept
        if kept:
            await page.get_by_role("button", name="Try again").click()
            await expect(page.locator(".health-text")).to_have_text("Live")
