"""Who may give which command for what, as docs/protocol.md says.

The page's table of commands, written out here by hand, times whatever an id may name, times both
applications, times the rights held. Commands without an id get one all the same: it is ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple
from functools import cache
from typing import Any, NamedTuple

import pytest

from gateway.core.command_checks import check_command, error_members
from gateway.domain.commands import Command
from gateway.domain.errors import GatewayError
from gateway.domain.model import REASONS, ROUTING_PARAMETERS, SKILLS, Application, Right, Scope
from gateway.domain.resources import (
    Agent,
    Aggregate,
    Group,
    Queue,
    Reason,
    Reasons,
    Resource,
    RoutingParameter,
    RoutingParameters,
    Skill,
    Skills,
)
from gateway.protocol.codec import JSON
from gateway.protocol.frames import COMMANDS, CommandFrame
from tests.core.samples import KEY, declared, facts_of, frame, ticket_of


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
        return error_members(error)
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


def test_every_verdict_occurs() -> None:
    """The table itself is no constant: so often each verdict is expected."""
    counted = Counter(
        expected(kind, address, application, held)
        for kind in PAGE
        for address in ADDRESSES
        for application in Application
        for held in RIGHTS.values()
    )
    assert counted == {"forbidden": 4715, "let through": 1295, "not_found": 184, "wrong_resource_kind": 120}


NAMING = [kind for kind, row in PAGE.items() if row.names is not None]


@pytest.mark.parametrize("kind", NAMING)
def test_what_is_out_of_sight_is_reported_like_what_does_not_exist(kind: str) -> None:
    """Not only the code: nothing that the phone gets differs."""
    answers = [
        received(kind, address, Application.DASHBOARD, tuple(Right))
        for address in ADDRESSES
        if expected(kind, address, Application.DASHBOARD, tuple(Right)) == "not_found"
    ]
    assert len(answers) > len(VALUES) + len(MALFORMED)
    assert answers == [answers[0]] * len(answers)
    assert answers[0].keys() == {"code", "message"}


@pytest.mark.parametrize("kind", NAMING)
def test_an_id_of_another_kind_is_reported_alike_whether_it_is_in_sight_or_not(kind: str) -> None:
    answers = [
        received(kind, address, Application.DASHBOARD, tuple(Right))
        for address in ADDRESSES
        if expected(kind, address, Application.DASHBOARD, tuple(Right)) == "wrong_resource_kind"
    ]
    assert len(answers) == 5 * (len(VALUES) - 1)
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
