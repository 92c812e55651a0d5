"""The moments that matter: coming back, a dead link, a tap while things move.

Each at the size and the round-trip time at which it was seen to fail.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.doubles.chaos_proxy import ChaosProxy
from tests.web.engines import HIDDEN
from tests.web.stage import DASHBOARD, MOTIONS, Page, Stage, expect, opened

pytestmark = pytest.mark.scenario

RTT_S = 0.3


@asynccontextmanager
async def far(
    application: str, user: str, rtt_s: float = RTT_S, centre: dict[str, Any] | None = None, **how: Any
) -> AsyncIterator[tuple[Stage, Page, ChaosProxy]]:
    """Open a live page behind a proxy."""
    async with (
        opened(**{"warm_up_s": 0, **(centre or {})}) as stage,
        stage.far(rtt_s) as proxy,
        stage.page(**how) as page,
    ):
        await stage.live(page, application, user)
        yield stage, page, proxy


async def test_nothing_ticks_while_nobody_looks() -> None:
    async with far(DASHBOARD, "supervisor1", 0.0) as (_, page, _way):
        await page.evaluate(
            "() => { globalThis.changed = performance.now();"
            " new MutationObserver(() => { changed = performance.now(); })"
            ".observe(document.body, {subtree: true, childList: true, attributes: true}); }"
        )
        await page.evaluate(HIDDEN, True)
        await page.wait_for_function("() => performance.now() - changed > 2500")
        assert await page.evaluate("document.querySelector('meta[name=theme-color]').content") == "#ffffff"


async def test_a_phone_asks_for_agents_when_they_are_looked_at() -> None:
    async with far(DASHBOARD, "supervisor1", 0.0, {"agents": 500, "queues": 20}) as (_, page, proxy):
        before = proxy.down.passed
        figures = page.locator(".kpi:visible")
        await expect(figures).to_have_count(4)  # those of agents are not there instead of unknown
        await page.locator(".tabs button").nth(1).click()
        await expect(figures).to_have_count(6)
        await expect(page.locator(".agents .pane-head .muted")).to_have_text("500")
        await expect(page.locator(".kpi dd").nth(3)).not_to_have_text("–")
        assert proxy.down.passed - before > 20_000


async def test_a_phone_that_was_away_for_long_comes_back_for_few_bytes() -> None:
    centre = {"agents": 1500, "queues": 100, "groups": 20}
    async with far(DASHBOARD, "supervisor1", 0.0, centre) as (stage, page, proxy):
        await page.locator(".tabs button").nth(1).click()
        await expect(page.locator(".agents .pane-head .muted")).to_have_text("1,500")
        await page.locator(".tabs button").first.click()
        await page.evaluate(HIDDEN, True)
        await stage.stop()  # all of it has to be sent again
        await stage.start()
        await page.evaluate("() => { const now = Date.now; Date.now = () => now() + 91_000; }")
        before = proxy.down.passed
        await page.evaluate(HIDDEN, False)
        await expect(page.locator(".health-text")).to_have_text("Live")
        await page.wait_for_timeout(500)
        assert 3_000 < (queues := proxy.down.passed - before) <= 12_000
        await expect(page.locator(".kpi:visible")).to_have_count(4)
        await page.locator(".tabs button").nth(1).click()
        await expect(page.locator(".agents .pane-head .muted")).to_have_text("1,500")
        assert 60_000 < proxy.down.passed - before - queues <= 120_000  # all agents: 1.2 MB uncompressed


LEAVING = """globalThis.LEAVING = ({effect}) => {
  const {inert, ariaHidden} = effect.target;
  return [inert, ariaHidden === 'true', effect.getKeyframes().at(-1).opacity];
}"""
"""Whether a movement is one of a row that leaves, which nothing reaches."""
AT_THE_END = """async () => {
  const run = motions.map(({motion}) => motion).filter(({playState}) => playState === 'running');
  await Promise.allSettled(run.map(({finished}) => finished));
  const list = document.querySelector('.queues .rows');
  const {top} = list.getBoundingClientRect();
  return [...list.children].map((row) => {
    const box = row.getBoundingClientRect();
    const place = row.getAttribute('aria-posinset') - 1;
    return Math.round(box.top - top) === Math.round(place * (box.height + 8));
  });
}"""


async def rise(page: Page, stage: Stage, contacts: int) -> list[dict[str, Any]]:
    """Let the last queue become the first; returns what has moved for it, once all stands where it should."""
    before = await page.evaluate("motions.length")
    names = page.locator(".tile .q-name")
    last = await names.last.inner_text()
    queues = stage.simulator.center.directory.queues.values()
    key = next(queue.key for queue in queues if queue.name == last)
    for _ in range(contacts):
        stage.act("Arrive", QueueKey=key)
    await expect(names.first).to_have_text(last)
    assert await page.evaluate(AT_THE_END) == [True] * len(queues)
    moved: list[dict[str, Any]] = await page.evaluate(f"motions.slice({before})")
    return moved


async def test_what_changes_its_place_is_seen_moving_there() -> None:
    async with opened(warm_up_s=0, queues=4) as stage, stage.page() as page:
        await page.add_init_script(MOTIONS)
        await page.add_init_script(LEAVING)
        await stage.live(page, DASHBOARD, "supervisor1")
        assert await page.evaluate("motions") == []  # not at first
        stage.send_away()
        moved = await rise(page, stage, 1)
        assert len(moved) == 4
        assert {each["kind"] for each in moved} == {"transform"}
        assert all(150 <= each["ms"] <= 200 for each in moved)
        search = page.get_by_label("Search", exact=True)
        before = await page.evaluate("motions.length")
        await search.fill(await page.locator(".tile .q-name").first.inner_text())
        await expect(page.locator(".tile")).to_have_count(1)  # the pictures of those that left are gone, too
        left = await page.evaluate(f"motions.slice({before}).map(({{motion}}) => LEAVING(motion))")
        assert left.count([True, True, "0"]) == 3
        await search.fill("")
        await expect(page.locator(".tile")).to_have_count(4)
        assert "opacity" in {each["kind"] for each in await page.evaluate("motions")}
        await page.locator(".health").hover()
        await page.mouse.down()
        assert await rise(page, stage, 3) == []  # nor under a finger
        await page.mouse.up()
        await page.emulate_media(reduced_motion="reduce")
        assert await rise(page, stage, 8) == []
