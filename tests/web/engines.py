"""Firefox and WebKit of this machine, driven by the protocols that they speak themselves.

Firefox speaks WebDriver BiDi, WebKitGTK has a WebDriver. Each runs what a page would run, as text.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import pytest

PATIENCE_S: Final = 120.0
"""How long what is to come may take: bounds a failing test, and says nothing of how fast an engine is."""
_LISTENS: Final = re.compile(r"WebDriver BiDi listening on (ws://[^\s]+)")
_DISPLAY: Final = re.compile(r"^(\d+)$", re.MULTILINE)
_MINI_BROWSER: Final = "webkit2gtk-4.1/MiniBrowser"


class Engine(Protocol):
    """One window of a browser."""

    async def go(self, url: str) -> None:
        """Open a page."""
        ...

    async def run(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        ...


async def until(engine: Engine, expression: str) -> Any:
    """Wait until an expression is true in the page; returns its value."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (value := await engine.run(expression)):  # noqa: ASYNC110 - it is the page that changes
                await asyncio.sleep(0.1)
            return value
    except TimeoutError:
        shown = await engine.run("document.body.innerText")
        raise AssertionError(f"{expression} does not become true; the page shows {shown!r}") from None


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


# ---- Firefox ----


class Firefox:
    """A window of Firefox, by WebDriver BiDi."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.context = ""

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command; returns its result."""
        self._number += 1
        await self._socket.send_str(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            told = json.loads((await self._socket.receive(PATIENCE_S)).data)
            if told.get("id") == self._number:
                assert told["type"] == "success", told
                result: dict[str, Any] = told["result"]
                return result

    async def go(self, url: str) -> None:
        await self.ask("browsingContext.navigate", context=self.context, url=url, wait="complete")

    async def run(self, expression: str) -> Any:
        told = await self.ask(
            "script.evaluate",
            expression=f"JSON.stringify(({expression}) ?? null)",
            target={"context": self.context},
            awaitPromise=False,
        )
        assert told["type"] == "success", told
        return json.loads(told["result"]["value"])


@asynccontextmanager
async def firefox(folder: Path) -> AsyncIterator[Engine]:
    """Open a Firefox."""
    (path,) = needed("firefox-esr")
    (folder / "user.js").write_text('user_pref("intl.locale.requested", "en-GB");\n', "utf-8")
    command = (path, "--headless", "--profile", str(folder), "--remote-debugging-port", "0", "about:blank")
    output = folder / "firefox.log"
    async with _program(output, *command, HOME=str(folder)), aiohttp.ClientSession() as http:
        address = await _written(output, _LISTENS)
        async with http.ws_connect(f"{address}/session", max_msg_size=0) as socket:
            window = Firefox(socket)
            await window.ask("session.new", capabilities={})
            window.context = (await window.ask("browsingContext.getTree"))["contexts"][0]["context"]
            yield window


# ---- WebKit ----


class WebKit:
    """A window of WebKitGTK, by WebDriver."""

    def __init__(self, http: aiohttp.ClientSession, session: str) -> None:
        self._http = http
        self._session = session

    async def _ask(self, what: str, **body: object) -> Any:
        async with self._http.post(f"{self._session}/{what}", json=body) as answer:
            told = await answer.json(content_type=None)
            assert answer.status == 200, told
            return told["value"]

    async def go(self, url: str) -> None:
        await self._ask("url", url=url)

    async def run(self, expression: str) -> Any:
        script = f"return JSON.stringify(({expression}) ?? null);"
        return json.loads(await self._ask("execute/sync", script=script, args=[]))


def _mini_browser() -> str | None:
    return next(map(str, Path("/usr/lib").glob(f"*/{_MINI_BROWSER}")), None)


@asynccontextmanager
async def webkit(folder: Path, port: int) -> AsyncIterator[Engine]:
    """Open a WebKitGTK, on a screen of its own."""
    driver, screen = needed("WebKitWebDriver", "Xvfb")
    browser = _mini_browser()
    if browser is None:
        pytest.skip("there is no MiniBrowser of WebKitGTK on this machine")
    options = {"binary": browser, "args": ["--automation"]}
    shown, output = folder / "screen.log", folder / "driver.log"
    fixed = ("-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "1280x900x24")
    async with _program(shown, screen, *fixed):
        display = await _written(shown, _DISPLAY)
        home = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "DISPLAY": f":{display}"}
        home |= {"LANG": "C.UTF-8", "LIBGL_ALWAYS_SOFTWARE": "1", "WEBKIT_DISABLE_COMPOSITING_MODE": "1"}
        patient = aiohttp.ClientTimeout(total=PATIENCE_S)
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
                    told = await answer.json(content_type=None)
                    assert answer.status == 200, told
                    return f"{base}/{told['value']['sessionId']}"
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.1)
