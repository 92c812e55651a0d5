"""A contact centre, a gateway before it, and browsers that look at its web client.

All three are real; nothing happens in the centre but what a test lets happen.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="the group `web` is not installed: make web")

from playwright.async_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    Playwright,
    Response,
    Route,
    ViewportSize,
    WebSocketRoute,
    async_playwright,
    expect,
)

from gateway.app import wiring
from gateway.app.config.settings import Settings
from gateway.app.config.sources import generate_secrets
from gateway.app.process import StopRequest
from gateway.runtime.event_loop import SystemClock
from gateway.simulator import Simulator, SimulatorSettings
from gateway.simulator.administration import Acts
from gateway.simulator.model import Agent, AutoPostProcessing, Json
from tests.doubles.chaos_proxy import ChaosProxy
from tests.web.engines import Chromium, Window, firefox, webkit

__all__ = [
    "ASSISTANT", "DASHBOARD", "DESK", "DRAWN", "MOTIONS", "NUMBER", "PASSWORD", "PHONE", "BrowserContext",
    "Locator", "Page", "Response", "Route", "Stage", "ViewportSize", "WebSocketRoute", "browsers_kept",
    "expect", "live_page", "open_parameters", "opened", "until",
]  # fmt: skip

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
PASSWORD = "demo"
NUMBER = "+49 30 1234567"
NO_HINTS = """try { localStorage.getItem('oscc.choices') ??
  localStorage.setItem('oscc.choices', '{"walked":true}') } catch { /* a page without storage */ }"""
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 1,
}
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Waits until what has changed is drawn."""
MOTIONS = """globalThis.motions = [];
const animate = Element.prototype.animate;
Element.prototype.animate = function (frames, how) {
  const motion = animate.call(this, frames, how);
  motions.push({motion, tag: this.tagName, kind: Object.keys(frames).join(), ms: how.duration});
  return motion;
};"""
"""Before a page: notes what it lets move."""
DESK: dict[str, Any] = {
    "viewport": {"width": 1440, "height": 900},
    "is_mobile": False,
    "has_touch": False,
    "device_scale_factor": 1,
}
ASSISTANT = "remote_assistant"
DASHBOARD = "dashboard"
PATIENCE_MS = 60_000
"""How long what is to come may take: bounds a failing test, and says nothing of how fast a page is."""
expect.set_options(timeout=PATIENCE_MS)


async def until(page: Page, happened: Callable[[], object]) -> None:
    """Wait for what the browser reports by itself, as requests and frames: it may come late."""
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while not happened():
            await page.wait_for_timeout(20)


class Browsers:
    """Browsers that are started once and shared: a start takes a second of a core.

    Nothing passes from one stage to another: in Chromium each has contexts of its own, and in all engines the
    port of each stage's gateway is an origin of its own, with its storage, caches and workers.
    """

    def __init__(self, life: AsyncExitStack) -> None:
        self._life = life
        self._playwright: Playwright | None = None
        self._running: Browser | None = None
        self._windows: dict[str, Window] = {}

    async def get(self) -> Browser:
        """Return a running Chromium."""
        if self._running is not None and self._running.is_connected():
            return self._running
        if self._playwright is None:
            self._playwright = await self._life.enter_async_context(async_playwright())
        assert self._playwright is not None
        self._running = await self._playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        self._life.push_async_callback(self._running.close)
        return self._running

    async def window(self, engine: str) -> Window:
        """Return the window of another engine."""
        if engine not in self._windows:
            folder = self._life.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            opening = {"firefox": firefox, "webkit": webkit}[engine](Path(folder))
            self._windows[engine] = await self._life.enter_async_context(opening)
        return self._windows[engine]


_kept: list[Browsers] = []
"""What the stages of a run of tests share; elsewhere a stage has browsers of its own."""


@asynccontextmanager
async def browsers_kept() -> AsyncIterator[None]:
    """Let all stages that are opened meanwhile share their browsers."""
    async with AsyncExitStack() as life:
        _kept.append(Browsers(life))
        try:
            yield
        finally:
            _kept.pop()


@asynccontextmanager
async def _browsers() -> AsyncIterator[Browsers]:
    if _kept:
        yield _kept[-1]
    else:
        async with AsyncExitStack() as life:
            yield Browsers(life)


class Stage:
    """The centre, the gateway and what looks at it."""

    def __init__(
        self, simulator: Simulator, browsers: Browsers, notices: Path | None, site: Json | None
    ) -> None:
        self.simulator = simulator
        self.base = ""
        """What pages open: the gateway itself, or a proxy before it."""
        self.address = ""
        self.faults: list[str] = []
        """What pages complained about: errors, and what their policy refused."""
        self.requested: list[str] = []
        self._browsers = browsers
        self._notices = notices
        self._site = site or {"url": simulator.url, "display_name": "Berlin"}
        self._secrets = generate_secrets()
        self._acts = Acts(simulator.center, simulator.accounts, simulator.administration)
        self._stop = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self.tasks: asyncio.TaskGroup

    # ---- the gateway ----

    async def start(self) -> None:
        """Start it; again at the same address and with the same keys."""
        self._stop = asyncio.Event()
        up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._life = self.tasks.create_task(self._live(up))
        self.address = await up
        self.base = self.base or self.address

    async def stop(self) -> None:
        """Stop it in a hurry."""
        assert self._life is not None
        self._stop.set()
        await self._life

    async def _live(self, up: asyncio.Future[str]) -> None:
        settings = {
            "client": {"port": int(self.address.rpartition(":")[2] or 0), "insecure": True},
            "ops": {"port": 0},
            "admin": {"port": 0},
            "notices": {"files": [str(self._notices)] if self._notices else []},
            "privacy": {"contact": "privacy@example.org", "statement_url": "https://example.org/privacy"},
            "sites": [{"id": "main", "country": "DE", **self._site}],
        }
        stopping = StopRequest()
        stopping.hurried.set()
        made = Settings.model_validate(settings)
        async with wiring.serving(made, self._secrets, SystemClock(), stopping) as addresses:
            up.set_result(addresses.client)
            await self._stop.wait()

    # ---- the centre ----

    def act(self, name: str, **fields: Any) -> Json:
        """Let one act happen in the centre; see gateway/simulator/administration.py."""
        return self._acts.act({"Act": name, **fields})

    def agent(self, user: str = "agent1") -> Agent:
        """Return the agent behind a user name."""
        return self.simulator.center.directory.agents[self.simulator.accounts.by_name[user].agent_key or 0]

    def send_away(self) -> None:
        """Let nobody take contacts, so that they wait."""
        present = [
            agent
            for agent in self.simulator.center.directory.agents.values()
            if agent.logged_on and not agent.handling
        ]
        for agent in present:
            self.act("SetRoutingState", UserKey=agent.key, RoutingState="Unavailable", By="System")

    def crowd(self, queue: int, contacts: int = 1) -> None:
        """Let so many contacts wait in a queue, with nobody who takes them."""
        self.send_away()
        for _ in range(contacts):
            self.act("Arrive", QueueKey=queue)

    def talk(self, user: str) -> int:
        """Give an agent a contact that nothing follows by itself; returns his key."""
        agent = self.agent(user)
        agent.auto = AutoPostProcessing(on=False, duration_s=30)
        self.act("SetRoutingState", UserKey=agent.key, RoutingState="Available", By="System")
        self.act("GiveContact", UserKey=agent.key, QueueKey=self.queue_of(agent))
        return agent.key

    def queue_of(self, agent: Agent) -> int:
        """Return the key of the first queue that the agent serves."""
        skills = set(agent.skills)
        return next(
            queue.key
            for queue in self.simulator.center.directory.queues.values()
            if queue.skill_key in skills
        )

    def tile(self, queue: int) -> str:
        """Return what finds the tile of a queue on a page."""
        name = self.simulator.center.directory.queues[queue].name
        return f'.tile:has(.q-name:text-is("{name}"))'

    async def fall_silent(self, page: Page) -> None:
        """Let the centre answer nobody any more, and wait until the page shows that."""
        self.simulator.faults.freeze(600, None)
        self.simulator.faults.drop_links(None)
        await expect(page.locator(".shell")).to_have_attribute("data-frozen", "down")

    # ---- the network ----

    @asynccontextmanager
    async def far(self, rtt_s: float) -> AsyncIterator[ChaosProxy]:
        """Have pages that are opened from now on reach the gateway by a proxy: *rtt_s* for a round trip."""
        async with ChaosProxy(int(self.address.rpartition(":")[2])) as proxy:
            for way in proxy.ways:
                way.latency_s = rtt_s / 2
            self.base = f"http://127.0.0.1:{proxy.port}"
            try:
                yield proxy
            finally:
                self.base = self.address

    # ---- the browser ----

    @asynccontextmanager
    async def context(self, *, hints: bool = False, **how: Any) -> AsyncIterator[BrowserContext]:
        """Open a browser of its own: storage, caches, language; with the hints of a first start, or after."""
        settings = {"locale": "en-GB", "service_workers": "block", **PHONE, **how}
        browser = await self._browsers.get()
        context = await browser.new_context(**settings)
        context.set_default_timeout(PATIENCE_MS)
        if not hints:
            await context.add_init_script(NO_HINTS)
        try:
            yield context
        finally:
            await context.close()

    @asynccontextmanager
    async def window(self, engine: str) -> AsyncIterator[Window]:
        """Open a page in an engine, of the size of a phone."""
        if engine == "chromium":
            async with self.page(service_workers="allow") as page:
                yield Chromium(page)
                return
        window = await self._browsers.window(engine)
        await window.resize(PHONE["viewport"]["width"], PHONE["viewport"]["height"])
        try:
            yield window
        finally:
            self.faults += await window.run("globalThis.faults ?? []")
            await window.go("about:blank")

    @asynccontextmanager
    async def lasting(self, folder: Path) -> AsyncIterator[BrowserContext]:
        """Open a browser whose storage is in *folder*, also after it was closed."""
        browser = await self._browsers.get()
        context = await browser.browser_type.launch_persistent_context(
            folder, executable_path=CHROMIUM, args=["--no-sandbox"], locale="en-GB"
        )
        context.set_default_timeout(PATIENCE_MS)
        try:
            yield context
        finally:
            await context.close()

    @asynccontextmanager
    async def page(self, **how: Any) -> AsyncIterator[Page]:
        """Open one page, watched."""
        async with self.context(**how) as context:
            yield self.watched(await context.new_page())

    def watched(self, page: Page) -> Page:
        """Note what *page* complains about and asks for."""
        page.on("pageerror", lambda error: self.faults.append(f"{error}\n{error.stack}"))
        page.on("console", lambda received: self._received(received.type, received.text))
        page.on("request", lambda request: self.requested.append(request.url))
        return page

    def _received(self, kind: str, text: str) -> None:
        if kind == "error" and "Failed to load resource" not in text and "WebSocket" not in text:
            self.faults.append(text)

    async def tab(self, context: BrowserContext) -> Page:
        """Open the log-on in another tab of a browser, watched."""
        page = self.watched(await context.new_page())
        await page.goto(f"{self.base}/app/")
        return page

    async def log_on(
        self, page: Page, application: str, user: str, number: str = NUMBER, **choices: bool
    ) -> None:
        """Open the page, fill the form and send it; *choices*: what is ticked or not, by its name."""
        await page.goto(f"{self.base}/app/")
        await self.sign(page, application, user, number, **choices)

    async def sign(
        self, page: Page, application: str, user: str, number: str = NUMBER, **choices: bool
    ) -> None:
        """Fill the form that is there and send it."""
        await page.locator(f"input[value={application}]").check(force=True)
        await page.fill("#in-user", user)
        for name, is_chosen in choices.items():
            await page.locator(f"input[name={name}]").set_checked(is_chosen)
        await page.fill("#in-password", PASSWORD)
        if application == ASSISTANT:
            await page.fill("#in-number", number)
        await page.click("button[type=submit]")

    async def live(
        self, page: Page, application: str, user: str, number: str = NUMBER, **choices: bool
    ) -> None:
        """Log on, and wait until live data is there."""
        await self.log_on(page, application, user, number, **choices)
        await expect(page.locator(".health-text")).to_have_text("Live")
        name = ".tile .q-name" if application == DASHBOARD else ".my-queues li"
        await expect(page.locator(name).first).not_to_have_text("–")

    async def sheet(self, page: Page, user: str) -> None:
        """Open the sheet of an agent, from the list, by extension."""
        agent = self.agent(user)
        if await page.locator(".tabs").is_visible():
            await page.locator(".tabs button").nth(1).click()
        await page.get_by_label("Name or extension").fill(agent.extension)
        await page.locator(".agents .agent").first.click()
        await expect(page.locator(".detail h2")).to_have_text(f"{agent.first_name} {agent.last_name}")


async def open_parameters(page: Page) -> Locator:
    """Open the dialog that changes the parameters of the queue or team that is shown; returns it."""
    await page.locator(".detail summary").click()
    await page.locator(".detail").get_by_role("button", name="Edit").click()
    return page.get_by_role("dialog")


@asynccontextmanager
async def opened(
    notices: Path | None = None, site: Json | None = None, **centre: Any
) -> AsyncIterator[Stage]:
    """Open a stage; at its end no page may have complained.

    *site*: the settings of another contact centre than the simulated one.
    """
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; CHROMIUM names one")
    small: dict[str, Any] = {"agents": 24, "queues": 6, "groups": 3, "users": 2, "on_change": True}
    settings = SimulatorSettings(**small | {"start_paused": True, "password": PASSWORD} | centre)
    async with Simulator(settings) as simulator, _browsers() as browsers:
        async with asyncio.TaskGroup() as tasks:
            stage = Stage(simulator, browsers, notices, site)
            stage.tasks = tasks
            await stage.start()
            try:
                yield stage
            finally:
                await stage.stop()
        assert stage.faults == [], stage.faults


@asynccontextmanager
async def live_page(
    application: str, user: str, how: Mapping[str, Any] | None = None, **centre: Any
) -> AsyncIterator[tuple[Stage, Page]]:
    """Open a stage and one page on it that has logged on and shows live data.

    *how*: what is special about its browser; *centre*: as for :func:`opened`.
    """
    async with opened(**centre) as stage, stage.page(**(how or {})) as page:
        await stage.live(page, application, user)
        yield stage, page
