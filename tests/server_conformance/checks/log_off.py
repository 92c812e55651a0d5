"""Checks: the end of a session at the request of its user."""

from __future__ import annotations

from typing import Any, Final

from tests.server_conformance.link import of_query
from tests.server_conformance.registry import check
from tests.server_conformance.stage import Stage, own_agent
from tests.server_conformance.verdicts import expect

_ANSWER: Final = '200 `{"Routing": "Removed"\\|"AfterContact"\\|"None", "RoutedUntil"?: ms}`'
_AGAIN: Final = "For 24 h a DELETE of an ended session answers 200 with the present `Routing`."
_AT_ONCE: Final = "Deleting a RemoteAssistant session does the same at once."


@check("log_off.dashboard", "A session", _ANSWER, dashboards=1)
async def dashboard(stage: Stage) -> None:
    """A Dashboard session has no routing."""
    session = await stage.dashboard()
    routing = (await stage.success("DELETE", "/sessions/current", session.secret))["Routing"]
    expect(routing in {"None", "Removed"}, f"Routing of a Dashboard session is {routing}")


@check("log_off.assistant", "A session", _AT_ONCE, agents=1, dashboards=1)
async def assistant(stage: Stage) -> None:
    """The agent is logged off, and no call is routed to the agent's number."""
    session = await stage.agent()
    key = own_agent(await stage.open(session))
    seen = await stage.open(await stage.dashboard())
    query = await stage.seen_agent(seen, key)
    mark = len(seen.messages)
    routing = (await stage.success("DELETE", "/sessions/current", session.secret))["Routing"]
    expect(routing == "Removed", f"Routing is {routing}")

    def off(event: dict[str, Any]) -> bool:
        whole = event.get("Complete") is True and all(each["UserKey"] != key for each in event["Elements"])
        return key in (event.get("Removed") or ()) or whole

    await seen.received(lambda each: of_query(query)(each) and off(each), "the agent's log-off", after=mark)


@check("log_off.again", "A session", _AGAIN, agents=1, dashboards=1)
async def again(stage: Stage) -> None:
    """A log-off whose answer was lost is repeated until it is confirmed."""
    for session in (await stage.agent(), await stage.dashboard()):
        first = await stage.success("DELETE", "/sessions/current", session.secret)
        second = await stage.success("DELETE", "/sessions/current", session.secret)
        expect(
            first["Routing"] == second["Routing"], f"Routing is {first['Routing']}, then {second['Routing']}"
        )
