"""Metric of each site: whether it answers log-ons and log-offs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from gateway.app.metrics import ANSWERED, UNAVAILABLE, CountedAuthority
from gateway.app.status import SiteReach
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device, SessionId, SessionSecret
from gateway.domain.upstream import LogOn
from gateway.telemetry import Telemetry
from tests.app.metrics import own_lines
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream

ANNA = LogOn(Application.DASHBOARD, "anna", "secret", Device("d", "phone"))


class Counted:
    """A server in memory with one user, behind the counting."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.server = FakeUpstream(ManualClock())
        self.server.add_user(7, "anna")
        self.reach = SiteReach()
        self.authority = CountedAuthority(self.server, "main", self.telemetry, self.reach)

    def count(self, name: str) -> tuple[float | None, ...]:
        """Return how many were answered, and how many were not."""
        full, value = f"oscc_gateway_site_{name}_total", self.telemetry.registry.get_sample_value
        return tuple(value(full, {"site": "main", "result": result}) for result in (ANSWERED, UNAVAILABLE))


@pytest.fixture
def counted() -> Counted:
    return Counted()


async def test_who_is_let_in_and_out_was_answered(counted: Counted) -> None:
    logged_on = await counted.authority.log_on(ANNA)
    assert counted.count("log_ons") == (1, 0)
    assert (await counted.authority.log_off(logged_on.secret)).routing == "none"
    assert counted.count("log_offs") == (1, 0)


@pytest.mark.parametrize(
    ("code", "counts"),
    [
        (ErrorCode.INVALID_CREDENTIALS, (1, 0)),
        (ErrorCode.UPSTREAM_REJECTED, (1, 0)),
        (ErrorCode.UPSTREAM_VERSION_UNSUPPORTED, (0, 1)),
        (ErrorCode.FUNCTION_UNAVAILABLE, (0, 1)),
        (ErrorCode.BUSY, (0, 1)),
    ],
)
async def test_a_refusal_of_a_person_is_an_answer_and_one_that_meets_everybody_is_none(
    counted: Counted, code: ErrorCode, counts: tuple[int, int]
) -> None:
    counted.reach.note(ErrorCode.UPSTREAM_UNAVAILABLE)
    counted.server.log_on_refusals.append(GatewayError(code, "No."))
    with pytest.raises(GatewayError, match=r"No\."):
        await counted.authority.log_on(ANNA)
    assert counted.count("log_ons") == counts
    if code is ErrorCode.INVALID_CREDENTIALS:
        assert counted.reach.error is None, "who is refused has reached the site"


async def test_a_site_that_is_not_reached_is_unavailable_until_it_is(counted: Counted) -> None:
    secret = (await counted.authority.log_on(ANNA)).secret

    def asks() -> tuple[Coroutine[object, object, object], ...]:
        return counted.authority.log_on(ANNA), counted.authority.log_off(secret)

    counted.server.unreachable = True
    for ask in asks():
        counted.reach.note()
        with pytest.raises(GatewayError):
            await ask
        assert counted.reach.error is ErrorCode.UPSTREAM_UNAVAILABLE
    assert (counted.count("log_ons"), counted.count("log_offs")) == ((1, 1), (0, 1))
    counted.server.unreachable = False
    for ask in asks():
        counted.reach.note(ErrorCode.UPSTREAM_UNAVAILABLE)
        await ask
        assert counted.reach.error is None


async def test_a_log_off_that_is_refused_is_as_open_as_one_that_is_not_received(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(secret: SessionSecret) -> None:
        raise GatewayError(ErrorCode.UPSTREAM_REJECTED, "No.")

    monkeypatch.setattr(counted.server, "log_off", refuse)
    with pytest.raises(GatewayError, match=r"No\."):
        await counted.authority.log_off(SessionSecret("any"))
    assert counted.count("log_offs") == (0, 1)


async def test_who_gives_up_says_nothing_of_the_site(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def for_ever(credentials: LogOn) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(counted.server, "log_on", for_ever)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(counted.authority.log_on(ANNA))
        await asyncio.sleep(0)  # the request begins
        asking.cancel()
    assert counted.count("log_ons") == (0, 0)


async def test_everything_else_passes_uncounted(counted: Counted) -> None:
    secret = (await counted.authority.log_on(ANNA)).secret
    before = own_lines(counted.telemetry)
    assert await counted.authority.sessions(secret) == await counted.server.sessions(secret)
    assert await counted.authority.keep_alive(secret) > 0
    with pytest.raises(GatewayError):
        await counted.authority.end(secret, SessionId("none"))
    with pytest.raises(GatewayError):
        await counted.authority.sessions(SessionSecret("none"))
    assert own_lines(counted.telemetry) == before
