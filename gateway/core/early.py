"""Readings of a query that came before its response.

A server answers a question for events before the first event. One that does not loses nothing.
"""

from __future__ import annotations

from typing import Final

from gateway.domain.commands import Listen
from gateway.domain.upstream import Reading

MOST: Final = 32
"""So many readings are kept, the newest: a link has eight queries or so."""


class Early:
    """The newest readings of unknown queries, while an answer is expected that may name their query."""

    def __init__(self) -> None:
        self._is_expecting = False
        self._kept: list[Reading] = []

    @property
    def is_expecting(self) -> bool:
        """Whether some question for events is not answered yet."""
        return self._is_expecting

    def expect(self, is_expecting: bool) -> None:
        """Record whether some question for events is not answered yet."""
        self._is_expecting = is_expecting
        if not is_expecting:
            self._kept.clear()

    def keep(self, reading: Reading) -> None:
        """Keep the reading of an unknown query."""
        self._kept.append(reading)
        del self._kept[:-MOST]

    def take(self, query: int, listen: Listen) -> list[Reading]:
        """Return what was read of *query*, which is now known to cover what *listen* asks for."""
        about = (query, listen.kind, listen.source)
        return [each for each in self._kept if (each.query, each.kind, each.source) == about]
