"""Readings: values at one instant, as bytes shared by all links."""

from __future__ import annotations

from gateway.simulator.changes import Changes, Kind
from gateway.simulator.contact_center import ContactCenter
from gateway.simulator.elements import render
from gateway.simulator.frames import encode, event


class Reading:
    """Elements read at *time_ms*, each rendered and encoded once, when first wanted.

    Invariant: valid as long as the centre neither changes nor ages; whoever keeps one asks :meth:`holds`.
    """

    def __init__(self, center: ContactCenter) -> None:
        self._center = center
        self._read_ms = center.now_ms
        self._generation = center.generation
        self.time_ms = center.wall_ms
        """In the server's clock."""
        self._pieces: dict[tuple[Kind, int, bool], bytes | None] = {}
        self._frames: dict[tuple[int, Kind, frozenset[int], int | None, bool], bytes] = {}

    def holds(self) -> bool:
        """Tell whether another reading now would be this one."""
        center = self._center
        return (center.generation, center.now_ms, center.wall_ms) == (
            self._generation,
            self._read_ms,
            self.time_ms,
        )

    def piece(self, kind: Kind, key: int, *, own: bool = False) -> bytes | None:
        """Return the element's bytes, or None when it is in no set."""
        at = (kind, key, own)
        if at not in self._pieces:
            element = render(self._center, kind, key, own=own)
            self._pieces[at] = None if element is None else encode(element)
        return self._pieces[at]

    def frame(
        self, query_id: int, kind: Kind, keys: frozenset[int], own: int | None, *, complete: bool
    ) -> bytes:
        """Return an event with the elements of *keys*; links that ask the same get the same bytes.

        In a complete event what is in no set is left out, in a partial one it stands in ``Removed``.
        *own*: the user who sees himself.
        """
        if own not in keys or kind is not Kind.USER:
            own = None
        at = (query_id, kind, keys, own, complete)
        if at not in self._frames:
            self._frames[at] = self._build(query_id, kind, keys, own, complete=complete)
        return self._frames[at]

    def _build(
        self, query_id: int, kind: Kind, keys: frozenset[int], own: int | None, *, complete: bool
    ) -> bytes:
        elements: list[bytes] = []
        removed: list[int] = []
        for key in sorted(keys):
            piece = self.piece(kind, key, own=key == own)
            if piece is not None:
                elements.append(piece)
            else:
                removed.append(key)
        if complete or kind is Kind.CONFIGURATION:
            removed = []
        return event(query_id, kind.value, self.time_ms, elements, removed, complete=complete)


class Publication:
    """One reading of what changed, on its way to many links.

    Links with the same scope share the set of changed keys, and with it the whole frame.
    """

    def __init__(self, reading: Reading, changes: Changes) -> None:
        self._reading = reading
        self._changes = changes
        self._touched: dict[tuple[Kind, frozenset[int], int | None], frozenset[int]] = {}

    def frame(self, query_id: int, kind: Kind, visible: frozenset[int], own: int | None) -> bytes | None:
        """Return the partial event of one query; None when nothing in it changed."""
        at = (kind, visible, own)
        keys = self._touched.get(at)
        if keys is None:
            keys = visible & self._changes.keys[kind]
            if kind is Kind.USER and own in self._changes.own and own in visible:
                keys |= {own}
            self._touched[at] = keys
        return self._reading.frame(query_id, kind, keys, own, complete=False) if keys else None
