"""Share of a core that the Dashboard takes, with 500 agents and 50 queues at 100 changes a second.

``python -m tests.web.measure`` prints figures. The browser draws without a graphics card here, so what its
own processes take beside the page is an upper bound.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from playwright.async_api import CDPSession, Page

from gateway.app.config.sources import generate_secrets
from gateway.app.logging import configure
from tests.web.stage import DASHBOARD, DESK, PHONE, Stage, opened

SECONDS = 20
SCROLL = """async (seconds) => {
  const pane = document.querySelector('.agents .scroll');
  const gaps = [];
  let long = 0;
  const watch = new PerformanceObserver((list) => { long += list.getEntries().length; });
  watch.observe({type: 'longtask'});
  const end = performance.now() + seconds * 1000;
  let last = performance.now();
  while (last < end) {
    const now = await new Promise((next) => requestAnimationFrame(next));
    gaps.push(now - last);
    last = now;
    pane.scrollTop = (pane.scrollTop + 24) % (pane.scrollHeight - pane.clientHeight);
  }
  watch.disconnect();
  gaps.sort((a, b) => a - b);
  const at = (share) => Math.round(gaps[Math.floor(gaps.length * share)] * 10) / 10;
  const frames_per_s = Math.round(gaps.length / seconds);
  return {frames_per_s, p50_ms: at(0.5), p99_ms: at(0.99), long_tasks: long};
}"""


async def main() -> None:
    """Print figures of a desk and of a phone."""
    configure("error", generate_secrets().pseudonym_key, sys.stderr)
    async with opened(agents=500, queues=50, groups=20, events_per_s=100.0, start_paused=False) as stage:
        for name, how in (("desk", DESK), ("phone", PHONE)):
            async with stage.page(**how) as page:
                await stage.live(page, DASHBOARD, "supervisor1")
                print(name, await figures(stage, page))
                if name == "desk":
                    print(name, "while its agents are scrolled", await page.evaluate(SCROLL, 10))


async def figures(stage: Stage, page: Page) -> dict[str, float]:
    """Return shares of a core, and changes a second that came."""
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable")
    assert page.context.browser is not None
    browser = await page.context.browser.new_browser_cdp_session()
    before, cpu = await _metrics(session), await _processes(browser)
    events = stage.simulator.board.published_changes
    await page.wait_for_timeout(SECONDS * 1000)
    after, then = await _metrics(session), await _processes(browser)
    received = {
        name: round((after[name] - before[name]) / SECONDS, 3) for name in ("TaskDuration", "ScriptDuration")
    }
    received |= {f"cpu_{kind}": round((then[kind] - cpu.get(kind, 0)) / SECONDS, 3) for kind in then}
    received["changes_per_s"] = (stage.simulator.board.published_changes - events) / SECONDS
    received["elements"] = after["Nodes"]
    received["heap_mb"] = round(after["JSHeapUsedSize"] / 1e6, 1)
    return received


async def _metrics(session: CDPSession) -> dict[str, float]:
    received: dict[str, Any] = await session.send("Performance.getMetrics")
    return {metric["name"]: metric["value"] for metric in received["metrics"]}


async def _processes(browser: CDPSession) -> dict[str, float]:
    received: dict[str, Any] = await browser.send("SystemInfo.getProcessInfo")
    found: dict[str, float] = {}
    for process in received["processInfo"]:
        found[process["type"]] = found.get(process["type"], 0) + process["cpuTime"]
    return found


if __name__ == "__main__":
    asyncio.run(main())
