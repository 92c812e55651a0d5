"""One window of Chromium, Firefox or WebKit, driven by the protocol that each speaks itself.

Chromium is driven by Playwright, Firefox by WebDriver BiDi, WebKitGTK by WebDriver. A test gives all of them
the same expressions, which the page evaluates. Touches are real events.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import pytest

pytest.importorskip("playwright", reason="the group `web` is not installed: make web")

from playwright.async_api import Error, Page

PATIENCE_S: Final = 120.0
"""How long what is to come may take: bounds a failing test, and says nothing of how fast an engine is."""
_LISTENS: Final = re.compile(r"WebDriver BiDi listening on (ws://[^\s]+)")
_DISPLAY: Final = re.compile(r"^(\d+)$", re.MULTILINE)
_MINI_BROWSER: Final = "webkit2gtk-4.1/MiniBrowser"
_TEXT_PX: Final = 16


class RunError(Exception):
    """An expression could not be evaluated, as while a page is replaced by another."""


class Window(Protocol):
    """One window of a browser, with the size of a phone."""

    async def go(self, url: str) -> None:
        """Open a page."""
        ...

    async def run(self, expression: str) -> Any:
        """Return the value of an expression in the page.

        Raises:
            RunError: It could not be evaluated.
        """
        ...

    async def resize(self, width: int, height: int) -> None:
        """Give the page this size, in CSS pixels."""
        ...

    async def enlarge(self, percent: int) -> None:
        """Make text so large."""
        ...

    async def touch(self, x: int, y: int, times: int = 1) -> None:
        """Touch the screen at a place and let it go; several times without a pause."""
        ...


def needed(*programs: str) -> list[str]:
    """Return the paths of programs; without one the test is skipped."""
    found = [shutil.which(one) for one in programs]
    missing = [one for one, path in zip(programs, found, strict=True) if path is None]
    if missing:
        pytest.skip(f"there is no {missing[0]} on this machine")
    return [str(path) for path in found]


@asynccontextmanager
async def _program(output: Path, *command: str, **environment: str) -> AsyncIterator[None]:
    """Run a program; what it writes is in *output*."""
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=file, stderr=file, env={**os.environ, **environment}, start_new_session=True
        )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _written(output: Path, wanted: re.Pattern[str]) -> str:
    """Return what a program wrote: the first group of *wanted*, as soon as it is there."""
    async with asyncio.timeout(PATIENCE_S):
        while (found := wanted.search(output.read_text("utf-8", "replace"))) is None:  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.05)
    return found[1]


def _touched(x: int, y: int, times: int) -> list[dict[str, object]]:
    """Return the actions of one finger, as both drivers want them."""
    steps: list[dict[str, object]] = [
        {"type": "pointerMove", "x": x, "y": y, "duration": 0},
        {"type": "pointerDown", "button": 0},
        {"type": "pointerUp", "button": 0},
    ]
    return [
        {"type": "pointer", "id": "finger", "parameters": {"pointerType": "touch"}, "actions": steps * times}
    ]


# ---- Chromium ----


class Chromium:
    """A page of Chromium, by Playwright."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def go(self, url: str) -> None:
        await self._page.goto(url)

    async def run(self, expression: str) -> Any:
        try:
            return await self._page.evaluate(f"() => ({expression}) ?? null")
        except Error as error:
            raise RunError(expression) from error

    async def resize(self, width: int, height: int) -> None:
        await self._page.set_viewport_size({"width": width, "height": height})

    async def enlarge(self, percent: int) -> None:
        session = await self._page.context.new_cdp_session(self._page)
        await session.send("Page.setFontSizes", {"fontSizes": {"standard": _TEXT_PX * percent // 100}})
        await session.detach()

    async def touch(self, x: int, y: int, times: int = 1) -> None:
        for _ in range(times):
            await self._page.touchscreen.tap(x, y)


# ---- Firefox ----


class Firefox:
    """A window of Firefox, by WebDriver BiDi."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.context = ""
        self.chrome = ""
        """The context of the browser itself: sizes of text are among its preferences."""

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command; returns its result."""
        self._number += 1
        await self._socket.send_str(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            received = json.loads((await self._socket.receive(PATIENCE_S)).data)
            if received.get("id") == self._number:
                if received["type"] != "success":
                    raise RunError(received)
                result: dict[str, Any] = received["result"]
                return result

    async def _evaluate(self, context: str, expression: str) -> Any:
        received = await self.ask(
            "script.evaluate", expression=expression, target={"context": context}, awaitPromise=False
        )
        if received["type"] != "success":
            raise RunError(received)
        return received["result"].get("value")

    async def go(self, url: str) -> None:
        await self.ask("browsingContext.navigate", context=self.context, url=url, wait="complete")

    async def run(self, expression: str) -> Any:
        return json.loads(await self._evaluate(self.context, f"JSON.stringify(({expression}) ?? null)"))

    async def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height}
        await self.ask("browsingContext.setViewport", context=self.context, viewport=size)

    async def enlarge(self, percent: int) -> None:
        px = _TEXT_PX * percent // 100
        await self._evaluate(self.chrome, f"Services.prefs.setIntPref('font.size.variable.x-western', {px})")

    async def touch(self, x: int, y: int, times: int = 1) -> None:
        await self.ask("input.performActions", context=self.context, actions=_touched(x, y, times))


_PREFERENCES: Final = """user_pref("intl.locale.requested", "en-GB");
user_pref("app.update.disabledForTesting", true);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.enabledScopes", 0);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "");
user_pref("toolkit.telemetry.enabled", false);
"""
"""It asks nobody but the gateway, as a test has no other network."""


@asynccontextmanager
async def firefox(folder: Path) -> AsyncIterator[Window]:
    (path,) = needed("firefox-esr")
    (folder / "user.js").write_text(_PREFERENCES, "utf-8")
    fixed = ("--headless", "--remote-debugging-port", "0", "--remote-allow-system-access")
    command = (path, *fixed, "--profile", str(folder), "about:blank")
    output = folder / "firefox.log"
    async with _program(output, *command, HOME=str(folder)), aiohttp.ClientSession() as http:
        address = await _written(output, _LISTENS)
        async with http.ws_connect(f"{address}/session", max_msg_size=0) as socket:
            window = Firefox(socket)
            await window.ask("session.new", capabilities={})
            window.context = (await window.ask("browsingContext.getTree"))["contexts"][0]["context"]
            own = await window.ask("browsingContext.getTree", **{"moz:scope": "chrome"})
            window.chrome = own["contexts"][0]["context"]
            yield window


# ---- WebKit ----

_SMALL_TOOLBAR: Final = """* { min-width: 0; min-height: 0; padding: 0; margin: 0; border-width: 0;
  font-size: 1px; -gtk-icon-transform: scale(0); }
"""
"""Without it no window is narrower than MiniBrowser's buttons, 447 pixels."""


class WebKit:
    """A window of WebKitGTK, by WebDriver."""

    def __init__(self, http: aiohttp.ClientSession, session: str) -> None:
        self._http = http
        self._session = session

    async def _ask(self, what: str, **body: object) -> Any:
        async with self._http.post(f"{self._session}/{what}", json=body) as answer:
            received = await answer.json(content_type=None)
            if answer.status != 200:
                raise RunError(received)
            return received["value"]

    async def go(self, url: str) -> None:
        await self._ask("url", url=url)

    async def run(self, expression: str) -> Any:
        script = f"return JSON.stringify(({expression}) ?? null);"
        return json.loads(await self._ask("execute/sync", script=script, args=[]))

    async def resize(self, width: int, height: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self.run("[innerWidth, innerHeight]") != [width, height]:
                bar = await self.run("outerHeight - innerHeight")  # a toolbar is above the page
                await self._ask("window/rect", width=width, height=height + bar)
                await asyncio.sleep(0.02)

    async def enlarge(self, percent: int) -> None:
        # as on an iPhone where text is as large as on the whole device: media queries do not change
        # it is there before the page is: WebKitGTK keeps the heights of a grid's rows when text grows later
        await self.run(
            f"(({{style}}) => {{ style.fontSize = '{percent}%'; style.display = 'none';"
            " void document.body.offsetHeight; style.display = ''; })(document.documentElement)"
        )

    async def touch(self, x: int, y: int, times: int = 1) -> None:
        await self._ask("actions", actions=_touched(x, y, times))


def _mini_browser() -> str | None:
    return next(map(str, Path("/usr/lib").glob(f"*/{_MINI_BROWSER}")), None)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@asynccontextmanager
async def webkit(folder: Path) -> AsyncIterator[Window]:
    """Open a WebKitGTK, on a screen of its own."""
    driver, screen = needed("WebKitWebDriver", "Xvfb")
    browser = _mini_browser()
    if browser is None:
        pytest.skip("there is no MiniBrowser of WebKitGTK on this machine")
    options = {"binary": browser, "args": ["--automation"]}
    shown, output = folder / "screen.log", folder / "driver.log"
    looks = folder / ".config" / "gtk-3.0"
    looks.mkdir(parents=True)
    (looks / "gtk.css").write_text(_SMALL_TOOLBAR, "utf-8")
    fixed = ("-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "1280x900x24")
    async with _program(shown, screen, *fixed):
        display = await _written(shown, _DISPLAY)
        home = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "DISPLAY": f":{display}"}
        home |= {"LANG": "C.UTF-8", "LIBGL_ALWAYS_SOFTWARE": "1", "WEBKIT_DISABLE_COMPOSITING_MODE": "1"}
        patient = aiohttp.ClientTimeout(total=PATIENCE_S)
        port = _free_port()
        async with (
            _program(output, driver, f"--port={port}", **home),
            aiohttp.ClientSession(timeout=patient) as http,
        ):
            wanted = {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
            session = await _begun(http, f"http://127.0.0.1:{port}/session", wanted)
            try:
                yield WebKit(http, session)
            finally:
                async with http.delete(session):
                    pass


async def _begun(http: aiohttp.ClientSession, base: str, wanted: object) -> str:
    """Return the address of a session, once the driver listens."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                async with http.post(base, json=wanted) as answer:
                    received = await answer.json(content_type=None)
                    assert answer.status == 200, received
                    return f"{base}/{received['value']['sessionId']}"
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.1)


# ---- what a test does with a window ----


async def until(window: Window, expression: str) -> Any:
    """Wait until an expression is true in the page; returns its value."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(RunError):  # a page that comes has nothing to say yet
                    if value := await window.run(expression):
                        return value
                await asyncio.sleep(0.1)
    except TimeoutError:
        shown = await window.run("document.body.innerText")
        raise AssertionError(f"{expression} does not become true; the page shows {shown!r}") from None


def one(selector: str, name: str | None = None) -> str:
    """Return the expression for the first displayed element of a selector and name; else undefined."""
    has = "" if name is None else f" && (each.ariaLabel ?? each.textContent).trim() === {json.dumps(name)}"
    found = f"[...document.querySelectorAll({json.dumps(selector)})]"
    return f"{found}.find((each) => each.checkVisibility(){has})"


def text_of(selector: str) -> str:
    """Return the expression for the text of an element; empty where there is none."""
    return f"({one(selector)}?.textContent ?? '').trim()"


async def reads(window: Window, selector: str, wanted: str | re.Pattern[str]) -> None:
    """Wait until an element has this text, all of it, or has what matches."""
    text = text_of(selector)
    if isinstance(wanted, re.Pattern):
        await until(window, f"new RegExp({json.dumps(wanted.pattern)}).test({text})")
    else:
        await until(window, f"{text} === {json.dumps(wanted)}")


async def says(window: Window, selector: str, wanted: str) -> None:
    """Wait until an element has this text among others."""
    await until(window, f"{text_of(selector)}.includes({json.dumps(wanted)})")


HIDDEN: Final = """((hidden) => {
  Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});
  document.dispatchEvent(new Event('visibilitychange'));
})"""
_CAN_BE_USED: Final = "((one) => one && !one.disabled && one.ariaDisabled !== 'true' ? one : null)"
WHERE_TOUCHED: Final = """((target) => {
  if (!target) return null;
  const {left, top, right, bottom} = target.getBoundingClientRect();
  if (left < 0 || top < 0 || right > innerWidth || bottom > innerHeight) return null;
  const at = [Math.round((left + right) / 2), Math.round((top + bottom) / 2)];
  return target.contains(document.elementFromPoint(...at)) ? at : null;
})"""


def usable(selector: str, name: str | None = None) -> str:
    """Return the expression for an element that is displayed and not disabled; else null."""
    return f"{_CAN_BE_USED}({one(selector, name)})"


async def tap(window: Window, selector: str, name: str | None = None) -> None:
    """Touch an element where it stands, once it can be used; the page is not scrolled."""
    x, y = await until(window, f"{WHERE_TOUCHED}({usable(selector, name)})")
    await window.touch(x, y)


async def click(window: Window, selector: str, name: str | None = None) -> None:
    """Click an element as soon as it can be used, wherever it stands."""
    await until(window, f"((target) => target && (target.click(), true))({usable(selector, name)})")


async def reload(window: Window) -> None:
    """Load the page again; it need not be complete."""
    await window.run("void (globalThis.old = true, setTimeout(() => location.reload(), 0))")
    await until(window, "globalThis.old === undefined && document.readyState !== 'loading'")
