"""Checks: changes of scope and rights, in order and effective at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.server_conformance.checks.directory import objects
from tests.server_conformance.link import Link, element, of_query
from tests.server_conformance.registry import check, of_dashboard
from tests.server_conformance.stage import Stage
from tests.server_conformance.verdicts import Skipped, expect

_UNION: Final = "A change of the union sends a `Complete` event"
_GROWTH: Final = "then `Added` with `Object` for each object gained, then the Complete events."
_SESSION: Final = 'scope and rights: `{ObjectType:"Session",Session,Rights,Scope}`'
_CHANGED: Final = '`{ObjectType,Key,Change:"Added"\\|"Changed"\\|"Removed",Object?}`;'
PARTS: Final = ("Users", "Queues", "Groups", "Aggregates")


@asynccontextmanager
async def _narrowed(stage: Stage) -> AsyncIterator[tuple[Link, dict[str, list[int]], dict[str, list[int]]]]:
    """Give a link whose user sees one queue less than before; yields the old scope and the new one, too."""
    link = await stage.open(await stage.dashboard())
    received = link.opened["Session"]["Scope"]
    old = {part: sorted(received.get(part) or ()) for part in PARTS}
    if len(old["Queues"]) < 2:
        raise Skipped("the Dashboard's user sees fewer than two queues")
    new = {**old, "Queues": old["Queues"][:-1]}
    try:
        yield link, old, new
    finally:
        await set_scope(stage, old)


async def set_scope(stage: Stage, scope: dict[str, list[int]]) -> None:
    """Give the check's first Dashboard another scope."""
    said = {part.lower(): keys for part, keys in scope.items()}
    await stage.cause("set_scope", user=stage.dashboards[0].name, **said)


def _administration(link: Link, after: int, kind: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the elements of a kind that Administration sent, with their places."""
    return [
        (place, one)
        for place, each in enumerate(link.messages[after:], after)
        if each.get("Type") == "Event" and each["EventType"] == "Administration"
        for one in each["Elements"]
        if one["ObjectType"] == kind
    ]


def _complete(query: int, keys: list[int]) -> Any:  # noqa: ANN401 - a test of messages
    def fits(each: dict[str, Any]) -> bool:
        whole = of_query(query)(each) and each.get("Complete") is True
        return whole and sorted(one["QueueKey"] for one in each["Elements"]) == keys

    return fits


@check("scope.narrowed", "Messages", _UNION, dashboards=1, hooks=("set_scope",))
async def narrowed(stage: Stage) -> None:
    """A resource that leaves the scope leaves the set."""
    async with _narrowed(stage) as (link, _, new):
        queries = {kind: (await link.listen(kind))[0] for kind in ("QueueRealtime", "QueueCumulative")}
        await link.done("ListenForEvents", EventType="Administration", Keys="All")
        mark = await link.settle()
        await set_scope(stage, new)
        for kind, query in queries.items():
            smaller = _complete(query, new["Queues"])
            await link.received(smaller, f"a Complete event of the smaller set of {kind}", after=mark)
        received = _administration(link, mark, "Session")
        expect(received, "no element of Administration reports the new scope")
        queues = sorted(received[-1][1]["Scope"]["Queues"])
        expect(
            queues == new["Queues"],
            f"the Session element reports {len(queues)} queues, not {len(new['Queues'])}",
        )
        gone = {each["Key"] for each in (await objects(link, "Queue"))["Queue"]} - set(new["Queues"])
        expect(not gone, "the directory reports a queue that is no longer in the scope")


@check("scope.grown", "Events", _GROWTH, dashboards=1, hooks=("set_scope",))
async def grown(stage: Stage) -> None:
    """First the scope of the session, then the objects, then their values."""
    async with _narrowed(stage) as (link, old, new):
        await set_scope(stage, new)
        query, _ = await link.listen("QueueRealtime")
        await link.done("ListenForEvents", EventType="Administration", Keys="All")
        mark = await link.settle()
        await set_scope(stage, old)
        whole = await link.received(
            _complete(query, old["Queues"]), "a Complete event of the larger set", after=mark
        )
        at = next(place for place, each in enumerate(link.messages) if each is whole)
        gained = old["Queues"][-1]
        sessions = [place for place, _ in _administration(link, mark, "Session")]
        added = [
            place
            for place, one in _administration(link, mark, "Queue")
            if one.get("Key") == gained and one.get("Change") == "Added" and one.get("Object")
        ]
        expect(sessions and sessions[0] < at, "the Complete event comes before the Session element")
        expect(added and added[0] < at, "the Complete event comes before Added with the Object")
        expect(sessions[0] <= added[0], "Added comes before the Session element")


@of_dashboard("scope.rights", "Events", _SESSION, hooks=("set_rights",))
async def rights(stage: Stage, link: Link) -> None:
    """The loss of a right is sent, and a command that needs it is Forbidden."""
    old = list(link.opened["Session"].get("Rights") or ())
    if "RoutingStateWrite" not in old:
        raise Skipped("the Dashboard's user has no right RoutingStateWrite")
    await link.done("ListenForEvents", EventType="Administration", Keys="All")
    mark = await link.settle()
    new = [each for each in old if each != "RoutingStateWrite"]
    user = stage.dashboards[0].name
    await stage.cause("set_rights", user=user, rights=new)
    try:
        await link.received(
            lambda each: any(one["ObjectType"] == "Session" for one in each.get("Elements", ())),
            "the Session element",
            after=mark,
        )
        received = [one["Rights"] for _, one in _administration(link, mark, "Session")]
        expect(sorted(received[-1]) == sorted(new), f"Rights are reported as {received[-1]}, not {new}")
        users = link.opened["Session"]["Scope"].get("Users") or (0,)
        said = {"Session": link.alias, "UserKey": users[0], "RoutingState": "Unavailable", "When": "Now"}
        await link.refused(4, "SetRoutingState", **said)
    finally:
        await stage.cause("set_rights", user=user, rights=old)


@check("scope.union", "Messages", _UNION)
async def union(stage: Stage) -> None:
    """An agent's link that the user's Dashboard session joins has the union of both scopes."""
    both = stage.driver.both
    if both is None:
        raise Skipped("the driver names no user of both applications: [both]")
    agent, dashboard = await stage.log_on(both, "RemoteAssistant"), await stage.log_on(both)
    link = await stage.open(agent)
    query, first = await link.listen("UserRealtime")
    before = {each["UserKey"] for each in first["Elements"]}
    mark = len(link.messages)
    attached = (await link.done("AttachSession", SessionID=dashboard.secret)).body
    more = set(attached["Scope"].get("Users") or ()) - set(link.opened["Session"]["Scope"].get("Users") or ())
    if not more:
        raise Skipped("the user sees no more agents in the Dashboard than in the Remote Assistant")
    whole = await link.received(
        lambda each: of_query(query)(each) and each.get("Complete") is True,
        "a Complete event of the larger set",
        after=mark,
    )
    expect(
        before <= {each["UserKey"] for each in whole["Elements"]},
        "the larger set lacks what was in the smaller one",
    )
    mark = len(link.messages)
    await link.done("DetachSession", Session=attached["Session"])
    smaller = await link.received(
        lambda each: of_query(query)(each) and each.get("Complete") is True,
        "a Complete event of the smaller set",
        after=mark,
    )
    seen = more & {each["UserKey"] for each in smaller["Elements"]}
    expect(not seen, "the event has agents that no attached session may see")


@of_dashboard("scope.renamed", "Events", _CHANGED, hooks=("rename_queue",))
async def renamed(stage: Stage, link: Link) -> None:
    """A queue with a new name is sent with its whole entry."""
    queues = (await objects(link, "Queue"))["Queue"]
    if not queues:
        raise Skipped("the Dashboard's user sees no queue")
    key, name = queues[0]["Key"], queues[0]["Name"]
    query = (await link.done("ListenForEvents", EventType="Administration", Keys="All")).body["QueryID"]
    mark = await link.settle()
    await stage.cause("rename_queue", key=key, name=f"{name} (kit)")
    try:
        event = await link.received(element(query, "Key", key), "an element of the renamed queue", after=mark)
        (received,) = [one for one in event["Elements"] if one.get("Key") == key][:1]
        expect(received.get("Change") == "Changed", f"Change is {received.get('Change')}")
        expect(
            (received.get("Object") or {}).get("Name") == f"{name} (kit)",
            "Object does not report the new name",
        )
    finally:
        await stage.cause("rename_queue", key=key, name=name)
