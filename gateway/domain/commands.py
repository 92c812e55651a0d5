"""What may users ask to be done, and what can become of it?"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Literal

from gateway.domain.errors import GatewayError
from gateway.domain.model import Application, Right

TargetState = Literal["available", "unavailable", "work", "logged_off"]
OwnTargetState = Literal["available", "unavailable", "work"]
When = Literal["now", "after_contact"]


@dataclass(frozen=True, slots=True)
class SetAgentRoutingState:
    """A supervisor changes another user's routing state."""

    agent_id: str
    state: TargetState
    reason_id: str | None = None
    when: When = "now"
    kind: Literal["agent.routing_state.set"] = "agent.routing_state.set"


@dataclass(frozen=True, slots=True)
class SetRoutingState:
    """An agent changes his own routing state; no agent id exists, so no other's can be meant."""

    state: OwnTargetState
    reason_id: str | None = None
    when: When = "now"
    kind: Literal["routing_state.set"] = "routing_state.set"


Command = SetAgentRoutingState | SetRoutingState


@dataclass(frozen=True, slots=True)
class CommandRule:
    """Which sessions may give a command."""

    application: Application
    right: Right


RULES: Final[dict[type[Command], CommandRule]] = {
    SetAgentRoutingState: CommandRule(Application.DASHBOARD, Right.ROUTING_STATE_WRITE),
    SetRoutingState: CommandRule(Application.REMOTE_ASSISTANT, Right.OWN_ROUTING_STATE),
}


class Status(enum.StrEnum):
    """What became of a command. It is not the state change: that arrives by the mirror."""

    APPLIED = "applied"
    PENDING = "pending"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The one answer to a command. *error* is there when rejected or unknown."""

    status: Status
    error: GatewayError | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One intended action on its way: *key* names it, so it is executed at most once."""

    key: str
    """A UUID, one per intended action."""
    session: str
    """The handle of the session that asks (:attr:`gateway.domain.model.Ticket.handle`)."""
    command: Command
    stream_epoch: int | None
    """The epoch in force when it was first sent; None when the phone knew none."""
    retry: bool
    deadline_ms: int
    """Absolute, gateway wall clock; holds for all hops."""
