"""Messages of an OSCC-E Server, independent of its wire.

The vocabulary of the ports in :mod:`gateway.runtime.ports`, with :mod:`gateway.domain.commands`
for what the gateway asks. An adapter maps its wire's names to these types; no floor above it uses the wire's.
Instants are ms since 1970: of the link in the *server's* clock, of log-on and log-off in the gateway's.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Literal

from gateway.domain.errors import EndReason
from gateway.domain.model import (
    Application,
    Device,
    Kind,
    Right,
    Scope,
    SessionId,
    SessionSecret,
    User,
    value,
)
from gateway.domain.resources import (
    Agent,
    Aggregate,
    FunctionState,
    Group,
    LastEnd,
    Queue,
    QueueEntry,
    QueueFigures,
    QueueWindow,
)


class Feature(enum.StrEnum):
    """What a server may or may not be able to do; a missing one is not offered."""

    SKILLS = "skills"
    ROUTING_PARAMETERS = "routing_parameters"
    POST_PROCESSING_START = "post_processing.start"
    POST_PROCESSING_EXTEND = "post_processing.extend"
    POST_PROCESSING_FINISH = "post_processing.finish"
    POST_PROCESSING_SET_AUTO = "post_processing.set_auto"
    REMOTE_AGENT = "remote_agent"
    LINK_FENCING = "link_fencing"
    REQUEST_KEYS = "request_keys"


@dataclass(frozen=True, slots=True)
class About:
    """Which server this is; versions were checked by the adapter."""

    extensions_version: str
    contact_center_version: str
    features: frozenset[Feature]
    server: str | None = None
    """The server's instance, if it sends one: another one after a restart, which forgets all sessions."""


# ---- log-on and log-off (request and response) ----


@dataclass(frozen=True, slots=True, repr=False)
class LogOn:
    """Credentials on their one way in. Lives for one request; its repr shows nothing."""

    application: Application
    user_name: str
    password: str
    device: Device
    remote_number: str | None = None
    takeover: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class LoggedOn:
    """A session that OSCC-E has opened."""

    secret: SessionSecret
    session: SessionId
    expires_at_ms: int
    idle_timeout_s: int
    user: User
    remote_number: str | None
    """The number in effect."""
    server: str | None = None
    """The server's instance, if it sends one."""


@dataclass(frozen=True, slots=True)
class LoggedOff:
    """What OSCC-E says of a session's end: is anything still routed to the remote number?"""

    routing: Literal["removed", "after_contact", "none"]
    routed_until_ms: int | None


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One of a user's sessions as OSCC-E lists them."""

    session: SessionId
    application: Application
    device: Device
    since_ms: int
    attached: bool


# ---- the link ----


class Source(enum.StrEnum):
    """Which piece of a resource a part carries."""

    __hash__ = str.__hash__  # as of Kind

    DIRECTORY = "directory"
    REALTIME = "realtime"
    CUMULATIVE = "cumulative"
    CONFIGURATION = "configuration"


@value(eq=False)
class Part:
    """One piece of one resource, as one server message carried it.

    *value* holds the fields of its source only; the others are at their defaults. Links that received the
    same bytes share one Part.
    """

    kind: Kind
    number: int
    source: Source
    value: Agent | Queue | QueueEntry | QueueFigures | QueueWindow | Group | Aggregate
    remote_number: str | None = field(default=None, repr=False)
    """Of the own agent's realtime part only."""


@dataclass(frozen=True, slots=True)
class Attached:
    """OSCC-E has accepted a session on this link."""

    alias: int
    session: SessionId
    application: Application | None
    """As the server calls it; None: the gateway has no name for it. Its session is known to the caller."""
    rights: frozenset[Right]
    scope: Scope
    own_agent: int | None


@dataclass(frozen=True, slots=True)
class Opened:
    """The link is open; always its first message."""

    time_ms: int
    keep_alive_s: float
    user: User
    attached: Attached
    last_end: LastEnd | None
    server: str | None = None
    """The server's instance, if it sends one."""


@value()
class Reading:
    """Parts of one kind and source, read at *time_ms*.

    *complete*: the whole set of the query. A user absent from a complete realtime set is
    logged off, other kinds absent are gone; *removed* says the same of single ones.
    """

    query: int
    kind: Kind | None
    """None for configuration, which covers several kinds."""
    source: Source
    time_ms: int
    complete: bool
    parts: tuple[Part, ...]
    removed: tuple[int, ...] = ()
    steps: list[object] | None = field(default_factory=list, compare=False, repr=False)
    """What it has led to for links that received its bytes: :class:`gateway.core.element.ReadingStep`. None
    for a single part that only one link is known to have received."""


@dataclass(frozen=True, slots=True)
class ObjectChanged:
    """A directory object was added, changed (with its *part*) or removed (without)."""

    kind: Kind
    number: int
    part: Part | None


@dataclass(frozen=True, slots=True)
class CatalogueChanged:
    """Skills, reasons or routing parameters changed: query them again."""


@dataclass(frozen=True, slots=True)
class ScopeChanged:
    """A session's rights or scope changed in place."""

    alias: int
    rights: frozenset[Right]
    scope: Scope


FunctionName = Literal[
    "realtime",
    "historical",
    "routing",
    "administration",
    "voice",
    "email",
    "callback",
    "web_collaboration",
    "remote_agent",
]


@dataclass(frozen=True, slots=True)
class FunctionChanged:
    """A function of the server went up or down."""

    function: FunctionName
    state: FunctionState


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """OSCC-E ended a session."""

    alias: int
    reason: EndReason
    by: str | None


@dataclass(frozen=True, slots=True)
class LinkReplaced:
    """Another link with *token* took this one's place; the link is closed."""

    token: int


Category = Literal["privacy", "security", "maintenance"]


@dataclass(frozen=True, slots=True)
class Announced:
    """The server has something to say to people: shown at once, kept nowhere."""

    id: str
    version: int
    category: Category
    title: str
    summary: str
    link: str | None
    effective_at_ms: int | None


LinkEvent = (
    Opened
    | Reading
    | ObjectChanged
    | CatalogueChanged
    | ScopeChanged
    | FunctionChanged
    | SessionEnded
    | LinkReplaced
    | Announced
)


Trouble = Literal["dns", "refused", "tls", "timeout", "connection", "unreadable", "status", "other"]
"""Why no usable answer came: the name is not found, nobody listens, the certificate or the protocol is not
accepted, nothing came in time, the connection broke or could not be made otherwise, what came is no answer of
an OSCC-E Server, it is an HTTP status that says so, or it is not known."""


class UnreachedError(Exception):
    """No usable answer came: the cause of the error that says so. Its text holds no value."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble)
        self.trouble: Trouble = trouble


def trouble_of(error: BaseException) -> Trouble:
    """Return why no usable answer came, by the causes of *error*."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UnreachedError):
            return cause.trouble
        cause = cause.__cause__
    return "other"


class LinkClosed(Exception):  # noqa: N818 - names what happened, as asyncio.CancelledError's kin do
    """The link is gone. Whatever was asked and not answered may have happened.

    Args:
        reason: ``session_unknown``, ``stale`` (another holder's token is higher), ``unavailable``,
            ``version_unsupported``, ``unfenced`` or ``lost``.
        token: The highest token, when *reason* is ``stale``.
        retry_after_s: How long the server asked to wait before the next dial.
    """

    def __init__(
        self,
        reason: Literal["session_unknown", "stale", "unavailable", "version_unsupported", "lost"],
        *,
        token: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.token = token
        self.retry_after_s = retry_after_s
