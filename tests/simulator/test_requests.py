"""Each request gets the one answer of the page; every error name is reachable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gateway.simulator import model
from gateway.simulator.fields import CODES, Refused
from gateway.simulator.model import REMEMBERED_MS, FirstResponses
from tests.simulator.peer import AGENT, QUIET, Free, Message, World

SKILL = 90_001


@dataclass
class Case:
    """How an error is provoked: what was done before, and the request."""

    method: str
    fields: dict[str, Any]
    before: Callable[[World], object] = lambda _world: None
    user: str = "supervisor1"


def reason(world: World, kind: str) -> int:
    return next(key for key, each in world.sim.center.directory.reasons.items() if each.kind == kind)


def on(world: World) -> None:
    world.sim.center.log_on(world.agent())


def talking(world: World) -> None:
    if not world.agent().logged_on:
        world.log_on("agent1")
    world.sim.center.give(world.agent(), None, "Voice", "Talking")


def post_processing(world: World) -> None:
    talking(world)
    world.sim.center.end(world.agent().contacts[0])
    own, _ = world.open("agent1")
    assert world.ask(own, "PostProcessing", Session=1, Action="Start")["State"] == "Applied"


def wrapup_needed(world: World) -> None:
    queue = next(iter(world.sim.center.directory.queues.values()))
    queue.parameters["WrapupReasonRequired"] = True
    world.log_on("agent1")
    contact = world.sim.center.give(world.agent(), queue, None, "Talking")
    world.sim.center.end(contact)
    own, _ = world.open("agent1")
    assert world.ask(own, "PostProcessing", Session=1, Action="Start")["State"] == "Applied"


def cycle(world: World) -> None:
    queues = world.sim.center.directory.queues
    queues[60_001].parameters["OverflowQueue"] = 60_002


def state(target: str, **more: Free) -> dict[str, Any]:
    return {"Session": 1, "UserKey": AGENT, "RoutingState": target, "When": "Now", **more}


def skills(*changes: Message, **more: Free) -> dict[str, Any]:
    return {"Session": 1, "UserKey": AGENT, "Mode": "Patch", "Skills": list(changes), "Version": 1, **more}


def parameters(**changes: Free) -> dict[str, Any]:
    return {"Session": 1, "ObjectType": "Queue", "Key": 60_002, "Parameters": changes, "Version": 1}


def after(action: str, **more: Free) -> dict[str, Any]:
    return {"Session": 1, "Action": action, **more}


CASES = {
    "BadRequest": Case("SetRoutingState", {"Session": 1, "UserKey": "x"}),
    "MethodUnknown": Case("Juggle", {}),
    "SessionUnknown": Case("SetRoutingState", state("Work") | {"Session": 9}),
    "Forbidden": Case("SetSkills", skills(), user="agent1"),
    "NotFound": Case("SetRoutingState", state("Available") | {"UserKey": 4711}),
    "WrongObjectType": Case("SetRoutingState", state("Available") | {"UserKey": 60_001}),
    "VersionConflict": Case("SetSkills", skills(Version=7)),
    "SkillUnknown": Case("SetSkills", skills({"SkillKey": 1, "Level": 5})),
    "LevelOutOfRange": Case("SetSkills", skills({"SkillKey": SKILL, "Level": 101})),
    "PreferenceOutOfRange": Case("SetSkills", skills({"SkillKey": SKILL, "Level": 5, "Preference": 0})),
    "DuplicateSkill": Case(
        "SetSkills", skills({"SkillKey": SKILL, "Level": 5}, {"SkillKey": SKILL, "Level": 6})
    ),
    "NotLoggedOn": Case("PostProcessing", after("Start"), user="agent1"),
    "ReasonRequired": Case("SetRoutingState", state("Work"), on),
    "ReasonUnknown": Case("SetRoutingState", state("Work", ReasonKey=1), on),
    "ReasonWrongKind": Case("SetRoutingState", state("Work", ReasonKey=95_001), on),
    "NotAllowedWhileHandling": Case("SetRoutingState", state("LoggedOff"), talking),
    "CannotLogOnForAnother": Case("SetRoutingState", state("Available")),
    "ParameterUnknown": Case("SetRoutingParameters", parameters(Nonsense=1)),
    "ParameterReadOnly": Case("SetRoutingParameters", parameters(SchedulingVersion="x")),
    "ValueOutOfRange": Case("SetRoutingParameters", parameters(Priority=11)),
    "WrongType": Case("SetRoutingParameters", parameters(Priority="high")),
    "ReferenceUnknown": Case("SetRoutingParameters", parameters(OverflowQueue=1)),
    "OverflowCycle": Case("SetRoutingParameters", parameters(OverflowQueue=60_001), cycle),
    "InconsistentParameters": Case("SetRoutingParameters", parameters(AttentionContacts=9, ActionContacts=3)),
    "NoContact": Case("PostProcessing", after("Start"), user="agent1"),
    "LimitReached": Case("PostProcessing", after("Extend", Until=2**45), post_processing, "agent1"),
    "WrapupReasonRequired": Case("PostProcessing", after("Finish"), wrapup_needed, "agent1"),
    "NotPostProcessing": Case("PostProcessing", after("Finish"), user="agent1"),
    "RemoteNumberInvalid": Case("ChangeRemoteNumber", {"Session": 1, "RemoteNumber": "112"}, user="agent1"),
    "RemoteNumberNotAllowed": Case(
        "ChangeRemoteNumber", {"Session": 1, "RemoteNumber": "+49 900 123456"}, user="agent1"
    ),
    "NumberInUse": Case(
        "ChangeRemoteNumber",
        {"Session": 1, "RemoteNumber": "+49 30 0000002"},
        lambda world: world.log_on("agent2"),
        "agent1",
    ),
    "FunctionUnavailable": Case(
        "SetRoutingState",
        state("Available"),
        lambda world: world.sim.faults.set_function("LocalRouting", "Down"),
    ),
    "Busy": Case("KeepAlive", {}, lambda world: world.sim.faults.answer("Busy", 1)),
    "Unsupported": Case("SetSkills", skills(), lambda world: world.sim.faults.set_features(set())),
    "Expired": Case("SetRoutingState", state("Available", NotAfter=1)),
    "Internal": Case("KeepAlive", {}, lambda world: world.sim.faults.answer("Internal", 1)),
}


def test_the_matrix_is_complete() -> None:
    assert set(CASES) == set(CODES)


@pytest.mark.parametrize("name", CASES)
def test_every_error_has_its_name_and_code(name: str) -> None:
    case, world = CASES[name], World()
    link, _ = world.open(case.user)
    if name == "NotLoggedOn":
        world.agent().logged_on = False
    case.before(world)
    if case.user == "agent1" and not world.sim.board.is_present(link):
        link_id = world.sim.links.present(AGENT)
        assert link_id is not None
        link = world.sim.board.open_links[link_id]
    answer = world.ask(link, case.method, **case.fields)
    assert (answer["ErrorName"], answer["Error"]) == (name, CODES[name])


def test_without_the_feature_a_repeated_key_is_executed(world: World) -> None:
    on(world)
    world.sim.faults.set_features(set(QUIET.features) - {"RequestKeys"})
    link, _ = world.open()
    world.ask(link, "SetRoutingState", RequestKey="k", **state("Available"))
    assert world.ask(link, "SetRoutingState", RequestKey="k", **state("Available"))["State"] == "Unchanged"


@pytest.mark.parametrize(
    "body", [{}, {"Type": "Request", "RequestID": 0}, {"Type": "Event", "RequestID": 1}, {"RequestID": "1"}]
)
def test_what_is_no_request_is_refused(body: Message, world: World) -> None:
    link, _ = world.open()
    with pytest.raises(Refused, match="BadRequest"):
        world.sim.requests.received(link, body)


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("ListenForEvents", {"EventType": "Weather", "Keys": "All"}),
        ("ListenForEvents", {"EventType": "Configuration", "Keys": [1]}),
        ("ListenForEvents", {"EventType": "Administration", "Keys": [1]}),
        ("ListenForEvents", {"EventType": "UserRealtime", "Keys": "Some"}),
        ("QueryDirectory", {"Kinds": ["Moon"]}),
        ("QueryDirectory", {"Kinds": [[]]}),
        ("Presence", {"Session": 1, "Present": 1}),
        ("SetRoutingParameters", {"Session": 1, "ObjectType": []}),
        (["KeepAlive"], {}),
        (None, {}),
    ],
)
def test_bad_fields_are_bad_requests(method: Free, fields: Message, world: World) -> None:
    link, _ = world.open()
    assert world.ask(link, method, **fields)["ErrorName"] == "BadRequest"


def test_sixty_five_queries_are_too_many() -> None:
    world = World(replace(QUIET, agents=2))
    link, _ = world.open()
    for _ in range(64):
        world.listen(link, "QueueRealtime")
    answer = world.ask(link, "ListenForEvents", EventType="QueueRealtime", Keys="All")
    assert answer["ErrorName"] == "Busy"


# ---- first responses, remembered for ten minutes ----


def test_the_first_response_for_ten_minutes() -> None:
    kept = FirstResponses()
    kept.put(("s", "k"), 0, {"Error": 0})
    assert kept.get(("s", "k"), REMEMBERED_MS - 1) == {"Error": 0}
    assert kept.get(("other", "k"), 0) is None
    assert kept.get(("s", "k"), REMEMBERED_MS) is None


def test_the_oldest_goes_first() -> None:
    kept = FirstResponses()
    for number in range(model.REMEMBERED_MOST + 1):
        kept.put(("s", str(number)), 0, {})
    assert kept.get(("s", "0"), 0) is None
    assert kept.get(("s", "1"), 0) == {}
    kept.clear()
    assert kept.get(("s", "1"), 0) is None
