"""Users of one node for operators, and the data export: what the gateway holds about a user, on all nodes.

Operators find users and sessions by keyed hashes, and end them. The export has one entry for each category of
the data inventory, also where nothing is held, so that a reader sees that nothing is missing. Operators get
the records unchanged. A user gets their own data only: from the mirrors their own entry as an agent and the
`me` of their sessions. Remote numbers of other sessions are masked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest
from itertools import chain
from typing import Final, NamedTuple

from gateway.core.rate_limits import TokenBucket
from gateway.core.view import Member, View, me_key
from gateway.domain.errors import GatewayError
from gateway.domain.model import ME, Kind, NodeId, SessionId, Ticket, UserId, key_of, masked
from gateway.domain.resources import RESOURCES, Agent, Me, Resource
from gateway.domain.upstream import LoggedOff, SessionInfo
from gateway.edge.credentials import user_view
from gateway.edge.socket import PhoneSocket
from gateway.protocol import codec
from gateway.protocol.envelopes import Order, Record, SessionFacts
from gateway.protocol.schemas import inventory
from gateway.runtime.cluster_receiver import AdminRpc, NodeAnswer, Page
from gateway.runtime.node import Node
from gateway.runtime.ports import Clock
from gateway.runtime.user_state import UserState

BY: Final = "operator"
"""What ended a session, as it is sent to its phone."""
CONFIRM_S: Final = 3.0
"""How long to wait for OSCC-E; later confirmations are handled by the retries in the background."""
ENDED_WITHIN_S: Final = 2 * CONFIRM_S + 1.0
"""Time within which a node answers a request to end something."""
_SLICE: Final = 500
"""Users that are processed between two turns of all other tasks."""
_UNCONFIRMED: Final = LoggedOff("after_contact", None)


class AdminUsers:
    """The users of one node, for operators, who see keyed hashes only.

    Invariant: a session's phone is closed and its tokens are refused before OSCC-E is asked to end it.

    *named* returns a user's keyed hash.
    """

    def __init__(self, node: Node, named: Callable[[UserId], str]) -> None:
        self._node = node
        self._named = named

    def register_orders(self) -> None:
        """Register the orders of operators about users with the node."""
        for act in (self.sessions, self.end_session, self.end_user, self.whois):
            self._node.orders.register(act.__name__, act)

    async def find(self, name: str) -> UserId | None:
        """Return the user with that keyed hash, if this node has any data about them."""
        node = self._node
        known = {*node.user_states, *node.command_history.users}
        known |= {ticket.user for ticket in node.log_offs.pending}
        for number, user in enumerate(known, 1):
            if self._named(user) == name:
                return user
            if number % _SLICE == 0:
                await node.clock.sleep(0)
        return None

    # ---- orders ----

    async def sessions(self, order: Order) -> Page:
        """List the sessions that OSCC-E has accepted from this node, by their public ids."""
        there = (
            (member, user)
            for user, home in self._node.user_states.items()
            if home.owner is not None
            for member in home.owner.user_sessions
            if member.attached is not None and member.ticket.session > order.after
        )
        chosen = nsmallest(order.most + 1, there, key=lambda found: found[0].ticket.session)
        listed = tuple(self._listed(member, user) for member, user in chosen[: order.most])
        return Page(listed, more=len(chosen) > order.most)

    async def end_session(self, order: Order) -> Page:
        """End the session with a public id, if this node can."""
        for home in tuple(self._node.user_states.values()):
            for ticket in tickets_of(home):
                if ticket.session == order.subject:
                    return Page((await self._end(ticket),))
        return Page()

    async def end_user(self, order: Order) -> Page:
        """End all sessions of a user, also those that only OSCC-E lists."""
        user = await self.find(order.subject)
        home = None if user is None else self._node.user_states.get(user)
        if home is None:
            return Page()
        tickets = tickets_of(home)
        for ticket in tickets:
            self._node.logged_off(ticket, BY)
        ended = []
        if home.owner is not None and tickets:
            ended = await self._end_sleeping(tickets)
        async with asyncio.TaskGroup() as tasks:
            ending = [tasks.create_task(self._end(ticket)) for ticket in tickets]
        return Page((*(each.result() for each in ending), *ended))

    async def whois(self, order: Order) -> Page:
        """Return the user of a keyed hash."""
        user = await self.find(order.subject)
        return Page() if user is None else Page(({"site": user.site, "key": user.key},))

    # ---- inner ----

    def _listed(self, member: Member, user: UserId) -> Record:
        here = self._node.orders.node
        return {
            "id": member.ticket.session,
            "user": self._named(user),
            "site": user.site,
            "application": member.ticket.application.value,
            "owner": here,
            "node": (member.node or here) if member.present else None,
            "attached": member.on_link,
            "expires_at_ms": member.expires_at_ms,
        }

    async def _end(self, ticket: Ticket) -> Record:
        """End one session. For the gateway it is over, also when OSCC-E has not confirmed it in time."""
        answer = _UNCONFIRMED
        try:
            async with self._node.clock.timeout(CONFIRM_S):
                answer = await self._node.account.log_off(ticket, BY)
        except TimeoutError:
            pass  # an unconfirmed log-off is retried
        return self._ended(ticket.session, ticket, ticket.application.value, answer)

    async def _end_sleeping(self, tickets: tuple[Ticket, ...]) -> list[Record]:
        """End the user's sessions that only OSCC-E lists: a phone may come back with each."""
        ended: list[Record] = []
        try:
            async with self._node.clock.timeout(CONFIRM_S):
                known = {ticket.session for ticket in tickets}
                for info in await self._node.account.sessions(tickets[0]):
                    if info.session not in known:
                        ended += [await self._end_other(tickets[0], info)]
        except (GatewayError, TimeoutError):
            return ended
        return ended

    async def _end_other(self, ticket: Ticket, info: SessionInfo) -> Record:
        try:
            answer = await self._node.account.end(ticket, info.session, BY)
        except GatewayError:
            answer = _UNCONFIRMED
        return self._ended(info.session, ticket, info.application.value, answer)

    def _ended(self, session: SessionId, ticket: Ticket, application: str, answer: LoggedOff) -> Record:
        by: NodeId = self._node.orders.node
        return {
            "id": session,
            "user": self._named(ticket.user),
            "application": application,
            "by_node": by,
            "confirmed": answer.routing != "after_contact",
        }


def tickets_of(home: UserState) -> tuple[Ticket, ...]:
    """Return the sessions of a user of which this node holds the ticket."""
    return tuple({ticket.session: ticket for ticket in _tickets(home)}.values())


def _tickets(home: UserState) -> Iterator[Ticket]:
    if home.owner is not None:
        yield from (member.ticket for member in home.owner.user_sessions)
    yield from (local.ticket for local in home.local.values())


NOT_SHOWN: Final = "held, never shown"
_INVENTORY: Final = inventory().entries
_PATHS: Final = {
    entry.category: [path.split(".") for path in entry.fields]
    for entry in _INVENTORY
    if entry.category.rpartition(".")[0] in RESOURCES
}
"""Category of resources → the paths of its fields."""
_CATEGORIES: Final = {
    kind: [category for category in _PATHS if category.rpartition(".")[0] == kind] for kind in RESOURCES
}
"""Kind of resource → its categories."""


def export(
    ticket: Ticket,
    mirror: Mapping[str, Resource],
    *,
    address: str,
    at_ms: int,
    elsewhere: Mapping[str, Sequence[Record]] | None = None,
    complete: bool = True,
) -> Iterator[bytes]:
    """Yield the body of the export for the session of *ticket*, in pieces of one record each.

    The pieces form a :class:`~gateway.protocol.bodies.ExportBody`. Other tasks can run between them.

    *mirror*: the view of the session on this node, by key. *elsewhere*: what all nodes hold about the user,
    by category. *complete*: whether all of them answered.
    """
    more = elsewhere or {}
    beside = beside_the_mirror(ticket, mirror, address)
    head = {"user": codec.plain_fields(user_view(ticket)), "at_ms": at_ms}
    yield codec.write_json(head)[:-1] + b',"entries":['
    for number, entry in enumerate(_INVENTORY):
        name = codec.write_json(entry.category)
        yield (b"," if number else b"") + b'{"category":' + name + b',"held":['
        own = beside.get(entry.category) or _mirrored(entry.category, mirror)
        for place, record in enumerate(chain(own, more.get(entry.category, ()))):
            yield (b"," if place else b"") + codec.write_json(codec.plain(record))
        yield b"]}"
    yield b'],"complete":' + codec.write_json(complete) + b"}"


def _mirrored(category: str, mirror: Mapping[str, Resource]) -> Iterator[Record]:
    """Yield the fields that *category* lists of each resource of its kind."""
    kind = category.rpartition(".")[0]
    for key in mirror if category in _PATHS else ():
        if _kind(key) == kind and (fields := _fields(category, mirror[key])):
            yield {"key": key, **fields}


def _kind(key: str) -> str:
    return key if key in RESOURCES else key.partition(":")[0]


def _fields(category: str, value: Resource) -> Record:
    """Return the fields of *value* that *category* lists."""
    return pick(codec.plain_fields(value), _PATHS[category])


def pick(value: Mapping[str, object], paths: Iterable[list[str]]) -> Record:
    """Return the parts of *value* that *paths* select. A step that ends in ``[]`` selects each element."""
    below: dict[str, list[list[str]]] = {}
    for path in paths:
        below.setdefault(path[0], []).append(path[1:])
    picked: Record = {}
    for step, rests in below.items():
        name, deeper = step.removesuffix("[]"), [rest for rest in rests if rest]
        inner = value.get(name)
        if inner is None:
            continue
        if not deeper:
            picked[name] = inner
        elif isinstance(inner, list):
            picked[name] = [pick(each, deeper) for each in inner]
        elif isinstance(inner, dict):
            picked[name] = pick(inner, deeper)
    return picked


def beside_the_mirror(
    ticket: Ticket, mirror: Mapping[str, Resource], address: str
) -> dict[str, list[Record]]:
    """Return the data of a session outside the mirror, by category."""
    device = {"device.id": ticket.device.id, "device.name": ticket.device.name}
    token = {
        "site": ticket.user.site,
        "user_id": str(ticket.user.key),
        "display_name": ticket.display_name,
        "application": ticket.application.value,
        "session_secret": NOT_SHOWN,
        "session_id": ticket.session,
        **device,
        "server_instance": ticket.server,
        "accepted_notices": [{"id": name, "version": version} for name, version in ticket.notices],
        "issued_at_ms": ticket.issued_at_ms,
        "expires_at_ms": ticket.expires_at_ms,
    }
    held: dict[str, list[Record]] = {
        "token": [token],
        "device": [device],
        "connection": [{"network_address": address}],
    }
    me = mirror.get(ME)
    if isinstance(me, Me) and me.remote_number is not None:
        held["remote_number"] = [{"remote_number": me.remote_number}]
    return held


PAGE: Final = 500
PAGES_MAX: Final = 200
"""Pages per node. An export with more is marked as incomplete."""
ASKED_PER_S: Final = 2.0
ASKED_BURST: Final = 20
"""Rate of exports for which this node asks the others. Beyond it an export is marked as incomplete."""


class RemoteHoldings(NamedTuple):
    """The data of all nodes about a user, by category. *complete*: whether all nodes have answered."""

    held: dict[str, list[Record]]
    complete: bool


async def gather_holdings(orders: AdminRpc, user: UserId, act_id: str = "") -> list[NodeAnswer]:
    """Return what each live node holds about *user*, or why it did not answer, as one page per node.

    *act_id* is that of the operator who requests it; empty: the user requests it.
    """
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(_all_of(orders, node, user, act_id)) for node in orders.nodes]
    return [*(each.result() for each in asking), *orders.unknown]


async def _all_of(orders: AdminRpc, node: NodeId, user: UserId, act_id: str) -> NodeAnswer:
    records: list[Record] = []
    answers = NodeAnswer(node, Page(more=True))
    for _ in range(PAGES_MAX):
        after = records[-1]["name"] if records else ""
        order = Order(orders.node, 0, "export", f"{user.site}:{user.key}", after, PAGE, act_id)
        (answers,) = await orders.ask(order, [node])
        records += answers.page.records
        if answers.trouble is not None or not answers.page.more:
            break
    return answers._replace(page=answers.page._replace(records=tuple(records)))


class OwnDataExport:
    """Collector of the data that all nodes hold about a user, for their own export."""

    def __init__(self, orders: AdminRpc, clock: Clock) -> None:
        self._orders = orders
        self._clock = clock
        self._rate = TokenBucket(ASKED_PER_S, ASKED_BURST)

    async def of(self, ticket: Ticket) -> RemoteHoldings:
        """Return what all nodes hold about the user of *ticket*, as far as the session may see it."""
        if not self._rate.take(self._clock.now()):
            return RemoteHoldings({}, complete=False)
        answers = await gather_holdings(self._orders, ticket.user)
        held: dict[str, list[Record]] = {}
        for each in answers:
            for record in each.page.records:
                shown = _shown(record, ticket)
                if shown is not None:
                    held.setdefault(record["category"], []).append({"node": each.node, **shown})
        return RemoteHoldings(held, complete=not any(each.trouble or each.page.more for each in answers))


def _shown(record: Record, ticket: Ticket) -> Record | None:
    """Return the part of *record* that the session of *ticket* may see, without what its own node adds."""
    category, _, name = str(record["name"]).partition("|")
    held: Record = record["held"]
    mine = name.rpartition(":")[2] == ticket.handle
    kind = category.partition(".")[0]
    if kind == Kind.AGENT:
        return held if held.get("key") == key_of(Kind.AGENT, ticket.user.key) else None
    if kind in RESOURCES and kind != ME:
        return None
    if mine and category in {"token", "device"}:
        return None  # each node adds the session's own
    number = held.get("remote_number")
    return held if mine or not isinstance(number, str) else {**held, "remote_number": masked(number)}


_PLACES: Final = "places_in_the_cluster"
OF_OTHERS: Final = "the mirrors of users who may see them"


class HeldRecord(NamedTuple):
    """Record of one category. *name* is unique on the node.

    *value*: the resource whose fields it has beside its *members*, if there is one.
    """

    name: str
    category: str
    members: Record
    value: Resource | None = None

    def made(self) -> Record:
        """Return all members."""
        return self.members if self.value is None else self.members | _fields(self.category, self.value)


def _record(category: str, name: str, members: Record, value: Resource | None = None) -> HeldRecord:
    return HeldRecord(f"{category}|{name}", category, members, value)


LOOKED_AT_ONCE: Final = 250
"""Users, or resources of one user, that are processed between two turns of all other tasks."""
MADE_AT_ONCE: Final = 50
"""Records that are made between two turns of all other tasks."""


class NodeHoldings:
    """Data that this node holds about each user.

    *named* returns a user's keyed hash, *closes* the stored records of their closed connections by that hash.
    """

    def __init__(
        self, node: Node, named: Callable[[UserId], str], closes: Callable[[str], list[Record]]
    ) -> None:
        self._node = node
        self._named = named
        self._closes = closes

    async def export(self, order: Order) -> Page:
        """Return a page of the data about the user ``order.subject``, sorted by the names of records."""
        user = user_of(order.subject)
        chosen: list[HeldRecord] = []
        for each in () if user is None else self._held(user, order.after):
            if each is None:
                chosen = _first(chosen, order.most + 1)
                await self._node.clock.sleep(0)
            elif each.name > order.after:
                chosen.append(each)
        chosen = _first(chosen, order.most + 1)
        records: list[Record] = []
        for number, each in enumerate(chosen[: order.most], 1):
            records.append({"name": each.name, "category": each.category, "held": each.made()})
            if number % MADE_AT_ONCE == 0:
                await self._node.clock.sleep(0)
        return Page(tuple(records), more=len(chosen) > order.most)

    def _held(self, user: UserId, after: str) -> Iterator[HeldRecord | None]:
        """Yield the records of *user*, and None where other tasks may have a turn."""
        home = self._node.user_states.get(user)
        if home is not None:
            for ticket in tickets_of(home):
                yield from self._of_session(ticket, home)
            yield from _held_in_mirror(home, key_of(Kind.AGENT, user.key))
            node, epoch = self._node.orders.node, home.feed.ledger.position.epoch
            place = {"user_hash": self._named(user), "node": node, "epoch": epoch}
            yield HeldRecord(_PLACES, _PLACES, place)
        yield from self._of_others(user, after)
        yield from self._remembered(user)

    def _of_session(self, ticket: Ticket, home: UserState) -> Iterator[HeldRecord]:
        mirror: dict[str, Resource] = {}
        element = home.feed.ledger.get(me_key(ticket.handle))
        if element is not None and not isinstance(element.value, SessionFacts):
            mirror[ME] = element.value
        connection = home.feed.connections.get(ticket.handle)
        address = str(connection.stats.address) if isinstance(connection, PhoneSocket) else ""
        for category, records in beside_the_mirror(ticket, mirror, address).items():
            for record in records if address or category != "connection" else ():
                yield _record(category, ticket.handle, record)

    def _of_others(self, user: UserId, after: str) -> Iterator[HeldRecord | None]:
        """Yield the user as an agent in the mirrors of others, from after *after* on.

        The name of a record contains the user who sees it, so that it does not change when others come or
        leave between two pages. Equal records of several mirrors are yielded once, for the first of them.
        """
        key = key_of(Kind.AGENT, user.key)
        seen: list[tuple[int, Resource]] = []
        for number, (other, home) in enumerate(list(self._node.user_states.items()), 1):
            element = home.feed.ledger.get(key) if other.site == user.site and other != user else None
            if element is not None and not isinstance(element.value, SessionFacts):
                seen.append((other.key, element.value))
            if number % LOOKED_AT_ONCE == 0:
                yield None
        shown: dict[str, list[Resource]] = {}
        for number, (other_key, value) in enumerate(sorted(seen, key=lambda each: each[0]), 1):
            for held in _held_fields(key, f"{key}|{other_key:016}", value, {"held_in": OF_OTHERS}):
                known = shown.setdefault(held.category, [])
                if held.name > after and value not in known:
                    known.append(value)
                    yield held
            if number % LOOKED_AT_ONCE == 0:
                yield None

    def _remembered(self, user: UserId) -> Iterator[HeldRecord]:
        for ticket in self._node.log_offs.pending:
            if ticket.user == user:
                known = {"site": user.site, "user_id": str(user.key), "session_secret": NOT_SHOWN}
                yield _record("pending_log_offs", ticket.handle, {**known, "session_id": ticket.session})
        yield from self._number_changes(user)
        for session, end in self._node.session_revocations.of(user):
            ended = {"session_hash": session, "reason": end.reason.value, "by": end.by}
            yield _record("ended_sessions", session, ended)
        calls = self._node.command_history.of(user)
        outcomes = [] if calls is None else [(key, one.status.value) for key, one in calls.remembered]
        outcomes += [] if calls is None else [(key, "in_flight") for key in calls.in_flight]
        for key, outcome in outcomes:
            yield _record("command_outcomes", key, {"key": key, "outcome": outcome})
        for line in self._closes(self._named(user)):
            yield _record("session_log", line["id"], line)

    def _number_changes(self, user: UserId) -> Iterator[HeldRecord]:
        now, wall_ms = self._node.clock.now(), self._node.clock.wall_ms()
        for at, times in Counter(self._node.number_changes.taken(user, now)).items():
            changed = {"user_id": str(user.key), "changed_at": wall_ms - round((now - at) * 1000)}
            for number in range(times):  # several may have the same time
                yield _record("number_changes", f"{at!r}|{number}", changed)


def _first(records: list[HeldRecord], most: int) -> list[HeldRecord]:
    """Return the first *most* by their names."""
    return nsmallest(most, records, key=lambda each: each.name)


def user_of(text: str) -> UserId | None:
    """Parse a user given as site and Key, such as ``main:4711``; None when it is not one."""
    site, colon, key = text.partition(":")
    return UserId(site, int(key)) if colon and key.isascii() and key.isdecimal() and len(key) <= 16 else None


def _held_in_mirror(home: UserState, own: str) -> Iterator[HeldRecord | None]:
    """Yield the data about the user. Other agents are only counted, as they are not the user's data."""
    others = 0
    for number, (key, element) in enumerate(list(home.feed.ledger.items()), 1):
        if number % LOOKED_AT_ONCE == 0:
            yield None
        if isinstance(element.value, Agent) and key != own:
            others += 1
        elif not isinstance(element.value, SessionFacts):
            yield from _held_fields(View.wire_key(key), key, element.value, {})
    for category in _CATEGORIES["agent"] if others else ():
        yield _record(category, "others", {"key": "agent:*", "others": others})


def _held_fields(key: str, name: str, value: Resource, more: Record) -> Iterator[HeldRecord]:
    for category in _CATEGORIES.get(_kind(key), ()):
        yield _record(category, name, {"key": key, **more}, value)
