"""Description of a program that the gateway is compared with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Peer:
    """A server of somebody else that fans messages out over WebSocket, and how to speak to it.

    Attributes:
        name: How tables call it.
        about: What it is, with its language and version.
        prepare: Installs or builds it into a folder, idempotently; False when this machine cannot have it,
            which is reported and never faked.
        command: The server's argument vector from that folder and a port; it listens on 127.0.0.1.
        path: The path of its WebSocket.
        subscribe: Options of the load generator by which a connection subscribes to topic ``t%m``.
        publish: Options of the load generator by which the publisher publishes ``%M`` into topic ``t%m``.
        stamp: What stands before the timestamp in a delivered message.
    """

    name: str
    about: str
    prepare: Callable[[Path], bool]
    command: Callable[[Path, int], tuple[str, ...]]
    path: str
    subscribe: tuple[str, ...]
    publish: tuple[str, ...]
    stamp: str = '"t":'
