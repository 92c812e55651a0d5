"""Which notices is a phone still to be shown, and when?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Final, Protocol

from gateway.edge.notices import Edition, Notices
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.ports import Clock

AT_ONCE: Final = 100
"""So many phones are shown something in one turn of the loop."""


class Unread:
    """What one phone has been shown.

    Invariant: a notice is given again only in another version, or when log-ons come to depend on
    it. It costs a reference to what all phones were shown last.

    Args:
        notices: Those in force.
        languages: The phone's, best first.
    """

    __slots__ = ("_languages", "_notices", "_shown")

    def __init__(self, notices: Notices, languages: Sequence[str]) -> None:
        self._notices = notices
        self._languages = languages
        self._shown: Edition = {}

    def take(self, acknowledged: Collection[tuple[str, int]], wall_ms: int) -> list[NoticeFrame]:
        """Return what is new to a session that has *acknowledged* some, as (id, version)."""
        edition, shown = self._notices.edition(wall_ms), self._shown
        if edition is shown:
            return []
        self._shown = edition
        return [
            NoticeFrame(**asdict(notice.view(self._languages)))
            for stamp, notice in edition.items()
            if stamp not in shown and (stamp.id, stamp.version) not in acknowledged
        ]


class Reader(Protocol):
    """A connection, as whoever has news for its phone sees it."""

    def notify(self) -> None:
        """Show the phone what is new to it; does nothing before it is served."""
        ...


class Crier:
    """Tells all phones when there is news: others were put in force, or one has come to bind.

    Args:
        notices: Those in force.
        phones: All that are connected.
        clock: Tells which bind.
    """

    def __init__(self, notices: Notices, phones: Collection[Reader], clock: Clock) -> None:
        self._notices = notices
        self._phones = phones
        self._clock = clock
        self._cried: Edition = {}

    async def cry(self) -> None:
        """Tell them, if there is something to tell; others have their turn in between."""
        edition = self._notices.edition(self._clock.wall_ms())
        if edition is self._cried:
            return
        self._cried = edition
        for number, phone in enumerate(list(self._phones), 1):
            phone.notify()
            if number % AT_ONCE == 0:
                await self._clock.sleep(0)
