"""Session of the client: kept until it is logged off; passwords are never kept."""

from __future__ import annotations

import math

import pytest

from gateway.client.http import Account, Api, Credentials, error_of
from gateway.client.mirror import Event, LogOffDelayed
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application
from gateway.protocol.bodies import DeviceBody, problem_members
from tests.doubles.clock import ManualClock
from tests.doubles.refusals import refused_with
from tests.doubles.scripted_gateway import ScriptedGateway, created
from tests.doubles.tasks import beside, during

DEVICE = DeviceBody("d1", "Ada's phone", "ios", "1.2")
ADA = Credentials("ada", "secret", "+49 89 1")
SESSION = "/v1/session"


@pytest.fixture
def received() -> list[Event]:
    return []


@pytest.fixture
async def account(api: Api, clock: ManualClock, received: list[Event]) -> Account:
    return Account(api, clock, lambda: 0.5, received.append)


@pytest.fixture
async def logged_on(account: Account, gateway: ScriptedGateway) -> Account:
    gateway.answer("POST", "/v1/sessions", 201, created())
    await account.log_on(ADA, site="main", application=Application.DASHBOARD, device=DEVICE)
    return account


def _problem(code: ErrorCode, *, retry_after_s: float | None = None) -> tuple[int, dict[str, object]]:
    error = GatewayError(code, "Why.", retry_after_s=retry_after_s)
    return error.status, problem_members(error)


async def test_a_refused_log_on_keeps_nothing(account: Account, gateway: ScriptedGateway) -> None:
    status, problem = _problem(ErrorCode.INVALID_CREDENTIALS)
    gateway.answer("POST", "/v1/sessions", status, problem)
    with refused_with(ErrorCode.INVALID_CREDENTIALS):
        await account.log_on(ADA, site="main", application=Application.DASHBOARD, device=DEVICE)
    assert account.session is None
    with refused_with(ErrorCode.UNAUTHENTICATED):
        _ = account.token


async def test_nothing_shows_a_secret(logged_on: Account) -> None:
    assert "secret" not in repr(ADA) + repr(vars(type(ADA)))
    assert "token-1" not in repr(logged_on.session)
    kept = repr([getattr(logged_on, name) for name in Account.__slots__])
    assert "secret" not in kept


async def test_log_on_again_is_as_before_and_says_no_more_than_it_must(
    logged_on: Account, gateway: ScriptedGateway
) -> None:
    gateway.answer("POST", "/v1/sessions", 201, created("token-2"))
    await logged_on.log_on_again(Credentials("ada", "other"))
    assert logged_on.token == "token-2"
    first, second = (asked.body for asked in gateway.asked)
    assert first is not None
    assert second is not None
    assert not {"accepted_notices", "takeover"} & first.keys()
    assert [second[name] for name in ("site", "application", "device")] == [
        first[name] for name in ("site", "application", "device")
    ]


async def test_nobody_logs_on_again_who_was_not(account: Account) -> None:
    with pytest.raises(GatewayError):
        await account.log_on_again(ADA)


async def test_log_off_is_repeated_with_back_off_until_it_is_confirmed(
    logged_on: Account, gateway: ScriptedGateway, clock: ManualClock, received: list[Event]
) -> None:
    pending = {"state": "pending", "routed_until_ms": 77}
    gateway.answer("DELETE", SESSION, 202, pending)
    gateway.answer("DELETE", SESSION, 202, pending | {"retry_after_s": 5.0})
    gateway.answer("DELETE", SESSION, *_problem(ErrorCode.BUSY, retry_after_s=9.0))
    gateway.answer("DELETE", SESSION, 502, b"")
    gateway.answer("DELETE", SESSION, *_problem(ErrorCode.INTERNAL))
    gateway.answer("DELETE", SESSION, 202, {"state": "pending", "routed_until_ms": None})
    gateway.answer("DELETE", SESSION, 204)
    async with beside(logged_on.log_off()):
        # after each answer: half of 0.5, what the gateway says, twice, half of 4, of 8, of 16
        waits_s = (0.25, 5.0, 9.0, 2.0, 4.0, 8.0)
        for asked, wait_s in enumerate(waits_s, 1):
            await clock.advance(0)
            assert gateway.count("DELETE", SESSION) == asked
            assert logged_on.token == "token-1"
            await clock.advance(wait_s - 0.01)
            assert gateway.count("DELETE", SESSION) == asked
            await clock.advance(0.01)
    assert gateway.count("DELETE", SESSION) == 7
    assert logged_on.session is None
    until_ms = (77, 77, None, None, None, None)
    assert received == [LogOffDelayed(*each) for each in zip(until_ms, waits_s, strict=True)]


async def test_a_log_off_is_repeated_after_an_hour_at_the_latest_whatever_a_proxy_advises(
    logged_on: Account, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    gateway.answer("DELETE", SESSION, 503, b"", {"Retry-After": "9" * 400})
    gateway.answer("DELETE", SESSION, 204)
    async with beside(logged_on.log_off()):
        await clock.advance(3600)
    assert logged_on.session is None


@pytest.mark.parametrize("wait_s", [math.nan, math.inf, -1.0])
def test_a_wait_that_is_none_is_ignored(wait_s: float) -> None:
    assert error_of({"code": "busy", "retry_after_s": wait_s}).retry_after_s is None


async def test_a_session_that_has_ended_counts_as_logged_off(
    logged_on: Account, gateway: ScriptedGateway
) -> None:
    gateway.answer("DELETE", SESSION, *_problem(ErrorCode.SESSION_ENDED))
    await logged_on.log_off()
    assert logged_on.session is None


@pytest.mark.parametrize("code", [ErrorCode.UNAUTHENTICATED, ErrorCode.FORBIDDEN])
async def test_a_refused_log_off_is_not_taken_for_one_and_keeps_the_token(
    logged_on: Account, gateway: ScriptedGateway, code: ErrorCode
) -> None:
    gateway.answer("DELETE", SESSION, *_problem(code))
    with pytest.raises(GatewayError):
        await logged_on.log_off()
    assert logged_on.token == "token-1"


async def test_a_log_off_that_is_given_up_can_be_taken_up_again(
    logged_on: Account, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    gateway.answer("DELETE", SESSION, 202, {"state": "pending", "routed_until_ms": 1})
    async with during(logged_on.log_off()):
        await clock.advance(1)
    assert logged_on.token == "token-1"
    gateway.answer("DELETE", SESSION, 204)
    async with beside(logged_on.log_off()):
        await clock.advance(1)
    assert logged_on.session is None
