"""Checks: the presence of a device."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tests.server_conformance.link import Link, element
from tests.server_conformance.registry import check, of_dashboard
from tests.server_conformance.stage import Session, Stage, own_agent, session_ended
from tests.server_conformance.verdicts import Skipped, expect

_ABSENT: Final = "An attached session is absent until this says otherwise;"
_LOST: Final = "loss or replacement of the link makes its sessions absent;"
_IDLE: Final = "At its end the agent is logged off and the routing to the remote number\nis removed."


async def _watched(stage: Stage, session: Session) -> tuple[Link, Link, int, int]:
    """Return an agent's link, the link of a supervisor who sees the agent, the query, and the agent's key."""
    link = await stage.open(session)
    seen = await stage.open(await stage.dashboard())
    key = own_agent(link)
    query = await stage.seen_agent(seen, key)
    listed = await seen.received(element(query, "UserKey", key), "the agent who is logged on")
    remote = _remote(listed, key)
    if "AppPresent" not in remote:
        raise Skipped("the server reports no AppPresent")
    expect(remote["AppPresent"] is False, f"AppPresent is {remote['AppPresent']} before any device is there")
    return link, seen, query, key


def _remote(event: dict[str, Any], key: int) -> dict[str, Any]:
    (one,) = [each for each in event["Elements"] if each["UserKey"] == key]
    return dict(one.get("Remote") or {})


def _is_present(query: int, key: int, *, present: bool) -> Any:  # noqa: ANN401 - a test of messages
    return element(query, "UserKey", key, lambda one: (one.get("Remote") or {}).get("AppPresent") is present)


@check("presence.said", "Messages", _ABSENT, agents=1, dashboards=1)
async def said(stage: Stage) -> None:
    """Absent at first, then as the gateway sent it."""
    link, seen, query, key = await _watched(stage, await stage.agent())
    for present in (True, False):
        mark = len(seen.messages)
        await link.done("Presence", Session=link.alias, Present=present)
        await seen.received(_is_present(query, key, present=present), f"AppPresent {present}", after=mark)


@check("presence.lost", "Messages", _LOST, agents=1, dashboards=1)
async def lost(stage: Stage) -> None:
    """When a link is lost, its devices are absent."""
    link, seen, query, key = await _watched(stage, await stage.agent())
    await link.done("Presence", Session=link.alias, Present=True)
    await seen.received(_is_present(query, key, present=True), "AppPresent true")
    mark = len(seen.messages)
    await link.close()
    await seen.received(
        _is_present(query, key, present=False), "AppPresent false after the link was lost", after=mark
    )


@check("presence.replaced", "Messages", _LOST, agents=1, dashboards=1)
async def replaced(stage: Stage) -> None:
    """On a new link each device is absent until the gateway sends its presence."""
    session = await stage.agent()
    link, seen, query, key = await _watched(stage, session)
    await link.done("Presence", Session=link.alias, Present=True)
    await seen.received(_is_present(query, key, present=True), "AppPresent true")
    mark = len(seen.messages)
    new = await stage.open(session)
    await seen.received(
        _is_present(query, key, present=False), "AppPresent false after the link was replaced", after=mark
    )
    mark = len(seen.messages)
    await new.done("Presence", Session=new.alias, Present=True)
    await seen.received(_is_present(query, key, present=True), "AppPresent true on the new link", after=mark)


@of_dashboard("presence.unknown", "Messages", "| `Presence` | `Session,Present:bool` |")
async def unknown(stage: Stage, link: Link) -> None:
    """A presence of a session that is not on the link is refused."""
    answer = await link.ask("Presence", Session=link.alias + 1000, Present=True)
    expect(answer.error != 0, "Presence of an alias that does not exist is answered 0")


@check("presence.idle", "A session", _IDLE, agents=1, slow_s=60)
async def idle(stage: Stage) -> None:
    """An agent without a device is logged off after IdleTimeout, and not before."""
    session = await stage.agent()
    limit_s = session.body.get("IdleTimeout") or 0
    if not 0 < limit_s <= 30:
        raise Skipped(f"IdleTimeout is {limit_s} s; set it to 30 s or less to see its end")
    link = await stage.open(session)
    await link.done("Presence", Session=link.alias, Present=True)
    await asyncio.sleep(limit_s + 2)
    await link.done("KeepAlive")
    expect(
        not [each for each in link.messages if each.get("Type") == "SessionEnded"],
        "it ended with a device present",
    )
    await link.done("Presence", Session=link.alias, Present=False)
    reason = await session_ended(link, link.alias, within_s=limit_s + stage.driver.patience_s)
    expect(reason == "Expired", f"the session ends as {reason}")
