"""Where do operators knock: at a port of the loopback, or at a socket?"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web

from gateway.app.config_sections import Admin
from gateway.app.config_types import socket_path
from gateway.app.listener import FEW, CannotListen, listening, why
from gateway.edge.callers import Callers
from gateway.edge.runner import DoorRunner

_OWNER_ONLY = 0o177


@asynccontextmanager
async def admin_listening(admin: Admin, app: web.Application) -> AsyncIterator[str]:
    """Serve *app* where *admin* says, while the block lasts; gives the address.

    Raises:
        CannotListen: The address is not to be had.
    """
    path = socket_path(admin.host)
    if path is None:
        async with listening("admin", app, admin.host, admin.port) as listener:
            yield listener.url
        return
    runner = DoorRunner(app, Callers(FEW, FEW))
    await runner.setup()
    try:
        own = await _open(runner, path)
        try:
            yield f"unix:{path}"
        finally:
            _clear(path, own)
    finally:
        await runner.cleanup()


def _clear(path: Path, inode: int | None = None) -> None:
    """Take away a socket that a former life left, or the one with *inode*; whatever else is there stays."""
    with suppress(FileNotFoundError):
        there = path.lstat()
        if stat.S_ISSOCK(there.st_mode) and inode in {None, there.st_ino}:
            path.unlink()


async def _open(runner: web.AppRunner, path: Path) -> int:
    """Listen at a socket that nobody else may open, from its first moment; returns its inode.

    Raises:
        CannotListen: It is not to be had.
    """
    before = os.umask(_OWNER_ONLY)
    try:
        _clear(path)
        await web.UnixSite(runner, path).start()
        return _inode(path)
    except OSError as error:
        raise CannotListen(f"The admin listener cannot have {path}: {why(error)}.") from None
    finally:
        os.umask(before)


def _inode(path: Path) -> int:
    return path.lstat().st_ino
