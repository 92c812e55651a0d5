"""The HTTP API as an OpenAPI 3.1 document."""

from __future__ import annotations

from typing import Any, Final

from gateway.domain.errors import ErrorCode
from gateway.protocol import bodies
from gateway.protocol.frames import PROTOCOLS
from gateway.protocol.http_form import JSON_TYPE, SCHEMA_TYPE
from gateway.protocol.inventory import InventoryBody
from gateway.protocol.openapi_refusals import (
    CROWD,
    LOG_ON,
    TOKEN,
    UPSTREAM,
    by_http,
    problem_schemas,
    refusals,
)
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
            "Unknown members are ignored. No token ever travels in a URL. `HEAD` is answered like `GET`, "
            "but for the WebSocket. Paths and methods that are not listed are refused with the responses "
            "`NotFound` and `MethodNotAllowed`, but that a preflight of an allowed origin gets 204 on each; "
            "what is no HTTP at all gets 400, and a head of more than 16 KiB 431.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
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
        "/v1/schemas/{kind}.json": {
            "parameters": [_in_path("kind")],
            "get": _operation(
                "getSchema",
                "The JSON Schema of a kind of frame or resource",
                {"200": _document("JSON Schema 2020-12", SCHEMA_TYPE)},
                ErrorCode.NOT_FOUND,
            ),
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


def _session_paths() -> dict[str, Schema]:
    pending = "Calls may still come: a contact is handled, or the log-off is not confirmed yet; repeat"
    ended: dict[str, Schema] = {
        "202": _answer(pending, bodies.LogOffPending),
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
        "schema": {"enum": list(PROTOCOLS)},
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
