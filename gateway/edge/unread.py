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


def unread(
    edition: Edition, shown: Edition, acknowledged: Collection[tuple[str, int]], languages: Sequence[str]
) -> list[NoticeFrame]:
    """Return which notices of *edition* are new to a phone.

    One is shown again only in another version, or when log-ons have come to depend on it.

    Args:
        edition: What phones are to be shown now.
        shown: What this one was shown last.
        acknowledged: What its session has acknowledged, as (id, version).
        languages: The phone's, best first.
    """
    return [
        NoticeFrame(**asdict(notice.view(languages)))
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
