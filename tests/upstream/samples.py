"""Bytes of a server: one full sample of each element and message, as the page describes them."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from gateway.domain.resources import Composed, Queue, QueueEntry, QueueFigures, QueueWindow
from gateway.domain.upstream import Part

TIME_MS: Final = 1_700_000_100_000
"""When the sample readings were read."""
SAMPLES: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("samples.json").read_text("utf-8"))

USER_REALTIME: Final[dict[str, Any]] = SAMPLES["USER_REALTIME"]
QUEUE_REALTIME: Final[dict[str, Any]] = SAMPLES["QUEUE_REALTIME"]
GROUP_REALTIME: Final[dict[str, Any]] = SAMPLES["GROUP_REALTIME"]
AGGREGATE_REALTIME: Final[dict[str, Any]] = SAMPLES["AGGREGATE_REALTIME"]
QUEUE_CUMULATIVE: Final[dict[str, Any]] = SAMPLES["QUEUE_CUMULATIVE"]
USER_CUMULATIVE: Final[dict[str, Any]] = SAMPLES["USER_CUMULATIVE"]
SKILLS: Final[list[dict[str, Any]]] = SAMPLES["SKILLS"]
USER_CONFIGURATION: Final[dict[str, Any]] = SAMPLES["USER_CONFIGURATION"]
QUEUE_CONFIGURATION: Final[dict[str, Any]] = SAMPLES["QUEUE_CONFIGURATION"]
GROUP_CONFIGURATION: Final[dict[str, Any]] = SAMPLES["GROUP_CONFIGURATION"]
USER: Final[dict[str, Any]] = SAMPLES["USER"]
SESSION: Final[dict[str, Any]] = SAMPLES["SESSION"]
LINK_OPENED: Final[dict[str, Any]] = SAMPLES["LINK_OPENED"]


def event(event_type: str, *elements: dict[str, Any], **further: Any) -> bytes:  # noqa: ANN401 - JSON
    received = {
        "Type": "Event",
        "QueryID": 1,
        "EventType": event_type,
        "Time": TIME_MS,
        "Complete": False,
        "Elements": list(elements),
    }
    return json.dumps(received | further).encode()


def message(type_: str, **fields: Any) -> bytes:  # noqa: ANN401 - JSON
    """Write any other message."""
    return json.dumps({"Type": type_, **fields}).encode()


def whole(part: Part) -> Composed:
    """Return the value of *part* as the resource of which it is one; of a queue it may hold fewer fields."""
    value = part.value
    if isinstance(value, QueueEntry | QueueFigures | QueueWindow):
        return Queue(**{each.name: getattr(value, each.name) for each in fields(value)})
    return value
