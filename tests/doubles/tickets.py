"""Tickets of sessions."""

from __future__ import annotations

from gateway.domain.model import Application, Device, SessionId, SessionSecret, Ticket, UserId
from gateway.domain.upstream import LoggedOn, LogOn


def ticket(
    user: UserId,
    session: str,
    *,
    secret: str | None = None,
    application: Application = Application.DASHBOARD,
    name: str = "Ann",
    device: tuple[str, str] = ("d1", "Phone"),
    notices: tuple[tuple[str, int], ...] = (),
    issued_at_ms: int = 1,
    life_ms: int = 1,
    idle_timeout_s: int = 0,
) -> Ticket:
    """Return a ticket; without a *secret* it is that of the session's name."""
    return Ticket(
        user=user,
        display_name=name,
        application=application,
        secret=SessionSecret(f"secret of {session}" if secret is None else secret),
        session=SessionId(session),
        device=Device(*device),
        notices=notices,
        issued_at_ms=issued_at_ms,
        expires_at_ms=issued_at_ms + life_ms,
        idle_timeout_s=idle_timeout_s,
    )


def ticket_of(logged_on: LoggedOn, credentials: LogOn, issued_at_ms: int) -> Ticket:
    """Return the ticket of a log-on, without notices."""
    return Ticket(
        user=logged_on.user.id,
        display_name=logged_on.user.display_name,
        application=credentials.application,
        secret=logged_on.secret,
        session=logged_on.session,
        device=credentials.device,
        notices=(),
        issued_at_ms=issued_at_ms,
        expires_at_ms=logged_on.expires_at_ms,
        idle_timeout_s=logged_on.idle_timeout_s,
        server=logged_on.server,
    )
