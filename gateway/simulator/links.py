"""Links of the simulated server: their queries, and the order of messages on each.

It has no sockets. Everything here happens synchronously, so that no event comes between a decision and its
messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, Protocol

from gateway.simulator.contact_center import ContactCenter
from gateway.simulator.elements import Publication, Reading, Shape, encode, event, message
from gateway.simulator.fields import Refused
from gateway.simulator.model import Changes, Json, Kind, Scope
from gateway.simulator.sessions import Accounts, Ended, Session, Sessions
from gateway.simulator.settings import KEEP_ALIVE_S, SimulatorSettings


@dataclass(slots=True)
class Line:
    """Records of one user's links."""

    user_name: str
    token: int | None = None
    """The highest token so far; None when there was none (or none is needed)."""
    holder: str | None = None
    present: str | None = None
    """The link that is open and not replaced."""
    opens: int = 0
    replacements: int = 0
    refusals: int = 0
    closed_ms: int | None = None
    longest_gap_ms: int = 0
    """The longest time without a link between two of them."""


class Links:
    """The fence of all users' links.

    Invariant: the highest token of a user only grows while one of their sessions lives, and at most one of
    their links is present.
    """

    def __init__(self, *, fencing: bool = True) -> None:
        self.fencing = fencing
        self._lines: dict[int, Line] = {}

    def admit(
        self, user_key: int, user_name: str, link_id: str, token: int | None, holder: str | None, now_ms: int
    ) -> str | None:
        """Make *link_id* the user's link from now on; return the link that it replaces.

        Raises:
            Refused: ``BadRequest`` without token or holder, ``LinkStale`` with the highest token.
        """
        line = self._lines.setdefault(user_key, Line(user_name))
        if self.fencing:
            self._fence(line, token, holder)
        replaced, line.present = line.present, link_id
        line.opens += 1
        line.replacements += replaced is not None
        if line.closed_ms is not None and replaced is None:
            line.longest_gap_ms = max(line.longest_gap_ms, now_ms - line.closed_ms)
        line.closed_ms = None
        return replaced

    def open_elsewhere(self, user_key: int, token: int | None = None) -> tuple[int, str | None]:
        """Act as if another holder had opened a link; return its token and the link that it replaced."""
        line = self._lines.setdefault(user_key, Line(str(user_key)))
        line.token = token if token is not None else (line.token or 0) + 1
        line.holder = "another holder"
        replaced, line.present = line.present, None
        line.replacements += replaced is not None
        return line.token, replaced

    def present(self, user_key: int) -> str | None:
        """Return the user's link."""
        line = self._lines.get(user_key)
        return None if line is None else line.present

    def closed(self, user_key: int, link_id: str, now_ms: int) -> None:
        """Record that the link is gone; a replaced one was counted before."""
        line = self._lines.get(user_key)
        if line is not None and link_id == line.present:
            line.present, line.closed_ms = None, now_ms

    def forget_token(self, user_key: int) -> None:
        """Remove the user's highest token after their last session. The counts stay."""
        line = self._lines.get(user_key)
        if line is not None:
            line.token = line.holder = line.closed_ms = None

    def restart(self) -> None:
        """Remove every link and token. The counts stay."""
        for line in self._lines.values():
            line.token = line.holder = line.present = line.closed_ms = None

    def counts(self) -> dict[str, Line]:
        """Return the counts, by user name."""
        return {line.user_name: line for line in self._lines.values()}

    def _fence(self, line: Line, token: int | None, holder: str | None) -> None:
        if token is None or not holder:
            raise Refused("BadRequest")
        if line.token is not None and (token < line.token or (token == line.token and holder != line.holder)):
            line.refusals += 1
            raise Refused("LinkStale", Token=line.token)
        line.token, line.holder = token, holder


ADMINISTRATION: Final = "Administration"
QUERIES_MOST = 64
"""Queries of one link."""

ONLY_ALL: Final = frozenset({Kind.CONFIGURATION.value, ADMINISTRATION})
"""Event types that are sent as a whole."""


@dataclass(slots=True)
class Query:
    """One ``ListenForEvents``. *kind* is None for Administration; *keys* is None for "All"."""

    query_id: int
    kind: Kind | None
    keys: frozenset[int] | None
    visible: frozenset[int] = frozenset()
    """The set that was sent on the link."""


class Subscriptions:
    """Sessions and queries of one link.

    Invariant: an event has no key outside the union of the attached sessions' scopes.
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
        self._shape: Shape | None = None
        """None: to be made again."""

    def attach(self, session: Session, own: int | None) -> int:
        """Attach a session and return its alias; :meth:`rescope` updates the scope."""
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
        self._shape = None
        return query

    def stop(self, query_id: int) -> None:
        """End a query.

        Raises:
            Refused: ``NotFound``.
        """
        if self.queries.pop(query_id, None) is None:
            raise Refused("NotFound")
        self._shape = None

    def clear(self) -> None:
        """Remove all sessions and queries."""
        self.sessions.clear()
        self.queries.clear()
        self._shape = None

    def whole(self, query: Query, reading: Reading) -> bytes | None:
        """Return the complete event of a query; Administration has none."""
        if query.kind is None:
            return None
        return reading.frame(query.query_id, query.kind, query.visible, self.own, complete=True)

    def changed(self, publication: Publication) -> Sequence[bytes]:
        """Return the partial events of the changes."""
        if self._shape is None:
            queries = [
                (query.query_id, query.kind, query.visible)
                for query in self.queries.values()
                if query.kind is not None
            ]
            self._shape = self.own, tuple(queries)
        return publication.frames(self._shape)

    def union(self) -> Scope:
        """Return the union of the attached sessions' scopes."""
        scope = Scope()
        for session in self.sessions.values():
            scope |= session.scope
        return scope

    def rescope(self, reading: Reading) -> list[bytes]:
        """Use the present union of scopes; return a complete event for each query whose set changed.

        Without an attached session nothing may be seen: the sets are emptied without an event.
        """
        self.scope = self.union()
        frames: list[bytes] = []
        for query in self.queries.values():
            visible = self._visible(query)
            if visible == query.visible:
                continue
            query.visible, self._shape = visible, None
            if self.sessions and (frame := self.whole(query, reading)) is not None:
                frames.append(frame)
        return frames

    def administration(self, elements: list[bytes], time_ms: int) -> list[bytes]:
        """Return an event with encoded elements for each Administration query."""
        if not elements:
            return []
        return [
            event(query.query_id, ADMINISTRATION, time_ms, elements, [], complete=False)
            for query in self.queries.values()
            if query.kind is None
        ]

    def _visible(self, query: Query) -> frozenset[int]:
        if query.kind is None:
            return frozenset()
        visible = of_kind(self.scope, query.kind)
        return visible if query.keys is None else visible & query.keys


def of_kind(scope: Scope, kind: Kind) -> frozenset[int]:
    """Return the keys of *scope* for events of *kind*."""
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
    """Return a scope in the form of the link."""
    return {
        "Users": sorted(scope.users),
        "Queues": sorted(scope.queues),
        "Groups": sorted(scope.groups),
        "Aggregates": sorted(scope.aggregates),
    }


def attached_json(session: Session, alias: int, own: int | None) -> Json:
    """Return the answer to ``AttachSession``."""
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


class Outlet(Protocol):
    """The sender to one peer. It never blocks."""

    def send(self, frames: bytes) -> None:
        """Send whole frames, in order."""

    def close(self, code: int) -> None:
        """Send a close frame after everything sent before."""

    def abort(self) -> None:
        """Cut the line."""


class Link:
    """One link of one user, from its admission to its end."""

    def __init__(self, link_id: str, session: Session) -> None:
        self.link_id = link_id
        self.account = session.account
        self.opened_by = session
        self.subscriptions = Subscriptions()
        self.outlet: Outlet | None = None
        self.replaced_by: int | None = None
        self.linger_until_ms: int | None = None
        self.repeatable: list[bytes] = []
        """The last partial events without ``Removed``: what a duplicate repeats."""
        self.hold_next = False
        """Whether the next partial events are delayed."""
        self.late: list[bytes] = []

    def send(self, *frames: bytes) -> None:
        """Send frames in order; none before the link is open."""
        if frames and self.outlet is not None:
            self.outlet.send(frames[0] if len(frames) == 1 else b"".join(frames))


SESSIONS_EVERY_MS = 250
"""Interval in which due sessions are checked."""
REMOVED: Final = b'"Removed":['
LINGER_MS = 5000
"""How long a link stays after its last session: a takeover may follow."""
NORMAL, REPLACED = 1000, 4409

HELD_BACK: Final[dict[str, tuple[Kind, ...]]] = {
    "RealTime": (Kind.USER, Kind.QUEUE, Kind.GROUP, Kind.AGGREGATE),
    "Historical": (Kind.QUEUE_CUMULATIVE, Kind.USER_CUMULATIVE),
}
"""Function → the kinds that are not sent while it is down."""


class Switchboard:
    """All present links, and the messages on them.

    Invariants: events with a request's effect are sent before its response. One reading goes to all links
    with the same time and the same bytes. A replaced link is sent nothing but its replacement.
    """

    def __init__(
        self,
        settings: SimulatorSettings,
        center: ContactCenter,
        accounts: Accounts,
        sessions: Sessions,
        new_id: Callable[[], str],
    ) -> None:
        self.settings = settings
        self.center = center
        self.accounts = accounts
        self.sessions = sessions
        self.links = Links(fencing="LinkFencing" in settings.features)
        self.server_instance = f"{center.wall_ms}.0"
        """A new one after each restart."""
        self.open_links: dict[str, Link] = {}
        self.restarts = 0
        self.published_changes = 0
        """Element changes read so far."""
        self._new_id = new_id
        self._ended: list[Ended] = []
        self._last_reading: Reading | None = None
        self._lingering: dict[str, Link] = {}
        """Open links without a session."""
        self._sessions_at_ms = center.now_ms
        sessions.on_end = self._ended.append

    # ---- a link's life ----

    def admit(self, session: Session, token: int | None, holder: str | None) -> Link:
        """Make a new link the user's, and replace the old one in the same turn.

        Raises:
            Refused: ``BadRequest``, ``LinkStale``.
        """
        link = Link(self._new_id(), session)
        account = session.account
        old = self.links.admit(
            account.key, account.user_name, link.link_id, token, holder, self.center.now_ms
        )
        self.open_links[link.link_id] = link
        if old is not None:
            self._replace(old, token or 0)
        return link

    def opened(self, link: Link, outlet: Outlet) -> None:
        """Send the first message on an open socket, unless the link was replaced since."""
        link.outlet = outlet
        if link.replaced_by is not None:
            self._send_replaced(link, link.replaced_by)
            return
        session = link.opened_by
        if not self.sessions.is_live(session):
            outlet.close(NORMAL)
            return
        attached = self._attach(link, session)
        greeting: Json = {
            "Type": "LinkOpened",
            "LinkID": link.link_id,
            "Time": self.center.wall_ms,
            "KeepAlive": KEEP_ALIVE_S,
            "ServerInstance": self.server_instance,
            "User": link.account.as_json(),
            "Session": attached,
        }
        last_end = self.sessions.last_end(link.account.key)
        if last_end is not None:
            greeting["LastEnd"] = last_end.as_json() | {"Time": last_end.at_ms + self.center.skew_ms}
        link.send(message(greeting), *(message(each) for each in self.center.functions.messages()))

    def closed(self, link: Link) -> None:
        """Record that the socket is gone: its sessions are absent and on no link."""
        self.open_links.pop(link.link_id, None)
        self._lingering.pop(link.link_id, None)
        self.links.closed(link.account.key, link.link_id, self.center.now_ms)
        self._detach_all(link)

    def restart(self) -> None:
        """Remove all links, sessions and tokens. The caller cuts the sockets."""
        self.restarts += 1
        for link in list(self.open_links.values()):
            self.closed(link)
        self.server_instance = f"{self.center.wall_ms}.{self.restarts}"
        self.sessions.forget_all()
        self.links.restart()
        self._ended.clear()

    def is_present(self, link: Link) -> bool:
        """Return whether requests on *link* are still executed."""
        return link.replaced_by is None and link.link_id in self.open_links

    def of_user(self, user_key: int) -> Link | None:
        """Return the present link of a user."""
        link_id = self.links.present(user_key)
        return None if link_id is None else self.open_links.get(link_id)

    def open_elsewhere(self, user_key: int, token: int | None = None) -> int:
        """Act as if another holder had opened a link with a higher token; return that token."""
        highest, old = self.links.open_elsewhere(user_key, token)
        if old is not None:
            self._replace(old, highest)
        return highest

    # ---- sessions on links ----

    def attach(self, link: Link, session: Session) -> Json:
        """Attach a session to its user's link; newly visible objects are sent before the answer.

        Raises:
            Refused: ``Forbidden`` for another user's session.
        """
        if session.account is not link.account:
            raise Refused("Forbidden")
        for alias, attached in link.subscriptions.sessions.items():
            if attached is session:
                return attached_json(session, alias, session.account.agent_key)
        return self._attach(link, session)

    def detach(self, link: Link, alias: int) -> None:
        """Detach a session from the link without ending it."""
        session = link.subscriptions.sessions.pop(alias)
        self.sessions.detach(session)
        self._rescoped(link)

    def rescope(self, link: Link, elements: list[Json]) -> None:
        """Send changed scopes: *elements* and every object gained, then whole sets."""
        subscriptions = link.subscriptions
        gained = subscriptions.union().keys - subscriptions.scope.keys
        added = (self.center.directory.change_json(key, "Added") for key in sorted(gained))
        encoded = [encode(each) for each in (*elements, *added) if each is not None]
        link.send(*subscriptions.administration(encoded, self.center.wall_ms))
        self._send_rescoped(link)

    def flush_ended(self) -> None:
        """Send links the ends of their sessions."""
        ended, self._ended[:] = list(self._ended), []
        for each in ended:
            self._send_end(each)
            user_key = each.session.account.key
            if not self.sessions.of_user(user_key):
                self.links.forget_token(user_key)

    # ---- events ----

    def reading(self) -> Reading:
        """Return the present values; the last reading while it is valid."""
        if self._last_reading is None or not self._last_reading.holds():
            self._last_reading = Reading(self.center)
        return self._last_reading

    def publish(self) -> None:
        """Send the changes since the last reading to all links in whose scope they are."""
        changes, self.center.changes = self.center.changes, Changes()
        self._send(changes)

    def with_effects(self, act: Callable[[], Json]) -> Json:
        """Run *act*, and send its changes to all links before its answer.

        It is a reading of its own, so no link gets the same change again with the next one.
        """
        outer, self.center.changes = self.center.changes, Changes()
        try:
            return act()
        finally:
            effect, self.center.changes = self.center.changes, outer
            if effect:
                outer.discard(effect)
                self._send(effect)
            self.flush_ended()

    def broadcast(self, content: Json) -> None:
        """Send one message to every link."""
        frame = message(content)
        for link in list(self.open_links.values()):
            link.send(frame)

    def turn(self, now_ms: int) -> None:
        """Advance the time: the centre, due sessions, and lingering links. Nothing is published."""
        self.center.advance(now_ms)
        if now_ms - self._sessions_at_ms >= SESSIONS_EVERY_MS:
            self._sessions_at_ms = now_ms
            self.sessions.advance()
        self.flush_ended()
        for link in list(self._lingering.values()):
            if link.linger_until_ms is not None and now_ms >= link.linger_until_ms:
                self._close_link(link)

    # ---- inside ----

    def _attach(self, link: Link, session: Session) -> Json:
        own = session.account.agent_key
        alias = link.subscriptions.attach(session, own)
        link.linger_until_ms = None
        self._lingering.pop(link.link_id, None)
        self.sessions.attach(session, link.link_id, alias)
        self.rescope(link, [])
        return attached_json(session, alias, own)

    def _send_end(self, ended: Ended) -> None:
        session = ended.session
        link = None if session.link_id is None else self.open_links.get(session.link_id)
        if link is None:
            return
        link.send(message({"Type": "SessionEnded", "Session": session.alias, **ended.as_json()}))
        link.subscriptions.sessions.pop(session.alias, None)
        session.link_id, session.present = None, False
        self._rescoped(link)

    def _rescoped(self, link: Link) -> None:
        self._send_rescoped(link)
        if not link.subscriptions.sessions:
            link.linger_until_ms = self.center.now_ms + LINGER_MS
            self._lingering[link.link_id] = link

    def _send_rescoped(self, link: Link) -> None:
        before = link.subscriptions.scope
        link.send(*link.subscriptions.rescope(self.reading()))
        if link.subscriptions.scope != before:
            link.late, link.repeatable = [], []

    def _send(self, changes: Changes) -> None:
        self._hold_back(changes)
        self.published_changes += len(changes)
        publication, is_empty = Publication(self.reading(), changes), not changes
        for link in list(self.open_links.values()):
            late, link.late = link.late, []
            if not is_empty:
                self._publish_to(link, link.subscriptions.changed(publication))
            link.send(*late)

    def _publish_to(self, link: Link, frames: Sequence[bytes]) -> None:
        repeatable = [frame for frame in frames if REMOVED not in frame]
        if frames:
            link.repeatable = repeatable
        if link.hold_next and repeatable:
            link.hold_next, link.late = False, repeatable
            frames = [frame for frame in frames if REMOVED in frame]
        link.send(*frames)

    def _replace(self, link_id: str, token: int) -> None:
        link = self.open_links.pop(link_id, None)
        if link is None:
            return
        self._lingering.pop(link_id, None)
        self._detach_all(link)
        link.replaced_by = token
        if link.outlet is not None:
            self._send_replaced(link, token)

    def _send_replaced(self, link: Link, token: int) -> None:
        link.send(message({"Type": "LinkReplaced", "Token": token}))
        if link.outlet is not None:
            link.outlet.close(REPLACED)

    def _close_link(self, link: Link) -> None:
        self.closed(link)
        if link.outlet is not None:
            link.outlet.close(NORMAL)

    def _detach_all(self, link: Link) -> None:
        for session in link.subscriptions.sessions.values():
            if session.link_id == link.link_id:
                self.sessions.detach(session)
        link.subscriptions.clear()

    def _hold_back(self, changes: Changes) -> None:
        """Remove and keep the changes of functions that are down, until they are up."""
        functions = self.center.functions
        for name, kinds in HELD_BACK.items():
            if functions.is_down(name):
                for kind in kinds:
                    self.center.changes.add(kind, changes.keys[kind])
                    changes.keys[kind] = set()
