"""Refusals of the HTTP API, for its OpenAPI document."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from gateway.domain.errors import ERRORS, ErrorCode
from gateway.protocol.http_form import PROBLEM_TYPE
from gateway.protocol.schemas import Schema, ref

CROWD: Final = (ErrorCode.RATE_LIMITED, ErrorCode.OVER_CAPACITY)
"""Of the routes whose doors count who comes."""
TOKEN: Final = (ErrorCode.UNAUTHENTICATED, ErrorCode.SESSION_ENDED)
"""Of the routes that need a living session."""
UPSTREAM: Final = (
    ErrorCode.UPSTREAM_UNAVAILABLE,
    ErrorCode.FUNCTION_UNAVAILABLE,
    ErrorCode.BUSY,
    ErrorCode.UPSTREAM_REJECTED,
    ErrorCode.UNSUPPORTED_BY_UPSTREAM,
)
"""Of the routes that ask the OSCC-E Server."""
LOG_ON: Final = (
    ErrorCode.BAD_REQUEST,
    ErrorCode.INVALID_CREDENTIALS,
    ErrorCode.ACCOUNT_LOCKED,
    ErrorCode.ACCOUNT_BLOCKED,
    ErrorCode.ROLE_MISSING,
    ErrorCode.UNTRUSTED_TRANSPORT,
    ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED,
    ErrorCode.ALREADY_LOGGED_ON,
    ErrorCode.REMOTE_NUMBER_MISSING,
    ErrorCode.REMOTE_NUMBER_INVALID,
    ErrorCode.REMOTE_NUMBER_NOT_ALLOWED,
    ErrorCode.REMOTE_NUMBER_IN_USE,
    ErrorCode.SITE_UNKNOWN,
    ErrorCode.VERSION_UNSUPPORTED,
    ErrorCode.UPSTREAM_VERSION_UNSUPPORTED,
    ErrorCode.TOO_MANY_DEVICES,
    *CROWD,
    *UPSTREAM,
)
_ALWAYS: Final = (ErrorCode.FORBIDDEN, ErrorCode.RATE_LIMITED, ErrorCode.INTERNAL)

BY_HTTP: Final = {
    404: ("NotFound", ErrorCode.NOT_FOUND, "There is no such path"),
    405: ("MethodNotAllowed", ErrorCode.BAD_REQUEST, "There is no such method at this path"),
    413: ("ContentTooLarge", ErrorCode.BAD_REQUEST, "The body is larger than 16 KiB"),
    415: ("UnsupportedMediaType", ErrorCode.BAD_REQUEST, "The body is not plainly application/json"),
    417: ("ExpectationFailed", ErrorCode.BAD_REQUEST, "`Expect` is not 100-continue"),
}
"""What HTTP itself refuses, under the nearest code of ours: status → name, code, when."""

_MEMBERS: Final[dict[ErrorCode, Schema]] = {
    ErrorCode.SESSION_ENDED: {"verdict": {"enum": ["stop", "log_on"]}},
    ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED: {"notices": {"type": "array", "items": ref("NoticeView")}},
    ErrorCode.VERSION_UNSUPPORTED: {"minimum": {"type": "string"}},
    ErrorCode.UPSTREAM_REJECTED: {"upstream_code": {"type": "string"}},
}
"""Members that always stand beside the code."""
_MAYBE: Final[dict[ErrorCode, Schema]] = {
    ErrorCode.ALREADY_LOGGED_ON: {"where": {"type": "string"}, "since_ms": {"type": "integer"}},
    ErrorCode.FUNCTION_UNAVAILABLE: {"function": {"type": "string"}},
}
"""Members that stand there when they are known."""
_WAIT: Final[Schema] = {"retry_after_s": {"type": "number", "minimum": 0}}


def problem_schemas() -> dict[str, Schema]:
    """Return the schema of problem details (RFC 9457), and of each code's own."""
    general: Schema = {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": {"enum": [code.value for code in ErrorCode]},
            **_WAIT,
        },
    }
    return {"Problem": general} | {_name(code): _problem(code) for code in ErrorCode}


def by_http() -> dict[str, Schema]:
    """Return what HTTP itself refuses, by the name of the response."""
    return {name: _response(status, [code], when) for status, (name, code, when) in BY_HTTP.items()}


def refusals(*codes: ErrorCode, statuses: tuple[int, ...] = ()) -> dict[str, Schema]:
    """Return the error responses of an operation.

    Args:
        codes: What it may tell, beside what every operation may.
        statuses: What HTTP refuses there, beside what it refuses everywhere.
    """
    own = {
        str(status): _response(status, same, " · ".join(same))
        for status, same in _by_status({*codes, *_ALWAYS})
    }
    shared = {str(of): {"$ref": f"#/components/responses/{BY_HTTP[of][0]}"} for of in (*statuses, 417)}
    return dict(sorted((own | shared).items()))


def _by_status(codes: set[ErrorCode]) -> list[tuple[int, list[ErrorCode]]]:
    def status(code: ErrorCode) -> int:
        return ERRORS[code].status

    return [(of, sorted(same)) for of, same in groupby(sorted(codes, key=status), status)]


def _name(code: ErrorCode) -> str:
    return f"Problem.{code.value}"


def _problem(code: ErrorCode) -> Schema:
    by_http = {status for status, (_, of, _) in BY_HTTP.items() if of is code}
    always = _MEMBERS.get(code, {}) | (_WAIT if ERRORS[code].retry else {})
    properties = {
        "status": {"enum": sorted({ERRORS[code].status} | by_http)},
        "code": {"const": code.value},
        **always,
        **_MAYBE.get(code, {}),
    }
    required = {"required": list(always)} if always else {}
    return {"allOf": [ref("Problem"), {"type": "object", "properties": properties, **required}]}


def _response(status: int, codes: list[ErrorCode], description: str) -> Schema:
    schema = {"oneOf": [ref(_name(code)) for code in codes], "properties": {"status": {"const": status}}}
    response = {"description": description, "content": {PROBLEM_TYPE: {"schema": schema}}}
    headers = _headers(status, codes)
    return response | {"headers": headers} if headers else response


def _headers(status: int, codes: list[ErrorCode]) -> dict[str, Schema]:
    """Return what stands in a refusal's header."""
    headers: dict[str, Schema] = {}
    if ERRORS[codes[0]].retry:  # one status is for codes of one kind: see the tests
        headers["Retry-After"] = {"required": True, "schema": {"type": "integer", "minimum": 1}}
    if codes[0] in TOKEN:
        headers["WWW-Authenticate"] = {"required": True, "schema": {"const": "Bearer"}}
    if status == 405:
        headers["Allow"] = {"required": True, "schema": {"type": "string"}}
    return headers
