"""How does every phone get a fresh token after another key seals?"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol

from gateway.runtime.ports import Clock

AT_ONCE: Final = 100
"""So many phones are given one in one turn of the loop: a token is sealed and a frame made for each."""


class Bearing(Protocol):
    """A connection, as whoever renews its phone's token sees it."""

    def renew(self) -> None:
        """Give the phone a fresh token, now or once it is served."""
        ...


async def renew_all(phones: Collection[Bearing], clock: Clock) -> None:
    """Have each of *phones* given a fresh token; others have their turn in between.

    Who comes meanwhile shows a token that an old key sealed, and gets a fresh one for that.
    """
    for number, phone in enumerate(list(phones), 1):
        phone.renew()
        if number % AT_ONCE == 0:
            await clock.sleep(0)
