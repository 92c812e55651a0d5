"""What does this node hold about a user, whichever of his sessions, or whose mirror, it is held for?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from heapq import nsmallest
from typing import Final, NamedTuple

from gateway.core.view import View, me_key
from gateway.domain.model import ME, Kind, Ticket, UserId, key_of
from gateway.domain.resources import RESOURCES, Agent, Resource
from gateway.edge.export import NOT_SHOWN, beside_the_mirror, pick
from gateway.edge.socket import PhoneSocket
from gateway.protocol import wire_form
from gateway.protocol.envelopes import Order, Record, SessionFacts
from gateway.protocol.inventory import inventory
from gateway.runtime.household import Household
from gateway.runtime.node import Node
from gateway.runtime.orders import Page
from gateway.runtime.people import tickets_of

_PLACE: Final = "places_in_the_cluster"
_PENDING: Final = "pending_log_offs"
OF_OTHERS: Final = "the mirrors of users who may see him"


class Held(NamedTuple):
    """One record of one category. *name* tells it from all others of the node; *make* gives its members."""

    name: str
    category: str
    make: Callable[[], Record]


class Holdings:
    """What one node holds, user by user.

    Args:
        node: The node.
        named: Returns a user's keyed hash.
        closes: Returns what is remembered of a user's connections that ended, by his keyed hash.
    """

    def __init__(
        self, node: Node, named: Callable[[UserId], str], closes: Callable[[str], list[Record]]
    ) -> None:
        self._node = node
        self._named = named
        self._closes = closes

    async def export(self, order: Order) -> Page:
        """Return a page of what is held about the user whom ``order.subject`` names, by names of records."""
        user = user_of(order.subject)
        held = () if user is None else self._held(user, order.after)
        chosen = nsmallest(
            order.most + 1, (each for each in held if each.name > order.after), key=lambda each: each.name
        )
        records = tuple(
            {"name": each.name, "category": each.category, "held": each.make()}
            for each in chosen[: order.most]
        )
        return Page(records, more=len(chosen) > order.most)

    def _held(self, user: UserId, after: str) -> Iterator[Held]:
        home = self._node.households.get(user)
        if home is not None:
            for ticket in tickets_of(home):
                yield from self._of_session(ticket, home)
            yield from _mirrored(home, key_of(Kind.AGENT, user.key))
            node, epoch = self._node.orders.node, home.feed.ledger.position.epoch
            place = {"user_hash": self._named(user), "node": node, "epoch": epoch}
            yield Held(_PLACE, _PLACE, partial(dict, place))
        yield from self._of_others(user, after)
        yield from self._remembered(user)

    def _of_session(self, ticket: Ticket, home: Household) -> Iterator[Held]:
        mirror: dict[str, Resource] = {}
        element = home.feed.ledger.get(me_key(ticket.handle))
        if element is not None and not isinstance(element.value, SessionFacts):
            mirror[ME] = element.value
        connection = home.feed.connections.get(ticket.handle)
        address = str(connection.witness.address) if isinstance(connection, PhoneSocket) else ""
        for category, records in beside_the_mirror(ticket, mirror, address).items():
            for record in records if address or category != "connection" else ():
                yield Held(f"{category}|{ticket.handle}", category, partial(dict, record))

    def _of_others(self, user: UserId, after: str) -> Iterator[Held]:
        """Yield the user as an agent, as others see him, but for what does not come after *after*.

        A record is named by who sees it, so that nobody who comes or leaves between two pages names another's
        anew. What several of them see alike is told once, by the first of them whose turn is still to come.
        """
        key = key_of(Kind.AGENT, user.key)
        told: list[tuple[str, Resource]] = []
        for other, value in sorted(self._seen_by_others(user, key), key=lambda seen: seen[0]):
            for held in _fields(key, f"{key}|{other:016}", value, {"held_in": OF_OTHERS}):
                if held.name > after and (held.category, value) not in told:
                    told.append((held.category, value))
                    yield held

    def _seen_by_others(self, user: UserId, key: str) -> Iterator[tuple[int, Resource]]:
        for other, home in self._node.households.items():
            element = home.feed.ledger.get(key) if other.site == user.site and other != user else None
            if element is not None and not isinstance(element.value, SessionFacts):
                yield other.key, element.value

    def _remembered(self, user: UserId) -> Iterator[Held]:
        for ticket in self._node.account.pending:
            if ticket.user == user:
                yield Held(f"{_PENDING}|{ticket.handle}", _PENDING, partial(_pending, ticket))
        yield from self._number_changes(user)
        for handle, end in self._node.endings.denied.of(user):
            said = {"session_handle": handle, "reason": end.reason.value}
            yield Held(f"ended_sessions|{handle}", "ended_sessions", partial(dict, said))
        calls = self._node.recall.of(user)
        outcomes = [] if calls is None else [(key, one.status.value) for key, one in calls.remembered]
        outcomes += [] if calls is None else [(key, "in_flight") for key in calls.in_flight]
        for key, outcome in outcomes:
            known = {"key": key, "outcome": outcome}
            yield Held(f"command_outcomes|{key}", "command_outcomes", partial(dict, known))
        for line in self._closes(self._named(user)):
            yield Held(f"session_log|{line['id']}", "session_log", partial(dict, line))

    def _number_changes(self, user: UserId) -> Iterator[Held]:
        now, wall_ms = self._node.clock.now(), self._node.clock.wall_ms()
        for at, times in Counter(self._node.number_changes.taken(user, now)).items():
            changed = {"user_id": str(user.key), "changed_at": wall_ms - round((now - at) * 1000)}
            for number in range(times):  # within one turn of the loop it is one instant
                yield Held(f"number_changes|{at!r}|{number}", "number_changes", partial(dict, changed))


def _pending(ticket: Ticket) -> Record:
    return {
        "site": ticket.user.site,
        "user_id": str(ticket.user.key),
        "session_secret": NOT_SHOWN,
        "session_id": ticket.session,
    }


def user_of(text: str) -> UserId | None:
    """Return the user whom an operator names by site and Key, as in ``main:4711``."""
    site, colon, key = text.partition(":")
    return UserId(site, int(key)) if colon and key.isascii() and key.isdecimal() and len(key) <= 16 else None


_ENTRIES: Final[dict[str, list[tuple[str, list[list[str]]]]]] = defaultdict(list)
"""By kind of resource: each category of it, with the paths of its fields."""
for _entry in inventory().entries:
    _kind = _entry.category.rpartition(".")[0]
    if _kind in RESOURCES:
        _ENTRIES[_kind].append((_entry.category, [path.split(".") for path in _entry.fields]))


def _mirrored(home: Household, own: str) -> Iterator[Held]:
    """Yield what is held for the user. Of other agents it is told how many: they are no data of his."""
    others = 0
    for key, element in home.feed.ledger.items():
        if isinstance(element.value, Agent) and key != own:
            others += 1
        elif not isinstance(element.value, SessionFacts):
            yield from _fields(View.wire_key(key), key, element.value, {})
    for category, _ in _ENTRIES["agent"] if others else ():
        yield Held(f"{category}|others", category, partial(dict, key="agent:*", others=others))


def _fields(key: str, name: str, value: Resource, more: Record) -> Iterator[Held]:
    kind = key if key in RESOURCES else key.partition(":")[0]
    for category, paths in _ENTRIES.get(kind, ()):
        yield Held(f"{category}|{name}", category, partial(_picked, key, value, paths, more))


def _picked(key: str, value: Resource, paths: list[list[str]], more: Record) -> Record:
    return {"key": key, **more, **pick(wire_form.fields(value), paths)}
