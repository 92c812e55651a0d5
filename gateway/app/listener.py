"""How does an application get an address, and how does it give it up?"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from gateway.edge.callers import WAITING, Callers
from gateway.edge.runner import DoorRunner

BACKLOG: Final = 4_096
"""Handshakes that the kernel holds while the loop is busy: after another node's end many come at once."""
FEW: Final = 256
"""Connections of a listener whose application does not say how many it bears."""
HANDSHAKE_S: Final = 10.0
"""Within this time a handshake of TLS is done. Until then a connection costs a descriptor, and stands in no
other limit: the library tells nobody of it."""
GOODBYE_S: Final = 3_600.0
"""How long the end of TLS may take, with all that waits to be sent: the library's 30 s would cut a long
answer off. Who takes nothing meanwhile is let go by the runner."""


class CannotListen(Exception):  # noqa: N818 - names what happened
    """An address is not to be had. The message is a sentence for operators."""


class Listener:
    """An application at an address. Made by :func:`listening`."""

    def __init__(self, runner: web.AppRunner, site: web.TCPSite, *, tls: bool) -> None:
        self._site = site
        self._is_open = True
        host, port = runner.addresses[0][:2]
        self.port: Final = int(port)
        self.url: Final = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    async def refuse(self) -> None:
        """Take no new connections; those that there are stay."""
        if self._is_open:
            self._is_open = False
            await self._site.stop()


class _Site(web.TCPSite):
    """Listens as its parent does, whose way leaves a minute for TLS to begin, and half of one to end."""

    async def start(self) -> None:
        """Listen from now on."""
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None  # noqa: S101 - its parent has seen to it
        self._server = await asyncio.get_running_loop().create_server(
            server,
            self._host,
            self._port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=None if self._ssl_context is None else HANDSHAKE_S,
            ssl_shutdown_timeout=None if self._ssl_context is None else GOODBYE_S,
        )


def why(error: OSError) -> str:
    """Return why an address is not to be had, without the library's own words."""
    number = error.errno or 0
    return os.strerror(number).lower() if number > 0 else "there is no such address"


@asynccontextmanager
async def listening(
    name: str, app: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Listener]:
    """Serve *app* while the block lasts.

    Raises:
        CannotListen: The address is taken, or not of this machine, or the port is not for us.
    """
    runner = DoorRunner(app, app.get(WAITING, Callers(FEW, FEW)))
    await runner.setup()
    try:
        site = _Site(runner, host, port, ssl_context=tls, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise CannotListen(f"The {name} listener cannot have {host} port {port}: {why(error)}.") from None
        yield Listener(runner, site, tls=tls is not None)
    finally:
        await runner.cleanup()
