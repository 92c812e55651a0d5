"""Which connections ended lately, and why? In memory only, people as keyed hashes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import nlargest
from operator import attrgetter
from typing import Final

from gateway.app.log_fields import Pseudonyms, Shape, fields
from gateway.domain.model import NodeId
from gateway.edge.witness import Life
from gateway.protocol.envelopes import Order, Record
from gateway.runtime.orders import Page

KEPT: Final = 10_000
"""The last so many; beyond it the oldest is forgotten."""
KEPT_MS: Final = 86_400_000
"""So long; what is older is forgotten when one ends or somebody asks."""
NAMES: Final = (
    "initiator",
    "close_code",
    "close_reason",
    "user",
    "application",
    "codec",
    "address",
    "lasted_s",
    "frames_in",
    "frames_out",
    "bytes_out",
    "conflated",
    "commands",
)
"""What the log's line of a session says, in this order."""

_VALUES: Final = attrgetter(*NAMES)
_Kept = tuple[int, int, tuple[object, ...]]
"""When, its number, and the values of :data:`NAMES`."""


class Closes:
    """The last connections of this node that ended.

    Invariant: a value is kept in the shape in which it may be logged, or not at all.

    Args:
        node: This node.
        pseudonyms: Names users.
        wall_ms: Tells the time.
        kept: How many are kept.
    """

    def __init__(
        self, node: NodeId, pseudonyms: Pseudonyms, wall_ms: Callable[[], int], *, kept: int = KEPT
    ) -> None:
        self._node = node
        self._wall_ms = wall_ms
        shapes = fields(pseudonyms)
        self._shapes: tuple[Shape, ...] = tuple(shapes[name] for name in NAMES)
        self._ring: deque[_Kept] = deque(maxlen=kept)
        self._number = 0

    def __len__(self) -> int:
        return len(self._young())

    def note(self, life: Life) -> None:
        """Keep what is left of a connection."""
        self._number += 1
        values = tuple(shape(value) for shape, value in zip(self._shapes, _VALUES(life), strict=True))
        self._young().append((self._wall_ms(), self._number, values))

    async def closes(self, order: Order) -> Page:
        """Return a page, the newest first: what came before the one called ``order.after``."""
        chosen = nlargest(order.most + 1, self._before(order.after), key=lambda kept: kept[:2])
        records = tuple(self._record(kept) for kept in chosen[: order.most])
        return Page(records, more=len(chosen) > order.most)

    def last(self, most: int) -> list[Record]:
        """Return the last so many, the newest first."""
        return [self._record(kept) for _, kept in zip(range(most), reversed(self._young()), strict=False)]

    def of(self, user: str) -> list[Record]:
        """Return those of a user, by keyed hash."""
        at = NAMES.index("user")
        return [self._record(kept) for kept in self._young() if kept[2][at] == user]

    def _young(self) -> deque[_Kept]:
        """Let go of what is too old; returns the others."""
        begins_ms = self._wall_ms() - KEPT_MS
        while self._ring and self._ring[0][0] < begins_ms:
            self._ring.popleft()
        return self._ring

    def _before(self, last: str) -> Iterator[_Kept]:
        return (kept for kept in self._young() if not last or self._id(kept) < last)

    def _id(self, kept: _Kept) -> str:
        """Return its name: of two of the whole gateway the later one's is greater."""
        return f"{kept[0]:015d}.{kept[1]:010d}.{self._node}"

    def _record(self, kept: _Kept) -> Record:
        values = dict(zip(NAMES, kept[2], strict=True))
        values["close_reason"] = values["close_reason"] or ""
        return {"id": self._id(kept), "node": self._node, "at_ms": kept[0], **values}
