"""What do operators ask of all nodes together, and how do the nodes' answers become one?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId, UserId
from gateway.edge.admin_export import user_of
from gateway.edge.gathering import gather
from gateway.protocol.admin_bodies import (
    AttachedBody,
    AttachedSession,
    ClosesBody,
    CloseView,
    DoneBody,
    DrainBody,
    EndedBody,
    EndedSession,
    HeldBody,
    KeptOld,
    KeysInForce,
    NodesBody,
    NodeView,
    Unreached,
)
from gateway.protocol.bodies import ExportEntry
from gateway.protocol.envelopes import Order, Record
from gateway.protocol.inventory import inventory
from gateway.runtime.node import Node
from gateway.runtime.orders import ANSWER_S, Told
from gateway.runtime.people import ENDED_WITHIN_S

R = TypeVar("R")
_ATTACHED: Final = TypeAdapter(tuple[AttachedSession, ...])
_CLOSED: Final = TypeAdapter(tuple[CloseView, ...])
_ENDED: Final = TypeAdapter(tuple[EndedSession, ...])
_ELSEWHERE: Final = "It was not found where nodes were reached; others were not."


class Desk:
    """Where operators are served.

    Invariant: every node that lives has answered, or is named in ``unreached``.

    Args:
        node: The node that they came to.
        named: Returns a user's keyed hash.
        act_id: Of the act that is served; the audit of all nodes names it.
    """

    def __init__(self, node: Node, named: Callable[[UserId], str], act_id: str) -> None:
        self._node = node
        self._named = named
        self._act_id = act_id

    # ---- looking ----

    async def sessions(self, limit: int, after: str) -> AttachedBody:
        """Return a page of the sessions that OSCC-E has accepted."""
        told = await self._ask("sessions", after=after, most=limit)
        found, unreached = _read(_ATTACHED, told)
        # while a user moves two nodes may speak for him: the one whose link serves the session is right
        best: dict[str, AttachedSession] = {}
        for one in found:
            if one.id not in best or one.attached:
                best[one.id] = one
        page = sorted(best.values(), key=lambda one: one.id)[:limit]
        more = len(best) > limit or any(each.page.more for each in told)
        return AttachedBody(tuple(page), unreached, page[-1].id if more and page else None)

    async def closes(self, limit: int, after: str) -> ClosesBody:
        """Return a page of the connections that ended, the newest first."""
        told = await self._ask("closes", after=after, most=limit)
        found, unreached = _read(_CLOSED, told)
        page = sorted(found, key=lambda one: one.id, reverse=True)[:limit]
        more = len(found) > limit or any(each.page.more for each in told)
        return ClosesBody(tuple(page), unreached, page[-1].id if more and page else None)

    def nodes(self) -> NodesBody:
        """Return the nodes that live, as this one knows them."""
        own = self._node.record()
        others = [each for each in self._node.fleet.nodes if each.holder != own.holder]
        views = [
            NodeView(
                each.node,
                each.version,
                each.connections,
                each.links,
                each.draining,
                each.accepts_per_s,
                here=each is own,
                sealing_keys=tuple(each.sealing_keys.split()),
            )
            for each in (own, *others)
        ]
        return NodesBody(tuple(sorted(views, key=lambda view: (view.node, not view.here))))

    async def export(self, name: str) -> HeldBody:
        """Return everything that live nodes hold about a user.

        Raises:
            GatewayError: ``not_found``: nobody knows of whom the hash is; ``bus_down``: perhaps somebody
                who was not reached.
        """
        user = user_of(name) or await self._whois(name)
        pages = await gather(self._node.orders, user, self._act_id)
        by_category: dict[str, list[Record]] = {}
        for told in pages:
            for record in told.page.records:
                held = {"node": told.node, **record["held"]}
                by_category.setdefault(record["category"], []).append(held)
        entries = tuple(
            ExportEntry(entry.category, tuple(by_category.get(entry.category, ())))
            for entry in inventory().entries
        )
        unreached = _unreached(pages)
        return HeldBody(
            user=self._named(user),
            at_ms=self._node.clock.wall_ms(),
            complete=not unreached and not any(each.page.more for each in pages),
            nodes=tuple(each.node for each in pages if each.trouble is None),
            unreached=unreached,
            entries=entries,
        )

    # ---- acting ----

    async def end_session(self, session: str) -> EndedBody:
        """End a session, wherever its phone is.

        Raises:
            GatewayError: ``not_found``, or ``bus_down`` when it may be where nobody was reached.
        """
        return self._ended(await self._ask("end_session", session, within_s=ENDED_WITHIN_S), "session")

    async def end_user(self, name: str) -> EndedBody:
        """End all sessions of a user.

        Raises:
            GatewayError: ``not_found``, or ``bus_down`` when he may be where nobody was reached.
        """
        user = user_of(name)
        subject = name if user is None else self._named(user)
        return self._ended(await self._ask("end_user", subject, within_s=ENDED_WITHIN_S), "user")

    async def everywhere(self, act: str, subject: str, node: str | None) -> DoneBody:
        """Have all nodes, or one, do something of which nothing is to be told but that it was done.

        Raises:
            GatewayError: ``not_found``: no such node lives; ``bus_down``: it was not reached.
        """
        told = await self._ask(act, subject, nodes=None if node is None else self._named_one(node))
        reached = [each for each in told if each.trouble is None]
        if not reached:
            raise _not_reached(_unreached(told), " ".join(_why(each) for each in told))
        kept = tuple(KeptOld(each.node, _kept(each)) for each in reached if _kept(each))
        done = tuple(each.node for each in reached if not _kept(each))
        keys = tuple(KeysInForce(each.node, names) for each in reached if (names := _keys(each)))
        return DoneBody(done, _unreached(told), kept or None, keys or None)

    async def drain(self, node: str | None) -> DrainBody:
        """Have a node leave; by default this one.

        Raises:
            GatewayError: ``not_found``: no such node lives; ``bus_down``: it was not reached.
        """
        done = await self.everywhere("drain", "", node or self._node.orders.node)
        return DrainBody(done.nodes[0])

    # ---- inner ----

    async def _ask(
        self,
        act: str,
        subject: str = "",
        *,
        after: str = "",
        most: int = 0,
        nodes: Iterable[NodeId] | None = None,
        within_s: float = ANSWER_S,
    ) -> list[Told]:
        orders = self._node.orders
        order = Order(orders.node, 0, act, subject, after, most, self._act_id)
        if nodes is None:
            return await orders.ask_all(order, within_s)
        return await orders.ask(order, nodes, within_s)

    def _named_one(self, node: str) -> tuple[NodeId, ...]:
        meant = tuple(each for each in self._node.orders.nodes if each == node)
        if not meant:
            raise GatewayError(ErrorCode.NOT_FOUND, "No node of that name lives.")
        return meant

    async def _whois(self, name: str) -> UserId:
        told = await self._ask("whois", name)
        for each in told:
            for record in each.page.records:
                return UserId(str(record["site"]), int(record["key"]))
        unreached = _unreached(told)
        raise _not_reached(unreached) if unreached else _nobody("user")

    def _ended(self, told: list[Told], what: str) -> EndedBody:
        found, unreached = _read(_ENDED, told)
        if not found:
            raise _not_reached(unreached) if unreached else _nobody(what)
        # several nodes may have ended the same: one confirmation is enough
        ended: dict[str, EndedSession] = {}
        for one in found:
            if one.id not in ended or one.confirmed:
                ended[one.id] = one
        return EndedBody(tuple(ended.values()), unreached)


def _read(adapter: TypeAdapter[tuple[R, ...]], told: list[Told]) -> tuple[list[R], tuple[Unreached, ...]]:
    """Return the records of all nodes; a node of another version whose words are not understood is named."""
    found: list[R] = []
    strange: list[Unreached] = []
    for each in told:
        try:
            found += adapter.validate_python(each.page.records)
        except ValidationError:
            strange.append(Unreached(each.node, "refused"))
    return found, (*_unreached(told), *strange)


def _kept(told: Told) -> tuple[str, ...]:
    """Return what a node said that it could not do of an act."""
    return tuple(str(record["kept"]) for record in told.page.records if "kept" in record)


def _keys(told: Told) -> tuple[str, ...]:
    """Return the sealing keys that a node said it has."""
    return tuple(str(name) for record in told.page.records for name in record.get("sealing_keys", ()))


def _unreached(told: Iterable[Told]) -> tuple[Unreached, ...]:
    return tuple(Unreached(each.node, each.trouble) for each in told if each.trouble is not None)


def _why(told: Told) -> str:
    """Return why a node that was named has not done it."""
    match told.trouble:
        case "not_heard":
            return f"Nobody is there: {told.node} has ended, or has lost its Redis."
        case "bus_down":
            return f"This node does not reach Redis, and so not {told.node}."
        case "refused":
            return f"{told.node} does not do that."
        case _:
            return f"{told.node} did not say in time that it was done."


def _not_reached(unreached: tuple[Unreached, ...], sentence: str = _ELSEWHERE) -> GatewayError:
    listed: list[dict[str, str | int | bool | None]] = [
        {"node": each.node, "reason": each.reason} for each in unreached
    ]
    return GatewayError(ErrorCode.BUS_DOWN, sentence, unreached=listed)


def _nobody(what: str) -> GatewayError:
    return GatewayError(ErrorCode.NOT_FOUND, f"No node knows that {what}.")
