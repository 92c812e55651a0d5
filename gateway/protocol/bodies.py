"""Bodies of the HTTP API and of the admin API.

One immutable type per body. A body of a client is checked strictly; its unknown members are ignored. A
body of an operator may have no unknown member: a misspelt option must not be ignored.
They are read by the rules of :mod:`gateway.protocol.codec`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, readable
from gateway.protocol.codec import (
    BadFrame,
    check_size,
    check_value,
    plain_fields,
    read_json,
    write_json,
)
from gateway.protocol.frames import (
    COMMANDS,
    INT_MAX,
    PROTOCOLS,
    Flag,
    NoticeView,
    SessionView,
    UserView,
    what_is_wrong,
)

NOTICES_MAX: Final = 32
"""Most notices that one log-on may name as acknowledged."""

_Name = Annotated[str, Strict(), Field(min_length=1, max_length=256)]
_Word = Annotated[str, Strict(), Field(min_length=1, max_length=64)]
_Id = Annotated[str, Strict(), Field(min_length=1, max_length=128)]
_Count = Annotated[int, Strict(), Field(ge=0, le=INT_MAX)]
_Password = Annotated[str, Strict(), Field(max_length=1024, json_schema_extra={"writeOnly": True})]


# ---- phone → gateway ----


@dataclass(frozen=True, slots=True)
class DeviceBody:
    """The phone's own description. *id* stays the same as long as the app is installed."""

    id: _Id
    name: Annotated[str, Strict(), Field(max_length=128), AfterValidator(readable)]
    platform: _Word
    app_version: _Word


@dataclass(frozen=True, slots=True)
class NoticeReference:
    """One version of a notice."""

    id: _Id
    version: _Count


@dataclass(frozen=True, slots=True, repr=False)
class LogOnBody:
    """``POST /v1/sessions``. Its repr shows nothing that identifies or authenticates a person."""

    site: _Word
    application: Application
    user_name: _Name
    password: _Password
    device: DeviceBody
    remote_number: Annotated[str, Strict(), Field(max_length=64)] | None = None
    takeover: Flag = False
    accepted_notices: Annotated[tuple[NoticeReference, ...], Field(max_length=NOTICES_MAX)] | None = None

    def __repr__(self) -> str:
        return f"LogOnBody({self.site}, {self.application})"


LOG_ON: Final[TypeAdapter[LogOnBody]] = TypeAdapter(LogOnBody)


# ---- gateway → phone ----


@dataclass(frozen=True, slots=True)
class SiteView:
    """A site that phones may log on to."""

    id: str
    display_name: str
    applications: tuple[Application, ...]


@dataclass(frozen=True, slots=True)
class PrivacyView:
    """Contact for questions about personal data, and the address of the statement."""

    contact: str | None
    statement_url: str | None


@dataclass(frozen=True, slots=True)
class AboutBody:
    """``GET /v1/about``.

    *trusted_transport*: whether this connection is encrypted, as far as the gateway can see.
    """

    name: str
    version: str
    sites: tuple[SiteView, ...]
    trusted_transport: bool
    privacy: PrivacyView
    protocols: tuple[str, ...] = PROTOCOLS
    capabilities: tuple[str, ...] = tuple(COMMANDS)
    """The offered kinds of commands."""
    client_may_keep: tuple[str, ...] = ("address", "login_data", "session_token")
    client_must_not_keep: tuple[str, ...] = ("realtime_data",)


@dataclass(frozen=True, slots=True)
class NoticesBody:
    """``GET /v1/notices``."""

    notices: tuple[NoticeView, ...]


@dataclass(frozen=True, slots=True, repr=False)
class SessionCreated:
    """``POST /v1/sessions`` → 201. *remote_number* is the one in effect. Its repr shows no secret."""

    token: str
    session: SessionView
    user: UserView
    remote_number: str | None = None

    def __repr__(self) -> str:
        return f"SessionCreated({self.session.application})"


@dataclass(frozen=True, slots=True)
class SessionBody:
    """``GET /v1/session``: user, application and end of life of the session."""

    session: SessionView
    user: UserView


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device as its user named it."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """One of the user's sessions. *attached*: a link serves it; *current*: it sent the request."""

    id: str
    application: Application
    device: DeviceView
    since_ms: int
    attached: bool
    current: bool


@dataclass(frozen=True, slots=True)
class SessionsBody:
    """``GET /v1/sessions``."""

    sessions: tuple[SessionEntry, ...]


@dataclass(frozen=True, slots=True)
class LogOffPending:
    """A session was ended → 202: calls may come until *routed_until_ms*; None is unknown.

    *retry_after_s*: when to repeat the request; older gateways do not send it.
    """

    routed_until_ms: int | None
    state: Literal["pending"] = "pending"
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class ExportEntry:
    """Data of one category of the data inventory, as plain members."""

    category: str
    held: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ExportBody:
    """``GET /v1/me/export``: one entry for each category of the inventory, also for empty ones.

    *complete*: all nodes have answered.
    """

    user: UserView
    at_ms: int
    entries: tuple[ExportEntry, ...]
    complete: bool = True


PURPOSE_CHARS_MAX: Final = 200
_STRICT: Final = ConfigDict(extra="forbid")
_NodeName = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Purpose = Annotated[str, Strict(), Field(min_length=1, max_length=PURPOSE_CHARS_MAX)]
_Digest = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{64}$")]


# ---- operator → gateway ----


@dataclass(frozen=True, slots=True)
class NodeBody:
    """``POST /drain`` and ``POST /reload``: the node, if not the default."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    node: _NodeName | None = None


@dataclass(frozen=True, slots=True)
class LogLevelBody:
    """``POST /log-level``; without *node* all nodes."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    level: Literal["debug", "info", "warning", "error"]
    node: _NodeName | None = None


@dataclass(frozen=True, slots=True)
class BundleBody:
    """``POST /support-bundle``: a *preview*, or the *digest* of one, which is written then."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    preview: Flag = False
    purpose: _Purpose | None = None
    digest: _Digest | None = None


NODE: Final[TypeAdapter[NodeBody]] = TypeAdapter(NodeBody)
LOG_LEVEL: Final[TypeAdapter[LogLevelBody]] = TypeAdapter(LogLevelBody)
BUNDLE: Final[TypeAdapter[BundleBody]] = TypeAdapter(BundleBody)


# ---- gateway → operator ----


@dataclass(frozen=True, slots=True)
class Unreached:
    """A node that did not answer, and the reason."""

    node: str
    reason: Literal["not_heard", "no_answer", "bus_down", "refused"]


@dataclass(frozen=True, slots=True)
class AttachedSession:
    """A session that OSCC-E has accepted. *user* is a keyed hash, the same as in logs.

    *owner* is the node with the user's link, *node* the one with the phone's connection; None: the phone
    left, and may come back. *attached*: the present link serves it.
    """

    id: str
    user: str
    site: str
    application: Application
    owner: str
    node: str | None
    attached: bool
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class AttachedBody:
    """``GET /sessions``. *next*: the key for the next page; absent on the last page."""

    sessions: tuple[AttachedSession, ...]
    unreached: tuple[Unreached, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that is over for the gateway.

    *confirmed*: OSCC-E has confirmed that nothing is routed; otherwise the request is repeated. *by_node*:
    the requesting node.
    """

    id: str
    user: str
    application: Application
    by_node: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class EndedBody:
    """``DELETE /sessions/{id}`` and ``POST /users/{id}/end``."""

    ended: tuple[EndedSession, ...]
    unreached: tuple[Unreached, ...]


@dataclass(frozen=True, slots=True)
class HeldBody:
    """``GET /users/{id}/export``: one entry for each category of the inventory, also for empty ones.

    Each record names its *node*. *complete*: every live node has answered, and all of it is here.
    """

    user: str
    at_ms: int
    complete: bool
    nodes: tuple[str, ...]
    unreached: tuple[Unreached, ...]
    entries: tuple[ExportEntry, ...]


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node's own record. *here*: it is the answering node.

    *sealing_keys*: ids and check values of its keys, the one that seals first.
    """

    node: str
    version: str
    connections: int
    links: int
    draining: bool
    accepts_per_s: float
    here: bool
    sealing_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodesBody:
    """``GET /nodes``."""

    nodes: tuple[NodeView, ...]


@dataclass(frozen=True, slots=True)
class CloseView:
    """A connection that ended, as in the log: *user* is a keyed hash, *address* a network."""

    id: str
    node: str
    at_ms: int
    initiator: str
    close_code: int
    close_reason: str
    user: str | None
    application: str | None
    codec: str | None
    address: str | None
    lasted_s: float
    frames_in: int
    frames_out: int
    bytes_out: int
    conflated: int
    commands: int


@dataclass(frozen=True, slots=True)
class ClosesBody:
    """``GET /closes``, the newest first. *next*: the key for the next page; absent on the last page."""

    closes: tuple[CloseView, ...]
    unreached: tuple[Unreached, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class KeptOld:
    """A node that could not use everything after a reload; *what* names the parts that did not change."""

    node: str
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeysInForce:
    """The sealing keys of a node after a reload: ids and check values, the one that seals first."""

    node: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DoneBody:
    """``POST /log-level`` and ``POST /reload``: the nodes that did it, and the unreached ones.

    *kept*: reached nodes that did not do all of it; absent when there are none. *sealing_keys*: the keys of
    each reached node after a reload; absent after other acts.
    """

    nodes: tuple[str, ...]
    unreached: tuple[Unreached, ...]
    kept: tuple[KeptOld, ...] | None = None
    sealing_keys: tuple[KeysInForce, ...] | None = None

    @property
    def keys_differ(self) -> bool:
        """Whether the sealing keys of nodes differ, or their order does."""
        return len({each.keys for each in self.sealing_keys or ()}) > 1


@dataclass(frozen=True, slots=True)
class DrainBody:
    """``POST /drain`` → 202: the node has begun to send its phones away; then it ends."""

    node: str
    state: Literal["draining"] = "draining"


@dataclass(frozen=True, slots=True)
class BundleView:
    """``POST /support-bundle``.

    The complete text of the bundle, or the place where it was written (*path*).
    """

    digest: str
    size_bytes: int
    bundle: dict[str, Any] | None = None
    path: str | None = None


# ---- bytes ----

B = TypeVar("B")

BODY_BYTES_MAX: Final = 16 * 1024
"""Largest body that a client may send."""
JSON_TYPE: Final = "application/json"
PROBLEM_TYPE: Final = "application/problem+json"
SCHEMA_TYPE: Final = "application/schema+json"


def read_body(data: bytes, of: TypeAdapter[B]) -> B:
    """Decode a client's body by the same rules as frames.

    Raises:
        GatewayError: ``bad_request``; it names the wrong member and has no value of it.
    """
    try:
        check_size(data, BODY_BYTES_MAX)
        value = read_json(data)
        check_value(value)
        return of.validate_python(value)
    except BadFrame as bad:
        raise GatewayError(ErrorCode.BAD_REQUEST, f"The body cannot be read: {bad.reason}.") from None
    except ValidationError as error:
        names, _, what = what_is_wrong(error)
        path = ".".join(names) or "the body"
        raise GatewayError(ErrorCode.BAD_REQUEST, f"Invalid value: {path} {what}.") from None


def write_body(body: object) -> bytes:
    """Encode a body; optional members without a value are left out."""
    return write_json(plain_fields(body))


def problem_members(error: GatewayError) -> dict[str, object]:
    """Return the members of *error*'s problem details."""
    members: dict[str, object] = {
        "type": f"urn:oscc-gateway:error:{error.code.value}",
        "title": error.code.value.replace("_", " ").capitalize(),
        "status": error.status,
        "detail": error.message,
        "code": error.code.value,
        **error.details,
    }
    if error.retry_after_s is not None:
        members["retry_after_s"] = error.retry_after_s
    return members
