"""Checks: sessions on a link."""

from __future__ import annotations

from typing import Final

from tests.server_conformance.link import Link
from tests.server_conformance.registry import check, of_agent, of_dashboard
from tests.server_conformance.stage import Stage, own_agent
from tests.server_conformance.verdicts import expect

_ANSWER: Final = '`{"Session":int alias,"ID","Application","Rights":['
_AGAIN: Final = "A repeated `AttachSession` of an attached session is answered with its alias"
_ONE_SESSION: Final = "for as long as the link lives: no other session gets it later"
_FORBIDDEN: Final = "A session of another user is refused `Forbidden`"
_UNKNOWN: Final = "one that the server does not know, `SessionUnknown`"


@of_dashboard("attach.second", "Messages", _ANSWER)
async def second(stage: Stage, link: Link) -> None:
    """Two sessions of a user share one link, each under its own alias."""
    session = await stage.dashboard()
    received = (await link.done("AttachSession", SessionID=session.secret)).body
    expect(received["Session"] != link.alias, "two sessions have the same alias")
    expect(received["ID"] == session.public, f"ID is {received['ID']!r}, not that of the log-on")


@check("attach.again", "Messages", _AGAIN, dashboards=1)
async def again(stage: Stage) -> None:
    """Otherwise the end of a session is reported with an alias that is no longer in use."""
    session = await stage.dashboard()
    link = await stage.open(session)
    received = (await link.done("AttachSession", SessionID=session.secret)).body
    expect(received["Session"] == link.alias, "an attached session gets another alias")
    for name in ("Rights", "Scope"):
        same = received.get(name) == link.opened["Session"].get(name)
        expect(same, f"the answer for an attached session has other {name} than LinkOpened")


@of_dashboard("attach.new_alias", "Messages", _ONE_SESSION)
async def new_alias(stage: Stage, link: Link) -> None:
    """A late message about the one session would be taken for one about the other."""
    gone = await stage.dashboard()
    alias = (await link.done("AttachSession", SessionID=gone.secret)).body["Session"]
    await stage.success("DELETE", "/sessions/current", gone.secret)
    for _ in range(2):
        session = await stage.dashboard()
        received = (await link.done("AttachSession", SessionID=session.secret)).body
        expect(received["Session"] != alias, "the alias of an ended session is given to another one")


@check("attach.foreign", "Messages", _FORBIDDEN, dashboards=2)
async def foreign(stage: Stage) -> None:
    """A link of one user cannot act through a session of another user."""
    link = await stage.open(await stage.dashboard(0))
    await link.refused(4, "AttachSession", SessionID=(await stage.dashboard(1)).secret)


@of_dashboard("attach.unknown", "Messages", _UNKNOWN)
async def unknown(stage: Stage, link: Link) -> None:
    """An ended session gets another answer than one that cannot be attached now."""
    gone = await stage.dashboard()
    await stage.success("DELETE", "/sessions/current", gone.secret)
    for secret in (gone.secret, "never-a-session-of-this-server"):
        await link.refused(3, "AttachSession", SessionID=secret)


@of_dashboard("attach.detach", "Messages", "(detaching does not end it)")
async def detach(stage: Stage, link: Link) -> None:
    """The session lives on, and its alias is no longer valid."""
    session = await stage.dashboard()
    alias = (await link.done("AttachSession", SessionID=session.secret)).body["Session"]
    await link.done("DetachSession", Session=alias)
    kept = await stage.keep_alive(session)
    expect(kept.status == 200, f"the detached session is answered {kept.status}")
    answer = await link.ask("Presence", Session=alias, Present=True)
    expect(answer.error != 0, "an alias is known after DetachSession")
    await link.done("AttachSession", SessionID=session.secret)


@of_agent(
    "attach.own_user",
    "Messages",
    "`OwnUserKey` stands in each RemoteAssistant session: the agent that the user is",
)
async def own_user(stage: Stage, link: Link) -> None:
    """Without OwnUserKey no agent can request a state for itself."""
    key = own_agent(link)
    users = link.opened["Session"]["Scope"].get("Users") or ()
    expect(key in users, "an agent's own key is not in his scope")
