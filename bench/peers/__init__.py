"""Other fan-out servers over WebSocket: how to install, start and address each of them."""

from bench.peer import Peer
from bench.peers import centrifuge, floor, mosquitto, nats, node, python

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        floor.FLOOR,
        python.UWEBSOCKETS,
        centrifuge.CENTRIFUGE,
        nats.NATS,
        mosquitto.MOSQUITTO,
        node.SOCKET_IO,
        node.WS,
        python.WEBSOCKETS,
        python.AIOHTTP,
    )
}
"""Every peer by its name; the first one shows the least that the kernel costs."""
