"""Does a phone still take anything of what was written for it?"""

from __future__ import annotations

from typing import Final

STALL_S: Final = 10.0
"""No write progress for this long ends a connection."""
LOOK_S: Final = 1.0
"""How often a full socket is looked at for progress."""


class Stall:
    """Watches a full socket, from when it was found full until the kernel has taken all.

    Args:
        unsent_bytes: What waits.
        now: Monotonic seconds.
    """

    __slots__ = ("_is_late", "_progress_at", "_unsent_bytes")

    def __init__(self, unsent_bytes: int, now: float) -> None:
        self._is_late = False
        self._unsent_bytes = unsent_bytes
        self._progress_at = now

    def is_over(self, unsent_bytes: int, now: float) -> bool:
        """Take in what waits now; tells whether that was no less for too long."""
        if unsent_bytes < self._unsent_bytes:
            self._unsent_bytes, self._progress_at = unsent_bytes, now
        return now - self._progress_at >= STALL_S

    def was_due_first(self) -> bool:
        """Take in that something is due while it is full; tells whether that is so for the first time."""
        is_first, self._is_late = not self._is_late, True
        return is_first
