"""Peers from PyPI, each in its best configuration, all in one virtual environment."""

from collections.abc import Callable
from ctypes.util import find_library
from pathlib import Path

from bench.peer import Peer
from bench.peers import installing, words


def _started(program: str) -> Callable[[Path, int], tuple[str, ...]]:
    source = str(installing.SERVERS / program)
    return lambda folder, port: (str(folder / "python/bin/python"), source, str(port))


def _with_libuv(folder: Path) -> bool:
    # socketify needs the system's libuv
    here = find_library("uv") is not None or installing.debian("libuv1")
    return here and installing.python(folder)


AIOHTTP = Peer(
    name="aiohttp",
    about="aiohttp 3.14, send_str for each client, uvloop (Python)",
    prepare=installing.python,
    command=_started("plain_aiohttp.py"),
    path="/",
    subscribe=words.SUBSCRIBE,
    publish=words.PUBLISH,
)

WEBSOCKETS = Peer(
    name="websockets",
    about="python-websockets 17, broadcast, uvloop (Python)",
    prepare=installing.python,
    command=_started("python_websockets.py"),
    path="/",
    subscribe=words.SUBSCRIBE,
    publish=words.PUBLISH,
)

UWEBSOCKETS = Peer(
    name="uWebSockets",
    about="uWebSockets (C++), through socketify 0.0.31",
    prepare=_with_libuv,
    command=_started("uwebsockets.py"),
    path="/",
    subscribe=words.SUBSCRIBE,
    publish=words.PUBLISH,
)
