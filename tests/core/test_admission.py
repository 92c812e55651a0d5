"""Admission of commands: which sessions may give which.

Who may give which command for what is the matrix of ``test_command_matrix.py``.
"""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext

import pytest

from gateway.core.command_checks import check_command, deadline_ms
from gateway.domain.commands import (
    AcknowledgeNotice,
    ChangeRemoteNumber,
    Command,
    ExtendPostProcessing,
    FinishPostProcessing,
    SetAgentRoutingState,
    SetAutoPostProcessing,
    SetGroupParameters,
    SetQueueParameters,
    SetRoutingState,
    SetSkills,
    SkillChange,
    StartPostProcessing,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import REASONS, ROUTING_PARAMETERS, SITE, SKILLS, Application
from gateway.domain.resources import (
    Agent,
    Functions,
    FunctionState,
    Me,
    Queue,
    Reason,
    Reasons,
    Resource,
    RoutingParameter,
    RoutingParameters,
    RoutingState,
    Site,
    Skill,
    Skills,
)
from tests.core.samples import WALL_MS, declared, facts_of, ticket_of

DASHBOARD, ASSISTANT = Application.DASHBOARD, Application.REMOTE_ASSISTANT
SKILLED = SetSkills("5", (SkillChange("61", 3),), "patch", 1)
ROUTED = SetAgentRoutingState("5", "available")
QUEUED = SetQueueParameters("1", {"Priority": 5}, 1)
GROUPED = SetGroupParameters("3", {"Open": True}, 1)
OWN = SetRoutingState("available")
START, EXTEND = StartPostProcessing(), ExtendPostProcessing(WALL_MS)
FINISH, AUTO = FinishPostProcessing(None, ("51",)), SetAutoPostProcessing(on=True)
NUMBER, NOTICE = ChangeRemoteNumber("+4989123456"), AcknowledgeNotice("n", 1)
SUPERVISORS = (SKILLED, ROUTED, QUEUED, GROUPED)
AGENTS = (OWN, START, EXTEND, FINISH, AUTO, NUMBER)

CATALOGUES: dict[str, Resource] = {
    SKILLS: Skills((Skill("61", "French", 1, 10, 1, 5),)),
    REASONS: Reasons(
        (
            Reason("31", "unavailable", "Lunch", ("unavailable",)),
            Reason("32", "work", "Back office"),
            Reason("51", "wrapup", "Solved"),
        )
    ),
    ROUTING_PARAMETERS: RoutingParameters(
        (
            RoutingParameter("Priority", "queue", "integer", 1, 10, 1),
            RoutingParameter("Overflow", "queue", "queue_reference"),
            RoutingParameter("Open", "group", "boolean"),
        )
    ),
}


def refusal(command: Command, values: dict[str, Resource]) -> GatewayError | None:
    """Give *command* in a session of its application that has all rights."""
    facts = facts_of(ticket_of(ASSISTANT if command in AGENTS else DASHBOARD))
    try:
        check_command(command, facts, declared(facts.handle, values))
    except GatewayError as error:
        return error
    return None


def code_of(error: GatewayError | None) -> ErrorCode | None:
    return None if error is None else error.code


@pytest.mark.parametrize("values", [{}, CATALOGUES], ids=["nothing known", "all known"])
@pytest.mark.parametrize("command", [*SUPERVISORS, *AGENTS, NOTICE], ids=lambda one: one.kind)
def test_what_is_right_is_let_through(command: Command, values: dict[str, Resource]) -> None:
    assert refusal(command, values) is None


# ---- functions ----

NEEDS: list[tuple[Command, set[str]]] = [
    (SKILLED, {"administration"}), (ROUTED, {"routing", "realtime"}), (QUEUED, {"administration"}),
    (GROUPED, {"administration"}), (OWN, {"routing", "realtime"}), (START, {"routing", "realtime"}),
    (EXTEND, {"routing", "realtime"}), (FINISH, {"routing", "realtime"}), (AUTO, {"routing", "realtime"}),
    (NUMBER, {"routing", "remote_agent"}), (NOTICE, set()),
]  # fmt: skip
FUNCTIONS = [field.name for field in dataclasses.fields(Functions)]


def site(function: str, state: FunctionState) -> dict[str, Resource]:
    """Return what is declared when one function differs from the others."""
    others = dict.fromkeys(FUNCTIONS, FunctionState.UP)
    return {SITE: Site("V2R1", "V8R2", Functions(**{**others, function: state}))}


@pytest.mark.parametrize(("command", "needs"), NEEDS, ids=lambda one: getattr(one, "kind", ""))
def test_a_command_is_refused_while_a_function_that_it_needs_is_known_to_be_down(
    command: Command, needs: set[str]
) -> None:
    for function in FUNCTIONS:
        error = refusal(command, site(function, FunctionState.DOWN))
        received = None if error is None else (error.code, error.details)
        is_needed = function in needs
        assert received == ((ErrorCode.FUNCTION_UNAVAILABLE, {"function": function}) if is_needed else None)
        for state in (FunctionState.UP, FunctionState.DEGRADED, FunctionState.UNKNOWN):
            assert refusal(command, site(function, state)) is None, state


def test_the_state_of_a_function_reveals_nothing_out_of_scope() -> None:
    error = refusal(SetAgentRoutingState("7", "work"), site("routing", FunctionState.DOWN))
    assert code_of(error) is ErrorCode.NOT_FOUND


# ---- values: what core/command_checks.py refuses is asked of the right resource ----


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (SetSkills("5", (SkillChange("99", 1),), "patch", 1), ErrorCode.SKILL_UNKNOWN),
        (SetAgentRoutingState("5", "unavailable"), ErrorCode.REASON_REQUIRED),
        (SetAgentRoutingState("5", "work", "31"), ErrorCode.REASON_WRONG_KIND),
        (SetQueueParameters("1", {"Open": True}, 1), ErrorCode.PARAMETER_UNKNOWN),
        (SetQueueParameters("1", {"Overflow": "9"}, 1), ErrorCode.REFERENCE_UNKNOWN),
        (SetGroupParameters("3", {"Priority": 5}, 1), ErrorCode.PARAMETER_UNKNOWN),
        (SetGroupParameters("3", {"Open": 1}, 1), ErrorCode.WRONG_TYPE),
    ],
)
def test_values_are_held_against_the_catalogues(command: Command, expected: ErrorCode) -> None:
    assert code_of(refusal(command, CATALOGUES)) is expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (SetRoutingState("unavailable"), ErrorCode.REASON_REQUIRED),
        (SetRoutingState("work", "99"), ErrorCode.REASON_UNKNOWN),
        (FinishPostProcessing(None, ("51", "31")), ErrorCode.REASON_WRONG_KIND),
    ],
)
def test_values_of_ones_own_commands_are_too(command: Command, expected: ErrorCode) -> None:
    facts = facts_of(ticket_of(ASSISTANT))
    with pytest.raises(GatewayError) as refused:
        check_command(command, facts, declared(facts.handle, CATALOGUES))
    assert refused.value.code is expected


LUNCH = Agent(routing_state=RoutingState.UNAVAILABLE, reason_id="31")


@pytest.mark.parametrize(("number", "expected"), [("5", None), ("6", ErrorCode.REASON_REQUIRED)])
def test_an_agent_who_is_in_the_state_already_needs_no_reason(
    number: str, expected: ErrorCode | None
) -> None:
    command = SetAgentRoutingState(number, "unavailable")
    assert code_of(refusal(command, CATALOGUES | {"agent:5": LUNCH})) is expected


@pytest.mark.parametrize(("agent", "expected"), [("5", None), ("6", ErrorCode.REASON_REQUIRED)])
def test_ones_own_state_is_that_of_ones_own_agent(agent: str, expected: ErrorCode | None) -> None:
    facts = facts_of(ticket_of(ASSISTANT))
    values = CATALOGUES | {f"me:{facts.handle}": Me(agent=agent), "agent:5": LUNCH}
    with nullcontext() if expected is None else pytest.raises(GatewayError) as refused:
        check_command(SetRoutingState("unavailable"), facts, declared(facts.handle, values))
    assert (None if refused is None else refused.value.code) is expected


@pytest.mark.parametrize(("queue", "expected"), [("1", None), ("2", ErrorCode.REFERENCE_UNKNOWN)])
def test_a_reference_out_of_scope_may_stay_where_it_is(queue: str, expected: ErrorCode | None) -> None:
    values = CATALOGUES | {"queue:1": Queue(routing_parameters={"Overflow": "9"})}
    assert code_of(refusal(SetQueueParameters(queue, {"Overflow": "9"}, 1), values)) is expected


# ---- deadlines ----


def judged(expires_at_ms: int, *, retry: bool) -> int | ErrorCode:
    """Return the deadline of a command, or why it is refused."""
    try:
        return deadline_ms(expires_at_ms, WALL_MS, ahead_s=60.0, retry=retry)
    except GatewayError as refused:
        return refused.code


@pytest.mark.parametrize(
    ("expires_at_ms", "first", "again_ms"),
    [
        (0, ErrorCode.EXPIRED, 0),
        (WALL_MS - 1, ErrorCode.EXPIRED, WALL_MS - 1),
        (WALL_MS, ErrorCode.EXPIRED, WALL_MS),
        (WALL_MS + 1, None, WALL_MS + 1),
        (WALL_MS + 60_000, None, WALL_MS + 60_000),
        (WALL_MS + 60_001, ErrorCode.BAD_REQUEST, WALL_MS),
    ],
)
def test_a_deadline_is_ahead_but_not_far_and_only_the_owner_knows_of_what_comes_again(
    expires_at_ms: int, first: ErrorCode | None, again_ms: int
) -> None:
    assert judged(expires_at_ms, retry=False) == (first or expires_at_ms)
    assert judged(expires_at_ms, retry=True) == again_ms
