"""Metric of attempts to open a link."""

from __future__ import annotations

from typing import get_args

import pytest

from gateway.app.metrics import CountedUpstream, SiteReach
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device, SessionSecret, UserId
from gateway.domain.upstream import (
    About,
    LinkClosed,
    LinkEvent,
    LogOn,
    UnreachedError,
)
from gateway.runtime.ports import Link
from gateway.telemetry import EVENTS, Telemetry
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream


class Counted:
    """A server in memory with one user, behind the counting."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.clock = ManualClock()
        self.server = FakeUpstream(self.clock)
        self.user = self.server.add_user(7, "anna")
        self.reach = SiteReach()
        self.upstream = CountedUpstream(self.server, self.telemetry, self.reach)

    def value(self, metric: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"oscc_gateway_{metric}_total", labels)

    def opens(self, result: str) -> float | None:
        return self.value("link_opens", result=result)

    def refused(self, reason: str) -> float | None:
        return self.value("link_refused", reason=reason)

    async def secret(self) -> SessionSecret:
        credentials = LogOn(Application.DASHBOARD, "anna", "secret", Device("d", "phone"))
        return (await self.server.log_on(credentials)).secret


@pytest.fixture
def counted() -> Counted:
    return Counted()


async def test_an_open_link_is_counted_and_is_the_servers_own(counted: Counted) -> None:
    secret = await counted.secret()
    assert await counted.upstream.about() == await counted.server.about()
    link = await counted.upstream.open(counted.user, secret, token=1, holder="me")
    assert link is counted.server.link(counted.user)
    assert counted.opens("ok") == 1


@pytest.mark.parametrize(
    ("user", "token", "result"), [(8, 1, "session_unknown"), (7, 1, "stale")], ids=["unknown", "stale"]
)
async def test_a_refused_link_is_counted_by_its_reason(
    counted: Counted, user: int, token: int, result: str
) -> None:
    secret = await counted.secret()
    counted.server.fences[counted.user] = (5, "another")
    with pytest.raises(LinkClosed, match=result):
        await counted.upstream.open(UserId("main", user), secret, token=token, holder="me")
    assert (counted.opens(result), counted.opens("ok")) == (1, None)
    assert counted.refused(result) == 1
    assert counted.reach.error is None


async def test_a_server_that_is_not_reached_refuses_nothing(counted: Counted) -> None:
    secret = await counted.secret()
    counted.server.unreachable = True
    with pytest.raises(LinkClosed, match="unavailable"):
        await counted.upstream.open(counted.user, secret, token=1, holder="me")
    assert (counted.opens("unavailable"), counted.refused("unavailable")) == (1, None)
    assert counted.reach.error is ErrorCode.UPSTREAM_UNAVAILABLE
    counted.server.unreachable = False
    await counted.upstream.open(counted.user, secret, token=1, holder="me")
    assert counted.reach.error is None


@pytest.mark.parametrize(
    ("fault", "result"), [("unreachable", "unavailable"), ("unsupported", "version_unsupported")]
)
async def test_a_server_that_is_not_there_is_counted_when_it_is_asked_what_it_is(
    counted: Counted, fault: str, result: str
) -> None:
    setattr(counted.server, fault, True)
    with pytest.raises(GatewayError):
        await counted.upstream.about()
    assert counted.opens(result) == 1
    assert counted.reach.error == f"upstream_{result}"


async def test_why_a_server_is_not_reached_is_counted_and_kept(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failures(cause: str) -> float | None:
        return counted.value("upstream_failures", cause=cause)

    async def fail(*_: object, **__: object) -> About:
        raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "no answer") from UnreachedError("tls")

    async def refuse(*_: object, **__: object) -> Link:
        raise LinkClosed("unavailable") from UnreachedError("dns")

    monkeypatch.setattr(counted.server, "about", fail)
    monkeypatch.setattr(counted.server, "open", refuse)
    assert (failures("tls"), failures("timeout")) == (0, 0)
    with pytest.raises(GatewayError):
        await counted.upstream.about()
    assert (failures("tls"), counted.reach.cause) == (1, "tls")
    with pytest.raises(LinkClosed):
        await counted.upstream.open(counted.user, SessionSecret("s"), token=1, holder="me")
    assert (failures("dns"), counted.reach.cause) == (1, "dns")


def test_every_event_has_a_name() -> None:
    assert set(EVENTS) == set(get_args(LinkEvent))
    assert len(set(EVENTS.values())) == len(EVENTS)
