"""The small Asterisk of the tests: that of the simulator, which shares no code with the adapter."""

from __future__ import annotations

import base64
import hashlib

from gateway.simulator.ami import FakeAsterisk, Membership, Queue
from gateway.simulator.ami_session import Account

__all__ = ["Account", "FakeAsterisk", "Membership", "Queue", "quick_hash"]


def quick_hash(password: str) -> str:
    """Return a line of the people file that is cheap to check: scrypt with a small N."""
    key = hashlib.scrypt(password.encode(), salt=bytes(16), n=1024, r=1, p=1, dklen=32)
    return f"scrypt$1024$1$1${base64.b64encode(bytes(16)).decode()}${base64.b64encode(key).decode()}"
