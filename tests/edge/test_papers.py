"""Does a phone's ticket come from a good token, does what is renewed stay in it, and is it told its news?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.errors import CloseCode, SessionRefused
from gateway.edge.credentials import BearerAuth, CredentialServices, OpenedToken, SessionCredentials, Tokens
from gateway.edge.notices import NoticesInForce, NoticeText, OperatorNotice
from tests.doubles.clock import ManualClock
from tests.edge.visits import KEYS, nonces, ticket_of


class Case:
    """Papers, and what they were made with."""

    def __init__(self, shown: OpenedToken | None = None, *notices: OperatorNotice) -> None:
        self.clock = ManualClock()
        self.tokens = Tokens(KEYS, ("main",), nonces())
        self.notices = NoticesInForce(notices)
        bearer = BearerAuth(self.tokens, lambda _: None, self.clock, grace_s=60)
        self.credentials = SessionCredentials(
            CredentialServices(bearer, self.notices, self.clock), shown, ("de",)
        )


TICKET = ticket_of(ManualClock())
SHOWN = OpenedToken(TICKET, expired=False, stale=False)


def test_before_a_token_is_shown_nobody_is_known() -> None:
    assert Case(SHOWN).credentials.verified is None


@pytest.mark.parametrize("shown", [None, SHOWN])
def test_the_token_of_a_hello_is_taken(shown: OpenedToken | None) -> None:
    case = Case(shown)
    newer = replace(TICKET, notices=(("a", 1),))
    assert case.credentials.verify(case.tokens.seal(newer)) == newer
    assert case.credentials.verified == case.credentials.ticket == newer


def test_without_one_that_of_the_header_is_taken() -> None:
    assert Case(SHOWN).credentials.verify(None) is TICKET


@pytest.mark.parametrize("token", ["nonsense", None])
def test_without_a_good_one_nobody_is_known(token: str | None) -> None:
    case = Case()
    with pytest.raises(SessionRefused) as refused:
        case.credentials.verify(token)
    assert refused.value.code is CloseCode.TOKEN_INVALID
    assert case.credentials.verified is None


def test_tokens_of_two_sessions_are_refused() -> None:
    case = Case(SHOWN)
    with pytest.raises(SessionRefused):
        case.credentials.verify(case.tokens.seal(ticket_of(case.clock, session="other")))
    assert case.credentials.verified is None


def test_a_token_is_renewed_when_it_says_another_end_and_once() -> None:
    case = Case(SHOWN)
    case.credentials.verify(None)
    until_ms = TICKET.expires_at_ms + 5_000
    assert case.credentials.refresh(TICKET.expires_at_ms) is None
    renewed = case.credentials.refresh(until_ms)
    assert renewed is not None
    opened = case.tokens.open(renewed.token, case.clock.wall_ms())
    expected = OpenedToken(replace(TICKET, expires_at_ms=until_ms), expired=False, stale=False)
    assert (opened, renewed.expires_at_ms) == (expected, until_ms)
    assert case.credentials.refresh(until_ms) is None


def test_a_token_of_an_old_key_is_renewed_once() -> None:
    case = Case()
    case.credentials.verify(Tokens(KEYS[1:], ("main",), nonces()).seal(TICKET))
    assert case.credentials.refresh(TICKET.expires_at_ms) is not None
    assert case.credentials.refresh(TICKET.expires_at_ms) is None


def test_a_token_is_renewed_as_it_is_when_another_key_seals() -> None:
    case = Case()
    case.credentials.verify(case.tokens.seal(TICKET))
    renewed = case.credentials.renew()
    assert renewed.expires_at_ms == TICKET.expires_at_ms
    assert case.credentials.ticket.session == TICKET.session
    assert case.credentials.refresh(TICKET.expires_at_ms) is None


@pytest.mark.parametrize("shown_before", [True, False])
def test_a_token_that_was_not_served_yet_is_renewed_when_it_is(*, shown_before: bool) -> None:
    case = Case()
    token = case.tokens.seal(TICKET)
    if shown_before:
        case.credentials.verify(token)
    case.credentials.mark_stale()
    if not shown_before:
        case.credentials.verify(token)
    assert case.credentials.refresh(TICKET.expires_at_ms) is not None
    assert case.credentials.refresh(TICKET.expires_at_ms) is None


async def test_what_was_acknowledged_stays_in_every_later_token() -> None:
    case = Case(SHOWN)
    case.credentials.verify(None)
    await case.clock.advance(1)
    renewed = case.credentials.acknowledge((("a", 1), ("b", 2)))
    now_ms, until_ms = case.clock.wall_ms(), TICKET.expires_at_ms
    expected = replace(TICKET, notices=(("a", 1), ("b", 2)), issued_at_ms=now_ms)
    opened = case.tokens.open(renewed.token, now_ms)
    assert opened == OpenedToken(expected, expired=False, stale=False)
    assert (renewed.expires_at_ms, case.credentials.ticket) == (until_ms, expected)
    later = case.credentials.refresh(until_ms + 1)
    assert later is not None
    assert case.credentials.ticket == replace(expected, expires_at_ms=until_ms + 1)
    assert case.tokens.open(later.token, now_ms) == OpenedToken(
        case.credentials.ticket, expired=False, stale=False
    )


# ---- notices ----


def test_a_notice_is_shown_once_and_in_the_phones_language() -> None:
    texts = {"en": NoticeText("Hello", "Read this"), "de": NoticeText("Hallo", "Lies das")}
    privacy, upkeep = (OperatorNotice(name, 1, "privacy", 0, False, texts) for name in ("privacy", "upkeep"))
    case = Case(SHOWN, privacy)
    case.credentials.verify(None)
    assert [(frame.id, frame.title) for frame in case.credentials.unread_notices()] == [("privacy", "Hallo")]
    assert case.credentials.unread_notices() == []
    case.notices.replace(NoticesInForce([privacy, upkeep]))
    assert [frame.id for frame in case.credentials.unread_notices()] == ["upkeep"]
    assert case.credentials.unread_notices() == []


def test_what_was_acknowledged_is_not_shown() -> None:
    notice = OperatorNotice("a", 1, "privacy", 0, True, {"en": NoticeText("Hello", "Read this")})
    case = Case(OpenedToken(replace(TICKET, notices=(("a", 1),)), expired=False, stale=False), notice)
    case.credentials.verify(None)
    assert case.credentials.unread_notices() == []
