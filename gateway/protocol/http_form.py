"""Read and write HTTP bodies, errors included."""

from __future__ import annotations

from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol import json_form, wire_form
from gateway.protocol.limits import BadFrame, check_size, check_value

B = TypeVar("B")

BODY_BYTES_MAX: Final = 16 * 1024
"""Largest body that a client may send."""
JSON_TYPE: Final = "application/json"
PROBLEM_TYPE: Final = "application/problem+json"
SCHEMA_TYPE: Final = "application/schema+json"

_FAULTS: Final = {
    "missing": "is missing",
    "unexpected_keyword_argument": "is not known here",
    "string_type": "is no text",
    "bool_type": "is neither true nor false",
    "dataclass_type": "is no object",
    "tuple_type": "is no list",
    "string_too_short": "is too short",
    "string_too_long": "is too long",
    "too_long": "has too many elements",
    "string_pattern_mismatch": "is not written as it must be",
}
"""What is wrong with a member, by pydantic's name for it."""


def read_body(data: bytes, of: TypeAdapter[B]) -> B:
    """Read a client's body by the same rules as frames.

    Raises:
        GatewayError: ``bad_request``; names the member at fault and repeats nothing of what was in it.
    """
    try:
        check_size(data, BODY_BYTES_MAX)
        value = json_form.read(data)
        check_value(value)
        return of.validate_python(value)
    except BadFrame as bad:
        raise GatewayError(ErrorCode.BAD_REQUEST, f"The body cannot be read: {bad.reason}.") from None
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        path = ".".join(str(name) for name in fault["loc"]) or "the body"
        what = _FAULTS.get(fault["type"], "has a value that it cannot have")
        raise GatewayError(ErrorCode.BAD_REQUEST, f"Not as it should be: {path} {what}.") from None


def write_body(body: object) -> bytes:
    """Write one of :mod:`gateway.protocol.bodies`; optional members without a value are left out."""
    return json_form.write(wire_form.fields(body))


def problem(error: GatewayError) -> bytes:
    """Write *error* as problem details (RFC 9457 §3.1), its own details as extension members (§3.2)."""
    return json_form.write(problem_members(error))


def problem_members(error: GatewayError) -> dict[str, object]:
    """Return the members of *error*'s problem details."""
    members: dict[str, object] = {
        "type": f"urn:oscc-gateway:error:{error.code.value}",
        "title": error.code.value.replace("_", " ").capitalize(),
        "status": error.status,
        "detail": error.message,
        "code": error.code.value,
        **error.details,
    }
    if error.retry_after_s is not None:
        members["retry_after_s"] = error.retry_after_s
    return members
