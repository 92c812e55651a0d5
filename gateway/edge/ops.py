"""Is the node alive, ready and started, and how does it fare?

The listener for kubelet and Prometheus. It holds no personal data and asks for no password, so it
belongs inside.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

from gateway.edge.visitors import NAME

_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The exposition format of Prometheus."""

Check = Callable[[], str | None]
"""Returns what is wrong in a few words, or None."""


@dataclass(frozen=True, slots=True)
class OpsParts:
    """What the listener asks. *render* writes the metrics; TimeoutError: it does not come to it."""

    live: Check
    ready: Check
    started: Check
    render: Callable[[], Awaitable[bytes]]


def make_ops_app(parts: OpsParts) -> web.Application:
    """Return the application of the ops listener."""
    app = web.Application(client_max_size=0)
    app.on_response_prepare.append(_dress)

    async def metrics(request: web.Request) -> web.Response:  # noqa: ARG001 - aiohttp's signature
        try:
            return web.Response(body=await parts.render(), headers={hdrs.CONTENT_TYPE: _METRICS_TYPE})
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
