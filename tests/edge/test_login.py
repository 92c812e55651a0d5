"""Do credentials become a token, and does a refusal tell no more than it must?"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application
from gateway.edge.login import Login
from gateway.edge.notices import Notice, Notices, NoticeText
from gateway.edge.settings import EdgeSettings
from gateway.edge.token import Opened, Tokens
from gateway.protocol.bodies import DeviceBody, LogOnBody, NoticeReference, SessionCreated
from gateway.telemetry import Telemetry
from tests.doubles.clock import ManualClock
from tests.edge.fake_node import LIFE_MS, FakeNode
from tests.edge.visits import KEYS, SETTINGS, SITE, nonces

BODY = LogOnBody("main", Application.DASHBOARD, "ann", "secret", DeviceBody("d1", "one", "ios", "2.0"))
NOTICE = Notice("privacy", 2, "privacy", 0, True, {"en": NoticeText("Read", "this")})


class House:
    """A log-on door and what is behind it."""

    def __init__(self, settings: EdgeSettings = SETTINGS, notices: Notices | None = None) -> None:
        self.clock = ManualClock()
        self.node = FakeNode(self.clock)
        self.tokens = Tokens(KEYS, ("main",), nonces())
        self.telemetry = Telemetry()
        self.login = Login(settings, self.node, self.tokens, notices or Notices(), self.clock, self.telemetry)

    async def refused(self, body: LogOnBody) -> GatewayError:
        """Return why a log-on was refused at once."""
        with pytest.raises(GatewayError) as refused:
            await self.login.log_on(body, "")
        return refused.value

    async def timed(self, body: LogOnBody) -> tuple[GatewayError, float]:
        """Return why a log-on was refused, and after how long."""
        async with asyncio.TaskGroup() as tasks:
            refusal = tasks.create_task(self.refused(body))
            began = self.clock.now()
            while not refusal.done():
                await self.clock.advance(0.01)
        return refusal.result(), self.clock.now() - began

    def counted(self, result: str) -> float | None:
        labels = {"application": "dashboard", "result": result}
        return self.telemetry.registry.get_sample_value("oscc_gateway_log_ons_total", labels)


async def test_credentials_become_a_token_that_says_who() -> None:
    house = House()
    created = await house.login.log_on(BODY, "")
    assert isinstance(created, SessionCreated)
    opened = house.tokens.open(created.token, house.clock.wall_ms())
    assert isinstance(opened, Opened)
    ticket = opened.ticket
    assert (ticket.user, ticket.device.id, ticket.secret) == (("main", 7), "d1", "SECRET-SESSION")
    assert created.session.id == ticket.session == "public-1"
    assert created.session.expires_at_ms == house.clock.wall_ms() + LIFE_MS
    assert created.user.user_id == "7"
    assert "SECRET" not in created.token
    assert house.counted("ok") == 1


async def test_only_a_remote_assistant_has_a_number() -> None:
    house = House()
    assert (await house.login.log_on(replace(BODY, remote_number="+49891"), "")).remote_number is None
    remote = replace(BODY, application=Application.REMOTE_ASSISTANT, remote_number="+49891", takeover=True)
    assert (await house.login.log_on(remote, "")).remote_number == "+49891"
    assert house.node.credentials[-1].takeover


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (replace(BODY, site="elsewhere"), ErrorCode.SITE_UNKNOWN),
        (replace(BODY, application=Application.REMOTE_ASSISTANT), ErrorCode.SITE_UNKNOWN),
        (replace(BODY, device=DeviceBody("d1", "one", "ios", "0.9")), ErrorCode.VERSION_UNSUPPORTED),
        (BODY, ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED),
    ],
)
async def test_what_can_be_refused_here_never_shows_a_password_to_the_server(
    body: LogOnBody, code: ErrorCode
) -> None:
    settings = replace(
        SETTINGS, sites=(replace(SITE, applications=(Application.DASHBOARD,)),), app_minimum={"ios": "1.0"}
    )
    house = House(settings, Notices([NOTICE]))
    assert (await house.refused(body)).code is code
    assert house.node.credentials == []
    assert house.clock.waiting == 0


async def test_accepted_notices_go_into_the_ticket() -> None:
    house = House(notices=Notices([NOTICE]))
    accepted = (NoticeReference("privacy", 2), NoticeReference("invented", 1))
    created = await house.login.log_on(replace(BODY, accepted_notices=accepted), "")
    opened = house.tokens.open(created.token, house.clock.wall_ms())
    assert isinstance(opened, Opened)
    assert opened.ticket.notices == (("privacy", 2),)


@pytest.mark.parametrize("takes_s", [0.0, 0.05, 0.29])
async def test_wrong_credentials_have_one_text_and_one_time(takes_s: float) -> None:
    answers: set[tuple[str, str, float]] = set()
    for wrong in ({"user_name": "nobody"}, {"password": "wrong"}):
        house = House()
        house.node.log_on_takes_s = takes_s
        error, seconds = await house.timed(replace(BODY, **wrong))  # type: ignore[arg-type]  # both are strings
        assert error.details == {}
        answers.add((error.code.value, error.message, round(seconds, 3)))
    assert answers == {("invalid_credentials", "User name or password is wrong.", 0.3)}


async def test_a_slow_server_is_levelled_too() -> None:
    house = House()
    house.node.log_on_takes_s = 0.4
    _, seconds = await house.timed(replace(BODY, password="wrong"))
    assert round(seconds, 3) == 0.6
    assert house.counted("invalid_credentials") == 1


@pytest.mark.parametrize("code", [ErrorCode.ACCOUNT_LOCKED, ErrorCode.ACCOUNT_BLOCKED])
async def test_whether_an_account_is_locked_takes_as_long(code: ErrorCode) -> None:
    house = House()
    house.node.error = GatewayError(code, "Wait.", retry_after_s=30)
    error, seconds = await house.timed(BODY)
    assert (error.code, error.retry_after_s, round(seconds, 3)) == (code, 30, 0.3)


async def test_other_refusals_come_at_once_and_whole() -> None:
    house = House()
    house.node.error = GatewayError(ErrorCode.ALREADY_LOGGED_ON, "Elsewhere.", where="two", since_ms=5)
    error = await house.refused(BODY)
    assert (error.code, error.details) == (ErrorCode.ALREADY_LOGGED_ON, {"where": "two", "since_ms": 5})
    assert house.clock.waiting == 0


async def test_a_fault_of_ours_is_counted_as_one() -> None:
    house = House()
    house.node.fault = RuntimeError("boom")
    with pytest.raises(RuntimeError):
        await house.login.log_on(BODY, "")
    assert house.counted("internal") == 1
