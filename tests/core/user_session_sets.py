"""Rosters with sessions in them."""

from __future__ import annotations

from gateway.core.view import UserSessions
from gateway.domain.model import Application, Right, Scope, SessionId, Ticket
from gateway.domain.upstream import Attached
from tests.core.samples import SCOPE, ticket_of

ONE, TWO = ticket_of(session="s1"), ticket_of(Application.REMOTE_ASSISTANT, "s2")
LIFE_MS = 36_000_000


def attached(ticket: Ticket, alias: int, scope: Scope = SCOPE, own_agent: int | None = None) -> Attached:
    rights = frozenset({Right.SKILLS_WRITE, Right.OWN_ROUTING_STATE})
    return Attached(alias, SessionId(ticket.session), ticket.application, rights, scope, own_agent)


def full() -> UserSessions:
    """Return a user sessions with both sessions accepted on the link, as 1 and 2."""
    user_sessions = UserSessions()
    for alias, ticket in enumerate((ONE, TWO), start=1):
        user_sessions.join(ticket, ("agents",))
        user_sessions.accepted(ticket.handle, attached(ticket, alias, own_agent=5 if ticket is TWO else None))
    return user_sessions
