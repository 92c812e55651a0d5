"""Description of a program that the gateway is compared with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Peer:
    """Another fan-out server over WebSocket: how to install, start and address it.

    Attributes:
        name: Its name in tables.
        about: What it is, with its language and version.
        prepare: Installs or builds it into a folder, idempotently; returns whether this machine can run it.
        command: The server's argument vector from that folder and a port; it listens on 127.0.0.1.
        path: The path of its WebSocket.
        subscribe: Options of the load generator by which a connection subscribes to topic ``t%m``.
        publish: Options of the load generator by which the publisher publishes ``%M`` into topic ``t%m``.
        stamp: The text before the timestamp in a delivered message.
    """

    name: str
    about: str
    prepare: Callable[[Path], bool]
    command: Callable[[Path, int], tuple[str, ...]]
    path: str
    subscribe: tuple[str, ...]
    publish: tuple[str, ...]
    stamp: str = '"t":'
