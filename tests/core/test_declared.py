"""Is what OSCC-E declared read from the mirror as it is at this moment?"""

from __future__ import annotations

import pytest

from gateway.core.command_checks import Declared
from gateway.core.element import Element
from gateway.core.ledger import Ledger
from gateway.domain.model import REASONS, ROUTING_PARAMETERS, SITE, SKILLS, Kind
from gateway.domain.resources import (
    Agent,
    Aggregate,
    Functions,
    FunctionState,
    Group,
    Me,
    Queue,
    Reason,
    Reasons,
    RoutingParameter,
    RoutingParameters,
    RoutingState,
    Site,
    Skill,
    Skills,
)
from tests.core.samples import declared, facts_of, ticket_of

FRENCH = Skill("61", "French", 1, 10)
LUNCH, SOLVED = Reason("31", "unavailable", "Lunch"), Reason("51", "wrapup", "Solved")
OF_QUEUES = RoutingParameter("Priority", "queue", "integer")
OF_GROUPS = RoutingParameter("Priority", "group", "number")


def test_nothing_told_is_not_the_same_as_nothing_there() -> None:
    nothing = declared("h", {})
    assert (nothing.skills, nothing.reasons, nothing.parameters(Kind.QUEUE)) == (None, None, None)
    none = declared("h", {SKILLS: Skills(), REASONS: Reasons(), ROUTING_PARAMETERS: RoutingParameters()})
    assert (none.skills, none.reasons, none.parameters(Kind.QUEUE)) == ({}, {}, {})


def test_catalogues_are_found_by_id() -> None:
    told = declared("h", {SKILLS: Skills((FRENCH,)), REASONS: Reasons((LUNCH, SOLVED))})
    assert told.skills == {"61": FRENCH}
    assert told.reasons == {"31": LUNCH, "51": SOLVED}


def test_parameters_are_those_of_the_kind() -> None:
    told = declared("h", {ROUTING_PARAMETERS: RoutingParameters((OF_QUEUES, OF_GROUPS))})
    assert told.parameters(Kind.QUEUE) == {"Priority": OF_QUEUES}
    assert told.parameters(Kind.GROUP) == {"Priority": OF_GROUPS}
    assert told.parameters(Kind.AGENT) == {}


def test_what_is_declared_is_live() -> None:
    ledger = Ledger(1)
    told = Declared(ledger, "h")
    ledger.record(SKILLS, Element(Skills((FRENCH,))))
    assert told.skills == {"61": FRENCH}
    ledger.record(SKILLS, None)
    assert told.skills is None


def functions(**states: FunctionState) -> Functions:
    up = dict.fromkeys(Functions.__dataclass_fields__, FunctionState.UP)
    return Functions(**{**up, **states})


@pytest.mark.parametrize(
    ("state", "down"),
    [
        (FunctionState.UP, False),
        (FunctionState.DEGRADED, False),
        (FunctionState.DOWN, True),
        (FunctionState.UNKNOWN, False),
    ],
)
def test_a_function_is_down_when_that_is_known(state: FunctionState, down: bool) -> None:
    told = declared("h", {SITE: Site("V2R1", "V8R2", functions(routing=state))})
    assert told.is_down("routing") is down
    assert told.is_down("administration") is False


@pytest.mark.parametrize("values", [{}, {SITE: Site()}, {SITE: Site(functions=Functions())}])
def test_a_function_of_which_nothing_is_known_is_not_down(values: dict[str, Site]) -> None:
    assert declared("h", dict(values)).is_down("routing") is False


def test_ones_own_agent_is_that_of_the_session() -> None:
    handle = facts_of(ticket_of()).handle
    told = {f"me:{handle}": Me(agent="5"), "me:other": Me(agent="6"), "me:watching": Me()}
    assert declared(handle, dict(told)).own_agent == "agent:5"
    assert declared("other", dict(told)).own_agent == "agent:6"
    assert declared("watching", dict(told)).own_agent is None
    assert declared("nobody", dict(told)).own_agent is None


def test_agents_are_found_by_key_and_nothing_else_is_one() -> None:
    anna = Agent(routing_state=RoutingState.WORK)
    told = declared("h", {"agent:5": anna, "queue:5": Queue()})
    assert told.agent("agent:5") is anna
    assert [told.agent(key) for key in (None, "agent:6", "queue:5")] == [None] * 3


def test_present_parameters_are_those_of_the_queue_or_group() -> None:
    told = declared(
        "h",
        {
            "queue:1": Queue(routing_parameters={"Priority": 5}),
            "queue:2": Queue(),
            "group:1": Group(routing_parameters={"Open": True}),
            "aggregate:1": Aggregate(),
        },
    )
    assert told.parameters_of("queue:1") == {"Priority": 5}
    assert told.parameters_of("group:1") == {"Open": True}
    assert [told.parameters_of(key) for key in (None, "queue:2", "queue:9", "aggregate:1")] == [{}] * 4
