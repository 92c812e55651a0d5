"""May a session give a command?"""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from gateway.core.admission import check_command, check_deadline
from gateway.domain.commands import Command, SetAgentRoutingState, SetRoutingState
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Right, Scope
from gateway.protocol.envelopes import SessionFacts
from tests.core.samples import WALL_MS, facts_of, ticket_of

DASHBOARD, ASSISTANT = Application.DASHBOARD, Application.REMOTE_ASSISTANT
SUPERVISORS = SetAgentRoutingState("5", "available")
AGENTS = SetRoutingState("available")


def facts(application: Application, *rights: Right) -> SessionFacts:
    return facts_of(ticket_of(application), rights=rights)


def refusal(command: Command, of: SessionFacts) -> ErrorCode | None:
    try:
        check_command(command, of)
    except GatewayError as error:
        return error.code
    return None


@pytest.mark.parametrize("right", Right)
@pytest.mark.parametrize("application", Application)
@pytest.mark.parametrize("command", [SUPERVISORS, AGENTS], ids=lambda command: command.kind)
def test_each_command_needs_its_application_and_its_right(
    command: Command, application: Application, right: Right
) -> None:
    allowed = {
        ("agent.routing_state.set", DASHBOARD, Right.ROUTING_STATE_WRITE),
        ("routing_state.set", ASSISTANT, Right.OWN_ROUTING_STATE),
    }
    expected = None if (command.kind, application, right) in allowed else ErrorCode.FORBIDDEN
    assert refusal(command, facts(application, right)) is expected


@pytest.mark.parametrize(
    ("agent_id", "expected"),
    [
        ("5", None),
        ("6", None),
        ("7", ErrorCode.NOT_FOUND),
        ("05", ErrorCode.NOT_FOUND),
        ("", ErrorCode.NOT_FOUND),
        ("x", ErrorCode.NOT_FOUND),
        ("agent:5", ErrorCode.NOT_FOUND),
        ("queue:1", ErrorCode.WRONG_RESOURCE_KIND),
        ("group:999", ErrorCode.WRONG_RESOURCE_KIND),
    ],
)
def test_an_id_must_be_one_of_the_right_kind_in_scope(agent_id: str, expected: ErrorCode | None) -> None:
    command = SetAgentRoutingState(agent_id, "work")
    assert refusal(command, facts(DASHBOARD, Right.ROUTING_STATE_WRITE)) is expected


def test_what_is_out_of_scope_is_refused_like_what_does_not_exist() -> None:
    of = facts_of(ticket_of(), Scope(agents=frozenset({5})))
    told = []
    for agent_id in ("6", "123456", "nobody"):
        with pytest.raises(GatewayError) as refused:
            check_command(SetAgentRoutingState(agent_id, "work"), of)
        told.append((refused.value.code, refused.value.message, refused.value.details))
    assert told == [told[0]] * 3


@pytest.mark.parametrize(
    ("expires_at_ms", "expected"),
    [
        (WALL_MS - 1, ErrorCode.EXPIRED),
        (WALL_MS, ErrorCode.EXPIRED),
        (WALL_MS + 1, None),
        (WALL_MS + 60_000, None),
        (WALL_MS + 60_001, ErrorCode.BAD_REQUEST),
    ],
)
def test_a_deadline_is_ahead_but_not_far(expires_at_ms: int, expected: ErrorCode | None) -> None:
    with nullcontext() if expected is None else pytest.raises(GatewayError) as refused:
        check_deadline(expires_at_ms, WALL_MS, ahead_s=60.0)
    assert (None if refused is None else refused.value.code) is expected
