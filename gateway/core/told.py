"""Values that links sent of a resource, as one object for equal links.

Three hundred links send the same change of the same resource. The first computes its effect and stores it
with the state before it; the others reuse it.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.core.element import Element
from gateway.domain.model import Kind, key_of
from gateway.domain.upstream import Part, Reading, Source

Address = tuple[Kind, int]
_Pieces = tuple[Part | None, Part | None, Part | None, Part | None]

_NOTHING: Final[_Pieces] = (None, None, None, None)
_PLACE: Final[dict[Source, int]] = {source: place for place, source in enumerate(Source)}
_DIRECTORY, _REALTIME, _CONFIGURATION = (
    _PLACE[source] for source in (Source.DIRECTORY, Source.REALTIME, Source.CONFIGURATION)
)
NEWS_PARTS_MOST: Final = 10_000
"""Parts of readings whose news are kept: each reaches all links before so many others come."""
PASTS_MOST: Final = 4
"""Pasts that are kept of one reading: links that came lately differ from the others for a while."""
STEPS_S: Final = 30.0
"""How long the first steps of a link are kept at least, for the next one."""
FIRST_STEPS_MOST: Final = 8_192
"""A new link tells of an object in some four steps, which are kept for the next: of 1,600 objects 6,400."""


class Told:
    """The newest parts of one resource.

    Invariants: it never changes, so every link may hold the same; of one table equal ones are the
    same object for as long as anybody holds it. What is kept beside the parts are shortcuts: what
    the last part that was met leads to, and the element that was last made of it.
    """

    __slots__ = (
        "__weakref__",
        "_pieces",
        "_table",
        "_then",
        "_then_part",
        "address",
        "before",
        "element",
        "is_plain",
        "key",
        "left_at_ms",
        "offset_ms",
    )

    def __init__(
        self, table: Tellings, address: Address, key: str, pieces: _Pieces, left_at_ms: int | None
    ) -> None:
        self.address = address
        self.key = key
        self.left_at_ms = left_at_ms
        """When the realtime part was last seen to be there no more; None: it is there, or never was."""
        self.is_plain = pieces[_DIRECTORY] is not None and pieces[_REALTIME] is not None
        """Whether it is known in the directory and told of in realtime: then its parts say all."""
        self._table = table
        self._pieces = pieces
        self._then_part: Part | None = None
        self._then: Callable[[], Told | None] = _nowhere
        self.before: Element | None = None
        self.offset_ms = 0
        self.element: Element | None = None
        """What it last made, after :attr:`before` under :attr:`offset_ms`; the composer's."""

    def part(self, source: Source) -> Part | None:
        """Return the newest part of one source."""
        return self._pieces[_PLACE[source]]

    def after(self, part: Part) -> Told:
        """Return what is told once *part* is; the same when *part* is held already.

        What it leads to is not held by it: the last link to move on would keep all that came since alive.
        """
        if self._then_part is part:
            then = self._then()
            if then is not None:
                return then
        then = self.with_part(part.source, part)
        self._then_part, self._then = part, weakref.ref(then)
        return then

    def with_part(self, source: Source, part: Part | None, left_at_ms: int | None = None) -> Told:
        """Return the same with another part of one source, or without.

        Args:
            source: Whose part it is.
            part: The part; None for none.
            left_at_ms: When a realtime part that is no more left.
        """
        one, two, three, four = self._pieces
        match source:
            case Source.DIRECTORY:
                pieces = (part, two, three, four)
            case Source.REALTIME:
                pieces = (one, part, three, four)
            case Source.CUMULATIVE:
                pieces = (one, two, part, four)
            case _:
                pieces = (one, two, three, part)
        left = left_at_ms if source is Source.REALTIME else self.left_at_ms
        return self._table.told(self.address, self.key, pieces, left)


class News:
    """What one reading has changed, worked out once for all links that had been told the same before.

    Invariant: it never changes, but for the elements that it last made; those are the composer's.

    Args:
        before: What was told of the resources of the reading's parts, in their order.
        after: What is told of them now, by number, in the same order.
        time_ms: When they were read.
    """

    __slots__ = (
        "after",
        "before",
        "befores",
        "changed",
        "elements",
        "is_plain",
        "keys",
        "numbers",
        "offset_ms",
        "order",
        "read_ms",
    )

    def __init__(self, before: list[Told | None], after: dict[int, Told], time_ms: int) -> None:
        self.before = before
        self.after = after
        self.order = list(after)
        """The numbers of the reading's parts."""
        self.read_ms = dict.fromkeys(after, time_ms)
        self.changed = tuple(now for was, now in zip(before, after.values(), strict=True) if now is not was)
        self.numbers = frozenset(told.address[1] for told in self.changed)
        self.keys = [told.key for told in self.changed]
        self.is_plain = all(told.is_plain for told in self.changed)
        self.befores: list[Element | None] | None = None
        self.offset_ms = 0
        self.elements: list[Element] = []


def _nowhere() -> None:
    """Say that nothing has been met yet."""


class Tellings:
    """All that is told on a node's links, each once.

    What no link tells any more is gone, but for the first steps: each new link takes them again.
    """

    def __init__(self) -> None:
        self._told: weakref.WeakValueDictionary[tuple[Address, _Pieces, int | None], Told] = (
            weakref.WeakValueDictionary()
        )
        self._first_steps: deque[Told] = deque(maxlen=FIRST_STEPS_MOST)
        self._news: dict[tuple[tuple[Part, ...], int], list[News]] = {}
        self._news_parts = 0
        self._old_news: tuple[tuple[tuple[Part, ...], int], ...] = ()
        """Those that were there at the last turn."""
        self._old_steps = 0
        self._turned_at = -math.inf
        self.late = 0
        """How many elements were older than what was known already, and ignored."""

    def __len__(self) -> int:
        return len(self._told)

    def turn(self, now: float) -> None:
        """Forget what is too old; called by time, lest the last news stay when nothing comes.

        News that were there at the last turn go: a reading reaches all links sooner. First steps go between
        one and two times :data:`STEPS_S` after they were taken.
        """
        for at in self._old_news:
            if self._news.pop(at, None) is not None:
                self._news_parts -= len(at[0])
        self._old_news = tuple(self._news)
        if now - self._turned_at >= STEPS_S:
            self._turned_at = now
            for _ in range(min(self._old_steps, len(self._first_steps))):
                self._first_steps.popleft()
            self._old_steps = len(self._first_steps)

    def nothing(self, address: Address) -> Told:
        """Return that nothing is told of a resource."""
        return self.told(address, key_of(*address), _NOTHING, None)

    def told(self, address: Address, key: str, pieces: _Pieces, left_at_ms: int | None) -> Told:
        """Return the one object for *pieces* of the resource at *address*, called *key*."""
        place = (address, pieces, left_at_ms)
        found = self._told.get(place)
        if found is None:
            found = self._told[place] = Told(self, address, key, pieces, left_at_ms)
            if None in (pieces[_DIRECTORY], pieces[_REALTIME], pieces[_CONFIGURATION]):
                self._first_steps.append(found)
        return found

    def news(self, reading: Reading) -> list[News]:
        """Return what *reading* was seen to change, after each past that a link had; more is added to it."""
        at = (reading.parts, reading.time_ms)
        news = self._news.get(at)
        if news is None:
            news = self._news[at] = []
            self._news_parts += len(reading.parts)
            while self._news_parts > NEWS_PARTS_MOST and len(self._news) > 1:
                oldest = next(iter(self._news))
                del self._news[oldest]
                self._news_parts -= len(oldest[0])
        return news
