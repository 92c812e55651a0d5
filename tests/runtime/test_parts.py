"""Of what is a node made, and how much does it take?"""

from __future__ import annotations

from gateway.domain.model import NodeId
from gateway.runtime.node import NodeSettings, SiteParts
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream

SITE = SiteParts(FakeUpstream(ManualClock()), FakeUpstream(ManualClock()))


def test_a_site_is_asked_for_as_many_log_ons_as_is_said_and_no_more_at_a_time() -> None:
    settings = NodeSettings(NodeId("n"), "n-1", log_ons_per_s=5.0, log_ons_in_flight=3)
    budget = settings.budget(SITE)
    assert [budget.admit(0.0) for _ in range(4)] == [True, True, True, False]
    for _ in range(3):
        budget.done()
    assert [budget.admit(0.0) for _ in range(3)] == [True, True, False]
    assert [budget.admit(at / 10) for at in (1, 2)] == [False, True]


def test_every_site_has_its_own_budget() -> None:
    settings = NodeSettings(NodeId("n"), "n-1", log_ons_per_s=1.0)
    one, other = settings.budget(SITE), settings.budget(SITE)
    assert one.admit(0.0)
    assert other.admit(0.0)
    assert not one.admit(0.0)


def test_a_site_may_have_a_rate_of_its_own() -> None:
    settings = NodeSettings(NodeId("n"), "n-1", log_ons_per_s=5.0)
    assert settings.links_per_s(SITE._replace(log_ons_per_s=2.0)) == 2.0
    assert settings.links_per_s(SITE._replace(links_per_s=500.0, log_ons_per_s=2.0)) == 500.0
    budget = settings.budget(SITE._replace(log_ons_per_s=2.0))
    assert [budget.admit(0.0) for _ in range(3)] == [True, True, False]
