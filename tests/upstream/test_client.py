"""HTTP routes of the server: used as documented, within deadlines, without leaks."""

from __future__ import annotations

import asyncio
import json
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import SessionId
from gateway.domain.upstream import Feature, LinkClosed, LoggedOff, LoggedOn, Opened, trouble_of
from gateway.simulator.web import self_signed, server_context
from gateway.upstream.oscce import ABOUT_FAILED_S, ABOUT_S, OsccServer
from gateway.upstream.oscce.http import BODY_BYTES, tls_context
from tests.doubles.clock import ManualClock
from tests.doubles.tasks import beside
from tests.upstream.scripted_server import (
    ABOUT,
    CREDENTIALS,
    LOGGED_ON,
    NUMBER,
    PASSWORD,
    SECRET,
    USER,
    Scene,
    scene,
)


@pytest.fixture
async def at() -> AsyncIterator[Scene]:
    async with scene() as made:
        yield made


AWAY, OTHER_VERSION = "upstream_unavailable", "upstream_version_unsupported"


async def refused(call: Awaitable[object]) -> GatewayError:
    """Return the error of *call*, having looked that it reveals no secret."""
    with pytest.raises(GatewayError) as raised:
        await call
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
    for canary in (SECRET, PASSWORD, NUMBER):
        assert canary not in shown
    return raised.value


async def closed(call: Awaitable[object]) -> LinkClosed:
    """Return why no link was opened, having looked that it reveals no secret."""
    with pytest.raises(LinkClosed) as raised:
        await call
    assert SECRET not in "".join(traceback.format_exception(raised.value))
    return raised.value


# ---- which server ----


async def test_about_is_asked_once_a_minute(at: Scene) -> None:
    for _ in range(3):
        assert (await at.adapter.about()).features == {Feature.LINK_FENCING, Feature.REQUEST_KEYS}
    assert len(at.server.asked) == 1
    await at.clock.advance(ABOUT_S)
    await at.adapter.about()
    assert len(at.server.asked) == 2


async def test_about_is_asked_again_after_a_link_was_lost(at: Scene) -> None:
    link = await at.open()
    assert at.server.link is not None
    await at.server.link.close()
    with pytest.raises(LinkClosed):
        await link.receive()
    at.server.answers["GET about"] = (200, ABOUT | {"ExtensionsVersion": "V1R9"})
    assert (await closed(at.open())).reason == "version_unsupported"


async def test_a_closed_link_is_no_lost_one(at: Scene) -> None:
    await (await at.open()).close()
    await at.open()
    assert [asked.path for asked in at.server.asked] == ["about", "link", "link"]


async def test_waiters_for_the_same_answer_share_its_failure(at: Scene) -> None:
    at.server.mute = True
    failures: list[tuple[str, str]] = []

    async def ask() -> None:
        error = await refused(at.adapter.about())
        failures.append((error.code, trouble_of(error)))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(ask())
        await at.clock.advance(10)
    assert failures == [(AWAY, "timeout")] * 20
    assert len(at.server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "code", "reason", "trouble"),
    [
        ((200, ABOUT | {"ExtensionsVersion": "V2R0"}), OTHER_VERSION, "version_unsupported", "other"),
        ((200, ABOUT | {"ContactCenterVersion": "?"}), OTHER_VERSION, "version_unsupported", "other"),
        ((200, b"<html>"), AWAY, "unavailable", "unreadable"),
        ((200, b"x" * (2**20 + 1)), AWAY, "unavailable", "unreadable"),
        ((404, {"Error": "NotFound"}), AWAY, "unavailable", "status"),
        ((500, b""), AWAY, "unavailable", "status"),
        ((302, b""), AWAY, "unavailable", "status"),
    ],
)
async def test_a_server_that_is_not_accepted(
    at: Scene, answer: tuple[int, object], code: str, reason: str, trouble: str
) -> None:
    at.server.answers["GET about"] = answer
    at.server.headers["Location"] = at.server.url
    error = await refused(at.adapter.about())
    assert (error.code, trouble_of(error)) == (code, trouble)
    assert (await refused(at.adapter.log_on(CREDENTIALS))).code == code
    assert (await closed(at.open())).reason == reason
    assert {asked.path for asked in at.server.asked} == {"about"}
    if code == AWAY:
        at.server.answers["GET sessions"] = answer
        assert trouble_of(await refused(at.adapter.sessions(SECRET))) == trouble


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"ExtensionsVersion": "V1R9"},
            "extensions V1R9, contact centre V8R2, protocol 1; V2R1, V8R2 and 1 are needed",
        ),
        (
            {"ContactCenterVersion": "secret", "Protocol": 2},
            "extensions V2R1, contact centre unreadable, protocol 2; V2R1, V8R2 and 1 are needed",
        ),
        *(
            (
                {"Protocol": protocol},
                "extensions V2R1, contact centre V8R2, protocol unreadable; V2R1, V8R2 and 1 are needed",
            )
            for protocol in (10**4000, 4930123456, -1, "secret")
        ),
        ({"Features": None}, "About cannot be read: Features"),
    ],
)
async def test_a_server_that_is_not_accepted_is_logged_once_a_minute(
    at: Scene, caplog: pytest.LogCaptureFixture, change: dict[str, object], fault: str
) -> None:
    at.server.answers["GET about"] = (200, ABOUT | change)
    for _ in range(3):
        await refused(at.adapter.log_on(CREDENTIALS))
        await at.clock.advance(ABOUT_FAILED_S)
    (line,) = (vars(each) for each in caplog.records if each.message == "server_not_accepted")
    assert (line["site"], line["fault"], line["levelname"]) == ("main", fault, "WARNING")
    await at.clock.advance(60)
    await refused(at.adapter.log_on(CREDENTIALS))
    assert [each.message for each in caplog.records].count("server_not_accepted") == 2


@pytest.mark.parametrize(("host", "trouble"), [("127.0.0.1", "refused"), ("nowhere.invalid", "dns")])
async def test_nobody_listens_or_the_name_is_not_found(host: str, trouble: str) -> None:
    async with OsccServer("main", f"http://{host}:9", ManualClock()) as adapter:
        error = await refused(adapter.log_on(CREDENTIALS))
        assert (error.code, trouble_of(error)) == (ErrorCode.UPSTREAM_UNAVAILABLE, trouble)
        assert trouble_of(await refused(adapter.sessions(SECRET))) == trouble
        ended = await closed(adapter.open(USER, SECRET, token=1, holder="a"))
        assert (ended.reason, trouble_of(ended)) == ("unavailable", trouble)


# ---- log-on ----


async def test_a_log_on_is_written_and_read(at: Scene) -> None:
    at.server.answers["POST sessions"] = (201, LOGGED_ON)
    session = await at.adapter.log_on(CREDENTIALS)
    assert isinstance(session, LoggedOn)
    assert (session.secret, session.session, session.user.id) == (SECRET, "public-1", USER)
    asked = at.server.asked[-1]
    assert asked.headers["Content-Type"] == "application/json"
    assert json.loads(asked.body)["Password"] == PASSWORD


@pytest.mark.parametrize(
    ("status", "received", "code", "details", "retry_after_s"),
    [
        (401, {"Error": "InvalidCredentials"}, "invalid_credentials", {}, None),
        (403, {"Error": "AccountBlocked"}, "account_blocked", {}, None),
        (403, {"Error": "RoleMissing"}, "role_missing", {}, None),
        (
            409,
            {"Error": "AlreadyLoggedOn", "Where": "Desk", "Since": 5},
            "already_logged_on",
            {"where": "Desk", "since_ms": 5},
            None,
        ),
        (409, {"Error": "NumberInUse"}, "remote_number_in_use", {}, None),
        (422, {"Error": "RemoteNumberMissing"}, "remote_number_missing", {}, None),
        (422, {"Error": "RemoteNumberInvalid"}, "remote_number_invalid", {}, None),
        (422, {"Error": "RemoteNumberNotAllowed"}, "remote_number_not_allowed", {}, None),
        (423, {"Error": "AccountLocked", "RetryAfter": 60}, "account_locked", {}, 60),
        (
            503,
            {"Error": "FunctionUnavailable", "Function": "RemoteAgent"},
            "function_unavailable",
            {"function": "remote_agent"},
            None,
        ),
        (503, {}, "upstream_unavailable", {}, None),
        (500, {"Error": "Internal"}, "upstream_unavailable", {}, None),
        (418, {"Error": "Teapot"}, "upstream_rejected", {"upstream_code": "Teapot"}, None),
        (201, {"SessionID": SECRET}, "upstream_unavailable", {}, None),
        (201, b"", "upstream_unavailable", {}, None),
        (307, b"", "upstream_unavailable", {}, None),
    ],
)
async def test_a_refused_log_on(
    at: Scene, status: int, received: object, code: str, details: dict[str, Any], retry_after_s: float | None
) -> None:
    at.server.answers["POST sessions"] = (status, received)
    at.server.headers["Location"] = at.server.url + "elsewhere"
    error = await refused(at.adapter.log_on(CREDENTIALS))
    assert (error.code, error.details, error.retry_after_s) == (code, details, retry_after_s)
    assert [asked.path for asked in at.server.asked] == ["about", "sessions"]


async def test_a_log_on_ends_at_its_deadline(at: Scene) -> None:
    await at.adapter.about()
    at.server.mute = True
    async with beside(refused(at.adapter.log_on(CREDENTIALS))) as failing:
        await at.clock.advance(9.9)
        assert not failing.done()
        await at.clock.advance(0.2)
    assert failing.result().code is ErrorCode.UPSTREAM_UNAVAILABLE


# ---- sessions ----


UNKNOWN = (401, {"Error": "SessionUnknown"})
AFTER_CONTACT = (200, {"Routing": "AfterContact", "RoutedUntil": 9})
CALLS: dict[str, Callable[[OsccServer], Awaitable[object]]] = {
    "DELETE sessions/current": lambda server: server.log_off(SECRET),
    "GET sessions": lambda server: server.sessions(SECRET),
    "POST sessions/current/keepalive": lambda server: server.keep_alive(SECRET),
    "DELETE sessions/a%2Fb%3Fc": lambda server: server.end(SECRET, SessionId("a/b?c")),
}
LOG_OFF, LIST, KEEP_ALIVE, END = CALLS


@pytest.mark.parametrize(
    ("route", "answer", "result"),
    [
        (LOG_OFF, AFTER_CONTACT, LoggedOff("after_contact", 9)),
        (LOG_OFF, UNKNOWN, LoggedOff("removed", None)),
        (LIST, (200, {"Sessions": []}), ()),
        (KEEP_ALIVE, (200, {"ExpiresAt": 77}), 77),
        (END, AFTER_CONTACT, LoggedOff("after_contact", 9)),
        (END, (204, b""), LoggedOff("none", None)),
        (END, (200, b""), LoggedOff("none", None)),
        (END, (200, {}), LoggedOff("none", None)),
    ],
)
async def test_what_is_asked_about_sessions(
    at: Scene, route: str, answer: tuple[int, object], result: object
) -> None:
    at.server.answers[route] = answer
    assert await CALLS[route](at.adapter) == result
    asked = at.server.asked[-1]
    assert (f"{asked.method} {asked.path}", asked.headers["OSCCE-Session"]) == (route, SECRET)


@pytest.mark.parametrize(
    ("route", "answer", "code"),
    [
        *(
            (LOG_OFF, each, "upstream_unavailable")
            for each in ((404, b""), (500, b""), (200, b"{}"), (401, b""))
        ),
        (LIST, UNKNOWN, "session_ended"),
        (KEEP_ALIVE, UNKNOWN, "session_ended"),
        (END, UNKNOWN, "session_ended"),
        (END, (403, {"Error": "Forbidden"}), "not_found"),
        (END, (404, {"Error": "Forbidden"}), "not_found"),
        (END, (200, b"<html>"), "upstream_unavailable"),
    ],
)
async def test_what_is_refused_about_sessions(
    at: Scene, route: str, answer: tuple[int, object], code: str
) -> None:
    at.server.answers[route] = answer
    assert (await refused(CALLS[route](at.adapter))).code == code


@pytest.mark.parametrize("session", ["current", ".", "..", ""])
async def test_words_of_the_path_are_no_sessions(at: Scene, session: str) -> None:
    assert (await refused(at.adapter.end(SECRET, SessionId(session)))).code is ErrorCode.NOT_FOUND
    assert at.server.asked == []


# ---- links ----


async def test_a_link_is_asked_for_with_token_and_holder(at: Scene) -> None:
    link = await at.adapter.open(USER, SECRET, token=2**50, holder="node-a#1")
    headers = at.server.asked[-1].headers
    assert headers["OSCCE-Session"] == SECRET
    assert headers["OSCCE-Link-Token"] == str(2**50)
    assert headers["OSCCE-Link-Holder"] == "node-a#1"
    assert headers["Sec-WebSocket-Protocol"] == "oscce.link.v1"
    assert "Sec-WebSocket-Extensions" not in headers
    assert isinstance(await link.receive(), Opened)


@pytest.mark.parametrize(
    ("status", "received", "reason", "token"),
    [
        (401, {"Error": "SessionUnknown"}, "session_unknown", None),
        (409, {"Error": "LinkStale", "Token": 99}, "stale", 99),
        (409, b"", "stale", None),
        (503, {"Error": "FunctionUnavailable", "Function": "RealTime"}, "unavailable", None),
        (400, {"Error": "BadRequest"}, "unavailable", None),
        (200, {}, "unavailable", None),
        (307, b"", "unavailable", None),
    ],
)
async def test_a_refused_link_takes_its_secret_nowhere(
    at: Scene, status: int, received: object, reason: str, token: int | None
) -> None:
    at.server.answers["GET link"] = (status, received)
    at.server.headers["Location"] = at.server.url + "elsewhere"
    why = await closed(at.open())
    assert (why.reason, why.token) == (reason, token)
    assert [asked.path for asked in at.server.asked] == ["about", "link"]


@pytest.mark.parametrize(("is_late", "most_s"), [(False, 10), (True, 30)])
async def test_opening_ends_at_its_deadline_which_is_later_on_a_late_node(
    at: Scene, is_late: bool, most_s: float
) -> None:
    await at.adapter.about()
    at.server.mute, at.adapter.is_late = True, lambda: is_late
    async with beside(closed(at.open())) as failing:
        await at.clock.advance(most_s - 1)
        assert not failing.done()
        await at.clock.advance(1)
    assert failing.result().reason == "unavailable"


async def test_a_header_that_cannot_be_sent_opens_nothing(at: Scene) -> None:
    opening = at.adapter.open(USER, SECRET, token=1, holder="a\r\nb")
    assert (await closed(opening)).reason == "unavailable"


# ---- TLS ----


async def test_the_server_is_verified_by_whom_is_trusted_now_and_open_links_go_on(tmp_path: Path) -> None:
    certificate, key = self_signed("127.0.0.1")
    authority = tmp_path / "ca.pem"
    authority.write_bytes(certificate)
    async with scene(tls=(server_context(certificate, key), None)) as at:
        error = await refused(at.adapter.about())
        assert (error.code, trouble_of(error)) == (ErrorCode.UPSTREAM_UNAVAILABLE, "tls")
        at.adapter.trust(tls_context(authority))
        assert Feature.LINK_FENCING in (await at.adapter.about()).features
        link = await at.open()
        at.adapter.trust(tls_context())
        assert (await refused(at.adapter.about())).code is ErrorCode.UPSTREAM_UNAVAILABLE, "a kept connection"
        ended = await closed(at.dial())
        assert (ended.reason, trouble_of(ended)) == ("unavailable", "tls")
        assert at.server.link is not None
        assert not at.server.link.closed
        await link.close()


def test_old_tls_is_not_spoken() -> None:
    assert tls_context().minimum_version >= ssl.TLSVersion.TLSv1_2
    assert tls_context().verify_mode is ssl.CERT_REQUIRED


# ---- instants of the server's routes ----


NOW_MS = ManualClock().wall_ms()


async def instants(at: Scene, sent_ms: int) -> set[object]:
    """Return every instant that the doors tell, when the server means *sent_ms* in its own clock."""
    listed = {"ID": "p", "Application": "Dashboard", "Since": sent_ms, "Attached": True}
    handling = {"Routing": "AfterContact", "RoutedUntil": sent_ms}
    at.server.answers |= {
        "POST sessions": (201, LOGGED_ON | {"ExpiresAt": sent_ms}),
        "GET sessions": (200, {"Sessions": [listed]}),
        "POST sessions/current/keepalive": (200, {"ExpiresAt": sent_ms}),
        "DELETE sessions/current": (200, handling),
        "DELETE sessions/x": (200, handling),
    }
    logged_on = await at.adapter.log_on(CREDENTIALS)
    at.server.answers["POST sessions"] = (
        409,
        {"Error": "AlreadyLoggedOn", "Where": "Desk", "Since": sent_ms},
    )
    with pytest.raises(GatewayError) as elsewhere:
        await at.adapter.log_on(CREDENTIALS)
    (session,) = await at.adapter.sessions(SECRET)
    return {
        logged_on.expires_at_ms,
        elsewhere.value.details["since_ms"],
        session.since_ms,
        await at.adapter.keep_alive(SECRET),
        (await at.adapter.log_off(SECRET)).routed_until_ms,
        (await at.adapter.end(SECRET, SessionId("x"))).routed_until_ms,
    }


@pytest.mark.parametrize("skew_ms", [0, 1_000, -1_000, 120_000, -3_600_000])
async def test_instants_are_reported_in_the_gateways_time(at: Scene, skew_ms: int) -> None:
    at.server.skew_ms = skew_ms
    (seen,) = await instants(at, NOW_MS + skew_ms)
    assert isinstance(seen, int)
    assert abs(seen - NOW_MS) <= (1_000 if abs(skew_ms) <= 1_000 else 500)


@pytest.mark.parametrize("date", ["", "yesterday"])
async def test_a_server_that_does_not_say_what_time_it_is_is_taken_at_its_word(at: Scene, date: str) -> None:
    at.server.skew_ms = 120_000
    at.server.headers["Date"] = date
    assert await instants(at, NOW_MS + 120_000) == {NOW_MS + 120_000}


# ---- answers of the server's routes, waits included ----


@pytest.mark.parametrize(
    ("status", "received", "code"),
    [
        (503, b"<html>", "upstream_unavailable"),
        (503, {"Error": "FunctionUnavailable"}, "function_unavailable"),
        (429, b"", "busy"),
    ],
)
async def test_a_server_that_asks_to_wait_is_obeyed(
    at: Scene, status: int, received: object, code: str
) -> None:
    await at.adapter.about()
    at.server.answers |= {"POST sessions": (status, received), "GET link": (status, received)}
    at.server.headers["Retry-After"] = "33"
    error = await refused(at.adapter.log_on(CREDENTIALS))
    assert (error.code, error.retry_after_s) == (code, 33.0)
    why = await closed(at.open())
    assert (why.reason, why.retry_after_s) == ("unavailable", 33.0)


async def test_a_date_to_wait_for_is_reported_in_the_servers_time(at: Scene) -> None:
    await at.adapter.about()
    at.server.skew_ms = 3_600_000
    until_s = (at.clock.wall_ms() + at.server.skew_ms) / 1000 + 42
    at.server.answers |= {"POST sessions": (429, b""), "GET link": (503, b"")}
    at.server.headers["Retry-After"] = formatdate(until_s, usegmt=True)
    waits_s = [
        (await refused(at.adapter.log_on(CREDENTIALS))).retry_after_s,
        (await closed(at.open())).retry_after_s,
    ]
    assert [wait_s is not None and 41 <= wait_s <= 43 for wait_s in waits_s] == [True, True]


async def test_a_server_that_does_not_even_say_who_it_is_may_ask_to_wait(at: Scene) -> None:
    at.server.answers["GET about"] = (503, b"")
    at.server.headers["Retry-After"] = "17"
    error = await refused(at.adapter.log_on(CREDENTIALS))
    assert (error.code, error.retry_after_s) == ("upstream_unavailable", 17.0)
    assert (await closed(at.open())).retry_after_s == 17.0


async def test_an_answer_that_is_too_big_asks_for_nothing(at: Scene) -> None:
    await at.adapter.about()
    too_big = b"x" * (BODY_BYTES + 1)
    at.server.answers |= {"POST sessions": (503, too_big), "GET link": (503, too_big)}
    at.server.headers["Retry-After"] = "33"
    error = await refused(at.adapter.log_on(CREDENTIALS))
    assert (error.code, error.retry_after_s) == ("upstream_unavailable", None)
    assert (await closed(at.open())).retry_after_s is None
