"""JSON Schemas of frames, resources and bodies, and the WebSocket API as an AsyncAPI document.

Made from the types, so that what is published is what is checked. Resources say of each field
how it may be handled (`x-privacy`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, get_args, get_type_hints

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from gateway.domain.errors import CloseCode, verdict
from gateway.domain.model import Privacy
from gateway.domain.resources import RESOURCES
from gateway.protocol import frames
from gateway.protocol.frames import JSON_PROTOCOL, MSGPACK_PROTOCOL, PROTOCOLS, Hello, Welcome
from gateway.protocol.limits import BYTES_IN_MAX, BYTES_OUT_MAX, DEPTH_MAX

API_VERSION: Final = "1.0.0"
"""Version of the protocol; the package has its own."""

Schema = dict[str, Any]
"""A JSON Schema, or a part of a document made of them."""

CLIENT_FRAMES: Final[tuple[type[Any], ...]] = get_args(frames.ClientFrame)
GATEWAY_FRAMES: Final[tuple[type[Any], ...]] = get_args(frames.GatewayFrame)


def frame_schemas() -> dict[str, Schema]:
    """Return the schemas of all frames and resources, and of their parts, by name."""
    found = schemas_of((*CLIENT_FRAMES, *GATEWAY_FRAMES, *RESOURCES.values()))
    found |= {_patch_name(of): _patch_of(found[of.__name__]) for of in RESOURCES.values()}
    found["Changes"]["properties"]["put"] = _by_key(lambda of: of.__name__)
    found["Changes"]["properties"]["patch"] = _by_key(_patch_name)
    found["CommandFrame"]["properties"]["command"] = _one_of(frames.COMMANDS.values())
    return found | {"ClientFrame": _one_of(CLIENT_FRAMES), "GatewayFrame": _one_of(GATEWAY_FRAMES)}


def _one_of(types: Iterable[type[Any]]) -> Schema:
    """Return a union that `kind` discriminates: *discriminator* is AsyncAPI's, JSON Schema ignores it."""
    return {"oneOf": [ref(of.__name__) for of in types], "discriminator": "kind"}


def _patch_name(of: type[Any]) -> str:
    return f"{of.__name__}Patch"


def _patch_of(resource: Schema) -> Schema:
    """Return the schema of fields that changed: each may be there, and null clears it."""
    fields = {name: _or_null(field) for name, field in resource["properties"].items()}
    title = f"{resource['title']}Patch"
    return {"description": "The fields that changed; null clears one.", "properties": fields, "title": title,
            "type": "object"}  # fmt: skip


def _or_null(field: Schema) -> Schema:
    """Return *field* so that it may be null, too."""
    kind = field.get("type")
    if isinstance(kind, str) and kind != "object":
        return field | {"type": [kind, "null"]}
    if "$ref" in field or kind == "object":  # generators lose the values of an object that has two types
        beside = {name: value for name, value in field.items() if name.startswith("x-")}
        inner = {name: value for name, value in field.items() if name not in beside}
        return {"anyOf": [inner, {"type": "null"}], **beside}
    return field  # it is nullable already


def schemas_of(types: Iterable[type[Any]]) -> dict[str, Schema]:
    """Return the schemas of dataclasses and of their parts by name; references lead to components."""
    wanted = tuple(dict.fromkeys(types))
    _, made = TypeAdapter.json_schemas(
        [(of.__name__, "validation", TypeAdapter(of)) for of in wanted],
        ref_template="#/components/schemas/{model}",
        schema_generator=_WithoutDefaults,
    )
    schemas: dict[str, Schema] = made["$defs"]
    for part in {part for of in wanted for part in _dataclasses(of)}:
        _mark(schemas[part.__name__], part)
    enums: dict[str, Schema] = {}
    for name, schema in schemas.items():
        for field, described in schema.get("properties", {}).items():
            schema["properties"][field] = _for_generators(described, name, field, enums)
    return schemas | enums


INT64: Final = frozenset({"after", "upto", "seq", "version", "if_version"})
"""Integers beyond 32 bits, besides instants."""
ENUMS: Final[dict[tuple[str, ...], str]] = {
    ("self", "supervisor", "system", "unknown"): "RequestedBy",
    ("never", "after", "log_on"): "ReconnectAdvice",
    ("available", "unavailable", "work"): "OwnRoutingState",
    ("available", "unavailable", "work", "logged_off"): "RequestedRoutingState",
    ("voice", "callback", "email", "web_collaboration", "open_media", "unknown"): "Medium",
    ("privacy", "security", "maintenance"): "NoticeCategory",
    ("applied", "pending", "unchanged", "rejected", "unknown"): "OutcomeStatus",
    ("live", "stale", "down"): "UpstreamHealth",
    ("live", "degraded", "down"): "BusHealth",
    ("now", "after_contact"): "CommandTime",
}
"""Names of enumerations that several fields have, or whose field gives a bad name."""


def _for_generators(field: Schema, owner: str, name: str, enums: dict[str, Schema]) -> Schema:
    """Return *field* as generators of models understand it best; it describes the same values.

    A null beside one type stands in `type`, instants have 64 bits, and enumerations have names, which are
    added to *enums*.
    """
    match field:
        case {"anyOf": [inner, {"type": "null"}]} if "anyOf" not in inner:
            beside = {key: value for key, value in field.items() if key != "anyOf"}
            plain = _for_generators(inner, owner, name, enums)
            return _or_null(plain) | beside
        case {"enum": list(values)} if all(isinstance(value, str) for value in values):
            called = ENUMS.get(tuple(values)) or f"{owner}{name.title().replace('_', '')}"
            enums[called] = {"enum": values, "title": called, "type": "string"}
            beside = {key: value for key, value in field.items() if key not in {"enum", "type"}}
            return ref(called) | beside
        case {"type": "integer"} if name.endswith("_ms") or name in INT64:
            return field | {"format": "int64"}
        case _:
            return field


def ref(name: str) -> Schema:
    """Return a reference to the component *name*."""
    return {"$ref": f"#/components/schemas/{name}"}


def _by_key(name_of: Callable[[type[Any]], str]) -> Schema:
    """Return the schema of resources by key; a later gateway may send keys that are not listed."""
    patterns = {
        f"^{prefix}:[0-9]+$" if prefix in _HAVE_IDS else f"^{prefix}$": ref(name_of(of))
        for prefix, of in RESOURCES.items()
    }
    return {"type": "object", "patternProperties": patterns, "additionalProperties": {"type": "object"}}


_HAVE_IDS: Final = frozenset({"agent", "queue", "group", "aggregate"})


class _WithoutDefaults(GenerateJsonSchema):
    """Leaves out titles that repeat names, and defaults: absent means null, whatever Python calls it."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's signature
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def _mark(schema: Schema, of: type[Any]) -> None:
    """Add which members are always there, and how each may be handled."""
    required = [field.name for field in dataclasses.fields(of) if _is_required(field)]
    if required:
        schema["required"] = required
    for field in dataclasses.fields(of):
        privacy = field.metadata.get("privacy")
        if isinstance(privacy, Privacy):
            schema["properties"][field.name]["x-privacy"] = privacy.value


def _is_required(field: dataclasses.Field[Any]) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return False
    return (
        field.default is dataclasses.MISSING or bool(field.default) or frames.ALWAYS_WRITTEN in field.metadata
    )


def _dataclasses(hint: object) -> Iterator[type[Any]]:
    """Give the dataclasses that *hint* consists of, itself and the parts of parts included."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
        for inner in get_type_hints(hint).values():
            yield from _dataclasses(inner)
    for inner in get_args(hint):
        yield from _dataclasses(inner)


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
    """Return the whole document, seen from the gateway: it *receives* client frames and *sends* its own."""
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
            "receive": _operation("receive", "What a client sends", CLIENT_FRAMES),
            "send": _operation("send", "What the gateway sends", GATEWAY_FRAMES),
        },
        "components": {
            "schemas": frame_schemas(),
            "messages": {of.__name__: _message(of) for of in (*CLIENT_FRAMES, *GATEWAY_FRAMES)},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
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
        "description": f"The first frame is `{_kind(Hello)}`, answered by `{_kind(Welcome)}` and `changes`.",
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


def _operation(action: str, summary: str, of: tuple[type[Any], ...]) -> Schema:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": f"#/channels/{_CHANNEL}"},
        "messages": [{"$ref": f"#/channels/{_CHANNEL}/messages/{each.__name__}"} for each in of],
        "security": [{"$ref": "#/components/securitySchemes/token"}],
    }


def _message(of: type[Any]) -> Schema:
    return {
        "name": _kind(of),
        "title": of.__name__,
        "payload": {"$ref": f"#/components/schemas/{of.__name__}"},
    }


def _kind(of: type[Any]) -> str:
    return str(of.__dataclass_fields__["kind"].default)
