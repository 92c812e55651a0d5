"""Who may read a file that holds a secret."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def readable_by_others(path: Path) -> bool:
    """Return whether any user of this machine may read the file at *path*.

    Its group may: who is in it is the operator's choice, and Kubernetes and systemd hand secrets over so. A
    file in a folder that others may not enter is safe whatever its own mode. So is one that is mounted by
    itself, as compose mounts secrets: its mode is that of the host, where its folder guards it. Links are
    followed.
    """
    real = Path(os.path.realpath(path))
    try:
        if not real.stat().st_mode & stat.S_IROTH or real.is_mount():
            return False
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
    except OSError:
        return False  # whoever reads it meets that


def told(name: str, path: Path) -> str:
    """Return the fault of a secret's file at *path*, which *name* names, that others may read."""
    return f"{name}: {path} can be read by every user of this machine: `chmod o-rwx` it."
