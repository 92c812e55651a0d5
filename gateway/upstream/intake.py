"""What a link has brought that is not digested yet: of each key only its newest reading.

A link tells states, not increments: an element is whole, so the newest reading of a key says all that
the ones before it said (law 2). Whatever may have another effect is kept whole, and in its order.
"""

from __future__ import annotations

import re
from itertools import count
from typing import Final

_EVENT: Final = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"Type"[ \t\r\n]*:[ \t\r\n]*"Event"').match
_SINGLE_PATTERN: Final = (
    r'\{"Type":"Event","QueryID":(\d{1,15}),"EventType":"(User|Queue|Group|Aggregate)(?:Realtime|Cumulative)",'
    r'"Time":(\d{1,15}),(?:"Complete":false,)?"Elements":\[\{"\2Key":(\d{1,15})(?=[,}])'
)
_SINGLE: Final = re.compile(_SINGLE_PATTERN).match
_SINGLE_BYTES: Final = re.compile(_SINGLE_PATTERN.encode()).match
_EVENT_BYTES: Final = b'{"Type":"Event"'
_LAST: Final = ord("]")
"""How a reading begins, as most are written, of a query, a kind, a time and the key of its first element."""
_MORE: Final = ('"Removed"', '"Complete"', '"Elements"', '"Time"', '"QueryID"', "\\")
"""What may not stand behind it, where elements hold others: then it may say more than one element."""


class Unread:
    """The newest unread readings of one link, in the order of their arrival.

    Invariants: digesting what is kept in its order leads where digesting all that came would; of each
    query and key there is one reading of a single element, unless what came later was read earlier.
    """

    __slots__ = ("_kept", "_numbers", "chars", "skipped")

    def __init__(self) -> None:
        self.chars = 0
        """How long the texts are that are kept."""
        self.skipped = 0
        """How many were replaced by newer ones."""
        self._kept: dict[tuple[str, ...] | int, re.Match[str] | str] = {}
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, text: str) -> bool:
        """Keep *text* if it is a reading; False: it is something else, and nothing is kept of it."""
        head = _SINGLE(text)
        if head is None or not _is_single(text, head):
            if head is None and _EVENT(text) is None:
                return False
            self._kept[next(self._numbers)] = text
            self.chars += len(text)
            return True
        place: tuple[str, ...] = head.group(1, 4)
        before = self._kept.get(place)
        self.chars += len(text)
        if before is None:
            self._kept[place] = head
        elif int(before[3]) <= int(head[3]):
            del self._kept[place]  # the newest stands behind all that came before it
            self._kept[place] = head
            self.chars -= len(before.string)  # type: ignore[union-attr] # under a place stand matches only
            self.skipped += 1
        else:
            self._kept[next(self._numbers)] = (
                text  # it was read earlier, and decides nothing: that is seen later
            )
        return True

    def skim(self, data: bytes, starts: list[int], stops: list[int]) -> list[str] | None:
        """Return which of the readings in *data* have to be read, looking from the newest back.

        Readings of a single element that a later one of its key replaces are passed by unread. None when
        something else than events is among them: then all have to be read, one after the other.
        """
        kept: list[str] = []
        newest: dict[tuple[bytes, ...], int] = {}
        for at in range(len(starts) - 1, -1, -1):
            start, stop = starts[at], stops[at]
            head = _SINGLE_BYTES(data, start, stop)
            if head is None and not data.startswith(_EVENT_BYTES, start):
                return None
            if head is not None and data.find(b"}", head.end(), stop) == stop - 3 and data[stop - 2] == _LAST:
                place: tuple[bytes, ...] = head.group(1, 4)
                time_ms, seen_ms = int(head[3]), newest.get(place)
                if seen_ms is not None and time_ms <= seen_ms:
                    continue
                newest[place] = time_ms
            try:
                kept.append(data[start:stop].decode())
            except UnicodeDecodeError:
                return None
        self.skipped += len(starts) - len(kept)
        kept.reverse()
        return kept

    def take(self) -> list[str]:
        """Return all that is kept, in order, and keep nothing."""
        kept, self._kept, self.chars = self._kept, {}, 0
        return [each if isinstance(each, str) else each.string for each in kept.values()]


def _is_single(text: str, head: re.Match[str]) -> bool:
    """Tell whether a reading that begins with *head* is of one element, and says nothing else."""
    at = head.end()
    if not text.endswith("}]}"):
        return False
    if text.find("}", at) == len(text) - 3:
        return True  # the element holds nothing that ends, and nothing follows it
    return text.find(f'"{head[2]}Key"', at) < 0 and not any(text.find(word, at) >= 0 for word in _MORE)
