"""The HTTP API and the admin API as OpenAPI 3.1 documents, with every refusal of each route."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from gateway.domain.errors import ERRORS, ErrorCode
from gateway.protocol import bodies
from gateway.protocol.bodies import JSON_TYPE, PROBLEM_TYPE, SCHEMA_TYPE
from gateway.protocol.frames import PROTOCOLS
from gateway.protocol.schemas import API_VERSION, InventoryBody, Schema, ref, schemas_of

CROWD: Final = (ErrorCode.RATE_LIMITED, ErrorCode.OVER_CAPACITY)
"""Codes of routes that limit their callers."""
TOKEN: Final = (ErrorCode.UNAUTHENTICATED, ErrorCode.SESSION_ENDED)
"""Codes of routes that need a live session."""
UPSTREAM: Final = (
    ErrorCode.UPSTREAM_UNAVAILABLE,
    ErrorCode.FUNCTION_UNAVAILABLE,
    ErrorCode.BUSY,
    ErrorCode.UPSTREAM_REJECTED,
    ErrorCode.UNSUPPORTED_BY_UPSTREAM,
)
"""Codes of routes that need the OSCC-E Server."""
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
"""Refusals of HTTP itself, with the nearest of our codes: status → name, code, when."""

_MEMBERS: Final[dict[ErrorCode, Schema]] = {
    ErrorCode.SESSION_ENDED: {"verdict": {"enum": ["stop", "log_on"], "type": "string"}},
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

_RETRY_AFTER: Final[Schema] = {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}}


def problem_schemas() -> dict[str, Schema]:
    """Return the schema of problem details (RFC 9457), and one for each code."""
    general: Schema = {
        "type": "object",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "code": ref("ErrorCode"),
            **_WAIT,
        },
    }
    codes = {"enum": [code.value for code in ErrorCode], "title": "ErrorCode", "type": "string"}
    return {"Problem": general, "ErrorCode": codes} | {_name(code): _problem(code) for code in ErrorCode}


def by_http() -> dict[str, Schema]:
    """Return the refusals of HTTP itself, by the name of the response."""
    return {name: _response(status, [code], when) for status, (name, code, when) in BY_HTTP.items()}


def refusals(*codes: ErrorCode, statuses: tuple[int, ...] = ()) -> dict[str, Schema]:
    """Return the error responses of an operation.

    Args:
        codes: Its codes, beside those of every operation.
        statuses: Its refusals of HTTP itself, beside those of every operation.
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
    return f"Problem_{code.value}"


def _problem(code: ErrorCode) -> Schema:
    by_http = {status for status, (_, of, _) in BY_HTTP.items() if of is code}
    always = _MEMBERS.get(code, {}) | (_WAIT if ERRORS[code].retry else {})
    properties = {
        "status": {"type": "integer", **_one_or_some({ERRORS[code].status} | by_http)},
        "code": {"const": code.value, "type": "string"},
        **always,
        **_MAYBE.get(code, {}),
    }
    required = {"required": list(always)} if always else {}
    return {"allOf": [ref("Problem"), {"type": "object", "properties": properties, **required}]}


def _one_or_some(values: set[int]) -> Schema:
    """Return a schema of *values*: a generator gives a constant no type of its own."""
    return {"enum": sorted(values)} if len(values) > 1 else {"const": next(iter(values))}


def _response(status: int, codes: list[ErrorCode], description: str) -> Schema:
    schema = {
        "oneOf": [ref(_name(code)) for code in codes],
        "properties": {"status": {"const": status, "type": "integer"}},
    }
    response = {"description": description, "content": {PROBLEM_TYPE: {"schema": schema}}}
    headers = _headers(status, codes)
    return response | {"headers": headers} if headers else response


def _headers(status: int, codes: list[ErrorCode]) -> dict[str, Schema]:
    """Return the headers of a refusal."""
    headers: dict[str, Schema] = {}
    if ERRORS[codes[0]].retry:  # a status is used for codes of one kind only: see the tests
        headers |= _RETRY_AFTER
    if codes[0] in TOKEN:
        headers["WWW-Authenticate"] = {"required": True, "schema": {"const": "Bearer", "type": "string"}}
    if status == 405:
        headers["Allow"] = {"required": True, "schema": {"type": "string"}}
    return headers


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
            "Unknown members are ignored. No token ever travels in a URL. `HEAD` is answered like `GET`, "
            "but for the WebSocket. Paths and methods that are not listed are refused with the responses "
            "`NotFound` and `MethodNotAllowed`, but that a preflight of an allowed origin gets 204 on each; "
            "what is not HTTP gets 400, as do more than 128 header lines and one of more than 8 KiB, "
            "and a head of more than 16 KiB gets 431.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The gateway that serves this document"}],
        "paths": _paths(),
        "components": {
            "schemas": schemas_of(_BODIES) | problem_schemas(),
            "responses": by_http(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _answer(description: str, of: type[Any]) -> Schema:
    return {"description": description, "content": {JSON_TYPE: {"schema": ref(of.__name__)}}}


def _document(description: str, of: str = JSON_TYPE) -> Schema:
    return {"description": description, "content": {of: {"schema": {"type": "object"}}}}


def _operation(
    name: str,
    summary: str,
    answers: dict[str, Schema],
    *codes: ErrorCode,
    token: bool = False,
    statuses: tuple[int, ...] = (),
    **more: object,
) -> Schema:
    if token:
        codes = (*codes, ErrorCode.UNTRUSTED_TRANSPORT)
    return {
        "operationId": name,
        "summary": summary,
        "security": [{"token": []}] if token else [],
        "responses": answers | refusals(*codes, statuses=statuses),
        **more,
    }


def _in_path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _paths() -> dict[str, Schema]:
    return _open_paths() | _schema_paths() | _session_paths() | {"/v1/realtime": {"get": _realtime()}}


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
                "getAbout", "Sites and capabilities", {"200": _answer("About the gateway", bodies.AboutBody)}
            )
        },
        "/v1/notices": {
            "get": _operation(
                "getNotices",
                "Notices for the log-on page; answers also when the contact centre is down",
                {"200": _answer("Notices in the best language", bodies.NoticesBody)},
                parameters=[language],
            )
        },
        "/v1/privacy/inventory": {
            "get": _operation(
                "getInventory",
                "The data inventory, generated from the class of every field",
                {"200": _answer("The inventory", InventoryBody)},
            )
        },
    }


def _schema_paths() -> dict[str, Schema]:
    return {
        "/v1/schemas": {
            "get": _operation("getSchemas", "The list of JSON Schemas", {"200": _listed_schemas()})
        },
        "/v1/schemas/{kind}.json": {
            "parameters": [_in_path("kind")],
            "get": _operation(
                "getSchema",
                "The JSON Schema of a kind of frame or resource",
                {"200": _document("JSON Schema 2020-12", SCHEMA_TYPE)},
                ErrorCode.NOT_FOUND,
            ),
        },
    }


def _listed_schemas() -> Schema:
    kinds = ["client_frame", "gateway_frame", "frame", "resource"]
    properties = {
        "kind": {"type": "string"},
        "of": {"enum": kinds, "type": "string"},
        "href": {"type": "string"},
    }
    entry = {"type": "object", "required": list(properties), "properties": properties}
    schemas = {"type": "array", "items": entry}
    body = {"type": "object", "required": ["schemas"], "properties": {"schemas": schemas}}
    return {"description": "Each with its address", "content": {JSON_TYPE: {"schema": body}}}


def _session_paths() -> dict[str, Schema]:
    pending = "Calls may still come: a contact is handled, or the log-off is not confirmed yet; repeat"
    ended: dict[str, Schema] = {
        "202": _answer(pending, bodies.LogOffPending) | {"headers": _RETRY_AFTER},
        "204": {"description": "Confirmed: nothing is routed to the remote number"},
    }
    listed = {"200": _answer("The user's sessions, as the contact centre lists them", bodies.SessionsBody)}
    me = {"200": _answer("User, application and end of life of the session", bodies.SessionBody)}
    held = {"200": _answer("One entry for each category of the inventory", bodies.ExportBody)}
    return {
        "/v1/sessions": {
            "post": _log_on(),
            "get": _operation("getSessions", "The user's sessions", listed, *TOKEN, *UPSTREAM, token=True),
        },
        "/v1/sessions/{id}": {
            "parameters": [_in_path("id")],
            "delete": _operation(
                "endSession",
                "End a session of the user",
                ended,
                ErrorCode.NOT_FOUND,
                *TOKEN,
                *UPSTREAM,
                token=True,
            ),
        },
        "/v1/session": {
            "get": _operation("getSession", "Get this session", me, *TOKEN, token=True),
            "delete": _operation(
                "logOff",
                "Log off; also for an ended session, and up to 24 h after the token expired",
                ended,
                ErrorCode.UNAUTHENTICATED,
                token=True,
            ),
        },
        "/v1/me/export": {"get": _operation("exportMe", "All data about the user", held, *TOKEN, token=True)},
    }


def _log_on() -> Schema:
    body = {"required": True, "content": {JSON_TYPE: {"schema": ref(bodies.LogOnBody.__name__)}}}
    return _operation(
        "logOn",
        "Log on; for a Remote Assistant also the agent",
        {"201": _answer("Logged on", bodies.SessionCreated)},
        *LOG_ON,
        statuses=(413, 415),
        requestBody=body,
    )


def _realtime() -> Schema:
    protocol = {
        "name": "Sec-WebSocket-Protocol",
        "in": "header",
        "required": True,
        "schema": {"enum": list(PROTOCOLS), "type": "string"},
    }
    operation = _operation(
        "openRealtime",
        "The WebSocket; see asyncapi.json. The token stands in the header or in `hello`",
        {"101": {"description": "Frames follow"}},
        ErrorCode.BAD_REQUEST,
        ErrorCode.UNTRUSTED_TRANSPORT,
        *TOKEN,
        *CROWD,
        parameters=[protocol],
    )
    return operation | {"security": [{"token": []}, {}]}


PAGE: Final = 100
"""Records of a page when the request names no size."""
PAGE_MAX: Final = 1_000
CURSOR_CHARS_MAX: Final = 256
USER_ID: Final = r"^([0-9a-f]{16}|[a-z0-9][a-z0-9-]{0,31}:[0-9]{1,16})$"
"""An operator's name for a user: a keyed hash, or a site and OSCC-E's Key with a colon between them."""

_DOOR: Final = (ErrorCode.UNAUTHENTICATED, ErrorCode.RATE_LIMITED, ErrorCode.BAD_REQUEST)
"""Codes of every operation."""
_ADMIN_BODIES: Final[tuple[type[Any], ...]] = (
    bodies.NodeBody,
    bodies.LogLevelBody,
    bodies.BundleBody,
    bodies.AttachedBody,
    bodies.EndedBody,
    bodies.HeldBody,
    bodies.NodesBody,
    bodies.ClosesBody,
    bodies.DoneBody,
    bodies.DrainBody,
    bodies.BundleView,
)


def admin_openapi() -> Schema:
    """Return the whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "OSCC gateway, for operators",
            "version": API_VERSION,
            "description": "On the admin listener only. Every call needs the bearer token and is audited. "
            "Acts take effect on all nodes that are reached; those that are not are named in `unreached`. "
            "`HEAD` is answered like `GET`. Paths and methods that are not listed are refused with the "
            "responses `NotFound` and `MethodNotAllowed`; what is not HTTP gets 400.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": _reading() | _people() | _nodes() | _bundle(),
        "components": {
            "schemas": schemas_of(_ADMIN_BODIES) | problem_schemas() | _notices(),
            "responses": by_http(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _notices() -> dict[str, Schema]:
    """Return the schemas that only the clients' problem details use; operators never see them."""
    return {"NoticeView": {"type": "object"}}


def _admin_answer(description: str, of: type[Any]) -> Schema:
    return {"description": description, "content": {JSON_TYPE: {"schema": ref(of.__name__)}}}


def _admin_operation(
    name: str, summary: str, answers: dict[str, Schema], *codes: ErrorCode, body: type[Any] | None = None
) -> Schema:
    made: Schema = {
        "operationId": name,
        "summary": summary,
        "responses": answers | refusals(*codes, *_DOOR, statuses=() if body is None else (413, 415)),
    }
    if body is not None:
        required = body is bodies.LogLevelBody or body is bodies.BundleBody
        made["requestBody"] = {
            "required": required,
            "content": {JSON_TYPE: {"schema": ref(body.__name__)}},
        }
    return made


def _query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema}


_PAGED: Final = [
    _query("limit", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE}),
    _query("after", {"type": "string", "minLength": 1, "maxLength": CURSOR_CHARS_MAX}),
]


def _reading() -> dict[str, Schema]:
    document = {"description": "OpenAPI 3.1", "content": {JSON_TYPE: {"schema": {"type": "object"}}}}
    listed = {"200": _admin_answer("A page of them, by id", bodies.AttachedBody)}
    closed = {"200": _admin_answer("A page of them, the newest first", bodies.ClosesBody)}
    return {
        "/openapi.json": {"get": _admin_operation("getOpenapi", "This document", {"200": document})},
        "/sessions": {
            "parameters": _PAGED,
            "get": _admin_operation(
                "listSessions", "The sessions that contact centres have accepted, of all nodes", listed
            ),
        },
        "/closes": {
            "parameters": _PAGED,
            "get": _admin_operation("listCloses", "The last connections that ended, of all nodes", closed),
        },
        "/nodes": {
            "get": _admin_operation(
                "listNodes",
                "The live nodes",
                {"200": _admin_answer("As this node sees them", bodies.NodesBody)},
            )
        },
    }


def _people() -> dict[str, Schema]:
    ended = {"200": _admin_answer("They have ended on every node that was reached", bodies.EndedBody)}
    held = {"200": _admin_answer("One entry for each category of the inventory", bodies.HeldBody)}
    missing = (ErrorCode.NOT_FOUND, ErrorCode.BUS_DOWN)
    session = {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": CURSOR_CHARS_MAX},
    }
    user = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": USER_ID}}
    return {
        "/sessions/{id}": {
            "parameters": [session],
            "delete": _admin_operation("endSession", "End a session, wherever its phone is", ended, *missing),
        },
        "/users/{id}/end": {
            "parameters": [user],
            "post": _admin_operation("endUser", "End all sessions of a user", ended, *missing),
        },
        "/users/{id}/export": {
            "parameters": [user],
            "get": _admin_operation(
                "exportUser", "All data that the gateway holds about a user", held, *missing
            ),
        },
    }


def _nodes() -> dict[str, Schema]:
    unknown = (ErrorCode.NOT_FOUND, ErrorCode.BUS_DOWN)
    done = {"200": _admin_answer("The nodes that did it", bodies.DoneBody)}
    draining = {"202": _admin_answer("The drain has begun", bodies.DrainBody)}
    return {
        "/drain": {
            "post": _admin_operation(
                "drain",
                "Send the phones of a node away, and end it; by default the node that gets the request",
                draining,
                *unknown,
                body=bodies.NodeBody,
            )
        },
        "/reload": {
            "post": _admin_operation(
                "reload",
                "Read certificates, authorities of sites, keys and notices again; by default on all nodes",
                done,
                *unknown,
                body=bodies.NodeBody,
            )
        },
        "/log-level": {
            "post": _admin_operation(
                "setLogLevel",
                "Change the lowest level that is logged; by default on all nodes",
                done,
                *unknown,
                body=bodies.LogLevelBody,
            )
        },
    }


def _bundle() -> dict[str, Schema]:
    bundle = {"200": _admin_answer("The bundle, or the place of its file", bodies.BundleView)}
    return {
        "/support-bundle": {
            "post": _admin_operation(
                "supportBundle",
                "Show a support bundle, then write exactly that bundle",
                bundle,
                ErrorCode.NOT_FOUND,
                ErrorCode.KEY_REUSED,
                body=bodies.BundleBody,
            )
        },
    }
