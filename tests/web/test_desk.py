"""Additions of a wide screen: a table, the keyboard, several agents at once, a wallboard, links, hints."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.stage import ASSISTANT, DASHBOARD, DESK, DRAWN, MOTIONS, Page, Stage, expect, live_page, opened
from tests.web.test_accessibility import faults

pytestmark = pytest.mark.scenario


async def test_queues_are_a_table_that_is_sorted_by_what_one_looks_for() -> None:
    async with opened(warm_up_s=0) as stage, stage.page(**DESK) as page:
        await page.add_init_script(MOTIONS)
        await stage.live(page, DASHBOARD, "supervisor1")
        queues = list(stage.simulator.center.directory.queues.values())
        stage.send_away()
        for place, queue in enumerate(queues[:3]):
            for _ in range(place + 1):
                stage.act("Arrive", QueueKey=queue.key)
        await page.get_by_role("button", name="Table", exact=True).click()
        table = page.get_by_role("table", name="Queues")
        await expect(table.get_by_role("row")).to_have_count(len(queues) + 1)
        await expect(table.locator("th.t-share")).to_have_text("Service level")  # as the figure above it
        await table.get_by_role("button", name="Waiting").click()
        await expect(table.locator("th.t-waiting")).to_have_attribute("aria-sort", "descending")
        names = page.locator(".queue-table tbody th")
        for place, queue in enumerate(queues[2::-1]):
            await expect(names.nth(place)).to_have_text(queue.name)
        await table.get_by_role("button", name="Queue", exact=True).click()
        await expect(names).to_have_text(sorted(queue.name for queue in queues))
        assert await page.evaluate("motions.some(({tag, kind}) => tag === 'TR' && kind === 'transform')")
        search = page.get_by_label("Search", exact=True)
        await page.locator(".health").hover()  # the table moves when nobody is about to press something in it
        await page.wait_for_timeout(2_600)
        await search.fill(queues[2].name)
        await expect(names).to_have_text([queues[2].name])
        assert await page.evaluate("motions.some(({tag, kind}) => tag === 'TR' && kind === 'opacity')")
        await search.fill("")
        assert await faults(page) == []
        await page.reload()
        await expect(table.locator("th.t-name")).to_have_attribute("aria-sort", "ascending")
        await table.get_by_role("button", name=queues[2].name).click()
        await expect(page.locator(".detail h2")).to_have_text(queues[2].name)
        await page.set_viewport_size({"width": 390, "height": 844})
        await page.locator(".back").click()
        await expect(page.locator(".tile").first).to_be_visible()
        await expect(table).to_be_hidden()


async def test_the_keyboard_leads_to_sections_rows_and_back() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK, warm_up_s=0) as (_, page):
        await expect(page.locator(".agents .agent").first).to_be_visible()
        await page.locator(".tile").first.click()
        await page.locator("#place").focus()  # where the skip link leads
        filters = page.locator(".filters .chip:focus")
        for _ in range(12):
            await page.keyboard.press("Tab")
            if await filters.count():  # one of them is reached by Tab
                await expect(filters).to_contain_text("All")
                await page.keyboard.press("ArrowRight")
                await expect(filters).not_to_contain_text("All")
            if await page.locator(".detail :focus").count():
                break
        await expect(page.locator(".detail :focus")).to_have_count(1)
        await page.keyboard.press("Escape")
        await page.keyboard.press("2")
        focused = page.locator(".agents .agent:focus .a-name")
        first = await focused.inner_text()
        await page.keyboard.press("ArrowDown")
        await expect(focused).not_to_have_text(first)
        await expect(page.locator(".agents .agent[tabindex='0']")).to_have_count(1)
        second = await focused.inner_text()
        await page.keyboard.press("End")
        await expect(focused).not_to_have_text(second)
        await page.keyboard.press("Home")
        await expect(focused).to_have_text(first)
        await page.keyboard.press("1")
        await page.keyboard.press("Enter")
        await expect(page.locator(".detail h2")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(page.locator(".detail")).to_be_hidden()
        await page.keyboard.press("3")
        await expect(page.get_by_role("heading", name="My commands")).to_be_focused()
        await page.keyboard.press("2")
        await page.keyboard.press("/")
        await expect(page.get_by_label("Name or extension")).to_be_focused()
        await page.keyboard.press("1")  # is typed
        await expect(page.get_by_label("Name or extension")).to_have_value("1")


async def test_single_keys_can_be_switched_off() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK, warm_up_s=0) as (_, page):
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_role("dialog").get_by_text("Keyboard shortcuts").click()
        await page.keyboard.press("Escape")
        await page.keyboard.press("/")
        await expect(page.get_by_label("Search", exact=True)).not_to_be_focused()


async def chosen(page: Page, stage: Stage, count: int) -> list[Any]:
    """Choose the first agents of the dialog; returns them, as the centre has them."""
    unavailable = page.locator(".agents .agent").filter(has_text="Unavailable")
    await expect(unavailable.nth(count - 1)).to_be_visible()  # the dialog lists those that are known by then
    await page.get_by_role("button", name="Set several").click()
    dialog = page.get_by_role("dialog")
    boxes = dialog.locator(".bulk-list label")
    found = []
    for place in range(count):
        await boxes.nth(place).click()
        found.append((await boxes.nth(place).locator("span").first.inner_text()).split("\n")[0])
    assert await faults(page) == []
    await dialog.get_by_role("button", name="Review").click()
    agents = stage.simulator.center.directory.agents.values()
    return [next(each for each in agents if each.name == name) for name in found]


async def test_several_agents_are_set_with_one_review() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK, warm_up_s=0) as (stage, page):
        stage.send_away()
        agents = await chosen(page, stage, 5)
        dialog = page.get_by_role("dialog")
        await expect(dialog.locator(".diff tbody tr")).to_have_count(5)
        assert await faults(page) == []
        await dialog.get_by_role("button", name="Set 5 to Available").click()
        await expect(dialog).to_be_hidden()
        await expect(page.locator(".toast").last).to_contain_text("Set to Available: 5.")
        assert [agent.state for agent in agents] == ["Available"] * 5
        await expect(page.locator(".activity li")).to_have_count(5)


async def test_who_could_not_be_set_is_listed() -> None:
    async with live_page(DASHBOARD, "supervisor1", DESK, warm_up_s=0) as (stage, page):
        stage.send_away()
        agents = await chosen(page, stage, 3)
        stage.act("SetRoutingState", UserKey=agents[1].key, RoutingState="LoggedOff", By="System")
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Set 3 to Available").click()
        await expect(dialog.locator(".bulk-failed li")).to_have_count(1)
        await expect(dialog).to_contain_text("Set to Available: 2. Not set: 1.")
        await expect(dialog.locator(".bulk-failed")).to_contain_text(agents[1].name)
        assert [agents[0].state, agents[2].state] == ["Available"] * 2


async def test_the_wallboard_has_queues_and_no_people_and_keeps_the_screen_on() -> None:
    async with opened(warm_up_s=0) as stage, stage.page(**DESK) as page:
        await page.add_init_script(
            "globalThis.locks = [];"
            "Object.defineProperty(navigator, 'wakeLock', {value: {request: async (kind) => {"
            " const lock = {kind, released: false, release() { this.released = true; }};"
            " locks.push(lock); return lock; }}})"
        )
        await stage.live(page, DASHBOARD, "supervisor1")
        await expect(page.locator(".agents .agent").first).to_be_visible()
        await page.get_by_role("button", name="Wallboard").click()
        await expect(page.locator(".agents")).to_be_hidden()
        await expect(page.locator(".tile").first).to_be_visible()
        assert page.url.endswith("#wall")
        assert await page.evaluate("locks.map(({kind, released}) => [kind, released])") == [["screen", False]]
        shown = await page.locator("body").inner_text()
        people = stage.simulator.center.directory.agents.values()
        assert [agent.name for agent in people if agent.name in shown] == []
        assert await faults(page) == []
        await page.reload()
        await expect(page.locator(".tile .q-name").first).not_to_have_text("–")
        await expect(page.locator(".agents")).to_be_hidden()
        await page.keyboard.press("Escape")
        await expect(page.locator(".agents .agent").first).to_be_visible()
        assert await page.evaluate("locks.every(({released}) => released)")


async def test_a_link_leads_to_a_queue() -> None:
    async with opened(warm_up_s=0) as stage, stage.page(**DESK) as page:
        key, queue = list(stage.simulator.center.directory.queues.items())[2]
        await page.goto(f"{stage.base}/app/#queue={key}")
        await stage.sign(page, DASHBOARD, "supervisor1")
        await expect(page.locator(".detail h2")).to_have_text(queue.name)
        await page.keyboard.press("Escape")
        await expect(page.locator(".detail h2")).not_to_be_visible()
        await page.locator(".tile").first.click()
        await expect(page.locator(".detail .figures").first).to_be_visible()
        assert "#queue=" in page.url
        await page.locator(".agents .agent").first.click()
        await expect(page.locator(".detail .acts")).to_be_visible()
        assert "#" not in page.url  # a person stands in no address


@pytest.mark.parametrize(("application", "user"), [(DASHBOARD, "supervisor1"), (ASSISTANT, "agent1")])
async def test_the_first_start_has_three_hints_once(application: str, user: str) -> None:
    async with live_page(application, user, {"hints": True}, warm_up_s=0) as (_, page):
        hint = page.locator(".walk")
        await expect(hint).to_contain_text("1/3")
        assert await faults(page) == []
        await hint.get_by_role("button", name="Next").click()
        await hint.get_by_role("button", name="Next").click()
        await expect(hint).to_contain_text("3/3")
        await hint.get_by_role("button", name="Got it").click()
        await expect(hint).to_have_count(0)
        await page.reload()
        await expect(page.locator(".health-text")).to_have_text("Live")
        await expect(hint).to_have_count(0)


async def test_signs_are_explained() -> None:
    async with live_page(DASHBOARD, "supervisor1", {"locale": "de-DE"}, warm_up_s=0) as (_, page):
        await page.locator(".tile").first.click()
        await expect(page.locator(".facts").first).to_contain_text("Mittlere Wartezeit")
        await page.locator(".strip .square").last.click()
        await page.get_by_role("button", name="Was die Zeichen bedeuten").click()
        dialog = page.get_by_role("dialog").last
        await expect(dialog.locator(".legend li")).to_have_count(16)
        await expect(dialog).to_contain_text("Nachbearbeitung")
        assert await faults(page) == []


@pytest.mark.parametrize("language", ["en-GB", "de-DE"])
async def test_the_head_of_a_list_stays_within_it(language: str) -> None:
    beyond = """() => [...document.querySelectorAll('.pane')].flatMap((pane) => {
      const {right} = pane.getBoundingClientRect();
      return [...pane.querySelectorAll('.pane-head > *, .filter-line > *')]
        .filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > right + 1)
        .map((each) => each.outerHTML.slice(0, 80)); })"""
    async with live_page(DASHBOARD, "supervisor1", {**DESK, "locale": language}, warm_up_s=0) as (_, page):
        for opens in (False, True):
            if opens:
                await page.locator(".queues .desk").first.click()
            for wide in (768, 1180, 1440):
                await page.set_viewport_size({"width": wide, "height": 900})
                await page.evaluate(DRAWN)
                assert await page.evaluate(beyond) == [], wide
                assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), wide
