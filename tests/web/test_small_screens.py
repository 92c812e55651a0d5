"""Dialogs, messages and rarer pages fit on small phones, in German, also with text twice as large."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.web.engines import Chromium
from tests.web.stage import ASSISTANT, DASHBOARD, NUMBER, PHONE, Page, Stage, expect, live_page, opened
from tests.web.test_sizes import CROWDED

pytestmark = pytest.mark.scenario

GERMAN = {"locale": "de-DE"}
Sizes = tuple[tuple[int, int, int], ...]
"""Width and height of the page, and the size of text in percent."""
SIZES: Sizes = ((390, 844, 100), (320, 568, 100), (390, 844, 200), (320, 568, 200))
COVERED = """[...(document.querySelector('dialog[open]') ?? document).querySelectorAll('.edit-row')]
  .filter((row) => row.checkVisibility()).flatMap((row) => {
    const words = row.querySelector('.edit-label');
    const [label, control] = [words, row.lastElementChild].map((each) => each.getBoundingClientRect());
    const apart = label.right <= control.left + 1 || label.bottom <= control.top + 1;
    const fits = words.scrollWidth <= words.clientWidth + 1;
    return apart && fits ? [] : [`"${words.textContent}" meets its control`];
  })"""
"""Labels that are covered by the control beside them."""
ONE_WORD = """[...document.querySelectorAll('.act-list .a-name, .banner p')].filter((each) => {
    const least = Math.min(6 * parseFloat(getComputedStyle(each).fontSize), 130);
    return each.checkVisibility() && each.getBoundingClientRect().width < least;
  }).map((each) => `"${each.textContent}" has room for one word`)"""
"""Texts of many words in a column of one."""
BROKEN = """[...document.querySelectorAll('.kpi dt')].flatMap((term) => {
    const text = term.firstChild;
    return [...text.data.matchAll(/[^\\s\u00ad]+/g)].filter(({0: word, index}) => {
      const range = document.createRange();
      // the hyphen before it belongs to its first letter
      range.setStart(text, index + (text.data[index - 1] === '\u00ad' ? 1 : 0));
      range.setEnd(text, index + word.length);
      const lines = [...range.getClientRects()].filter(({width}) => width > 0).map(({top}) => top);
      return new Set(lines).size > 1;
    }).map(([word]) => `"${word}" is broken`);
  })"""
"""Words of the key figures that take two lines without a hyphen."""


LOOKS = (CROWDED, COVERED, ONE_WORD, BROKEN)


async def faults(page: Page, where: str, sizes: Sizes = SIZES) -> list[str]:
    """Return what does not fit, at each size."""
    window, found = Chromium(page), []
    for width, height, percent in sizes:
        await window.enlarge(percent)
        await window.resize(width, height)
        seen = ["not looked at"]
        for wait_ms in (50, 300, 1500):
            if seen:
                await page.wait_for_timeout(wait_ms)
                seen = [each for look in LOOKS for each in await window.run(look)]
        found += [f"{where} at {width} px, {percent} %: {each}" for each in seen]
    await window.enlarge(100)
    await window.resize(*PHONE["viewport"].values())
    return found


Step = Callable[[Page, Stage], Awaitable[None]]


async def walked(page: Page, stage: Stage, *steps: Step) -> None:
    """Go from page to page; each has to fit."""
    found: list[str] = []
    for step in steps:
        await step(page, stage)
        found += await faults(page, step.__name__)
    assert not found, "\n".join(found)


async def inventory(page: Page, stage: Stage) -> None:
    await page.goto(f"{stage.base}/app/")
    await page.locator(".foot button").click()
    await expect(page.locator("dialog .entry").first).to_be_visible()


async def log_on_refused(page: Page, _: Stage) -> None:
    await page.keyboard.press("Escape")
    await page.locator(f"input[value={ASSISTANT}]").check(force=True)
    await page.click("button[type=submit]")
    await expect(page.locator(".problem")).to_be_visible()


async def test_the_log_on_and_the_use_of_data() -> None:
    async with opened() as stage, stage.page(**GERMAN) as page:
        await walked(page, stage, inventory, log_on_refused)


async def hint(page: Page, stage: Stage) -> None:
    await stage.live(page, ASSISTANT, "agent1", NUMBER)
    await expect(page.locator(".walk")).to_be_visible()


async def reasons(page: Page, _: Stage) -> None:
    await page.locator(".walk .quiet").click()
    await page.locator(".set[data-state=work]").click()
    await expect(page.locator(".pick").first).to_be_visible()


async def number(page: Page, _: Stage) -> None:
    await page.locator(".pick").first.click()
    await page.locator(".card.row .button.small").first.click()
    await page.fill("#new-number", "110")
    await page.locator("dialog .primary").click()
    await expect(page.locator("dialog .problem")).to_be_visible()


async def log_off_after(page: Page, stage: Stage) -> None:
    await page.keyboard.press("Escape")
    stage.talk("agent1")
    await expect(page.locator(".hero")).to_have_attribute("data-state", "contact")
    await page.locator(".mine > .wide").click()
    await expect(page.get_by_role("dialog")).to_be_visible()


async def legend(page: Page, _: Stage) -> None:
    await page.keyboard.press("Escape")
    await page.locator(".strip .square").last.click()
    await page.locator(".list-buttons button").first.click()
    await expect(page.locator(".legend").first).to_be_visible()


async def test_dialogs_of_the_assistant() -> None:
    async with opened(warm_up_s=0) as stage, stage.page(hints=True, **GERMAN) as page:
        await walked(page, stage, hint, reasons, number, log_off_after, legend)


async def parameters(page: Page, stage: Stage) -> None:
    await stage.live(page, DASHBOARD, "supervisor1")
    await page.locator(".tile").first.click()
    await page.locator(".detail summary").click()
    await page.locator(".part > .button").click()
    await expect(page.locator(".edit-row").first).to_be_visible()


async def skills(page: Page, _: Stage) -> None:
    await page.keyboard.press("Escape")
    await page.locator(".back").click()
    await page.locator(".tabs button").nth(1).click()
    await page.locator(".agents .agent").first.click()
    await page.locator(".detail h3 .button").click()
    await expect(page.locator(".skill-edit").first).to_be_visible()


async def review(page: Page, _: Stage) -> None:
    await page.locator(".skill-edit input").first.fill("33")
    await page.locator("dialog select").select_option(index=1)
    await page.locator(".step-foot .primary").click()
    await expect(page.locator(".diff")).to_be_visible()


async def commands(page: Page, _: Stage) -> None:
    await page.locator(".step-foot .primary").click()
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await page.locator(".back").click()
    await page.locator(".tabs button").nth(2).click()
    await expect(page.locator(".act-list .button")).to_be_visible()


async def team(page: Page, _: Stage) -> None:
    await page.locator(".tabs button").nth(1).click()
    await page.locator(".agents .pane-head select").select_option(index=1)
    await expect(page.locator(".agents .pane-head .button").first).to_be_visible()


async def silent(page: Page, stage: Stage) -> None:
    await stage.fall_silent(page)


async def lost(page: Page, stage: Stage) -> None:
    stage.simulator.faults.freeze(0, None)
    await stage.stop()
    await expect(page.locator(".banner.bad")).to_be_visible()


async def test_dialogs_lists_and_messages_of_the_dashboard() -> None:
    async with opened() as stage, stage.page(**GERMAN) as page:
        try:
            await walked(page, stage, parameters, skills, review, commands, team, silent, lost)
        finally:
            await stage.start()


async def test_key_figures_on_a_small_phone_on_its_side() -> None:
    async with opened() as stage, stage.page(**GERMAN) as page:
        stage.crowd(next(iter(stage.simulator.center.directory.queues)), 12)
        await stage.live(page, DASHBOARD, "supervisor1")
        await expect(page.locator(".kpi dd[data-level]").first).to_be_visible()
        assert await faults(page, "queues", ((568, 320, 100), (667, 375, 100))) == []


async def test_the_figures_of_a_queue_stand_apart() -> None:
    async with live_page(DASHBOARD, "supervisor1") as (_, page):
        await page.locator(".tile").first.click()
        gaps = await page.locator(".figures").evaluate("""(figures) => {
          const terms = [...figures.querySelectorAll('dd')];
          const places = ['888', '88:88', '100 %', '88:88'].map((text, place) => {
            const words = document.createRange();
            terms[place].textContent = text;
            words.selectNodeContents(terms[place]);
            return words.getBoundingClientRect();
          });
          return places.slice(1).map(({left, top}, place) =>
            top > places[place].top ? 99 : left - places[place].right);
        }""")
        assert min(gaps) >= 8


async def test_neither_a_state_nor_its_time_is_broken_in_large_text() -> None:
    async with opened() as stage, stage.page(**GERMAN) as page:
        await stage.log_on(page, DASHBOARD, "supervisor1")
        stage.talk("agent1")
        await Chromium(page).enlarge(200)
        await page.locator(".tabs button").nth(1).click()
        await page.locator(".agents .agent[data-state=contact]").first.click()
        await expect(page.locator(".now strong")).to_have_text("Im Gespräch")
        lines = await page.locator(".now").evaluate("""(now) => {
          const state = document.createRange();
          state.setStart(now.querySelector('strong').firstChild, 'Im '.length);
          state.setEnd(now.querySelector('strong').firstChild, 'Im Gespräch'.length);
          const time = now.querySelector('.timer').firstChild;
          time.data = '11:56';
          const said = document.createRange();
          said.selectNodeContents(time);
          return [state, said].map((each) => each.getClientRects().length);
        }""")
        assert lines == [1, 1]


async def test_the_numbers_of_states_stand_apart() -> None:
    async with opened() as stage, stage.page(**GERMAN) as page:
        await page.set_viewport_size({"width": 360, "height": 640})
        await stage.live(page, DASHBOARD, "supervisor1")
        await page.locator(".tile").first.click()
        room = await page.locator(".state-count").evaluate_all("""(all) => all.map((each) => {
          const words = document.createRange();
          each.querySelector('b').textContent = '88';
          words.selectNodeContents(each);
          return each.getBoundingClientRect().right - words.getBoundingClientRect().right;
        })""")
        assert min(room) >= 0
