"""How does one ask a running demonstration to kill, stop or start one of its processes?

Over a Unix socket that only this user can reach: a line with verb and name goes in, ``done`` or
``refused`` and a sentence come back.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.app.listener import CannotListen

LINE_BYTES: Final = 200
PATIENCE_S: Final = 15.0

Act = Callable[[str, str], Coroutine[None, None, str]]
"""Does a verb to a name; returns or raises, as ValueError, what to say."""


class NoDemo(Exception):  # noqa: N818 - names what happened
    """No demonstration runs that could be asked. The message is a sentence."""


def socket_path(port: int) -> Path:
    """Return where the demonstration with its front door at *port* can be asked; makes the folder.

    Raises:
        CannotListen: The folder is another user's.
    """
    parent = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(parent) / f"oscc-gateway-demo-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise CannotListen(f"{folder} is another user's.")
    return folder / f"{port}.sock"


@asynccontextmanager
async def controlled(path: Path, act: Act) -> AsyncIterator[None]:
    """Let *act* be asked for at *path* while the block lasts.

    Raises:
        CannotListen: The path cannot be used.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            verb, _, name = (await _line(reader)).partition(" ")
            said = f"done {await act(verb, name)}"
        except ValueError as refused:
            said = f"refused {refused}"
        with suppress(OSError):
            writer.write(f"{said}\n".encode())
            await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_unix_server(serve, path, limit=LINE_BYTES)
    except OSError:
        raise CannotListen(f"{path} cannot be listened at.") from None
    try:
        yield
    finally:
        server.close()
        _forget(path)


async def _line(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.readline()).decode("utf-8", "replace").strip()
    except ValueError:
        raise ValueError("That is too long.") from None


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


async def ask(path: Path, verb: str, name: str) -> tuple[bool, str]:
    """Ask the demonstration at *path*; returns whether it was done, and a sentence.

    Raises:
        NoDemo: None runs there, or it does not answer.
    """
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(f"{verb} {name}\n".encode())
            answer = (await reader.readline()).decode()
            writer.close()
    except (OSError, TimeoutError):
        raise NoDemo(
            "No demonstration of many nodes runs here: start it with `oscc-gateway demo-cluster` in another "
            "terminal (when it has a --port, say the same)."
        ) from None
    word, _, sentence = answer.strip().partition(" ")
    return word == "done", sentence
