"""Plain aiohttp: ``send_str`` to each client in turn, as its documentation shows."""

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web

subscribers: dict[str, set[web.WebSocketResponse]] = {}


async def publish(topic: str, message: str) -> None:
    """Send to every subscriber; a broken connection is removed."""
    # a copy: the set may change while a send is awaited
    for client in tuple(subscribers.get(topic, ())):
        try:
            await client.send_str(message)
        except ConnectionError:
            subscribers[topic].discard(client)


async def talk(request: web.Request) -> web.WebSocketResponse:
    """Serve one connection, which subscribes or publishes."""
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    topics = set()
    try:
        async for received in socket:
            if received.type is not aiohttp.WSMsgType.TEXT:
                continue
            verb, _, rest = received.data.partition(" ")
            if verb == "pub":
                topic, _, message = rest.partition(" ")
                await publish(topic, message)
            else:
                topics.add(rest)
                subscribers.setdefault(rest, set()).add(socket)
    finally:
        for topic in topics:
            subscribers[topic].discard(socket)
    return socket


async def serve(port: int) -> None:
    """Listen on the loopback until the process is ended."""
    application = web.Application()
    application.router.add_get("/", talk)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await asyncio.Event().wait()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as asyncio_runner:
    asyncio_runner.run(serve(int(sys.argv[1])))
