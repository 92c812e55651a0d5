"""Checks: a command has its effect, reports it first, or is refused with a reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from tests.server_conformance.checks.directory import REASONS, objects
from tests.server_conformance.checks.requests import asked, reason_for, stays_unavailable
from tests.server_conformance.checks.scope import PARTS, set_scope
from tests.server_conformance.errors import CODES
from tests.server_conformance.link import Answer, Link, element, of_query
from tests.server_conformance.registry import check, of_agent
from tests.server_conformance.stage import Stage, logged_off, own_agent, session_ended
from tests.server_conformance.verdicts import Skipped, expect

_EFFECT: Final = "**The event that carries a request's effect\nprecedes its response.**"
_UNCHANGED: Final = "A request for the present state with nothing pending → `Unchanged`, and no event."
_CHANGE: Final = "`available`, `unavailable` and `work` change into each other by request"
_TALKING: Final = "`Talking` is entered by contacts, never by request."
_OWN_ONLY: Final = "A RemoteAssistant session commands this agent only"
_BY: Final = 'RoutingStateBy?:"Self"\\|"Supervisor"\\|"System"'
_REASON: Final = "a state needs a reason when any reason lists it"
_OWN: Final = "Remote:{LoggedOn,AppPresent?,AppAbsentSince?,RemoteNumber? (own)}"
_WHOLE: Final = "A request that is answered with an error changes nothing."
_OWN_AUTO: Final = "AutoPostProcessing?:{On,Duration} (own)"
_BY_SUPERVISOR: Final = "a supervisor's `LoggedOff` of an agent ends the agent's RemoteAssistant session with"
_GROWS: Final = "`Version` grows only with them"
_NOT_FOUND: Final = "What is not there, or not in the scope, is answered `NotFound`(5)"
_SKILLS: Final = ("Skills",)
_PARAMETERS: Final = ("RoutingParameters",)
_NOTHING: Final = 987_654_321
"""The key of nothing."""


_TRIES: Final = 3
"""A reading of its own may come just then, but not each time."""


def _is(state: str) -> Any:  # noqa: ANN401 - a test of elements
    return lambda one: one.get("RoutingState") == state


@of_agent("commands.effect_first", "Messages", _EFFECT)
async def effect_first(stage: Stage, link: Link) -> None:
    """A client that reads the response has received the state."""
    query, _ = await link.listen("UserRealtime")
    for state in ("Available", "Unavailable"):
        reason = await reason_for(link, state)
        answer = await link.done("SetRoutingState", "Applied", **asked(link, state, **reason))
        received = link.between(answer, element(query, "UserKey", own_agent(link), _is(state)))
        expect(received, f"the response comes before the event that reports {state}")


@of_agent("commands.unchanged", "State rules", _UNCHANGED)
async def unchanged(stage: Stage, link: Link) -> None:
    """A request for the present state changes nothing, and the response says so.

    "Otherwise only the elements that changed": a reading that comes just then may tell the agent for another
    cause, with an element that differs. An element that says what was sent before breaks the sentence.
    """
    await link.done("SetRoutingState", **asked(link, "Available"))
    query, _ = await link.listen("UserRealtime")
    is_own, received = element(query, "UserKey", own_agent(link)), 0
    for _ in range(_TRIES):
        await link.settle()
        before = [_untimed(each, own_agent(link)) for each in link.messages if is_own(each)][-1]
        answer = await link.done("SetRoutingState", "Unchanged", **asked(link, "Available"))
        events = [_untimed(each, own_agent(link)) for each in link.between(answer, is_own)]
        expect(before not in events, "an event reports the agent, who has not changed")
        received += bool(events)
    expect(received < _TRIES, "each time an event reports the agent, who was asked for no change")


def _untimed(event: dict[str, Any], key: int) -> dict[str, Any]:
    """Return an agent's fields in an event, without the seconds that grow by themselves."""
    (one,) = [each for each in event["Elements"] if each["UserKey"] == key]
    handling = [
        {name: value for name, value in each.items() if name != "TimeInHandlingState"}
        for each in one.get("HandlingStates") or ()
    ]
    untimed = {name: value for name, value in one.items() if name != "TimeInRoutingState"}
    return {**untimed, "HandlingStates": handling}


@check("commands.by_supervisor", "State rules", _CHANGE, agents=1, dashboards=1)
async def by_supervisor(stage: Stage) -> None:
    """A supervisor sets an agent's state; both links receive it."""
    agent = await stage.open(await stage.agent())
    own, _ = await agent.listen("UserRealtime")
    key = own_agent(agent)
    seen = await _supervisor(stage, key, "RoutingStateWrite")
    query = await stage.seen_agent(seen, key)
    mark = len(agent.messages)
    answer = await seen.done("SetRoutingState", **asked(seen, "Available", key))
    expect(
        seen.between(answer, element(query, "UserKey", key, _is("Available"))),
        "the supervisor receives no event",
    )
    await agent.received(element(own, "UserKey", key, _is("Available")), "the agent's own event", after=mark)


@of_agent("commands.reason_required", "Messages", _REASON)
async def reason_required(stage: Stage, link: Link) -> None:
    """A state that needs a reason is refused without one; with one the event has it."""
    received = await objects(link, *REASONS)
    kind, state = next(
        (
            (kind, state)
            for kind, state in (("UnavailableReason", "Unavailable"), ("WorkReason", "Work"))
            if any(state in (each.get("RequiredFor") or ()) for each in received[kind])
        ),
        ("", ""),
    )
    if not kind:
        raise Skipped("no state needs a reason here")
    if state == "Unavailable":
        await link.done("SetRoutingState", **asked(link, "Available"))
    await link.refused(21, "SetRoutingState", **asked(link, state))
    query, _ = await link.listen("UserRealtime")
    reason = received[kind][0]["Key"]
    answer = await link.done("SetRoutingState", **asked(link, state, ReasonKey=reason))
    event = element(query, "UserKey", own_agent(link), lambda one: one.get("ReasonKey") == reason)
    expect(link.between(answer, event), "no event reports the reason")


@of_agent("commands.work", "State rules", _CHANGE)
async def work(stage: Stage, link: Link) -> None:
    """Each of the three states can be requested, with a reason where one is required."""
    query, first = await link.listen("UserRealtime")
    (own,) = [each for each in first["Elements"] if each["UserKey"] == own_agent(link)]
    if "SetWork" not in (own.get("AllowedActions") or ("SetWork",)):
        raise Skipped("AllowedActions does not have SetWork")
    received = await objects(link, "UnavailableReason", "WorkReason")
    for state, kind in (("Work", "WorkReason"), ("Unavailable", "UnavailableReason"), ("Available", "")):
        reasons = received.get(kind, [])
        reason = {"ReasonKey": reasons[0]["Key"]} if reasons else {}
        answer = await link.done("SetRoutingState", "Applied", **asked(link, state, **reason))
        event = element(query, "UserKey", own_agent(link), _is(state))
        expect(link.between(answer, event), f"no event reports {state} before the response")


@of_agent("commands.no_such_state", "State rules", _TALKING)
async def no_such_state(stage: Stage, link: Link) -> None:
    """A state that is not in the list is refused, with any error, and changes nothing."""
    answer = await link.ask("SetRoutingState", **asked(link, "Talking"))
    expect(answer.error != 0, "a request for Talking is done")
    await stays_unavailable(link, "a request for Talking was executed")


@check("commands.own_agent_only", "Messages", _OWN_ONLY, agents=2)
async def own_agent_only(stage: Stage) -> None:
    """No agent sets the state of another one, even of one in the scope."""
    link = await stage.open(await stage.agent(0))
    other = await stage.open(await stage.agent(1))
    answer = await link.ask("SetRoutingState", **asked(link, "Available", own_agent(other)))
    expect(answer.error != 0, "an agent's request for another agent is done")
    await stays_unavailable(other, "an agent's request for another was executed")


@check("commands.by_whom", "Events", _BY, agents=1, dashboards=1)
async def by_whom(stage: Stage) -> None:
    """The role of the user who set the state is sent, if the server sends it at all."""
    agent = await stage.open(await stage.agent())
    key = own_agent(agent)
    query, _ = await agent.listen("UserRealtime")
    seen = await _supervisor(stage, key, "RoutingStateWrite")
    for link, by, state in ((agent, "Self", "Available"), (seen, "Supervisor", "Unavailable")):
        reason = await reason_for(link, state)
        mark = len(agent.messages)
        await link.done("SetRoutingState", **asked(link, state, key, **reason))
        event = await agent.received(
            element(query, "UserKey", key, _is(state)), f"the event of {state}", after=mark
        )
        (received,) = [each.get("RoutingStateBy") for each in event["Elements"] if each["UserKey"] == key]
        if received is None:
            raise Skipped("the server reports no RoutingStateBy")
        expect(received == by, f"RoutingStateBy is {received}, and the state was set by {by}")


@of_agent("commands.reason_wrong_kind", "Error names", "| 23 | `ReasonWrongKind` | – |")
async def reason_wrong_kind(stage: Stage, link: Link) -> None:
    """A reason for Unavailable is no reason for Work.

    The page does not say when `ReasonUnknown` is meant and when `ReasonWrongKind`: either is a refusal.
    """
    received = await objects(link, "UnavailableReason", "WorkReason")
    if not received["UnavailableReason"] or not received["WorkReason"]:
        raise Skipped("there are not both kinds of reason")
    reason = received["UnavailableReason"][0]["Key"]
    answer = await link.ask("SetRoutingState", **asked(link, "Work", ReasonKey=reason))
    expect(answer.error in {22, 23}, f"a reason for Unavailable is {answer.said}, not 23 ReasonWrongKind")


@check("commands.log_off_by_supervisor", "Unasked", _BY_SUPERVISOR, agents=1, dashboards=1)
async def log_off_by_supervisor(stage: Stage) -> None:
    """The agent's own session ends with a reason other than the agent's own log-off."""
    session = await stage.agent()
    agent = await stage.open(session)
    key = own_agent(agent)
    seen = await _supervisor(stage, key, "RoutingStateWrite")
    await seen.done("SetRoutingState", **asked(seen, "LoggedOff", key))
    reason = await session_ended(agent, agent.alias)
    expect(reason == "LoggedOffBySupervisor", f"the agent's session ends as {reason}")
    await stage.has_ended(session)


@of_agent("commands.log_off_self", "State rules", "Log off happens only with handling empty;")
async def log_off_self(stage: Stage, link: Link) -> None:
    """An agent requests a log-off; the agent's session ends as logged off."""
    query, _ = await link.listen("UserRealtime")
    mark = len(link.messages)
    await link.done("SetRoutingState", **asked(link, "LoggedOff"))
    await logged_off(link, query, mark)


@check(
    "commands.out_of_scope",
    "Messages",
    "so that the answer reveals nothing outside the scope.",
    agents=1,
    dashboards=1,
    hooks=("set_scope",),
)
async def out_of_scope(stage: Stage) -> None:
    """A command for an agent outside the scope gets the same answer as for one who does not exist."""
    key = own_agent(await stage.open(await stage.agent()))
    link = await stage.open(await stage.dashboard())
    _needs(link, "RoutingStateWrite")
    received = link.opened["Session"].get("Scope") or {}
    old = {part: list(received.get(part) or ()) for part in PARTS}
    try:
        await set_scope(stage, {**old, "Users": [one for one in old["Users"] if one != key]})
        for user in (_NOTHING, key):
            await link.refused(5, "SetRoutingState", **asked(link, "Available", user))
    finally:
        await set_scope(stage, old)


# ---- skills ----


@check("commands.skills", "Messages", _EFFECT, agents=1, dashboards=1, features=_SKILLS)
async def skills(stage: Stage) -> None:
    """A level changes; Configuration reports it before the response, with the Version of the response."""
    link, said, skill, present = await _skill(stage)
    query, _ = await link.listen("Configuration")
    level = _other_level(skill, present)
    answer = await link.done("SetSkills", **said, Skills=[{"SkillKey": skill["Key"], "Level": level}])
    try:
        version = answer.body.get("Version")
        expect(answer.body["State"] == "Applied", f"State is {answer.body['State']}")

        def reports(one: dict[str, Any]) -> bool:
            levels = {each["SkillKey"]: each["Level"] for each in one.get("Skills") or ()}
            return one.get("Version") == version and levels.get(skill["Key"]) == level

        expect(
            link.between(answer, element(query, "Key", said["UserKey"], reports)),
            "no event of Configuration precedes the response",
        )
    finally:
        back = {"SkillKey": skill["Key"], "Level": present}
        await link.ask("SetSkills", **{**said, "Version": answer.body.get("Version")}, Skills=[back])


@check("commands.refused_whole", "Messages", _WHOLE, agents=1, dashboards=1, features=_SKILLS)
async def refused_whole(stage: Stage) -> None:
    """One skill that does not exist: the other one of the request keeps its level."""
    link, said, skill, present = await _skill(stage)
    change = {"SkillKey": skill["Key"], "Level": _other_level(skill, present)}
    await link.refused(10, "SetSkills", **said, Skills=[change, {"SkillKey": _NOTHING, "Level": 50}])
    (user,) = [each for each in (await objects(link, "User"))["User"] if each["Key"] == said["UserKey"]]
    (level,) = [each["Level"] for each in user["Skills"] if each["SkillKey"] == skill["Key"]]
    if level != present:
        back = {"SkillKey": skill["Key"], "Level": present}
        await link.ask("SetSkills", **{**said, "Version": user["Version"]}, Skills=[back])
    expect(level == present, f"a refused request changed a level from {present} to {level}")


@check("commands.version_grows", "Events", _GROWS, agents=1, dashboards=1, features=_SKILLS)
async def version_grows(stage: Stage) -> None:
    """A change raises the version; a request that changes nothing does not."""
    link, said, skill, present = await _skill(stage)
    level = _other_level(skill, present)
    change, back = ({"SkillKey": skill["Key"], "Level": each} for each in (level, present))
    first = await link.done("SetSkills", **said, Skills=[change])
    version = first.body["Version"]
    try:
        expect(version > said["Version"], f"Version goes from {said['Version']} to {version}")
        same = await link.done("SetSkills", **{**said, "Version": version}, Skills=[change])
        received = (same.body["State"], same.body.get("Version", version))
        expect(
            received == ("Unchanged", version),
            f"the same level again is {received[0]} with version {received[1]}, not {version}",
        )
    finally:
        await link.ask("SetSkills", **{**said, "Version": version}, Skills=[back])


@check(
    "commands.version_conflict",
    "Error names",
    "| 7 | `VersionConflict` | `Version` |",
    agents=1,
    dashboards=1,
    features=_SKILLS,
)
async def version_conflict(stage: Stage) -> None:
    """A change with an old version is refused with the present version."""
    link, said, skill, level = await _skill(stage)
    change = [{"SkillKey": skill["Key"], "Level": _other_level(skill, level)}]
    other = {**said, "Version": said["Version"] + 1000}
    answer = await link.refused(7, "SetSkills", **other, Skills=change)
    received = answer.body.get("Version")
    expect(received == said["Version"], f"Version is {received}, not {said['Version']}")


# ---- routing parameters ----


@check("commands.parameters", "Messages", _EFFECT, dashboards=1, features=_PARAMETERS, alone=True)
async def parameters(stage: Stage) -> None:
    """A queue's parameter changes; Configuration reports it before the response."""
    link, said, parameter, before = await _parameter(stage)
    query, _ = await link.listen("Configuration")
    name, present = parameter["Name"], before["RoutingParameters"][parameter["Name"]]
    step = parameter.get("Step") or 1
    value = present + step if present + step <= parameter["Max"] else present - step
    answer = await link.done("SetRoutingParameters", **said, Parameters={name: value})
    try:
        expect(answer.body["State"] == "Applied", f"State is {answer.body['State']}")
        received = link.between(
            answer,
            element(
                query, "Key", said["Key"], lambda one: (one.get("RoutingParameters") or {}).get(name) == value
            ),
        )
        expect(received, "no event of Configuration precedes the response")
    finally:
        await _put_back(link, said, answer, {name: present})


@check("commands.wrong_type", "Error names", "| 33 | `WrongType` | – |", dashboards=1, features=_PARAMETERS)
async def wrong_type(stage: Stage) -> None:
    """A text is no value of a parameter of type Integer.

    "has one of another type is answered `BadRequest`(1)": a value may be taken for a field of the request.
    """
    link, said, parameter, _ = await _parameter(stage)
    answer = await link.ask("SetRoutingParameters", **said, Parameters={parameter["Name"]: "many"})
    expect(answer.error in {33, 1}, f"a text for an Integer is {answer.said}, not 33 WrongType")


@check(
    "commands.parameter_read_only",
    "Error names",
    "| 31 | `ParameterReadOnly` | – |",
    dashboards=1,
    features=_PARAMETERS,
)
async def parameter_read_only(stage: Stage) -> None:
    """A parameter that the catalogue marks as ReadOnly cannot be written, whatever the error is."""
    link, said, _, before = await _parameter(stage)
    received = (await objects(link, "RoutingParameter"))["RoutingParameter"]
    fixed = {each["Name"] for each in received if each.get("ReadOnly")}
    name = next((one for one in before["RoutingParameters"] if one in fixed), None)
    if name is None:
        raise Skipped("no queue has a parameter that is ReadOnly")
    present = before["RoutingParameters"][name]
    other = f"{present}x" if isinstance(present, str) else (present or 0) + 1
    answer = await link.ask("SetRoutingParameters", **said, Parameters={name: other})
    if answer.error == 0:
        await _put_back(link, said, answer, {name: present})
    expect(answer.error != 0, f"the parameter {name} is ReadOnly, and was set")


@check(
    "commands.parameters_conflict",
    "Error names",
    "| 7 | `VersionConflict` | `Version` |",
    dashboards=1,
    features=_PARAMETERS,
)
async def parameters_conflict(stage: Stage) -> None:
    """A change of parameters with an old version is refused with the present version."""
    link, said, parameter, before = await _parameter(stage)
    name, present = parameter["Name"], before["RoutingParameters"][parameter["Name"]]
    other = parameter["Max"] if present == parameter["Min"] else parameter["Min"]
    wrong = {**said, "Version": said["Version"] + 1000}
    answer = await link.ask("SetRoutingParameters", **wrong, Parameters={name: other})
    if answer.error == 0:
        await _put_back(link, said, answer, {name: present})
    expect(answer.error == 7, f"a change of another version is {answer.said}, not 7 VersionConflict")
    received = answer.body.get("Version")
    expect(isinstance(received, int) and received != wrong["Version"], f"Version is {received}")


# ---- remote numbers, post-processing ----


@check(
    "commands.remote_number",
    "Messages",
    "| `ChangeRemoteNumber` | `Session,RemoteNumber` |",
    agents=1,
    features=("RemoteAgent",),
)
async def remote_number(stage: Stage) -> None:
    """Calls go to another number; the agent's own element has it before the response.

    "`State`, `RemoteNumber` in effect": of a number that is in effect already the page does not say whether
    it is `Applied` or `Unchanged`; that it stays in effect must be sent.
    """
    number = stage.number(1)
    link = await stage.open(await stage.agent())
    query, _ = await link.listen("UserRealtime")
    answer = await link.done("ChangeRemoteNumber", Session=link.alias, RemoteNumber=number)
    received = answer.body.get("RemoteNumber")
    expect(isinstance(received, str) and received, f"RemoteNumber in effect is {received!r}")
    own = element(
        query,
        "UserKey",
        own_agent(link),
        lambda one: (one.get("Remote") or {}).get("RemoteNumber") == received,
    )
    expect(link.between(answer, own), "no event reports the new number before the response")
    again = (await link.done("ChangeRemoteNumber", Session=link.alias, RemoteNumber=number)).body
    expect(again.get("State") in {"Applied", "Unchanged"}, f"State is {again.get('State')} the second time")
    expect(again.get("RemoteNumber") == received, "the number in effect is another one the second time")


@check("commands.number_is_own", "Events", _OWN, agents=1, dashboards=1)
async def number_is_own(stage: Stage) -> None:
    """Only the agent receives the agent's number."""
    agent = await stage.open(await stage.agent())
    key = own_agent(agent)
    seen = await stage.open(await stage.dashboard())
    query = await stage.seen_agent(seen, key)
    mark = len(seen.messages)
    await agent.done("SetRoutingState", **asked(agent, "Available"))
    await seen.received(element(query, "UserKey", key, _is("Available")), "the agent's event", after=mark)
    received = [
        one
        for each in seen.messages
        if of_query(query)(each)
        for one in each["Elements"]
        if (one.get("Remote") or {}).get("RemoteNumber") is not None
    ]
    expect(not received, "a supervisor receives an agent's remote number")


@check("commands.auto_is_own", "Events", _OWN_AUTO, agents=1, dashboards=1)
async def auto_is_own(stage: Stage) -> None:
    """Only the agent receives the agent's setting."""
    key = own_agent(await stage.open(await stage.agent()))
    seen = await stage.open(await stage.dashboard())
    query = await stage.seen_agent(seen, key)
    received = [
        one
        for each in seen.messages
        if of_query(query)(each)
        for one in each["Elements"]
        if one.get("AutoPostProcessing") is not None
    ]
    expect(not received, "a supervisor receives an agent's AutoPostProcessing")


@of_agent("commands.auto_post_processing", "Events", _OWN_AUTO, features=("PostProcessing.SetAuto",))
async def auto_post_processing(stage: Stage, link: Link) -> None:
    """An agent receives a setting of its own before the response."""
    query, first = await link.listen("UserRealtime")
    key = own_agent(link)
    (own,) = [each for each in first["Elements"] if each["UserKey"] == key]
    present = own.get("AutoPostProcessing") or {}
    seconds = 41 if present.get("Duration") != 41 else 42
    fields = {"Session": link.alias, "Action": "SetAuto", "On": True}
    answer = await link.done("PostProcessing", "Applied", **fields, Duration=seconds)

    def reports(one: dict[str, Any]) -> bool:
        auto = one.get("AutoPostProcessing") or {}
        return (auto.get("On"), auto.get("Duration")) == (True, seconds)

    received = element(query, "UserKey", key, reports)
    expect(link.between(answer, received), "no event reports AutoPostProcessing before the response")


# ---- what is refused, and changes nothing ----


class _Request(NamedTuple):
    """A request that must be refused, and the bounds that the refusal must have."""

    link: Link
    method: str
    fields: dict[str, Any]
    bounds: tuple[int, int] | None = None


async def _unknown_reason(stage: Stage) -> _Request:
    link = await stage.open(await stage.agent())
    return _Request(link, "SetRoutingState", asked(link, "Work", ReasonKey=_NOTHING))


async def _unknown_agent(stage: Stage) -> _Request:
    link = await stage.open(await stage.dashboard())
    _needs(link, "RoutingStateWrite")
    return _Request(link, "SetRoutingState", asked(link, "Available", _NOTHING))


async def _unknown_skill(stage: Stage) -> _Request:
    link, said, _, _ = await _skill(stage)
    return _Request(link, "SetSkills", {**said, "Skills": [{"SkillKey": _NOTHING, "Level": 50}]})


async def _high_level(stage: Stage) -> _Request:
    link, said, skill, _ = await _skill(stage)
    change = {"SkillKey": skill["Key"], "Level": skill["LevelMax"] + 1}
    return _Request(link, "SetSkills", {**said, "Skills": [change]}, (skill["LevelMin"], skill["LevelMax"]))


async def _unknown_parameter(stage: Stage) -> _Request:
    link, said, _, _ = await _parameter(stage)
    return _Request(link, "SetRoutingParameters", {**said, "Parameters": {"NoSuchParameterAtAll": 1}})


async def _high_value(stage: Stage) -> _Request:
    link, said, parameter, _ = await _parameter(stage)
    change = {parameter["Name"]: parameter["Max"] + (parameter.get("Step") or 1)}
    bounds = parameter["Min"], parameter["Max"]
    return _Request(link, "SetRoutingParameters", {**said, "Parameters": change}, bounds)


def _post_processing(action: str) -> Callable[[Stage], Awaitable[_Request]]:
    async def request(stage: Stage) -> _Request:
        link = await stage.open(await stage.agent())
        return _Request(link, "PostProcessing", {"Session": link.alias, "Action": action})

    return request


def _register(
    name: str,
    code: int,
    request: Callable[[Stage], Awaitable[_Request]],
    *,
    agents: int = 0,
    dashboards: int = 0,
    features: tuple[str, ...] = (),
) -> None:
    row = "Error names", f"| {code} | `{CODES[code]}` |"
    section, quote = ("Messages", _NOT_FOUND) if code == 5 else row

    @check(f"commands.{name}", section, quote, agents=agents, dashboards=dashboards, features=features)
    async def play(stage: Stage) -> None:
        link, method, fields, bounds = await request(stage)
        answer = await link.refused(code, method, **fields)
        received = answer.body.get("Min"), answer.body.get("Max")
        expect(bounds is None or received == bounds, f"Min and Max are {received}")


_register("reason_unknown", 22, _unknown_reason, agents=1)
_register("not_found", 5, _unknown_agent, dashboards=1)
_register("skill_unknown", 10, _unknown_skill, agents=1, dashboards=1, features=_SKILLS)
_register("level_out_of_range", 11, _high_level, agents=1, dashboards=1, features=_SKILLS)
_register("parameter_unknown", 30, _unknown_parameter, dashboards=1, features=_PARAMETERS)
_register("value_out_of_range", 32, _high_value, dashboards=1, features=_PARAMETERS)
for _name, _code, _action in (("not_post_processing", 43, "Finish"), ("no_contact", 40, "Start")):
    _register(_name, _code, _post_processing(_action), agents=1, features=(f"PostProcessing.{_action}",))


# ---- what the checks above need ----


def _needs(link: Link, right: str) -> None:
    if right not in (link.opened["Session"].get("Rights") or ()):
        raise Skipped(f"the Dashboard's user has no right {right}")


async def _supervisor(stage: Stage, key: int, right: str) -> Link:
    link = await stage.open(await stage.dashboard())
    _needs(link, right)
    if key not in (link.opened["Session"].get("Scope") or {}).get("Users", ()):
        raise Skipped(f"the Dashboard's user does not see the agent {key}")
    return link


async def _skill(stage: Stage) -> tuple[Link, dict[str, Any], dict[str, Any], int]:
    """Return a supervisor's link, a patch of the agent's skills, one of them, and its level."""
    key = own_agent(await stage.open(await stage.agent()))
    link = await _supervisor(stage, key, "SkillsWrite")
    received = await objects(link, "Skill", "User")
    (user,) = [each for each in received["User"] if each["Key"] == key]
    catalogue = {each["Key"]: each for each in received["Skill"]}
    for each in user.get("Skills") or ():
        skill = catalogue.get(each["SkillKey"])
        if skill is not None and skill["LevelMin"] < skill["LevelMax"]:
            said = {"Session": link.alias, "UserKey": key, "Mode": "Patch", "Version": user["Version"]}
            return link, said, skill, each["Level"]
    raise Skipped(f"the agent {key} has no skill of several levels")


def _other_level(skill: dict[str, Any], level: int) -> int:
    return level - 1 if level > skill["LevelMin"] else level + 1


async def _parameter(stage: Stage) -> tuple[Link, dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return a supervisor's link, a change of a queue, one of its parameters, and its configuration."""
    link = await stage.open(await stage.dashboard())
    _needs(link, "RoutingParametersWrite")
    received = {each["Name"]: each for each in (await objects(link, "RoutingParameter"))["RoutingParameter"]}
    _, first = await link.listen("Configuration")
    for element_ in first["Elements"]:
        for name in element_.get("RoutingParameters") or () if element_["ObjectType"] == "Queue" else ():
            parameter, value = received.get(name, {}), element_["RoutingParameters"][name]
            bounded = parameter.get("Min") is not None and parameter.get("Max") is not None
            if (
                parameter.get("DataType") == "Integer"
                and not parameter.get("ReadOnly")
                and bounded
                and value is not None
            ):
                said = {"Session": link.alias, "ObjectType": "Queue", "Key": element_["Key"]}
                return link, {**said, "Version": element_["Version"]}, parameter, element_
    raise Skipped("no queue has a parameter of type Integer with bounds that can be written")


async def _put_back(link: Link, said: dict[str, Any], answer: Answer, parameters: dict[str, Any]) -> None:
    await link.ask(
        "SetRoutingParameters", **{**said, "Version": answer.body.get("Version")}, Parameters=parameters
    )
