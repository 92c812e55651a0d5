"""Checks: a request is executed once, in time, and always answered."""

from __future__ import annotations

from typing import Any, Final

from tests.server_conformance.checks.directory import REASONS, objects
from tests.server_conformance.link import RESPONSES, Link, element, of_query
from tests.server_conformance.registry import check, of_agent, of_dashboard
from tests.server_conformance.stage import Stage, own_agent
from tests.server_conformance.verdicts import Skipped, expect

_EXPIRED: Final = "A request past `NotAfter` is answered `Expired(63)` and not executed."
_ONCE: Final = "repeated `RequestKey` of the same session within 10 min gets the first response"
_UNREADABLE: Final = "A message that cannot be read closes the link (1002, 1007 or 1009)"
_METHOD: Final = "an unknown method `MethodUnknown`(2); the link stays."
_BAD: Final = "A request that lacks a field or has one of another type is answered `BadRequest`(1)"


def asked(link: Link, state: str, agent: int | None = None, **fields: object) -> dict[str, Any]:
    """Return the fields of a request for a state of *agent*, of the link's own agent if none is given."""
    key = own_agent(link) if agent is None else agent
    return {"Session": link.alias, "UserKey": key, "RoutingState": state, "When": "Now", **fields}


async def reason_for(link: Link, state: str) -> dict[str, Any]:
    """Return the reason for a request for *state* as a field; nothing where the state needs none."""
    told = await objects(link, *REASONS)
    if not any(state in (each.get("RequiredFor") or ()) for kind in REASONS for each in told[kind]):
        return {}
    fitting = told.get(f"{state}Reason")
    if not fitting:
        raise Skipped(f"the state {state} needs a reason here, and there is none for it")
    return {"ReasonKey": fitting[0]["Key"]}


async def present_state(link: Link) -> str:
    """Return the agent's present routing state."""
    _, first = await link.listen("UserRealtime")
    key = own_agent(link)
    (state,) = [each["RoutingState"] for each in first["Elements"] if each["UserKey"] == key]
    return str(state)


async def stays_unavailable(link: Link, otherwise: str) -> None:
    """Hold that the agent is as after a log-on: what must not be executed was not."""
    state = await present_state(link)
    expect(state == "Unavailable", f"{otherwise}: the agent is {state}")


@of_dashboard("requests.each_answered", RESPONSES.section, RESPONSES.quote)
async def each_answered(stage: Stage, link: Link) -> None:
    """Each of many requests at once has one response, with its number."""
    sent = [await link.send("KeepAlive") for _ in range(20)]
    for number, mark in sent:
        answer = await link.answer(number, "KeepAlive", mark)
        expect(answer.error == 0, f"KeepAlive is answered {answer.error} {answer.name}")
    await link.settle()


@of_agent("requests.expired", "Messages", _EXPIRED)
async def expired(stage: Stage, link: Link) -> None:
    """A command that is too late has no effect; one in time has one."""
    now = (await link.done("KeepAlive")).body.get("Time") or link.opened["Time"]
    await link.refused(63, "SetRoutingState", **asked(link, "Available", NotAfter=now - 60_000))
    await stays_unavailable(link, "an expired command was executed")
    await link.done("SetRoutingState", **asked(link, "Available", NotAfter=now + 60_000))


@of_agent("requests.key_once", "Messages", _ONCE, features=("RequestKeys",))
async def key_once(stage: Stage, link: Link) -> None:
    """A command that is sent twice is executed once, and gets the same answer."""
    first = await link.done("SetRoutingState", **asked(link, "Available", RequestKey="kit-1"))
    reason = await reason_for(link, "Unavailable")
    await link.done("SetRoutingState", **asked(link, "Unavailable", RequestKey="kit-2", **reason))
    again = await link.ask("SetRoutingState", **asked(link, "Available", RequestKey="kit-1"))
    received, before = again.body.get("State"), first.body.get("State")
    expect(
        again.error == 0 and received == before,
        f"the repeated command is answered {received or again.name}, not {before}",
    )
    await stays_unavailable(link, "a repeated command was executed again")


@check("requests.key_refused", "Messages", _ONCE, agents=1, dashboards=1, features=("RequestKeys",))
async def key_refused(stage: Stage) -> None:
    """A refusal is an answer, too: the request is not executed when it could be, later."""
    session = await stage.agent()
    key = own_agent(await stage.open(session))
    link = await stage.open(await stage.dashboard())
    if "RoutingStateWrite" not in (link.opened["Session"].get("Rights") or ()):
        raise Skipped("the Dashboard's user has no right RoutingStateWrite")
    await stage.seen_agent(link, key)
    await stage.success("DELETE", "/sessions/current", session.secret)
    said = {"Session": link.alias, "UserKey": key, "RoutingState": "Available", "When": "Now"}
    first = await link.ask("SetRoutingState", **said, RequestKey="kit-1")
    expect(first.error != 0, "the state of an agent who is logged off was set")
    agent = await stage.open(await stage.agent())
    again = await link.ask("SetRoutingState", **said, RequestKey="kit-1")
    expect(
        again.error == first.error,
        f"the repeated command is answered {again.error} {again.name}, not {first.error} {first.name}",
    )
    await stays_unavailable(agent, "a refused command was executed when it was repeated")


@check("requests.key_on_next_link", "Messages", _ONCE, agents=1, features=("RequestKeys",))
async def key_on_next_link(stage: Stage) -> None:
    """The key belongs to the session: a command is sent again after the loss of a link."""
    session = await stage.agent()
    link = await stage.open(session)
    await link.done("SetRoutingState", **asked(link, "Available", RequestKey="kit-1"))
    reason = await reason_for(link, "Unavailable")
    await link.done("SetRoutingState", **asked(link, "Unavailable", RequestKey="kit-2", **reason))
    await link.close()
    link = await stage.open(session)
    again = await link.ask("SetRoutingState", **asked(link, "Available", RequestKey="kit-1"))
    expect(again.error == 0, f"the repeated command is answered {again.error} {again.name}")
    await stays_unavailable(link, "a repeated command was executed again")


@of_agent("requests.new_key", "Messages", _ONCE, features=("RequestKeys",))
async def new_key(stage: Stage, link: Link) -> None:
    """Another key is another command, even with the same content."""
    for number, state in enumerate(("Available", "Unavailable")):
        reason = await reason_for(link, state)
        await link.done("SetRoutingState", **asked(link, state, RequestKey=f"kit-{number}", **reason))
    await stays_unavailable(link, "a command with a key of its own was not executed")


@check("requests.key_of_session", "Messages", _ONCE, agents=1, dashboards=1, features=("RequestKeys",))
async def key_of_session(stage: Stage) -> None:
    """A key is stored for its session: the same key of another session is another command."""
    key = own_agent(await stage.open(await stage.agent()))
    link = await stage.open(await stage.dashboard())
    if "RoutingStateWrite" not in (link.opened["Session"].get("Rights") or ()):
        raise Skipped("the Dashboard's user has no right RoutingStateWrite")
    query = await stage.seen_agent(link, key)
    other = (await link.done("AttachSession", SessionID=(await stage.dashboard()).secret)).body["Session"]
    said = {"UserKey": key, "When": "Now", "RequestKey": "kit-1"}
    reason = await reason_for(link, "Unavailable")
    await link.done("SetRoutingState", **said, Session=link.alias, RoutingState="Available")
    answer = await link.ask("SetRoutingState", **said, Session=other, RoutingState="Unavailable", **reason)

    def left(one: dict[str, Any]) -> bool:
        return bool(one["RoutingState"] == "Unavailable")

    received = link.between(answer, element(query, "UserKey", key, left))
    expect(answer.error == 0 and received, "the same key of another session was not executed")


@of_dashboard("requests.unknown_fields", "Conventions", "Unknown fields are ignored;")
async def unknown_fields(stage: Stage, link: Link) -> None:
    """A newer gateway may send more fields."""
    await link.done("KeepAlive", FromTheFuture={"Some": ["thing"]})
    answer = await link.done("ListenForEvents", EventType="QueueRealtime", Keys="All", FromTheFuture=1)
    await link.received(of_query(answer.body["QueryID"]), "the first event of QueueRealtime", after=answer.at)


@of_agent("requests.bad", "Messages", _BAD)
async def bad(stage: Stage, link: Link) -> None:
    """A request without a field, or with one of another type, is refused, and has no other effect."""
    whole = asked(link, "Available")
    await link.refused(
        1, "SetRoutingState", **{name: whole[name] for name in whole if name != "RoutingState"}
    )
    await link.refused(1, "SetRoutingState", **{**whole, "RoutingState": ["Available"]})
    await link.refused(1, "ListenForEvents", EventType="UserRealtime", Keys="Some")
    await stays_unavailable(link, "a request that cannot be read was executed")


@of_dashboard("requests.unknown_method", "Messages", _METHOD)
async def unknown_method(stage: Stage, link: Link) -> None:
    """A newer gateway may send other methods."""
    await link.refused(2, "DoSomethingOfTheFuture", Session=link.alias)
    await link.done("KeepAlive")


@check("requests.unreadable", "Conventions", _UNREADABLE, dashboards=1)
async def unreadable(stage: Stage) -> None:
    """To skip a message would be to lose a command, also where it is JSON and no object."""
    for text in ('{"Type":"Request","RequestID":1,', "[]"):
        link = await stage.open(await stage.dashboard())
        await link.say(text)
        code = await link.ended(cause=text)
        expect(code in {1002, 1007, 1009}, f"after {text} the link is closed with {code}")


@of_agent(
    "requests.session_unknown",
    "Messages",
    "A request for a `Session` that is not attached is answered `SessionUnknown`(3)",
)
async def session_unknown(stage: Stage, link: Link) -> None:
    """A command needs a session with the rights for it."""
    await link.refused(3, "SetRoutingState", **asked(link, "Available", Session=link.alias + 1000))
    await stays_unavailable(link, "a command without a session was executed")
