"""Checks: requests of an agent during a contact, and what follows at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

from tests.server_conformance.checks.directory import objects
from tests.server_conformance.checks.requests import asked
from tests.server_conformance.link import Link, element
from tests.server_conformance.registry import check
from tests.server_conformance.stage import Session, Stage, logged_off, own_agent
from tests.server_conformance.verdicts import Failed, Skipped, expect

_HOOKS: Final = ("give_contact", "end_contact")
_PENDING: Final = (
    "While a contact is handled, a request for X leaves the state and makes X pending (`Pending`)."
)
_PENDING_BY: Final = 'PendingBy?:"Self"\\|"Supervisor"\\|"System",PendingReasonKey?'
_CLEARS: Final = "A later Y replaces it. A request for the present state clears it (`Applied`)."
_LOG_OFF: Final = "during a contact `LoggedOff` becomes pending (`AfterContact`) or is refused (`Now`)."
_EMPTIES: Final = "When handling empties:"
_ROUTED: Final = "`RoutedUntil` is the latest instant, whatever the contact does."
_AUTO: Final = "with automatic post-processing on, `PostProcessing` follows and what is pending is kept"


class Contact(NamedTuple):
    """An agent with a contact."""

    session: Session
    link: Link
    query: int
    """Of his realtime element."""
    key: int
    end: Callable[[], Awaitable[None]]
    """Ends the contact; a second time it does nothing."""


@asynccontextmanager
async def _handling(stage: Stage) -> AsyncIterator[Contact]:
    """Give an agent with a contact, after which no post-processing follows."""
    session = await stage.agent()
    link = await stage.open(session)
    key, user = own_agent(link), stage.agents[0].name
    if "PostProcessing.SetAuto" in stage.about.get("Features", ()):
        await link.done("PostProcessing", Session=link.alias, Action="SetAuto", On=False, Duration=60)
    query, _ = await link.listen("UserRealtime")
    mark, ended = len(link.messages), False
    await stage.cause("give_contact", user=user, key=key)

    async def end() -> None:
        nonlocal ended
        if not ended:
            ended = True
            await stage.cause("end_contact", user=user, key=key)

    try:
        busy = element(query, "UserKey", key, lambda one: bool(one.get("HandlingStates")))
        await link.received(busy, "an event with the contact in HandlingStates", after=mark)
        yield Contact(session, link, query, key, end)
    finally:
        await end()
        if "PostProcessing.Finish" in stage.about.get("Features", ()):
            with suppress(Failed):  # the session may have ended
                await link.ask("PostProcessing", Session=link.alias, Action="Finish")


def _pending(state: str | None) -> Any:  # noqa: ANN401 - a test of elements
    def fits(one: dict[str, Any]) -> bool:
        return one.get("PendingRoutingState") == state and one.get("RoutingState") == "Unavailable"

    return fits


async def _pends(contact: Contact, state: str, **fields: object) -> None:
    """Ask for a state during a contact; hold that it is pending, and shown beside the state of before."""
    link = contact.link
    answer = await link.done("SetRoutingState", "Pending", **asked(link, state, None, **fields))
    received = link.between(answer, element(contact.query, "UserKey", contact.key, _pending(state)))
    expect(received, "no event reports what is pending beside the state of before")


@check("contacts.pending", "State rules", _PENDING, agents=1, hooks=_HOOKS)
async def pending(stage: Stage) -> None:
    """The state waits for the end of the contact, and all links receive it as pending."""
    async with _handling(stage) as contact:
        await _pends(contact, "Available", When="AfterContact")


@check("contacts.pending_now", "State rules", _PENDING, agents=1, hooks=_HOOKS)
async def pending_now(stage: Stage) -> None:
    """A state that is requested for now waits for the end of the contact, too."""
    async with _handling(stage) as contact:
        await _pends(contact, "Available")


@check("contacts.pending_by", "Events", _PENDING_BY, agents=1, hooks=_HOOKS)
async def pending_by(stage: Stage) -> None:
    """The requester and the reason of a pending state are sent, if the server sends them at all."""
    async with _handling(stage) as (_, link, query, key, _):
        reasons = (await objects(link, "WorkReason"))["WorkReason"]
        if not reasons:
            raise Skipped("there is no reason for Work")
        reason = reasons[0]["Key"]
        wish = asked(link, "Work", ReasonKey=reason, When="AfterContact")
        answer = await link.done("SetRoutingState", **wish)
        events = link.between(answer, element(query, "UserKey", key, _pending("Work")))
        expect(events, "no event reports what is pending")
        (own,) = [one for one in events[-1]["Elements"] if one["UserKey"] == key]
        received = {
            name: own[name] for name in ("PendingBy", "PendingReasonKey") if own.get(name) is not None
        }
        if not received:
            raise Skipped("the server reports neither PendingBy nor PendingReasonKey")
        right = {"PendingBy": "Self", "PendingReasonKey": reason}
        wrong = {name: value for name, value in received.items() if value != right[name]}
        expect(not wrong, f"an agent's own request with reason {reason} is reported as {wrong}")


@check(
    "contacts.pending_post_processing",
    "Events",
    "PendingPostProcessing?:bool",
    agents=1,
    hooks=_HOOKS,
    features=("PostProcessing.Start",),
)
async def pending_post_processing(stage: Stage) -> None:
    """Post-processing that an agent requested is sent as pending, if the server sends it at all."""
    async with _handling(stage) as (_, link, query, key, _):
        _, first = await link.listen("UserRealtime")
        (own,) = [one for one in first["Elements"] if one["UserKey"] == key]
        expect(own.get("PendingPostProcessing") is not True, "no post-processing was requested")
        answer = await link.done("PostProcessing", Session=link.alias, Action="Start")
        of_agent = element(query, "UserKey", key)
        received = [
            one.get("PendingPostProcessing")
            for each in link.between(answer, of_agent)
            for one in each["Elements"]
            if one["UserKey"] == key
        ]
        if not received or received[-1] is None:
            raise Skipped("the server reports no PendingPostProcessing")
        expect(received[-1] is True, "PendingPostProcessing is false after it was asked for")


@check("contacts.cleared", "State rules", _CLEARS, agents=1, hooks=_HOOKS)
async def cleared(stage: Stage) -> None:
    """The newest request counts, and a request for the present state removes the pending one."""
    async with _handling(stage) as contact:
        _, link, query, key, _ = contact
        await link.done("SetRoutingState", **asked(link, "Available", When="AfterContact"))
        await _pends(contact, "LoggedOff", When="AfterContact")
        present = asked(link, "Unavailable", When="AfterContact")
        answer = await link.done("SetRoutingState", "Applied", **present)
        expect(
            link.between(answer, element(query, "UserKey", key, _pending(None))),
            "no event reports that nothing is pending",
        )


@check("contacts.log_off", "State rules", _LOG_OFF, agents=1, hooks=_HOOKS)
async def log_off(stage: Stage) -> None:
    """A log-off does not end a contact."""
    async with _handling(stage) as contact:
        link = contact.link
        answer = await link.ask("SetRoutingState", **asked(link, "LoggedOff"))
        expect(answer.error != 0, "LoggedOff now is done during a contact")
        await _pends(contact, "LoggedOff", When="AfterContact")
        mark = len(link.messages)
        await contact.end()
        await logged_off(link, contact.query, mark)


@check("contacts.emptied", "State rules", _EMPTIES, agents=1, hooks=_HOOKS)
async def emptied(stage: Stage) -> None:
    """The pending state becomes effective at the end of the contact."""
    async with _handling(stage) as (_, link, query, key, end):
        await link.done("SetRoutingState", **asked(link, "Available", When="AfterContact"))
        mark = len(link.messages)
        await end()

        def came(one: dict[str, Any]) -> bool:
            return one.get("RoutingState") == "Available" and not one.get("PendingRoutingState")

        await link.received(element(query, "UserKey", key, came), "the pending state", after=mark)


@check(
    "contacts.post_processing",
    "State rules",
    _AUTO,
    agents=1,
    hooks=_HOOKS,
    features=("PostProcessing.SetAuto", "PostProcessing.Finish"),
)
async def post_processing(stage: Stage) -> None:
    """Post-processing keeps the pending state, and Finish makes it effective."""
    async with _handling(stage) as (_, link, query, key, end):
        await link.done("PostProcessing", Session=link.alias, Action="SetAuto", On=True, Duration=60)
        await link.done("SetRoutingState", **asked(link, "Available", When="AfterContact"))
        mark = len(link.messages)
        await end()

        def working(one: dict[str, Any]) -> bool:
            return bool(one.get("PostProcessing")) and one.get("RoutingState") != "Available"

        await link.received(
            element(query, "UserKey", key, working), "PostProcessing after the contact", after=mark
        )
        answer = await link.done("PostProcessing", Session=link.alias, Action="Finish")
        done = element(
            query,
            "UserKey",
            key,
            lambda one: one.get("RoutingState") == "Available" and not one.get("PostProcessing"),
        )
        expect(link.between(answer, done), "no event reports the pending state before the response to Finish")


@check("contacts.log_off_by_https", "A session", _ROUTED, agents=1, hooks=_HOOKS)
async def log_off_by_https(stage: Stage) -> None:
    """The number stays routed until the contact ends; a second DELETE returns the present routing."""
    async with _handling(stage) as (session, link, _, _, end):
        received = await stage.success("DELETE", "/sessions/current", session.secret)
        expect(received["Routing"] == "AfterContact", f"Routing is {received['Routing']} during a contact")
        until = received.get("RoutedUntil")
        expect(isinstance(until, int) and until > link.opened["Time"], f"RoutedUntil is {until!r}")
        await end()
        received = await stage.success("DELETE", "/sessions/current", session.secret)
        expect(received["Routing"] == "Removed", f"Routing is {received['Routing']} after the contact")
