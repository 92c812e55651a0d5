"""The state rules of ECMA-269 for agents, as far as the double needs them. Pure."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from gateway.domain.commands import Executed, SetAgentRoutingState, SetRoutingState
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Right
from gateway.domain.resources import Agent, RoutingState


class Change(NamedTuple):
    """An agent after a command, None when logged off, and the answer to the command."""

    agent: Agent | None
    answer: Executed


def target(command: SetAgentRoutingState | SetRoutingState, own_agent: int | None) -> tuple[int, Right]:
    """Return the agent of *command*, and the right that it needs."""
    match command:
        case SetAgentRoutingState(agent_id=agent_id):
            return int(agent_id), Right.ROUTING_STATE_WRITE
        case SetRoutingState():
            return own_agent or 0, Right.OWN_ROUTING_STATE


def change(agent: Agent | None, command: SetAgentRoutingState | SetRoutingState, now_ms: int) -> Change:
    """Return *agent* (None: logged off) after *command*.

    Raises:
        GatewayError: ``not_logged_on``, ``cannot_log_on_for_another``, ``not_allowed_while_handling``.
    """
    state = RoutingState(command.state)
    if agent is None:
        if state is RoutingState.LOGGED_OFF:
            return Change(None, Executed("unchanged"))
        own = isinstance(command, SetRoutingState)
        code = ErrorCode.NOT_LOGGED_ON if own else ErrorCode.CANNOT_LOG_ON_FOR_ANOTHER
        raise GatewayError(code, "the agent is logged off")
    if state is agent.routing_state and command.reason_id == agent.reason_id:
        if agent.pending_routing_state is None:
            return Change(agent, Executed("unchanged"))
        return Change(dataclasses.replace(agent, pending_routing_state=None), Executed("applied"))
    if agent.handling:
        if state is RoutingState.LOGGED_OFF and command.when == "now":
            raise GatewayError(ErrorCode.NOT_ALLOWED_WHILE_HANDLING, "a contact is handled")
        return Change(dataclasses.replace(agent, pending_routing_state=state), Executed("pending"))
    if state is RoutingState.LOGGED_OFF:
        return Change(None, Executed("applied"))
    changed = dataclasses.replace(
        agent,
        routing_state=state,
        routing_state_since_ms=now_ms,
        reason_id=command.reason_id,
        pending_routing_state=None,
    )
    return Change(changed, Executed("applied"))
