"""Secrets, names of keys and channels, lifetimes, refusals, and ``bus_down``: what all of the bus shares."""

from __future__ import annotations

import hmac
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.core.lease import TTL_S
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import UserId
from gateway.protocol.envelopes import Channel, Control, Events, Inbox
from gateway.runtime.ports import ENTRY_REFUSALS, NODE_TTL_S, WRITE_REFUSALS, Clock

REFUSAL_S: Final = 6.0
"""How long a refusal counts at least: each is repeated sooner, by the next connection or trial."""
CONTROL: Final = b"og:ctl"
LIVES: Final = b"og:life"
"""The channel on which nodes prove that they run."""
UNEXPECTED: Final = "it answered something else"
TRIAL: Final = b"og:trial"
TRIAL_WRITE: Final = ("SET", TRIAL, b"1", "PX", 1_000)
"""The command that shows whether the server accepts writes: it is refused when any write is."""
NODES: Final = b"og:node:*"
"""The pattern of what :meth:`KeyNames.node` returns."""
LOG_OFFS: Final = b"og:{off}"
"""The index of all unconfirmed log-offs."""
LOG_OFF: Final = b"og:{off}:"
_KEY_BYTES: Final = 32
_LABEL: Final = b"bus names"
_HASH_CHARS: Final = 32
"""128 bits: without the key no user can be found for a name, and no two users share one."""
_USERS_MAX: Final = 100_000


class UserKeys(NamedTuple):
    """Names of what one user has in Redis: lease, fence floor, and the channel of changes."""

    own: bytes
    tok: bytes
    events: bytes


class KeyNames:
    """Names of keys and channels in Redis: users, sessions and throttled names appear as HMACs.

    The key of the HMACs is derived from the pseudonym key and like it never rotates: all nodes of all
    versions use the same names. The braces in names are hash tags, so that a cluster's slots could be chosen
    by them without renaming anything. Pure; caches the names of the last users.

    Args:
        pseudonym_key: 32 secret bytes, the same on all nodes.

    Raises:
        ValueError: It has another length.
    """

    def __init__(self, pseudonym_key: bytes) -> None:
        if len(pseudonym_key) != _KEY_BYTES:
            raise ValueError("a pseudonym key has 32 bytes")
        self._key = HKDF(SHA256(), _KEY_BYTES, salt=None, info=_LABEL).derive(pseudonym_key)
        self._users: dict[UserId, UserKeys] = {}

    def user(self, user: UserId) -> UserKeys:
        """Return the names of what *user* has."""
        known = self._users.get(user)
        if known is None:
            stem = f"og:{{u:{user.site}:{self._hash('user', f'{user.site}:{user.key}')}}}:".encode()
            known = UserKeys(stem + b"own", stem + b"tok", stem + b"ev")
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
        """Return the key of the record of the node that holds leases as *holder*."""
        return f"og:node:{holder}".encode()

    def pseudonym(self, text: str) -> str:
        """Return the keyed hash that stands for a user or a session where only its end is remembered."""
        return self._hash("deny", text)

    def denied(self, handle: str) -> bytes:
        """Return the key of the reason why the session *handle* ended."""
        return self.denied_by(self.pseudonym(handle))

    def denied_by(self, pseudonym: str) -> bytes:
        """Return the same key for the pseudonym of the session's handle."""
        return f"og:deny:{pseudonym}".encode()

    def throttled(self, name: str) -> bytes:
        """Return the key of the counter of *name*."""
        return f"og:thr:{self._hash('thr', name)}".encode()

    def log_off(self, handle: str) -> tuple[bytes, bytes]:
        """Return the index entry and the key of the unconfirmed log-off of the session *handle*."""
        member = self._hash("off", handle).encode()
        return member, self.listed_log_off(member)

    def listed_log_off(self, member: bytes) -> bytes:
        """Return the key of the log-off with the index entry *member*."""
        return LOG_OFF + member

    def __repr__(self) -> str:
        return f"KeyNames({len(self._users)} users)"

    def _hash(self, kind: str, text: str) -> str:
        return hmac.digest(self._key, f"{kind}:{text}".encode(), "sha256").hex()[:_HASH_CHARS]


class BusKeys(NamedTuple):
    """The cluster's secrets that the bus needs, 32 bytes each.

    *sealing*: (id, secret) of each key: the first seals, all open.
    """

    sealing: Sequence[tuple[str, bytes]]
    pseudonym: bytes

    def __repr__(self) -> str:
        return "BusKeys(…)"


class Lifetimes(NamedTuple):
    """How many seconds things last.

    Attributes:
        lease_s: A lease that is not renewed.
        node_s: A node's record that is not renewed.
        refusal_s: A refusal of the server, at least.
        trial_s: From one trial write to the next; less than *refusal_s*.
    """

    lease_s: float = TTL_S
    node_s: float = NODE_TTL_S
    refusal_s: float = REFUSAL_S
    trial_s: float = 3.0


class Refusals:
    """The first words of the server's refusals that are in force, as ``OOM``.

    Invariant: a word is in force for *lasts_s* after the last refusal with it, and beyond that until the
    server accepts a write or is unreachable. Bounded: unknown words are ignored.

    Args:
        clock: The only time.
        lasts_s: How long a refusal counts at least.
    """

    def __init__(self, clock: Clock, lasts_s: float = REFUSAL_S) -> None:
        self._clock = clock
        self._lasts_s = lasts_s
        self._said_at: dict[str, float] = {}
        self._cleared_at = -math.inf

    def add(self, word: str) -> None:
        """Record that the server refused something with *word*."""
        if word in ENTRY_REFUSALS or word in WRITE_REFUSALS:
            self._said_at[word] = self._clock.now()

    def clear(self) -> None:
        """Record that the server accepted a write, or is unreachable and refuses nothing."""
        self._cleared_at = self._clock.now()

    @property
    def present(self) -> frozenset[str]:
        """The words that are in force."""
        since = min(self._cleared_at, self._clock.now() - self._lasts_s)
        return frozenset(word for word, at in self._said_at.items() if at > since)


def bus_down(why: str) -> GatewayError:
    """Return the error of everything that got no answer from Redis."""
    return GatewayError(ErrorCode.BUS_DOWN, f"the bus gave no answer: {why}")
