"""Frames for a session's facts and outcomes."""

from __future__ import annotations

from gateway.core.view import View
from gateway.domain.commands import Outcome
from gateway.domain.errors import GatewayError, tenths
from gateway.domain.model import Ticket
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import (
    GrantedTopics,
    Limits,
    OutcomeView,
    RefusedTopic,
    SessionView,
    UserView,
    Welcome,
)

REFUSED = "not_found"
"""Why a topic is refused: unknown and foreign ones alike."""


def topics_of(view: View) -> GrantedTopics:
    """Return what became of the topics asked for."""
    return GrantedTopics(view.granted, tuple(RefusedTopic(topic, REFUSED) for topic in view.refused))


def outcome_view(outcome: Outcome) -> OutcomeView:
    """Return an outcome as phones see it."""
    error = None if outcome.error is None else error_members(outcome.error)
    return OutcomeView(outcome.status.value, error, outcome.version)


def error_members(error: GatewayError) -> dict[str, object]:
    """Return an error's members: code, message, retry_after_s and its details."""
    members: dict[str, object] = {"code": error.code.value, "message": error.message, **error.details}
    if error.retry_after_s is not None:
        members["retry_after_s"] = tenths(error.retry_after_s)
    return members


def welcome_frame(
    ticket: Ticket,
    facts: SessionFacts,
    view: View,
    limits: Limits,
    *,
    resumed: bool,
    server_time_ms: int,
    ping_s: float,
    pace_s: float,
) -> Welcome:
    """Return the frame that opens a served session."""
    return Welcome(
        session=SessionView(ticket.session, ticket.application, facts.expires_at_ms),
        user=UserView(str(ticket.user.key), ticket.display_name),
        rights=facts.rights,
        application=facts.application,
        topics=topics_of(view),
        resumed=resumed,
        server_time_ms=server_time_ms,
        ping_s=ping_s,
        pace_s=pace_s,
        limits=limits,
    )
