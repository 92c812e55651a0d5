"""Agenda: scheduled events in order of time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

Happening = Callable[[int], None]
"""Is told the instant at which it was due."""


class Agenda:
    """Happenings in the order of their instants, equal ones as they were planned.

    An outdated happening is not looked for: it finds out by itself that it has nothing to do.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Happening]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        """Count what is planned."""
        return len(self._heap)

    @property
    def next_ms(self) -> int | None:
        """When the next happening is due."""
        return self._heap[0][0] if self._heap else None

    def plan(self, due_ms: int, happening: Happening) -> None:
        """Let *happening* take place at *due_ms*."""
        heapq.heappush(self._heap, (due_ms, next(self._order), happening))

    def happen(self) -> int:
        """Let the next one take place; returns its instant."""
        due_ms, _, happening = heapq.heappop(self._heap)
        happening(due_ms)
        return due_ms

    def shift(self, by_ms: int) -> None:
        """Put everything off by the same time."""
        self._heap = [(due_ms + by_ms, order, happening) for due_ms, order, happening in self._heap]
