"""JSON Schemas of frames, resources and bodies, and the data inventory.

They are made from the types and the privacy class of every field, so that published and checked forms are the
same. The inventory gives purpose, place, retention and recipients of all personal data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, get_args, get_type_hints

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from gateway.domain.resources import RESOURCES, Privacy, Resource
from gateway.protocol import frames

API_VERSION: Final = "1.0.0"
"""Version of the protocol; the package has its own."""

Schema = dict[str, Any]
"""A JSON Schema, or a part of a document made of them."""
_COMPONENT: Final = "#/components/schemas/"

CLIENT_FRAMES: Final[tuple[type[Any], ...]] = get_args(frames.ClientFrame)
GATEWAY_FRAMES: Final[tuple[type[Any], ...]] = get_args(frames.GatewayFrame)


def frame_schemas() -> dict[str, Schema]:
    """Return the schemas of all frames and resources, and of their parts, by name."""
    found = schemas_of((*CLIENT_FRAMES, *GATEWAY_FRAMES, *RESOURCES.values()))
    found |= {_patch_name(of): _patch_of(found[of.__name__]) for of in RESOURCES.values()}
    found["Changes"]["properties"]["put"] = _by_key(lambda of: of.__name__)
    found["Changes"]["properties"]["patch"] = _by_key(_patch_name)
    found["CommandFrame"]["properties"]["command"] = ref("Command")
    found["OutcomeView"]["properties"]["error"] = ref(_OUTCOME_ERROR["title"])
    unions = {
        "ClientFrame": CLIENT_FRAMES,
        "Command": frames.COMMANDS.values(),
        "GatewayFrame": GATEWAY_FRAMES,
    }
    return (
        found
        | {_OUTCOME_ERROR["title"]: _OUTCOME_ERROR}
        | {name: _one_of(name, of) for name, of in unions.items()}
    )


_OUTCOME_ERROR: Final[Schema] = {
    "title": "OutcomeError",
    "description": "Why a command was not carried out, or may not have been. Details stand beside the code.",
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "retry_after_s": {"type": "number"},
    },
}


def _one_of(title: str, types: Iterable[type[Any]]) -> Schema:
    """Return a union that `kind` discriminates: *discriminator* is AsyncAPI's, JSON Schema ignores it."""
    return {"title": title, "oneOf": [ref(of.__name__) for of in types], "discriminator": "kind"}


def _patch_name(of: type[Any]) -> str:
    return f"{of.__name__}Patch"


def _patch_of(resource: Schema) -> Schema:
    """Return the schema of changed fields: each is optional, and null clears it."""
    fields = {name: _or_null(field) for name, field in resource["properties"].items()}
    title = f"{resource['title']}Patch"
    return {"description": "The fields that changed; null clears one.", "properties": fields, "title": title,
            "type": "object"}  # fmt: skip


def _or_null(field: Schema) -> Schema:
    """Return *field* with null allowed, too."""
    kind = field.get("type")
    if isinstance(kind, str) and kind != "object":
        return field | {"type": [kind, "null"]}
    if "$ref" in field or kind == "object":  # generators lose the values of an object that has two types
        beside = {
            name: value for name, value in field.items() if name.startswith("x-") or name == "description"
        }
        inner = {name: value for name, value in field.items() if name not in beside}
        return {"anyOf": [inner, {"type": "null"}], **beside}
    return field  # it is nullable already


def schemas_of(types: Iterable[type[Any]]) -> dict[str, Schema]:
    """Return the schemas of dataclasses and of their parts by name; references lead to components."""
    wanted = tuple(dict.fromkeys(types))
    _, made = TypeAdapter.json_schemas(
        [(of.__name__, "validation", TypeAdapter(of)) for of in wanted],
        ref_template=_COMPONENT + "{model}",
        schema_generator=_WithoutDefaults,
    )
    schemas: dict[str, Schema] = made["$defs"]
    for part in {part for of in wanted for part in _dataclasses(of)}:
        _mark(schemas[part.__name__], part)
    named: dict[str, Schema] = {}
    for name, schema in schemas.items():
        always = schema.get("required", ())
        for field, described in schema.get("properties", {}).items():
            plain = _for_generators(described, name, field, named)
            schema["properties"][field] = plain if field in always else _without_null(plain)
    return schemas | named


def _without_null(field: Schema) -> Schema:
    """Return an optional field without its null: absent means the same, and a generator needs no union."""
    match field:
        case {"anyOf": [dict(inner), {"type": "null"}]}:
            return {**inner} | {key: value for key, value in field.items() if key != "anyOf"}
        case _:
            return field


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


def ref(name: str) -> Schema:
    """Return a reference to the component *name*."""
    return {"$ref": _COMPONENT + name}


def _parameter(one: str, several: str) -> dict[str, Schema]:
    """Return the values of routing parameters under the names *one* and *several*."""
    plain = [{"type": "boolean"}, {"type": "integer"}, {"type": "number"}, {"type": "string"}]
    null = {"type": "null"}
    many = {"type": "array", "items": ref(one)}
    return {
        one: {"title": one, "anyOf": [*plain, null]},
        several: {"title": several, "anyOf": [*plain, many, null]},
    }


PARAMETERS: Final = _parameter("ParameterScalar", "ParameterValue")
"""Values of routing parameters, by name."""


def _is_parameter(field: Schema) -> bool:
    """Return whether *field* is a value of a routing parameter, as the types have it."""
    kinds = [each.get("type") for each in field.get("anyOf", ())]
    return kinds == [each["type"] for each in PARAMETERS["ParameterValue"]["anyOf"]]


def _for_generators(field: Schema, owner: str, name: str, named: dict[str, Schema]) -> Schema:
    """Return *field* in the form that suits generators of models; it describes the same values.

    A null beside one type is in `type`, instants have 64 bits, and enumerations and unions have names, which
    are added to *named*.
    """
    match field:
        case {"anyOf": _} if _is_parameter(field):
            named |= PARAMETERS
            return ref("ParameterValue") | {key: value for key, value in field.items() if key != "anyOf"}
        case {"const": str()}:
            return field | {"title": f"{owner}{name.title()}", "type": "string"}
        case {"additionalProperties": dict(inner)}:
            return field | {"additionalProperties": _for_generators(inner, owner, name, named)}
        case {"type": "array", "items": dict(inner)} if _is_parameter(inner):
            return field | {"items": _for_generators(inner, owner, name, named)}
        case {"anyOf": [inner, {"type": "null"}]} if "anyOf" not in inner:
            beside = {key: value for key, value in field.items() if key != "anyOf"}
            plain = _for_generators(inner, owner, name, named)
            return _or_null(plain) | beside
        case {"enum": list(values)} if all(isinstance(value, str) for value in values):
            called = ENUMS.get(tuple(values)) or f"{owner}{name.title().replace('_', '')}"
            named[called] = {"enum": values, "title": called, "type": "string"}
            beside = {key: value for key, value in field.items() if key not in {"enum", "type"}}
            return ref(called) | beside
        case {"type": "integer"} if name.endswith("_ms") or name in INT64:
            return field | {"format": "int64"}
        case _:
            return field


def _by_key(name_of: Callable[[type[Any]], str]) -> Schema:
    """Return the schema of resources by key; a later gateway may send keys that are not listed."""
    patterns = {
        f"^{prefix}:[0-9]+$" if prefix in _HAVE_IDS else f"^{prefix}$": ref(name_of(of))
        for prefix, of in RESOURCES.items()
    }
    return {"type": "object", "patternProperties": patterns, "additionalProperties": {"type": "object"}}


_HAVE_IDS: Final = frozenset({"agent", "queue", "group", "aggregate"})


class _WithoutDefaults(GenerateJsonSchema):
    """Leaves out titles that repeat names, and defaults: absent means null."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002 - pydantic's signature
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def _mark(schema: Schema, of: type[Any]) -> None:
    """Add which members are required, their meanings and their privacy classes."""
    required = [field.name for field in dataclasses.fields(of) if _is_required(field)]
    if required:
        schema["required"] = required
    for field in dataclasses.fields(of):
        privacy = field.metadata.get("privacy")
        if isinstance(privacy, Privacy):
            extra = {"description": field.metadata["meaning"], "x-privacy": privacy.value}
            schema["properties"][field.name] |= extra


def _is_required(field: dataclasses.Field[Any]) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return False
    return (
        field.default is dataclasses.MISSING or bool(field.default) or frames.ALWAYS_WRITTEN in field.metadata
    )


def _dataclasses(hint: object) -> Iterator[type[Any]]:
    """Yield the dataclasses of *hint*: itself and all its parts."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
        for inner in get_type_hints(hint).values():
            yield from _dataclasses(inner)
    for inner in get_args(hint):
        yield from _dataclasses(inner)


# ---- documents of one schema each ----

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def kind_of(of: type[Any]) -> str:
    """Return the `kind` of a type of frames."""
    return str(of.__dataclass_fields__["kind"].default)


def schema_index() -> Schema:
    """Return the list of JSON Schemas, each with its path."""
    sent = {kind_of(each) for each in GATEWAY_FRAMES}
    received = {kind_of(each) for each in CLIENT_FRAMES}
    kinds = [
        *((kind, "frame" if kind in sent else "client_frame") for kind in sorted(received)),
        *((kind, "gateway_frame") for kind in sorted(sent - received)),
        *((kind, "resource") for kind in RESOURCES),
    ]
    entries = [{"kind": kind, "of": of, "href": f"/v1/schemas/{kind}.json"} for kind, of in kinds]
    return {"schemas": entries}


def whole_schemas() -> dict[str, Schema]:
    """Return a JSON Schema for each kind of frame and of resource, complete in itself."""
    components = frame_schemas()
    return {kind: _document(names, components) for kind, names in _types_by_kind().items()}


def _types_by_kind() -> dict[str, list[str]]:
    """Return the types of each kind. `bye` has two, as both sides send it."""
    by_kind: dict[str, list[str]] = {key: [of.__name__] for key, of in RESOURCES.items()}
    for of in (*CLIENT_FRAMES, *GATEWAY_FRAMES):
        by_kind.setdefault(kind_of(of), []).append(of.__name__)
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


# ---- the data inventory ----


@dataclass(frozen=True, slots=True)
class InventoryEntry:
    """One category of data. *fields* are named as the protocol names them."""

    category: str
    privacy: Privacy
    fields: tuple[str, ...]
    purpose: str
    source: str
    held_in: str
    held_for: str
    seen_by: str


@dataclass(frozen=True, slots=True)
class InventoryBody:
    """``GET /v1/privacy/inventory``."""

    entries: tuple[InventoryEntry, ...]


def inventory() -> InventoryBody:
    """Return the whole data inventory."""
    mirrored = [entry for name, of in RESOURCES.items() for entry in _of_resource(name, of)]
    return InventoryBody((*mirrored, *_BESIDE_THE_MIRROR))


# ---- resources, from the classes of their fields ----


def classified(
    of: type[Any], prefix: str = "", outer: Privacy = Privacy.NEUTRAL
) -> Iterator[tuple[str, Privacy]]:
    """Yield the path and privacy class of every field of a resource, including its parts.

    A part is handled as strictly as the field that holds it.

    Raises:
        TypeError: A field has no class.
    """
    hints = get_type_hints(of)
    for field in dataclasses.fields(of):
        privacy = field.metadata.get("privacy")
        if not isinstance(privacy, Privacy):
            raise TypeError(f"{of.__name__}.{field.name} has no privacy class")
        part, many = part_of(hints[field.name])
        if part is None:
            yield prefix + field.name, stricter(privacy, outer)
        else:
            path = f"{prefix}{field.name}{'[]' if many else ''}."
            yield from classified(part, path, stricter(privacy, outer))


_STRICTNESS: Final = (Privacy.NEUTRAL, Privacy.PERSONAL, Privacy.REALTIME, Privacy.CREDENTIAL)


def stricter(one: Privacy, other: Privacy) -> Privacy:
    """Return the stricter of two classes."""
    return max(one, other, key=_STRICTNESS.index)


def part_of(hint: object) -> tuple[type[Any] | None, bool]:
    """Return the dataclass inside *hint*, if any, and whether there are many of it."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return hint, False
    for inner in get_args(hint):
        part, many = part_of(inner)
        if part is not None:
            return part, many or getattr(hint, "__origin__", None) is tuple
    return None, False


_CONTACT_CENTRE: Final = "the contact centre, over the user's own link"
_PURPOSES: Final = {
    "agent": "show supervisors and agents whom contacts can be routed to, and let them change it",
    "queue": "show the state of queues",
    "group": "show the state of groups",
    "aggregate": "show figures over several queues",
    "site": "show which functions of the contact centre work",
    "me": "show users their own account and rights",
    "catalogue:skills": "name skills",
    "catalogue:reasons": "name reasons of routing states",
    "catalogue:routing_parameters": "name routing parameters and their bounds",
}
_MEMORY: Final = "memory of the nodes that serve the user; sealed between nodes; on no disk, in no log"
_WHILE_LINKED: Final = (
    "while the user's link is open: at most 90 s after their last device left, 15 min for a Remote Assistant"
    " (up to 3 min more on a node that does not get its core)"
)
_IN_SCOPE: Final = "the user's own sessions, within the scope that the contact centre grants"


def _of_resource(name: str, of: type[Resource]) -> Iterator[InventoryEntry]:
    by_class: dict[Privacy, list[str]] = {}
    for path, privacy in classified(of):
        by_class.setdefault(privacy, []).append(path)
    for privacy, paths in sorted(by_class.items(), key=lambda found: _STRICTNESS.index(found[0])):
        yield InventoryEntry(
            category=f"{name}.{privacy}",
            privacy=privacy,
            fields=tuple(paths),
            purpose=_PURPOSES[name],
            source=_CONTACT_CENTRE,
            held_in=_MEMORY,
            held_for=_WHILE_LINKED,
            seen_by=_IN_SCOPE,
        )


# ---- what is handled beside the mirror ----

_BESIDE_THE_MIRROR: Final = (
    InventoryEntry(
        category="log_on",
        privacy=Privacy.CREDENTIAL,
        fields=("site", "application", "user_name", "password"),
        purpose="log on to the contact centre",
        source="the user, at log-on",
        held_in="memory of the node that serves the request",
        held_for="one request",
        seen_by="the contact centre",
    ),
    InventoryEntry(
        category="token",
        privacy=Privacy.CREDENTIAL,
        fields=(
            "site", "user_id", "display_name", "application", "session_secret", "session_id",
            "device.id", "device.name", "server_instance", "accepted_notices", "issued_at_ms",
            "expires_at_ms",
        ),
        purpose="let the phone come back without a log-on",
        source="the contact centre's answer to the log-on",
        held_in="the phone, sealed; memory of the nodes that serve the session",
        held_for="the life of the session at the contact centre; at the phone until log-off",
        seen_by="nobody: only nodes can open it",
    ),
    InventoryEntry(
        category="remote_number",
        privacy=Privacy.PERSONAL,
        fields=("remote_number",),
        purpose="route contacts to a Remote Assistant",
        source="the user, at log-on",
        held_in=_MEMORY,
        held_for="until the log-off is confirmed or the session ends",
        seen_by="the contact centre; the user's Remote Assistant; the user's other sessions, "
        "masked to 3 digits",
    ),
    InventoryEntry(
        category="device",
        privacy=Privacy.PERSONAL,
        fields=("device.id", "device.name", "device.platform", "device.app_version"),
        purpose="distinguish the user's sessions, keep one socket per device, refuse apps that are too old",
        source="the phone, at log-on",
        held_in="the token; memory of the node that serves the phone; the contact centre's list of sessions",
        held_for="the life of the session",
        seen_by="the user, in the list of their sessions",
    ),
    InventoryEntry(
        category="connection",
        privacy=Privacy.PERSONAL,
        fields=("network_address",),
        purpose="limit connections and log-ons for each address",
        source="the network",
        held_in="memory of the node; keyed hashes in Redis; truncated in logs",
        held_for="minutes; the count of its log-ons up to 10 h; in logs as long as the operator keeps them",
        seen_by="operators, truncated; whole in an export of the user's data",
    ),
    InventoryEntry(
        category="failed_log_ons",
        privacy=Privacy.PERSONAL,
        fields=("site", "user_name"),
        purpose="stop the guessing of passwords before the account is locked",
        source="failed log-ons",
        held_in="keyed hashes in memory and Redis, with a count",
        held_for="at most one day after the last failure",
        seen_by="nobody: hashes only",
    ),
    InventoryEntry(
        category="known_devices",
        privacy=Privacy.PERSONAL,
        fields=("site", "user_name", "device_id"),
        purpose="let a person log on from a device of their own while others guess the password",
        source="log-ons that succeeded",
        held_in="one keyed hash of the three in Redis, or in memory of a single node",
        held_for="14 days",
        seen_by="nobody: hashes only",
    ),
    InventoryEntry(
        category="ended_sessions",
        privacy=Privacy.PERSONAL,
        fields=("user_hash", "session_hash", "reason", "by"),
        purpose="refuse the tokens of sessions that have ended, and show the phone why and by whom",
        source="the user, a supervisor, or the contact centre",
        held_in="keyed hashes in memory of the nodes, with the reason and who ended the session; in Redis "
        "a keyed hash and the reason, sealed",
        held_for="one day longer than the token's life: until then it may be shown for a log-off",
        seen_by="the phone whose token is refused: the reason and who ended its session",
    ),
    InventoryEntry(
        category="command_outcomes",
        privacy=Privacy.REALTIME,
        fields=("key", "outcome"),
        purpose="prevent that a command is carried out twice",
        source="the user's commands",
        held_in="memory of the node with the link, with a hash of the command's body",
        held_for="10 min",
        seen_by="the session that sent the command",
    ),
    InventoryEntry(
        category="session_log",
        privacy=Privacy.PERSONAL,
        fields=("user_hash", "application", "close_code", "statistics"),
        purpose="operate the gateway and find faults",
        source="the gateway",
        held_in="one log line at the end of each connection, with a keyed hash of the user, without content; "
        "the last 10,000 of them in memory of the node, and the last 500 other log lines, which name users "
        "by the same hash",
        held_for="as long as the operator keeps logs; in memory 24 h, removed at the next "
        "end of a connection or request for them, at most until the node ends",
        seen_by="operators",
    ),
    InventoryEntry(
        category="audit_log",
        privacy=Privacy.PERSONAL,
        fields=("user_hash", "session_hash", "act", "masked_number", "result"),
        purpose="account for changes of remote numbers and for acts of operators",
        source="the gateway",
        held_in="one numbered log line for each act, with a keyed hash of the user and the last "
        "3 digits of a number",
        held_for="as long as the operator keeps logs",
        seen_by="operators",
    ),
    InventoryEntry(
        category="pending_log_offs",
        privacy=Privacy.CREDENTIAL,
        fields=("site", "user_id", "session_secret", "session_id"),
        purpose="confirm every log-off, so that no number stays routed after it",
        source="log-offs that the contact centre did not confirm",
        held_in="memory of the node that retries it; sealed in Redis, without any name",
        held_for="until it is confirmed, at most the life of the session; its confirmation for 20 "
        "min, as a hash",
        seen_by="nobody; operators see the count",
    ),
    InventoryEntry(
        category="remembered_ids",
        privacy=Privacy.PERSONAL,
        fields=("site", "user_id", "session_id", "scope"),
        purpose="store equal ids and views once, however many phones use them",
        source="tokens, and the contact centre's answers",
        held_in="memory of the node, without names",
        held_for="until newer ones replace them, at most until the node ends",
        seen_by="nobody",
    ),
    InventoryEntry(
        category="number_changes",
        privacy=Privacy.PERSONAL,
        fields=("user_id", "changed_at"),
        purpose="limit changes of a remote number to three an hour",
        source="the user's commands",
        held_in="memory of the node with the link; for log-ons, keyed hashes in memory and Redis; "
        "the number itself is not kept here",
        held_for="1 h",
        seen_by="nobody",
    ),
    InventoryEntry(
        category="places_in_the_cluster",
        privacy=Privacy.PERSONAL,
        fields=("user_hash", "node", "epoch"),
        purpose="keep exactly one link per user, and find the node that has it",
        source="the gateway",
        held_in="keyed hashes as names in Redis; memory of the nodes",
        held_for="seconds to minutes, the last epoch 30 days: each expires in Redis by itself; "
        "in memory while it is used",
        seen_by="nobody: hashes only",
    ),
    InventoryEntry(
        category="asterisk_database",
        privacy=Privacy.PERSONAL,
        fields=(
            "login", "session_hash", "session_id", "application", "device.id", "device.name", "since_ms",
            "expires_at_ms", "remote_number", "routed_until",
        ),
        purpose="at a site that is an Asterisk: keep sessions over restarts, and route calls to a Remote "
        "Assistant",
        source="the user, at log-on",
        held_in="the database of the Asterisk (AstDB), on its disk: the families oscc-session, oscc-number "
        "and oscc-until; memory of the nodes",
        held_for="until log-off, the idle timeout or the end of the session's life",
        seen_by="administrators of the Asterisk; AMI accounts with write=system",
    ),
    InventoryEntry(
        category="people_file",
        privacy=Privacy.CREDENTIAL,
        fields=("login", "name", "password_hash", "interfaces", "queues", "sees"),
        purpose="at a site that is an Asterisk: decide who may log on, and what each person may see",
        source="the administrator of the gateway",
        held_in="the file that sites.asterisk.people_file names; memory of the nodes",
        held_for="until the administrator removes the person",
        seen_by="administrators of the gateway's machines",
    ),
    InventoryEntry(
        category="support_bundle",
        privacy=Privacy.PERSONAL,
        fields=("user_hash", "application", "close_code", "statistics"),
        purpose="find a fault together with a supporter of the gateway",
        source="the operator's command",
        held_in="a file that an operator requested and saw before; about people it has the "
        "content of session_log",
        held_for="until its holder deletes it; the date of expiry stands in it",
        seen_by="the recipients that the operator chooses",
    ),
    InventoryEntry(
        category="traces",
        privacy=Privacy.PERSONAL,
        fields=(
            "trace_id", "name", "started_at", "ended_at", "http.response.status_code", "oscc.command",
            "oscc.link", "error.type",
        ),
        purpose="see where log-ons, commands and takeovers lose time",
        source="the gateway, only with the extra otel and tracing.endpoint; for a log-on the "
        "phone may choose the trace_id",
        held_in="memory of the node, then the collector that the operator chose; "
        "without user, session, device, name, number or address",
        held_for="seconds; as long as the collector's operator keeps it",
        seen_by="operators of the collector; for a log-on the contact centre gets the trace_id",
    ),
)  # fmt: skip
