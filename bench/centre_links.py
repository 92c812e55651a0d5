"""Links of the benchmark's OSCC-E Server: which of them receive a publication, and what."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from bench import centre_frames as say
from bench.layout import FIRST_USER, Layout

FLOOD_BYTES = 1 << 20
"""Unsent bytes of a link above which a flood pauses."""
FLOOD_CHUNK, FLOOD_EACH = 200, 20
"""Readings in a chunk of a flood, and how many of these differ, to save CPU time."""


class Publish(NamedTuple):
    """One publish: *size* resources of a set change."""

    resource_set: int
    sequence: int
    stamp_ns: int
    size: int = 1


def read_publish(line: bytes) -> Publish:
    """Read ``resource_set sequence stamp [size]``; numbers may be padded with zeros.

    Raises:
        ValueError: The line has another form.
    """
    return Publish(*map(int, line.split()))


class Query:
    """Query of a link: an event type and its keys, all of them when *keys* is None."""

    __slots__ = ("event_type", "keys", "number")

    def __init__(self, number: int, event_type: str, keys: frozenset[int] | None) -> None:
        self.number = number
        self.event_type = event_type
        self.keys = keys


class Link:
    """One user's link."""

    def __init__(self, user: int, transport: asyncio.WriteTransport) -> None:
        self.user = user
        self.queries: list[Query] = []
        self._transport = transport
        self._aliases = 1
        self._asked: dict[str, int] = defaultdict(int)

    def send(self, frames: bytes) -> None:
        """Send whole frames; bytes that a slow reader does not take wait in memory."""
        self._transport.write(frames)

    @property
    def unsent_bytes(self) -> int:
        """Number of bytes that wait in memory."""
        return self._transport.get_write_buffer_size()

    def cut(self) -> None:
        """Abort the connection, without a close frame."""
        self._transport.abort()

    def alias(self) -> int:
        """Return the number of a further session."""
        self._aliases += 1
        return self._aliases

    def listen(self, event_type: str, keys: frozenset[int] | None) -> Query:
        """Add a query; equal queries have equal numbers on all links, so that these share events."""
        number = (say.QUERIES.index(event_type) + 1) * say.QUERY_STRIDE + self._asked[event_type]
        self._asked[event_type] += 1
        query = Query(number, event_type, keys)
        self.queries.append(query)
        return query

    def stop(self, number: int) -> None:
        """Remove a query."""
        self.queries = [query for query in self.queries if query.number != number]


class Links:
    """All links, and the newest element of each published resource.

    Invariant: an event of a query for all keys is encoded once per publish and query number, for all links.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.by_user: dict[int, Link] = {}
        self.elements: dict[int, bytes] = {}
        self.published = 0
        self._turns = [0] * layout.resource_sets

    def enter(self, link: Link) -> None:
        """Add a link, in place of the user's present one."""
        old = self.by_user.get(link.user)
        self.by_user[link.user] = link
        if old is not None:
            old.cut()

    def leave(self, link: Link) -> None:
        """Remove a link, unless another one has replaced it."""
        if self.by_user.get(link.user) is link:
            del self.by_user[link.user]

    def reset(self) -> None:
        """Delete everything that was published."""
        self.elements.clear()
        self._turns = [0] * self.layout.resource_sets

    def whole(self, link: Link, query: Query) -> bytes:
        """Return the first event of a query, with all its elements."""
        visible = self.layout.visible_keys(link.user)
        if query.event_type in {"QueueRealtime", "UserRealtime"}:
            keys = visible.queues if query.event_type == "QueueRealtime" else visible.agents
            if self.elements:
                told = (self.elements.get(key) for key in keys if query.keys is None or key in query.keys)
                plain = say.first(query.event_type, visible, query.keys)
                found = [new or old for new, old in zip(told, plain, strict=True)]
            else:
                found = list(say.first(query.event_type, visible, query.keys))
        else:
            found = []
        return say.event(query.number, query.event_type, now_ms(), found, complete=True)

    def publish(self, orders: Iterable[Publish]) -> None:
        """Change the resources whose turn it is, and send events to all links that see them."""
        waiting: dict[int, list[bytes]] = defaultdict(list)
        for order in orders:
            self._publish(order, waiting)
        for user, frames in waiting.items():
            link = self.by_user.get(user)
            if link is not None:
                link.send(b"".join(frames))

    def flood(self, user: int, most: int) -> int:
        """Send *most* readings without stamps on a user's link, in whole chunks; returns how many.

        Without a link, or with too many unsent bytes on it, they are skipped and count as sent.
        """
        link = self.by_user.get(user)
        query = (
            next((each for each in link.queries if each.event_type == "QueueRealtime"), None)
            if link
            else None
        )
        if link is None or query is None or link.unsent_bytes > FLOOD_BYTES:
            return most
        keys = self.layout.visible_keys(user).queues
        time_ms = now_ms()
        for at in range(0, most, FLOOD_CHUNK):
            chunk = [
                say.event(
                    query.number,
                    "QueueRealtime",
                    time_ms,
                    [say.queue(keys[each % len(keys)], "a flood", at + each)],
                    complete=False,
                )
                for each in range(FLOOD_EACH)
            ]
            link.send(b"".join(chunk) * (FLOOD_CHUNK // FLOOD_EACH))
        return -(-most // FLOOD_CHUNK) * FLOOD_CHUNK

    def change(self, key: int, event_type: str, element: bytes) -> None:
        """Change one agent out of turn, and send the event to the links that see the agent."""
        self.elements[key] = element
        waiting: dict[int, list[bytes]] = defaultdict(list)
        seeing = [link for link in self.by_user.values() if key in self.layout.visible_keys(link.user).agents]
        self._tell(seeing, event_type, [(key, element)], waiting)
        for user, frames in waiting.items():
            self.by_user[user].send(b"".join(frames))

    # ---- inside ----

    def _publish(self, order: Publish, waiting: dict[int, list[bytes]]) -> None:
        resource_set = order.resource_set % self.layout.resource_sets
        if order.size == 1 and not self.layout.shared:
            self._publish_one(resource_set, order, waiting)
            return
        changed: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for _ in range(order.size):
            key = self.layout.key(resource_set, self._turns[resource_set])
            self._turns[resource_set] += 1
            event_type, element = say.element(key, order.sequence, order.stamp_ns)
            self.elements[key] = element
            changed[event_type].append((key, element))
        self.published += order.size
        links: Iterable[Link] = self.by_user.values()
        if not self.layout.shared:
            one = self.by_user.get(resource_set)
            links = () if one is None else (one,)
        for event_type, elements in changed.items():
            self._tell(links, event_type, elements, waiting)

    def _publish_one(self, resource_set: int, order: Publish, waiting: dict[int, list[bytes]]) -> None:
        """Change one resource that one user sees: most publishes of the real shape."""
        key = self.layout.key(resource_set, self._turns[resource_set])
        self._turns[resource_set] += 1
        self.published += 1
        event_type, element = say.element(key, order.sequence, order.stamp_ns)
        self.elements[key] = element
        link = self.by_user.get(resource_set)
        for query in () if link is None else link.queries:
            if query.event_type == event_type and (query.keys is None or key in query.keys):
                frame = say.event(query.number, event_type, now_ms(), (element,), complete=False)
                waiting[resource_set].append(frame)

    def _tell(
        self,
        links: Iterable[Link],
        event_type: str,
        elements: list[tuple[int, bytes]],
        waiting: dict[int, list[bytes]],
    ) -> None:
        time_ms = now_ms()
        made: dict[int, bytes] = {}
        for link in links:
            for query in link.queries:
                if query.event_type != event_type:
                    continue
                if query.keys is None:
                    frame = made.get(query.number)
                    if frame is None:
                        raws = [raw for _, raw in elements]
                        frame = say.event(query.number, event_type, time_ms, raws, complete=False)
                        made[query.number] = frame
                    waiting[link.user].append(frame)
                elif raws := [raw for key, raw in elements if key in query.keys]:
                    waiting[link.user].append(
                        say.event(query.number, event_type, time_ms, raws, complete=False)
                    )


def now_ms() -> int:
    """Return ms since 1970."""
    return time.time_ns() // 1_000_000


def user_key(user: int) -> int:
    """Return the key of a supervisor."""
    return FIRST_USER + user


def opened(link: Link, number: int, public: str, layout: Layout) -> bytes:
    """Return the first frames of a link."""
    message: dict[str, Any] = {
        "Type": "LinkOpened",
        "LinkID": f"link{number}",
        "Time": now_ms(),
        "KeepAlive": say.KEEP_ALIVE_S,
        "User": say.person(link.user, user_key(link.user)),
        "Session": say.session(1, public, layout.visible_keys(link.user)),
    }
    up = {"Type": "ManagerStateChanged", "Manager": "Routing", "Function": "LocalRouting", "State": "Up"}
    return say.frame(say.text(message)) + say.frame(say.text(up))
