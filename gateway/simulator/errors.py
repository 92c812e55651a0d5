"""Errors of the server, and their codes on the link."""

from __future__ import annotations

from typing import Final

CODES: Final[dict[str, int]] = {
    "BadRequest": 1,
    "MethodUnknown": 2,
    "SessionUnknown": 3,
    "Forbidden": 4,
    "NotFound": 5,
    "WrongObjectType": 6,
    "VersionConflict": 7,
    "SkillUnknown": 10,
    "LevelOutOfRange": 11,
    "PreferenceOutOfRange": 12,
    "DuplicateSkill": 13,
    "NotLoggedOn": 20,
    "ReasonRequired": 21,
    "ReasonUnknown": 22,
    "ReasonWrongKind": 23,
    "NotAllowedWhileHandling": 24,
    "CannotLogOnForAnother": 25,
    "ParameterUnknown": 30,
    "ParameterReadOnly": 31,
    "ValueOutOfRange": 32,
    "WrongType": 33,
    "ReferenceUnknown": 34,
    "OverflowCycle": 35,
    "InconsistentParameters": 36,
    "NoContact": 40,
    "LimitReached": 41,
    "WrapupReasonRequired": 42,
    "NotPostProcessing": 43,
    "RemoteNumberInvalid": 50,
    "RemoteNumberNotAllowed": 51,
    "NumberInUse": 52,
    "FunctionUnavailable": 60,
    "Busy": 61,
    "Unsupported": 62,
    "Expired": 63,
    "Internal": 99,
}
"""Error name → code in a response."""

STATUSES: Final[dict[str, int]] = {
    "BadRequest": 400,
    "InvalidCredentials": 401,
    "SessionUnknown": 401,
    "AccountBlocked": 403,
    "RoleMissing": 403,
    "NotFound": 404,
    "AlreadyLoggedOn": 409,
    "NumberInUse": 409,
    "LinkStale": 409,
    "RemoteNumberMissing": 422,
    "RemoteNumberInvalid": 422,
    "RemoteNumberNotAllowed": 422,
    "AccountLocked": 423,
    "FunctionUnavailable": 503,
}
"""Error name → HTTP status."""


class Refused(Exception):  # noqa: N818 - an answer of the server, not an error in it
    """The server says no, with a name and the details that stand beside it on the wire."""

    def __init__(self, name: str, **details: object) -> None:
        super().__init__(name)
        self.name = name
        self.details = details

    @property
    def code(self) -> int:
        """The code in a response."""
        return CODES.get(self.name, CODES["Internal"])

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUSES.get(self.name, 500)
