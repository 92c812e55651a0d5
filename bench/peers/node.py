"""Peers from npm: how they start, and the protocol of socket.io."""

from pathlib import Path

from bench.peer import Peer
from bench.peers import installing, words


def _socket_io(folder: Path, port: int) -> tuple[str, ...]:
    return ("node", str(folder / "node/socketio.js"), str(port))


def _ws(folder: Path, port: int) -> tuple[str, ...]:
    return ("node", str(folder / "node/ws.js"), str(port))


SOCKET_IO = Peer(
    name="socket.io",
    about="socket.io 4.8, rooms (Node)",
    prepare=installing.node,
    command=_socket_io,
    path="/socket.io/?EIO=4&transport=websocket",
    # 40 joins the main namespace, 42 is an event; 2 is the server's ping and 3 the pong
    subscribe=("--send", '40{"topic":"t%m"}', "--reply-text", "2=3"),
    publish=("--pub-send", "40", "--pub", '42["pub","t%m",%M]'),
)

WS = Peer(
    name="ws",
    about="ws 8, send for each client (Node)",
    prepare=installing.node,
    command=_ws,
    path="/",
    subscribe=words.SUBSCRIBE,
    publish=words.PUBLISH,
)
