"""Bodies of the HTTP API: log-on, about, notices, sessions, export, and pending log-offs.

One immutable type per body. What a client sends is checked strictly and its unknown members are
ignored. :mod:`gateway.protocol.http_form` reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field, Strict, TypeAdapter

from gateway.domain.model import Application, readable
from gateway.protocol.frames import COMMANDS, INT_MAX, PROTOCOLS, Flag, SessionView, UserView

_IGNORE_UNKNOWN: Final = ConfigDict(extra="ignore")

_Name = Annotated[str, Strict(), Field(min_length=1, max_length=256)]
_Word = Annotated[str, Strict(), Field(min_length=1, max_length=64)]
_Id = Annotated[str, Strict(), Field(min_length=1, max_length=128)]
_Count = Annotated[int, Strict(), Field(ge=0, le=INT_MAX)]
_Password = Annotated[str, Strict(), Field(max_length=1024, json_schema_extra={"writeOnly": True})]


# ---- phone → gateway ----


@dataclass(frozen=True, slots=True)
class DeviceBody:
    """The phone's own description. *id* stays the same as long as the app is installed."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    id: _Id
    name: Annotated[str, Strict(), Field(max_length=128), AfterValidator(readable)]
    platform: _Word
    app_version: _Word


@dataclass(frozen=True, slots=True)
class NoticeReference:
    """One version of a notice."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    id: _Id
    version: _Count


@dataclass(frozen=True, slots=True, repr=False)
class LogOnBody:
    """``POST /v1/sessions``. Its repr shows nothing that identifies or authenticates a person."""

    __pydantic_config__: ClassVar[ConfigDict] = _IGNORE_UNKNOWN
    site: _Word
    application: Application
    user_name: _Name
    password: _Password
    device: DeviceBody
    remote_number: Annotated[str, Strict(), Field(max_length=64)] | None = None
    takeover: Flag = False
    accepted_notices: Annotated[tuple[NoticeReference, ...], Field(max_length=32)] | None = None

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
    """``GET /v1/about``. *trusted_transport*: this connection is encrypted as far as the gateway can see."""

    name: str
    version: str
    sites: tuple[SiteView, ...]
    trusted_transport: bool
    privacy: PrivacyView
    protocols: tuple[str, ...] = PROTOCOLS
    capabilities: tuple[str, ...] = tuple(COMMANDS)
    """The kinds of commands that are offered."""
    client_may_keep: tuple[str, ...] = ("address", "login_data", "session_token")
    client_must_not_keep: tuple[str, ...] = ("realtime_data",)


@dataclass(frozen=True, slots=True)
class NoticeView:
    """A message for people."""

    id: str
    version: int
    category: Literal["privacy", "security", "maintenance"]
    title: str
    summary: str
    link: str | None
    effective_at_ms: int
    must_acknowledge: bool


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
    """A session was ended → 202: calls may come until *routed_until_ms*; None is unknown."""

    routed_until_ms: int | None
    state: Literal["pending"] = "pending"


@dataclass(frozen=True, slots=True)
class ExportEntry:
    """Data of one category of the data inventory, as plain members."""

    category: str
    held: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ExportBody:
    """``GET /v1/me/export``: one entry for each category of the inventory, also where nothing is held.

    *complete*: all nodes have answered.
    """

    user: UserView
    at_ms: int
    entries: tuple[ExportEntry, ...]
    complete: bool = True
