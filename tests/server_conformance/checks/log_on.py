"""Checks: accepted and refused log-ons."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from tests.server_conformance.driver import User
from tests.server_conformance.errors import STATUSES
from tests.server_conformance.link import MILLIS, YEAR_2001_MS, Link
from tests.server_conformance.registry import check, of_agent
from tests.server_conformance.stage import Stage, own_agent, session_ended
from tests.server_conformance.verdicts import Sentence, Skipped, expect

_SECOND: Final = "A second RemoteAssistant log-on gets 409 unless `Takeover` is true,"
_LIKEWISE: Final = "A new Dashboard log-on of the same user and `Device.ID` ends the older one likewise."
_NEVER_ATTACHED: Final = "A session never attached within 120 s ends itself"
_ROWS: Final = {
    401: "| 401 | `InvalidCredentials` |",
    403: "| 403 | `AccountBlocked`, `RoleMissing` |",
    409: "| 409 | `AlreadyLoggedOn{Where,Since}`, `NumberInUse` |",
    422: "| 422 | `RemoteNumberMissing`, `RemoteNumberInvalid`, `RemoteNumberNotAllowed` |",
    423: "| 423 | `AccountLocked{RetryAfter}` |",
    503: "| 503 | `FunctionUnavailable{Function}` |",
}


@check("log_on.dashboard", "Log on", "answers 201 with", dashboards=1)
async def dashboard(stage: Stage) -> None:
    """Every field of the answer is of its type."""
    await stage.dashboard()


@check("log_on.assistant", "Log on", "answers 201 with", agents=1)
async def assistant(stage: Stage) -> None:
    """An agent logs on with a remote number."""
    await stage.agent()


@check("log_on.secret", "Log on", '`{"SessionID": "<≥ 128 random bits, secret>"'.strip("`"), dashboards=1)
async def secret(stage: Stage) -> None:
    """The secrets of two sessions are long and independent."""
    one, other = (await stage.dashboard(), await stage.dashboard())
    for session in (one, other):
        short = len(session.secret) * 6.57 < 128
        expect(not short, f"a SessionID of {len(session.secret)} characters has fewer than 128 bits")
        expect(session.secret != session.public, "the public ID is the secret SessionID")
    alike = sum(left == right for left, right in zip(one.secret, other.secret, strict=False))
    expect(alike < min(len(one.secret), len(other.secret)) / 2, "two SessionIDs are nearly the same")


@check("log_on.public", "Log on", "A later session of the same user has another `ID`", dashboards=1)
async def public(stage: Stage) -> None:
    """The public ID of a session that has ended is not given again."""
    ended = await stage.dashboard()
    await stage.success("DELETE", "/sessions/current", ended.secret)
    later = await stage.dashboard()
    expect(ended.public != later.public, "the ID of an ended session was given to a later one")


@check("log_on.times", MILLIS.section, MILLIS.quote, dashboards=1)
async def times(stage: Stage) -> None:
    """ExpiresAt is an instant in milliseconds."""
    received = (await stage.dashboard()).body["ExpiresAt"]
    expect(received > YEAR_2001_MS, f"ExpiresAt is {received}")


@check(
    "log_on.idle_timeout",
    "A session",
    "It is 1..3600 s for a RemoteAssistant session; 0 means never, for Dashboard sessions only.",
    agents=1,
)
async def idle_timeout(stage: Stage) -> None:
    """An agent without a device does not stay logged on for ever."""
    received = (await stage.agent()).body.get("IdleTimeout")
    expect(
        received is not None and 1 <= received <= 3600,
        f"IdleTimeout of a RemoteAssistant session is {received}",
    )


@check("log_on.wrong_password", "Log on", _ROWS[401], dashboards=1)
async def wrong_password(stage: Stage) -> None:
    """A wrong password and an unknown name get the same answer."""
    known = stage.dashboards[0]
    for user in (User(known.name, f"{known.password}-wrong"), User("nobody-at-all-of-this-name", "x")):
        await stage.refuses(401, "InvalidCredentials", await stage.try_log_on(user, "Dashboard"))
    await stage.dashboard()  # a single mistake locks nobody out


@check(
    "log_on.malformed",
    "Log on",
    "A body that is no such object is refused with 400 `BadRequest` or another 4xx.",
    dashboards=1,
)
async def malformed(stage: Stage) -> None:
    """An unreadable body is refused, and is no failure of the server.

    "Or another 4xx": frameworks that read bodies by a schema answer 422; the gateway sends no such body.
    """
    user = stage.dashboards[0]
    whole = {"UserName": user.name, "Password": user.password, "Device": stage.device()}
    for body in ('{"Application": "Dash', "[]", '{"UserName": 7}', json.dumps(whole)):
        reply = await stage.http("POST", "/sessions", data=body, headers={"Content-Type": "application/json"})
        expect(400 <= reply.status < 500, f"{body[:20]}… is answered {reply.status} {reply.error or ''}")


@check("log_on.unknown_fields", "Conventions", "Unknown fields are ignored;", dashboards=1)
async def unknown_fields(stage: Stage) -> None:
    """A newer gateway may send more fields."""
    await stage.dashboard(FromTheFuture={"Some": ["thing"]})


@check("log_on.many_dashboards", "Log on", "A user holds any number of Dashboard sessions", dashboards=1)
async def many_dashboards(stage: Stage) -> None:
    """Three devices of one user, and all stay logged on."""
    sessions = [await stage.dashboard() for _ in range(3)]
    for session in sessions:
        await stage.success("POST", "/sessions/current/keepalive", session.secret)


@check("log_on.same_device_dashboard", "Log on", _LIKEWISE, dashboards=1)
async def same_device_dashboard(stage: Stage) -> None:
    """The older session ends as taken over."""
    device = stage.device()
    old = await stage.dashboard(Device=device)
    link = await stage.open(old)
    await stage.dashboard(Device=device)
    reason = await session_ended(link, link.alias)
    expect(reason == "TakenOver", f"the older session ends as {reason}")


@check("log_on.already_logged_on", "Log on", _SECOND, agents=1)
async def already_logged_on(stage: Stage) -> None:
    """The refusal has the place and the time of the other log-on, and the session goes on.

    "`AlreadyLoggedOn{Where,Since}`": the words of Where are the server's, as people are to read them.
    """
    first = await stage.agent()
    reply = await stage.refuses(
        409, "AlreadyLoggedOn", await stage.try_log_on(stage.agents[0], "RemoteAssistant")
    )
    row = Sentence("Log on", _ROWS[409])
    where, since = reply.body.get("Where"), reply.body.get("Since")
    expect(isinstance(where, str) and where, f"Where is {where!r}", row)
    expect(isinstance(since, int) and since > YEAR_2001_MS, f"Since is {since!r}", row)
    await stage.success("POST", "/sessions/current/keepalive", first.secret)


@check(
    "log_on.takeover",
    "Log on",
    "then the old session ends with `TakenOver` and the agent stays logged on with the new number.",
    agents=1,
    dashboards=1,
)
async def takeover(stage: Stage) -> None:
    """A take-over moves the agent to another device and number, without a log-off."""
    number = stage.number(1)
    old = await stage.agent()
    link = await stage.open(old)
    key = own_agent(link)
    seen = await stage.open(await stage.dashboard())
    query = await stage.seen_agent(seen, key)
    reply = await stage.try_log_on(stage.agents[0], "RemoteAssistant", Takeover=True, RemoteNumber=number)
    new = stage.logged_on(stage.agents[0], reply)
    reason = await session_ended(link, link.alias)
    expect(reason == "TakenOver", f"the old session ends as {reason}")
    await stage.has_ended(old)
    await seen.settle()
    off = [
        each for each in seen.messages if each.get("QueryID") == query and key in (each.get("Removed") or ())
    ]
    expect(not off, "the agent is logged off by the take-over")
    await link.done("AttachSession", SessionID=new.secret)


@check(
    "log_on.takeover_number",
    "Log on",
    "then the old session ends with `TakenOver` and the agent stays logged on with the new number.",
    agents=1,
)
async def takeover_number(stage: Stage) -> None:
    """Calls go to the number of the new session; the agent's own element has it, if the server sends it."""
    received: list[str | None] = []
    for number in (stage.number(0), stage.number(1)):
        link = await stage.open(await stage.agent(RemoteNumber=number))
        _, first = await link.listen("UserRealtime")
        (own,) = [each for each in first["Elements"] if each["UserKey"] == own_agent(link)]
        received.append((own.get("Remote") or {}).get("RemoteNumber"))
    if None in received:
        raise Skipped("the server does not report an agent's own RemoteNumber")
    expect(received[0] != received[1], "after the take-over the number of the old session is in effect")


@check(
    "log_on.same_device", "Log on", "or `Device.ID` equals the old session's (silent replacement);", agents=1
)
async def same_device(stage: Stage) -> None:
    """The same device needs no Takeover."""
    device = stage.device()
    link = await stage.open(await stage.agent(Device=device))
    stage.logged_on(
        stage.agents[0], await stage.try_log_on(stage.agents[0], "RemoteAssistant", Device=device)
    )
    reason = await session_ended(link, link.alias)
    expect(reason == "TakenOver", f"the old session ends as {reason}")


@of_agent("log_on.unavailable", "State rules", "Log on → `unavailable`.")
async def unavailable(stage: Stage, link: Link) -> None:
    """No contact comes before the agent requests it."""
    _, first = await link.listen("UserRealtime")
    own = own_agent(link)
    (state,) = [each["RoutingState"] for each in first["Elements"] if each["UserKey"] == own] or [
        "logged off"
    ]
    expect(state == "Unavailable", f"after a log-on the agent is {state}")


async def _refused(stage: Stage, error: str) -> None:
    how = stage.driver.refusals.get(error)
    if how is None:
        raise Skipped(f"the driver file has no log-on that is refused with {error}: [refusals.{error}]")
    if "before" in how:
        await stage.driver.bring_about(f"refusals.{error}.before", how["before"])
    user = User(str(how["user"]), str(how["password"]))
    application = str(how.get("application", "Dashboard"))
    number = {"RemoteNumber": how.get("remote_number")}
    if error == "NumberInUse":
        await stage.agent()
        number = {"RemoteNumber": stage.number(0)}
    wrong = User(user.name, f"{user.password}-wrong")
    for _ in range(int(how.get("wrong_passwords", 0))):
        await stage.try_log_on(wrong, application, **number)
    reply = await stage.try_log_on(user, application, **number)
    await stage.refuses(STATUSES[error], error, reply)
    if error == "AccountLocked":
        after = reply.body.get("RetryAfter")
        expect(isinstance(after, int | float), f"RetryAfter is {after!r}")


def _register(error: str) -> None:
    @check(f"log_on.refused.{error}", "Log on", _ROWS[STATUSES[error]], agents=int(error == "NumberInUse"))
    async def play(stage: Stage) -> None:
        await _refused(stage, error)


for _error in (
    "AccountBlocked",
    "AccountLocked",
    "RoleMissing",
    "RemoteNumberMissing",
    "RemoteNumberInvalid",
    "RemoteNumberNotAllowed",
    "NumberInUse",
):
    _register(_error)


@check("log_on.never_attached", "Log on", _NEVER_ATTACHED, dashboards=1, slow_s=150)
async def never_attached(stage: Stage) -> None:
    """A gateway that ended between log-on and link leaves nothing behind."""
    session = await stage.dashboard()
    await asyncio.sleep(100)
    listed = await stage.http("GET", "/sessions", session.secret)
    expect(listed.status == 200, "it has ended after 100 s")
    await asyncio.sleep(30)
    await stage.has_ended(session)
