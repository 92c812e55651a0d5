"""Are the bodies of the HTTPS doors written and read as the page says, without a leak?"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device, SessionId, User, UserId
from gateway.domain.upstream import About, Feature, LoggedOff, LogOn, SessionInfo
from gateway.upstream.oscce import http
from gateway.upstream.oscce.errors import WireError

ABOUT: dict[str, Any] = {
    "Product": "OSCC-E",
    "ExtensionsVersion": "V2R1",
    "ContactCenterVersion": "V8R2",
    "Protocol": 1,
    "Features": ["Skills", "LinkFencing", "Teleportation"],
}
LOGGED_ON: dict[str, Any] = {
    "SessionID": "canary-secret",
    "ID": "public-1",
    "ExpiresAt": 1_700_000_000_000,
    "IdleTimeout": 900,
    "User": {"Key": 7, "ID": "ana", "FirstName": "Ana", "LastName": "Agent", "Department": "Sales"},
    "RemoteNumber": "+49891234",
}
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


def test_the_server_says_which_one_it_is() -> None:
    read = http.about(body(ABOUT))
    assert read == About("V2R1", "V8R2", frozenset({Feature.SKILLS, Feature.LINK_FENCING}))


@pytest.mark.parametrize(
    ("extensions", "center"),
    [("V2R1", "V8R2"), ("V3R0", "V8R2"), ("V2R10", "V10R0"), ("V10R0", "V8R3"), ("V2R1", "V9R0")],
)
def test_these_versions_and_higher_are_accepted(extensions: str, center: str) -> None:
    told = ABOUT | {"ExtensionsVersion": extensions, "ContactCenterVersion": center}
    assert http.about(body(told)).extensions_version == extensions


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
    with pytest.raises(GatewayError) as refused:
        http.about(body(ABOUT | change))
    assert refused.value.code is ErrorCode.UPSTREAM_VERSION_UNSUPPORTED


def test_a_server_that_tells_nothing_has_no_features_and_no_version() -> None:
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
    assert (read.expires_at_ms, read.idle_timeout_s) == (1_700_000_000_000, 900)
    assert read.user == User(UserId("main", 7), "ana", "Ana Agent")
    assert read.remote_number == "+49891234"


@pytest.mark.parametrize(
    "change",
    [
        {"SessionID": "a\r\nb"},
        {"SessionID": ""},
        {"SessionID": "x" * 1025},
        {"SessionID": 5},
        {"ExpiresAt": "soon"},
        {"User": {"ID": "ana"}},
    ],
)
def test_a_session_that_cannot_be_used_is_unreadable_and_tells_nothing(change: dict[str, Any]) -> None:
    with pytest.raises(WireError) as error:
        http.logged_on(body(LOGGED_ON | change), 0, "main")
    assert str(error.value) == "LoggedOn cannot be read"
    assert error.value.__suppress_context__


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ({"Routing": "Removed"}, LoggedOff("removed", None)),
        ({"Routing": "None"}, LoggedOff("none", None)),
        ({"Routing": "AfterContact", "RoutedUntil": 9}, LoggedOff("after_contact", 9)),
        ({"Routing": "Perhaps"}, LoggedOff("after_contact", None)),
    ],
)
def test_only_known_words_confirm_a_log_off(told: dict[str, Any], read: LoggedOff) -> None:
    for reader in (http.logged_off, http.ended):
        assert reader(body(told), 0) == read


@pytest.mark.parametrize("told", [b"", b" \r\n", b"{}"])
def test_another_session_may_be_ended_without_a_word(told: bytes) -> None:
    assert http.ended(told, 0) == LoggedOff("none", None)
    with pytest.raises(WireError):
        http.logged_off(told, 0)


def test_instants_are_told_in_the_gateways_time() -> None:
    assert http.logged_on(body(LOGGED_ON), -60_000, "main").expires_at_ms == 1_699_999_940_000
    until = body({"Routing": "AfterContact", "RoutedUntil": 9})
    for reader in (http.logged_off, http.ended):
        assert reader(until, 60_000) == LoggedOff("after_contact", 60_009)
    (listed,) = http.sessions(body({"Sessions": [LISTED]}), 60_000)
    assert listed.since_ms == 60_005
    assert http.kept_alive(b'{"ExpiresAt":77}', 60_000) == 60_077


def test_sessions_of_known_applications_are_listed() -> None:
    told = {"Sessions": [LISTED, LISTED | {"ID": "p-2", "Application": "Wallboard"}]}
    assert http.sessions(body(told), 0) == (
        SessionInfo(SessionId("p-1"), Application.DASHBOARD, PHONE, 5, attached=True),
    )


def test_the_new_end_is_read() -> None:
    assert http.kept_alive(b'{"ExpiresAt":77}', 0) == 77


@pytest.mark.parametrize(
    ("status", "told", "code"),
    [
        (401, {"Error": "InvalidCredentials"}, ErrorCode.INVALID_CREDENTIALS),
        (401, {"Error": "SessionUnknown"}, ErrorCode.SESSION_ENDED),
        (403, {"Error": "AccountBlocked"}, ErrorCode.ACCOUNT_BLOCKED),
        (403, {"Error": "RoleMissing"}, ErrorCode.ROLE_MISSING),
        (409, {"Error": "NumberInUse"}, ErrorCode.REMOTE_NUMBER_IN_USE),
        (422, {"Error": "RemoteNumberMissing"}, ErrorCode.REMOTE_NUMBER_MISSING),
        (503, {"Error": "FunctionUnavailable", "Function": "RemoteAgent"}, ErrorCode.FUNCTION_UNAVAILABLE),
        (503, {"Error": "Busy"}, ErrorCode.BUSY),
        (418, {"Error": "Teapot"}, ErrorCode.UPSTREAM_REJECTED),
        (500, {"Error": "Internal"}, ErrorCode.UPSTREAM_UNAVAILABLE),
        (502, {}, ErrorCode.UPSTREAM_UNAVAILABLE),
        (400, "text", ErrorCode.UPSTREAM_UNAVAILABLE),
        (409, {"Error": 5}, ErrorCode.UPSTREAM_UNAVAILABLE),
        (429, "", ErrorCode.BUSY),
        (429, {"Error": "TooManyRequests"}, ErrorCode.BUSY),
        (429, {"Error": "AccountLocked"}, ErrorCode.ACCOUNT_LOCKED),
    ],
)
def test_refusals_have_the_codes_of_clients(status: int, told: object, code: ErrorCode) -> None:
    of_session = code is ErrorCode.SESSION_ENDED
    assert http.refused(status, body(told), of_session=of_session).code is code


@pytest.mark.parametrize(
    ("of_session", "told"),
    [
        (False, "SessionUnknown"),
        (False, "VersionConflict"),
        (True, "InvalidCredentials"),
        (True, "AccountLocked"),
        (True, "BadRequest"),
    ],
)
def test_a_name_that_belongs_to_another_door_has_no_meaning(of_session: bool, told: str) -> None:
    error = http.refused(400, body({"Error": told, "RetryAfter": 5}), of_session=of_session)
    assert (error.code, error.details) == (ErrorCode.UPSTREAM_REJECTED, {"upstream_code": told})
    assert error.retry_after_s is None


def test_since_when_somebody_is_logged_on_elsewhere_is_told_in_the_gateways_time() -> None:
    told = body({"Error": "AlreadyLoggedOn", "Where": "Desk", "Since": 5})
    assert http.refused(409, told, 60_000, of_session=False).details["since_ms"] == 60_005


def test_details_of_refusals_are_kept() -> None:
    locked = http.refused(423, body({"Error": "AccountLocked", "RetryAfter": 60}), of_session=False)
    assert (locked.code, locked.retry_after_s) == (ErrorCode.ACCOUNT_LOCKED, 60)
    told = body({"Error": "AlreadyLoggedOn", "Where": "Desk", "Since": 5})
    elsewhere = http.refused(409, told, of_session=False)
    assert (elsewhere.code, elsewhere.details) == (
        ErrorCode.ALREADY_LOGGED_ON,
        {"where": "Desk", "since_ms": 5},
    )


@pytest.mark.parametrize(
    ("status", "told", "wait_s"),
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
def test_what_may_succeed_later_says_when(status: int, told: bytes, wait_s: float | None) -> None:
    error = http.refused(status, told, of_session=False, retry_after_s=33.0)
    assert error.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("told", "token"),
    [(b'{"Error":"LinkStale","Token":7}', 7), (b'{"Error":"LinkStale"}', None), (b"<html>", None)],
)
def test_the_highest_token_is_read_when_it_is_told(told: bytes, token: int | None) -> None:
    assert http.stale_token(told) == token


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
def test_arbitrary_bodies_are_harmless(told: bytes) -> None:
    for of_session in (False, True):
        assert isinstance(http.refused(400, told, of_session=of_session), GatewayError)
    http.stale_token(told)
    dated = (http.logged_off, http.ended, http.sessions, http.kept_alive)
    for read in (*(partial(each, offset_ms=5) for each in dated), http.about):
        try:
            read(told)
        except (WireError, GatewayError):
            continue
