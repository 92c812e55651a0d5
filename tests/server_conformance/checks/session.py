"""Checks: sessions over HTTPS."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final

from tests.server_conformance.registry import check
from tests.server_conformance.stage import Stage
from tests.server_conformance.verdicts import Skipped, expect

_LIST: Final = '`{"Sessions": [{"ID", "Application", "Device", "Since", "Attached"}]}`: the user\'s own'
_UNKNOWN: Final = (
    "These routes need the header `OSCCE-Session: <SessionID>`; 401 `SessionUnknown` when the session ended."
)
_DATE_S: Final = 5.0
"""So far may a server's two clocks be apart; `Date` has whole seconds."""


@check("session.unknown", "A session", _UNKNOWN, dashboards=1)
async def unknown(stage: Stage) -> None:
    """An ended session is refused everywhere, like one that never existed."""
    session = await stage.dashboard()
    await stage.success("DELETE", "/sessions/current", session.secret)
    for secret in (session.secret, "never-a-session-of-this-server"):
        for method, path in (("POST", "/sessions/current/keepalive"), ("GET", "/sessions")):
            await stage.refuses(401, "SessionUnknown", await stage.http(method, path, secret))


@check("session.keepalive", "A session", '200 `{"ExpiresAt"}`', dashboards=1)
async def keepalive(stage: Stage) -> None:
    """It never shortens a session's life."""
    session = await stage.dashboard()
    received = (await stage.success("POST", "/sessions/current/keepalive", session.secret))["ExpiresAt"]
    before = session.body["ExpiresAt"]
    expect(received >= before - 2000, f"ExpiresAt goes back from {before} to {received}")


@check("session.list", "A session", _LIST, dashboards=2)
async def listed(stage: Stage) -> None:
    """All sessions of the user, and of no other user."""
    mine = [await stage.dashboard() for _ in range(2)]
    other = await stage.dashboard(1)
    received = {
        each["ID"]: each for each in (await stage.success("GET", "/sessions", mine[0].secret))["Sessions"]
    }
    expect({each.public for each in mine} <= received.keys(), "a session of the user is not listed")
    expect(other.public not in received, "another user's session is listed")
    applications = {received[each.public]["Application"] for each in mine}
    expect(applications == {"Dashboard"}, f"Application is reported as {applications}")
    secrets = {each.secret for each in mine} & {
        str(value) for each in received.values() for value in each.values()
    }
    expect(not secrets, "the list reports a secret SessionID")


@check("session.attached", "A session", _LIST, dashboards=1)
async def attached(stage: Stage) -> None:
    """Attached says whether a session is on a link."""
    session, other = await stage.dashboard(), await stage.dashboard()
    link = await stage.open(session)

    async def states() -> tuple[Any, Any]:
        received = (await stage.success("GET", "/sessions", session.secret))["Sessions"]
        found = {each["ID"]: each["Attached"] for each in received}
        return found.get(session.public), found.get(other.public)

    on, off = await states()
    expect(
        (on, off) == (True, False), f"Attached is {on} for a session on a link, {off} for one that is on none"
    )
    await link.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(stage.driver.patience_s):
            while on:
                await asyncio.sleep(0.1)
                on, _ = await states()
    expect(on is False, f"Attached is {on} for a session whose link was closed")


@check("session.end_other", "A session", "as above, for another session of the user", dashboards=2)
async def end_other(stage: Stage) -> None:
    """A session ends another one of its user, and none of another user."""
    session, other, foreign = await stage.dashboard(), await stage.dashboard(), await stage.dashboard(1)
    await stage.success("DELETE", f"/sessions/{other.public}", session.secret)
    await stage.has_ended(other)
    await stage.http("DELETE", f"/sessions/{foreign.public}", session.secret)
    kept = await stage.keep_alive(foreign)
    expect(kept.status == 200, "another user's session was ended")


@check(
    "session.date",
    "A session",
    "The instants of an answer are by the server's clock. The gateway takes the difference",
    dashboards=1,
)
async def date(stage: Stage) -> None:
    """The clock of `Date` is that of the link's `Time`."""
    session = await stage.dashboard()
    link = await stage.open(session)
    header = session.reply.headers.get("Date")
    if header is None:
        raise Skipped("answers have no Date")
    given_s, time_s = parsedate_to_datetime(header).timestamp(), link.opened["Time"] / 1000
    expect(
        abs(time_s - given_s) < _DATE_S, f"Date and the link's Time are {abs(time_s - given_s):.0f} s apart"
    )
