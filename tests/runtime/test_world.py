"""What does an owner need of the outside, and how is a phone told that its session ended?"""

from __future__ import annotations

import pytest

from gateway.domain.errors import CloseCode, EndReason
from gateway.domain.model import Application, Device, SessionId, SessionSecret, Ticket, UserId
from gateway.runtime.world import refusal

DASHBOARD, REMOTE = Application.DASHBOARD, Application.REMOTE_ASSISTANT


def _ticket(application: Application) -> Ticket:
    secret, session = SessionSecret("s3cret"), SessionId("s1")
    user, device = UserId("main", 1), Device("d1", "Phone")
    return Ticket(user, "Anna", application, secret, session, device, (), 0, 1_000, 0)


@pytest.mark.parametrize(
    ("application", "reason", "code"),
    [
        (DASHBOARD, EndReason.LOGGED_OFF, CloseCode.LOGGED_OFF),
        (REMOTE, EndReason.LOGGED_OFF_BY_SUPERVISOR, CloseCode.LOGGED_OFF),
        (DASHBOARD, EndReason.TAKEN_OVER, CloseCode.LOGGED_OFF),
        (DASHBOARD, EndReason.BLOCKED, CloseCode.ACCOUNT_BLOCKED),
        (REMOTE, EndReason.EXPIRED, CloseCode.SESSION_ENDED),
        (DASHBOARD, EndReason.MAINTENANCE, CloseCode.SESSION_ENDED),
        (DASHBOARD, EndReason.UNKNOWN, CloseCode.SESSION_ENDED),
        (REMOTE, EndReason.UNKNOWN, CloseCode.LOGGED_OFF),
    ],
)
def test_the_reason_decides_how_a_phone_is_refused(
    application: Application, reason: EndReason, code: CloseCode
) -> None:
    refused = refusal(_ticket(application), reason, "Cleo")
    assert (refused.code, refused.reason, refused.by) == (code, reason, "Cleo")


def test_who_logs_on_again_is_given_a_window_and_nobody_else() -> None:
    expired = refusal(_ticket(DASHBOARD), EndReason.EXPIRED, None)
    assert expired.window_s is not None
    assert 0 <= expired.window_s[0] < expired.window_s[1]
    assert refusal(_ticket(DASHBOARD), EndReason.BLOCKED, None).window_s is None
