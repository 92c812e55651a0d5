"""Map a session's scope and rights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.domain.model import Right, Scope
from gateway.upstream.readings import Readings
from gateway.upstream.wire_names import RIGHTS, Element

_NO_KEYS: Final = msgspec.Raw(b"[]")


class Scoped(Element):
    """The objects that a session may see: lists of Keys, which are the same for many sessions."""

    users: msgspec.Raw = _NO_KEYS
    queues: msgspec.Raw = _NO_KEYS
    groups: msgspec.Raw = _NO_KEYS
    aggregates: msgspec.Raw = _NO_KEYS


def scope(told: Scoped, pool: Readings) -> Scope:
    """Map a scope.

    Raises:
        Exception: Whatever msgspec raises on what is no list of Keys.
    """
    return Scope(*(pool.keys(bytes(raw)) for raw in (told.users, told.queues, told.groups, told.aggregates)))


def rights(told: Iterable[object]) -> frozenset[Right]:
    """Map rights; what is no right that is known gives none."""
    return frozenset(RIGHTS[name] for name in told if isinstance(name, str) and name in RIGHTS)
