"""Dependencies of an owner, and the notice of a session's end."""

from __future__ import annotations

import pytest

from gateway.domain.errors import CloseCode, EndReason
from gateway.domain.model import Application, Device, NodeId, SessionId, SessionSecret, Ticket, UserId
from gateway.runtime.node import NodeSettings, SiteParts
from gateway.runtime.world import refusal
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream

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


# ---- Of what is a node made, and how much does it take? ----


SITE = SiteParts(FakeUpstream(ManualClock()), FakeUpstream(ManualClock()))


def test_a_site_is_asked_for_as_many_log_ons_as_is_said_and_no_more_at_a_time() -> None:
    settings = NodeSettings(NodeId("n"), "n-1", log_ons_per_s=5.0, log_ons_in_flight=3)
    budget = settings.budget(SITE)
    assert [budget.admit(0.0) for _ in range(4)] == [True, True, True, False]
    for _ in range(3):
        budget.done()
    assert [budget.admit(0.0) for _ in range(3)] == [True, True, False]
    assert [budget.admit(at / 10) for at in (1, 2)] == [False, True]


def test_a_site_may_have_a_rate_of_its_own() -> None:
    settings = NodeSettings(NodeId("n"), "n-1", log_ons_per_s=5.0)
    assert settings.links_per_s(SITE._replace(log_ons_per_s=2.0)) == 2.0
    assert settings.links_per_s(SITE._replace(links_per_s=500.0, log_ons_per_s=2.0)) == 500.0
    budget = settings.budget(SITE._replace(log_ons_per_s=2.0))
    assert [budget.admit(0.0) for _ in range(3)] == [True, True, False]
