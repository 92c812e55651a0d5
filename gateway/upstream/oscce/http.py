"""Bodies and refusals of the server's HTTPS routes.

pydantic checks the bodies. An error names the wrong member, never its value. Instants are read in the
server's clock and returned in the gateway's.
"""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

import aiohttp
import msgspec
from aiohttp import hdrs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import WORD_CHARS, Device, SessionId, SessionSecret, readable, readable_or_none
from gateway.domain.upstream import (
    About,
    LinkClosed,
    LoggedOff,
    LoggedOn,
    LogOn,
    SessionInfo,
    Trouble,
    UnreachedError,
)
from gateway.runtime.ports import Clock
from gateway.upstream.oscce.decode import (
    APPLICATION_NAMES,
    APPLICATIONS,
    FEATURES,
    MOST,
    in_gateway_time,
    instance,
    server_name,
)
from gateway.upstream.oscce.directory import person
from gateway.upstream.oscce.errors import UNREADABLE, WireError, as_meant, refusal, rejected

ID_CHARS: Final = 128
"""The longest public id of a session: it is a part of the token that phones send."""
PROTOCOL: Final = 1
TOO_MANY: Final = 429
OLDEST_EXTENSIONS: Final = (2, 1)
OLDEST_CONTACT_CENTER: Final = (8, 2)

_Key = Annotated[int, Field(ge=0, le=MOST)]
_PublicId = Annotated[str, Field(max_length=ID_CHARS)]
_Secret = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,1024}$")]
"""Sent in a header."""


class Answer(NamedTuple):
    """An answer of the server, unpacked into the arguments of the readers of this module."""

    body: bytes
    offset_ms: int
    """Gateway clock minus server clock."""


class _Body(BaseModel):
    model_config = ConfigDict(
        alias_generator=server_name, extra="ignore", frozen=True, strict=True, hide_input_in_errors=True
    )


BodyT = TypeVar("BodyT", bound=_Body)


class _About(_Body):
    extensions_version: Any = None
    contact_center_version: Any = None
    protocol: Any = PROTOCOL
    features: tuple[str, ...] = Field(default=(), strict=False)
    server_instance: Any = None


class _User(_Body):
    key: _Key
    id: str | None = None
    first_name: str | None = None
    last_name: str | None = None


class _LoggedOn(_Body):
    session_id: _Secret
    id: _PublicId
    expires_at: _Key
    idle_timeout: float | None = None
    user: _User
    remote_number: str | None = None
    server_instance: Any = None


class _LoggedOff(_Body):
    routing: str
    routed_until: _Key | None = None


class _Ended(_LoggedOff):
    routing: str = "None"


class _Device(_Body):
    id: str = ""
    name: str = ""


class _Session(_Body):
    id: _PublicId
    application: str
    device: _Device = _Device()
    since: _Key
    attached: bool


class _Sessions(_Body):
    sessions: list[_Session]


class _KeptAlive(_Body):
    expires_at: _Key


class _Named(msgspec.Struct, rename="pascal"):
    error: str


def about(body: bytes) -> About:
    """Read version and features of the server.

    Raises:
        GatewayError: ``upstream_version_unsupported``: it is too old, or sends no version.
        WireError: It is no such server.
    """
    received = _read(_About, body)
    extensions, center = _version(received.extensions_version), _version(received.contact_center_version)
    if received.protocol != PROTOCOL or extensions < OLDEST_EXTENSIONS or center < OLDEST_CONTACT_CENTER:
        protocol = received.protocol if received.protocol in range(_PROTOCOLS) else "unreadable"
        versions = (
            f"extensions {_written(extensions)}, contact centre {_written(center)}, protocol {protocol}"
        )
        needed = f"{_written(OLDEST_EXTENSIONS)}, {_written(OLDEST_CONTACT_CENTER)} and {PROTOCOL} are needed"
        raise GatewayError(
            ErrorCode.UPSTREAM_VERSION_UNSUPPORTED, "The version of the contact centre is not supported."
        ) from WireError(f"{versions}; {needed}")
    features = frozenset(FEATURES[name] for name in received.features if name in FEATURES)
    server = instance(received.server_instance)
    return About(received.extensions_version, received.contact_center_version, features, server)


_PROTOCOLS: Final = 1000
"""Protocols below it are logged; any other is a value of the server that may be long."""


def _version(received: object) -> tuple[int, int]:
    """Return ``VnRm`` as numbers, so that V10R0 is above V9R9; an unreadable version is below all."""
    found = re.fullmatch(r"V([0-9]{1,4})R([0-9]{1,4})", received) if isinstance(received, str) else None
    return (int(found[1]), int(found[2])) if found else (-1, -1)


def _written(version: tuple[int, int]) -> str:
    return "unreadable" if version < (0, 0) else "V{}R{}".format(*version)


def log_on_body(credentials: LogOn) -> bytes:
    """Write a log-on."""
    fields: dict[str, Any] = {
        "Application": APPLICATION_NAMES[credentials.application],
        "UserName": credentials.user_name,
        "Password": credentials.password,
        "Device": {"ID": credentials.device.id, "Name": credentials.device.name},
    }
    if credentials.remote_number is not None:
        fields["RemoteNumber"] = credentials.remote_number
    if credentials.takeover:
        fields["Takeover"] = True
    return msgspec.json.encode(fields)


def logged_on(body: bytes, offset_ms: int, site: str) -> LoggedOn:
    """Read a new session."""
    received = _read(_LoggedOn, body)
    user = received.user
    return LoggedOn(
        secret=SessionSecret(received.session_id),
        session=SessionId(received.id),
        expires_at_ms=in_gateway_time(received.expires_at, offset_ms),
        idle_timeout_s=round(received.idle_timeout or 0),
        user=person(site, user.key, user.id, user.first_name, user.last_name),
        remote_number=readable_or_none(received.remote_number, WORD_CHARS),
        server=instance(received.server_instance),
    )


_ROUTINGS: Final[dict[str, Literal["removed", "none"]]] = {"Removed": "removed", "None": "none"}


def logged_off(body: bytes, offset_ms: int) -> LoggedOff:
    """Read the state of routing after a session's end; an unknown word confirms nothing."""
    return _routing(_read(_LoggedOff, body), offset_ms)


def ended(body: bytes, offset_ms: int) -> LoggedOff:
    """Read the end of another session; without a word, nothing is routed to it."""
    return _routing(_read(_Ended, body) if body.strip() else _Ended(), offset_ms)


def _routing(received: _LoggedOff, offset_ms: int) -> LoggedOff:
    until_ms = None if received.routed_until is None else in_gateway_time(received.routed_until, offset_ms)
    return LoggedOff(_ROUTINGS.get(received.routing, "after_contact"), until_ms)


def sessions(body: bytes, offset_ms: int) -> tuple[SessionInfo, ...]:
    """Read a user's sessions; those of unknown applications are left out."""
    return tuple(
        SessionInfo(
            session=SessionId(each.id),
            application=APPLICATIONS[each.application],
            device=Device(readable(each.device.id), readable(each.device.name)),
            since_ms=in_gateway_time(each.since, offset_ms),
            attached=each.attached,
        )
        for each in _read(_Sessions, body).sessions
        if each.application in APPLICATIONS
    )


def kept_alive(body: bytes, offset_ms: int) -> int:
    """Read the new end of a session, ms since 1970."""
    return in_gateway_time(_read(_KeptAlive, body).expires_at, offset_ms)


_ANYWHERE: Final = frozenset({"FunctionUnavailable", "Busy", "Forbidden", "MethodUnknown", "Unsupported"})
_OF_TROUBLE: Final = frozenset({"FunctionUnavailable", "Busy"})
"""Used with a status of 5xx."""
_OF_SESSIONS: Final = _ANYWHERE | {"SessionUnknown"}
_OF_LOG_ONS: Final = _ANYWHERE | {
    "InvalidCredentials",
    "AccountBlocked",
    "AccountLocked",
    "RoleMissing",
    "AlreadyLoggedOn",
    "NumberInUse",
    "RemoteNumberMissing",
    "RemoteNumberInvalid",
    "RemoteNumberNotAllowed",
}


def refused(
    status: int,
    body: bytes,
    offset_ms: int = 0,
    *,
    of_session: bool,
    retry_after_s: float | None = None,
) -> GatewayError:
    """Return the error of a response without success, for a request with a session or without.

    A status of 5xx and an answer without a name are ``upstream_unavailable``; 429 without a known name is
    ``busy``. A name that belongs to another route is ``upstream_rejected``, because it has no meaning here.
    An error that may be lifted later has the time of the body, or else of the header (*retry_after_s*).
    """
    error = _meaning(status, body, offset_ms, of_session=of_session)
    if error.retry_after_s is None and error.code.is_temporary:
        error.retry_after_s = retry_after_s
    return error


def _meaning(status: int, received: bytes, offset_ms: int, *, of_session: bool) -> GatewayError:
    body = as_meant(received) or received
    try:
        name = msgspec.json.decode(body, type=_Named).error
    except UNREADABLE:
        name = None
    if name in (_OF_SESSIONS if of_session else _OF_LOG_ONS) and (status < 500 or name in _OF_TROUBLE):
        return refusal(name, body, offset_ms)
    if status == TOO_MANY:
        return refusal("Busy", body)
    return unavailable() if name is None or status >= 500 else rejected(name)


def stale_token(body: bytes) -> int | None:
    """Read the highest token from the refusal of a link."""
    try:
        return msgspec.json.decode(as_meant(body) or body, type=_Stale).token
    except UNREADABLE:
        return None


class _Stale(msgspec.Struct, rename="pascal"):
    token: Annotated[int, msgspec.Meta(ge=0, le=MOST)] | None = None


def unavailable(retry_after_s: float | None = None) -> GatewayError:
    """Return the error for a missing or unusable answer."""
    message = "The contact centre does not answer."
    return GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, message, retry_after_s=retry_after_s)


def _read(model: type[BodyT], body: bytes) -> BodyT:
    members: list[str] = []
    for text in (body, as_meant(body)):
        try:
            if text is not None:
                return model.model_validate_json(text)
        except ValidationError as error:  # its text would show parts of the body
            places = (each["loc"] for each in error.errors(include_url=False, include_input=False))
            members = sorted({str(place[0]) for place in places if place})
    what = f": {', '.join(members)}" if members else ""
    raise WireError(f"{model.__name__[1:]} cannot be read{what}") from None


BODY_BYTES: Final = 2**20
"""The largest HTTP body; a user has few sessions."""
SUCCESSES: Final = frozenset({200, 201, 204})


class RefusedAnswer(UnreachedError):  # noqa: N818 - names what happened
    """The server answered without success."""

    def __init__(self, status: int, answer: Answer, retry_after_s: float | None) -> None:
        super().__init__("status")
        self.status = status
        self.answer = answer
        self.retry_after_s = retry_after_s
        """The waiting time that the server requested."""

    def meaning(self, *, of_session: bool) -> GatewayError:
        """Return its error, for a request with a session or without."""
        return refused(self.status, *self.answer, of_session=of_session, retry_after_s=self.retry_after_s)

    def closed(self) -> LinkClosed:
        """Return its error for the opening of a link."""
        match self.status:
            case 401:
                return LinkClosed("session_unknown")
            case 409:
                return LinkClosed("stale", token=stale_token(self.answer.body))
            case _:
                return LinkClosed("unavailable", retry_after_s=self.retry_after_s)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Time limits, in seconds."""

    answer_s: float = 10.0
    """One HTTP request."""
    open_s: float = 10.0
    """The upgrade to a link, and then the wait for the server's first message."""
    late_open_s: float = 30.0
    """The upgrade on a node that does not get its core, which reads the server's answers late."""
    request_s: float = 5.0
    """One request on a link; a command has its own deadline."""
    patience_s: float = 60.0
    """A request on a link whose answer has data: late is better than repeated."""
    close_s: float = 1.0
    """The closing handshake of a link."""

    def upgrade_s(self, *, is_late: bool) -> float:
        """Return the time for the upgrade; *is_late*: this node does not get its core."""
        return self.late_open_s if is_late else self.open_s


class NoUpgradeError(aiohttp.ClientConnectionError):
    """The peer is no WebSocket server."""


def unreached(error: Exception) -> UnreachedError:
    """Return the error for a server that was not reached, with its cause.

    An exception that holds the request, and so its secrets, is left out of the chain.
    """
    made = UnreachedError(_trouble(error))
    made.__cause__ = error.__cause__ if isinstance(error, aiohttp.ClientResponseError) else error
    return made


def _trouble(error: Exception) -> Trouble:
    match error:
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientConnectorDNSError():
            return "dns"
        case aiohttp.ClientSSLError() | ssl.SSLError() | aiohttp.ServerFingerprintMismatch():
            return "tls"
        case OSError() if error.errno == errno.ECONNREFUSED:
            return "refused"
        case NoUpgradeError() | WireError() | aiohttp.ClientPayloadError() | aiohttp.ClientResponseError():
            return "unreadable"
        case OSError() | aiohttp.ClientConnectionError():
            return "connection"
        case _:
            return "other"


NONE_BELOW_MS: Final = 2_000
"""Nearer clocks count as one: a `Date` has whole seconds, and was under way for a while."""
_HALF_A_SECOND_MS: Final = 500
"""A `Date` is the beginning of its second; the answer was given within that second."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
RETRY_AFTER_S: Final = (1.0, 300.0)
"""Bounds of `Retry-After`: no client tries at once, and none waits for too long by mistake."""


def offset_ms(date: str | None, received_ms: int) -> int:
    """Return gateway clock minus server clock.

    Args:
        date: The header `Date` (RFC 9110 §5.6.7), in any of its three forms.
        received_ms: When the answer came, ms since 1970 in the gateway's clock.

    Returns:
        ms; 0 when the clocks are less than 2 s apart, or the header is missing or cannot be read.
    """
    date_ms = None if date is None else _instant_ms(date)
    if date_ms is None:
        return 0
    offset = received_ms - (date_ms + _HALF_A_SECOND_MS)
    return offset if abs(offset) >= NONE_BELOW_MS else 0


def retry_after_s(sent: str | None, offset_ms: int, received_ms: int) -> float | None:
    """Return how long to wait before the next request to the server.

    Args:
        sent: The header `Retry-After` (RFC 9110 §10.2.3): seconds, or a date of the server's clock.
        offset_ms: Gateway clock minus server clock.
        received_ms: When the answer came, ms since 1970 in the gateway's clock.

    Returns:
        Within :data:`RETRY_AFTER_S`; None when the header is missing or cannot be read.
    """
    if sent is None:
        return None
    shortest_s, longest_s = RETRY_AFTER_S
    if re.fullmatch("[0-9]+", sent):
        # a number of that many digits is too long for int(), too
        wait_s = float(sent) if len(sent) < len(str(MOST)) else longest_s
    elif (at_ms := _instant_ms(sent)) is not None:
        wait_s = (at_ms + offset_ms - received_ms) / 1000
    else:
        return None
    return min(max(wait_s, shortest_s), longest_s)


def _instant_ms(date: str) -> int | None:
    """Return the instant in a header; None when it cannot be read."""
    try:
        sent = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    # the oldest form has no zone: HTTP's dates are always UTC
    since_1970 = (sent if sent.tzinfo is not None else sent.replace(tzinfo=UTC)) - _EPOCH
    return since_1970 // timedelta(milliseconds=1)


async def answer_of(
    response: aiohttp.ClientResponse, clock: Clock, successes: frozenset[int] = SUCCESSES
) -> Answer:
    """Return the answer of a success.

    Raises:
        Refused: Its status is not among *successes*.
        aiohttp.ClientError: It cannot be read.
    """
    # before the body, which may arrive late
    received_ms = clock.wall_ms()
    offset = offset_ms(response.headers.get(hdrs.DATE), received_ms)
    answer = Answer(await _body(response), offset)
    if response.status not in successes:
        received = response.headers.get(hdrs.RETRY_AFTER)
        raise RefusedAnswer(response.status, answer, retry_after_s(received, offset, received_ms))
    return answer


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > BODY_BYTES:
            raise aiohttp.ClientPayloadError("the body is too big")
    return bytes(body)


def session(
    *,
    most: int,
    judge: Callable[[aiohttp.ClientResponse], Awaitable[None]] | None = None,
    trace: aiohttp.TraceConfig | None = None,
) -> aiohttp.ClientSession:
    """Return a pool of at most *most* connections, 0 for any number.

    *judge* raises for an answer that is a refusal. *trace* is called with each request before it is sent.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=most),
        # one user's cookies must not reach another
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "oscc-gateway"},
        raise_for_status=judge or False,
        timeout=aiohttp.ClientTimeout(),
        trace_configs=None if trace is None else [trace],
    )


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return TLS that verifies the server: by *ca_file* when given, else by the system's authorities."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
