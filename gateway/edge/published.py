"""Which documents does the gateway publish about itself?

Made from the protocol's types, once, when first asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Final

from gateway.domain.resources import RESOURCES
from gateway.protocol import http_form, json_form
from gateway.protocol.asyncapi import asyncapi
from gateway.protocol.inventory import inventory
from gateway.protocol.openapi import openapi
from gateway.protocol.schemas import CLIENT_FRAMES, GATEWAY_FRAMES, Schema, frame_schemas, ref

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_COMPONENT: Final = "#/components/schemas/"


class Published:
    """The documents, as they are sent."""

    @cached_property
    def openapi(self) -> bytes:
        """The HTTP API as OpenAPI."""
        return json_form.write(openapi())

    @cached_property
    def inventory(self) -> bytes:
        """The inventory of personal data."""
        return http_form.write_body(inventory())

    @cached_property
    def asyncapi(self) -> bytes:
        """The WebSocket as AsyncAPI."""
        return json_form.write(asyncapi())

    @cached_property
    def schemas(self) -> dict[str, bytes]:
        """A JSON Schema for each kind of frame and of resource, complete in itself."""
        components = frame_schemas()
        return {
            kind: json_form.write(_document(names, components)) for kind, names in _types_by_kind().items()
        }


def _types_by_kind() -> dict[str, list[str]]:
    """Return the types of each kind; `bye` has two, as both sides say it."""
    by_kind: dict[str, list[str]] = {key: [of.__name__] for key, of in RESOURCES.items()}
    for of in (*CLIENT_FRAMES, *GATEWAY_FRAMES):
        by_kind.setdefault(str(of.__dataclass_fields__["kind"].default), []).append(of.__name__)
    return by_kind


def _document(names: list[str], components: dict[str, Schema]) -> Schema:
    needed = dict.fromkeys(names)
    waiting = list(names)
    while waiting:
        for name in _references(components[waiting.pop()]):
            if name not in needed:
                needed[name] = None
                waiting.append(name)
    of = ref(names[0]) if len(names) == 1 else {"anyOf": [ref(name) for name in names]}
    return {
        "$schema": _DIALECT,
        **of,
        "components": {"schemas": {name: components[name] for name in needed}},
    }


def _references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for name, inner in part.items():
            if name == "$ref" and isinstance(inner, str):
                yield inner.removeprefix(_COMPONENT)
            else:
                yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)
