"""What is everything called in Redis, so that the names tell nothing of anybody?

Users, sessions and throttled names appear as HMACs under a key of the bus's own, which is derived from
the pseudonym key and like it never rotates: all nodes of all versions find the same places. The
braces are hash tags: one day a cluster's slots may be chosen by them without renaming anything.
"""

from __future__ import annotations

import hmac
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.domain.model import UserId
from gateway.protocol.envelopes import Channel, Control, Events, Inbox

CONTROL: Final = b"og:ctl"
LIVES: Final = b"og:life"
"""The channel on which nodes prove to each other that they live."""
TRIAL: Final = b"og:trial"
TRIAL_WRITE: Final = ("SET", TRIAL, b"1", "PX", 1_000)
"""The command that is tried now and then to see whether the server takes writes: refused when any is."""
NODES: Final = b"og:node:*"
"""The pattern of what :meth:`Names.node` returns."""
LOG_OFFS: Final = b"og:{off}"
"""The index of all log-offs that are not confirmed."""
LOG_OFF: Final = b"og:{off}:"
_KEY_BYTES: Final = 32
_LABEL: Final = b"bus names"
_HASH_CHARS: Final = 32
"""128 bits: nobody finds two users of one name, and no user of a name without the key."""
_USERS_MAX: Final = 100_000


class UserNames(NamedTuple):
    """Where one user's things are: lease, fence floor, and the channel of what changes."""

    own: bytes
    tok: bytes
    events: bytes


class Names:
    """Maps what the gateway calls things to what Redis calls them. Pure; remembers the users last named.

    Args:
        pseudonym_key: 32 secret bytes, the same on all nodes for ever.

    Raises:
        ValueError: It has another length.
    """

    def __init__(self, pseudonym_key: bytes) -> None:
        if len(pseudonym_key) != _KEY_BYTES:
            raise ValueError("a pseudonym key has 32 bytes")
        self._key = HKDF(SHA256(), _KEY_BYTES, salt=None, info=_LABEL).derive(pseudonym_key)
        self._users: dict[UserId, UserNames] = {}

    def user(self, user: UserId) -> UserNames:
        """Return the names of *user*'s things."""
        known = self._users.get(user)
        if known is None:
            stem = f"og:{{u:{user.site}:{self._hash('user', f'{user.site}:{user.key}')}}}:".encode()
            known = UserNames(stem + b"own", stem + b"tok", stem + b"ev")
            if len(self._users) >= _USERS_MAX:
                self._users.clear()
            self._users[user] = known
        return known

    def channel(self, channel: Channel) -> bytes:
        """Return the name of *channel*."""
        match channel:
            case Events(user):
                return self.user(user).events
            case Inbox(node):
                return f"og:n:{node}:in".encode()
            case Control():
                return CONTROL

    def node(self, holder: str) -> bytes:
        """Return where the node that holds leases as *holder* says what it does."""
        return f"og:node:{holder}".encode()

    def denied(self, handle: str) -> bytes:
        """Return where it is noted that the session *handle* ended."""
        return f"og:deny:{self._hash('deny', handle)}".encode()

    def throttled(self, name: str) -> bytes:
        """Return where *name* is counted."""
        return f"og:thr:{self._hash('thr', name)}".encode()

    def log_off(self, handle: str) -> tuple[bytes, bytes]:
        """Return as what the unconfirmed log-off of the session *handle* is listed, and where it stands."""
        member = self._hash("off", handle).encode()
        return member, self.listed_log_off(member)

    def listed_log_off(self, member: bytes) -> bytes:
        """Return where the log-off stands that is listed as *member*."""
        return LOG_OFF + member

    def __repr__(self) -> str:
        return f"Names({len(self._users)} users)"

    def _hash(self, kind: str, text: str) -> str:
        return hmac.digest(self._key, f"{kind}:{text}".encode(), "sha256").hex()[:_HASH_CHARS]
