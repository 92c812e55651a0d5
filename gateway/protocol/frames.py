"""Frames: messages between a phone and the gateway.

There is one immutable type per frame kind; unknown fields are ignored. :mod:`gateway.protocol.codec` reads
and writes frames; it makes a `changes` frame of fragments, without :class:`Changes`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, Strict, TypeAdapter

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

_IGNORE_UNKNOWN: Final = ConfigDict(extra="ignore")


# ---- phone → gateway ----


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """A phone's position: *stream* is opaque to it, *seq* is the last `upto` that it applied."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    stream: Annotated[str, Strict(), Field(max_length=64)]
    seq: Seq


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """The client program."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    app: Annotated[str, Strict(), Field(max_length=64)]
    version: Annotated[str, Strict(), Field(max_length=32)]
    platform: Annotated[str, Strict(), Field(max_length=32)]


@dataclass(frozen=True, slots=True, repr=False)
class Hello:
    """First frame of a phone. Its repr shows no token."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
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

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    id: Id
    topics: Topics
    kind: Literal["follow"] = "follow"


@dataclass(frozen=True, slots=True)
class Pace:
    """Requests at most one state frame in *every_s*."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    every_s: Annotated[float, Strict(), Field(ge=0, le=60)]
    kind: Literal["pace"] = "pace"


@dataclass(frozen=True, slots=True)
class CommandFrame:
    """One intended action. *id* pairs the result on this socket, *key* identifies the action for good."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
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

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    nonce: Annotated[str, Strict(), Field(max_length=64)] | None = None
    kind: Literal["pong"] = "pong"


@dataclass(frozen=True, slots=True)
class Resync:
    """Asks for a reset."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    kind: Literal["resync"] = "resync"


@dataclass(frozen=True, slots=True)
class ClientBye:
    """The phone goes to the background or leaves; this is no log-off."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
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

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    topic: str
    reason: str


@dataclass(frozen=True, slots=True)
class GrantedTopics:
    """The granted and the refused topics."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    granted: tuple[str, ...]
    refused: tuple[RefusedTopic, ...]


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as its phone sees it."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    id: str
    application: Application
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class UserView:
    """The session's user."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    user_id: str
    display_name: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one connection."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
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

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
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

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
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

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
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

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    id: str
    topics: GrantedTopics
    kind: Literal["followed"] = "followed"


@dataclass(frozen=True, slots=True)
class OutcomeView:
    """The outcome of a command. *error* is ``{code, message, …details}``."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    status: OutcomeStatus
    error: dict[str, Any] | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """Exactly one per command; the state it caused has been sent before it."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    id: str
    outcome: OutcomeView
    kind: Literal["result"] = "result"


@dataclass(frozen=True, slots=True)
class NoticeFrame:
    """A message for people."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    id: str
    version: int
    category: Category
    title: str
    summary: str
    link: str | None
    effective_at_ms: int
    must_acknowledge: bool
    kind: Literal["notice"] = "notice"


@dataclass(frozen=True, slots=True, repr=False)
class Renewed:
    """A new token that replaces the phone's. Its repr shows no token."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    token: str
    expires_at_ms: int
    kind: Literal["renewed"] = "renewed"


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """A frame that could not be served; the connection stays open."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    code: str
    message: str
    id: str | None = None
    retry_after_s: float | None = None
    kind: Literal["error"] = "error"


@dataclass(frozen=True, slots=True)
class Bye:
    """Precedes a close with the same *code*; *min_s* … *max_s* is the advised window."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
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
