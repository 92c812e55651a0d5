"""Bearer tokens: accepted while the session lives; afterwards its end is reported."""

from __future__ import annotations

import pytest

from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import Application, Ticket
from gateway.edge.credentials import (
    BearerAuth,
    Tokens,
    as_http_error,
    session_end_mapped,
    token_in,
)
from tests.doubles.clock import ManualClock
from tests.edge.visits import KEYS, nonces, ticket_of


class House:
    """A bearer and what it knows."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.tokens = Tokens(KEYS, ("main",), nonces())
        self.denied: SessionRefused | None = None
        self.bearer = BearerAuth(self.tokens, lambda _: self.denied, self.clock, grace_s=24 * 3600)

    def header(self, ticket: Ticket | None = None) -> list[str]:
        return [f"Bearer {self.tokens.seal(ticket or ticket_of(self.clock))}"]


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.parametrize(
    "authorization",
    [
        [], [""], ["Bearer"], ["Bearer "], ["Basic YTpi"], ["Bearer x", "Bearer x"], ["Bearer nonsense"],
        ["Bearer é"],
    ],
)  # fmt: skip
def test_whatever_is_no_token_is_unauthenticated(house: House, authorization: list[str]) -> None:
    for admit in (house.bearer.from_header, house.bearer.for_log_off):
        with pytest.raises(GatewayError) as refused:
            admit(authorization)
        assert refused.value.code is ErrorCode.UNAUTHENTICATED


def test_the_scheme_may_be_spelt_as_one_likes() -> None:
    assert token_in(["bearer  abc "]) == "abc"


def test_a_denied_session_has_ended_and_may_be_logged_off(house: House) -> None:
    house.denied = SessionRefused(CloseCode.LOGGED_OFF, EndReason.TAKEN_OVER, by="Eve")
    with pytest.raises(GatewayError) as refused:
        house.bearer.from_header(house.header())
    assert (refused.value.code, refused.value.details) == (ErrorCode.SESSION_ENDED, {"verdict": "stop"})
    assert house.bearer.for_log_off(house.header()).ticket.session == "public-1"


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (CloseCode.LOGGED_OFF, "stop"),
        (CloseCode.ACCOUNT_BLOCKED, "stop"),
        (CloseCode.SESSION_ENDED, "log_on"),
    ],
)
def test_http_says_what_a_close_would(code: CloseCode, verdict: str) -> None:
    error = as_http_error(SessionRefused(code, "reason"))
    assert (error.status, error.details) == (401, {"verdict": verdict})


@pytest.mark.parametrize(
    ("application", "verdict"),
    [(Application.DASHBOARD, "log_on"), (Application.REMOTE_ASSISTANT, "stop")],
)
def test_what_the_server_calls_ended_says_what_to_do(
    house: House, application: Application, verdict: str
) -> None:
    with (
        pytest.raises(GatewayError) as refused,
        session_end_mapped(ticket_of(house.clock, application=application)),
    ):
        raise GatewayError(ErrorCode.SESSION_ENDED, "The session has ended.")
    assert (refused.value.code, refused.value.details) == (ErrorCode.SESSION_ENDED, {"verdict": verdict})


def test_what_else_the_server_refuses_stays_as_it_is(house: House) -> None:
    missing = GatewayError(ErrorCode.NOT_FOUND, "There is no such session.")
    with pytest.raises(GatewayError) as refused, session_end_mapped(ticket_of(house.clock)):
        raise missing
    assert refused.value is missing
