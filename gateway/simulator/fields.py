"""Refusals of the simulated server with their codes, and fields of request bodies.

A missing or wrong field is a ``BadRequest``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

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
    """A refusal of the server, with a name and the details that stand beside it on the wire."""

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


ChoiceT = TypeVar("ChoiceT", bound=str)
MemberT = TypeVar("MemberT")
Body = Mapping[str, object]
TEXT_LIMIT = 1024
"""Characters of any text in a request."""
LIST_LIMIT = 100_000
"""Members of any list in a request."""


def _value(body: Body, name: str, kind: type[MemberT]) -> MemberT:
    value = body.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Refused("BadRequest", Field=name)
    return value


def integer(body: Body, name: str) -> int:
    """Return a whole number."""
    return _value(body, name, int)


def optional_integer(body: Body, name: str) -> int | None:
    """Return a whole number, or None when it is absent or null."""
    return None if body.get(name) is None else integer(body, name)


def number(body: Body, name: str) -> float:
    """Return a number."""
    value = body.get(name)
    return value if isinstance(value, float) else float(integer(body, name))


def text(body: Body, name: str) -> str:
    """Return a bounded text."""
    value = _value(body, name, str)
    if len(value) > TEXT_LIMIT:
        raise Refused("BadRequest", Field=name)
    return value


def optional_text(body: Body, name: str) -> str | None:
    """Return a bounded text, or None when it is absent or null."""
    return None if body.get(name) is None else text(body, name)


def one_of(body: Body, name: str, choices: tuple[ChoiceT, ...]) -> ChoiceT:
    """Return one of *choices*."""
    value = body.get(name)
    for choice in choices:
        if value == choice:
            return choice
    raise Refused("BadRequest", Field=name)


def flag(body: Body, name: str, *, default: bool | None = None) -> bool:
    """Return true or false; *default* when it is absent."""
    return _value({name: default, **body}, name, bool)


def optional_flag(body: Body, name: str) -> bool | None:
    """Return true or false, or None when it is absent or null."""
    return None if body.get(name) is None else flag(body, name)


def integers(body: Body, name: str) -> list[int]:
    """Return a bounded list of whole numbers."""
    return _members(body, name, int)


def texts(body: Body, name: str) -> list[str]:
    """Return a bounded list of texts."""
    return _members(body, name, str)


def mapping(body: Body, name: str) -> Body:
    """Return an object."""
    return _value(body, name, dict)


def mappings(body: Body, name: str) -> list[Body]:
    """Return a bounded list of objects."""
    return _members(body, name, dict)


def _members(body: Body, name: str, kind: type[MemberT]) -> list[MemberT]:
    value: list[MemberT] = _value(body, name, list)
    if len(value) > LIST_LIMIT or any(not isinstance(each, kind) or isinstance(each, bool) for each in value):
        raise Refused("BadRequest", Field=name)
    return value
