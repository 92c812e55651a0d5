"""A supervisor sees the state, gives commands, and sees their outcomes."""

from __future__ import annotations

import re

import pytest

from tests.web.stage import DASHBOARD, DESK, expect, live_page, open_parameters, opened

pytestmark = pytest.mark.scenario


async def test_a_contact_that_arrives_is_seen_in_its_queue() -> None:
    async with live_page(DASHBOARD, "supervisor1", warm_up_s=0) as (stage, page):
        await expect(page.locator(".kpi dd").first).to_have_text("0")
        await expect(page.locator(".kpi dd").nth(2)).to_have_text("–")  # nobody knows: never 0
        queue = next(iter(stage.simulator.center.directory.queues))
        stage.crowd(queue, 4)
        there = page.locator(stage.tile(queue))
        await expect(there.locator(".q-waiting")).to_have_text("4")
        await expect(there).to_have_attribute("data-level", "attention")
        await expect(page.locator(".tile").first).to_have_attribute("data-level", "attention")
        # ticks by itself
        await expect(there.locator(".q-longest")).to_have_text(re.compile(r"0:(0[2-9]|[1-5]\d)"))
        await expect(page.locator(".kpi dd").first).to_contain_text("4")
        assert "Attention" in (await there.get_attribute("aria-label") or "")


async def test_a_line_begins_with_a_dash_and_where_it_stays() -> None:
    box = (
        "svg => [svg.getBoundingClientRect(), svg.lastChild.getBBox()]"
        ".map(({width, height}) => [width, height])"
    )
    async with live_page(DASHBOARD, "supervisor1", DESK, warm_up_s=0) as (_, page):
        line = page.locator(".tile .spark").first
        (wide, high), (dash, _) = await line.evaluate(box)
        assert dash >= 2  # of 60: it is seen
        await page.locator(".tile").first.click()
        assert (await page.locator(".detail .spark").evaluate(box))[1][0] >= 2
        # what was not seen is not claimed
        await expect(page.locator(".tile .trend small").first).to_have_text("1 min")
        await expect(page.locator(".detail figcaption")).to_have_text(
            "Waiting in the last 1 min, seen by this page"
        )
        await page.wait_for_timeout(1500)
        assert (await line.evaluate(box))[0] == [wide, high]


async def test_a_state_is_asked_for_with_its_reason() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK, warm_up_s=0) as (stage, page):
        await stage.sheet(page, "agent3")
        await page.locator(".acts").get_by_role("button", name="Work").click()
        await page.get_by_role("dialog").get_by_role("button", name="Email").click()
        await expect(page.locator(".agent-state .now + .muted")).to_contain_text("Email")
        await expect(page.locator(".last")).to_contain_text("done")
        await page.locator(".acts").get_by_role("button", name="Unavailable", exact=True).click()
        await expect(page.locator(".agent-state .now")).to_contain_text("Unavailable")
        assert stage.agent("agent3").state == "Unavailable"
        await page.locator(".way-out").get_by_role("button", name="Log off").click()
        await page.get_by_role("dialog").get_by_role("button", name="Log off").click()
        await expect(page.locator(".agent-state .now")).to_contain_text("Logged off")


async def test_what_is_pending_is_followed_up() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK, warm_up_s=0) as (stage, page):
        key = stage.talk("agent4")
        await stage.sheet(page, "agent4")
        await expect(page.locator(".agent-state .now")).to_contain_text("Talking")
        await page.get_by_role("button", name="Reason for “Unavailable”").click()
        await page.get_by_role("dialog").get_by_role("button", name="Lunch").click()
        await expect(page.locator(".agent-state .chip")).to_contain_text("Unavailable – Lunch")
        await expect(page.locator(".agents .agent .next")).to_have_text("then Unavailable – Lunch")
        await expect(page.locator(".last")).to_contain_text("takes effect after this contact")
        stage.act("EndContact", UserKey=key)
        await expect(page.locator(".agent-state .now + .muted")).to_contain_text("Lunch")
        await expect(page.locator(".last")).to_contain_text("took effect")


async def test_skills_are_changed_by_a_diff() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK) as (stage, page):
        await stage.sheet(page, "agent1")
        await page.locator(".detail").get_by_role("button", name="Edit").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Review").click()
        await expect(page.locator(".toast").last).to_have_text("Nothing has been changed.")
        level = dialog.get_by_label("Level").first
        await level.fill("101")
        await dialog.get_by_role("button", name="Review").click()
        await expect(level).to_be_focused()  # the browser says what is wrong with it
        await level.fill("41")
        await dialog.get_by_label("Remove").nth(1).check()
        await dialog.get_by_label("Add a skill").select_option(index=1)
        await dialog.get_by_role("button", name="Review").click()
        await expect(dialog.locator("tbody tr")).to_have_count(3)
        await expect(dialog.locator("tbody")).to_contain_text("removed")
        await dialog.get_by_role("button", name="Apply 3 changes").click()
        await expect(dialog).to_be_hidden()
        await expect(page.locator(".skills b").filter(has_text="41")).to_have_count(1)
        assert 41 in {skill.level for skill in stage.agent("agent1").skills.values()}


async def test_a_parameter_that_somebody_else_changed_is_shown_before_it_is_overwritten() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK, all_see_everything=True) as (stage, page):
        await page.locator(".tile").first.click()
        name = await page.locator(".detail h2").inner_text()
        dialog = await open_parameters(page)
        await dialog.get_by_label("Overflow after").fill("90")
        await dialog.get_by_role("button", name="Review").click()
        async with stage.page(**DESK) as faster:
            await stage.live(faster, DASHBOARD, "supervisor2")
            await faster.locator(f'.tile:has(.q-name:text-is("{name}"))').click()
            await open_parameters(faster)
            await faster.get_by_role("dialog").get_by_label("Overflow after").fill("30")
            await faster.get_by_role("button", name="Review").click()
            await faster.get_by_role("button", name="Apply").click()
            await expect(faster.get_by_role("dialog")).to_be_hidden()
        await dialog.get_by_role("button", name="Apply").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("This was changed meanwhile")
        await expect(dialog.locator("tbody td")).to_have_text(["60 s", "90 s", "30 s"])
        await dialog.get_by_role("button", name="Apply mine anyway").click()
        await expect(dialog).to_be_hidden()
        await expect(page.locator(".detail .facts").last).to_contain_text("90 s")


async def test_what_contradicts_itself_is_refused_in_words() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK) as (_, page):
        await page.locator(".tile").first.click()
        dialog = await open_parameters(page)
        field = dialog.get_by_label("Attention contacts")
        await field.fill("400")
        await dialog.get_by_role("button", name="Review").click()
        await dialog.get_by_role("button", name="Apply").click()
        await expect(dialog.get_by_role("alert")).to_have_text("The values contradict each other.")
        await expect(field).to_have_value("400")
        await expect(field).to_have_attribute("aria-invalid", "true")
        assert await dialog.locator("[aria-invalid]").count() == 1


async def test_what_nobody_touched_is_no_change_and_refused_by_nothing() -> None:
    async with opened() as stage, stage.page(**DESK) as page:
        for queue in stage.simulator.center.directory.queues.values():
            # as another program may have set it: between two steps, beyond the choices, and nothing
            queue.parameters |= {"OverflowAfter": 62, "Distribution": "RoundRobin", "Priority": None}
        await stage.live(page, DASHBOARD, "supervisor1")
        await page.locator(".tile").first.click()
        dialog = await open_parameters(page)
        await expect(dialog.get_by_label("Distribution")).to_have_text(re.compile("Round robin"))
        await dialog.get_by_role("button", name="Review").click()
        await expect(page.locator(".toast").last).to_have_text("Nothing has been changed.")
        await dialog.get_by_label("Attention contacts").fill("4")
        await dialog.get_by_role("button", name="Review").click()
        await expect(dialog.locator("tbody tr")).to_have_count(1)
        await dialog.get_by_role("button", name="Apply").click()
        await expect(dialog).to_be_hidden()


async def test_a_skill_that_was_added_and_removed_again_is_no_change() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK) as (stage, page):
        await stage.sheet(page, "agent1")
        await page.locator(".detail").get_by_role("button", name="Edit").click()
        dialog = page.get_by_role("dialog")
        choice = dialog.get_by_label("Add a skill")
        name = await choice.locator("option").nth(1).inner_text()
        await choice.select_option(index=1)
        await expect(dialog.get_by_role("checkbox", name=f"{name}: Active")).to_be_checked()
        await dialog.get_by_role("checkbox", name=f"{name}: Remove").check()
        await dialog.get_by_role("button", name="Review").click()
        await expect(page.locator(".toast").last).to_have_text("Nothing has been changed.")


async def test_a_teams_parameters_are_changed_on_its_page() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK) as (_, page):
        await page.get_by_label("Team or queue").select_option(index=1)
        await page.locator(".agents").get_by_role("button", name="Team page").click()
        await open_parameters(page)
        await page.get_by_role("dialog").get_by_label("Maximum calls waiting").fill("7")
        await page.get_by_role("button", name="Review").click()
        await page.get_by_role("button", name="Apply").click()
        await expect(page.locator(".detail .facts").last).to_contain_text("7")
        await expect(page.locator(".detail .agent")).not_to_have_count(0)


async def test_rights_that_go_take_their_buttons_along() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK) as (stage, page):
        await stage.sheet(page, "agent1")
        await expect(page.locator(".acts button").first).to_be_visible()
        stage.act("SetRights", User="supervisor1", Rights=[])
        await expect(page.locator(".acts button")).to_have_count(0)
        await expect(page.locator(".detail").get_by_role("button", name="Edit")).to_be_hidden()


async def test_agents_are_found_by_state_team_and_name() -> None:
    async with live_page(DASHBOARD, "supervisor1") as (stage, page):
        await page.get_by_role("button", name="Agents").click()
        rows = page.locator(".agents .agent")
        await expect(page.locator(".agents .pane-head .muted")).to_have_text("24")
        await page.locator(".filters .chip").filter(has_text="Unavailable").click()
        await expect(page.locator(".agents .agent:not([data-state=unavailable])")).to_have_count(0)
        await expect(rows).not_to_have_count(0)
        await page.locator(".filters .chip").filter(has_text="All").click()
        await page.get_by_label("Name or extension").fill(stage.agent("agent9").extension)
        await expect(rows).to_have_count(1)
        # the filters count what the search has found
        counted = page.locator(".filters .chip:visible b")
        await expect(counted).to_have_text(["1", "1"])
        await page.get_by_label("Name or extension").fill("")
        await expect(counted.first).to_have_text("24")


async def test_only_what_is_visible_exists() -> None:
    async with live_page(DASHBOARD, "supervisor1", agents=300) as (_, page):
        await page.get_by_role("button", name="Agents").click()
        rows = page.locator(".agents .agent")
        await expect(rows.first).to_be_visible()
        assert await rows.count() < 40
        await page.locator(".agents .scroll").evaluate("(pane) => pane.scrollTo(0, pane.scrollHeight)")
        last = page.locator(".agents [aria-posinset='300']")
        await expect(last).to_be_visible()
        assert await rows.count() < 40


async def test_the_keyboard_reaches_everything_and_focus_returns() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK) as (_, page):
        await page.locator(".tile").first.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator(".detail h2")).to_be_focused()
        edit = page.get_by_role("button", name="Settings")
        await edit.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(edit).to_be_focused()
