"""uWebSockets: fan-out by its own topics in C++; Python only parses messages."""

import sys

from socketify import App, AppListenOptions, CompressOptions, OpCode, WebSocket

application = App(lifespan=False)


def heard(socket: WebSocket, message: str, _opcode: OpCode) -> None:
    """Process one message, which subscribes or publishes."""
    verb, _, rest = message.partition(" ")
    if verb == "pub":
        topic, _, payload = rest.partition(" ")
        application.publish(topic, payload, OpCode.TEXT)
    else:
        socket.subscribe(rest)


# all other options are defaults: beyond 64 KiB of backpressure a client misses messages
application.ws("/*", {"compression": CompressOptions.DISABLED, "message": heard})
application.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"), lambda _options: None)
# run only libuv's loop: App.run() polls it and asyncio in turn, which costs more than the fan-out
application.loop.uv_loop.run()
