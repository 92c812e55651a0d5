"""Cost of an update where links are real WebSockets of another process.

Run with ``python -m bench.profiles.sockets``; the server is a separate process. Beyond those of
:mod:`bench.profiles.upstream`, the figures include the kernel, the event loop and the WebSocket.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from aiohttp import WSMsgType, web

from bench.profiles.centre import Centre
from bench.profiles.supervisor import Supervisor
from gateway.app.process import run_loop
from gateway.core.assembly import Composer
from gateway.domain.model import SessionSecret, UserId
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.mirror import SharedOffsets
from gateway.telemetry import RuntimeCounters
from gateway.upstream.oscce import OsccServer

ABOUT = {
    "Product": "OSCC-E",
    "ExtensionsVersion": "V2R1",
    "ContactCenterVersion": "V8R2",
    "Protocol": 1,
    "Features": [],
}
SETTLING = 6


class Server:
    """HTTP routes of the server, with one that sends a reading on every link."""

    def __init__(self) -> None:
        self._centre = Centre(now_ms=_now_ms())
        self._links: dict[web.WebSocketResponse, dict[str, int]] = {}

    def app(self) -> web.Application:
        """Return the HTTP application."""
        app = web.Application()
        doors: list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
            ("GET", "/oscce/v1/about", self._about),
            ("GET", "/oscce/v1/link", self._link),
            ("POST", "/read", self._read),
        ]
        for method, path, door in doors:
            app.router.add_route(method, path, door)
        return app

    async def _about(self, _: web.Request) -> web.Response:
        return web.json_response(ABOUT)

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        user = int(request.headers["OSCCE-Session"])
        socket = web.WebSocketResponse(protocols=("oscce.link.v1",), compress=False)
        await socket.prepare(request)
        queries = self._links[socket] = {}
        self._centre.now_ms = _now_ms()
        await socket.send_str(self._centre.opened(user))
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            asked = json.loads(message.data)
            if asked["Method"] == "ListenForEvents":
                queries[asked["EventType"]] = asked["RequestID"]
            self._centre.now_ms = _now_ms()
            for text in self._centre.answer(user, asked):
                await socket.send_str(text)
        del self._links[socket]
        return socket

    async def _read(self, _: web.Request) -> web.Response:
        users, queues = self._centre.step()
        self._centre.now_ms = _now_ms()
        for socket, queries in list(self._links.items()):
            for event_type, keys in (("UserRealtime", users), ("QueueRealtime", queues)):
                await socket.send_str(self._centre.event(queries[event_type], event_type, keys))
        return web.json_response(len(users) + len(queues))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096


async def _are_applied(composer: Composer, readings: int) -> None:
    while composer.readings < readings:  # noqa: ASYNC110 - an event would be measured too
        await asyncio.sleep(0.005)


async def measure(links: int, readings: int, url: str) -> None:
    """Run the profile and print the figures."""
    clock, composer, offsets, counters = SystemClock(), Composer(), SharedOffsets(), RuntimeCounters()
    supervisors: list[Supervisor] = []
    async with OsccServer("main", url, clock) as server, aiohttp.ClientSession() as http:
        before = _rss()
        async with asyncio.TaskGroup() as tasks:
            began = time.process_time()
            for user in range(links):
                link = await server.open(
                    UserId("main", user), SessionSecret(str(user)), token=1, holder="bench"
                )
                supervisors.append(one := Supervisor(user, link, clock, composer, offsets, counters, tasks))
                tasks.create_task(one.run())
                await one.live.wait()
            print(f"links        {(time.process_time() - began) / links * 1e3:.1f} ms each until live")
            gc.collect()
            gc.freeze()
            took: list[float] = []
            elements = 0
            for _ in range(SETTLING + readings):
                due, began, elapsed = composer.readings + 2 * links, time.process_time(), time.time()
                elements = json.loads(await (await http.post(url + "/read")).text())
                await _are_applied(composer, due)
                took.append((time.process_time() - began) / links / elements * 1e6)
                await asyncio.sleep(max(0.0, elapsed + 1 - time.time()))
            each = statistics.median(took[SETTLING:])
            print(f"readings     {elements} elements, {each:.3f} µs each on each link")
            print(
                f"memory       {_rss() / 2**20:.0f} MiB, {(_rss() - before) / links / 1024:.1f} KiB per link"
            )
            for one in supervisors:
                one.linked.close()


async def _main(options: argparse.Namespace) -> None:
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.profiles.sockets", "--serve", str(options.port)
    )
    try:
        await asyncio.sleep(2)
        await measure(options.links, options.readings, f"http://127.0.0.1:{options.port}")
    finally:
        server.terminate()
        await server.wait()


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--links", type=int, default=50)
    parser.add_argument("--readings", type=int, default=10)
    parser.add_argument("--port", type=int, default=18_343)
    parser.add_argument("--serve", type=int, help="run as the server, on this port")
    options = parser.parse_args()
    if options.serve is not None:
        web.run_app(Server().app(), host="127.0.0.1", port=options.serve, print=None)
    else:
        run_loop(_main(options))


if __name__ == "__main__":
    main()
