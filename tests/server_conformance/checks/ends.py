"""Checks: the end of a session is sent with its reason."""

from __future__ import annotations

from typing import Final

from tests.server_conformance.registry import check
from tests.server_conformance.stage import Stage, session_ended
from tests.server_conformance.verdicts import Skipped, expect

_SENT: Final = '"LoggedOff"\\|"LoggedOffBySupervisor"\\|"Expired"\\|"Blocked"\\|"Maintenance"\\|"TakenOver"'
_ATTACHED: Final = "an attached session ended;"


@check("ends.logged_off", "Unasked", _ATTACHED, dashboards=1)
async def logged_off(stage: Stage) -> None:
    """A log-off over HTTPS is sent on the link."""
    session, other = await stage.dashboard(), await stage.dashboard()
    link = await stage.open(session)
    alias = (await link.done("AttachSession", SessionID=other.secret)).body["Session"]
    await stage.delete(other.secret)
    reason = await session_ended(link, alias)
    expect(reason == "LoggedOff", f"the session ends as {reason}")
    await link.settle()
    ended = [each["Session"] for each in link.messages if each.get("Type") == "SessionEnded"]
    expect(ended == [alias], f"SessionEnded reports {ended}, and {alias} has ended")


@check("ends.by_another", "Unasked", _ATTACHED, dashboards=1)
async def by_another(stage: Stage) -> None:
    """The end of a session by another device of the user is sent, too."""
    session, other = await stage.dashboard(), await stage.dashboard()
    link = await stage.open(session)
    alias = (await link.done("AttachSession", SessionID=other.secret)).body["Session"]
    await stage.http("DELETE", f"/sessions/{other.public}", session.secret)
    reason = await session_ended(link, alias)
    expect(reason == "LoggedOff", f"the session ends as {reason}")


@check("ends.last_end", "Messages", '"LastEnd"?:{"Reason","By"?,"Time"}', agents=1)
async def last_end(stage: Stage) -> None:
    """A gateway that had no link at the end of the last session gets the reason, if the server sends it."""
    old = await stage.agent()
    link = await stage.open(await stage.agent())
    received = link.opened.get("LastEnd")
    if received is None:
        raise Skipped("the server reports no LastEnd")
    expect(
        received.get("Reason") == "TakenOver",
        f"LastEnd reports the reason {received.get('Reason')!r}, and the session {old.public} was taken over",
    )


def _register(reason: str) -> None:
    @check(f"ends.{reason}", "Unasked", _SENT, dashboards=1, hooks=("end_session",))
    async def play(stage: Stage) -> None:
        session = await stage.dashboard()
        link = await stage.open(session)
        user = stage.dashboards[0].name
        await stage.cause("end_session", user=user, id=session.public, reason=reason)
        received = await session_ended(link, link.alias)
        expect(received == reason, f"a session that ended as {reason} is reported as {received}")
        await stage.has_ended(session)


for _reason in ("Expired", "Blocked", "Maintenance"):
    _register(_reason)
