"""Which keys may one session see, and under which names?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from gateway.domain.model import ALWAYS, KIND_OF_TOPIC, ME, Kind, Right, Scope, key_of, parse_key

FACTS_PREFIX = "session:"
ME_PREFIX = "me:"


def facts_key(handle: str) -> str:
    """Return the ledger's key of a session's facts; no phone ever sees it."""
    return FACTS_PREFIX + handle


def me_key(handle: str) -> str:
    """Return the ledger's key of `me` as one session sees it."""
    return ME_PREFIX + handle


@dataclass(frozen=True, slots=True)
class View:
    """What one session sees: the ledger's keys in *keys*, and nothing else ever.

    *mark* is a short hash of session, scope, topics and rights: the part of a stream's name that
    changes when what the session sees or may do does.
    """

    keys: frozenset[str]
    mark: str
    granted: tuple[str, ...]
    refused: tuple[str, ...]

    @staticmethod
    def wire_key(key: str) -> str:
        """Return the name under which a phone sees the ledger's *key*."""
        return ME if key.startswith(ME_PREFIX) else key


def view_of(handle: str, scope: Scope, topics: tuple[str, ...], rights: tuple[Right, ...] = ()) -> View:
    """Return the view of a session with *scope* and *rights* that follows *topics*.

    A topic is a kind (``agents``) or a single key (``queue:5``). Single keys out of scope and
    unknown topics are refused alike, so that a refusal tells nothing.
    """
    keys = set(ALWAYS) | {me_key(handle)}
    granted: list[str] = []
    refused: list[str] = []
    for topic in dict.fromkeys(topics):
        found = _keys_of(topic, scope)
        if found is None:
            refused.append(topic)
        else:
            granted.append(topic)
            keys |= found
    return View(frozenset(keys), _mark(handle, scope, granted, rights), tuple(granted), tuple(refused))


def _keys_of(topic: str, scope: Scope) -> set[str] | None:
    kind = KIND_OF_TOPIC.get(topic)
    if kind is not None:
        return {key_of(kind, number) for number in scope.of(kind)}
    if topic == ME or topic in ALWAYS:
        return set()
    parsed = parse_key(topic)
    if parsed is None or parsed[1] not in scope.of(parsed[0]):
        return None
    return {topic}


def _mark(handle: str, scope: Scope, granted: list[str], rights: tuple[Right, ...]) -> str:
    digest = hashlib.blake2s(handle.encode(), digest_size=6, person=b"view")
    for kind in Kind:
        digest.update(f"|{kind}:{sorted(scope.of(kind))}".encode())
    digest.update(f"|{sorted(granted)}|{sorted(rights)}".encode())
    return digest.hexdigest()
