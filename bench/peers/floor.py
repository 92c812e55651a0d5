"""Floor: the least that the kernel costs, for any server."""

import shutil
from pathlib import Path

from bench.peer import Peer
from bench.peers import installing, words


def _prepare(folder: Path) -> bool:
    if shutil.which("gcc") is None and not installing.debian("gcc", "libc6-dev"):
        return False
    source, program = installing.SERVERS / "floor.c", folder / "floor"
    command = ("gcc", "-O2", "-march=native", "-Wall", "-o", str(program), str(source))
    return installing.built(source, program, command)


FLOOR = Peer(
    name="floor",
    about="C floor: epoll and send, nothing else",
    prepare=_prepare,
    command=lambda folder, port: (str(folder / "floor"), str(port)),
    path="/",
    subscribe=words.SUBSCRIBE,
    publish=words.PUBLISH,
)
