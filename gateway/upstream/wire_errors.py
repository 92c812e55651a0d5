"""Map refusals and unreadable answers of the server to errors.

Each error name of the page, with the code and sentence that clients get for it. Every name that is
not on the page is ``upstream_rejected`` with the name.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from gateway.domain.errors import Detail, ErrorCode, GatewayError
from gateway.domain.texts import WORD_CHARS, readable, readable_or_none
from gateway.upstream.wire_date import in_gateway_time
from gateway.upstream.wire_names import FUNCTIONS, MOST, Element, identity

NAMES: Final[dict[int, str]] = {
    1: "BadRequest",
    2: "MethodUnknown",
    3: "SessionUnknown",
    4: "Forbidden",
    5: "NotFound",
    6: "WrongObjectType",
    7: "VersionConflict",
    10: "SkillUnknown",
    11: "LevelOutOfRange",
    12: "PreferenceOutOfRange",
    13: "DuplicateSkill",
    20: "NotLoggedOn",
    21: "ReasonRequired",
    22: "ReasonUnknown",
    23: "ReasonWrongKind",
    24: "NotAllowedWhileHandling",
    25: "CannotLogOnForAnother",
    30: "ParameterUnknown",
    31: "ParameterReadOnly",
    32: "ValueOutOfRange",
    33: "WrongType",
    34: "ReferenceUnknown",
    35: "OverflowCycle",
    36: "InconsistentParameters",
    40: "NoContact",
    41: "LimitReached",
    42: "WrapupReasonRequired",
    43: "NotPostProcessing",
    50: "RemoteNumberInvalid",
    51: "RemoteNumberNotAllowed",
    52: "NumberInUse",
    60: "FunctionUnavailable",
    61: "Busy",
    62: "Unsupported",
    63: "Expired",
    99: "Internal",
}
"""Code in a response → name, for a server that tells the code alone."""

_MEANINGS: Final[dict[str, tuple[ErrorCode, str]]] = {
    "BadRequest": (ErrorCode.BAD_REQUEST, "The contact centre did not understand the request."),
    "MethodUnknown": (ErrorCode.UNSUPPORTED_BY_UPSTREAM, "The contact centre does not offer this."),
    "SessionUnknown": (ErrorCode.SESSION_ENDED, "The session has ended."),
    "Forbidden": (ErrorCode.FORBIDDEN, "You are not allowed to do this."),
    "NotFound": (ErrorCode.NOT_FOUND, "There is no such object."),
    "WrongObjectType": (ErrorCode.WRONG_RESOURCE_KIND, "This cannot be done to an object of this kind."),
    "VersionConflict": (ErrorCode.VERSION_CONFLICT, "Somebody else changed it meanwhile."),
    "SkillUnknown": (ErrorCode.SKILL_UNKNOWN, "There is no such skill."),
    "LevelOutOfRange": (ErrorCode.LEVEL_OUT_OF_RANGE, "The level is out of range."),
    "PreferenceOutOfRange": (ErrorCode.PREFERENCE_OUT_OF_RANGE, "The preference is out of range."),
    "DuplicateSkill": (ErrorCode.DUPLICATE_SKILL, "A skill is named twice."),
    "NotLoggedOn": (ErrorCode.NOT_LOGGED_ON, "The agent is not logged on."),
    "ReasonRequired": (ErrorCode.REASON_REQUIRED, "This state needs a reason."),
    "ReasonUnknown": (ErrorCode.REASON_UNKNOWN, "There is no such reason."),
    "ReasonWrongKind": (ErrorCode.REASON_WRONG_KIND, "The reason is of another kind."),
    "NotAllowedWhileHandling": (ErrorCode.NOT_ALLOWED_WHILE_HANDLING, "A contact is being handled."),
    "CannotLogOnForAnother": (
        ErrorCode.CANNOT_LOG_ON_FOR_ANOTHER,
        "Nobody can be logged on by somebody else.",
    ),
    "ParameterUnknown": (ErrorCode.PARAMETER_UNKNOWN, "There is no such routing parameter."),
    "ParameterReadOnly": (ErrorCode.PARAMETER_READ_ONLY, "The routing parameter cannot be changed."),
    "ValueOutOfRange": (ErrorCode.VALUE_OUT_OF_RANGE, "The value is out of range."),
    "WrongType": (ErrorCode.WRONG_TYPE, "The value has the wrong type."),
    "ReferenceUnknown": (ErrorCode.REFERENCE_UNKNOWN, "The value names an object that does not exist."),
    "OverflowCycle": (ErrorCode.OVERFLOW_CYCLE, "Overflow would lead back to the same queue."),
    "InconsistentParameters": (ErrorCode.INCONSISTENT_PARAMETERS, "The values contradict each other."),
    "NoContact": (ErrorCode.NO_CONTACT, "There is no contact to post-process."),
    "LimitReached": (ErrorCode.LIMIT_REACHED, "Post-processing cannot be made longer."),
    "WrapupReasonRequired": (ErrorCode.WRAP_UP_REASON_REQUIRED, "A wrap-up reason is needed."),
    "NotPostProcessing": (ErrorCode.NOT_POST_PROCESSING, "There is no post-processing under way."),
    "RemoteNumberMissing": (ErrorCode.REMOTE_NUMBER_MISSING, "A remote number is needed."),
    "RemoteNumberInvalid": (ErrorCode.REMOTE_NUMBER_INVALID, "The remote number is not valid."),
    "RemoteNumberNotAllowed": (ErrorCode.REMOTE_NUMBER_NOT_ALLOWED, "The remote number is not allowed."),
    "NumberInUse": (ErrorCode.REMOTE_NUMBER_IN_USE, "The remote number is in use by somebody else."),
    "FunctionUnavailable": (
        ErrorCode.FUNCTION_UNAVAILABLE,
        "A function of the contact centre is not available.",
    ),
    "Busy": (ErrorCode.BUSY, "The contact centre is busy."),
    "Unsupported": (ErrorCode.UNSUPPORTED_BY_UPSTREAM, "The contact centre does not offer this."),
    "Expired": (ErrorCode.EXPIRED, "The command came too late."),
    "InvalidCredentials": (ErrorCode.INVALID_CREDENTIALS, "User name or password is wrong."),
    "AccountBlocked": (ErrorCode.ACCOUNT_BLOCKED, "The account is blocked."),
    "AccountLocked": (ErrorCode.ACCOUNT_LOCKED, "The account is locked after too many tries."),
    "RoleMissing": (ErrorCode.ROLE_MISSING, "The user has no role for this application."),
    "AlreadyLoggedOn": (ErrorCode.ALREADY_LOGGED_ON, "The user is already logged on elsewhere."),
}


UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What msgspec raises on bytes that are not what was expected."""


_AT: Final = re.compile(r"`\$\.(\w+)|required field `(\w+)`")


def why_unreadable(fault: BaseException) -> str:
    """Return which field of an object cannot be read, and why, as a short token; never a value."""
    text = str(fault) if isinstance(fault, msgspec.ValidationError) else ""
    at = _AT.search(text)
    field = "" if at is None else f"{at[1] or at[2]} "
    if "missing required" in text:
        return f"{field}missing"
    if ", got " in text:
        return f"{field}wrong_type"
    return f"{field}out_of_range" if text else "no_json"


class WireError(Exception):
    """A message cannot be read. Its text holds no value of the message."""


class WireRefusal(Element):
    """The details that may stand beside an error's name."""

    min: int | float | None = None
    max: int | float | None = None
    version: int | None = None
    function: str | None = None
    retry_after: float | None = None
    until: int | None = None
    where: str | None = None
    since: int | None = None
    parameter: str | None = None
    skill_key: int | None = None


_decode_details: Final = msgspec.json.Decoder(WireRefusal).decode


def refusal(name: str, body: str | bytes, offset_ms: int = 0) -> GatewayError:
    """Return what the error *name* means to clients, with such details of *body* as can be read.

    Args:
        name: As the server tells it.
        body: What the details stand in.
        offset_ms: Gateway clock minus server clock; 0 leaves instants as they are, for whoever
            knows the link's offset.
    """
    meaning = _MEANINGS.get(name)
    if meaning is None:
        return rejected(name)
    try:
        details = _decode_details(body)
    except UNREADABLE:
        details = WireRefusal()
    told: dict[str, Detail] = {
        "min": _number(details.min),
        "max": _number(details.max),
        "version": _number(details.version),
        "function": FUNCTIONS.get(details.function or ""),
        "until_ms": _instant(details.until, offset_ms),
        "where": readable_or_none(details.where),
        "since_ms": _instant(details.since, offset_ms),
        "parameter": readable(details.parameter, WORD_CHARS) if details.parameter else None,
        "skill_id": identity(details.skill_key),
    }
    code, message = meaning
    return GatewayError(
        code,
        message,
        retry_after_s=_seconds(details.retry_after),
        **{key: value for key, value in told.items() if value is not None},
    )


def rejected(name: str) -> GatewayError:
    """Return what an error *name* means that has no meaning to clients."""
    return GatewayError(
        ErrorCode.UPSTREAM_REJECTED, "The contact centre refused it.", upstream_code=_printable(name)
    )


def _seconds(value: float | None) -> float | None:
    return value if value is not None and 0 <= value <= MOST else None


def _number(value: int | float | None) -> int | float | None:
    return value if value is not None and abs(value) <= MOST else None


def _instant(told: int | None, offset_ms: int) -> int | None:
    return in_gateway_time(told, offset_ms) if told is not None and abs(told) <= MOST else None


def _printable(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_.]{1,64}", name) else "Unknown"
