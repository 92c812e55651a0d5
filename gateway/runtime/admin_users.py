"""The users and sessions of one node for operators: found by keyed hashes, and ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from heapq import nsmallest
from typing import Final

from gateway.core.user_sessions import Member
from gateway.domain.errors import GatewayError
from gateway.domain.model import NodeId, SessionId, Ticket, UserId
from gateway.domain.upstream import LoggedOff, SessionInfo
from gateway.protocol.envelopes import Order, Record
from gateway.runtime.cluster_receiver import Page
from gateway.runtime.node import Node
from gateway.runtime.user_state import UserState

BY: Final = "operator"
"""What ended a session, as its phone is sent it."""
CONFIRM_S: Final = 3.0
"""How long OSCC-E is waited for; what is not confirmed by then is retried in the background."""
ENDED_WITHIN_S: Final = 2 * CONFIRM_S + 1.0
"""Within this time a node has answered that is asked to end something."""
_SLICE: Final = 500
"""Users looked at between two turns of all other tasks."""
_UNCONFIRMED: Final = LoggedOff("after_contact", None)


class AdminUsers:
    """The users of one node, for operators, who know them by keyed hashes.

    Invariant: a session's phone is closed and its tokens are refused before OSCC-E is asked to end it.

    Args:
        node: Where they are.
        named: Returns a user's keyed hash.
    """

    def __init__(self, node: Node, named: Callable[[UserId], str]) -> None:
        self._node = node
        self._named = named

    def teach(self) -> None:
        """Have the node carry out what operators ask of people."""
        for act in (self.sessions, self.end_session, self.end_user, self.whois):
            self._node.orders.learn(act.__name__, act)

    async def find(self, name: str) -> UserId | None:
        """Return the user with that keyed hash, if this node knows anything of them."""
        node = self._node
        known = {*node.user_states, *node.command_history.users}
        known |= {ticket.user for ticket in node.account.pending}
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
        """End all sessions of a user, those too that only OSCC-E knows of."""
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
        """Return which user a keyed hash is of."""
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
        """End one session; whether or not that is confirmed in time, it is over for the gateway."""
        answer = _UNCONFIRMED
        try:
            async with self._node.clock.timeout(CONFIRM_S):
                answer = await self._node.account.log_off(ticket, BY)
        except TimeoutError:
            pass  # what was not confirmed is retried
        return self._ended(ticket.session, ticket, ticket.application.value, answer)

    async def _end_sleeping(self, tickets: tuple[Ticket, ...]) -> list[Record]:
        """End those sessions of the user that only OSCC-E knows of: a phone may come back with each."""
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
