"""Refusals: map a gateway's answer, or its silence, to an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.domain.errors import Detail, ErrorCode, GatewayError

_OWN_MEMBERS: Final = frozenset(
    {"self", "code", "message", "retry_after_s", "type", "title", "status", "detail", "instance"}
)
"""Members of RFC 9457 §3.1 and of every error, and what no keyword can be; the others are details."""


class Unreachable(GatewayError):  # noqa: N818 - names what happened
    """No gateway answered. What was asked by HTTP may have happened; a command was not sent."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(ErrorCode.UPSTREAM_UNAVAILABLE, message, retry_after_s=retry_after_s)


def error_of(
    members: Mapping[str, object], status: int = 400, *, retry_after_s: float | None = None
) -> GatewayError:
    """Return the error that *members* describe: problem+json, an outcome's error, an error frame.

    A code that this version does not know becomes ``internal`` or ``bad_request`` by its *status*,
    and stands in the details as ``unknown_code``. *retry_after_s* holds when the members say nothing.
    """
    said, text = members.get("code"), members.get("message") or members.get("detail") or members.get("title")
    details = {name: _detail(value) for name, value in members.items() if name not in _OWN_MEMBERS}
    code = ErrorCode.INTERNAL if status >= 500 else ErrorCode.BAD_REQUEST
    if isinstance(said, str):
        try:
            code = ErrorCode(said)
        except ValueError:
            details["unknown_code"] = said
    wait = members.get("retry_after_s")
    return GatewayError(
        code,
        text if isinstance(text, str) else code.value,
        retry_after_s=float(wait) if isinstance(wait, int | float) else retry_after_s,
        **details,
    )


def _detail(value: object) -> Detail:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [
                {str(name): _plain(member) for name, member in record.items()}
                for record in value
                if isinstance(record, dict)
            ]
        case _:
            return str(value)


def _plain(member: object) -> str | int | bool | None:
    return member if isinstance(member, str | int | bool | None) else str(member)
