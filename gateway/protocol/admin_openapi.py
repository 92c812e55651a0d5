"""The admin API as an OpenAPI 3.1 document."""

from __future__ import annotations

from typing import Any, Final

from gateway.domain.errors import ErrorCode
from gateway.protocol import admin_bodies as bodies
from gateway.protocol.http_form import JSON_TYPE
from gateway.protocol.openapi import by_http, problem_schemas, refusals
from gateway.protocol.schemas import API_VERSION, Schema, ref, schemas_of

PAGE: Final = 100
"""Records of a page when the request names no size."""
PAGE_MAX: Final = 1_000
CURSOR_CHARS_MAX: Final = 256
USER_ID: Final = r"^([0-9a-f]{16}|[a-z0-9][a-z0-9-]{0,31}:[0-9]{1,16})$"
"""How an operator names a user: a keyed hash, or a site and OSCC-E's Key behind a colon."""

_DOOR: Final = (ErrorCode.UNAUTHENTICATED, ErrorCode.RATE_LIMITED, ErrorCode.BAD_REQUEST)
"""What every operation may be refused with."""
_BODIES: Final[tuple[type[Any], ...]] = (
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
            "responses `NotFound` and `MethodNotAllowed`; what is no HTTP at all gets 400.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": _reading() | _people() | _nodes() | _bundle(),
        "components": {
            "schemas": schemas_of(_BODIES) | problem_schemas() | _notices(),
            "responses": by_http(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _notices() -> dict[str, Schema]:
    """Return what the problem details of the clients' API refer to and no operator ever sees."""
    return {"NoticeView": {"type": "object"}}


def _answer(description: str, of: type[Any]) -> Schema:
    return {"description": description, "content": {JSON_TYPE: {"schema": ref(of.__name__)}}}


def _operation(
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
    listed = {"200": _answer("A page of them, by id", bodies.AttachedBody)}
    closed = {"200": _answer("A page of them, the newest first", bodies.ClosesBody)}
    return {
        "/openapi.json": {"get": _operation("getOpenapi", "This document", {"200": document})},
        "/sessions": {
            "parameters": _PAGED,
            "get": _operation(
                "listSessions", "The sessions that contact centres have accepted, of all nodes", listed
            ),
        },
        "/closes": {
            "parameters": _PAGED,
            "get": _operation("listCloses", "The last connections that ended, of all nodes", closed),
        },
        "/nodes": {
            "get": _operation(
                "listNodes", "The nodes that live", {"200": _answer("As this one knows", bodies.NodesBody)}
            )
        },
    }


def _people() -> dict[str, Schema]:
    ended = {"200": _answer("They are over on every node that was reached", bodies.EndedBody)}
    held = {"200": _answer("One entry for each category of the inventory", bodies.HeldBody)}
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
            "delete": _operation("endSession", "End a session, wherever its phone is", ended, *missing),
        },
        "/users/{id}/end": {
            "parameters": [user],
            "post": _operation("endUser", "End all sessions of a user", ended, *missing),
        },
        "/users/{id}/export": {
            "parameters": [user],
            "get": _operation("exportUser", "All that the gateway holds about a user", held, *missing),
        },
    }


def _nodes() -> dict[str, Schema]:
    unknown = (ErrorCode.NOT_FOUND, ErrorCode.BUS_DOWN)
    done = {"200": _answer("Who did it", bodies.DoneBody)}
    draining = {"202": _answer("It has begun", bodies.DrainBody)}
    return {
        "/drain": {
            "post": _operation(
                "drain",
                "Send the phones of a node away, and end it; by default the one that is asked",
                draining,
                *unknown,
                body=bodies.NodeBody,
            )
        },
        "/reload": {
            "post": _operation(
                "reload",
                "Read certificates, authorities of sites, keys and notices again; by default on all nodes",
                done,
                *unknown,
                body=bodies.NodeBody,
            )
        },
        "/log-level": {
            "post": _operation(
                "setLogLevel",
                "Change the least level that is logged; by default on all nodes",
                done,
                *unknown,
                body=bodies.LogLevelBody,
            )
        },
    }


def _bundle() -> dict[str, Schema]:
    bundle = {"200": _answer("What would be written, or where it was", bodies.BundleView)}
    return {
        "/support-bundle": {
            "post": _operation(
                "supportBundle",
                "Show a support bundle, then write what was shown",
                bundle,
                ErrorCode.NOT_FOUND,
                ErrorCode.KEY_REUSED,
                body=bodies.BundleBody,
            )
        },
    }
