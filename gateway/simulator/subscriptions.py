"""Subscriptions of one link.

Its sessions, the union of their scopes, and its queries. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from gateway.simulator.changes import Changes, Kind
from gateway.simulator.errors import Refused
from gateway.simulator.frames import encode, event
from gateway.simulator.model import Json, Scope
from gateway.simulator.reading import Publication, Reading
from gateway.simulator.session import Session

ADMINISTRATION: Final = "Administration"
QUERIES_MOST = 64
"""Queries of one link."""

ONLY_ALL: Final = frozenset({Kind.CONFIGURATION.value, ADMINISTRATION})
"""Event types that are listened to as a whole."""


@dataclass(slots=True)
class Query:
    """One ``ListenForEvents``. *kind* is None for Administration; *keys* is None for "All"."""

    query_id: int
    kind: Kind | None
    keys: frozenset[int] | None
    visible: frozenset[int] = frozenset()
    """What the link has been told is the set."""


class Subscriptions:
    """What one link is attached and listens to.

    Invariant: no key outside the union of the attached sessions' scopes is ever in an event.
    """

    def __init__(self) -> None:
        self.sessions: dict[int, Session] = {}
        """By alias."""
        self.queries: dict[int, Query] = {}
        self.scope = Scope()
        self.own: int | None = None
        """The agent that the user is."""
        self._last_alias = 0
        self._last_query = 0

    def attach(self, session: Session, own: int | None) -> int:
        """Attach a session and return its alias; the scope follows with :meth:`rescope`."""
        self._last_alias += 1
        self.sessions[self._last_alias] = session
        self.own = own
        return self._last_alias

    def session(self, alias: object) -> Session:
        """Return an attached session.

        Raises:
            Refused: ``SessionUnknown``.
        """
        session = self.sessions.get(alias) if isinstance(alias, int) else None
        if session is None:
            raise Refused("SessionUnknown")
        return session

    def listen(self, event_type: str, keys: Iterable[int] | Literal["All"]) -> Query:
        """Start a query.

        Raises:
            Refused: ``BadRequest`` for an unknown event type or keys where only "All" is possible;
                ``Busy`` when the link has 64 queries.
        """
        if event_type != ADMINISTRATION and event_type not in set(Kind):
            raise Refused("BadRequest")
        if event_type in ONLY_ALL and keys != "All":
            raise Refused("BadRequest")
        if len(self.queries) >= QUERIES_MOST:
            raise Refused("Busy")
        self._last_query += 1
        query = Query(
            self._last_query,
            None if event_type == ADMINISTRATION else Kind(event_type),
            None if keys == "All" else frozenset(int(key) for key in keys),
        )
        query.visible = self._visible(query)
        self.queries[query.query_id] = query
        return query

    def stop(self, query_id: int) -> None:
        """End a query.

        Raises:
            Refused: ``NotFound``.
        """
        if self.queries.pop(query_id, None) is None:
            raise Refused("NotFound")

    def whole(self, query: Query, reading: Reading) -> bytes | None:
        """Return the complete event of a query; Administration has none."""
        if query.kind is None:
            return None
        return reading.frame(query.query_id, query.kind, query.visible, self.own, complete=True)

    def changed(self, publication: Publication, changes: Changes) -> list[bytes]:
        """Return the partial events about what changed."""
        kinds = set(changes)
        return [
            frame
            for query in self.queries.values()
            if query.kind is not None
            and query.kind in kinds
            and (frame := publication.frame(query.query_id, query.kind, query.visible, self.own)) is not None
        ]

    def union(self) -> Scope:
        """Return the union of the attached sessions' scopes."""
        scope = Scope()
        for session in self.sessions.values():
            scope |= session.scope
        return scope

    def rescope(self, reading: Reading) -> list[bytes]:
        """Take over the union as it is now; returns a complete event for each query whose set changed.

        While no session is attached nobody may see anything: the sets are emptied without an event.
        """
        self.scope = self.union()
        frames: list[bytes] = []
        for query in self.queries.values():
            visible = self._visible(query)
            if visible == query.visible:
                continue
            query.visible = visible
            if self.sessions and (frame := self.whole(query, reading)) is not None:
                frames.append(frame)
        return frames

    def administration(self, elements: list[Json], time_ms: int) -> list[bytes]:
        """Return an event for each Administration query."""
        if not elements:
            return []
        pieces = [encode(element) for element in elements]
        return [
            event(query.query_id, ADMINISTRATION, time_ms, pieces, [], complete=False)
            for query in self.queries.values()
            if query.kind is None
        ]

    def _visible(self, query: Query) -> frozenset[int]:
        if query.kind is None:
            return frozenset()
        visible = of_kind(self.scope, query.kind)
        return visible if query.keys is None else visible & query.keys


def of_kind(scope: Scope, kind: Kind) -> frozenset[int]:
    """Return the keys that events of *kind* may carry."""
    match kind:
        case Kind.USER | Kind.USER_CUMULATIVE:
            return scope.users
        case Kind.QUEUE | Kind.QUEUE_CUMULATIVE:
            return scope.queues
        case Kind.GROUP:
            return scope.groups
        case Kind.AGGREGATE:
            return scope.aggregates
        case Kind.CONFIGURATION:
            return _configured(scope.users, scope.queues, scope.groups)


@lru_cache(maxsize=1024)
def _configured(users: frozenset[int], queues: frozenset[int], groups: frozenset[int]) -> frozenset[int]:
    return users | queues | groups


def scope_json(scope: Scope) -> Json:
    """Return a scope as the link tells it."""
    return {
        "Users": sorted(scope.users),
        "Queues": sorted(scope.queues),
        "Groups": sorted(scope.groups),
        "Aggregates": sorted(scope.aggregates),
    }


def attached_json(session: Session, alias: int, own: int | None) -> Json:
    """Return what ``AttachSession`` answers."""
    answer: Json = {
        "Session": alias,
        "ID": session.public_id,
        "Application": session.application,
        "Rights": list(session.rights),
        "Scope": scope_json(session.scope),
    }
    if own is not None:
        answer["OwnUserKey"] = own
    return answer
