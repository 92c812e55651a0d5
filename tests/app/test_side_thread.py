"""Listener in a thread of its own: answers while the main loop is blocked."""

from __future__ import annotations

import asyncio
import socket
import threading
import urllib.request
from collections.abc import Callable
from urllib.error import HTTPError

import aiohttp
import pytest
from aiohttp import web

from gateway.app import listeners
from gateway.app.config.sources import generate_secrets
from gateway.app.listeners import CannotListen, listening_in_thread, on_this_loop
from gateway.app.metrics import STUCK_S
from gateway.app.process import StopRequest
from gateway.app.wiring import serving
from gateway.runtime.event_loop import SystemClock
from tests.app.samples import settings_for


class JumpingClock(SystemClock):
    """The machine's time, and what a test adds to it."""

    __slots__ = ("ahead_s",)

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s


def app_of(tell: Callable[[], str]) -> web.Application:
    async def received(request: web.Request) -> web.Response:
        return web.Response(text=tell())

    app = web.Application()
    app.router.add_get("/", received)
    return app


def read(url: str) -> tuple[int, str]:
    """Ask as kubelet does, while this thread's event loop is stuck in here."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - an address of our own
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode()


def threads(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


async def test_it_answers_from_another_thread_and_ends_with_the_block() -> None:
    here = threading.get_ident()
    async with listening_in_thread(
        "beside", app_of(lambda: str(threading.get_ident())), "127.0.0.1", 0
    ) as door:
        code, there = read(door.url)
        assert code == 200
        assert int(there) != here
        assert threads("beside") == 1
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(door.url)


async def test_a_taken_port_is_reported_here() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            CannotListen, match=rf"The beside listener cannot listen at 127\.0\.0\.1 port {port}"
        ):
            async with listening_in_thread("beside", app_of(str), "127.0.0.1", port):
                pass


async def test_an_error_of_the_block_leaves_it_as_it_is() -> None:
    with pytest.raises(KeyError, match="own"):
        async with listening_in_thread("beside", app_of(str), "127.0.0.1", 0):
            raise KeyError("own")


async def test_what_needs_the_loop_is_done_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = on_this_loop(threading.get_ident, SystemClock())
    there: list[int | str] = []
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def beside() -> None:
        try:
            there.append(asyncio.run(ask()))
        except TimeoutError:
            there.append("stuck")
        loop.call_soon_threadsafe(done.set)

    asking = threading.Thread(target=beside)
    asking.start()
    await done.wait()
    asking.join()
    monkeypatch.setattr(listeners, "LOOP_ANSWER_S", 0.05)
    asking = threading.Thread(target=beside)
    asking.start()
    asking.join()  # this loop is stuck until that one has lost its patience
    assert there == [threading.get_ident(), "stuck"]


async def test_a_node_whose_loop_is_stuck_says_so_itself() -> None:
    clock = JumpingClock()
    settings = settings_for("http://127.0.0.1:1")
    async with asyncio.timeout(30), serving(settings, generate_secrets(), clock, StopRequest()) as addresses:
        paths = ("livez", "readyz", "startupz")
        assert [read(f"{addresses.ops}/{path}") for path in paths] == [(200, "ok\n")] * 3
        clock.ahead_s = STUCK_S + 1
        received = [read(f"{addresses.ops}/{path}") for path in paths]
        clock.ahead_s = 0.0
        stuck = (503, "the event loop is stuck\n")
        assert received == [stuck, stuck, (200, "ok\n")]
        async with aiohttp.ClientSession() as http, http.get(f"{addresses.ops}/metrics") as shown:
            assert "oscc_gateway_build_info" in await shown.text()
