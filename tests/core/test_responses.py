"""Facts and outcomes as docs/protocol.md says."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.command_checks import error_members, outcome_view, welcome_frame
from gateway.core.rate_limits import SessionLimits
from gateway.core.view import view_of
from gateway.domain.commands import Outcome, Status
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Right
from gateway.protocol.frames import OutcomeView, SessionView, UserView
from tests.core.samples import SCOPE, WALL_MS, facts_of, ticket_of

TICKET = ticket_of()


def test_an_error_is_reported_with_its_details() -> None:
    error = GatewayError(ErrorCode.RATE_LIMITED, "Too fast.", retry_after_s=1.41, limit=3)
    received = {"code": "rate_limited", "message": "Too fast.", "limit": 3, "retry_after_s": 1.5}
    assert error_members(error) == received
    assert outcome_view(Outcome(Status.REJECTED, error)) == OutcomeView("rejected", received, None)


def test_a_welcome_says_who_one_is_and_what_one_may() -> None:
    limits = replace(SessionLimits(), frames_burst=7)
    facts = replace(facts_of(TICKET, rights=(Right.SKILLS_WRITE,)), expires_at_ms=99)
    welcome = welcome_frame(
        TICKET,
        facts,
        view_of(facts.handle, SCOPE, ("agents", "queue:9")),
        limits.frame(),
        resumed=True,
        server_time_ms=WALL_MS,
        ping_s=20.0,
        pace_s=1.0,
    )
    assert welcome.session == SessionView("s1", Application.DASHBOARD, 99)
    assert welcome.user == UserView("7", "Ann Archer")
    assert (welcome.rights, welcome.application) == ((Right.SKILLS_WRITE,), Application.DASHBOARD)
    assert welcome.topics.granted == ("agents",)
    assert (welcome.resumed, welcome.server_time_ms) == (True, WALL_MS)
    assert (welcome.ping_s, welcome.pace_s, welcome.limits.frames_burst) == (20.0, 1.0, 7)


def test_no_secret_is_in_a_welcome() -> None:
    facts = facts_of(TICKET)
    welcome = welcome_frame(
        TICKET,
        facts,
        view_of(facts.handle, SCOPE, ()),
        SessionLimits().frame(),
        resumed=False,
        server_time_ms=0,
        ping_s=1.0,
        pace_s=0.0,
    )
    assert "secret of" not in repr(welcome)
    assert facts.handle not in repr(welcome)
