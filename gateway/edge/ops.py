"""Is the node alive, ready and started, and how does it fare?

The listener for kubelet and Prometheus. It holds no personal data and asks for no password, so it
belongs inside.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

from gateway.edge.visitors import NAME
from gateway.telemetry import Families, written

_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The exposition format of Prometheus."""

FRESH_S: Final = 1.0
"""For so long the metrics are not collected again."""

Check = Callable[[], str | None]
"""Returns what is wrong in a few words, or None."""


@dataclass(frozen=True, slots=True)
class OpsParts:
    """What the listener asks.

    *measure* collects the metrics; TimeoutError: the loop that serves phones has no time for it. *now* is in
    monotonic seconds.
    """

    live: Check
    ready: Check
    started: Check
    measure: Callable[[], Awaitable[Families]]
    now: Callable[[], float]


class Scrapes:
    """The page of the metrics, made at most once in :data:`FRESH_S` however often it is asked for.

    Whoever asks while it is made gets the same page, or the same refusal.
    """

    def __init__(self, parts: OpsParts) -> None:
        self._parts = parts
        self._made_at = -math.inf
        self._page: bytes | None = None
        self._making = asyncio.Lock()

    async def page(self) -> bytes:
        """Return the page.

        Raises:
            TimeoutError: The loop that serves phones has no time for it.
        """
        async with self._making:
            if self._parts.now() - self._made_at >= FRESH_S:
                self._page = await self._made()
                self._made_at = self._parts.now()
            if self._page is None:
                raise TimeoutError
            return self._page

    async def _made(self) -> bytes | None:
        try:
            return written(await self._parts.measure())
        except TimeoutError:
            return None


def make_ops_app(parts: OpsParts) -> web.Application:
    """Return the application of the ops listener."""
    app = web.Application(client_max_size=0)
    app.on_response_prepare.append(_dress)
    scrapes = Scrapes(parts)

    async def metrics(request: web.Request) -> web.Response:  # noqa: ARG001 - aiohttp's signature
        try:
            return web.Response(body=await scrapes.page(), headers={hdrs.CONTENT_TYPE: _METRICS_TYPE})
        except TimeoutError:
            return web.Response(text="the event loop is busy\n", status=503)

    app.router.add_get("/livez", _health(parts.live))
    app.router.add_get("/readyz", _health(parts.ready))
    app.router.add_get("/startupz", _health(parts.started))
    app.router.add_get("/metrics", metrics)
    return app


async def _dress(request: web.Request, response: web.StreamResponse) -> None:  # noqa: ARG001 - aiohttp asks so
    """Name no version of anything."""
    response.headers[hdrs.SERVER] = NAME


def _health(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def serve(request: web.Request) -> web.Response:  # noqa: ARG001 - aiohttp's signature
        wrong = check()
        return web.Response(
            text="ok\n" if wrong is None else f"{wrong}\n",
            status=200 if wrong is None else 503,
            headers={hdrs.CACHE_CONTROL: "no-store"},
        )

    return serve
