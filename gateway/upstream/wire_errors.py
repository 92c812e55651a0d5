"""What does it mean when the server refuses something, or cannot be understood?

Each error name of the page, with the code and sentence that clients get for it. A name whose
code does not exist, and every name not on the page, is ``upstream_rejected`` with the name.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from gateway.domain.errors import Detail, ErrorCode, GatewayError
from gateway.upstream.wire_names import FUNCTIONS, MOST, Element

_CODES: Final[frozenset[str]] = frozenset(ErrorCode)

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

_MEANINGS: Final[dict[str, tuple[str, str]]] = {
    "BadRequest": ("bad_request", "The OSCC-E Server did not understand the request."),
    "MethodUnknown": ("unsupported_by_upstream", "The OSCC-E Server does not offer this."),
    "SessionUnknown": ("session_ended", "The session has ended."),
    "Forbidden": ("forbidden", "You are not allowed to do this."),
    "NotFound": ("not_found", "There is no such object."),
    "WrongObjectType": ("wrong_resource_kind", "This cannot be done to an object of this kind."),
    "VersionConflict": ("version_conflict", "Somebody else changed it meanwhile."),
    "SkillUnknown": ("skill_unknown", "There is no such skill."),
    "LevelOutOfRange": ("level_out_of_range", "The level is out of range."),
    "PreferenceOutOfRange": ("preference_out_of_range", "The preference is out of range."),
    "DuplicateSkill": ("duplicate_skill", "A skill is named twice."),
    "NotLoggedOn": ("not_logged_on", "The agent is not logged on."),
    "ReasonRequired": ("reason_required", "This state needs a reason."),
    "ReasonUnknown": ("reason_unknown", "There is no such reason."),
    "ReasonWrongKind": ("reason_wrong_kind", "The reason does not belong to this state."),
    "NotAllowedWhileHandling": ("not_allowed_while_handling", "A contact is being handled."),
    "CannotLogOnForAnother": ("cannot_log_on_for_another", "Nobody can be logged on by somebody else."),
    "ParameterUnknown": ("parameter_unknown", "There is no such routing parameter."),
    "ParameterReadOnly": ("parameter_read_only", "The routing parameter cannot be changed."),
    "ValueOutOfRange": ("value_out_of_range", "The value is out of range."),
    "WrongType": ("wrong_type", "The value has the wrong type."),
    "ReferenceUnknown": ("reference_unknown", "The value names an object that does not exist."),
    "OverflowCycle": ("overflow_cycle", "Overflow would lead back to the same queue."),
    "InconsistentParameters": ("inconsistent_parameters", "The values contradict each other."),
    "NoContact": ("no_contact", "There is no contact to post-process."),
    "LimitReached": ("limit_reached", "Post-processing cannot be made longer."),
    "WrapupReasonRequired": ("wrap_up_reason_required", "A wrap-up reason is needed."),
    "NotPostProcessing": ("not_post_processing", "There is no post-processing under way."),
    "RemoteNumberMissing": ("remote_number_missing", "A remote number is needed."),
    "RemoteNumberInvalid": ("remote_number_invalid", "The remote number is not valid."),
    "RemoteNumberNotAllowed": ("remote_number_not_allowed", "The remote number is not allowed."),
    "NumberInUse": ("remote_number_in_use", "The remote number is in use by somebody else."),
    "FunctionUnavailable": ("function_unavailable", "A function of the OSCC-E Server is not available."),
    "Busy": ("busy", "The OSCC-E Server is busy."),
    "Unsupported": ("unsupported_by_upstream", "The OSCC-E Server does not offer this."),
    "Expired": ("expired", "The command came too late."),
    "InvalidCredentials": ("invalid_credentials", "User name or password is wrong."),
    "AccountBlocked": ("account_blocked", "The account is blocked."),
    "AccountLocked": ("account_locked", "The account is locked after too many tries."),
    "RoleMissing": ("role_missing", "The user has no role for this application."),
    "AlreadyLoggedOn": ("already_logged_on", "The user is already logged on elsewhere."),
}


UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What msgspec raises on bytes that are not what was expected."""


class WireError(Exception):
    """A message cannot be read. Its text holds no value of the message."""


class Refusal(Element):
    """The details that may stand beside an error's name."""

    min: int | float | None = None
    max: int | float | None = None
    version: int | None = None
    function: str | None = None
    retry_after: float | None = None
    until: int | None = None
    where: str | None = None
    since: int | None = None


_decode_details: Final = msgspec.json.Decoder(Refusal).decode


def refusal(name: str, body: str | bytes) -> GatewayError:
    """Return what the error *name* means to clients, with such details of *body* as can be read."""
    code, message = _MEANINGS.get(name, ("", ""))
    if code not in _CODES:
        return GatewayError(
            ErrorCode.UPSTREAM_REJECTED, "The OSCC-E Server refused it.", upstream_code=_printable(name)
        )
    try:
        details = _decode_details(body)
    except UNREADABLE:
        details = Refusal()
    told: dict[str, Detail] = {
        "min": _number(details.min),
        "max": _number(details.max),
        "version": _number(details.version),
        "function": FUNCTIONS.get(details.function or ""),
        "until_ms": _number(details.until),
        "where": details.where,
        "since_ms": _number(details.since),
    }
    return GatewayError(
        ErrorCode(code),
        message,
        retry_after_s=details.retry_after,
        **{key: value for key, value in told.items() if value is not None},
    )


def _number(value: int | float | None) -> int | float | None:
    return value if value is not None and abs(value) <= MOST else None


def _printable(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_.]{1,64}", name) else "Unknown"
