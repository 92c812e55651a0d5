"""What do all nodes together hold about a user: for operators, and for himself?

Operators get it as it is. The user himself gets what is about him and no more: of the mirrors his own entry
as an agent and his sessions' ``me``, for nothing outside its scope may reach a session; a remote number of
another session stays masked.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

from gateway.core.throttle import TokenBucket
from gateway.domain.model import ME, Kind, NodeId, Ticket, UserId, key_of
from gateway.domain.privacy import masked
from gateway.domain.resources import RESOURCES
from gateway.protocol.envelopes import Order
from gateway.runtime.orders import Orders, Page, Told
from gateway.runtime.ports import Clock

PAGE: Final = 500
PAGES_MAX: Final = 200
"""Of one node; what is beyond is said to be missing."""
ASKED_PER_S: Final = 2.0
ASKED_BURST: Final = 20
"""How often users have the other nodes asked by this one; beyond that they are told that it is not all."""

Record = dict[str, Any]


class Elsewhere(NamedTuple):
    """What nodes hold about a user, by category. *complete*: all have answered."""

    held: dict[str, list[Record]]
    complete: bool


async def gather(orders: Orders, user: UserId, act_id: str = "") -> list[Told]:
    """Return what each live node holds about *user*, or why it did not say; each as one page.

    *act_id* is that of the operator who asks; empty: the user asks.
    """
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(_all_of(orders, node, user, act_id)) for node in orders.nodes]
    return [*(each.result() for each in asking), *orders.unknown]


async def _all_of(orders: Orders, node: NodeId, user: UserId, act_id: str) -> Told:
    records: list[Record] = []
    told = Told(node, Page(more=True))
    for _ in range(PAGES_MAX):
        after = records[-1]["name"] if records else ""
        order = Order(orders.node, 0, "export", f"{user.site}:{user.key}", after, PAGE, act_id)
        (told,) = await orders.ask(order, [node])
        records += told.page.records
        if told.trouble is not None or not told.page.more:
            break
    return told._replace(page=told.page._replace(records=tuple(records)))


class OwnData:
    """Gathers for users what is held about them.

    Args:
        orders: Reaches the nodes.
        clock: Tells how often that was.
    """

    def __init__(self, orders: Orders, clock: Clock) -> None:
        self._orders = orders
        self._clock = clock
        self._rate = TokenBucket(ASKED_PER_S, ASKED_BURST)

    async def of(self, ticket: Ticket) -> Elsewhere:
        """Return what nodes hold about the user of *ticket*, as his session may see it."""
        if not self._rate.take(self._clock.now()):
            return Elsewhere({}, complete=False)
        told = await gather(self._orders, ticket.user)
        held: dict[str, list[Record]] = {}
        for each in told:
            for record in each.page.records:
                shown = _shown(record, ticket)
                if shown is not None:
                    held.setdefault(record["category"], []).append({"node": each.node, **shown})
        return Elsewhere(held, complete=not any(each.trouble or each.page.more for each in told))


def _shown(record: Record, ticket: Ticket) -> Record | None:
    """Return of *record* what the session of *ticket* may see that it does not know itself."""
    category, _, name = str(record["name"]).partition("|")
    held: Record = record["held"]
    mine = name.rpartition(":")[2] == ticket.handle
    kind = category.partition(".")[0]
    if kind == Kind.AGENT:
        return held if held.get("key") == key_of(Kind.AGENT, ticket.user.key) else None
    if kind in RESOURCES and kind != ME:
        return None
    if mine and category in {"token", "device"}:
        return None  # its own, which every node can tell it without asking
    number = held.get("remote_number")
    return held if mine or not isinstance(number, str) else {**held, "remote_number": masked(number)}
