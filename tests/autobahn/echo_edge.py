"""An edge that echoes messages, for the Autobahn suite.

A process of its own: the whole application of the client listener, its listener and its event loop,
with its route, handshake, channel, parser and sockets. Two things differ. The session behind a socket
asks for no hello and lets messages come back. And who offers no subprotocol is taken to offer ours.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from dataclasses import replace
from unittest import mock

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.app.process import listening, run_loop
from gateway.core.ledger import Health
from gateway.core.rate_limits import SessionLimits
from gateway.core.session import Close, Effects, Session
from gateway.edge import handshake
from gateway.edge.channel import ChannelEvent
from gateway.edge.request_context import AdmissionLimits, EdgeSettings
from gateway.edge.scheduler import Scheduler
from gateway.edge.server import make_app
from gateway.edge.socket import PhoneSocket
from gateway.protocol import websocket
from gateway.protocol.codec import BYTES_IN_MAX, JSON
from gateway.protocol.websocket import Message, Violation
from gateway.runtime.event_loop import SystemClock
from tests.autobahn.broken import SEEDED
from tests.edge.visits import SITE, edge_setup, pumping

MESSAGE_BYTES = 16 << 20
FRAMES_BETWEEN = 1 << 17
"""What the cases send at most. The gateway's own limits are tighter than theirs: they are its policy."""


class EchoSession(Session):
    """A session that needs no hello, has nothing to say, and ends a breach with the code of RFC 6455."""

    def tick(self, now: float) -> Effects:
        return ()

    def due_at(self, now: float, health: Health) -> float | None:
        return None

    def violated(self, code: int, reason: str) -> Effects:
        return self._close(Close(code, reason))


class EchoSocket(PhoneSocket):
    """A socket that says what is said, in the same type, compressed where that is agreed on."""

    def event_received(self, event: ChannelEvent) -> None:
        if isinstance(event, Message):
            frame = websocket.deflated if self.channel.deflate else websocket.frame
            self.channel.put(frame(websocket.TEXT if event.text else websocket.BINARY, event.data))
        elif isinstance(event, Violation):
            super().event_received(event)


@web.middleware
async def offer_ours(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the client offer our subprotocol."""
    headers = request.headers.copy()
    headers.setdefault(hdrs.SEC_WEBSOCKET_PROTOCOL, JSON.subprotocol)
    return await handler(request.clone(headers=headers))


def application(message_bytes: int) -> web.Application:
    """Return the edge as `oscc-gateway serve` makes it, over a node that is never asked."""
    settings = EdgeSettings(
        version="1.2.3",
        sites=(SITE,),
        insecure=True,
        session=SessionLimits(frame_bytes_in=message_bytes),
        admission=AdmissionLimits(handshakes_per_s_of_address=1e6, handshakes_burst_of_address=1_000_000),
    )
    parts = replace(edge_setup(settings).parts, clock=SystemClock(), scheduler=Scheduler(SystemClock()))
    app = make_app(parts)
    app.cleanup_ctx.append(pumping(parts))
    app.middlewares.insert(0, offer_ours)
    return app


async def serve(app: web.Application) -> None:
    """Say the address on standard output, and serve until the process is ended."""
    async with listening("client", app, "127.0.0.1", 0) as listener:
        sys.stdout.write(listener.url.replace("http", "ws") + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


def main(limits: str = "wide limits", seeded: str = "none") -> None:
    """Serve with limits that let the cases pass or with our own; *seeded* names a bug that is to be found."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(handshake, "Session", EchoSession))
        stack.enter_context(mock.patch.object(handshake, "PhoneSocket", EchoSocket))
        message_bytes = BYTES_IN_MAX
        if limits == "wide limits":
            message_bytes = MESSAGE_BYTES
            stack.enter_context(mock.patch.object(websocket, "FRAMES_BETWEEN_MAX", FRAMES_BETWEEN))
        stack.enter_context(SEEDED[seeded]())
        run_loop(serve(application(message_bytes)))


if __name__ == "__main__":
    main(*sys.argv[1:])
