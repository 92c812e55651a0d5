"""Checks: whole sets first, then changes, in order."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tests.server_conformance.checks.requests import reason_for
from tests.server_conformance.link import ANSWER_BEFORE_EVENTS, MILLIS, ONLY_ALL, Link, element, of_query
from tests.server_conformance.registry import check, of_agent, of_dashboard
from tests.server_conformance.stage import Stage, own_agent
from tests.server_conformance.verdicts import Skipped, expect

_FIRST: Final = "`QueryID`; then a first `Complete` event."
_WHOLE: Final = (
    "`Complete` = the whole set of the query: a User absent\nis logged off, other kinds absent are gone."
)
_CHANGED: Final = "Otherwise only the elements that changed; `Removed` left the set (a User: logged off)."
_SAME: Final = "one reading goes to all links with the same `Time` and the same bytes per element."
_KEYS: Final = '`EventType`, `Keys:[int]` or `"All"`'
_NULL: Final = "`null` is unknown or not applicable: nobody waits, nothing was answered."
_STATE_LASTS_S: Final = 8.0
_STEADY_MS: Final = 5_000
"""Readings of an instant may differ by 2 s, and a server may read every few seconds."""
_KINDS: Final = {
    "UserRealtime": ("UserKey", "Users"),
    "QueueRealtime": ("QueueKey", "Queues"),
    "GroupRealtime": ("GroupKey", "Groups"),
    "AggregateRealtime": ("AggregateKey", "Aggregates"),
    "QueueCumulative": ("QueueKey", "Queues"),
    "UserCumulative": ("UserKey", "Users"),
}
"""Event type → the field of the key, and the part of the scope."""


def _in_scope(link: Link, part: str) -> set[int]:
    return set((link.opened["Session"].get("Scope") or {}).get(part) or ())


def _register(event_type: str, key_name: str, part: str) -> None:
    @check(f"listen.first.{event_type}", "Messages", _FIRST, dashboards=1)
    async def play(stage: Stage) -> None:
        link = await stage.open(await stage.dashboard())
        _, first = await link.listen(event_type)
        expect(first.get("Complete") is True, f"the first event of {event_type} is not Complete")
        expect(first["EventType"] == event_type, f"the first event is of type {first['EventType']}")
        keys, scope = [each[key_name] for each in first["Elements"]], _in_scope(link, part)
        expect(len(keys) == len(set(keys)), f"a key stands twice in one event of {event_type}")
        expect(
            set(keys) <= scope,
            f"{event_type} reports what is not in the scope: {sorted(set(keys) - scope)[:5]}",
        )
        if event_type in {"QueueRealtime", "GroupRealtime", "AggregateRealtime"}:
            gone = sorted(scope - set(keys))
            expect(not gone, f"{event_type} does not report {gone[:5]}, so they are gone")


for _event_type, (_key_name, _part) in _KINDS.items():
    _register(_event_type, _key_name, _part)


@of_dashboard(
    "listen.first.Configuration",
    "Events",
    "`Complete` covers users (logged-off too), queues and groups of the union.",
)
async def configuration(stage: Stage, link: Link) -> None:
    """Skills and routing parameters of everything in the scope, with their versions."""
    _, first = await link.listen("Configuration")
    expect(first.get("Complete") is True, "the first event of Configuration is not Complete")
    for kind, part in (("User", "Users"), ("Queue", "Queues"), ("Group", "Groups")):
        received = {each["Key"] for each in first["Elements"] if each["ObjectType"] == kind}
        gone = sorted(_in_scope(link, part) - received)
        expect(not gone, f"Configuration reports nothing of {kind} {gone[:5]}")
    unversioned = [each["Key"] for each in first["Elements"] if not isinstance(each.get("Version"), int)]
    expect(not unversioned, f"no Version stands at {unversioned[:5]}")


@of_dashboard("listen.administration", ONLY_ALL.section, ONLY_ALL.quote)
async def administration(stage: Stage, link: Link) -> None:
    """Administration sends only changes: there is no first event."""
    answer = await link.done("ListenForEvents", EventType="Administration", Keys="All")
    query = answer.body["QueryID"]
    end = await link.settle()
    received = [
        each for each in link.messages[answer.at : end] if of_query(query)(each) and not each["Elements"]
    ]
    whole = [each for each in link.messages if of_query(query)(each) and each.get("Complete")]
    expect(not received and not whole, "Administration has a first event")


@of_dashboard("listen.answer_first", ANSWER_BEFORE_EVENTS.section, ANSWER_BEFORE_EVENTS.quote)
async def answer_first(stage: Stage, link: Link) -> None:
    """Several requests at once: each query has its own number, sent before its first event."""
    sent = [(kind, *await link.send("ListenForEvents", EventType=kind, Keys="All")) for kind in _KINDS]
    queries: dict[int, str] = {}
    for kind, number, mark in sent:
        answer = await link.answer(number, "ListenForEvents", mark)
        expect(answer.error == 0, f"ListenForEvents {kind} is answered {answer.error} {answer.name}")
        queries[answer.body["QueryID"]] = kind
        first = await link.received(
            of_query(answer.body["QueryID"]), f"the first event of {kind}", after=answer.at
        )
        expect(first["EventType"] == kind, f"the query of {kind} reports {first['EventType']}")
    expect(len(queries) == len(sent), "two queries have the same QueryID")


@of_dashboard("listen.keys", "Messages", _KEYS)
async def keys(stage: Stage, link: Link) -> None:
    """A request for one queue is answered with one queue."""
    scope = sorted(_in_scope(link, "Queues"))
    if len(scope) < 2:
        raise Skipped("the Dashboard's user sees fewer than two queues")
    _, first = await link.listen("QueueRealtime", [scope[1]])
    received = [each["QueueKey"] for each in first["Elements"]]
    expect(received == [scope[1]], f"asked for queue {scope[1]}, received {received[:5]}")


async def _set_state(link: Link, state: str, **fields: object) -> Any:  # noqa: ANN401 - the answer
    said = {"Session": link.alias, "UserKey": own_agent(link), "RoutingState": state, "When": "Now", **fields}
    return await link.done("SetRoutingState", **said)


@of_agent("listen.stop", "Messages", "| `StopListeningForEvents` | `QueryID` | – |")
async def stop(stage: Stage, link: Link) -> None:
    """After the response the query sends no more events."""
    query, _ = await link.listen("UserRealtime")
    answer = await link.done("StopListeningForEvents", QueryID=query)
    await _set_state(link, "Available")
    await _set_state(link, "Unavailable", **await reason_for(link, "Unavailable"))
    await link.settle()
    received = [each for each in link.messages[answer.at :] if of_query(query)(each)]
    expect(not received, "a stopped query reports an event")


@check("listen.changes", "Events", _CHANGED, agents=1, dashboards=1)
async def changes(stage: Stage) -> None:
    """An event of a change with Complete has the whole set; Removed has the kind of the query."""
    agent = await stage.open(await stage.agent())
    seen = await stage.open(await stage.dashboard())
    key = own_agent(agent)
    query, known = await _known_agents(stage, seen, key)
    mark = len(seen.messages)
    await _set_state(agent, "Available")
    event = await seen.received(_of_agent(query, key), "the event of a changed agent", after=mark)
    received = {each["UserKey"] for each in event["Elements"]}
    lost = known - received
    expect(
        not event.get("Complete") or not lost,
        f"a Complete event leaves {len(lost)} agents out, who are logged on",
    )
    expect(key not in (event.get("Removed") or ()), "an agent who is logged on is in Removed")


@check("listen.removed", "Events", _CHANGED, agents=1, dashboards=1)
async def removed(stage: Stage) -> None:
    """A user who logs off leaves the set, and is in it again after the next log-on."""
    session = await stage.agent()
    agent = await stage.open(session)
    seen = await stage.open(await stage.dashboard())
    key = own_agent(agent)
    query, _ = await _known_agents(stage, seen, key)
    mark = len(seen.messages)
    await stage.delete(session.secret)

    def left(event: dict[str, Any]) -> bool:
        whole = event.get("Complete") is True and all(each["UserKey"] != key for each in event["Elements"])
        return of_query(query)(event) and (key in (event.get("Removed") or ()) or whole)

    await seen.received(left, "an event with Removed, or a Complete one without the agent,", after=mark)
    mark = len(seen.messages)
    await stage.agent()
    await seen.received(_of_agent(query, key), "the event of the agent's next log-on", after=mark)


@check("listen.logged_off", "Events", _WHOLE, agents=1, dashboards=1)
async def logged_off(stage: Stage) -> None:
    """A Complete event has no user who is logged off, and every user who is logged on."""
    session = await stage.agent()
    key = own_agent(await stage.open(session))
    seen = await stage.open(await stage.dashboard())
    _, known = await _known_agents(stage, seen, key)
    expect(key in known, "an agent who is logged on is absent")
    await stage.delete(session.secret)
    _, after = await seen.listen("UserRealtime")
    expect(
        all(each["UserKey"] != key for each in after["Elements"]), "the event has an agent who is logged off"
    )


@check("listen.same_reading", "Events", _SAME, agents=1, dashboards=2)
async def same_reading(stage: Stage) -> None:
    """Two links receive the same values of one change."""
    agent = await stage.open(await stage.agent())
    key = own_agent(agent)
    links = [await stage.open(await stage.dashboard(number)) for number in range(2)]
    queries = [await stage.seen_agent(link, key) for link in links]
    marks = [len(link.messages) for link in links]
    await _set_state(agent, "Available")

    def is_available(one: dict[str, Any]) -> bool:
        return one.get("RoutingState") == "Available"

    events = [
        await link.received(element(query, "UserKey", key, is_available), "an event of the agent", after=mark)
        for link, query, mark in zip(links, queries, marks, strict=True)
    ]
    times = {event["Time"] for event in events}
    expect(len(times) == 1, f"one change is reported with the times {sorted(times)}")
    one, other = ([each for each in event["Elements"] if each["UserKey"] == key] for event in events)
    expect(one == other, "one change is reported with different elements")


@of_dashboard(
    "listen.query_unknown", "Messages", "What is not there, or not in the scope, is answered `NotFound`(5)"
)
async def query_unknown(stage: Stage, link: Link) -> None:
    """A query that does not exist cannot be stopped."""
    await link.refused(5, "StopListeningForEvents", QueryID=987_654_321)


@of_dashboard("listen.nobody_waits", "Events", _NULL)
async def nobody_waits(stage: Stage, link: Link) -> None:
    """Without a waiting contact there is no longest wait: 0 would mean that a contact came just now."""
    empty = 0
    for event_type, key_name in (("QueueRealtime", "QueueKey"), ("AggregateRealtime", "AggregateKey")):
        _, first = await link.listen(event_type)
        for each in first["Elements"]:
            if each.get("Contacts") == 0:
                empty += 1
                wait = each.get("OldestContactWaitTime")
                received = (
                    f"OldestContactWaitTime of {event_type} {each[key_name]} is {wait}, and Contacts is 0"
                )
                expect(wait is None, received)
    if not empty:
        raise Skipped("in each queue of the Dashboard's user a contact waits")


@of_agent("listen.seconds", MILLIS.section, MILLIS.quote)
async def seconds(stage: Stage, link: Link) -> None:
    """`Time` less the seconds of `TimeInRoutingState` is when the state began, whenever it is read."""
    before = (await link.done("KeepAlive")).body.get("Time") or link.opened["Time"]
    await _set_state(link, "Available")
    after = (await link.done("KeepAlive")).body.get("Time") or before
    await asyncio.sleep(_STATE_LASTS_S)
    _, event = await link.listen("UserRealtime")
    (own,) = [each for each in event["Elements"] if each["UserKey"] == own_agent(link)]
    since = event["Time"] - 1000 * own["TimeInRoutingState"]
    received = (
        f"TimeInRoutingState is {own['TimeInRoutingState']}, {(event['Time'] - after) / 1000:.1f} s after"
    )
    expect(before - _STEADY_MS <= since <= after + _STEADY_MS, f"{received} the state began")


async def _known_agents(stage: Stage, link: Link, key: int) -> tuple[int, set[int]]:
    query = await stage.seen_agent(link, key)
    (first,) = [each for each in link.messages if of_query(query)(each)][:1]
    return query, {each["UserKey"] for each in first["Elements"]}


def _of_agent(query: int, key: int) -> Any:  # noqa: ANN401 - a test of messages
    return element(query, "UserKey", key)
