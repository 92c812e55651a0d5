"""Does a token admit its session's owner as long as the session lives, and say how it ended after?"""

from __future__ import annotations

import pytest

from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import Application, Ticket
from gateway.edge.credentials import (
    BearerAuth,
    Tokens,
    as_http_error,
    same_session,
    session_end_mapped,
    token_in,
)
from tests.doubles.clock import ManualClock
from tests.edge.visits import KEYS, nonces, ticket_of

HOUR_MS = 3_600_000


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


def test_a_living_session_is_admitted(house: House) -> None:
    assert house.bearer.from_header(house.header()).ticket == ticket_of(house.clock)
    assert house.bearer.for_log_off(house.header()).ticket == ticket_of(house.clock)


@pytest.mark.parametrize(
    "authorization",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["Basic YTpi"],
        ["Bearer x", "Bearer x"],
        ["Bearer nonsense"],
        ["Bearer é"],
    ],
)
def test_whatever_is_no_token_is_unauthenticated(house: House, authorization: list[str]) -> None:
    for admit in (house.bearer.from_header, house.bearer.for_log_off):
        with pytest.raises(GatewayError) as refused:
            admit(authorization)
        assert refused.value.code is ErrorCode.UNAUTHENTICATED


def test_the_scheme_may_be_spelt_as_one_likes() -> None:
    assert token_in(["bearer  abc "]) == "abc"


@pytest.mark.parametrize("application", list(Application))
def test_an_expired_token_is_no_proof_as_this_nodes_clock_may_be_wrong(
    house: House, application: Application
) -> None:
    header = house.header(ticket_of(house.clock, application=application))
    house.clock.jump_wall(13 * HOUR_MS)
    assert house.bearer.from_header(header).expired


def test_an_expired_session_may_be_logged_off_for_a_day(house: House) -> None:
    header = house.header()
    house.clock.jump_wall(25 * HOUR_MS - 1)
    assert house.bearer.for_log_off(header).expired
    house.clock.jump_wall(1)
    with pytest.raises(GatewayError) as refused:
        house.bearer.for_log_off(header)
    assert refused.value.code is ErrorCode.UNAUTHENTICATED


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


def test_a_session_is_a_user_and_a_session(house: House) -> None:
    mine = ticket_of(house.clock)
    assert same_session(mine, ticket_of(house.clock, expires_in_ms=5))
    assert not same_session(mine, ticket_of(house.clock, session="public-2"))
    assert not same_session(mine, ticket_of(house.clock, key=8))
