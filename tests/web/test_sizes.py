"""Everything fits in each engine: at each width of a phone, on its side, with large text, on a desk."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import pytest

from tests.web.engines import Chromium, Window, click, one, reads, tap, until
from tests.web.stage import ASSISTANT, DASHBOARD, Stage, opened
from tests.web.test_engines import (
    FEW,
    WIDTHS,
    far,
    in_each_engine,
    in_each_engine_where_all_are_asked_for,
    log_on,
    standing,
)

pytestmark = pytest.mark.scenario


@in_each_engine_where_all_are_asked_for
async def test_filters_of_states_are_all_reached_on_a_desk(engine: str) -> None:
    async with far(engine, DASHBOARD, "supervisor1", 0.0) as (stage, window, _way):
        stage.talk("agent1")
        stage.send_away()
        agents = stage.simulator.center.directory.agents.values()
        away = [each.key for each in agents if each.logged_on and not each.handling]
        for key, state in zip(away, ("Work", "Available"), strict=False):
            stage.act("SetRoutingState", UserKey=key, RoutingState=state, By="System")
        await window.resize(1180, 800)
        shown = "[...document.querySelectorAll('.filters .chip')].filter((each) => each.checkVisibility())"
        await until(window, f"{shown}.length > 4")
        ends = f"{shown}.map((each) => each.getBoundingClientRect().right)"
        inside = "document.querySelector('.filters .chips').getBoundingClientRect().right + 1"
        await until(window, f"{ends}.every((end) => end <= {inside})")
        await window.resize(1280, 800)
        await click(window, ".queues button", "Table")
        await until(window, "document.querySelector('.board').dataset.look === 'table'")
        await until(window, f"{ends}.every((end) => end <= {inside})")
        # beside the table the column is narrow, and the list begins soon
        lines = f"new Set({shown}.map((each) => each.getBoundingClientRect().top)).size"
        assert await window.run(lines) <= 2


TWO_ROWS: Final = """(([pane, row]) => {
  const box = document.querySelector(pane).getBoundingClientRect();
  const tops = [...document.querySelectorAll(row)].map((each) => each.getBoundingClientRect())
    .filter(({top, bottom}) => top >= box.top - 1 && bottom <= Math.min(box.bottom, innerHeight) + 1)
    .map(({top}) => Math.round(top));
  return new Set(tops).size >= 2;
})"""


@in_each_engine_where_all_are_asked_for
async def test_two_rows_are_seen_on_a_phone_on_its_side(engine: str) -> None:
    queues, agents = [".queues .scroll", ".tile"], [".agents .scroll", ".agents .agent"]
    async with far(engine, DASHBOARD, "supervisor1", 0.0) as (_, window, _way):
        for size in ((844, 390), (667, 375)):
            await window.resize(*size)
            await until(window, f"{TWO_ROWS}({queues})")
        await click(window, ".tabs button:nth-of-type(2)")
        for width, height in ((844, 390), (667, 375)):
            await window.resize(width, height)
            await until(window, f"{TWO_ROWS}({agents})")
            await window.resize(height, width)  # turned, and back
            await window.resize(width, height)
            await until(window, f"{TWO_ROWS}({agents})")


async def test_the_two_columns_of_a_phone_on_its_side_keep_their_places() -> None:
    async with far("chromium", DASHBOARD, "supervisor1", 0.0) as (_, window, _way):
        await window.resize(844, 390)
        before = await standing(window, ".queues"), await standing(window, ".agents")
        await click(window, ".tabs button:nth-of-type(2)")
        await until(window, "document.querySelector('.board').dataset.tab === 'agents'")
        assert (await standing(window, ".queues"), await standing(window, ".agents")) == before
        await click(window, ".tabs button:nth-of-type(3)")  # no column is empty beside the commands
        await until(window, "document.querySelector('.board').dataset.tab === 'activity'")
        assert await standing(window, ".agents") == before[1]


async def test_the_figures_of_ones_queues_stand_in_one_line_on_a_tablet() -> None:
    lines = (
        "[...document.querySelectorAll('.my-queues li')].map((each) => [...each.querySelectorAll('.my-wait')]"
    )
    tops = f"{lines}.map((figure) => figure.getBoundingClientRect().top))"
    async with far("chromium", ASSISTANT, "agent1", 0.0) as (_, window, _way):
        await until(window, f"{one('.my-queues .my-wait')} !== undefined")
        for size in ((768, 1024), (820, 1180), (844, 390), (390, 844)):
            await window.resize(*size)
            for waiting, longest in await window.run(tops):
                assert waiting == longest, size


async def test_a_state_is_set_by_one_tap_on_a_phone_on_its_side() -> None:
    async with far("chromium", ASSISTANT, "agent1", 0.0) as (stage, window, _):
        bottoms = "[...document.querySelectorAll('.set')].map((each) => each.getBoundingClientRect().bottom)"
        seen = f"{bottoms}.every((bottom) => bottom <= innerHeight)"
        for size in ((844, 390), (667, 375)):
            await window.resize(*size)
            await until(window, f"{one('.reasons-part button')} !== undefined")
            assert await window.run(seen), size
        await window.resize(844, 390)
        before = await standing(window, ".set")
        await tap(window, ".set[data-state=available]")
        await reads(window, ".hero-name", "Available")
        assert await standing(window, ".set") == before  # reasons stand below
        stage.talk("agent1")
        await reads(window, ".hero-name", "Talking")
        assert await standing(window, ".set") == before


CROWDED: Final = Path(__file__).with_name("crowded.js").read_text("utf-8")
HEIGHT: Final = 844
PERCENTS: Final = (100, 150, 200)
_FEW_PERCENTS: Final = (100, 200)
SETTLE_S: Final = (0.05, 0.1, 0.4, 1.5)
"""Waits between looks at a page of a new size: it may have to draw more than once."""


async def crowded(window: Window, where: str, language: str) -> list[str]:
    """Return what overprints or leaves the screen, at each size, and does not come right soon."""
    found: list[str] = []
    first = isinstance(window, Chromium)
    percents = _FEW_PERCENTS if FEW and not (first and language == "de") else PERCENTS
    sizes = [(percent, width, HEIGHT) for percent in percents for width in WIDTHS]
    if first:  # also what is below
        sizes += [(100, width, 3 * HEIGHT) for width in (WIDTHS[-1], WIDTHS[0])]
    enlarged = None
    for percent, width, height in sizes:
        if percent != enlarged:
            await window.enlarge(percent)
            enlarged = percent
        await window.resize(width, height)
        faults = ["not looked at"]
        for wait_s in SETTLE_S:
            if faults:
                await asyncio.sleep(wait_s)
                faults = await window.run(CROWDED)
        found += [f"{where} at {width} x {height}, {percent} %: {each}" for each in faults]
    await window.enlarge(100)
    return found


@in_each_engine
async def test_nothing_overprints_or_leaves_the_screen(engine: str) -> None:
    await look_for_crowded(engine, "de")  # its words are longer


async def test_nothing_overprints_or_leaves_the_screen_in_english() -> None:
    await look_for_crowded("chromium", "en")


async def look_for_crowded(engine: str, language: str) -> None:
    """Look at all pages of both apps, at each size of the page and of its text."""
    async with opened(warm_up_s=0) as stage, stage.window(engine) as window:
        found = await crowded_assistant(stage, window, language)
    async with opened(warm_up_s=0) as stage, stage.window(engine) as window:
        stage.crowd(next(iter(stage.simulator.center.directory.queues)), 12)
        found += await crowded_dashboard(stage, window, language)
    print(*found, sep="\n")  # shown when there are any
    assert not found


async def crowded_assistant(stage: Stage, window: Window, language: str) -> list[str]:
    await log_on(window, stage, ASSISTANT, "agent1", language=language)
    found = await crowded(window, "an assistant", language)
    key = stage.talk("agent1")
    await until(window, "document.querySelector('.hero').dataset.state === 'contact'")
    await click(window, ".area > .button")
    acts = "document.querySelector('.act-list')"
    await until(window, f"{acts}.querySelectorAll('time').length === 1 && !{acts}.textContent.includes('…')")
    found += await crowded(window, "a contact", language)
    stage.act("EndContact", UserKey=key)
    await until(window, "document.querySelector('.hero').dataset.state === 'post'")
    return found + await crowded(window, "post-processing", language)


async def crowded_dashboard(stage: Stage, window: Window, language: str) -> list[str]:
    found: list[str] = []
    await log_on(window, stage, DASHBOARD, "supervisor1", language=language)
    found += await crowded(window, "queues", language)
    await click(window, ".tile")
    await click(window, ".detail summary")
    found += await crowded(window, "a queue", language)
    await click(window, ".back")
    await click(window, ".tabs button:nth-of-type(2)")
    await until(window, f"{one('.agents .agent')} !== undefined")
    found += await crowded(window, "agents", language)
    await click(window, ".agents .agent")
    found += await crowded(window, "an agent", language)
    await click(window, ".strip .square:last-of-type")
    return found + await crowded(window, "settings", language)
