"""Log-on: credentials become a token; refusals reveal no more than they must."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application
from gateway.edge.credentials import OpenedToken
from gateway.edge.handshake import Login
from gateway.edge.policies import NoticesInForce, NoticeText, OperatorNotice
from gateway.edge.request_context import EdgeSettings
from gateway.protocol.bodies import DeviceBody, LogOnBody, SessionCreated
from tests.doubles.tasks import beside
from tests.edge.fake_node import LIFE_MS
from tests.edge.visits import SETTINGS, SITE, edge_setup

BODY = LogOnBody("main", Application.DASHBOARD, "ann", "secret", DeviceBody("d1", "one", "ios", "2.0"))
REMOTE = replace(BODY, application=Application.REMOTE_ASSISTANT, takeover=True)
NOTICE = OperatorNotice("privacy", 2, "privacy", 0, True, {"en": NoticeText("Read", "this")})


class Desk:
    """A log-on door and what is behind it."""

    def __init__(self, settings: EdgeSettings = SETTINGS, notices: NoticesInForce | None = None) -> None:
        self.edge_setup = edge_setup(settings, notices)
        self.clock, self.node, self.tokens = (
            self.edge_setup.clock,
            self.edge_setup.node,
            self.edge_setup.tokens,
        )
        self.login = Login(self.edge_setup.parts)

    async def refused(self, body: LogOnBody) -> GatewayError:
        with pytest.raises(GatewayError) as refused:
            await self.login.log_on(body, "")
        return refused.value

    async def timed(self, body: LogOnBody) -> tuple[GatewayError, float]:
        """Return why a log-on was refused, and after how long."""
        async with beside(self.refused(body)) as refusal:
            began = self.clock.now()
            while not refusal.done():
                await self.clock.advance(0.01)
        return refusal.result(), self.clock.now() - began

    def counted(self, result: str) -> float | None:
        return self.edge_setup.sample("log_ons_total", application="dashboard", result=result)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_credentials_become_a_token_that_says_who(desk: Desk) -> None:
    created = await desk.login.log_on(BODY, "")
    assert isinstance(created, SessionCreated)
    opened = desk.tokens.open(created.token, desk.clock.wall_ms())
    assert isinstance(opened, OpenedToken)
    ticket = opened.ticket
    assert (ticket.user, ticket.device.id, ticket.secret) == (("main", 7), "d1", "SECRET-SESSION")
    assert created.session.id == ticket.session == "public-1"
    assert created.session.expires_at_ms == desk.clock.wall_ms() + LIFE_MS
    assert created.user.user_id == "7"
    assert "SECRET" not in created.token
    assert desk.counted("ok") == 1


@pytest.mark.parametrize("ignored", [None, "", "110", "no number at all"])
async def test_a_dashboard_has_no_number(ignored: str | None, desk: Desk) -> None:
    assert (await desk.login.log_on(replace(BODY, remote_number=ignored), "")).remote_number is None
    assert desk.node.credentials[-1].remote_number is None


@pytest.mark.parametrize("text", ["+49 (0) 30 1234567", "0049 30 1234567", "030/1234567", "+49301234567"])
async def test_a_number_is_shown_to_the_server_in_one_form_however_it_was_written(text: str) -> None:
    desk = Desk()
    created = await desk.login.log_on(replace(REMOTE, remote_number=text), "")
    assert desk.node.credentials[-1].remote_number == "+49301234567"
    assert desk.node.credentials[-1].takeover
    assert created.remote_number == "+49301234567"


async def test_the_number_in_effect_is_what_the_server_confirmed(desk: Desk) -> None:
    desk.node.number_in_effect = "+493076543210"
    created = await desk.login.log_on(replace(REMOTE, remote_number="030 1234567"), "")
    assert created.remote_number == "+493076543210"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (None, ErrorCode.REMOTE_NUMBER_MISSING),
        (" ", ErrorCode.REMOTE_NUMBER_MISSING),
        ("tel:+49301234567", ErrorCode.REMOTE_NUMBER_INVALID),
        ("+43 1 58058", ErrorCode.REMOTE_NUMBER_NOT_ALLOWED),
        ("112", ErrorCode.REMOTE_NUMBER_NOT_ALLOWED),
    ],
)
async def test_a_number_that_is_refused_never_shows_a_password_to_the_server(
    number: str | None, code: ErrorCode, desk: Desk
) -> None:
    assert (await desk.refused(replace(REMOTE, remote_number=number))).code is code
    assert desk.node.credentials == []
    assert desk.edge_setup.sample("log_ons_total", application="remote_assistant", result=code.value) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (replace(BODY, site="elsewhere"), ErrorCode.SITE_UNKNOWN),
        (replace(BODY, application=Application.REMOTE_ASSISTANT), ErrorCode.SITE_UNKNOWN),
        (replace(BODY, device=DeviceBody("d1", "one", "ios", "0.9")), ErrorCode.VERSION_UNSUPPORTED),
        (BODY, ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED),
    ],
)
async def test_what_is_refused_here_shows_no_password_to_the_server(body: LogOnBody, code: ErrorCode) -> None:
    settings = replace(
        SETTINGS, sites=(replace(SITE, applications=(Application.DASHBOARD,)),), app_minimum={"ios": "1.0"}
    )
    desk = Desk(settings, NoticesInForce([NOTICE]))
    assert (await desk.refused(body)).code is code
    assert (desk.node.credentials, desk.clock.waiting) == ([], 0)


@pytest.mark.parametrize("takes_s", [0.0, 0.05, 0.29])
async def test_wrong_credentials_have_one_text_and_one_time(takes_s: float) -> None:
    answers: set[tuple[str, str, float]] = set()
    for wrong in ({"user_name": "nobody"}, {"password": "wrong"}):
        desk = Desk()
        desk.node.log_on_takes_s = takes_s
        error, seconds = await desk.timed(replace(BODY, **wrong))  # type: ignore[arg-type]  # both are strings
        assert error.details == {}
        answers.add((error.code.value, error.message, round(seconds, 3)))
    assert answers == {("invalid_credentials", "User name or password is wrong.", 0.3)}


async def test_a_slow_server_is_levelled_too(desk: Desk) -> None:
    desk.node.log_on_takes_s = 0.4
    _, seconds = await desk.timed(replace(BODY, password="wrong"))
    assert round(seconds, 3) == 0.6
    assert desk.counted("invalid_credentials") == 1


@pytest.mark.parametrize("code", [ErrorCode.ACCOUNT_LOCKED, ErrorCode.ACCOUNT_BLOCKED])
async def test_whether_an_account_is_locked_takes_as_long(code: ErrorCode, desk: Desk) -> None:
    desk.node.error = GatewayError(code, "Wait.", retry_after_s=30)
    error, seconds = await desk.timed(BODY)
    assert (error.code, error.retry_after_s, round(seconds, 3)) == (code, 30, 0.3)


async def test_a_fault_of_ours_is_counted_as_one(desk: Desk) -> None:
    desk.node.fault = RuntimeError("boom")
    with pytest.raises(RuntimeError):
        await desk.login.log_on(BODY, "")
    assert desk.counted("internal") == 1


@pytest.mark.parametrize("name", ["ann\n", "a\x00nn", "ann\x7f", "a\x85nn", "a\u2028nn"])
async def test_a_name_with_a_control_character_never_reaches_the_server(name: str, desk: Desk) -> None:
    error = await desk.refused(replace(BODY, user_name=name))
    assert error.code is ErrorCode.BAD_REQUEST
    assert desk.node.credentials == []
    assert name not in error.message


async def test_a_log_on_learns_where_somebody_comes_from_and_refusals_come_at_once(desk: Desk) -> None:
    await desk.login.log_on(BODY, "", "192.0.2.7")
    assert desk.node.addresses == ["192.0.2.7"]
    desk.node.error = GatewayError(ErrorCode.ALREADY_LOGGED_ON, "Elsewhere.", where="two", since_ms=5)
    error = await desk.refused(BODY)
    assert (error.code, error.details) == (ErrorCode.ALREADY_LOGGED_ON, {"where": "two", "since_ms": 5})
    assert desk.clock.waiting == 0
