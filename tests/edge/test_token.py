"""Sealed tokens, and the session that a request or a phone proves with one."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import Application, Device, SessionId, SessionSecret, Ticket, UserId
from gateway.edge.credentials import (
    TOKEN_CHARS_MAX,
    BearerAuth,
    CredentialServices,
    OpenedToken,
    SessionCredentials,
    TokenFault,
    Tokens,
    as_http_error,
    session_end_mapped,
    token_in,
)
from gateway.edge.policies import ID_CHARS_MAX, NOTICES_MAX, NoticesInForce, NoticeText, OperatorNotice
from tests.doubles.clock import ManualClock
from tests.doubles.refusals import refused_with
from tests.edge.visits import KEYS, nonces, ticket_of

NOW = 1_700_000_000_000
ONE, TWO = ("k1", b"\x01" * 32), ("k2", b"\x02" * 32)
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
COUNT = st.integers(0, 2**53 - 1)
TICKETS = st.builds(
    Ticket,
    user=st.builds(UserId, st.sampled_from(["main", "north"]), st.integers(-(2**53), 2**53)),
    display_name=TEXT,
    application=st.sampled_from(Application),
    secret=TEXT.map(SessionSecret),
    session=TEXT.map(SessionId),
    device=st.builds(Device, TEXT, TEXT),
    notices=st.lists(st.tuples(TEXT, COUNT), max_size=4).map(tuple),
    issued_at_ms=COUNT,
    expires_at_ms=st.integers(NOW + 1, NOW * 2),
    idle_timeout_s=st.integers(0, 10**6),
)
TICKET = Ticket(
    UserId("main", 7), "Ann", Application.DASHBOARD, SessionSecret("very secret"), SessionId("public-1"),
    Device("d1", "one"), (("privacy", 3),), NOW, NOW + 1000, 300,
)  # fmt: skip


def tokens_of(*keys: tuple[str, bytes], sites: tuple[str, ...] = ("main", "north")) -> Tokens:
    return Tokens(keys, sites, nonces())


@given(TICKETS)
def test_what_was_sealed_opens_to_the_same(ticket: Ticket) -> None:
    tokens = tokens_of(ONE)
    assert tokens.open(tokens.seal(ticket), NOW) == OpenedToken(ticket, expired=False, stale=False)


@given(st.data())
def test_any_changed_character_opens_to_nothing(data: st.DataObject) -> None:
    token = tokens_of(ONE).seal(TICKET)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(sorted(set("ABCDwxyz0189-_") - {token[at]})))
    opened = tokens_of(ONE).open(token[:at] + other + token[at + 1 :], NOW)
    assert isinstance(opened, TokenFault)


def test_a_token_has_one_spelling() -> None:
    token = tokens_of(ONE).seal(TICKET)
    for other in (token + "=", token + "==", " " + token, token + "\n", token.replace("-", "+")):
        assert other == token or tokens_of(ONE).open(other, NOW) is TokenFault.GARBAGE
    assert tokens_of(ONE).open("A" * (TOKEN_CHARS_MAX + 1), NOW) is TokenFault.GARBAGE


def test_a_token_of_another_key_or_site_is_refused() -> None:
    token = tokens_of(ONE).seal(TICKET)
    assert tokens_of(("k1", b"\x09" * 32)).open(token, NOW) is TokenFault.FORGED
    assert tokens_of(TWO).open(tokens_of(ONE).seal(TICKET), NOW) is TokenFault.UNKNOWN_KEY
    token = tokens_of(ONE).seal(TICKET)
    assert tokens_of(ONE, sites=("north",)).open(token, NOW) is TokenFault.FOREIGN_SITE
    raw = base64.urlsafe_b64decode(tokens_of(ONE).seal(TICKET) + "==")
    moved = raw.replace(b"\x04main", b"\x05north", 1)
    token = base64.urlsafe_b64encode(moved).rstrip(b"=").decode()
    assert tokens_of(ONE).open(token, NOW) is TokenFault.FORGED


def test_keys_rotate_while_tokens_live_and_old_ones_are_marked() -> None:
    token = tokens_of(ONE).seal(TICKET)
    rotated = tokens_of(TWO, ONE)
    opened = rotated.open(token, NOW)
    assert opened == OpenedToken(TICKET, expired=False, stale=True)
    renewed = rotated.seal(TICKET)
    assert rotated.open(renewed, NOW) == OpenedToken(TICKET, expired=False, stale=False)
    assert tokens_of(ONE).open(renewed, NOW) is TokenFault.UNKNOWN_KEY
    tokens = Tokens([ONE], ["main"], nonces())
    text = tokens.seal(TICKET)
    tokens.rekey([TWO, ONE])
    opened = tokens.open(text, NOW)
    assert isinstance(opened, OpenedToken)
    assert opened.stale
    fresh = tokens.open(tokens.seal(TICKET), NOW)
    assert isinstance(fresh, OpenedToken)
    assert not fresh.stale
    tokens.rekey([TWO])
    assert tokens.open(text, NOW) is TokenFault.UNKNOWN_KEY


def test_an_expired_token_opens_within_the_grace_only() -> None:
    tokens = tokens_of(ONE)
    token, end = tokens.seal(TICKET), TICKET.expires_at_ms
    assert tokens.open(token, end - 1) == OpenedToken(TICKET, expired=False, stale=False)
    assert tokens.open(token, end) is TokenFault.EXPIRED
    assert tokens.open(token, end, grace_s=60) == OpenedToken(TICKET, expired=True, stale=False)
    assert tokens.open(token, end + 59_999, grace_s=60) == OpenedToken(TICKET, expired=True, stale=False)
    assert tokens.open(token, end + 60_000, grace_s=60) is TokenFault.EXPIRED


def test_no_two_tokens_are_alike_and_none_shows_what_is_in_it() -> None:
    tokens = tokens_of(ONE)
    one, other = tokens.seal(TICKET), tokens.seal(TICKET)
    assert one != other
    assert b"very secret" not in base64.urlsafe_b64decode(one + "==")


def test_the_longest_ticket_fits_into_a_hello() -> None:
    longest = replace(
        TICKET,
        display_name="ä" * 128,
        secret=SessionSecret("s" * 128),
        session=SessionId("p" * 128),
        device=Device("ü" * 128, "ü" * 128),
        notices=tuple((f"{number:0{ID_CHARS_MAX}}", 2**53) for number in range(NOTICES_MAX)),
    )
    assert len(tokens_of(ONE).seal(longest)) <= TOKEN_CHARS_MAX


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        tokens_of(("k1", b"short"))


def test_all_phones_of_a_user_name_him_by_one_object() -> None:
    tokens = tokens_of(ONE)
    one, other = (tokens.open(tokens.seal(TICKET), NOW) for _ in range(2))
    assert isinstance(one, OpenedToken)
    assert isinstance(other, OpenedToken)
    assert one.ticket.user is other.ticket.user


# ---- bearer tokens ----


class Setup:
    """A bearer and what it knows."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.tokens = Tokens(KEYS, ("main",), nonces())
        self.denied: SessionRefused | None = None
        self.bearer = BearerAuth(self.tokens, lambda _: self.denied, self.clock, grace_s=24 * 3600)

    def header(self, ticket: Ticket | None = None) -> list[str]:
        return [f"Bearer {self.tokens.seal(ticket or ticket_of(self.clock))}"]


@pytest.fixture
def setup() -> Setup:
    return Setup()


@pytest.mark.parametrize(
    "authorization",
    [
        [], [""], ["Bearer"], ["Bearer "], ["Basic YTpi"], ["Bearer x", "Bearer x"], ["Bearer nonsense"],
        ["Bearer é"],
    ],
)  # fmt: skip
def test_whatever_is_no_token_is_unauthenticated(setup: Setup, authorization: list[str]) -> None:
    for admit in (setup.bearer.from_header, setup.bearer.for_log_off):
        with refused_with(ErrorCode.UNAUTHENTICATED):
            admit(authorization)


def test_the_scheme_may_be_spelt_as_one_likes() -> None:
    assert token_in(["bearer  abc "]) == "abc"


def test_a_denied_session_has_ended_and_may_be_logged_off(setup: Setup) -> None:
    setup.denied = SessionRefused(CloseCode.LOGGED_OFF, EndReason.TAKEN_OVER, by="Eve")
    with pytest.raises(GatewayError) as refused:
        setup.bearer.from_header(setup.header())
    assert (refused.value.code, refused.value.details) == (ErrorCode.SESSION_ENDED, {"verdict": "stop"})
    assert setup.bearer.for_log_off(setup.header()).ticket.session == "public-1"


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
    ("application", "verdict"), [(Application.DASHBOARD, "log_on"), (Application.REMOTE_ASSISTANT, "stop")]
)
def test_what_the_server_ended_says_what_to_do(setup: Setup, application: Application, verdict: str) -> None:
    with (
        pytest.raises(GatewayError) as refused,
        session_end_mapped(ticket_of(setup.clock, application=application)),
    ):
        raise GatewayError(ErrorCode.SESSION_ENDED, "The session has ended.")
    assert (refused.value.code, refused.value.details) == (ErrorCode.SESSION_ENDED, {"verdict": verdict})


def test_what_else_the_server_refuses_stays_as_it_is(setup: Setup) -> None:
    missing = GatewayError(ErrorCode.NOT_FOUND, "There is no such session.")
    with pytest.raises(GatewayError) as refused, session_end_mapped(ticket_of(setup.clock)):
        raise missing
    assert refused.value is missing


# ---- session credentials ----


class Case:
    """The credentials of a session, and the tokens that they are made with."""

    def __init__(self, shown: OpenedToken | None = None, *notices: OperatorNotice) -> None:
        clock = ManualClock()
        self.tokens = Tokens(KEYS, ("main",), nonces())
        bearer = BearerAuth(self.tokens, lambda _: None, clock, grace_s=60)
        self.credentials = SessionCredentials(
            CredentialServices(bearer, NoticesInForce(notices), clock), shown, ()
        )


CASE_TICKET = ticket_of(ManualClock())
SHOWN = OpenedToken(CASE_TICKET, expired=False, stale=False)


@pytest.mark.parametrize("shown", [None, SHOWN])
def test_the_token_of_a_hello_is_taken(shown: OpenedToken | None) -> None:
    case = Case(shown)
    newer = replace(CASE_TICKET, notices=(("a", 1),))
    assert case.credentials.verify(case.tokens.seal(newer)) == newer
    assert case.credentials.verified == case.credentials.ticket == newer


def test_a_token_is_renewed_as_it_is_when_another_key_seals() -> None:
    case = Case()
    case.credentials.verify(case.tokens.seal(CASE_TICKET))
    renewed = case.credentials.renew()
    assert renewed.expires_at_ms == CASE_TICKET.expires_at_ms
    assert case.credentials.ticket.session == CASE_TICKET.session
    assert case.credentials.refresh(CASE_TICKET.expires_at_ms) is None


@pytest.mark.parametrize("shown_before", [True, False])
def test_a_token_that_was_not_served_yet_is_renewed_when_it_is(*, shown_before: bool) -> None:
    case = Case()
    token = case.tokens.seal(CASE_TICKET)
    if shown_before:
        case.credentials.verify(token)
    case.credentials.mark_stale()
    if not shown_before:
        case.credentials.verify(token)
    assert case.credentials.refresh(CASE_TICKET.expires_at_ms) is not None
    assert case.credentials.refresh(CASE_TICKET.expires_at_ms) is None


def test_a_notice_is_shown_once() -> None:
    case = Case(SHOWN, OperatorNotice("a", 1, "privacy", 0, True, {"en": NoticeText("Title", "Text")}))
    case.credentials.verify(None)
    assert [[frame.id for frame in case.credentials.unread_notices()] for _ in range(2)] == [["a"], []]
