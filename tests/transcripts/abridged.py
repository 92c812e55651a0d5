"""Shorten a message to what is new in it.

What the same reader received before is left out, and so are the long part of keys, and secrets: "…"
stands for it. ``gone`` marks a member that was there before. Whatever else is shown is what was on the wire.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

Json = dict[str, Any]
NAMES: Final = frozenset(
    {
        "AggregateKey", "CallID", "Change", "GroupKey", "Key", "ObjectType", "QueueKey", "Session",
        "SkillKey", "UserKey", "contact_id", "id", "key", "retry", "skill_id", "stream",
    }
)  # fmt: skip
"""Members that say what something is about: they stay."""
HIDDEN: Final = frozenset({"token", "SessionID", "limits"})
"""Secrets, and what is the same in every welcome."""
_KEY: Final = re.compile(r'"00000000-0000-4000-8000-0*(\d{2,})"')
_MORE: Final = "…"
_LONG: Final = 64
_UNKNOWN: Final = object()


def wire(value: object, known: object = _UNKNOWN) -> str:
    """Return *value* as JSON without what *known* holds already."""
    return _KEY.sub(r'"…\1"', _short(value, known))


class LinkEar:
    """Reads one link as its gateway does, and returns what is new."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, object], Json] = {}

    def received(self, message: Json) -> str:
        """Return one message of the server, and remember it."""
        if message["Type"] != "Event":
            return wire(message)
        parts = [f'"{name}": {json.dumps(value)}' for name, value in message.items() if name != "Elements"]
        elements = ", ".join(self._element(message["EventType"], each) for each in message["Elements"])
        return "{" + ", ".join([*parts, f'"Elements": [{elements}]']) + "}"

    def _element(self, event_type: str, element: Json) -> str:
        about = next(element[name] for name in element if name.endswith("Key") or name == "Session")
        known = self._held.get((event_type, about), _UNKNOWN)
        self._held[event_type, about] = element
        return wire(element, known)


class PhoneEar:
    """Reads one connection as its phone does, and returns what is new."""

    def __init__(self) -> None:
        self._held: dict[str, Json] = {}

    def received(self, frame: Json) -> str:
        """Return one frame of the gateway, and take it in."""
        kind = frame["kind"]
        if kind != "changes":
            return f"{kind} {wire({name: value for name, value in frame.items() if name != 'kind'})}"
        if frame.get("reset"):
            self._held.clear()
        members = [f'"{name}": {self._member(name, frame[name])}' for name in frame if name != "kind"]
        return "changes {" + ", ".join(members) + "}"

    def _member(self, name: str, value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
        match name:
            case "put":
                self._held |= value
                return "{" + ", ".join(f'"{key}": {{{_MORE}}}' for key in sorted(value)) + "}"
            case "patch":
                return (
                    "{" + ", ".join(f'"{key}": {self._patch(key, value[key])}' for key in sorted(value)) + "}"
                )
            case _:
                return wire(value)

    def _patch(self, key: str, fields: Json) -> str:
        held = self._held[key]
        self._held[key] = {**held, **fields}
        return wire(fields, {name: held[name] for name in fields if name in held})


def _short(value: object, known: object = _UNKNOWN) -> str:
    match value:
        case dict():
            return "{" + ", ".join(_members(value, known if isinstance(known, dict) else None)) + "}"
        case list():
            return "[" + ", ".join(_items(value, known if isinstance(known, list) else [])) + "]"
        case str() if len(value) > _LONG:
            return json.dumps(value[:_LONG] + _MORE, ensure_ascii=False)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _members(value: Json, known: Json | None) -> list[str]:
    received: list[str] = []
    for name, each in value.items():
        before = _UNKNOWN if known is None else known.get(name, _UNKNOWN)
        if name in HIDDEN:
            received.append(f'"{name}": "…"')
        elif name in NAMES or before is _UNKNOWN or before != each:
            received.append(f'"{name}": {_short(each, before)}')
    gone = [] if known is None else [f'"{name}": gone' for name in known if name not in value]
    return received + gone + [_MORE] * (len(received) < len(value))


def _items(value: list[object], known: list[object]) -> list[str]:
    """Return what is new among items; when one has gone, which are left."""
    if any(each not in value and _same(each, value) is _UNKNOWN for each in known):
        return [_short(each, _same(each, known)) for each in value]
    fresh = [_short(each, _same(each, known)) for each in value if each not in known]
    return fresh + [_MORE] * (len(fresh) < len(value))


def _same(item: object, among: list[object]) -> object:
    """Return what *among* says of the same thing."""
    if isinstance(item, dict):
        for other in among:
            if isinstance(other, dict) and any(
                item.get(name) == other.get(name) for name in NAMES & item.keys()
            ):
                return other
    return _UNKNOWN
