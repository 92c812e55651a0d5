"""Denylist: ended sessions whose tokens are refused.

A fast path only: OSCC-E accepts or refuses each session when it is attached.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from gateway.domain.errors import EndReason
from gateway.domain.model import UserId

_ENTRIES_MAX: Final = 10_000


class End(NamedTuple):
    """How a session ended."""

    reason: EndReason
    by: str | None


class _Entry(NamedTuple):
    user: UserId
    end: End
    since_ms: int
    until_ms: int


class Denylist:
    """Ended sessions by their handle, each until its token expires.

    Bounded: when full, the entry that was added first is forgotten.
    """

    def __init__(self, *, entries_max: int = _ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def add(self, user: UserId, handle: str, end: End, *, since_ms: int, until_ms: int) -> None:
        """Refuse the session until *until_ms*. What was said first of a session stands."""
        if handle not in self._entries:
            self._entries[handle] = _Entry(user, end, since_ms, until_ms)
        while len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)

    def get(self, handle: str, wall_ms: int) -> End | None:
        """Return how the session ended, or None when nothing is known of an end."""
        entry = self._entries.get(handle)
        if entry is None:
            return None
        if wall_ms >= entry.until_ms:
            del self._entries[handle]
            return None
        return entry.end

    def clear(self, user: UserId, before_ms: int, *, new: str) -> tuple[str, ...]:
        """Forget what was said of the user's sessions before *before_ms*, when a new log-on began.

        What that log-on itself ended, by a take-over, stays; and so does each session that was logged off:
        OSCC-E may not have been told of that yet. Of the session *new* everything is forgotten.

        Returns:
            The handles of the sessions that are not refused now.
        """
        over = [
            handle
            for handle, entry in self._entries.items()
            if entry.user == user
            and entry.since_ms < before_ms
            and (entry.end.reason is not EndReason.LOGGED_OFF or handle == new)
        ]
        for handle in over:
            del self._entries[handle]
        return tuple(over)

    @property
    def users(self) -> frozenset[UserId]:
        """Of whom something is known."""
        return frozenset(entry.user for entry in self._entries.values())

    def of(self, user: UserId) -> tuple[tuple[str, End], ...]:
        """Return the user's ended sessions, by handle, with how each ended."""
        return tuple((handle, entry.end) for handle, entry in self._entries.items() if entry.user == user)

    def __len__(self) -> int:
        return len(self._entries)
