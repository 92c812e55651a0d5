"""All error and close codes, and what a client does about each.

Every code that leaves the gateway is declared here once. The edge, the schemas, the documentation tests and
the clients read HTTP status, retry verdict and range of close codes from here.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from types import TracebackType
from typing import Final, Generic, Literal, TypeVar


class ErrorCode(enum.StrEnum):
    """Stable names of all refusals, each with its status over HTTP. The name is sent."""

    _value_: str
    status: int

    def __new__(cls, name: str, status: int = 500) -> ErrorCode:
        """Return a member with its status. The look-up of a member by its name alone does not come here."""
        code = str.__new__(cls, name)
        code._value_, code.status = name, status
        return code

    # requests of all kinds
    BAD_REQUEST = "bad_request", 400
    UNAUTHENTICATED = "unauthenticated", 401
    SESSION_ENDED = "session_ended", 401
    FORBIDDEN = "forbidden", 403
    NOT_FOUND = "not_found", 404
    WRONG_RESOURCE_KIND = "wrong_resource_kind", 400
    RATE_LIMITED = "rate_limited", 429
    BUSY = "busy", 503
    EXPIRED = "expired", 408
    BUS_DOWN = "bus_down", 503
    UPSTREAM_UNAVAILABLE = "upstream_unavailable", 503
    UPSTREAM_VERSION_UNSUPPORTED = "upstream_version_unsupported", 502
    FUNCTION_UNAVAILABLE = "function_unavailable", 503
    UPSTREAM_REJECTED = "upstream_rejected", 502
    UNSUPPORTED_BY_UPSTREAM = "unsupported_by_upstream", 501
    KEY_REUSED = "key_reused", 409
    OVERLOADED = "overloaded", 503
    OVER_CAPACITY = "over_capacity", 503
    INTERNAL = "internal", 500
    # log-on
    INVALID_CREDENTIALS = "invalid_credentials", 401
    ACCOUNT_LOCKED = "account_locked", 423
    ACCOUNT_BLOCKED = "account_blocked", 403
    ROLE_MISSING = "role_missing", 403
    UNTRUSTED_TRANSPORT = "untrusted_transport", 403
    NOTICE_MUST_BE_ACKNOWLEDGED = "notice_must_be_acknowledged", 409
    ALREADY_LOGGED_ON = "already_logged_on", 409
    REMOTE_NUMBER_MISSING = "remote_number_missing", 422
    REMOTE_NUMBER_INVALID = "remote_number_invalid", 422
    REMOTE_NUMBER_NOT_ALLOWED = "remote_number_not_allowed", 422
    REMOTE_NUMBER_IN_USE = "remote_number_in_use", 409
    SITE_UNKNOWN = "site_unknown", 422
    VERSION_UNSUPPORTED = "version_unsupported", 422
    TOO_MANY_DEVICES = "too_many_devices", 409
    # commands
    REASON_REQUIRED = "reason_required", 422
    REASON_UNKNOWN = "reason_unknown", 422
    REASON_WRONG_KIND = "reason_wrong_kind", 422
    NOT_ALLOWED_WHILE_HANDLING = "not_allowed_while_handling", 409
    CANNOT_LOG_ON_FOR_ANOTHER = "cannot_log_on_for_another", 409
    NOT_LOGGED_ON = "not_logged_on", 409
    SKILL_UNKNOWN = "skill_unknown", 422
    LEVEL_OUT_OF_RANGE = "level_out_of_range", 422
    PREFERENCE_OUT_OF_RANGE = "preference_out_of_range", 422
    DUPLICATE_SKILL = "duplicate_skill", 422
    VERSION_CONFLICT = "version_conflict", 409
    PARAMETER_UNKNOWN = "parameter_unknown", 422
    PARAMETER_READ_ONLY = "parameter_read_only", 422
    VALUE_OUT_OF_RANGE = "value_out_of_range", 422
    WRONG_TYPE = "wrong_type", 422
    REFERENCE_UNKNOWN = "reference_unknown", 422
    OVERFLOW_CYCLE = "overflow_cycle", 422
    INCONSISTENT_PARAMETERS = "inconsistent_parameters", 422
    NO_CONTACT = "no_contact", 409
    LIMIT_REACHED = "limit_reached", 409
    WRAP_UP_REASON_REQUIRED = "wrap_up_reason_required", 422
    NOT_POST_PROCESSING = "not_post_processing", 409
    # why an outcome is unknown
    UPSTREAM_TIMEOUT = "upstream_timeout", 504
    OWNER_LOST = "owner_lost", 504
    OTHER_EPOCH = "other_epoch", 504

    @property
    def is_temporary(self) -> bool:
        """Whether a later retry may succeed."""
        return self.status in _TEMPORARY


_TEMPORARY: Final = frozenset({423, 429, 503})


class Verdict(enum.StrEnum):
    """The action of a client after a close, given by the range of the code."""

    STOP = "stop"
    BACK_OFF = "back_off"
    WINDOW = "window"
    LOG_ON = "log_on"


class CloseCode(enum.IntEnum):
    """WebSocket close codes of this protocol (RFC 6455 §7.4.2: 4000–4999 are private)."""

    PROTOCOL_ERROR = 4000
    TOKEN_INVALID = 4001
    FORBIDDEN = 4002
    VERSION_UNSUPPORTED = 4003
    REPLACED = 4004
    LOGGED_OFF = 4005
    TOO_MANY_DEVICES = 4006
    TOO_MANY_ERRORS = 4007
    ACCOUNT_BLOCKED = 4008
    INTERNAL = 4100
    RATE_LIMITED = 4102
    OVER_CAPACITY = 4103
    SLOW = 4108
    NO_PONG = 4109
    HELLO_TIMEOUT = 4110
    DRAINING = 4200
    REBALANCE = 4201
    SESSION_ENDED = 4300


_STANDARD_BACK_OFF: Final = frozenset({1001, 1006, 1011, 1012, 1013})


def verdict(code: int) -> Verdict:
    """Return the action of a client after a close with *code*; old clients need only the range.

    1001, 1006, 1011, 1012 and 1013 count as 4100s; 1008 and unknown codes mean stop.
    """
    if code in _STANDARD_BACK_OFF or 4100 <= code <= 4199:
        return Verdict.BACK_OFF
    if 4200 <= code <= 4299:
        return Verdict.WINDOW
    if 4300 <= code <= 4399:
        return Verdict.LOG_ON
    return Verdict.STOP


def advice(code: int) -> Literal["never", "after", "log_on"]:
    """Return the `reconnect` word of a `bye` frame: `never`, `after` or `log_on`."""
    match verdict(code):
        case Verdict.STOP:
            return "never"
        case Verdict.BACK_OFF | Verdict.WINDOW:
            return "after"
        case Verdict.LOG_ON:
            return "log_on"


def is_final(code: int) -> bool:
    """Return whether a close with *code* ends the session on this device, not only the connection.

    A replaced connection stops, but its session or device is served elsewhere, where commands are sent again.
    """
    is_ours = code >= CloseCode.PROTOCOL_ERROR and code != CloseCode.REPLACED
    return is_ours and verdict(code) in {Verdict.STOP, Verdict.LOG_ON}


class EndReason(enum.StrEnum):
    """Why OSCC-E ended a session."""

    LOGGED_OFF = "logged_off"
    LOGGED_OFF_BY_SUPERVISOR = "logged_off_by_supervisor"
    TAKEN_OVER = "taken_over"
    BLOCKED = "blocked"
    EXPIRED = "expired"
    MAINTENANCE = "maintenance"
    UNKNOWN = "unknown"


LOG_ON_WINDOW_S: Final = (1.0, 30.0)
"""Window in which phones log on again: a restart of OSCC-E ends the sessions of all at once."""


def close_for(reason: EndReason, *, remote_assistant: bool) -> CloseCode:
    """Return how to close a phone whose session ended for *reason*.

    An unknown reason closes a Remote Assistant for good, so that no number is registered again without its
    user.
    """
    match reason:
        case EndReason.LOGGED_OFF | EndReason.LOGGED_OFF_BY_SUPERVISOR | EndReason.TAKEN_OVER:
            return CloseCode.LOGGED_OFF
        case EndReason.BLOCKED:
            return CloseCode.ACCOUNT_BLOCKED
        case EndReason.EXPIRED | EndReason.MAINTENANCE:
            return CloseCode.SESSION_ENDED
        case EndReason.UNKNOWN:
            return CloseCode.LOGGED_OFF if remote_assistant else CloseCode.SESSION_ENDED


def log_on_window_s(code: CloseCode) -> tuple[float, float] | None:
    """Return when a phone that was closed with *code* logs on again; None: when its user wants to."""
    return LOG_ON_WINDOW_S if code is CloseCode.SESSION_ENDED else None


Detail = str | int | float | bool | None | list[dict[str, str | int | bool | None]]
"""A detail of an error: a plain value, or a list of small records (notices)."""


class GatewayError(Exception):
    """A refusal with a stable code.

    Args:
        code: For machines.
        message: One plain sentence for people, without secrets, numbers and realtime values.
        retry_after_s: Seconds after which the same request may succeed.
        details: Further members beside the code, with the names of the protocol's page.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, retry_after_s: float | None = None, **details: Detail
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.details = details

    @property
    def status(self) -> int:
        """The HTTP status of this error."""
        return self.code.status

    @property
    def members(self) -> dict[str, object]:
        """What phones get: code, message, retry_after_s and the details."""
        members: dict[str, object] = {"code": self.code.value, "message": self.message, **self.details}
        if self.retry_after_s is not None:
            members["retry_after_s"] = tenths(self.retry_after_s)
        return members


def tenths(seconds: float) -> float:
    """Return a wait in the form that is sent: in tenths of a second, rounded up."""
    # 1.1 s are 11.000000000000002 tenths, and still 1.1 s
    return math.ceil(round(seconds * 10, 6)) / 10


class SessionRefused(Exception):  # noqa: N818 - names what happened
    """A connection cannot be served: close it with *code*.

    Args:
        code: The close code, whose range decides the phone's action.
        reason: A short word for the `bye`.
        by: The cause, if it is known.
        window_s: The window for the phone's return, as (earliest, latest).
    """

    def __init__(
        self,
        code: CloseCode,
        reason: str,
        *,
        by: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.by = by
        self.window_s = window_s


ErrorT = TypeVar("ErrorT", bound=Exception)


class MappedErrors(Generic[ErrorT]):
    """Raise another error instead of one that ends the block.

    It is a class, not a generator, because the block's frame may hold passwords. Since Python 3.12 a
    generator that raises another error than it got, or none, leaves the frame in a reference cycle.

    Args:
        of: The type of the errors.
        by: Returns the error to raise; the same one is raised unchanged.
        is_cause: Whether the error becomes the cause of the other one.
    """

    __slots__ = ("_by", "_is_cause", "_of")

    def __init__(
        self, of: type[ErrorT], by: Callable[[ErrorT], Exception], *, is_cause: bool = False
    ) -> None:
        self._of = of
        self._by = by
        self._is_cause = is_cause

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the block. Raises what *by* returns."""
        if isinstance(error, self._of):
            other = self._by(error)
            try:
                if other is not error:
                    raise other from error if self._is_cause else None
            finally:
                del other  # its traceback holds this frame: both would hold each other, and the block's
