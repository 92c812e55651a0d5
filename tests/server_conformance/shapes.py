"""Match a message of the server with the page's JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator

from tests.server_conformance.verdicts import Sentence

FILE: Final = Path(__file__).parents[2] / "docs" / "oscce-link.schema.json"
TYPES: Final = Sentence(
    "Conventions",
    "**The type of every field** is in [oscce-link.schema.json](oscce-link.schema.json)",
)
MESSAGES: Final = frozenset(
    {"LinkOpened", "Event", "Response", "SessionEnded", "ManagerStateChanged", "LinkReplaced", "Notice"}
)
"""What a server says; what is of another type is ignored."""


@cache
def _schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return found


@cache
def _validator(reference: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": reference, "$defs": _schema()["$defs"]})


def _fault(reference: str, value: object) -> str | None:
    """Return what is wrong with *value*, and where; None: nothing is."""
    for error in _validator(reference).iter_errors(value):
        place = "/".join(map(str, error.absolute_path))
        return f"{reference.rpartition('/')[2]}: {place or 'it'}: {error.message[:200]}"
    return None


def read_json(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """Return what *text* says; an integer may be written in any form, as ``10.0`` or ``1E2``.

    Raises:
        ValueError: It is no JSON.
    """
    return json.loads(text, parse_float=_number)


def _number(written: str) -> int | float:
    number = float(written)
    return int(number) if number.is_integer() else number


def message_fault(message: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a message on the link."""
    kind = message.get("Type")
    if not isinstance(kind, str):
        return "a message without Type"
    if kind not in MESSAGES:
        return None
    if kind != "Event":
        return _fault(f"#/$defs/{kind}", message)
    elements = message.get("Elements")
    whole = {**message, "Elements": []} if isinstance(elements, list) else message
    fault = _fault("#/$defs/Event", whole)
    of = _schema()["x-elements"].get(message.get("EventType"))
    if fault is not None or of is None or not isinstance(elements, list):
        return fault
    return next((wrong for each in elements if (wrong := _fault(of["$ref"], each))), None)


def answer_fault(method: str, response: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the response to *method*: a success, or a refusal's details."""
    if response.get("Error", 0) != 0:
        return _fault("#/$defs/ErrorDetails", response)
    of = _schema()["x-answers"].get(method)
    return None if of is None else _fault(of["$ref"], response)


def body_fault(route: str, body: object) -> str | None:
    """Return what is wrong with the body of a successful HTTPS answer."""
    return _fault(_schema()["x-bodies"][route]["$ref"], body)
