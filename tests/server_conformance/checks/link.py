"""Checks: how a link opens, and how long it lives."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.server_conformance.link import FIRST, Link, of_type
from tests.server_conformance.registry import check, of_dashboard
from tests.server_conformance.stage import HOLDER, PROTOCOL, Stage, session_ended
from tests.server_conformance.verdicts import Failed, expect

_LIVES: Final = "It stays open while any attached session lives."
_LINGERS: Final = "After the last one it stays 5 s (a takeover may follow) and is closed with 1000."
_SILENT: Final = "the server drops a link silent for 3× KeepAlive"
_UPGRADE: Final = "`GET /oscce/v1/link`, WebSocket subprotocol `oscce.link.v1`."


@check("link.opens", FIRST.section, FIRST.quote, dashboards=1)
async def opens(stage: Stage) -> None:
    """The first message has the user of the link and the rights of its session."""
    session = await stage.dashboard()
    link = await stage.open(session)
    user, attached = link.opened["User"], link.opened["Session"]
    expect(user["Key"] == session.body["User"]["Key"], f"the link is of user {user['Key']}")
    expect(attached["ID"] == session.public, f"Session.ID is {attached['ID']!r}, not that of the log-on")
    expect(attached.get("Application") == "Dashboard", f"Application is {attached.get('Application')!r}")
    expect(isinstance(attached.get("Scope"), dict), "LinkOpened reports no Scope of its session")
    expect(isinstance(attached.get("Rights"), list), "LinkOpened reports no Rights of its session")


@of_dashboard("link.subprotocol", "The link", _UPGRADE)
async def subprotocol(stage: Stage, link: Link) -> None:
    """The server agrees to the subprotocol."""
    expect(link.protocol == PROTOCOL, f"the subprotocol is {link.protocol!r}")


@of_dashboard("link.functions", "Messages", "then one `ManagerStateChanged` per function.")
async def functions(stage: Stage, link: Link) -> None:
    """They come before everything that is requested."""
    end = await link.settle()
    received = [
        each["Function"] for each in link.messages[1:end] if each.get("Type") == "ManagerStateChanged"
    ]
    expect(received, "no ManagerStateChanged follows LinkOpened")
    expect(len(received) == len(set(received)), f"a function is reported twice: {received}")


@check("link.session_unknown", "The link", "401 `SessionUnknown`, 503 `FunctionUnavailable`.", dashboards=1)
async def session_unknown(stage: Stage) -> None:
    """A session that ended opens no link."""
    session = await stage.dashboard()
    await stage.success("DELETE", "/sessions/current", session.secret)
    headers = {"OSCCE-Link-Token": str(stage.token()), "OSCCE-Link-Holder": HOLDER}
    await stage.refuses(401, "SessionUnknown", await stage.refuse_link(session.secret, headers))


@of_dashboard("link.keep_alive", "Messages", "| `KeepAlive` | – | `Time` |")
async def keep_alive(stage: Stage, link: Link) -> None:
    """The answer has the server's time."""
    answer = await link.done("KeepAlive")
    time = answer.body.get("Time")
    expect(isinstance(time, int), f"the answer's Time is {time!r}")


@of_dashboard(
    "link.time_goes_on",
    "State rules",
    "when the `Time` of a `KeepAlive`'s answer is more than 2 s earlier than it can be",
)
async def time_goes_on(stage: Stage, link: Link) -> None:
    """The clock of the link runs as fast as ours."""
    now = asyncio.get_running_loop().time
    began = now()
    await asyncio.sleep(1.0)
    received = (await link.done("KeepAlive")).body.get("Time") or 0
    late_ms = link.opened["Time"] + (now() - began) * 1000 - received
    expect(late_ms < 2000, f"the Time of a KeepAlive's answer is {late_ms / 1000:.1f} s too early")


@check("link.any_session", "The link", _LIVES, dashboards=1)
async def any_session(stage: Stage) -> None:
    """The session that opened the link ends, and the link continues with the other."""
    first, second = await stage.dashboard(), await stage.dashboard()
    link = await stage.open(first)
    alias = (await link.done("AttachSession", SessionID=second.secret)).body["Session"]
    await stage.success("DELETE", "/sessions/current", first.secret)
    await session_ended(link, link.alias)
    await asyncio.sleep(7)
    await link.done("Presence", Session=alias, Present=True)


@check("link.lingers", "The link", _LINGERS, dashboards=1)
async def lingers(stage: Stage) -> None:
    """It stays open for a while, as a session may follow; then it is closed."""
    session = await stage.dashboard()
    link = await stage.open(session)
    now = asyncio.get_running_loop().time
    began = now()
    await stage.success("DELETE", "/sessions/current", session.secret)
    code = await link.ended(within_s=5 + stage.driver.patience_s)
    took_s = now() - began
    expect(code == 1000, f"the link is closed with {code}")
    expect(took_s > 3, f"the link is closed after {took_s:.1f} s")


@check("link.take_over_follows", "The link", _LINGERS, dashboards=1)
async def take_over_follows(stage: Stage) -> None:
    """A session that is attached in time keeps the link."""
    session = await stage.dashboard()
    link = await stage.open(session)
    await stage.success("DELETE", "/sessions/current", session.secret)
    await link.received(of_type("SessionEnded"), "SessionEnded")
    await link.done("AttachSession", SessionID=(await stage.dashboard()).secret)
    await asyncio.sleep(7)
    await link.done("KeepAlive")


@of_dashboard("link.silent", "Messages", _SILENT, slow_s=90)
async def silent(stage: Stage, link: Link) -> None:
    """A gateway that disappears without a close keeps no link."""
    link.silent = True
    limit_s = 3 * link.opened["KeepAlive"]
    try:
        await link.ended(within_s=limit_s + 25)
    except Failed:
        raise Failed(f"a link that was silent for {limit_s + 25:.0f} s still stands") from None


@of_dashboard("link.kept_alive", "Messages", _SILENT, slow_s=90)
async def kept_alive(stage: Stage, link: Link) -> None:
    """A link with a KeepAlive in time stays open."""
    for _ in range(8):
        await asyncio.sleep(link.opened["KeepAlive"] / 2)
        await link.done("KeepAlive")
