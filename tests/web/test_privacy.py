"""What the browser stores, what the page may do, and how much its first view loads."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

from gateway.edge.routes import WebClient
from tests.web.stage import ASSISTANT, DASHBOARD, DESK, Page, Response, expect, live_page, opened, until

pytestmark = pytest.mark.scenario

FIRST_VIEW_BYTES, FIRST_VIEW_REQUESTS = 50_000, 10
KEPT = {"oscc.session", "oscc.login", "oscc.choices", "oscc.device"}
HELD = """async () => {
  const caches_held = {};
  for (const name of await caches.keys()) {
    const cache = await caches.open(name);
    for (const request of await cache.keys()) {
      caches_held[request.url] = await (await cache.match(request)).text();
    }
  }
  return {
    local: {...localStorage}, session: {...sessionStorage}, caches: caches_held, cookie: document.cookie,
    databases: (await indexedDB.databases()).map(({name}) => name),
    history: JSON.stringify(history.state), url: location.href,
  };
}"""


async def test_the_first_view_is_small() -> None:
    async with opened() as stage, stage.page() as page:
        came: list[Response] = []

        def note(response: Response) -> None:
            came.append(response)

        page.on("response", note)
        await page.goto(f"{stage.base}/app/")
        await expect(page.locator("#in-user")).to_be_visible()
        asked = set(stage.requested)
        assert len(stage.requested) <= FIRST_VIEW_REQUESTS, "\n".join(stage.requested)
        assert len(asked) == len(stage.requested)
        await until(page, lambda: {response.url for response in came} == asked)
        size = sum([int(await response.header_value("content-length") or "") for response in came])
        assert size <= FIRST_VIEW_BYTES
        assert {urlsplit(url).netloc for url in asked} == {urlsplit(stage.base).netloc}


async def test_realtime_data_is_nowhere_but_in_memory() -> None:
    async with opened() as stage, stage.page(**DESK, service_workers="allow") as page:
        await stage.live(page, DASHBOARD, "supervisor1")
        await page.evaluate("navigator.serviceWorker.ready.then(() => null)")
        await page.locator(".tile").first.click()
        await page.locator(".agents .agent").first.click()
        held = await page.evaluate(HELD)
        assert set(held["session"]) <= KEPT
        assert set(held["local"]) <= KEPT - {"oscc.session"}
        assert held["databases"] == []
        assert held["cookie"] == ""
        files = WebClient().files
        for url, cached in held.pop("caches").items():
            shipped = files[urlsplit(url).path.rpartition("/")[2] or "index.html"].body
            assert cached == shipped.decode(errors="replace"), url
        text = json.dumps(held, ensure_ascii=False)
        directory = stage.simulator.center.directory
        names = [f"{agent.first_name} {agent.last_name}" for agent in directory.agents.values()]
        names += [queue.name for queue in directory.queues.values()]
        assert [name for name in names if name in text] == []
        assert urlsplit(held["url"]).fragment == urlsplit(held["url"]).query == ""
        assert "routing_state" not in json.dumps([held["local"], held["session"], held["history"]])


async def test_no_token_and_no_number_stands_in_an_address() -> None:
    async with opened() as stage, stage.page() as page:
        sockets: list[str] = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        await stage.live(page, ASSISTANT, "agent1")
        token = json.loads(await page.evaluate("sessionStorage.getItem('oscc.session')"))["token"]
        assert len(sockets) == 1
        for url in (*stage.requested, *sockets, page.url):
            assert token not in url
            assert "1234567" not in url


async def test_offline_it_says_so_and_shows_nothing_old() -> None:
    async with opened() as stage, stage.context(service_workers="allow") as context:
        page = stage.watched(await context.new_page())
        await stage.live(page, DASHBOARD, "supervisor1")
        await page.evaluate("navigator.serviceWorker.ready.then(() => null)")
        await page.wait_for_function("() => navigator.serviceWorker.controller")
        await page.evaluate("sessionStorage.clear()")
        await context.set_offline(True)
        await page.reload()
        await expect(page.locator("h1")).to_have_text("You are offline.")
        await expect(page.locator("main")).to_contain_text("None is kept on this device")
        await context.set_offline(False)
        await expect(page.locator("#in-user")).to_be_visible()


async def test_it_can_be_installed() -> None:
    async with opened() as stage, stage.page(service_workers="allow") as page:
        await page.goto(f"{stage.base}/app/")
        await page.locator("link[rel=manifest]").wait_for(state="attached")
        session = await page.context.new_cdp_session(page)
        manifest = await session.send("Page.getAppManifest")
        assert manifest["errors"] == []
        assert json.loads(manifest["data"])["start_url"] == "/app/"
        received = await session.send("Page.getInstallabilityErrors")
        faults = {each["errorId"] for each in received["installabilityErrors"]}
        assert faults <= {"in-incognito"}  # a test's browser is always that


async def test_the_policy_stops_what_is_not_ours() -> None:
    async with opened() as stage, stage.page() as page:
        await page.goto(f"{stage.base}/app/")
        await expect(page.locator("#in-user")).to_be_visible()
        assert await _runs(page, "inline") is False
        stopped = [
            fault for fault in stage.faults if "Content Security Policy" in fault or "Trusted" in fault
        ]
        assert stopped
        stage.faults.clear()


async def _runs(page: Page, mark: str) -> bool:
    """Tell whether an inline script runs, and text becomes markup."""
    script = f"""() => {{
      const made = document.createElement('script');
      try {{ made.textContent = "globalThis.{mark} = true"; document.head.append(made); }} catch {{ }}
      try {{ document.body.innerHTML += "<img src=x onerror='globalThis.{mark} = true'>"; }} catch {{ }}
      return new Promise((done) => setTimeout(() => done(globalThis.{mark} === true), 200));
    }}"""
    return bool(await page.evaluate(script))


async def test_what_is_held_about_me_is_shown_and_not_kept() -> None:
    async with live_page(ASSISTANT, "agent1") as (_, page):
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_role("button", name="My data").click()
        await expect(page.locator(".export")).to_contain_text("agent")
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="My sessions").click()
        await expect(page.get_by_role("dialog").last).to_contain_text("this one")
