"""Frames: messages between a phone and the gateway.

There is one immutable type per frame kind; unknown fields are ignored. :mod:`gateway.protocol.codec` reads
and writes frames; it makes a `changes` frame of fragments, without :class:`Changes`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BeforeValidator, Field, Strict, TypeAdapter, ValidationError

from gateway.domain.commands import RULES, Command
from gateway.domain.model import Application, Right
from gateway.domain.upstream import Category


def absent(sent: object) -> object:
    """Read null for a flag that was not sent."""
    return False if sent is None else sent


JSON_PROTOCOL: Final = "oscc.v1.json"
MSGPACK_PROTOCOL: Final = "oscc.v1.msgpack"
PROTOCOLS: Final = (JSON_PROTOCOL, MSGPACK_PROTOCOL)

INT_MAX: Final = 2**53 - 1
"""Largest integer that every client can hold (RFC 8259 §6)."""

TOPICS_MAX: Final = 64

ALWAYS_WRITTEN: Final = "always_written"
"""Metadata of a field that is null in the frame when it has no value."""

Id = Annotated[str, Strict(), Field(min_length=1, max_length=128)]
Topic = Annotated[str, Strict(), Field(min_length=1, max_length=128)]
Flag = Annotated[bool, BeforeValidator(absent), Strict()]
Topics = Annotated[tuple[Topic, ...], Field(max_length=TOPICS_MAX)]
Seq = Annotated[int, Strict(), Field(ge=0, le=INT_MAX)]
CommandKey = Annotated[
    str,
    Strict(),
    Field(pattern=r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"),
]

# ---- phone → gateway ----


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """A phone's position: *stream* is opaque to it, *seq* is the last `upto` that it applied."""

    stream: Annotated[str, Strict(), Field(max_length=64)]
    seq: Seq


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """The client program."""

    app: Annotated[str, Strict(), Field(max_length=64)]
    version: Annotated[str, Strict(), Field(max_length=32)]
    platform: Annotated[str, Strict(), Field(max_length=32)]


@dataclass(frozen=True, slots=True, repr=False)
class Hello:
    """First frame of a phone. Its repr shows no token."""

    client: ClientInfo
    token: Annotated[str, Strict(), Field(max_length=4096)] | None = None
    topics: Topics | None = None
    position: StreamPosition | None = None
    pace_s: Annotated[float, Strict(), Field(ge=0, le=60)] | None = None
    ping_s: Annotated[float, Strict(), Field(ge=10, le=55)] | None = None
    kind: Literal["hello"] = "hello"


@dataclass(frozen=True, slots=True)
class Follow:
    """Replaces the set of topics."""

    id: Id
    topics: Topics
    kind: Literal["follow"] = "follow"


@dataclass(frozen=True, slots=True)
class Pace:
    """Requests at most one state frame in *every_s*."""

    every_s: Annotated[float, Strict(), Field(ge=0, le=60)]
    kind: Literal["pace"] = "pace"


@dataclass(frozen=True, slots=True)
class CommandFrame:
    """One intended action. *id* pairs the result on this socket, *key* identifies the action for good."""

    id: Id
    key: CommandKey
    stream: Annotated[str, Strict(), Field(max_length=64)]
    expires_at_ms: Seq
    command: Annotated[Command, Field(discriminator="kind")]
    retry: Flag = False
    kind: Literal["command"] = "command"


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers a ping."""

    nonce: Annotated[str, Strict(), Field(max_length=64)] | None = None
    kind: Literal["pong"] = "pong"


@dataclass(frozen=True, slots=True)
class Resync:
    """Asks for a reset."""

    kind: Literal["resync"] = "resync"


@dataclass(frozen=True, slots=True)
class ClientBye:
    """The phone goes to the background or leaves; this is no log-off."""

    kind: Literal["bye"] = "bye"


COMMANDS: Final[dict[str, type[Command]]] = {
    str(field.default): of for of in RULES for field in fields(of) if field.name == "kind"
}
"""The offered kinds of commands, each with its type."""

ClientFrame = Hello | Follow | Pace | CommandFrame | Pong | Resync | ClientBye
Serviceable = Follow | Pace | CommandFrame | Resync
"""Frames that a live session serves; the others concern the connection only."""
CLIENT_FRAME: Final[TypeAdapter[ClientFrame]] = TypeAdapter(
    Annotated[ClientFrame, Field(discriminator="kind")]
)


# ---- gateway → phone ----


@dataclass(frozen=True, slots=True)
class RefusedTopic:
    """A refused topic and the reason."""

    topic: str
    reason: str


@dataclass(frozen=True, slots=True)
class GrantedTopics:
    """The granted and the refused topics."""

    granted: tuple[str, ...]
    refused: tuple[RefusedTopic, ...]


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as its phone sees it."""

    id: str
    application: Application
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class UserView:
    """The session's user."""

    user_id: str
    display_name: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one connection."""

    frame_bytes_in: int
    frame_bytes_out: int
    frames_per_s: float
    frames_burst: int
    topics: int
    commands_in_flight: int
    devices: int


@dataclass(frozen=True, slots=True)
class Welcome:
    """The session is served. A `changes` frame always follows."""

    session: SessionView
    user: UserView
    rights: tuple[Right, ...]
    application: Application
    topics: GrantedTopics
    resumed: bool
    server_time_ms: int
    ping_s: float
    pace_s: float
    limits: Limits
    kind: Literal["welcome"] = "welcome"


@dataclass(frozen=True, slots=True)
class Changes:
    """State that changed in ``(after, upto]``.

    The protocol's page has the rules of resets, splits and streams.
    """

    after: int
    upto: int
    stream: str | None = None
    reset: bool = False
    more: bool = False
    put: dict[str, dict[str, Any]] = field(default_factory=dict)
    patch: dict[str, dict[str, Any]] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    kind: Literal["changes"] = "changes"


HealthStatus = Literal["live", "stale", "down"]
BusHealth = Literal["live", "degraded", "down"]
OutcomeStatus = Literal["applied", "pending", "unchanged", "rejected", "unknown"]
ReconnectRule = Literal["never", "after", "log_on"]


@dataclass(frozen=True, slots=True)
class Ping:
    """An empty `changes` with the age of the data. *as_of_ms* is None before the first snapshot."""

    after: int
    upto: int
    nonce: str
    as_of_ms: int | None
    upstream: HealthStatus
    bus: BusHealth
    server_time_ms: int
    kind: Literal["ping"] = "ping"


@dataclass(frozen=True, slots=True)
class Followed:
    """Answers `follow`; puts of keys gained and `gone` of keys left follow it."""

    id: str
    topics: GrantedTopics
    kind: Literal["followed"] = "followed"


@dataclass(frozen=True, slots=True)
class OutcomeView:
    """The outcome of a command. *error* is ``{code, message, …details}``."""

    status: OutcomeStatus
    error: dict[str, Any] | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """Exactly one per command; the state it caused has been sent before it."""

    id: str
    outcome: OutcomeView
    kind: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class NoticeView:
    """A message for people."""

    id: str
    version: int
    category: Category
    title: str
    summary: str
    link: str | None
    effective_at_ms: int
    must_acknowledge: bool


@dataclass(frozen=True, slots=True)
class NoticeFrame(NoticeView):
    """A message for people."""

    kind: Literal["notice"] = "notice"


@dataclass(frozen=True, slots=True, repr=False)
class Renewed:
    """A new token that replaces the phone's. Its repr shows no token."""

    token: str
    expires_at_ms: int
    kind: Literal["renewed"] = "renewed"


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """A frame that could not be served; the connection stays open."""

    code: str
    message: str
    id: str | None = None
    retry_after_s: float | None = None
    kind: Literal["error"] = "error"


@dataclass(frozen=True, slots=True)
class Bye:
    """Precedes a close with the same *code*; *min_s* … *max_s* is the advised window."""

    code: int
    reason: str
    reconnect: ReconnectRule
    by: str | None = None
    min_s: float | None = field(default=None, metadata={ALWAYS_WRITTEN: True})
    max_s: float | None = field(default=None, metadata={ALWAYS_WRITTEN: True})
    kind: Literal["bye"] = "bye"


GatewayFrame = Welcome | Changes | Ping | Followed | Result | NoticeFrame | Renewed | ErrorFrame | Bye
ControlFrame = Welcome | Followed | Result | NoticeFrame | Renewed | ErrorFrame | Bye
GATEWAY_FRAME: Final[TypeAdapter[GatewayFrame]] = TypeAdapter(
    Annotated[GatewayFrame, Field(discriminator="kind")]
)

_LATER: Final[dict[str, dict[str, tuple[frozenset[str], str | None]]]] = {
    "welcome": {"rights": (frozenset(Right), None)},
    "ping": {
        "upstream": (frozenset(get_args(HealthStatus)), "stale"),
        "bus": (frozenset(get_args(BusHealth)), "degraded"),
    },
    "result": {"status": (frozenset(get_args(OutcomeStatus)), "unknown")},
    "notice": {"category": (frozenset(get_args(Category)), "maintenance")},
    "bye": {"reconnect": (frozenset(get_args(ReconnectRule)), "after")},
}
"""Kind of frame → field → its known values, and the one that replaces others; None: others are left out."""


def replace_later_values(frame: dict[str, Any]) -> None:
    """Replace the values of enumerations in *frame* that a later gateway added by known ones."""
    kind = frame.get("kind")
    outcome = frame.get("outcome") if kind == "result" else frame
    if not isinstance(kind, str) or not isinstance(outcome, dict):
        return
    for name, (known, other) in _LATER.get(kind, {}).items():
        value = outcome.get(name)
        if isinstance(value, str) and value not in known:
            outcome[name] = other
        elif isinstance(value, list) and other is None:
            outcome[name] = [each for each in value if not isinstance(each, str) or each in known]


# ---- faults of members ----

_FAULTS: Final = {
    "missing": "is missing",
    "union_tag_not_found": "has no kind",
    "unexpected_keyword_argument": "is not known here",
    "string_type": "is not a text",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_type": "is not a number",
    "finite_number": "is not a number",
    "bool_type": "is neither true nor false",
    "dataclass_type": "is not an object",
    "dict_type": "is not an object",
    "tuple_type": "is not a list",
    "enum": "is not {expected}",
    "literal_error": "is not {expected}",
    "greater_than": "is not more than {gt}",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
    "string_too_short": "is empty",
    "string_too_long": "is longer than {max_length} characters",
    "too_long": "has more than {max_length} elements",
    "string_pattern_mismatch": "does not have the right form",
}
"""The fault of a member, by pydantic's name for it; in braces: our own bounds, never a sent value.

No text must be longer than one character.
"""


def what_is_wrong(error: ValidationError) -> tuple[tuple[str, ...], str, str]:
    """Return the path to the first wrong member, pydantic's name of the fault, and the end of a sentence."""
    fault = error.errors(include_url=False, include_input=False)[0]
    what = _FAULTS.get(fault["type"], "has a value that is not allowed").format(**fault.get("ctx", {}))
    return tuple(map(str, fault["loc"])), fault["type"], what
