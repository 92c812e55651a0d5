"""uWebSockets: fan-out by its own topics in C++, with Python only where connections are accepted."""

import sys

from socketify import App, AppListenOptions, CompressOptions, OpCode, WebSocket

application = App(lifespan=False)


def heard(socket: WebSocket, message: str, _opcode: OpCode) -> None:
    """One message of a connection: it subscribes, or publishes."""
    verb, _, rest = message.partition(" ")
    if verb == "pub":
        topic, _, payload = rest.partition(" ")
        application.publish(topic, payload, OpCode.TEXT)
    else:
        socket.subscribe(rest)


# everything else is its default: 64 KiB of backpressure, beyond which a client misses messages
application.ws("/*", {"compression": CompressOptions.DISABLED, "message": heard})
application.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"), lambda _options: None)
# its own loop alone: App.run() would poll it and asyncio in turns, which costs more than the fan-out
application.loop.uv_loop.run()
