"""Numbers for what Asterisk knows by names, and the interfaces of remote agents."""

from __future__ import annotations

import hashlib
from functools import lru_cache


@lru_cache(maxsize=65_536)
def number_of(kind: str, name: str) -> int:
    """Return the number of a thing: 48 bits of BLAKE2s over kind and name, the same on every node."""
    digest = hashlib.blake2s(f"{kind}\0{name}".encode(), digest_size=6, person=b"asterisk").digest()
    return int.from_bytes(digest) or 1


def remote_interface(login: str, context: str) -> str:
    """Return the interface of a remote agent: the same, whatever the number is."""
    return f"Local/{login}@{context}/n"
