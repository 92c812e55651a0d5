"""python-websockets with its own ``broadcast``."""

import asyncio
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

subscribers: dict[str, set[ServerConnection]] = {}


async def talk(connection: ServerConnection) -> None:
    """Serve one connection, which subscribes or publishes."""
    topics = set()
    try:
        async for received in connection:
            verb, _, rest = str(received).partition(" ")
            if verb == "pub":
                topic, _, message = rest.partition(" ")
                broadcast(subscribers.get(topic, ()), message)
            else:
                topics.add(rest)
                subscribers.setdefault(rest, set()).add(connection)
    finally:
        for topic in topics:
            subscribers[topic].discard(connection)


async def listen(port: int) -> None:
    """Listen on the loopback until the process is ended."""
    async with serve(talk, "127.0.0.1", port, compression=None, backlog=4096) as server:
        await server.serve_forever()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(listen(int(sys.argv[1])))
