"""What does a person see in the moments that matter: coming back, a dead link, a tap while things move?

Each at the size and the round-trip time at which it was seen to fail.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.web.road import Road
from tests.web.stage import (
    ASSISTANT,
    DASHBOARD,
    DESK,
    DRAWN,
    Locator,
    Page,
    Stage,
    ViewportSize,
    WebSocketRoute,
    expect,
    opened,
)

pytestmark = pytest.mark.scenario

RTT_S = 0.3
LATE_S = 0.3
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
        await expect(page.locator(".kpi dd").nth(1)).to_have_text(re.compile("^0:[0-5][1-9]$"))
        await page.evaluate(WATCH)
        await page.evaluate(HIDE, True)
        await page.wait_for_timeout(3500)
        assert await page.locator(".health-text").inner_text() == "Updating …"
        # it comes back before its time is up, however long the machine takes
        await page.evaluate("() => { const at = performance.now(); performance.now = () => at; }")
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
        await expect(page.locator(".health-text")).to_have_text("Updating …")
        await expect(page.locator(".set[data-state=work]")).to_be_disabled()
        await expect(page.locator(".health-text")).to_have_text("Not connected")
        await expect(page.locator(".act-list")).to_contain_text("no answer")
        assert stage.agent().state == "Unavailable"
        way.cut()
        await expect(page.locator(".health-text")).to_have_text("Live")
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
        await expect(page.locator(".health-text")).to_have_text("Updating …")
        way.restore()
        await expect(page.locator(".health-text")).to_have_text("Live")


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


async def finger(page: Page, target: Locator) -> None:
    """Tap where *target* stands, once it can be used; the page is not scrolled, and must not need it.

    A tap of Playwright's scrolls the page when it has to try again, as where a button is still disabled.
    """
    await expect(target).to_be_enabled()
    await expect(target).to_be_in_viewport(ratio=1)
    box = await target.bounding_box()
    assert box is not None
    await page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


async def answers_late(page: Page) -> None:
    """Have each command's answer come well after the events that follow from the command."""

    def relay(here: WebSocketRoute) -> None:
        there = here.connect_to_server()
        later = asyncio.get_running_loop().call_later

        def inward(frame: str | bytes) -> None:
            late = isinstance(frame, str) and json.loads(frame)["kind"] == "result"
            later(LATE_S if late else 0, here.send, frame)

        there.on_message(inward)

    await page.route_web_socket(re.compile("^ws"), relay)


@pytest.mark.parametrize("late", [False, True])
async def test_nothing_moves_under_the_finger_of_an_agent(late: bool) -> None:
    async with opened(warm_up_s=0) as stage, stage.far(RTT_S) as way, stage.page() as page:
        if late:
            await answers_late(page)
        await stage.live(page, ASSISTANT, "agent1")
        await page.evaluate(WATCH)
        fixed = [".hero-name", ".sets .set"]
        before = await page.evaluate(PLACES, fixed)
        find = page.locator
        await finger(page, find(".set[data-state=available]"))
        await expect(page.locator(".hero-name")).to_have_text("Available")
        await finger(page, find(".set[data-state=unavailable]"))
        await expect(page.locator(".hero-name")).to_have_text("Unavailable")
        await finger(page, find(".reasons-part").get_by_role("button", name="Lunch"))
        await expect(page.locator(".hero-reason")).to_have_text("Lunch")
        key = stage.talk("agent1")
        await expect(page.locator(".hero-name")).to_have_text("Talking")
        await finger(page, find(".set[data-state=unavailable]"))
        await expect(page.locator(".hero-next .chip-x")).to_be_visible()
        await finger(page, find(".chip-x"))
        await expect(page.locator(".chip-x")).to_have_count(0)
        await finger(page, page.get_by_role("button", name="Post-processing after this contact"))
        await expect(page.locator(".hero-next .chip")).to_have_text("Post-processing after this contact")
        stage.act("EndContact", UserKey=key)
        await expect(page.locator(".hero-name")).to_have_text("Post-processing")
        more = page.get_by_role("button", name="+30 s")
        await expect(more).to_be_enabled()
        box = await more.bounding_box()
        assert box is not None
        way.silence()
        for _ in range(2):  # a double tap, where the first has not been answered
            await page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        way.restore()
        await expect(page.locator(".hero-time")).to_contain_text(re.compile(r"0:[45]\d"))
        assert await more.bounding_box() == box
        assert await page.locator(".post .chip[aria-pressed=true]").count() == 0
        await finger(page, page.get_by_role("button", name="Done"))
        await expect(page.locator(".hero-name")).to_have_text("Available")
        assert await page.evaluate(PLACES, fixed) == before
        assert await moved(page) <= 0.02


async def test_nothing_moves_under_the_finger_of_an_agent_while_a_function_is_down() -> None:
    async with opened(warm_up_s=0) as stage, stage.far(RTT_S), stage.page() as page:
        await answers_late(page)
        await stage.live(page, ASSISTANT, "agent1")
        stage.simulator.faults.set_function("Voice", "Down")
        no_call = page.locator(".hero .no-call")
        await expect(no_call).to_be_visible()
        await page.evaluate(WATCH)
        fixed = [".hero-name", ".sets .set"]
        before = await page.evaluate(PLACES, fixed)
        await finger(page, page.locator(".set[data-state=available]"))
        await expect(page.locator(".hero-next [data-asked]")).to_be_visible()
        assert await page.evaluate(PLACES, fixed) == before
        await expect(page.locator(".hero-name")).to_have_text("Available")
        await expect(no_call).to_be_visible()
        stage.talk("agent1")
        await expect(page.locator(".hero-name")).to_have_text("Talking")
        await finger(page, page.locator(".set[data-state=unavailable]"))
        await expect(page.locator(".hero-next .chip-x")).to_be_visible()
        await finger(page, page.get_by_role("button", name="Post-processing after this contact"))
        await expect(page.locator(".hero-next")).to_have_text(
            "Post-processing · Unavailable after this contact"
        )
        assert await page.evaluate(PLACES, fixed) == before
        assert await moved(page) <= 0.02


async def test_nothing_moves_under_the_finger_of_a_supervisor() -> None:
    async with far(DASHBOARD, "supervisor1") as (stage, page, _):
        await stage.sheet(page, "agent3")
        key = stage.talk("agent3")
        await expect(page.locator(".agent-state .now")).to_contain_text("Talking")
        await page.evaluate(WATCH)
        fixed = [".acts .button", ".skills"]
        before = await page.evaluate(PLACES, fixed)
        await finger(page, page.locator(".acts").get_by_role("button", name="Unavailable", exact=True))
        await expect(page.locator(".last")).to_contain_text("takes effect after this contact")
        assert await page.evaluate(PLACES, fixed) == before
        assert await moved(page) <= 0.02
        stage.act("EndContact", UserKey=key)
        await expect(page.locator(".agent-state .now")).to_contain_text("Unavailable")
        before = await page.evaluate(PLACES, fixed)
        await page.evaluate("moved = 0")
        await finger(page, page.locator(".acts").get_by_role("button", name="Available", exact=True))
        await expect(page.locator(".last")).to_contain_text("Available · done")
        assert await page.evaluate(PLACES, fixed) == before
        assert await moved(page) <= 0.02


async def test_nobody_is_logged_off_by_one_tap() -> None:
    async with far(DASHBOARD, "supervisor1") as (stage, page, _):
        await stage.sheet(page, "agent3")
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
        await expect(page.locator(".told")).to_contain_text("Confirmed")


async def test_filters_of_states_are_all_reached_on_a_desk() -> None:
    async with far(DASHBOARD, "supervisor1", 0.0, **DESK) as (_, page, _way):
        chips = page.locator(".filters .chips")
        boxes = [await each.bounding_box() for each in await chips.locator(".chip:visible").all()]
        whole = await chips.bounding_box()
        assert whole is not None
        assert len(boxes) > 3
        assert all(box and box["x"] + box["width"] <= whole["x"] + whole["width"] + 1 for box in boxes)


TWO_ROWS = """([pane, row]) => {
  const box = document.querySelector(pane).getBoundingClientRect();
  const tops = [...document.querySelectorAll(row)].map((each) => each.getBoundingClientRect())
    .filter(({top, bottom}) => top >= box.top - 1 && bottom <= Math.min(box.bottom, innerHeight) + 1)
    .map(({top}) => Math.round(top));
  return new Set(tops).size >= 2;
}"""


async def test_two_rows_are_seen_on_a_phone_on_its_side() -> None:
    sizes: tuple[ViewportSize, ...] = ({"width": 844, "height": 390}, {"width": 667, "height": 375})
    async with far(DASHBOARD, "supervisor1", 0.0, viewport=sizes[0]) as (_, page, _way):
        for size in sizes:
            await page.set_viewport_size(size)
            await page.wait_for_function(TWO_ROWS, arg=[".queues .scroll", ".tile"])
        await page.locator(".tabs button").nth(1).click()
        await expect(page.locator(".agents .agent").first).to_be_visible()
        for size in sizes:
            await page.set_viewport_size(size)
            await page.wait_for_function(TWO_ROWS, arg=[".agents .scroll", ".agents .agent"])
            await page.set_viewport_size(
                {"width": size["height"], "height": size["width"]}
            )  # turned, and back
            await page.set_viewport_size(size)
            await page.evaluate(DRAWN)
            await page.wait_for_function(TWO_ROWS, arg=[".agents .scroll", ".agents .agent"])


async def test_a_cold_start_on_a_hanging_network_draws_the_page_at_once() -> None:
    async with (
        opened(warm_up_s=0) as stage,
        stage.far(0.0) as way,
        stage.context(service_workers="allow") as context,
    ):
        page = stage.watched(await context.new_page())
        await stage.live(page, DASHBOARD, "supervisor1")
        await page.wait_for_function("() => navigator.serviceWorker.controller")
        way.silence()
        await page.reload(wait_until="commit")
        await expect(page.locator(".strip .where")).to_contain_text("Dashboard")
        await expect(page.locator(".health-text")).to_have_text("Connecting")
        await expect(page.locator(".kpi dd").first).to_be_visible()
        # what is not known is not called 0
        figures = await page.locator(".kpi dd").all_inner_texts()
        assert {text.strip() for text in figures} == {"–"}
        assert await page.locator(".pane-head .muted").all_text_contents() == ["–", "–"]
        way.restore()
        await expect(page.locator(".health-text")).to_have_text("Live")
        await expect(page.locator(".strip .where")).to_have_text("Dashboard · Berlin")


async def test_a_message_covers_no_figure() -> None:
    async with far(DASHBOARD, "supervisor1") as (stage, page, _):
        agent = stage.agent("agent3")
        stage.act("SetRoutingState", UserKey=agent.key, RoutingState="Available", By="System")
        await stage.sheet(page, "agent3")
        await expect(page.locator(".agent-state .now")).to_contain_text("Available")
        stage.simulator.faults.set_function("LocalRouting", "Down")
        await page.locator(".acts").get_by_role("button", name="Unavailable", exact=True).tap()
        toast = page.locator(".toast.bad")
        await expect(toast).to_be_visible()
        box, strip = await toast.bounding_box(), await page.locator(".strip").bounding_box()
        assert box is not None
        assert strip is not None
        assert box["y"] + box["height"] <= strip["y"] + strip["height"] + 1


async def test_what_the_contact_centre_says_to_all_is_read_at_once() -> None:
    async with far(ASSISTANT, "agent1") as (stage, page, _):
        stage.simulator.faults.notice(None, "Fire drill at noon")
        await expect(page.locator(".toast").last).to_contain_text("Fire drill at noon")


async def test_the_keyboard_hides_no_button_of_a_sheet() -> None:
    async with far(ASSISTANT, "agent1", 0.0) as (_, page, _way):
        await page.get_by_role("button", name="Change number").click()
        await page.evaluate(
            "() => { Object.defineProperty(visualViewport, 'height', {get: () => innerHeight - 320});"
            " visualViewport.dispatchEvent(new Event('resize')); }"
        )
        send = page.get_by_role("dialog").get_by_role("button", name="Change number")
        above = "(button) => button.getBoundingClientRect().bottom <= innerHeight - 320"
        await page.wait_for_function(above, arg=await send.element_handle())


async def test_a_new_name_reaches_what_is_open() -> None:
    async with far(DASHBOARD, "supervisor1", 0.0, **DESK) as (stage, page, _):
        await stage.sheet(page, "agent1")
        agent = stage.agent("agent1")
        queue = stage.queue_of(agent)
        stage.act("Rename", Key=queue, Name="Brand new queue")
        await expect(page.locator(".detail .facts")).to_contain_text("Brand new queue")
        skill = stage.simulator.center.directory.queues[queue].skill_key
        stage.act("Rename", Key=skill, Name="Brand new skill")
        await expect(page.locator(".detail .skills")).to_contain_text("Brand new skill")
        stage.talk("agent1")
        await expect(page.locator(".agent-state")).to_contain_text("Brand new queue")
        stage.act("Rename", Key=queue, Name="Newer queue")
        await expect(page.locator(".agent-state")).to_contain_text("Newer queue")


async def test_nothing_ticks_while_nobody_looks() -> None:
    async with far(DASHBOARD, "supervisor1", 0.0) as (_, page, _way):
        await page.evaluate(
            "() => { globalThis.changed = performance.now();"
            " new MutationObserver(() => { changed = performance.now(); })"
            ".observe(document.body, {subtree: true, childList: true, attributes: true}); }"
        )
        await page.evaluate(HIDE, True)
        await page.wait_for_function("() => performance.now() - changed > 2500")
        assert await page.evaluate("document.querySelector('meta[name=theme-color]').content") == "#ffffff"


async def test_a_phone_asks_for_agents_when_they_are_looked_at() -> None:
    async with far(DASHBOARD, "supervisor1", 0.0, {"agents": 500, "queues": 20}) as (_, page, way):
        before = way.received
        await expect(page.locator(".kpi dd").nth(3)).to_have_text("–")
        await page.locator(".tabs button").nth(1).click()
        await expect(page.locator(".agents .pane-head .muted")).to_have_text("500")
        await expect(page.locator(".kpi dd").nth(3)).not_to_have_text("–")
        assert way.received - before > 100_000


async def test_a_phone_that_was_away_for_long_comes_back_for_few_bytes() -> None:
    centre = {"agents": 1500, "queues": 100, "groups": 20}
    async with far(DASHBOARD, "supervisor1", 0.0, centre) as (stage, page, way):
        await page.locator(".tabs button").nth(1).click()
        await expect(page.locator(".agents .pane-head .muted")).to_have_text("1,500")
        await page.locator(".tabs button").first.click()
        await page.evaluate(HIDE, True)
        await stage.stop()  # all of it has to be sent again
        await stage.start()
        await page.evaluate("() => { const now = Date.now; Date.now = () => now() + 91_000; }")
        before = way.received
        await page.evaluate(HIDE, False)
        await expect(page.locator(".health-text")).to_have_text("Live")
        await page.wait_for_timeout(500)
        assert 10_000 < way.received - before <= 120_000
        await expect(page.locator(".kpi dd").nth(3)).to_have_text("–")
        await page.locator(".tabs button").nth(1).click()
        await expect(page.locator(".agents .pane-head .muted")).to_have_text("1,500")


CROWDED = """() => {
  const faults = [];
  const texts = [];
  const clip = (node, box) => {
    for (let up = node; up && up !== document.body; up = up.parentElement) {
      const style = getComputedStyle(up);
      if (style.overflowX === 'visible' && style.overflowY === 'visible') continue;
      const outer = up.getBoundingClientRect();
      box = {left: Math.max(box.left, outer.left), right: Math.min(box.right, outer.right),
        top: Math.max(box.top, outer.top), bottom: Math.min(box.bottom, outer.bottom)};
    }
    return box;
  };
  const scrolls = (node) => {
    for (let up = node; up && up !== document.body; up = up.parentElement)
      if (['auto', 'scroll'].includes(getComputedStyle(up).overflowX) && up.scrollWidth > up.clientWidth)
        return true;
    return false;
  };
  const shortens = (node) => {
    for (let up = node; up && up !== document.body; up = up.parentElement)
      if (getComputedStyle(up).textOverflow === 'ellipsis') return true;
    return false;
  };
  const layer = (node) => node.closest('dialog, #toasts, .dock, .banner.over, .step-foot')?.className ?? '';
  const open = document.querySelector('dialog[open]');
  const walker = document.createTreeWalker(open ?? document.getElementById('app'), NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode());) {
    const node = text.parentElement;
    if (!text.textContent.trim() || node.closest('.sr, .skip, option, select') || !node.checkVisibility(
      {visibilityProperty: true, opacityProperty: true})) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    for (const raw of range.getClientRects()) {
      const name = `"${text.textContent.trim().slice(0, 40)}" in .${node.className || node.tagName}`;
      const box = clip(node, raw);
      if (box.right - box.left < 2 || box.bottom - box.top < 2) {
        continue;
      }
      if ((box.right > innerWidth + 1 || box.left < -1) && !scrolls(node)) faults.push(`${name} leaves`);
      const cut = raw.right - box.right > 2 && !shortens(node) && !scrolls(node);
      if (cut) faults.push(`${name} is cut by ${Math.round(raw.right - box.right)} px`);
      texts.push({name, node, box, layer: layer(node)});
    }
  }
  for (const [place, a] of texts.entries())
    for (const b of texts.slice(place + 1)) {
      if (a.node === b.node || a.layer !== b.layer) continue;
      const wide = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
      const high = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
      const small = Math.min(a.box.bottom - a.box.top, b.box.bottom - b.box.top);
      if (wide > 2 && high > small * 0.35) faults.push(`${a.name} and ${b.name} overprint`);
    }
  if (document.documentElement.scrollWidth > innerWidth + 1) faults.push('the page scrolls sideways');
  return [...new Set(faults)];
}"""
WIDTHS = (320, 360, 390)
SETTLE_MS = (100, 400, 1500)
"""Waits between looks at a page of a new width: it may have to draw more than once."""


async def crowded(page: Page, where: str) -> list[str]:
    """Return what overprints or leaves the screen, at each width, and does not come right soon."""
    found: list[str] = []
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 844})
        await page.evaluate(DRAWN)
        faults = await page.evaluate(CROWDED)
        for wait_ms in SETTLE_MS:
            if faults:
                await page.wait_for_timeout(wait_ms)
                faults = await page.evaluate(CROWDED)
        found += [f"{where} at {width}: {each}" for each in faults]
    return found


@pytest.mark.parametrize(
    ("percent", "language"),
    [(100, "en-GB"), (200, "en-GB"), (100, "de-DE"), (150, "de-DE"), (200, "de-DE")],
)
async def test_nothing_overprints_or_leaves_the_screen(percent: int, language: str) -> None:
    async with opened(warm_up_s=0) as stage, stage.large(percent):
        found: list[str] = []
        async with stage.page(locale=language) as page:
            await stage.live(page, ASSISTANT, "agent1")
            found += await crowded(page, "an assistant")
            key = stage.talk("agent1")
            await expect(page.locator(".hero")).to_have_attribute("data-state", "contact")
            await page.locator(".area > .button").click()
            await expect(page.locator(".act-list time")).to_have_count(1)
            await expect(page.locator(".act-list")).not_to_contain_text("…")
            found += await crowded(page, "a contact")
            stage.act("EndContact", UserKey=key)
            await expect(page.locator(".hero")).to_have_attribute("data-state", "post")
            found += await crowded(page, "post-processing")
        stage.send_away()
        for _ in range(12):
            stage.act("Arrive", QueueKey=next(iter(stage.simulator.center.directory.queues)))
        async with stage.page(locale=language) as page:
            await page.goto(f"{stage.base}/app/")
            await expect(page.locator("#in-user")).to_be_visible()
            found += await crowded(page, "log-on")
            await stage.live(page, DASHBOARD, "supervisor1")
            found += await crowded(page, "queues")
            await page.locator(".tile").first.click()
            await page.locator(".detail summary").click()
            found += await crowded(page, "a queue")
            await page.locator(".back").click()
            await page.locator(".tabs button").nth(1).click()
            await expect(page.locator(".agents .agent").first).to_be_visible()
            found += await crowded(page, "agents")
            await page.locator(".agents .agent").first.click()
            found += await crowded(page, "an agent")
            await page.locator(".strip .square").last.click()
            found += await crowded(page, "settings")
        print(*found, sep="\n")  # shown when there are any
        assert not found
