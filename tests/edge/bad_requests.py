"""Invalid requests of each route, with their answers.

Good requests, and every kind of bad one.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gateway.domain.errors import CloseCode, ErrorCode, GatewayError, SessionRefused
from gateway.domain.upstream import LoggedOff
from gateway.edge.policies import NoticesInForce, NoticeText, OperatorNotice
from gateway.edge.request_context import AdmissionLimits, EdgeSettings
from gateway.upstream.oscce.errors import refusal
from tests.edge.fake_node import LIFE_MS
from tests.edge.visits import SETTINGS, Gateway

Prepare = Callable[[Gateway, pytest.MonkeyPatch], Awaitable[None]]
LIFE_S = LIFE_MS // 1_000 + 1
JSON_BODY = {"Content-Type": "application/json"}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol": "oscc.v1.json",
}
LOG_ON: dict[str, Any] = {
    "site": "main",
    "application": "dashboard",
    "user_name": "ann",
    "password": "secret",
    "device": {"id": "d1", "name": "one", "platform": "web", "app_version": "1.0"},
}
BINDING = NoticesInForce(
    [OperatorNotice("n", 1, "privacy", 0, must_acknowledge=True, texts={"en": NoticeText("t", "s")})]
)
SLOW_ADDRESS = replace(
    SETTINGS, admission=AdmissionLimits(handshakes_burst_of_address=1, handshakes_per_s_of_address=0.03)
)
SLOW_NODE = replace(SETTINGS, admission=AdmissionLimits(handshakes_burst=1, handshakes_per_s=0.03))

BAD_BODIES = {
    "with nothing": b"", "with half a body": b'{"site":', "with no UTF-8": b"\xff",
    "saying it twice": b'{"site":"a","site":"b"}', "too deep": b"[" * 5_000, "with no number": b"NaN",
    "with a list": b"[]", "with empty braces": b"{}",
    "with a wrong type": json.dumps(LOG_ON | {"password": 5}).encode(),
    "with an unknown application": json.dumps(LOG_ON | {"application": "x"}).encode(),
    "with a wrong flag": json.dumps(LOG_ON | {"takeover": "yes"}).encode(),
    "with half a device": json.dumps(LOG_ON | {"device": {"id": "d1"}}).encode(),
    "with half a notice": json.dumps(LOG_ON | {"accepted_notices": [{"id": "x"}]}).encode(),
    "without a name": json.dumps(LOG_ON | {"user_name": ""}).encode(),
    "with a long password": json.dumps(LOG_ON | {"password": "x" * 1025}).encode(),
}  # fmt: skip
REMOTE = {"application": "remote_assistant"}
WRONG_LOG_ONS: tuple[tuple[str, int, str, dict[str, str]], ...] = (
    ("with a wrong password", 401, "invalid_credentials", {"password": "x"}),
    ("elsewhere", 422, "site_unknown", {"site": "x"}),
    ("without a number", 422, "remote_number_missing", REMOTE),
    ("with half a number", 422, "remote_number_invalid", REMOTE | {"remote_number": "12x"}),
    ("with a wrong number", 422, "remote_number_not_allowed", REMOTE | {"remote_number": "+1 212 555 0100"}),
)
REFUSED_LOG_ONS = (
    ("InvalidCredentials", 401, "invalid_credentials", "{}"),
    ("AccountBlocked", 403, "account_blocked", "{}"),
    ("AccountLocked", 423, "account_locked", '{"RetryAfter":60.04}'),
    ("AccountLocked", 423, "account_locked", "{}"),
    ("RoleMissing", 403, "role_missing", "{}"),
    ("AlreadyLoggedOn", 409, "already_logged_on", '{"Where":"Desk","Since":5}'),
    ("AlreadyLoggedOn", 409, "already_logged_on", "{}"),
    ("NumberInUse", 409, "remote_number_in_use", "{}"),
    ("RemoteNumberMissing", 422, "remote_number_missing", "{}"),
    ("RemoteNumberInvalid", 422, "remote_number_invalid", "{}"),
    ("RemoteNumberNotAllowed", 422, "remote_number_not_allowed", "{}"),
)
"""What the OSCC-E Server may say to a log-on alone."""
WRONG_HANDSHAKES = (
    ("Sec-WebSocket-Protocol", None), ("Sec-WebSocket-Protocol", ""), ("Sec-WebSocket-Protocol", "oscc.v1"),
    ("Sec-WebSocket-Protocol", "oscc.v2.json"), ("Upgrade", None), ("Connection", None),
    ("Sec-WebSocket-Key", None), ("Sec-WebSocket-Key", "short"), ("Sec-WebSocket-Version", "99"),
    ("Sec-WebSocket-Key", "\u00ff\u00ffAAAAAAAAAAAAAAAAAAAA=="), ("Upgrade", "h2c"),
)  # fmt: skip


async def nothing(gateway: Gateway, patch: pytest.MonkeyPatch) -> None:
    """Leave everything as it is."""


@dataclass(frozen=True)
class Case:
    """One request, and the kind of answer that it gets."""

    method: str
    template: str
    status: int
    code: str | None = None
    name: str = "as it should be"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | tuple[bytes, ...] | None = None
    """In pieces when it is a tuple."""
    token: bool = False
    """A good one is shown."""
    path: str = ""
    """What is asked for; by default the template, filled."""
    prepare: Prepare = nothing
    settings: EdgeSettings = SETTINGS
    notices: NoticesInForce | None = None
    takes_time: bool = False

    def __post_init__(self) -> None:
        if not self.path:
            object.__setattr__(self, "path", filled(self.template))

    @property
    def operation(self) -> str:
        """What is asked for, as the document names it."""
        return f"{self.method} {self.template}"


def filled(template: str) -> str:
    """Return a path as somebody asks for it."""
    return template.replace("{id}", "public-2").replace("{kind}", "me")


# ---- what is prepared ----


def received(code: str, name: str | None = None, details: str = "{}") -> Prepare:
    """Let the node refuse whatever is asked of it: with the words of the server where there is a *name*."""
    error = GatewayError(ErrorCode(code), "No.") if name is None else refusal(name, details.encode())
    assert error.code == code

    async def prepare(gateway: Gateway, patch: pytest.MonkeyPatch) -> None:
        async def refuse(*_: object) -> None:
            raise GatewayError(error.code, "No.", retry_after_s=error.retry_after_s, **error.details)

        for way in ("log_on", "sessions", "end"):
            patch.setattr(gateway.node, way, refuse)

    return prepare


def ended(code: CloseCode) -> Prepare:
    """Let the session have ended."""

    async def prepare(gateway: Gateway, patch: pytest.MonkeyPatch) -> None:
        patch.setitem(gateway.node.denials, "public-1", SessionRefused(code, "ended"))

    return prepare


def later(seconds: int) -> Prepare:
    """Let time pass after the token was made."""

    async def prepare(gateway: Gateway, patch: pytest.MonkeyPatch) -> None:
        token = gateway.token()
        patch.setattr(gateway, "token", lambda: token)
        gateway.clock.jump_wall(seconds * 1_000)

    return prepare


async def broken(gateway: Gateway, patch: pytest.MonkeyPatch) -> None:
    """Let there be a fault of ours in the way of every page."""

    def fail(_: object) -> bool:
        raise RuntimeError("SECRET")

    patch.setattr("gateway.edge.request_context._is_preflight", fail)


async def unconfirmed(gateway: Gateway, patch: pytest.MonkeyPatch) -> None:
    """Let log-offs not be confirmed."""
    patch.setattr(gateway.node, "routing", LoggedOff("after_contact", None))


async def knocked(gateway: Gateway, patch: pytest.MonkeyPatch) -> None:
    """Let somebody have come before."""
    async with gateway.client.post("/v1/sessions", json=LOG_ON) as answer:
        assert answer.status == 201


async def occupied(gateway: Gateway, patch: pytest.MonkeyPatch) -> None:
    """Let somebody be connected who has not said hello."""
    await gateway.connect()


# ---- what is asked ----

GOOD = (
    Case("GET", "/v1/openapi.json", 200), Case("GET", "/v1/asyncapi.json", 200),
    Case("GET", "/v1/schemas", 200), Case("GET", "/v1/schemas/{kind}.json", 200),
    Case("GET", "/v1/about", 200), Case("GET", "/v1/notices", 200, notices=BINDING),
    Case("GET", "/v1/privacy/inventory", 200),
    Case("POST", "/v1/sessions", 201, headers=JSON_BODY, body=json.dumps(LOG_ON).encode()),
    Case("GET", "/v1/session", 200, token=True), Case("DELETE", "/v1/session", 204, token=True),
    Case("GET", "/v1/sessions", 200, token=True), Case("DELETE", "/v1/sessions/{id}", 204, token=True),
    Case("GET", "/v1/me/export", 200, token=True), Case("GET", "/v1/realtime", 101, headers=UPGRADE),
)  # fmt: skip
"""Each route, asked as it should be."""
BY_NAME = {case.operation: case for case in GOOD}


def bad(
    operation: str,
    name: str,
    status: int,
    code: str | None,
    headers: Mapping[str, str | None] | None = None,
    **changes: Any,  # noqa: ANN401 - the members of a case
) -> Case:
    """Return what somebody asks who does it otherwise; a header that is None is left out."""
    good = BY_NAME[operation]
    merged = {of: value for of, value in {**good.headers, **(headers or {})}.items() if value is not None}
    return replace(good, name=name, status=status, code=code, headers=merged, **changes)


def everywhere() -> Iterator[Case]:
    """Give what can be done at every route."""
    for of in BY_NAME:
        for page in ("https://evil.example", "null"):
            yield bad(of, f"from {page}", 403, "forbidden", {"Origin": page})
        yield bad(of, "expecting too much", 417, "bad_request", {"Expect": "CANARY"})
        own = {"Origin": "http://own.example", "Host": "own.example"}
        yield bad(of, "with a fault of ours", 500, "internal", own, prepare=broken)


def too_often() -> Iterator[Case]:
    """Give what comes faster than one session, or one address, may ask."""
    limits = AdmissionLimits(
        requests_per_s_of_session=0.1,
        requests_burst_of_session=0,
        requests_per_s_of_address=0.1,
        requests_burst_of_address=0,
    )
    for of in BY_NAME:
        if of not in {"POST /v1/sessions", "GET /v1/realtime"}:
            yield bad(
                of,
                "too often",
                429,
                "rate_limited",
                settings=replace(SETTINGS, admission=limits),
                takes_time=True,
            )


def in_clear_text() -> Iterator[Case]:
    """Give what must not travel readably."""
    clear = replace(SETTINGS, insecure=False)
    for of, good in BY_NAME.items():
        if good.token or of in {"POST /v1/sessions", "GET /v1/realtime"}:
            yield bad(of, "in clear text", 403, "untrusted_transport", settings=clear)


def with_tokens() -> Iterator[Case]:
    """Give what can be wrong with a session."""
    for of, good in BY_NAME.items():
        if not (good.token or of == "GET /v1/realtime"):
            continue
        for name, shown in (("nonsense", "Bearer x"), ("a password", "Basic eDp5"), ("nothing", "Bearer ")):
            header = {"Authorization": shown}
            yield bad(of, f"showing {name}", 401, "unauthenticated", header, token=False)
        if good.token:
            yield bad(of, "without a token", 401, "unauthenticated", token=False)
        if of != "DELETE /v1/session":
            for close in (CloseCode.LOGGED_OFF, CloseCode.SESSION_ENDED):
                yield bad(of, f"ended by {close}", 401, "session_ended", token=True, prepare=ended(close))
    of = "DELETE /v1/session"
    yield bad(of, "after the end", 204, None, prepare=ended(CloseCode.LOGGED_OFF))
    yield bad(of, "late", 204, None, prepare=later(LIFE_S))
    yield bad(of, "much too late", 401, "unauthenticated", prepare=later(LIFE_S + 24 * 3600))
    for of in ("DELETE /v1/session", "DELETE /v1/sessions/{id}"):
        yield bad(of, "in vain", 202, None, prepare=unconfirmed)


def of_the_server() -> Iterator[Case]:
    """Give what the OSCC-E Server may say to whatever is asked of it."""
    for of in ("POST /v1/sessions", "GET /v1/sessions", "DELETE /v1/sessions/{id}"):
        for status, code, name in (
            (503, "function_unavailable", "FunctionUnavailable"),
            (503, "busy", "Busy"),
            (502, "upstream_rejected", "Teapot"),
            (501, "unsupported_by_upstream", "Unsupported"),
            (403, "forbidden", "Forbidden"),
        ):
            yield bad(of, f"refused with {name}", status, code, prepare=received(code, name))
        function = received("function_unavailable", "FunctionUnavailable", '{"Function":"RemoteAgent"}')
        yield bad(of, "without its function", 503, "function_unavailable", prepare=function)
        yield bad(of, "unanswered", 503, "upstream_unavailable", prepare=received("upstream_unavailable"))


def log_ons() -> Iterator[Case]:
    """Give what can be wrong with a log-on."""
    of = "POST /v1/sessions"
    for name, raw in BAD_BODIES.items():
        yield bad(of, name, 400, "bad_request", body=raw)
    yield bad(of, "too large", 413, "bad_request", body=b" " * 20_000)
    yield bad(of, "too large by pieces", 413, "bad_request", body=5 * (b" " * 4_000,))
    for kind in ("text/plain", "application/jsonx", "application/x-www-form-urlencoded", "", "x"):
        yield bad(of, f"as {kind!r}", 415, "bad_request", {"Content-Type": kind})
    charset = {"Content-Type": "application/json; charset=utf-8"}
    yield bad(of, "with a charset", 400, "bad_request", charset, body=b"{}")
    yield bad(of, "compressed", 415, "bad_request", {"Content-Encoding": "gzip"})
    old = replace(SETTINGS, app_minimum={"web": "2.0"})
    yield bad(of, "with an old app", 422, "version_unsupported", settings=old)
    yield bad(of, "unread", 409, "notice_must_be_acknowledged", notices=BINDING)
    for name, status, code, changed in WRONG_LOG_ONS:
        yield bad(of, name, status, code, body=json.dumps(LOG_ON | changed).encode(), takes_time=True)
    for name, status, code, details in REFUSED_LOG_ONS:
        yield bad(
            of, f"refused with {name}", status, code, prepare=received(code, name, details), takes_time=True
        )
    for code, status in (("upstream_version_unsupported", 502), ("too_many_devices", 409)):
        yield bad(of, f"refused as {code}", status, code, prepare=received(code))
    yield bad(of, "once too often", 429, "rate_limited", settings=SLOW_ADDRESS, prepare=knocked)
    yield bad(of, "in a crowd", 503, "over_capacity", settings=SLOW_NODE, prepare=knocked)


def sockets() -> Iterator[Case]:
    """Give what can be wrong with a handshake."""
    of = "GET /v1/realtime"
    for header, value in WRONG_HANDSHAKES:
        yield bad(of, f"with {header}: {value}", 400, "bad_request", {header: value})
    yield bad(of, "once too often", 429, "rate_limited", settings=SLOW_ADDRESS, prepare=knocked)
    yield bad(of, "in a crowd", 503, "over_capacity", settings=SLOW_NODE, prepare=knocked)
    full = replace(SETTINGS, admission=AdmissionLimits(connections=1))
    yield bad(of, "at a full node", 503, "over_capacity", settings=full, prepare=occupied)


def _missing() -> Iterator[Case]:
    for kind in ("nonsense", "hello.json", "%00"):
        of = "GET /v1/schemas/{kind}.json"
        yield bad(of, f"of {kind}", 404, "not_found", path=f"/v1/schemas/{kind}.json")
    yield bad("DELETE /v1/sessions/{id}", "of nobody", 404, "not_found", path="/v1/sessions/nobodys")


CASES = (
    *(*GOOD, *everywhere(), *in_clear_text(), *with_tokens(), *of_the_server(), *log_ons(), *sockets()),
    *_missing(),
    *too_often(),
)
