"""The WebSocket as an AsyncAPI 3.0 document."""

from __future__ import annotations

from typing import Any, Final

from gateway.domain.errors import CloseCode, verdict
from gateway.protocol.frames import JSON_PROTOCOL, MSGPACK_PROTOCOL, PROTOCOLS, Hello, Welcome
from gateway.protocol.limits import BYTES_IN_MAX, BYTES_OUT_MAX, DEPTH_MAX
from gateway.protocol.schemas import (
    API_VERSION,
    CLIENT_FRAMES,
    GATEWAY_FRAMES,
    Schema,
    frame_schemas,
)

_CHANNEL: Final = "realtime"
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
