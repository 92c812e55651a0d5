"""An agent sees the own state, changes it with a tap, and sees what comes next."""

from __future__ import annotations

import json
import re

import pytest

from gateway.simulator.model import AutoPostProcessing
from tests.web.stage import ASSISTANT, Page, WebSocketRoute, expect, live_page, opened

pytestmark = pytest.mark.scenario


async def test_one_tap_changes_the_state_and_one_more_gives_a_reason() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        await page.locator(".set[data-state=available]").click()
        await expect(page.locator(".hero-name")).to_have_text("Available")
        await expect(page.locator(".hero-time")).to_have_text(re.compile(r"0:(0[2-9]|[1-5]\d)"))
        await page.locator(".set[data-state=unavailable]").click()
        await expect(page.locator(".hero-name")).to_have_text("Unavailable")
        await page.locator(".reasons-part").get_by_role("button", name="Lunch").click()
        await expect(page.locator(".hero-reason")).to_have_text("Lunch")
        await page.locator(".set[data-state=work]").click()  # asks: a reason is mandatory
        await page.get_by_role("dialog").get_by_role("button", name="Back office").click()
        await expect(page.locator(".hero-name")).to_have_text("Work")
        await expect(page.locator(".hero-reason")).to_have_text("Back office")
        assert stage.agent().state == "Work"
        times = page.locator(".mine .act-list time")
        await expect(times).to_have_count(4)
        assert (
            len({box["x"] for box in [await each.bounding_box() for each in await times.all()] if box}) == 1
        )


async def refuse_commands(page: Page, **error: object) -> None:
    """Have each command of *page* refused with *error* on its way."""

    def carry(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        server.on_message(route.send)

        def pass_on(frame: str | bytes) -> None:
            sent = json.loads(frame)
            if sent["kind"] != "command":
                server.send(frame)
                return
            outcome = {"status": "rejected", "error": {"message": "", **error}}
            route.send(json.dumps({"kind": "result", "id": sent["id"], "outcome": outcome}))

        route.on_message(pass_on)

    await page.route_web_socket(re.compile("."), carry)


@pytest.mark.parametrize(
    ("locale", "refused", "now"),
    [
        (
            "en-GB",
            "Not carried out: Available. The contact centre is busy. Try again in 0:0",
            "You can try again now.",
        ),
        (
            "de-DE",
            "Nicht ausgeführt: Verfügbar. Das Contact Center ist beschäftigt. Erneut in 0:0",
            "Sie können es jetzt erneut versuchen.",
        ),
    ],
)
async def test_a_refusal_that_passes_stays_with_the_time_left_until_the_command_is_repeated(
    locale: str, refused: str, now: str
) -> None:
    async with opened(warm_up_s=0) as stage, stage.page(locale=locale) as page:
        await refuse_commands(page, code="busy", retry_after_s=4)
        await stage.live(page, ASSISTANT, "agent1")
        note, again = page.locator(".unsure p"), page.locator(".unsure .button")
        await page.locator(".set[data-state=available]").click()
        await expect(note).to_contain_text(refused)
        await expect(again).to_have_attribute("aria-disabled", "true")
        await expect(note).to_contain_text(now)
        await expect(again).not_to_have_attribute("aria-disabled", "true")
        stage.simulator.center.ask(stage.agent(), "Available", None, "Now", "Self")
        await expect(note).to_have_count(0)  # the state is there


async def test_a_refusal_that_passes_stays_also_when_it_is_no_state() -> None:
    async with opened(warm_up_s=0) as stage, stage.page() as page:
        await refuse_commands(page, code="busy", retry_after_s=4)
        await stage.live(page, ASSISTANT, "agent1")
        note = page.locator(".unsure p")
        await page.locator("#auto-post").click()
        await expect(note).to_contain_text("The contact centre is busy. Try again in 0:0")
        await expect(page.locator(".unsure .button")).to_have_count(0)  # the switch is there
        await expect(page.locator("#auto-post")).not_to_be_checked()
        await expect(note).to_contain_text("You can try again now.")
        await page.locator(".unsure").get_by_role("button", name="Close").click()
        await expect(note).to_have_count(0)
        key = stage.talk("agent1")
        stage.agent().auto = AutoPostProcessing(on=True, duration_s=300)
        stage.act("EndContact", UserKey=key)
        await page.get_by_role("button", name="Done").click()
        await expect(note).to_contain_text("The contact centre is busy.")
        stage.simulator.center.finish_post_processing(stage.agent())
        await expect(page.locator(".hero-name")).to_have_text("Available")
        await expect(note).to_have_count(0)  # it is over


@pytest.mark.parametrize(("locale", "user"), [("en-GB", "agent1"), ("de-DE", "agent2")])
async def test_the_switch_of_post_processing_is_seen_without_scrolling(locale: str, user: str) -> None:
    async with opened(warm_up_s=0) as stage, stage.page(hints=True, locale=locale) as page:
        await stage.log_on(page, ASSISTANT, user)
        await expect(page.locator(".my-queues li").first).not_to_have_text("–")
        dock = await page.locator(".dock").bounding_box()
        assert dock is not None
        for _ in range(3):  # also below each hint of the first start
            card = await page.locator(".mine .card:has(#auto-post)").bounding_box()
            assert card is not None
            assert card["y"] + card["height"] <= dock["y"]
            await page.locator(".walk .button").click()
        await expect(page.locator(".walk")).to_have_count(0)


async def test_what_comes_after_the_contact_is_shown_and_cancelled() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        key = stage.talk("agent1")
        await expect(page.locator(".hero-name")).to_have_text("Talking")
        await page.locator(".set[data-state=unavailable]").click()
        await page.locator(".reasons-part").get_by_role("button", name="Lunch").click()
        chip = page.locator(".hero-next .chip")
        await expect(chip).to_have_text("Unavailable – Lunch after this contact")
        await page.get_by_role("button", name="Cancel what comes").click()
        await expect(chip).to_have_count(0)
        await page.locator(".set[data-state=work]").click()
        await page.get_by_role("dialog").get_by_role("button", name="Email").click()
        await expect(chip).to_have_text("Work – Email after this contact")
        stage.act("EndContact", UserKey=key)
        await expect(page.locator(".hero-name")).to_have_text("Work")


async def test_post_processing_counts_down_is_extended_and_ends() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        key = stage.talk("agent1")
        await page.get_by_role("button", name="Post-processing after this contact").click()
        await expect(page.locator(".act-list")).to_contain_text("takes effect after this contact")
        stage.act("EndContact", UserKey=key)
        await expect(page.locator(".hero-name")).to_have_text("Post-processing")
        await expect(page.locator(".hero-time")).to_contain_text(re.compile(r"0:[12]\d"))
        await page.get_by_role("button", name="+30 s").click()
        await expect(page.locator(".hero-time")).to_contain_text(re.compile(r"0:[45]\d"))
        await page.get_by_role("button", name="Solved").click()
        await expect(page.get_by_role("button", name="Solved")).to_have_attribute("aria-pressed", "true")
        await page.get_by_role("button", name="Done").click()
        await expect(page.locator(".hero-name")).to_have_text("Available")


async def test_buttons_of_post_processing_that_nobody_may_use_are_left_out() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        key = stage.talk("agent1")
        await page.get_by_role("button", name="Post-processing after this contact").click()
        stage.act("EndContact", UserKey=key)
        await expect(page.get_by_role("button", name="Done")).to_be_visible()
        stage.act("SetRights", User="agent1", Rights=["OwnRoutingState"])
        await expect(page.get_by_role("button", name="Done")).to_be_hidden()
        await expect(page.get_by_role("button", name="+30 s")).to_be_hidden()
        await expect(page.locator(".hero-name")).to_have_text("Post-processing")


async def test_a_wrap_up_reason_that_is_needed_is_asked_for() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        queue = stage.simulator.center.directory.queues[stage.queue_of(stage.agent())]
        queue.parameters["WrapupReasonRequired"] = True
        key = stage.talk("agent1")
        await expect(page.locator(".hero-name")).to_have_text("Talking")
        await page.get_by_role("switch").click()
        await expect(page.locator(".act-list")).to_contain_text("Post-processing after each contact · done")
        await expect(page.get_by_role("switch")).to_be_checked()
        stage.act("EndContact", UserKey=key)
        await page.get_by_role("button", name="Done").click()
        await expect(page.locator(".post-hint")).to_have_text("Please choose a wrap-up reason first.")
        await page.get_by_role("button", name="Solved").click()
        await page.get_by_role("button", name="Done").click()
        await expect(page.locator(".hero-name")).to_have_text("Available")


async def test_the_number_is_changed_and_refused_in_words() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        await page.get_by_role("button", name="Change number").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Use only one that is yours")
        await dialog.get_by_label("Remote number").fill("112")
        await dialog.get_by_role("button", name="Change number").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("may not be sent")
        await dialog.get_by_label("Remote number").fill("+49 89 7654321")
        await dialog.get_by_role("button", name="Change number").click()
        await expect(page.locator(".number")).to_have_text("+49 897 654 321")
        assert stage.simulator.sessions.routing_table() == {"agent1": "+49897654321"}


async def test_ones_queues_are_seen() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        stage.crowd(stage.queue_of(stage.agent()))
        await expect(page.locator(".my-queues li").first).to_contain_text("1waiting")
        await expect(page.locator(".my-queues time").first).to_have_text(re.compile(r"0:(0[1-9]|[1-5]\d)"))


async def test_log_off_is_confirmed() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        await page.get_by_role("button", name="Log off").click()
        await page.get_by_role("dialog").get_by_role("button", name="Log off").click()
        await expect(page.locator(".told")).to_contain_text("calls no longer ring at your number")
        assert stage.simulator.sessions.routing_table() == {}
        assert await page.evaluate("sessionStorage.getItem('oscc.session')") is None


async def test_a_log_off_that_is_not_confirmed_says_until_when_calls_may_come() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        await page.get_by_role("button", name="Log off").click()
        key = stage.talk("agent1")  # it comes while the person is asked
        await expect(page.locator(".hero-name")).to_have_text("Talking")
        await page.get_by_role("dialog").get_by_role("button", name="Log off").click()
        await expect(page.locator("h1")).to_have_text("Log-off is not confirmed yet")
        await expect(page.locator("main")).to_contain_text("Calls may still reach you until")
        await page.reload()  # the wish outlives the page
        await expect(page.locator("h1")).to_have_text("Log-off is not confirmed yet")
        stage.act("EndContact", UserKey=key)
        await expect(page.locator(".told")).to_contain_text("Confirmed")


async def test_who_ended_the_session_is_said() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        stage.act("EndSession", User="agent1", Reason="LoggedOffBySupervisor", By="Vera Haas")
        await expect(page.locator(".told")).to_contain_text("A supervisor logged you off. By Vera Haas.")
        await expect(page.get_by_role("button", name="Log on")).to_be_visible()


async def test_in_a_contact_one_state_is_named_that_follows_it() -> None:
    async with live_page(ASSISTANT, "agent1", warm_up_s=0) as (stage, page):
        await page.locator(".set[data-state=available]").tap()
        await expect(page.locator(".hero-name")).to_have_text("Available")
        stage.talk("agent1")
        await expect(page.locator(".hero-reason")).to_contain_text("After this: Available")
        await page.locator(".set[data-state=unavailable]").tap()
        await expect(page.locator(".hero-next .chip-x")).to_be_visible()
        await expect(page.locator(".hero-reason")).to_contain_text("After this: Unavailable")
