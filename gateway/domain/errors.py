"""All error and close codes, and what a client does about each.

Every code that leaves the gateway is declared here once. The edge, the schemas, the documentation tests and
the clients read HTTP status, retry verdict and range of close codes from here.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, Literal, TypeVar


class ErrorCode(enum.StrEnum):
    """Stable names of all refusals. The value is sent."""

    # requests of all kinds
    BAD_REQUEST = "bad_request"
    UNAUTHENTICATED = "unauthenticated"
    SESSION_ENDED = "session_ended"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    WRONG_RESOURCE_KIND = "wrong_resource_kind"
    RATE_LIMITED = "rate_limited"
    BUSY = "busy"
    EXPIRED = "expired"
    BUS_DOWN = "bus_down"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    UPSTREAM_VERSION_UNSUPPORTED = "upstream_version_unsupported"
    FUNCTION_UNAVAILABLE = "function_unavailable"
    UPSTREAM_REJECTED = "upstream_rejected"
    UNSUPPORTED_BY_UPSTREAM = "unsupported_by_upstream"
    KEY_REUSED = "key_reused"
    OVERLOADED = "overloaded"
    OVER_CAPACITY = "over_capacity"
    INTERNAL = "internal"
    # log-on
    INVALID_CREDENTIALS = "invalid_credentials"
    ACCOUNT_LOCKED = "account_locked"
    ACCOUNT_BLOCKED = "account_blocked"
    ROLE_MISSING = "role_missing"
    UNTRUSTED_TRANSPORT = "untrusted_transport"
    NOTICE_MUST_BE_ACKNOWLEDGED = "notice_must_be_acknowledged"
    ALREADY_LOGGED_ON = "already_logged_on"
    REMOTE_NUMBER_MISSING = "remote_number_missing"
    REMOTE_NUMBER_INVALID = "remote_number_invalid"
    REMOTE_NUMBER_NOT_ALLOWED = "remote_number_not_allowed"
    REMOTE_NUMBER_IN_USE = "remote_number_in_use"
    SITE_UNKNOWN = "site_unknown"
    VERSION_UNSUPPORTED = "version_unsupported"
    TOO_MANY_DEVICES = "too_many_devices"
    # commands
    REASON_REQUIRED = "reason_required"
    REASON_UNKNOWN = "reason_unknown"
    REASON_WRONG_KIND = "reason_wrong_kind"
    NOT_ALLOWED_WHILE_HANDLING = "not_allowed_while_handling"
    CANNOT_LOG_ON_FOR_ANOTHER = "cannot_log_on_for_another"
    NOT_LOGGED_ON = "not_logged_on"
    SKILL_UNKNOWN = "skill_unknown"
    LEVEL_OUT_OF_RANGE = "level_out_of_range"
    PREFERENCE_OUT_OF_RANGE = "preference_out_of_range"
    DUPLICATE_SKILL = "duplicate_skill"
    VERSION_CONFLICT = "version_conflict"
    PARAMETER_UNKNOWN = "parameter_unknown"
    PARAMETER_READ_ONLY = "parameter_read_only"
    VALUE_OUT_OF_RANGE = "value_out_of_range"
    WRONG_TYPE = "wrong_type"
    REFERENCE_UNKNOWN = "reference_unknown"
    OVERFLOW_CYCLE = "overflow_cycle"
    INCONSISTENT_PARAMETERS = "inconsistent_parameters"
    NO_CONTACT = "no_contact"
    LIMIT_REACHED = "limit_reached"
    WRAP_UP_REASON_REQUIRED = "wrap_up_reason_required"
    NOT_POST_PROCESSING = "not_post_processing"
    # why an outcome is unknown
    UPSTREAM_TIMEOUT = "upstream_timeout"
    OWNER_LOST = "owner_lost"
    OTHER_EPOCH = "other_epoch"


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """The meaning of one error code: *status* over HTTP, and whether a later retry may succeed."""

    status: int
    retry: bool = False


ERRORS: Final[dict[ErrorCode, ErrorRule]] = {
    ErrorCode.BAD_REQUEST: ErrorRule(400),
    ErrorCode.UNAUTHENTICATED: ErrorRule(401),
    ErrorCode.SESSION_ENDED: ErrorRule(401),
    ErrorCode.FORBIDDEN: ErrorRule(403),
    ErrorCode.NOT_FOUND: ErrorRule(404),
    ErrorCode.WRONG_RESOURCE_KIND: ErrorRule(400),
    ErrorCode.RATE_LIMITED: ErrorRule(429, retry=True),
    ErrorCode.BUSY: ErrorRule(503, retry=True),
    ErrorCode.EXPIRED: ErrorRule(408),
    ErrorCode.BUS_DOWN: ErrorRule(503, retry=True),
    ErrorCode.UPSTREAM_UNAVAILABLE: ErrorRule(503, retry=True),
    ErrorCode.UPSTREAM_VERSION_UNSUPPORTED: ErrorRule(502),
    ErrorCode.FUNCTION_UNAVAILABLE: ErrorRule(503, retry=True),
    ErrorCode.UPSTREAM_REJECTED: ErrorRule(502),
    ErrorCode.UNSUPPORTED_BY_UPSTREAM: ErrorRule(501),
    ErrorCode.KEY_REUSED: ErrorRule(409),
    ErrorCode.OVERLOADED: ErrorRule(503, retry=True),
    ErrorCode.OVER_CAPACITY: ErrorRule(503, retry=True),
    ErrorCode.INTERNAL: ErrorRule(500),
    ErrorCode.INVALID_CREDENTIALS: ErrorRule(401),
    ErrorCode.ACCOUNT_LOCKED: ErrorRule(423, retry=True),
    ErrorCode.ACCOUNT_BLOCKED: ErrorRule(403),
    ErrorCode.ROLE_MISSING: ErrorRule(403),
    ErrorCode.UNTRUSTED_TRANSPORT: ErrorRule(403),
    ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED: ErrorRule(409),
    ErrorCode.ALREADY_LOGGED_ON: ErrorRule(409),
    ErrorCode.REMOTE_NUMBER_MISSING: ErrorRule(422),
    ErrorCode.REMOTE_NUMBER_INVALID: ErrorRule(422),
    ErrorCode.REMOTE_NUMBER_NOT_ALLOWED: ErrorRule(422),
    ErrorCode.REMOTE_NUMBER_IN_USE: ErrorRule(409),
    ErrorCode.SITE_UNKNOWN: ErrorRule(422),
    ErrorCode.VERSION_UNSUPPORTED: ErrorRule(422),
    ErrorCode.TOO_MANY_DEVICES: ErrorRule(409),
    ErrorCode.REASON_REQUIRED: ErrorRule(422),
    ErrorCode.REASON_UNKNOWN: ErrorRule(422),
    ErrorCode.REASON_WRONG_KIND: ErrorRule(422),
    ErrorCode.NOT_ALLOWED_WHILE_HANDLING: ErrorRule(409),
    ErrorCode.CANNOT_LOG_ON_FOR_ANOTHER: ErrorRule(409),
    ErrorCode.NOT_LOGGED_ON: ErrorRule(409),
    ErrorCode.SKILL_UNKNOWN: ErrorRule(422),
    ErrorCode.LEVEL_OUT_OF_RANGE: ErrorRule(422),
    ErrorCode.PREFERENCE_OUT_OF_RANGE: ErrorRule(422),
    ErrorCode.DUPLICATE_SKILL: ErrorRule(422),
    ErrorCode.VERSION_CONFLICT: ErrorRule(409),
    ErrorCode.PARAMETER_UNKNOWN: ErrorRule(422),
    ErrorCode.PARAMETER_READ_ONLY: ErrorRule(422),
    ErrorCode.VALUE_OUT_OF_RANGE: ErrorRule(422),
    ErrorCode.WRONG_TYPE: ErrorRule(422),
    ErrorCode.REFERENCE_UNKNOWN: ErrorRule(422),
    ErrorCode.OVERFLOW_CYCLE: ErrorRule(422),
    ErrorCode.INCONSISTENT_PARAMETERS: ErrorRule(422),
    ErrorCode.NO_CONTACT: ErrorRule(409),
    ErrorCode.LIMIT_REACHED: ErrorRule(409),
    ErrorCode.WRAP_UP_REASON_REQUIRED: ErrorRule(422),
    ErrorCode.NOT_POST_PROCESSING: ErrorRule(409),
    ErrorCode.UPSTREAM_TIMEOUT: ErrorRule(504),
    ErrorCode.OWNER_LOST: ErrorRule(504),
    ErrorCode.OTHER_EPOCH: ErrorRule(504),
}


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
        return ERRORS[self.code].status

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
