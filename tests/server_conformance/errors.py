"""Errors of the page. A test holds this table to it."""

from __future__ import annotations

from typing import Final

CODES: Final[dict[int, str]] = {
    1: "BadRequest", 2: "MethodUnknown", 3: "SessionUnknown", 4: "Forbidden", 5: "NotFound",
    6: "WrongObjectType", 7: "VersionConflict", 10: "SkillUnknown", 11: "LevelOutOfRange",
    12: "PreferenceOutOfRange", 13: "DuplicateSkill", 20: "NotLoggedOn", 21: "ReasonRequired",
    22: "ReasonUnknown", 23: "ReasonWrongKind", 24: "NotAllowedWhileHandling", 25: "CannotLogOnForAnother",
    30: "ParameterUnknown", 31: "ParameterReadOnly", 32: "ValueOutOfRange", 33: "WrongType",
    34: "ReferenceUnknown", 35: "OverflowCycle", 36: "InconsistentParameters", 40: "NoContact",
    41: "LimitReached", 42: "WrapupReasonRequired", 43: "NotPostProcessing", 50: "RemoteNumberInvalid",
    51: "RemoteNumberNotAllowed", 52: "NumberInUse", 60: "FunctionUnavailable", 61: "Busy",
    62: "Unsupported", 63: "Expired", 99: "Internal",
}  # fmt: skip
"""Code in a response → its name."""
STATUSES: Final[dict[str, int]] = {
    "InvalidCredentials": 401, "AccountBlocked": 403, "RoleMissing": 403, "AlreadyLoggedOn": 409,
    "NumberInUse": 409, "RemoteNumberMissing": 422, "RemoteNumberInvalid": 422, "RemoteNumberNotAllowed": 422,
    "AccountLocked": 423, "FunctionUnavailable": 503,
}  # fmt: skip
"""Error of a log-on → its HTTP status."""
