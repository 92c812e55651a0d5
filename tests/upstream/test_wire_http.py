"""Bodies of the HTTPS routes, written and read as documented."""

from __future__ import annotations

import json
from email.utils import formatdate
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.link import ServerClock
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device, SessionId, User, UserId
from gateway.domain.upstream import LoggedOff, LogOn, SessionInfo
from gateway.upstream.oscce import http
from gateway.upstream.oscce.decode import MOST, in_gateway_time
from gateway.upstream.oscce.errors import WireError
from gateway.upstream.oscce.http import NONE_BELOW_MS, offset_ms, retry_after_s
from tests.doubles.refusals import refused_with
from tests.upstream import scripted_server as server

ABOUT: dict[str, Any] = server.ABOUT | {"Features": ["Skills", "LinkFencing", "Teleportation"]}
LOGGED_ON: dict[str, Any] = server.LOGGED_ON | {"SessionID": "canary-secret", "RemoteNumber": "+49891234"}

LISTED: dict[str, Any] = {
    "ID": "p-1",
    "Application": "Dashboard",
    "Device": {"ID": "d-1", "Name": "Phone"},
    "Since": 5,
    "Attached": True,
}
PHONE = Device("d-1", "Phone")


def body(fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("extensions", "center"),
    [("V2R1", "V8R2"), ("V3R0", "V8R2"), ("V2R10", "V10R0"), ("V10R0", "V8R3"), ("V2R1", "V9R0")],
)
def test_these_versions_and_higher_are_accepted(extensions: str, center: str) -> None:
    received = ABOUT | {"ExtensionsVersion": extensions, "ContactCenterVersion": center}
    assert http.about(body(received)).extensions_version == extensions


@pytest.mark.parametrize(
    "change",
    [
        {"ExtensionsVersion": "V1R9"},
        {"ExtensionsVersion": "V2R0"},
        {"ExtensionsVersion": "garbage"},
        {"ExtensionsVersion": "V2R1 "},
        {"ExtensionsVersion": "xV2R1"},
        {"ExtensionsVersion": ""},
        {"ExtensionsVersion": None},
        {"ExtensionsVersion": 21},
        {"ExtensionsVersion": "V\u0662R\u0661"},
        {"ContactCenterVersion": "V8R1"},
        {"ContactCenterVersion": "V7R9"},
        {"ContactCenterVersion": ["V8R2"]},
        {"Protocol": 2},
        {"Protocol": "1"},
    ],
)
def test_older_and_unreadable_versions_are_refused(change: dict[str, Any]) -> None:
    with refused_with(ErrorCode.UPSTREAM_VERSION_UNSUPPORTED):
        http.about(body(ABOUT | change))


def test_a_server_without_a_description_has_no_features_and_no_version() -> None:
    assert http.about(body({k: v for k, v in ABOUT.items() if k != "Features"})).features == frozenset()
    with pytest.raises(GatewayError):
        http.about(b"{}")


def test_a_log_on_is_written_as_the_page_says() -> None:
    credentials = LogOn(
        Application.REMOTE_ASSISTANT, "ana", "päss", PHONE, remote_number="+49", takeover=True
    )
    assert json.loads(http.log_on_body(credentials)) == {
        "Application": "RemoteAssistant",
        "UserName": "ana",
        "Password": "päss",
        "RemoteNumber": "+49",
        "Takeover": True,
        "Device": {"ID": "d-1", "Name": "Phone"},
    }
    plain = json.loads(http.log_on_body(LogOn(Application.DASHBOARD, "ana", "p", PHONE)))
    assert plain.keys() == {"Application", "UserName", "Password", "Device"}


def test_a_session_is_read() -> None:
    read = http.logged_on(body(LOGGED_ON), 0, "main")
    assert (read.secret, read.session) == ("canary-secret", "public-1")
    assert (read.expires_at_ms, read.idle_timeout_s) == (1_700_000_500_000, 900)
    assert read.user == User(UserId("main", 7), "ana", "Ana Agent")
    assert read.remote_number == "+49891234"


@pytest.mark.parametrize(
    "change",
    [
        {"SessionID": "a\r\nb"},
        {"SessionID": ""},
        {"SessionID": "x" * 1025},
        {"SessionID": 5},
        {"ID": "x" * 129},
        {"ExpiresAt": "soon"},
        {"User": {"ID": "ana"}},
    ],
)
def test_an_unusable_session_is_unreadable_without_values(change: dict[str, Any]) -> None:
    with pytest.raises(WireError) as error:
        http.logged_on(body(LOGGED_ON | change), 0, "main")
    (member,) = change
    assert str(error.value) == f"LoggedOn cannot be read: {member}"
    assert error.value.__suppress_context__


@pytest.mark.parametrize(
    ("received", "read"),
    [
        ({"Routing": "Removed"}, LoggedOff("removed", None)),
        ({"Routing": "None"}, LoggedOff("none", None)),
        ({"Routing": "AfterContact", "RoutedUntil": 9}, LoggedOff("after_contact", 9)),
        ({"Routing": "Perhaps"}, LoggedOff("after_contact", None)),
    ],
)
def test_only_known_words_confirm_a_log_off(received: dict[str, Any], read: LoggedOff) -> None:
    for reader in (http.logged_off, http.ended):
        assert reader(body(received), 0) == read


def test_sessions_of_known_applications_are_listed() -> None:
    received = {"Sessions": [LISTED, LISTED | {"ID": "p-2", "Application": "Wallboard"}]}
    assert http.sessions(body(received), 0) == (
        SessionInfo(SessionId("p-1"), Application.DASHBOARD, PHONE, 5, attached=True),
    )


@pytest.mark.parametrize(
    ("of_session", "received"),
    [
        (False, "SessionUnknown"),
        (False, "VersionConflict"),
        (True, "InvalidCredentials"),
        (True, "AccountLocked"),
        (True, "BadRequest"),
    ],
)
def test_a_name_that_belongs_to_another_door_has_no_meaning(of_session: bool, received: str) -> None:
    error = http.refused(400, body({"Error": received, "RetryAfter": 5}), of_session=of_session)
    assert (error.code, error.details) == (ErrorCode.UPSTREAM_REJECTED, {"upstream_code": received})
    assert error.retry_after_s is None


@pytest.mark.parametrize(
    ("status", "received", "wait_s"),
    [
        (503, b"<html>", 33.0),
        (429, b"", 33.0),
        (503, body({"Error": "FunctionUnavailable", "Function": "Voice"}), 33.0),
        (423, body({"Error": "AccountLocked"}), 33.0),
        (423, body({"Error": "AccountLocked", "RetryAfter": 60}), 60),
        (429, body({"RetryAfter": 7}), 7),
        (401, body({"Error": "InvalidCredentials"}), None),
        (418, body({"Error": "Teapot"}), None),
    ],
)
def test_what_may_succeed_later_says_when(status: int, received: bytes, wait_s: float | None) -> None:
    error = http.refused(status, received, of_session=False, retry_after_s=33.0)
    assert error.retry_after_s == wait_s


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["SessionID", "ID", "User", "Key", "Routing", "Sessions", "Error"]), inner
            )
        ),
        max_leaves=5,
    ).map(body)
)
def test_arbitrary_bodies_are_harmless(received: bytes) -> None:
    for of_session in (False, True):
        assert isinstance(http.refused(400, received, of_session=of_session), GatewayError)
    http.stale_token(received)
    dated = (http.logged_off, http.ended, http.sessions, http.kept_alive)
    for read in (*(partial(each, offset_ms=5) for each in dated), http.about):
        try:
            read(received)
        except (WireError, GatewayError):
            continue


# ---- the `Date` of an answer ----


# Sun, 06 Nov 1994 08:49:37 GMT
SENT_MS = 784_111_777_000
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    "date", [DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"], ids=["fixed", "850", "c"]
)
def test_each_form_of_a_date_is_read(date: str) -> None:
    assert offset_ms(date, SENT_MS + 60_500) == 60_000


@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        "soon",
        "0",
        "784111777",
        "Sun, 06 Nov 1994",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:00:00 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +9999999999",
        "\x00",
    ],
)
def test_a_missing_or_unreadable_date_is_ignored(date: str | None) -> None:
    assert offset_ms(date, SENT_MS + 3_600_000) == 0


@given(server_ms=st.integers(0, 2**42), late_ms=st.integers(0, 400), off_ms=st.integers(-(10**9), 10**9))
def test_the_offset_is_true_to_a_second(server_ms: int, late_ms: int, off_ms: int) -> None:
    date = formatdate(server_ms // 1000, usegmt=True)
    seen = offset_ms(date, server_ms + off_ms + late_ms)
    assert abs(seen - off_ms) <= 1_000 or (seen == 0 and abs(off_ms) < NONE_BELOW_MS + 1_000)


@given(st.text(max_size=40) | st.text("SunMoOctGMT :,+-0123456789", max_size=40))
def test_whatever_is_reported_is_harmless(date: str) -> None:
    assert isinstance(offset_ms(date, SENT_MS), int)


@pytest.mark.parametrize(
    ("received", "offset", "shown"),
    [(5, 0, 5), (5, 7, 12), (5, -7, 0), (MOST, 1, MOST), (MOST, -1, MOST - 1)],
)
def test_instants_move_within_what_frames_carry(received: int, offset: int, shown: int) -> None:
    assert in_gateway_time(received, offset) == shown


@pytest.mark.parametrize(
    ("received", "wait_s"),
    [
        ("33", 33.0),
        ("0", 1.0),
        ("007", 7.0),
        ("301", 300.0),
        ("9" * 15, 300.0),
        ("9" * 5_000, 300.0),
        (DATE, 20.0),
        ("Sun Nov  6 08:49:37 1994", 20.0),
        ("Sun, 06 Nov 1994 08:48:37 GMT", 1.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 300.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\u0661\u0662", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
    ],
)
def test_how_long_to_wait_is_reported_in_seconds_or_as_a_date(
    received: str | None, wait_s: float | None
) -> None:
    assert retry_after_s(received, 0, SENT_MS - 20_000) == wait_s


def test_a_date_to_wait_for_is_one_of_the_servers_clock() -> None:
    assert retry_after_s(DATE, 60_000, SENT_MS + 40_000) == 20.0


@given(st.text(max_size=40))
def test_whatever_is_reported_the_wait_is_bounded(received: str) -> None:
    wait_s = retry_after_s(received, 0, SENT_MS)
    assert wait_s is None or 1 <= wait_s <= 300


# ---- a server's clock that is set ----


START_MS = 1_700_000_000_000


def lived(
    *, step_ms: int, rate: float = 1.0, delays: tuple[float, ...] = (), at: int = 3, opening_s: float = 0.0
) -> bool:
    """Return whether a clock that is set by *step_ms* before answer *at* is seen to be set.

    Args:
        step_ms: How far it is set forward.
        rate: How fast it goes.
        delays: Of the answers, in turn, half on the way to the server, half back; seconds.
        at: Which answer is given after it was set.
        opening_s: How long the opening was under way.
    """
    clock = ServerClock()
    clock.opened(START_MS, 100.0 - opening_s, 100.0)
    for number in range(1, at + 4):
        asked_at = 100.0 + 10.0 * number
        delay_s = delays[number % len(delays)] if delays else 0.0
        time_ms = START_MS + round((asked_at + delay_s / 2 - 100.0) * 1000 * rate)
        if not clock.answered(time_ms + (step_ms if number >= at else 0), asked_at, asked_at + delay_s):
            return True
    return False


@pytest.mark.parametrize("step_ms", [-2_100, -30_000, -300_000, -START_MS])
def test_a_step_back_is_seen(step_ms: int) -> None:
    assert lived(step_ms=step_ms)
    assert lived(step_ms=step_ms, at=1), "the time of the opening is the first"


@pytest.mark.parametrize("step_ms", [2_100, 30_000, 300_000])
def test_a_step_forward_is_seen(step_ms: int) -> None:
    assert lived(step_ms=step_ms)
    assert lived(step_ms=step_ms, at=1), "the opening was requested then"
    assert not lived(step_ms=step_ms, at=1, opening_s=step_ms / 1000), (
        "it may have been under way for as long"
    )


@pytest.mark.parametrize("step_ms", [-2_000, -500, 0, 500, 1_900])
def test_jitter_is_no_step(step_ms: int) -> None:
    assert not lived(step_ms=step_ms)


def test_a_step_back_is_seen_after_a_step_forward() -> None:
    clock = ServerClock()
    clock.update(START_MS, 100.0)
    assert clock.answered(START_MS + 310_000, 110.0, 110.0)
    assert not clock.answered(START_MS + 20_000, 120.0, 120.0)


@given(st.lists(st.floats(0, 60), min_size=1, max_size=6), st.floats(0.9995, 1.0005), st.floats(0, 10))
def test_slow_answers_and_slow_clocks_are_none(delays: list[float], rate: float, opening_s: float) -> None:
    assert not lived(step_ms=0, rate=rate, delays=tuple(delays), opening_s=opening_s)


@pytest.mark.parametrize("rate", [0.9995, 1.0005])
def test_a_clock_that_goes_slow_or_fast_for_days_is_none(rate: float) -> None:
    clock = ServerClock()
    clock.update(START_MS, 0.0)
    for number in range(1, 30_000):
        now = 10.0 * number
        assert clock.answered(START_MS + round(now * 1000 * rate), now, now)
