"""Names of each script and length stand where they belong, and move nothing beside them."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from tests.web.engines import Window, click, reads, until
from tests.web.stage import ASSISTANT, DASHBOARD, Stage
from tests.web.test_engines import far, in_each_engine_where_all_are_asked_for, typed
from tests.web.test_sizes import CROWDED, SETTLE_S

pytestmark = pytest.mark.scenario

QUEUE: Final = "دعم 24/7 (VIP)"
LONG: Final = "مكتب المساعدة للعملاء الكرام في الشرق الأوسط (VIP)"
PERSON: Final = "כהן (12)"
WORD: Final = (
    "Elektrizitätenhauptbetriebswerkbauunterbeamtengesellschaftsvorstandsvorsitzendenstellvertreterinnen"
)
PLACES: Final = """(({selector, words}) => {
  const root = [...document.querySelectorAll(selector)].find((each) => each.checkVisibility()
    && words.every((word) => each.textContent.includes(word)));
  if (!root) return null;
  return words.map((word) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let text; (text = walker.nextNode());) {
      const at = text.textContent.indexOf(word);
      if (at < 0) continue;
      const range = document.createRange();
      range.setStart(text, at);
      range.setEnd(text, at + word.length);
      return range.getBoundingClientRect().left;
    }
    return null;
  });
})"""
"""Where words of one text begin at the left."""

BEGINS: Final = """((word) => {
  const all = [...document.querySelectorAll('.tile .q-name')];
  const name = all.find((each) => each.textContent.includes(word));
  if (!name) return false;
  const range = document.createRange();
  const at = name.firstChild.textContent.indexOf(word);
  range.setStart(name.firstChild, at);
  range.setEnd(name.firstChild, at + word.length);
  const [inner, outer] = [range, name].map((each) => each.getBoundingClientRect());
  return name.scrollWidth > name.clientWidth && inner.left >= outer.left && inner.right <= outer.right + 1;
})"""
"""Whether a name is shortened, and this word of it is seen."""


def order(selector: str, *words: str) -> str:
    """Return the expression for: these words of one text stand in this order, from left to right."""
    found = f"{PLACES}({{selector: {selector!r}, words: {list(words)!r}}})"
    return f"((at) => at !== null && at.every((left, place) => !place || at[place - 1] < left))({found})"


async def faults(window: Window) -> list[str]:
    """Return what overprints or leaves the screen, and does not come right soon."""
    found = ["not looked at"]
    for wait_s in SETTLE_S:
        if found:
            await asyncio.sleep(wait_s)
            found = await window.run(CROWDED)
    return found


def renamed(stage: Stage) -> int:
    """Give the first agent and queues names of other scripts; returns the key of the first queue."""
    queue = stage.queue_of(stage.agent("agent1"))
    others = [key for key in stage.simulator.center.directory.queues if key != queue]
    stage.act("Rename", Key=queue, Name=QUEUE)
    stage.act("Rename", Key=others[0], Name=LONG)
    agent = stage.agent("agent1")
    agent.first_name = "דוד"
    stage.act("Rename", Key=agent.key, Name=PERSON)
    return queue


@in_each_engine_where_all_are_asked_for
async def test_a_name_that_is_read_from_right_to_left_is_whole_and_moves_nothing(engine: str) -> None:
    async with far(engine, DASHBOARD, "supervisor1", 0.0) as (stage, window, _):
        queue = renamed(stage)
        stage.crowd(queue)
        await until(window, order(".tile .q-name", "VIP", "24/7", "دعم"))
        # a name that is shortened keeps its beginning
        await until(window, f"{BEGINS}('مكتب')")
        if engine == "webkit":
            return  # its places of letters in an isolate are not those where it draws them
        await click(window, ".tabs button:nth-of-type(2)")
        await typed(window, ".agents input[type=search]", "כהן")
        await until(window, "document.querySelectorAll('.agents .agent').length === 1")
        await click(window, ".agents .agent")
        await until(window, order(".detail h2", "12", "כהן", "דוד"))
        await click(window, ".acts button")
        await until(window, order(".detail .last", "12", "כהן", "→"))


@pytest.mark.parametrize("engine", ["chromium"])
async def test_an_agent_reads_a_queue_of_another_script(engine: str) -> None:
    async with far(engine, ASSISTANT, "agent1", 0.0) as (stage, window, _):
        renamed(stage)
        await until(window, order(".my-queues li", "24/7", "دعم"))
        stage.talk("agent1")
        await until(window, order(".hero-reason", "VIP", "24/7", "دعم", "·"))


async def test_a_name_of_a_hundred_letters_leaves_no_screen() -> None:
    async with far("chromium", DASHBOARD, "supervisor1", 0.0, language="de") as (stage, window, _):
        directory = stage.simulator.center.directory
        for key in (*directory.queues, *directory.groups, *directory.agents, *directory.skills):
            stage.act("Rename", Key=key, Name=WORD)
        queue = next(iter(directory.queues))
        stage.crowd(queue, 12)
        await reads(window, ".tile .q-name", WORD)
        pages = ((), (".tile",), (".back", ".tabs button:nth-of-type(2)"), (".agents .agent",))
        for steps in pages:
            for step in steps:
                await click(window, step)
            for width, height in ((320, 568), (390, 844)):
                await window.resize(width, height)
                assert await faults(window) == [], (steps, width)
