"""Write docs/oscce-link.schema.json: each message of the reference link, and the type of each field.

What a server says is described by the types by which the gateway reads it, so what is published is what is
checked; a test holds what the gateway says to the types that stand here. Without arguments it writes the
schema; with ``--check`` it writes nothing and fails when the file is stale.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.upstream.oscce import decode, directory, errors, http, messages
from gateway.upstream.oscce.decode import Key, Millis, Seconds, WireElement

# ruff: noqa: SLF001 - the schema shows the adapter's own types

FILE: Final = Path(__file__).parents[1] / "oscce-link.schema.json"
Schema = dict[str, Any]

Alias = Annotated[int, msgspec.Meta(ge=-decode.MOST, le=decode.MOST)]
Number = Annotated[int, msgspec.Meta(ge=1, le=decode.MOST)]
Word = Annotated[str, msgspec.Meta(min_length=1)]
Scalar = bool | int | float | str | None
Target = Literal["Available", "Unavailable", "Work", "LoggedOff"]


# ---- what the gateway says ----


class Request(WireElement, tag_field="Type", tag="Request"):
    """A request; `NotAfter` and `RequestKey` stand in commands alone, the key on servers that know it."""

    request_id: Number
    method: str


class Attach(Request):
    """Method `AttachSession`."""

    session_id: Word


class Detach(Request):
    """Method `DetachSession`."""

    session: Alias


class Presence(Request):
    """Method `Presence`."""

    session: Alias
    present: bool


class ListenForEvents(Request):
    """Method `ListenForEvents`."""

    event_type: str
    keys: tuple[Key, ...] | Literal["All"]


class StopListeningForEvents(Request):
    """Method `StopListeningForEvents`."""

    query_id: Alias


class QueryDirectory(Request):
    """Method `QueryDirectory`."""

    kinds: tuple[str, ...]


class KeepAlive(Request):
    """Method `KeepAlive`."""


class Command(Request, kw_only=True):
    """A request that changes something."""

    session: Alias
    not_after: Millis
    request_key: Word | msgspec.UnsetType = msgspec.UNSET


class SetRoutingState(Command, kw_only=True):
    """Method `SetRoutingState`."""

    user_key: Key
    routing_state: Target
    when: Literal["Now", "AfterContact"]
    reason_key: Key | msgspec.UnsetType = msgspec.UNSET


class SkillChange(WireElement):
    """One skill of `SetSkills`; a `Level` of null takes it away."""

    skill_key: Key
    level: int | None
    preference: int | msgspec.UnsetType = msgspec.UNSET
    active: bool | msgspec.UnsetType = msgspec.UNSET


class SetSkills(Command, kw_only=True):
    """Method `SetSkills`."""

    user_key: Key
    mode: Literal["Patch", "Replace"]
    skills: tuple[SkillChange, ...]
    version: int


class SetRoutingParameters(Command, kw_only=True):
    """Method `SetRoutingParameters`."""

    object_type: Literal["Queue", "Group"]
    key: Key
    parameters: dict[str, Scalar | tuple[Scalar, ...]]
    version: int


class PostProcessing(Command, kw_only=True):
    """Method `PostProcessing`."""

    action: Literal["Start", "Extend", "Finish", "SetAuto"]
    until: Millis | msgspec.UnsetType = msgspec.UNSET
    next_state: Target | msgspec.UnsetType = msgspec.UNSET
    wrapup_reason_keys: tuple[Key, ...] | msgspec.UnsetType = msgspec.UNSET
    on: bool | msgspec.UnsetType = msgspec.UNSET
    duration: Seconds | msgspec.UnsetType = msgspec.UNSET


class ChangeRemoteNumber(Command, kw_only=True):
    """Method `ChangeRemoteNumber`."""

    remote_number: Word


REQUESTS: Final[Mapping[str, type[Request]]] = {
    "AttachSession": Attach,
    "DetachSession": Detach,
    **{
        of.__name__: of
        for of in (
            Presence,
            ListenForEvents,
            StopListeningForEvents,
            QueryDirectory,
            KeepAlive,
            SetRoutingState,
            SetSkills,
            SetRoutingParameters,
            PostProcessing,
            ChangeRemoteNumber,
        )
    },
}
"""Every method, and how it is asked for."""


class LogOnDevice(WireElement):
    """The device of a log-on."""

    id: str
    name: str


class LogOn(WireElement, kw_only=True):
    """The body of `POST /oscce/v1/sessions`."""

    application: Literal["Dashboard", "RemoteAssistant"]
    user_name: Word
    password: Word
    device: LogOnDevice
    remote_number: Word | msgspec.UnsetType = msgspec.UNSET
    takeover: bool | msgspec.UnsetType = msgspec.UNSET


# ---- what the server says ----

MESSAGES: Final = (
    messages._LinkOpened,
    messages._Event,
    messages._Response,
    messages._SessionEnded,
    messages._ManagerStateChanged,
    messages._LinkReplaced,
    directory.Notice,
)
ELEMENTS: Final[Mapping[str, type[WireElement]]] = {
    "UserRealtime": decode.UserRealtime,
    "QueueRealtime": decode.QueueRealtime,
    "GroupRealtime": decode.GroupRealtime,
    "AggregateRealtime": decode.AggregateRealtime,
    "UserCumulative": decode.UserCumulative,
    "QueueCumulative": decode.QueueCumulative,
    "Configuration": decode._Configuration,
    "Administration": directory._Change,
}
"""Event type → its elements."""
OBJECTS: Final[Mapping[str, type[WireElement]]] = {
    "User": directory._User,
    "Queue": directory._Queue,
    "Group": directory._Group,
    "Aggregate": directory._Aggregate,
    "Skill": directory._Skill,
    **dict.fromkeys(directory.REASON_KINDS, directory._Reason),
    "RoutingParameter": directory._RoutingParameter,
}
"""Kind of the directory → its objects."""
DONE: Final = messages._Done
ANSWERS: Final[Mapping[str, type[WireElement] | None]] = {
    "AttachSession": directory.ServerSession,
    "ListenForEvents": messages._Query,
    "QueryDirectory": directory._Queried,
    **dict.fromkeys(("DetachSession", "Presence", "StopListeningForEvents", "KeepAlive"), None),
    **dict.fromkeys(
        ("SetRoutingState", "SetSkills", "SetRoutingParameters", "PostProcessing", "ChangeRemoteNumber"), DONE
    ),
}
"""Method → what its answer holds beside a response's own fields."""
BODIES: Final[Mapping[str, type[BaseModel]]] = {
    "GET /oscce/v1/about": http._About,
    "POST /oscce/v1/sessions": http._LoggedOn,
    "DELETE /oscce/v1/sessions/current": http._LoggedOff,
    "DELETE /oscce/v1/sessions/{ID}": http._Ended,
    "GET /oscce/v1/sessions": http._Sessions,
    "POST /oscce/v1/sessions/current/keepalive": http._KeptAlive,
}
"""Route → the body of its success."""
NAMES: Final[Mapping[type[WireElement], str]] = {
    directory._User: "DirectoryUser",
    directory._Queue: "DirectoryQueue",
    directory._Group: "DirectoryGroup",
    directory._Aggregate: "DirectoryAggregate",
    directory._Change: "Administration",
    decode._PostProcessing: "PresentPostProcessing",
    directory._Queried: "DirectoryAnswer",
    directory._Catalogues: "DirectoryObjects",
    messages._Query: "ListeningAnswer",
    DONE: "CommandAnswer",
    Attach: "AttachSession",
    Detach: "DetachSession",
    directory.ServerSession: "AttachedSession",
    errors.WireRefusal: "ErrorDetails",
}
_STATES: Final = tuple(decode.ROUTING_STATES)
WORDS: Final[Mapping[str, Iterable[str]]] = {
    "Application": decode.APPLICATIONS,
    "SessionEnded.Reason": decode.END_REASONS,
    "LastEnd.Reason": decode.END_REASONS,
    "Function": decode.FUNCTIONS,
    "ManagerStateChanged.State": decode.FUNCTION_STATES,
    "EventType": ELEMENTS,
    "RoutingState": _STATES,
    "PendingRoutingState": _STATES,
    "RoutingStateBy": decode.ACTORS,
    "PendingBy": decode.ACTORS,
    "HandlingState": decode.HANDLING_STATES,
    "Handling.Media": decode.MEDIA,
    "DirectoryQueue.Media": decode.MEDIA,
    "Level": ("Ok", "Attention", "Action"),
    "Change": ("Added", "Changed", "Removed"),
    "CommandAnswer.State": ("Applied", "Pending", "Unchanged"),
    "Configuration.ObjectType": ("User", "Queue", "Group"),
    "Administration.ObjectType": (*directory.DIRECTORY_KINDS, "Session"),
    "Category": decode.CATEGORIES,
}
"""Field → words that the gateway knows; another one counts as unknown."""


_INSTANCE: Final[Schema] = {"anyOf": [{"type": "string", "pattern": "^[!-~]{1,64}$"}, {"type": "null"}]}
_SCALAR: Final[Schema] = {"type": ["boolean", "number", "string", "null"]}
_VALUE: Final[Schema] = {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}
_TEXT: Final[Schema] = {"type": ["string", "null"]}
_INSTANT: Final[Schema] = {"type": ["integer", "null"], "minimum": 0, "maximum": 8_640_000_000_000_000}
_VERSION: Final[Schema] = {"type": "string", "pattern": "^V[0-9]{1,4}R[0-9]{1,4}$"}
FIELDS: Final[Mapping[str, Schema]] = {
    "LinkOpened.ServerInstance": _INSTANCE,
    "LinkOpened.LinkID": _TEXT,
    "Person.Department": _TEXT,
    "ManagerStateChanged.Manager": {
        "type": "string",
        "examples": ["Administration", "Routing", "Media", "Statistics"],
    },
    "Response.Time": _INSTANT,
    "Response.Error": {"type": "integer", "default": 0, "examples": sorted({0, *errors.NAMES})},
    "Response.ErrorName": _TEXT | {"examples": list(errors.NAMES.values())},
    "AttachedSession.Rights": {"type": ["array", "null"], "items": {"type": "string"}},
    "Administration.Rights": {"type": ["array", "null"], "items": {"type": "string"}},
    "RoutingParameter.Default": _VALUE,
    "RoutingParameter.Values": {"type": ["array", "null"], "items": _SCALAR},
    "Configuration.RoutingParameters": {"type": ["object", "null"], "additionalProperties": _VALUE},
    "ListenForEvents.EventType": {"enum": list(ELEMENTS)},
    "QueryDirectory.Kinds": {"type": "array", "items": {"enum": list(OBJECTS)}},
    "BodyAbout.Product": _TEXT,
    "BodyAbout.Protocol": {"const": http.PROTOCOL},
    "BodyAbout.ExtensionsVersion": _VERSION,
    "BodyAbout.ContactCenterVersion": _VERSION,
    "BodyAbout.ServerInstance": _INSTANCE,
    "BodyLoggedOn.ServerInstance": _INSTANCE,
    "BodyUser.Department": _TEXT,
}
"""Fields that the gateway checks otherwise than by their type, and those that it does not read."""


class Types:
    """Schemas of structs by name, each with those that it consists of."""

    def __init__(self) -> None:
        self.found: dict[str, Schema] = {}

    def ref(self, of: type[WireElement]) -> Schema:
        """Return a reference to the schema of *of*, which is made with the first one."""
        name = NAMES.get(of, of.__name__.lstrip("_"))
        if name not in self.found:
            self.found[name] = {}
            self.found[name] = self._struct(of, name)
        return {"$ref": f"#/$defs/{name}"}

    def _struct(self, of: type[WireElement], name: str) -> Schema:
        hints = get_type_hints(of, include_extras=True)
        properties: dict[str, Schema] = {}
        required: list[str] = []
        if of.__struct_config__.tag_field is not None:
            properties["Type"] = {"const": of.__struct_config__.tag}
            required.append("Type")
        for field in msgspec.structs.fields(of):
            shown = self._raw(name, field.encode_name) or self.of(hints[field.name])
            shown = FIELDS.get(f"{name}.{field.encode_name}", shown)
            words = WORDS.get(f"{name}.{field.encode_name}") or WORDS.get(field.encode_name)
            if words and "string" in json.dumps(shown):
                shown = {**shown, "examples": list(words)}
            properties[field.encode_name] = shown
            if field.required:
                required.append(field.encode_name)
        properties |= _unread(name, properties)
        schema: Schema = {"type": "object", "properties": properties, "required": required}
        return {"description": " ".join((of.__doc__ or "").split()), **schema} if of.__doc__ else schema

    def _raw(self, name: str, field: str) -> Schema | None:
        """Return the schema of what is read later, or by another type."""
        match name, field:
            case "Event", "Elements":
                return {"type": "array", "items": {"anyOf": [self.ref(of) for of in ELEMENTS.values()]}}
            case "Scoped", _:
                keys = {"type": "array", "items": self.of(Key | None)}
                return {"anyOf": [keys, {"type": "null"}]}
            case "DirectoryObjects", _:
                rows = {"type": "array", "items": self.ref(OBJECTS[field])}
                return {"anyOf": [rows, {"type": "null"}]}
            case "Administration", "Object":
                objects = [self.ref(OBJECTS[kind]) for kind in decode.KINDS]
                return {"anyOf": [*objects, {"type": "null"}]}
            case _:
                return None

    def of(self, hint: Any) -> Schema:  # noqa: ANN401 - any annotation
        """Return the schema of a type."""
        origin, inner = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self.of(inner[0]) | _bounds(inner[1:])
        if origin in (Union, types.UnionType):
            kinds = [self.of(each) for each in inner if each is not msgspec.UnsetType]
            return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
        if origin is Literal:
            return {"enum": list(inner)}
        if origin is tuple:
            return {"type": "array", "items": self.of(inner[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self.of(inner[1])}
        if isinstance(hint, type) and issubclass(hint, WireElement):
            return self.ref(hint)
        return {} if hint is Any else {"type": _TYPES[hint]}


_TYPES: Final = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
_BOUNDS: Final = {
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "min_length": "minLength",
}


def _unread(name: str, known: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the fields of the page that the gateway does not read here."""
    of = {place.partition(".")[2]: shown for place, shown in FIELDS.items() if place.startswith(f"{name}.")}
    return {field: shown for field, shown in of.items() if field not in known}


def _bounds(metas: Iterable[object]) -> Schema:
    return {
        shown: getattr(meta, name)
        for meta in metas
        if isinstance(meta, msgspec.Meta)
        for name, shown in _BOUNDS.items()
        if getattr(meta, name) is not None
    }


def schema() -> Schema:
    """Return the whole document."""
    made = Types()
    server = [made.ref(of) for of in MESSAGES]
    gateway: list[Schema] = []
    for method, of in REQUESTS.items():
        gateway.append(made.ref(of))
        made.found[NAMES.get(of, of.__name__)]["properties"]["Method"] = {"const": method}
    elements = {name: made.ref(of) for name, of in ELEMENTS.items()}
    answers = {method: None if of is None else made.ref(of) for method, of in ANSWERS.items()}
    made.ref(LogOn)
    made.ref(errors.WireRefusal)
    bodies, definitions = _bodies()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The reference link protocol v1",
        "description": (
            "Every message of docs/oscce-link.md, field by field. What a server says is described as the"
            " gateway reads it: without a required field a message cannot be read; any other field may be"
            " absent or null, and then nothing is known of it. An integer may be written as 10.0. Fields that"
            " do not stand here are ignored; words beside the examples count as unknown."
        ),
        "anyOf": [{"$ref": "#/$defs/ServerMessage"}, {"$ref": "#/$defs/GatewayMessage"}],
        "x-elements": elements,
        "x-answers": answers,
        "x-bodies": bodies,
        "$defs": {
            "ServerMessage": {"oneOf": server},
            "GatewayMessage": {"oneOf": gateway},
            **dict(sorted({**made.found, **definitions}.items())),
        },
    }


def _bodies() -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Return the bodies of HTTPS answers, by route, and their parts."""
    kinds: dict[type[BaseModel], None] = dict.fromkeys(BODIES.values())
    _, document = models_json_schema([(of, "validation") for of in kinds], ref_template="#/$defs/Body{model}")
    text = json.dumps(document["$defs"]).replace("#/$defs/Body_", "#/$defs/Body")
    definitions: dict[str, Schema] = {
        f"Body{name.lstrip('_')}": body for name, body in json.loads(text).items()
    }
    for title, body in definitions.items():
        body.pop("title", None)
        for name, field in body["properties"].items():
            field.pop("title", None)
            field.pop("default", None)
            field.update(FIELDS.get(f"{title}.{name}", {}))
        body["properties"] |= _unread(title, body["properties"])
    routes = {route: {"$ref": f"#/$defs/Body{of.__name__.lstrip('_')}"} for route, of in BODIES.items()}
    return routes, definitions


def main(arguments: list[str]) -> int:
    """Write the schema, or check it. Returns the exit code."""
    text = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    if arguments == ["--check"]:
        present = FILE.read_text("utf-8") if FILE.exists() else ""
        if text != present:
            print("docs/oscce-link.schema.json: stale; run make diagrams")
        return int(text != present)
    FILE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
