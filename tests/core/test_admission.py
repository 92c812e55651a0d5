"""Admission of commands: which sessions may give which.

Who may give which command for what is the matrix of ``test_command_matrix.py``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import astuple
from functools import cache
from typing import Any, NamedTuple

import pytest

from gateway.core.commands import check_command, check_parameters, check_skills, deadline_ms
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
from gateway.domain.errors import Detail, ErrorCode, GatewayError
from gateway.domain.model import REASONS, ROUTING_PARAMETERS, SITE, SKILLS, Application, Kind, Right, Scope
from gateway.domain.resources import (
    Agent,
    Aggregate,
    Functions,
    FunctionState,
    Group,
    Me,
    Parameter,
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
from gateway.protocol.codec import JSON
from gateway.protocol.frames import COMMANDS, CommandFrame
from tests.core.samples import KEY, WALL_MS, declared, facts_of, frame, ticket_of

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
def test_a_command_is_refused_while_a_function_it_needs_is_down(command: Command, needs: set[str]) -> None:
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


# ---- values: what core/commands.py refuses is asked of the right resource ----


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
def test_an_agent_in_that_state_already_needs_no_reason(number: str, expected: ErrorCode | None) -> None:
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


# ---- refused values are reported with the bounds that they break ----


Refusal = tuple[ErrorCode, dict[str, Detail]]
PARAMETERS = RoutingParameters(
    (
        RoutingParameter("Priority", "queue", "integer", 1, 10, 3, unit="steps"),
        RoutingParameter("Share", "queue", "number", 0.5, 99.5),
        RoutingParameter("Open", "queue", "boolean"),
        RoutingParameter("Order", "queue", "enum", values=("old", "new")),
        RoutingParameter("Floor", "queue", "integer", min=3),
        RoutingParameter("ToSome", "queue", "queue_key", values=("1", "9"), unit="id"),
        RoutingParameter("Priority", "group", "integer", 100, 200),
    )
)
DECLARED = declared(
    "h",
    {
        SKILLS: Skills((Skill("61", "French", 1, 10, 2, 5), Skill("62", "Fax"), Skill("60", "Any"))),
        ROUTING_PARAMETERS: PARAMETERS,
    },
)
LEVELS: dict[str, Detail] = {"skill_id": "61", "min": 1, "max": 10}
PREFERENCES: dict[str, Detail] = {"skill_id": "61", "min": 2, "max": 5}


def refused(check: Callable[[], None]) -> Refusal | None:
    """Return why a check refuses, None when it does not."""
    try:
        check()
    except GatewayError as error:
        return error.code, error.details
    return None


def skills(*changes: SkillChange) -> Refusal | None:
    return refused(lambda: check_skills(SetSkills("5", changes, "patch", 1), DECLARED))


def parameters(changes: dict[str, Parameter], kind: Kind = Kind.QUEUE) -> Refusal | None:
    scope = Scope(queues=frozenset({1, 2}))
    return refused(lambda: check_parameters(changes, kind, {}, scope, DECLARED))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (SkillChange("61", 10, 2, active=False), None),
        (SkillChange("61", 0), (ErrorCode.LEVEL_OUT_OF_RANGE, LEVELS)),
        (SkillChange("61", 11), (ErrorCode.LEVEL_OUT_OF_RANGE, LEVELS)),
        (SkillChange("61", 5, 1), (ErrorCode.PREFERENCE_OUT_OF_RANGE, PREFERENCES)),
        (SkillChange("61", 5, 6), (ErrorCode.PREFERENCE_OUT_OF_RANGE, PREFERENCES)),
        (SkillChange("061", 5), (ErrorCode.SKILL_UNKNOWN, {"skill_id": "061"})),
    ],
)
def test_a_refused_skill_is_reported_with_its_bounds(change: SkillChange, expected: Refusal | None) -> None:
    assert skills(change) == expected
    assert skills(SkillChange("60", 1), change, SkillChange("99", 1)) == (
        expected or (ErrorCode.SKILL_UNKNOWN, {"skill_id": "99"})
    )


@pytest.mark.parametrize(
    ("name", "values", "bounds"),
    [
        ("Priority", [0, 11], {"min": 1, "max": 10, "unit": "steps"}),
        ("Share", [0, 99.6], {"min": 0.5, "max": 99.5, "unit": None}),
        ("Order", ["", "OLD"], {"min": None, "max": None, "unit": None}),
        ("Floor", [2], {"min": 3, "max": None, "unit": None}),
        ("ToSome", ["2"], {"min": None, "max": None, "unit": "id"}),
    ],
)
def test_a_parameter_out_of_range_is_reported_with_its_range(
    name: str, values: list[Parameter], bounds: dict[str, Detail]
) -> None:
    expected = (ErrorCode.VALUE_OUT_OF_RANGE, {"parameter": name} | bounds)
    assert [parameters({name: value}) for value in values] == [expected] * len(values)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("Priority", 0, "The value is out of range."),
        ("Order", "OLD", "The value is none of those in the catalogue."),
    ],
)
def test_a_value_beyond_its_range_and_one_beside_a_list_are_told_apart(
    name: str, value: Parameter, text: str
) -> None:
    with pytest.raises(GatewayError) as refused:
        check_parameters({name: value}, Kind.QUEUE, {}, Scope(), DECLARED)
    assert refused.value.message == text


def test_a_list_is_no_value_of_a_parameter_that_has_one() -> None:
    assert parameters({"Open": (True,)}) == (ErrorCode.WRONG_TYPE, {"parameter": "Open"})
    assert parameters({"ToSome": ("1",)}) == (ErrorCode.WRONG_TYPE, {"parameter": "ToSome"})


# ---- who may give which command for what, as docs/protocol.md says ----


class Row(NamedTuple):
    """One row of the page's table: who may, and the member that holds an id, with the id's kind."""

    applications: tuple[str, ...]
    right: str | None
    fields: dict[str, Any]
    names: tuple[str, str] | None = None


SUPERVISOR, AGENT, BOTH = ("dashboard",), ("remote_assistant",), ("dashboard", "remote_assistant")
PAGE = {
    "agent.skills.set": Row(
        SUPERVISOR,
        "skills_write",
        {"changes": [{"skill_id": "61", "level": 3}], "mode": "patch", "if_version": 1},
        ("agent_id", "agent"),
    ),
    "agent.routing_state.set": Row(
        SUPERVISOR, "routing_state_write", {"state": "work", "when": "now"}, ("agent_id", "agent")
    ),
    "queue.routing_parameters.set": Row(
        SUPERVISOR,
        "routing_parameters_write",
        {"changes": {"Priority": 5}, "if_version": 1},
        ("queue_id", "queue"),
    ),
    "group.routing_parameters.set": Row(
        SUPERVISOR,
        "routing_parameters_write",
        {"changes": {"Open": True}, "if_version": 1},
        ("group_id", "group"),
    ),
    "routing_state.set": Row(AGENT, "own_routing_state", {"state": "work", "when": "now"}),
    "post_processing.start": Row(AGENT, "own_post_processing", {}),
    "post_processing.extend": Row(AGENT, "own_post_processing", {"until_ms": 5}),
    "post_processing.finish": Row(AGENT, "own_post_processing", {"wrap_up_reason_ids": ["51"]}),
    "post_processing.set_auto": Row(AGENT, "own_post_processing", {"on": True}),
    "remote_number.change": Row(AGENT, None, {"number": "+4989123456"}),
    "notices.acknowledge": Row(BOTH, None, {"notice_id": "n", "version": 1}),
}

# ---- what is there: numbers in sight, out of sight, and such that things of several kinds have ----

IN_SIGHT = {"agent": 11, "queue": 12, "group": 13, "aggregate": 14}
OUT_OF_SIGHT = {"agent": 21, "queue": 22, "group": 23, "aggregate": 24}
ONE_IN_SIGHT = {"agent": 31, "queue": 32, "group": 33, "aggregate": 34}
"""Things of all kinds have these numbers; the one of this kind is in sight."""
SCOPE = Scope(
    agents=frozenset({11, 31, 41}),
    queues=frozenset({12, 32, 41}),
    groups=frozenset({13, 33, 41}),
    aggregates=frozenset({14, 34, 41}),
)
VALUES: dict[str, Resource] = {
    "agent": Agent(), "queue": Queue(), "group": Group(), "aggregate": Aggregate(),
}  # fmt: skip
MIRROR: dict[str, Resource] = {
    **{f"{kind}:{numbers[kind]}": VALUES[kind] for kind in VALUES for numbers in (IN_SIGHT, OUT_OF_SIGHT)},
    **{f"{kind}:{number}": VALUES[kind] for kind in VALUES for number in (31, 32, 33, 34, 41)},
    SKILLS: Skills((Skill("61", "French", 1, 10),)),
    REASONS: Reasons((Reason("32", "work", "Back office"), Reason("51", "wrapup", "Solved"))),
    ROUTING_PARAMETERS: RoutingParameters(
        (
            RoutingParameter("Priority", "queue", "integer", 1, 10),
            RoutingParameter("Open", "group", "boolean"),
        )
    ),
}
"""What the user's mirror holds; what is out of sight came with another of his sessions."""

MALFORMED = (
    "", "x", "011", "-11", "+11", " 11", "11 ", "11.0", "1_1", "\u0661\u0661", "0x11", "9" * 17, "me", ":11",
    "catalogue:skills",
)  # fmt: skip


class Address(NamedTuple):
    """An id; commands that need one of a kind in *allowed_for* get it, *other* says what the others get."""

    name: str
    id: str
    allowed_for: frozenset[str]
    other: str


def addresses() -> Iterator[Address]:
    nobody: frozenset[str] = frozenset()
    for kind in VALUES:
        yield Address(f"{kind} in sight", str(IN_SIGHT[kind]), frozenset({kind}), "wrong_resource_kind")
        yield Address(f"{kind} out of sight", str(OUT_OF_SIGHT[kind]), nobody, "not_found")
        yield Address(
            f"{kind} in sight, others not", str(ONE_IN_SIGHT[kind]), frozenset({kind}), "wrong_resource_kind"
        )
        yield Address(f"key of {kind} in sight", f"{kind}:{IN_SIGHT[kind]}", nobody, "wrong_resource_kind")
        yield Address(
            f"key of {kind} out of sight", f"{kind}:{OUT_OF_SIGHT[kind]}", nobody, "wrong_resource_kind"
        )
        yield Address(f"key of no {kind}", f"{kind}:99", nobody, "wrong_resource_kind")
    yield Address("all kinds in sight", "41", frozenset(VALUES), "not_found")
    yield Address("nothing", "99", nobody, "not_found")
    for malformed in MALFORMED:
        yield Address(f"malformed {malformed!a}", malformed, nobody, "not_found")


ADDRESSES = tuple(addresses())
RIGHTS = {**{str(right): (right,) for right in Right}, "all": tuple(Right), "none": ()}
LET_THROUGH = "let through"


def expected(kind: str, address: Address, application: Application, rights: tuple[Right, ...]) -> str:
    row = PAGE[kind]
    if application.value not in row.applications:
        return "forbidden"
    if row.right is not None and row.right not in {right.value for right in rights}:
        return "forbidden"
    if row.names is None or row.names[1] in address.allowed_for:
        return LET_THROUGH
    own_key = address.id.startswith(f"{row.names[1]}:")
    return "not_found" if own_key else address.other


@cache
def command(kind: str, address: Address) -> Command:
    row = PAGE[kind]
    member = "agent_id" if row.names is None else row.names[0]
    received = {"kind": kind, member: address.id, **row.fields}
    sent = JSON.decode_client(
        frame("command", id="c1", key=KEY, stream="1.x", expires_at_ms=5, command=received)
    )
    assert isinstance(sent, CommandFrame)
    return sent.command


def received(
    kind: str, address: Address, application: Application, rights: tuple[Right, ...]
) -> dict[str, Any]:
    """Return what the phone is sent for a command at once; nothing when it is let through."""
    facts = facts_of(ticket_of(application), SCOPE, rights)
    try:
        check_command(command(kind, address), facts, declared(facts.handle, MIRROR))
    except GatewayError as error:
        return error.members
    return {}


@pytest.mark.parametrize("application", Application)
@pytest.mark.parametrize("kind", PAGE)
def test_everybody_may_do_what_the_page_says_and_nothing_else(kind: str, application: Application) -> None:
    for rights, held in RIGHTS.items():
        found = {
            address.name: received(kind, address, application, held).get("code", LET_THROUGH)
            for address in ADDRESSES
        }
        wanted = {address.name: expected(kind, address, application, held) for address in ADDRESSES}
        assert found == wanted, rights


def test_the_matrix_is_whole() -> None:
    assert PAGE.keys() == COMMANDS.keys()
    assert len({address.id for address in ADDRESSES}) == len({address.name for address in ADDRESSES}) == 41
    assert len(PAGE) * len(ADDRESSES) * len(Application) * len(RIGHTS) == 11 * 41 * 2 * 7 == 6314


NAMING = [kind for kind, row in PAGE.items() if row.names is not None]


@pytest.mark.parametrize("kind", NAMING)
@pytest.mark.parametrize(
    ("code", "least"),
    [("not_found", len(VALUES) + len(MALFORMED) + 1), ("wrong_resource_kind", 5 * (len(VALUES) - 1))],
)
def test_what_is_out_of_sight_is_reported_like_what_does_not_exist(kind: str, code: str, least: int) -> None:
    """Not only the code: nothing that the phone gets differs."""
    answers = [
        received(kind, address, Application.DASHBOARD, tuple(Right))
        for address in ADDRESSES
        if expected(kind, address, Application.DASHBOARD, tuple(Right)) == code
    ]
    assert len(answers) >= least
    assert answers == [answers[0]] * len(answers)
    assert answers[0].keys() == {"code", "message"}


@pytest.mark.parametrize("kind", PAGE)
def test_who_may_not_learns_nothing_of_the_id(kind: str) -> None:
    answers = [
        received(kind, address, application, ())
        for address in ADDRESSES
        for application in Application
        if expected(kind, address, application, ()) == "forbidden"
    ]
    assert answers == answers[:1] * len(answers)


@pytest.mark.parametrize("kind", [kind for kind, row in PAGE.items() if row.names is None])
def test_an_id_in_a_command_that_has_none_says_nothing(kind: str) -> None:
    assert len({repr(astuple(command(kind, address))) for address in ADDRESSES}) == 1
