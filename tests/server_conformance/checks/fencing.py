"""Checks: the token decides which link of a user counts."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.server_conformance.link import REPLACED, of_type
from tests.server_conformance.registry import check
from tests.server_conformance.stage import HOLDER, Stage, own_agent
from tests.server_conformance.verdicts import expect

FENCED: Final = ("LinkFencing",)
_STALE: Final = 'a lower one, or an equal one\nof another holder, is refused with 409 `LinkStale{"Token"}`;'
_HIGHER: Final = "a higher one (or equal of the same holder) replaces the present link atomically:"
_LIVES: Final = "The highest token is kept while\nthe user has a session."
_EXECUTED: Final = "A request that is read after the replacement is not executed."


def _headers(token: int, holder: str = HOLDER) -> dict[str, str]:
    return {"OSCCE-Link-Token": str(token), "OSCCE-Link-Holder": holder}


@check(
    "fencing.headers",
    "The link",
    "With the feature, both headers are required (else 400)",
    dashboards=1,
    features=FENCED,
)
async def headers(stage: Stage) -> None:
    """A gateway without fencing cannot bypass it."""
    session = await stage.dashboard()
    whole = _headers(stage.token())
    for missing in whole:
        reply = await stage.refuse_link(
            session.secret, {name: whole[name] for name in whole if name != missing}
        )
        expect(reply.status == 400, f"without {missing} the link is refused with {reply.status}")


@check("fencing.lower", "The link", _STALE, dashboards=1, features=FENCED)
async def lower(stage: Stage) -> None:
    """An old owner is refused, with the highest token; the present link stays open."""
    session, token = await stage.dashboard(), stage.token()
    link = await stage.open(session, token)
    reply = await stage.refuses(
        409, "LinkStale", await stage.refuse_link(session.secret, _headers(token - 1))
    )
    expect(reply.body.get("Token") == token, f"Token is {reply.body.get('Token')}, not {token}")
    await link.done("KeepAlive")


@check("fencing.other_holder", "The link", _STALE, dashboards=1, features=FENCED)
async def other_holder(stage: Stage) -> None:
    """Two owners with the same token: the first one stays."""
    session, token = await stage.dashboard(), stage.token()
    link = await stage.open(session, token)
    reply = await stage.refuse_link(session.secret, _headers(token, "somebody else"))
    await stage.refuses(409, "LinkStale", reply)
    await link.done("KeepAlive")


@check("fencing.same_holder", "The link", _HIGHER, dashboards=1, features=FENCED)
async def same_holder(stage: Stage) -> None:
    """An owner whose link broke opens a new one with its own token."""
    session, token = await stage.dashboard(), stage.token()
    old = await stage.open(session, token)
    new = await stage.open(session, token)
    await old.ended()
    await new.done("KeepAlive")


@check("fencing.replaced", REPLACED.section, REPLACED.quote, dashboards=1, features=FENCED)
async def replaced(stage: Stage) -> None:
    """The old owner receives the token that replaced it."""
    session = await stage.dashboard()
    old, token = await stage.open(session), stage.token()
    await stage.open(session, token)
    received = await old.received(of_type("LinkReplaced"), "LinkReplaced")
    expect(received.get("Token") == token, f"LinkReplaced reports token {received.get('Token')}, not {token}")
    code = await old.ended()
    expect(code == 4409, f"the replaced link is closed with {code}")


@check("fencing.not_executed", "The link", _EXECUTED, agents=1, features=FENCED)
async def not_executed(stage: Stage) -> None:
    """Neither a command under way nor a later one has an effect."""
    session = await stage.agent()
    old = await stage.open(session)
    key = own_agent(old)
    new = await stage.open(session)
    query, _ = await new.listen("UserRealtime")
    mark = len(new.messages)
    sent = {"Session": old.alias, "UserKey": key, "RoutingState": "Available", "When": "Now"}
    await old.say_if_open("SetRoutingState", **sent)
    await asyncio.sleep(0.3)  # links are not ordered among each other
    await new.settle()
    moved = [
        one
        for each in new.messages[mark:]
        if each.get("QueryID") == query
        for one in each["Elements"]
        if one["UserKey"] == key and one["RoutingState"] != "Unavailable"
    ]
    expect(not moved, "a command on the replaced link was executed")


@check("fencing.outlives_the_link", "The link", _LIVES, dashboards=1, features=FENCED)
async def outlives_the_link(stage: Stage) -> None:
    """A closed link fences like an open one."""
    session, token = await stage.dashboard(), stage.token()
    link = await stage.open(session, token)
    await link.close()
    reply = await stage.refuse_link(session.secret, _headers(token - 1))
    await stage.refuses(409, "LinkStale", reply)


@check("fencing.ends_with_the_last_session", "The link", _LIVES, dashboards=1, features=FENCED)
async def ends_with_the_last_session(stage: Stage) -> None:
    """Gateways that lost their count of tokens can continue after the next log-on."""
    session = await stage.dashboard()
    others = (await stage.success("GET", "/sessions", session.secret))["Sessions"]
    for other in others:
        if other["ID"] != session.public:
            await stage.http("DELETE", f"/sessions/{other['ID']}", session.secret)
    link = await stage.open(session)
    await link.close()
    await stage.success("DELETE", "/sessions/current", session.secret)
    await stage.open(await stage.dashboard(), token=1)


@check(
    "fencing.per_user",
    "The link",
    "the server remembers the highest token per user;",
    dashboards=2,
    features=FENCED,
)
async def per_user(stage: Stage) -> None:
    """A token of one user has no effect on another user."""
    low, high = stage.token(), stage.token()
    one = await stage.open(await stage.dashboard(0), high)
    await stage.open(await stage.dashboard(1), low)
    await one.done("KeepAlive")


@check("fencing.newest", "The link", "One link per user, and the token decides", dashboards=1)
async def newest(stage: Stage) -> None:
    """With the feature or without it: a user has one link, the newest that was accepted."""
    session = await stage.dashboard()
    old = await stage.open(session)
    new = await stage.open(session)
    await old.ended()
    await new.done("KeepAlive")


@check("fencing.sessions_stay_behind", "The link", "One link per user, and the token decides", dashboards=1)
async def sessions_stay_behind(stage: Stage) -> None:
    """The session that opened a new link is attached to it, and the user's others can be attached, too.

    Of the others' `Attached` until then the page says nothing; that they are absent is `presence.replaced`.
    """
    first, second = await stage.dashboard(), await stage.dashboard()
    old = await stage.open(first)
    await old.done("AttachSession", SessionID=second.secret)
    new = await stage.open(first)
    received = (await stage.success("GET", "/sessions", first.secret))["Sessions"]
    states = {each["ID"]: each["Attached"] for each in received}
    expect(states.get(first.public) is True, "the session that opened the new link is not attached to it")
    alias = (await new.done("AttachSession", SessionID=second.secret)).body["Session"]
    expect(alias != new.alias, "two sessions have the same alias")
    await new.done("Presence", Session=alias, Present=True)
