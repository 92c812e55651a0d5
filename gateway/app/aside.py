"""How does a listener answer although the event loop is stuck?

It has a thread and an event loop of its own. What it is asked about it may read as it is, as long as that
is single words and numbers; whatever needs more is done by the loop that serves phones, and waited for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from aiohttp import web

from gateway.app.listener import Listener, listening
from gateway.runtime.ports import Clock

PATIENCE_S: Final = 5.0
"""How long is waited for the loop that serves phones: half of what Prometheus waits."""

T = TypeVar("T")


def asked_of_this_loop(act: Callable[[], T], clock: Clock) -> Callable[[], Coroutine[None, None, T]]:
    """Return what has *act* done by the loop that runs now, from whichever loop it is called.

    It raises :class:`TimeoutError` when that has no time for it within :data:`PATIENCE_S`.
    """
    loop = asyncio.get_running_loop()

    async def do() -> T:
        return act()

    async def ask() -> T:
        async with clock.timeout(PATIENCE_S):
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(do(), loop))

    return ask


@asynccontextmanager
async def listening_aside(name: str, app: web.Application, host: str, port: int) -> AsyncIterator[Listener]:
    """Serve *app* from a thread of its own while the block lasts.

    Raises:
        CannotListen: As :func:`gateway.app.listener.listening` says.
    """
    opened: Future[tuple[Listener, Callable[[], object]]] = Future()
    ended: Future[None] = Future()

    async def serve() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        async with listening(name, app, host, port) as listener:
            opened.set_result((listener, lambda: loop.call_soon_threadsafe(over.set)))
            await over.wait()

    def live() -> None:
        try:
            asyncio.run(serve())
        except Exception as error:  # noqa: BLE001 - told to whoever waits in the other thread
            (ended if opened.done() else opened).set_exception(error)
        else:
            ended.set_result(None)

    threading.Thread(target=live, name=name, daemon=True).start()
    listener, close = await asyncio.wrap_future(opened)
    try:
        yield listener
    finally:
        close()
        await asyncio.wrap_future(ended)
