"""Documents of the HTTP API and the admin API (OpenAPI), and of the WebSocket (AsyncAPI)."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from gateway.domain.errors import CloseCode, ErrorCode, verdict
from gateway.protocol import bodies
from gateway.protocol.bodies import JSON_TYPE, PROBLEM_TYPE, SCHEMA_TYPE
from gateway.protocol.codec import BYTES_IN_MAX, BYTES_OUT_MAX, DEPTH_MAX
from gateway.protocol.frames import JSON_PROTOCOL, MSGPACK_PROTOCOL, PROTOCOLS
from gateway.protocol.schemas import (
    API_VERSION,
    CLIENT_FRAMES,
    GATEWAY_FRAMES,
    InventoryBody,
    Schema,
    frame_schemas,
    kind_of,
    ref,
    schemas_of,
)

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

    *statuses* are refusals of HTTP itself. Each operation has some further codes.
    """
    own = {
        str(status): _response(status, same, " · ".join(same))
        for status, same in _by_status({*codes, *_ALWAYS})
    }
    shared = {str(of): {"$ref": f"#/components/responses/{BY_HTTP[of][0]}"} for of in (*statuses, 417)}
    return dict(sorted((own | shared).items()))


def _by_status(codes: set[ErrorCode]) -> list[tuple[int, list[ErrorCode]]]:
    def status(code: ErrorCode) -> int:
        return code.status

    return [(of, sorted(same)) for of, same in groupby(sorted(codes, key=status), status)]


def _name(code: ErrorCode) -> str:
    return f"Problem_{code.value}"


def _problem(code: ErrorCode) -> Schema:
    by_http = {status for status, (_, of, _) in BY_HTTP.items() if of is code}
    always = _MEMBERS.get(code, {}) | (_WAIT if code.is_temporary else {})
    properties = {
        "status": {"type": "integer", **_one_or_some({code.status} | by_http)},
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
    if codes[0].is_temporary:  # a status is used for codes of one kind only: see the tests
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


_TOKEN_SCHEME: Final[Schema] = {"token": {"type": "http", "scheme": "bearer"}}


def openapi() -> Schema:
    """Return the document of the HTTP API."""
    return _whole(
        "OSCC gateway",
        "Instants are ms since 1970 UTC (`*_ms`), durations seconds (`*_s`). "
        "Unknown members are ignored. No token ever travels in a URL. `HEAD` is answered like `GET`, "
        "but for the WebSocket. Paths and methods that are not listed are refused with the responses "
        "`NotFound` and `MethodNotAllowed`, but that a preflight of an allowed origin gets 204 on each; "
        "what is not HTTP gets 400, as do more than 128 header lines and one of more than 8 KiB, "
        "and a head of more than 16 KiB gets 431.",
        {"servers": [{"url": "/", "description": "The gateway that serves this document"}]},
        _open_paths() | _schema_paths() | _session_paths() | {"/v1/realtime": {"get": _realtime()}},
        schemas_of(_BODIES) | problem_schemas(),
    )


def _whole(
    title: str, description: str, more: Schema, paths: dict[str, Schema], schemas: dict[str, Schema]
) -> Schema:
    """Return a whole document. *more*: its members that other documents do not have."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": API_VERSION,
            "description": description,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        **more,
        "paths": paths,
        "components": {"schemas": schemas, "responses": by_http(), "securitySchemes": _TOKEN_SCHEME},
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
    body: type[Any] | None = None,
    **more: object,
) -> Schema:
    statuses: tuple[int, ...] = ()
    if body is not None:
        statuses = (413, 415)
        more["requestBody"] = {
            "required": body is not bodies.NodeBody,
            "content": {JSON_TYPE: {"schema": ref(body.__name__)}},
        }
    return {
        "operationId": name,
        "summary": summary,
        "responses": answers | refusals(*codes, statuses=statuses),
        **more,
    }


def _open(name: str, summary: str, answer: Schema, *codes: ErrorCode, **more: object) -> Schema:
    """Return a ``GET`` that needs no token."""
    return {"get": _operation(name, summary, {"200": answer}, *codes, security=[]) | more}


def _private(name: str, summary: str, answers: dict[str, Schema], *codes: ErrorCode) -> Schema:
    """Return an operation that needs a token."""
    return _operation(name, summary, answers, *codes, ErrorCode.UNTRUSTED_TRANSPORT, security=[{"token": []}])


def _in_path(name: str, **schema: object) -> list[Schema]:
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string", **schema}}]


def _open_paths() -> dict[str, Schema]:
    language = {"name": "Accept-Language", "in": "header", "schema": {"type": "string"}}
    about = _answer("About the gateway", bodies.AboutBody)
    notices = _answer("Notices in the best language", bodies.NoticesBody)
    of_notices = "Notices for the log-on page; answers also when the contact centre is down"
    of_inventory = "The data inventory, generated from the class of every field"
    return {
        "/v1/openapi.json": _open("getOpenapi", "This document", _document("OpenAPI 3.1")),
        "/v1/asyncapi.json": _open("getAsyncapi", "The WebSocket's document", _document("AsyncAPI 3.0")),
        "/v1/about": _open("getAbout", "Sites and capabilities", about),
        "/v1/notices": _open("getNotices", of_notices, notices, parameters=[language]),
        "/v1/privacy/inventory": _open("getInventory", of_inventory, _answer("The inventory", InventoryBody)),
    }


def _schema_paths() -> dict[str, Schema]:
    schema = _document("JSON Schema 2020-12", SCHEMA_TYPE)
    summary = "The JSON Schema of a kind of frame or resource"
    return {
        "/v1/schemas": _open("getSchemas", "The list of JSON Schemas", _listed_schemas()),
        "/v1/schemas/{kind}.json": {
            "parameters": _in_path("kind"),
            **_open("getSchema", summary, schema, ErrorCode.NOT_FOUND),
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
    off = "Log off; also for an ended session, and up to 24 h after the token expired"
    end = ErrorCode.NOT_FOUND, *TOKEN, *UPSTREAM
    return {
        "/v1/sessions": {
            "post": _log_on(),
            "get": _private("getSessions", "The user's sessions", listed, *TOKEN, *UPSTREAM),
        },
        "/v1/sessions/{id}": {
            "parameters": _in_path("id"),
            "delete": _private("endSession", "End a session of the user", ended, *end),
        },
        "/v1/session": {
            "get": _private("getSession", "Get this session", me, *TOKEN),
            "delete": _private("logOff", off, ended, ErrorCode.UNAUTHENTICATED),
        },
        "/v1/me/export": {"get": _private("exportMe", "All data about the user", held, *TOKEN)},
    }


def _log_on() -> Schema:
    summary = "Log on; for a Remote Assistant also the agent"
    created = {"201": _answer("Logged on", bodies.SessionCreated)}
    return _operation("logOn", summary, created, *LOG_ON, body=bodies.LogOnBody, security=[])


def _realtime() -> Schema:
    protocol = {
        "name": "Sec-WebSocket-Protocol",
        "in": "header",
        "required": True,
        "schema": {"enum": list(PROTOCOLS), "type": "string"},
    }
    return _operation(
        "openRealtime",
        "The WebSocket; see asyncapi.json. The token stands in the header or in `hello`",
        {"101": {"description": "Frames follow"}},
        ErrorCode.BAD_REQUEST,
        ErrorCode.UNTRUSTED_TRANSPORT,
        *TOKEN,
        *CROWD,
        security=[{"token": []}, {}],
        parameters=[protocol],
    )


PAGE: Final = 100
"""Records of a page when the request names no size."""
PAGE_MAX: Final = 1_000
CURSOR_CHARS_MAX: Final = 256
USER_ID: Final = r"^([0-9a-f]{16}|[a-z0-9][a-z0-9-]{0,31}:[0-9]{1,16})$"
"""An operator's name for a user: a keyed hash, or a site and OSCC-E's Key with a colon between them."""

_ADMIN_CODES: Final = (ErrorCode.UNAUTHENTICATED, ErrorCode.RATE_LIMITED, ErrorCode.BAD_REQUEST)
"""Codes of every operation."""
_MISSING: Final = (ErrorCode.NOT_FOUND, ErrorCode.BUS_DOWN)
"""Codes of operations on a user, a session or a node."""
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
    """Return the document of the admin API."""
    only_for_clients = {"NoticeView": {"type": "object"}}  # in problem details that operators never see
    return _whole(
        "OSCC gateway, for operators",
        "On the admin listener only. Every call needs the bearer token and is audited. "
        "Acts take effect on all nodes that are reached; those that are not are named in `unreached`. "
        "`HEAD` is answered like `GET`. Paths and methods that are not listed are refused with the "
        "responses `NotFound` and `MethodNotAllowed`; what is not HTTP gets 400.",
        {"security": [{"token": []}]},
        _reading() | _people() | _nodes() | _bundle(),
        schemas_of(_ADMIN_BODIES) | problem_schemas() | only_for_clients,
    )


def _query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema}


_PAGED: Final = [
    _query("limit", {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE}),
    _query("after", {"type": "string", "minLength": 1, "maxLength": CURSOR_CHARS_MAX}),
]


def _admin(
    name: str,
    summary: str,
    answer: Schema,
    *codes: ErrorCode,
    status: int = 200,
    body: type[Any] | None = None,
) -> Schema:
    return _operation(name, summary, {str(status): answer}, *codes, *_ADMIN_CODES, body=body)


def _reading() -> dict[str, Schema]:
    listed = _answer("A page of them, by id", bodies.AttachedBody)
    closed = _answer("A page of them, the newest first", bodies.ClosesBody)
    nodes = _answer("As this node sees them", bodies.NodesBody)
    of_sessions = "The sessions that contact centres have accepted, of all nodes"
    of_closes = "The last connections that ended, of all nodes"
    return {
        "/openapi.json": {"get": _admin("getOpenapi", "This document", _document("OpenAPI 3.1"))},
        "/sessions": {"parameters": _PAGED, "get": _admin("listSessions", of_sessions, listed)},
        "/closes": {"parameters": _PAGED, "get": _admin("listCloses", of_closes, closed)},
        "/nodes": {"get": _admin("listNodes", "The live nodes", nodes)},
    }


def _people() -> dict[str, Schema]:
    ended = _answer("They have ended on every node that was reached", bodies.EndedBody)
    held = _answer("One entry for each category of the inventory", bodies.HeldBody)
    session = _in_path("id", minLength=1, maxLength=CURSOR_CHARS_MAX)
    user = _in_path("id", pattern=USER_ID)
    of_export = "All data that the gateway holds about a user"
    return {
        "/sessions/{id}": {
            "parameters": session,
            "delete": _admin("endSession", "End a session, wherever its phone is", ended, *_MISSING),
        },
        "/users/{id}/end": {
            "parameters": user,
            "post": _admin("endUser", "End all sessions of a user", ended, *_MISSING),
        },
        "/users/{id}/export": {
            "parameters": user,
            "get": _admin("exportUser", of_export, held, *_MISSING),
        },
    }


def _nodes() -> dict[str, Schema]:
    done = _answer("The nodes that did it", bodies.DoneBody)
    drain = _admin(
        "drain",
        "Send the phones of a node away, and end it; by default the node that gets the request",
        _answer("The drain has begun", bodies.DrainBody),
        *_MISSING,
        status=202,
        body=bodies.NodeBody,
    )
    reload = _admin(
        "reload",
        "Read certificates, authorities of sites, keys and notices again; by default on all nodes",
        done,
        *_MISSING,
        body=bodies.NodeBody,
    )
    log_level = _admin(
        "setLogLevel",
        "Change the lowest level that is logged; by default on all nodes",
        done,
        *_MISSING,
        body=bodies.LogLevelBody,
    )
    return {"/drain": {"post": drain}, "/reload": {"post": reload}, "/log-level": {"post": log_level}}


def _bundle() -> dict[str, Schema]:
    operation = _admin(
        "supportBundle",
        "Show a support bundle, then write exactly that bundle",
        _answer("The bundle, or the place of its file", bodies.BundleView),
        ErrorCode.NOT_FOUND,
        ErrorCode.KEY_REUSED,
        body=bodies.BundleBody,
    )
    return {"/support-bundle": {"post": operation}}


# ---- the WebSocket ----

_CHANNEL: Final = "realtime"
_SERVER: Final[Schema] = {
    "host": "{host}",
    "protocol": "wss",
    "variables": {
        "host": {
            "default": "localhost:8080",
            "description": "Host, and port if it is not 443, of the gateway",
        }
    },
}
_STANDARD_CLOSES: Final = {
    1002: "against RFC 6455, unmasked frames too",
    1003: "text where binary was agreed on, or the reverse",
    1007: "text that is not UTF-8",
    1009: "a frame is too big",
}


def asyncapi() -> Schema:
    """Return the document of the WebSocket, seen from the gateway: it *receives* client frames."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "OSCC gateway, realtime",
            "version": API_VERSION,
            "description": "Every frame is one object whose `kind` is its name. Both subprotocols carry the "
            "same content. Unknown fields and kinds of frames are ignored.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"gateway": _SERVER},
        "channels": {_CHANNEL: _channel()},
        "operations": {
            "receive": _direction("receive", "What a client sends", CLIENT_FRAMES),
            "send": _direction("send", "What the gateway sends", GATEWAY_FRAMES),
        },
        "components": {
            "schemas": frame_schemas(),
            "messages": {of.__name__: _message(of) for of in (*CLIENT_FRAMES, *GATEWAY_FRAMES)},
            "securitySchemes": _TOKEN_SCHEME,
        },
    }


def _channel() -> Schema:
    headers = {
        "type": "object",
        "required": ["Sec-WebSocket-Protocol"],
        "properties": {
            "Sec-WebSocket-Protocol": {"enum": list(PROTOCOLS)},
            "Authorization": {
                "type": "string",
                "description": "`Bearer` and the token, unless `hello` has it",
            },
        },
    }
    return {
        "address": "/v1/realtime",
        "title": "One phone's connection",
        "description": "The first frame is `hello`, answered by `welcome` and `changes`.",
        "messages": {
            of.__name__: {"$ref": f"#/components/messages/{of.__name__}"}
            for of in (*CLIENT_FRAMES, *GATEWAY_FRAMES)
        },
        "bindings": {"ws": {"method": "GET", "headers": headers, "bindingVersion": "0.1.0"}},
        "x-subprotocols": {
            JSON_PROTOCOL: {"message": "text", "contentType": "application/json"},
            MSGPACK_PROTOCOL: {"message": "binary", "contentType": "application/msgpack"},
        },
        "x-limits": {
            "frame_bytes_in": BYTES_IN_MAX,
            "frame_bytes_out": BYTES_OUT_MAX,
            "depth": DEPTH_MAX,
        },
        "x-close-codes": _close_codes(),
    }


def _close_codes() -> dict[str, Schema]:
    own = {str(int(code)): {"name": code.name.lower(), "verdict": verdict(code).value} for code in CloseCode}
    standard = {
        str(code): {"name": text, "verdict": verdict(code).value} for code, text in _STANDARD_CLOSES.items()
    }
    return standard | own


def _direction(action: str, summary: str, of: tuple[type[Any], ...]) -> Schema:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": f"#/channels/{_CHANNEL}"},
        "messages": [{"$ref": f"#/channels/{_CHANNEL}/messages/{each.__name__}"} for each in of],
        "security": [{"$ref": "#/components/securitySchemes/token"}],
    }


def _message(of: type[Any]) -> Schema:
    return {
        "name": kind_of(of),
        "title": of.__name__,
        "payload": ref(of.__name__),
    }
