"""Does a phone's ticket come from a good token, and does what is renewed stay in it?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.errors import CloseCode, SessionRefused
from gateway.edge.bearer import Bearer
from gateway.edge.papers import Papers
from gateway.edge.token import Opened, Tokens
from gateway.protocol.frames import ClientInfo
from tests.doubles.clock import ManualClock
from tests.edge.visits import HELLO, KEYS, nonces, ticket_of


class Desk:
    """Papers, and what they were made with."""

    def __init__(self, shown: Opened | None = None) -> None:
        self.clock = ManualClock()
        self.tokens = Tokens(KEYS, ("main",), nonces())
        self.admitted: list[ClientInfo] = []
        self.refusal: SessionRefused | None = None
        bearer = Bearer(self.tokens, lambda _: None, self.clock, grace_s=60)
        self.papers = Papers(bearer, self.clock, shown, self._admit)

    def _admit(self, client: ClientInfo) -> None:
        self.admitted.append(client)
        if self.refusal is not None:
            raise self.refusal


TICKET = ticket_of(ManualClock())
SHOWN = Opened(TICKET, expired=False, stale=False)


def test_before_a_token_is_shown_nobody_is_known() -> None:
    assert Desk(SHOWN).papers.known is None


@pytest.mark.parametrize("shown", [None, SHOWN])
def test_the_token_of_a_hello_is_taken(shown: Opened | None) -> None:
    desk = Desk(shown)
    newer = replace(TICKET, notices=(("a", 1),))
    assert desk.papers.show(desk.tokens.seal(newer), HELLO.client) == newer
    assert desk.papers.known == desk.papers.ticket == newer
    assert desk.admitted == [HELLO.client]


def test_without_one_that_of_the_header_is_taken() -> None:
    assert Desk(SHOWN).papers.show(None, HELLO.client) is TICKET


@pytest.mark.parametrize("token", ["nonsense", None])
def test_without_a_good_one_nobody_is_known(token: str | None) -> None:
    desk = Desk()
    with pytest.raises(SessionRefused) as refused:
        desk.papers.show(token, HELLO.client)
    assert refused.value.code is CloseCode.TOKEN_INVALID
    assert (desk.papers.known, desk.admitted) == (None, [])


def test_tokens_of_two_sessions_are_refused() -> None:
    desk = Desk(SHOWN)
    with pytest.raises(SessionRefused):
        desk.papers.show(desk.tokens.seal(ticket_of(desk.clock, session="other")), HELLO.client)
    assert desk.admitted == []


def test_a_program_may_be_refused() -> None:
    desk = Desk(SHOWN)
    desk.refusal = SessionRefused(CloseCode.VERSION_UNSUPPORTED, "too old")
    with pytest.raises(SessionRefused) as refused:
        desk.papers.show(None, HELLO.client)
    assert refused.value is desk.refusal


def test_a_token_is_renewed_when_it_says_another_end_and_once() -> None:
    desk = Desk(SHOWN)
    desk.papers.show(None, HELLO.client)
    until_ms = TICKET.expires_at_ms + 5_000
    assert desk.papers.refresh(TICKET.expires_at_ms) is None
    renewed = desk.papers.refresh(until_ms)
    assert renewed is not None
    opened = desk.tokens.open(renewed.token, desk.clock.wall_ms())
    expected = Opened(replace(TICKET, expires_at_ms=until_ms), expired=False, stale=False)
    assert (opened, renewed.expires_at_ms) == (expected, until_ms)
    assert desk.papers.refresh(until_ms) is None


def test_a_token_of_an_old_key_is_renewed_once() -> None:
    desk = Desk()
    desk.papers.show(Tokens(KEYS[1:], ("main",), nonces()).seal(TICKET), HELLO.client)
    assert desk.papers.refresh(TICKET.expires_at_ms) is not None
    assert desk.papers.refresh(TICKET.expires_at_ms) is None


def test_a_token_is_renewed_as_it_is_when_another_key_seals() -> None:
    desk = Desk()
    desk.papers.show(desk.tokens.seal(TICKET), HELLO.client)
    renewed = desk.papers.renew()
    assert renewed.expires_at_ms == TICKET.expires_at_ms
    assert desk.papers.ticket.session == TICKET.session
    assert desk.papers.refresh(TICKET.expires_at_ms) is None


@pytest.mark.parametrize("shown_before", [True, False])
def test_a_token_that_was_not_served_yet_is_renewed_when_it_is(*, shown_before: bool) -> None:
    desk = Desk()
    token = desk.tokens.seal(TICKET)
    if shown_before:
        desk.papers.show(token, HELLO.client)
    desk.papers.outdate()
    if not shown_before:
        desk.papers.show(token, HELLO.client)
    assert desk.papers.refresh(TICKET.expires_at_ms) is not None
    assert desk.papers.refresh(TICKET.expires_at_ms) is None


async def test_what_was_acknowledged_stays_in_every_later_token() -> None:
    desk = Desk(SHOWN)
    desk.papers.show(None, HELLO.client)
    await desk.clock.advance(1)
    renewed = desk.papers.acknowledge((("a", 1), ("b", 2)))
    now_ms, until_ms = desk.clock.wall_ms(), TICKET.expires_at_ms
    expected = replace(TICKET, notices=(("a", 1), ("b", 2)), issued_at_ms=now_ms)
    opened = desk.tokens.open(renewed.token, now_ms)
    assert opened == Opened(expected, expired=False, stale=False)
    assert (renewed.expires_at_ms, desk.papers.ticket) == (until_ms, expected)
    later = desk.papers.refresh(until_ms + 1)
    assert later is not None
    assert desk.papers.ticket == replace(expected, expires_at_ms=until_ms + 1)
    assert desk.tokens.open(later.token, now_ms) == Opened(desk.papers.ticket, expired=False, stale=False)
