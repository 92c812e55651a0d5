"""What does the HTTP API offer, as an OpenAPI 3.1 document?"""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from gateway.domain.errors import ERRORS, ErrorCode
from gateway.protocol import bodies
from gateway.protocol.frames import PROTOCOLS
from gateway.protocol.http_form import JSON_TYPE, PROBLEM_TYPE
from gateway.protocol.inventory import InventoryBody
from gateway.protocol.schemas import API_VERSION, Schema, ref, schemas_of

_BODIES: Final[tuple[type[Any], ...]] = (
    bodies.LogOnBody,
    bodies.AboutBody,
    bodies.NoticesBody,
    bodies.SessionCreated,
    bodies.SessionBody,
    bodies.SessionsBody,
    bodies.LogOffPending,
    bodies.ExportBody,
    InventoryBody,
)


def openapi() -> Schema:
    """Return the whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OSCC gateway",
            "version": API_VERSION,
            "description": "Instants are ms since 1970 UTC (`*_ms`), durations seconds (`*_s`). "
            "Unknown members are ignored. No token ever travels in a URL.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(),
        "components": {
            "schemas": schemas_of(_BODIES) | _problems(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


# ---- errors ----

_WAIT: Final[Schema] = {"retry_after_s": {"type": "number", "minimum": 0}}
_MEMBERS: Final[dict[ErrorCode, Schema]] = {
    ErrorCode.SESSION_ENDED: {"verdict": {"enum": ["stop", "log_on"]}},
    ErrorCode.ACCOUNT_LOCKED: _WAIT,
    ErrorCode.RATE_LIMITED: _WAIT,
    ErrorCode.OVER_CAPACITY: _WAIT,
    ErrorCode.UPSTREAM_UNAVAILABLE: _WAIT,
    ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED: {"notices": {"type": "array", "items": ref("NoticeView")}},
    ErrorCode.ALREADY_LOGGED_ON: {
        "where": {"type": ["string", "null"]},
        "since_ms": {"type": ["integer", "null"]},
    },
    ErrorCode.VERSION_UNSUPPORTED: {"minimum": {"type": "string"}},
    ErrorCode.FUNCTION_UNAVAILABLE: {"function": {"type": "string"}},
    ErrorCode.UPSTREAM_REJECTED: {"upstream_code": {"type": "string"}},
}
"""Members that stand beside the code."""

_ALWAYS: Final = (ErrorCode.FORBIDDEN, ErrorCode.RATE_LIMITED, ErrorCode.OVER_CAPACITY, ErrorCode.INTERNAL)
_TOKEN: Final = (ErrorCode.UNAUTHENTICATED, ErrorCode.SESSION_ENDED)
_UPSTREAM: Final = (
    ErrorCode.UPSTREAM_UNAVAILABLE,
    ErrorCode.UPSTREAM_REJECTED,
    ErrorCode.UNSUPPORTED_BY_UPSTREAM,
)
_LOG_ON: Final = (
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
    *_UPSTREAM,
)


def _problems() -> dict[str, Schema]:
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
    return {"Problem": general} | {_problem_name(code): _problem(code) for code in ErrorCode}


def _problem(code: ErrorCode) -> Schema:
    own = {
        "type": "object",
        "properties": {
            "status": {"const": ERRORS[code].status},
            "code": {"const": code.value},
            **_MEMBERS.get(code, {}),
        },
    }
    return {"allOf": [ref("Problem"), own]}


def _problem_name(code: ErrorCode) -> str:
    return f"Problem.{code.value}"


def _refusals(*codes: ErrorCode) -> dict[str, Schema]:
    """Return the error responses by status."""

    def status(code: ErrorCode) -> int:
        return ERRORS[code].status

    return {
        str(of): _refusal(list(same))
        for of, same in groupby(sorted({*codes, *_ALWAYS}, key=lambda code: (status(code), code)), status)
    }


def _refusal(codes: list[ErrorCode]) -> Schema:
    response: Schema = {
        "description": " · ".join(codes),
        "content": {PROBLEM_TYPE: {"schema": {"oneOf": [ref(_problem_name(code)) for code in codes]}}},
    }
    if any(ERRORS[code].retry for code in codes):
        response["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 0}}}
    return response


# ---- routes ----


def _answer(description: str, of: type[Any]) -> Schema:
    return {"description": description, "content": {JSON_TYPE: {"schema": ref(of.__name__)}}}


def _document(description: str) -> Schema:
    return {"description": description, "content": {JSON_TYPE: {"schema": {"type": "object"}}}}


def _operation(
    name: str,
    summary: str,
    answers: dict[str, Schema],
    *codes: ErrorCode,
    token: bool = False,
    **more: object,
) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "security": [{"token": []}] if token else [],
        "responses": answers | _refusals(*codes, *(_TOKEN if token else ())),
        **more,
    }


def _paths() -> dict[str, Schema]:
    return _open_paths() | _session_paths() | {"/v1/realtime": {"get": _realtime()}}


def _open_paths() -> dict[str, Schema]:
    language = {"name": "Accept-Language", "in": "header", "schema": {"type": "string"}}
    return {
        "/v1/openapi.json": {
            "get": _operation("getOpenapi", "This document", {"200": _document("OpenAPI 3.1")})
        },
        "/v1/asyncapi.json": {
            "get": _operation("getAsyncapi", "The WebSocket's document", {"200": _document("AsyncAPI 3.0")})
        },
        "/v1/about": {
            "get": _operation(
                "getAbout", "What this gateway is and offers", {"200": _answer("About it", bodies.AboutBody)}
            )
        },
        "/v1/notices": {
            "get": _operation(
                "getNotices",
                "Notices for the log-on page; answers also when the OSCC-E Server is down",
                {"200": _answer("Notices in the best language", bodies.NoticesBody)},
                parameters=[language],
            )
        },
        "/v1/privacy/inventory": {
            "get": _operation(
                "getInventory",
                "The data inventory, made from the class of every field",
                {"200": _answer("The inventory", InventoryBody)},
            )
        },
    }


def _session_paths() -> dict[str, Schema]:
    id_ = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    ended: dict[str, Schema] = {
        "202": _answer("Not confirmed yet; repeat", bodies.LogOffPending),
        "204": {"description": "Confirmed: nothing is routed to the remote number any more"},
    }
    listed = {"200": _answer("My sessions, as the OSCC-E Server knows them", bodies.SessionsBody)}
    me = {"200": _answer("Who I am, until when", bodies.SessionBody)}
    held = {"200": _answer("One entry for each category of the inventory", bodies.ExportBody)}
    return {
        "/v1/sessions": {
            "post": _operation(
                "logOn",
                "Log on; a Remote Assistant's agent too",
                {"201": _answer("Logged on", bodies.SessionCreated)},
                *_LOG_ON,
                requestBody={
                    "required": True,
                    "content": {JSON_TYPE: {"schema": ref(bodies.LogOnBody.__name__)}},
                },
            ),
            "get": _operation("getSessions", "My sessions", listed, *_UPSTREAM, token=True),
        },
        "/v1/sessions/{id}": {
            "parameters": [id_],
            "delete": _operation(
                "endSession", "End one of my sessions", ended, ErrorCode.NOT_FOUND, *_UPSTREAM, token=True
            ),
        },
        "/v1/session": {
            "get": _operation("getSession", "My session", me, token=True),
            "delete": _operation(
                "logOff", "Log off; also up to 24 h after the token expired", ended, token=True
            ),
        },
        "/v1/me/export": {
            "get": _operation("exportMe", "All that the gateway holds about me", held, token=True)
        },
    }


def _realtime() -> Schema:
    protocol = {
        "name": "Sec-WebSocket-Protocol",
        "in": "header",
        "required": True,
        "schema": {"enum": list(PROTOCOLS)},
    }
    operation = _operation(
        "openRealtime",
        "The WebSocket; see asyncapi.json. The token stands in the header or in `hello`",
        {"101": {"description": "Frames follow"}},
        ErrorCode.BAD_REQUEST,
        *_TOKEN,
        parameters=[protocol],
    )
    return operation | {"security": [{"token": []}, {}]}
