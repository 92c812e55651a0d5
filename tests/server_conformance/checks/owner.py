"""Checks: changes of the operator: functions, notices, a restart."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.server_conformance.link import Link, of_type
from tests.server_conformance.registry import check, of_dashboard
from tests.server_conformance.stage import Reply, Stage
from tests.server_conformance.verdicts import Failed, Skipped, expect

_FUNCTION: Final = "a function changed its state"
_NOTICE: Final = '| `{"Type":"Notice",…}` | a message for people.'
_RESTART: Final = "A restart\nof the server ends all sessions: agents are logged off and routing removed."
_INSTANCE: Final = "and another one after a restart."
_COMES_BACK_S: Final = 60.0


@of_dashboard("owner.function", "Unasked", _FUNCTION, hooks=("set_function",), alone=True)
async def function(stage: Stage, link: Link) -> None:
    """A function goes down and up again; each change is sent once on all links."""
    await link.settle()
    received = [each["Function"] for each in link.messages if each.get("Type") == "ManagerStateChanged"]
    if not received:
        raise Skipped("the server has no function")
    name = "Historical" if "Historical" in received else received[-1]
    try:
        for state in ("Down", "Up"):
            mark = len(link.messages)
            await stage.cause("set_function", function=name, state=state)
            await link.received(
                of_type("ManagerStateChanged", Function=name, State=state), f"{name} {state}", after=mark
            )
    finally:
        await stage.cause("set_function", function=name, state="Up")


@of_dashboard("owner.notice", "Unasked", _NOTICE, hooks=("notice",))
async def notice(stage: Stage, link: Link) -> None:
    """A message for people arrives."""
    await link.settle()
    mark = len(link.messages)
    await stage.cause("notice", user=stage.dashboards[0].name, text="Maintenance at 20:00.")
    message = await link.received(of_type("Notice"), "a Notice", after=mark)
    text = message.get("Summary") or message.get("Text") or message.get("Title")
    expect(text, "the Notice has neither Title, Summary nor Text")


@check("owner.restart", "A session", _RESTART, dashboards=1, hooks=("restart",), alone=True)
async def restart(stage: Stage) -> None:
    """Afterwards no session is valid, links are closed, and a log-on works."""
    session = await stage.dashboard()
    link = await stage.open(session)
    await stage.cause("restart")
    await link.ended()
    reply = await _back(stage, session.secret)
    await stage.refuses(401, "SessionUnknown", reply)
    await stage.open(await stage.dashboard())


@check("owner.instance", "About", _INSTANCE, dashboards=1, hooks=("restart",), alone=True)
async def instance(stage: Stage) -> None:
    """A session lost in a restart is distinguished from one that ended otherwise."""
    old = (await stage.success("GET", "/about")).get("ServerInstance")
    if old is None:
        raise Skipped("the server reports no ServerInstance")
    await stage.cause("restart")
    await _back(stage, "none")
    new = (await stage.success("GET", "/about")).get("ServerInstance")
    expect(new != old, f"ServerInstance is still {new} after a restart")


async def _back(stage: Stage, secret: str) -> Reply:
    """Return the first answer of the server for a session."""
    async with asyncio.timeout(_COMES_BACK_S):
        while True:
            try:
                reply = await stage.http("POST", "/sessions/current/keepalive", secret)
            except Failed:
                reply = None  # nobody listens yet
            if reply is not None and reply.status < 500:
                return reply
            await asyncio.sleep(0.2)
