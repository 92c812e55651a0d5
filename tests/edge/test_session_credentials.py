"""Session credentials: a phone's ticket from its token, renewed once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.edge.credentials import BearerAuth, CredentialServices, OpenedToken, SessionCredentials, Tokens
from gateway.edge.policies import NoticesInForce, NoticeText, OperatorNotice
from tests.doubles.clock import ManualClock
from tests.edge.visits import KEYS, nonces, ticket_of


class Case:
    """The credentials of a session, and the tokens that they are made with."""

    def __init__(self, shown: OpenedToken | None = None, *notices: OperatorNotice) -> None:
        clock = ManualClock()
        self.tokens = Tokens(KEYS, ("main",), nonces())
        bearer = BearerAuth(self.tokens, lambda _: None, clock, grace_s=60)
        self.credentials = SessionCredentials(
            CredentialServices(bearer, NoticesInForce(notices), clock), shown, ()
        )


TICKET = ticket_of(ManualClock())
SHOWN = OpenedToken(TICKET, expired=False, stale=False)


@pytest.mark.parametrize("shown", [None, SHOWN])
def test_the_token_of_a_hello_is_taken(shown: OpenedToken | None) -> None:
    case = Case(shown)
    newer = replace(TICKET, notices=(("a", 1),))
    assert case.credentials.verify(case.tokens.seal(newer)) == newer
    assert case.credentials.verified == case.credentials.ticket == newer


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


def test_a_notice_is_shown_once() -> None:
    case = Case(SHOWN, OperatorNotice("a", 1, "privacy", 0, True, {"en": NoticeText("Title", "Text")}))
    case.credentials.verify(None)
    assert [[frame.id for frame in case.credentials.unread_notices()] for _ in range(2)] == [["a"], []]
