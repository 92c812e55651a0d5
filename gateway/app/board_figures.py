"""Which queues and agents does a mirror hold, in the order in which a supervisor must look at them?

Pure. What is unknown stays None; nothing is made up, and an odd value counts as unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.client import Kind, Value

LOGGED_OFF: Final = "logged off"
STATES: Final = (
    "handling",
    "post-processing",
    "available",
    "work",
    "unavailable",
    "unknown",
    LOGGED_OFF,
)
"""What an agent is doing, the busiest first."""
LEVELS: Final = ("action", "attention", "unknown", "ok")
"""How a queue fares, the worst first."""

_OWN: Final = (None, "self")
"""Who needs no mention when he chose his next state."""


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue."""

    name: str
    level: str
    waiting: int | None
    oldest_since_ms: int | None
    service_level_pct: float | None
    available: int | None
    handling: int | None
    post_processing: int | None
    unavailable: int | None
    work: int | None


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent."""

    name: str
    state: str
    doing: str
    """The state in more words: talking, ringing …"""
    since_ms: int | None
    ends_at_ms: int | None
    """When post-processing ends by itself."""
    reason: str | None
    pending: str | None
    """What comes when handling ends, and by whom when it was another's wish."""
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures over all queues and agents that are shown."""

    waiting: int | None
    """None when no queue tells."""
    waiting_partly: bool
    """Whether some queue does not tell."""
    oldest_since_ms: int | None
    action: int
    attention: int
    agents: Mapping[str, int] | None
    """State → how many; None when no agent is shown."""


def queue_rows(mirror: Mapping[str, Value]) -> list[QueueRow]:
    """Return the queues, worst first: level, longest wait, how many wait, how few were answered in time."""
    return sorted((_queue(key, value) for key, value in _of(mirror, Kind.QUEUE)), key=_badness)


def agent_rows(mirror: Mapping[str, Value]) -> list[AgentRow]:
    """Return the agents by state, in each state the one that is in it for longest first."""
    reasons = _reasons(mirror)
    rows = (_agent(key, value, reasons) for key, value in _of(mirror, Kind.AGENT))
    return sorted(
        rows,
        key=lambda row: (
            STATES.index(row.state),
            row.since_ms is None,
            row.since_ms or 0,
            row.name.casefold(),
        ),
    )


def totals(queues: list[QueueRow], agents: list[AgentRow]) -> Totals:
    """Return the figures over all of them."""
    told = [row.waiting for row in queues if row.waiting is not None]
    levels = Counter(row.level for row in queues)
    return Totals(
        waiting=sum(told) if told else None,
        waiting_partly=0 < len(told) < len(queues),
        oldest_since_ms=min((row.oldest_since_ms for row in queues if row.oldest_since_ms), default=None),
        action=levels["action"],
        attention=levels["attention"],
        agents=Counter(row.state for row in agents) if agents else None,
    )


# ---- one value ----


def _of(mirror: Mapping[str, Value], kind: Kind) -> list[tuple[str, Value]]:
    prefix = f"{kind}:"
    return [(key, value) for key, value in mirror.items() if key.startswith(prefix)]


def _queue(key: str, value: Value) -> QueueRow:
    level = _text(value, "level")
    return QueueRow(
        name=_text(value, "name") or key,
        level=level if level in LEVELS else "unknown",
        waiting=_whole(value, "contacts_waiting"),
        oldest_since_ms=_whole(value, "oldest_since_ms"),
        service_level_pct=_number(value, "service_level_pct"),
        available=_whole(value, "agents_available"),
        handling=_whole(value, "agents_handling"),
        post_processing=_whole(value, "agents_post_processing"),
        unavailable=_whole(value, "agents_unavailable"),
        work=_whole(value, "agents_work"),
    )


def _badness(row: QueueRow) -> tuple[int, int, int, float, str]:
    # an instant long ago is a long wait; no instant is no wait
    wait = row.oldest_since_ms if row.oldest_since_ms is not None else 2**62
    in_time = row.service_level_pct if row.service_level_pct is not None else 100.0
    return LEVELS.index(row.level), wait, -(row.waiting or 0), in_time, row.name.casefold()


def _agent(key: str, value: Value, reasons: Mapping[str, str]) -> AgentRow:
    state, doing, since_ms, ends_at_ms = _doing(value)
    pending = _text(value, "pending_routing_state")
    by = _text(value, "pending_by")
    reason_id = _text(value, "reason_id")
    return AgentRow(
        name=_text(value, "display_name") or key,
        state=state,
        doing=doing,
        since_ms=since_ms,
        ends_at_ms=ends_at_ms,
        reason=None if reason_id is None else reasons.get(reason_id, reason_id),
        pending=None if pending is None else f"{_spaced(pending)}{f' by {by}' if by not in _OWN else ''}",
        remarks=tuple(_remarks(value)),
    )


def _doing(value: Value) -> tuple[str, str, int | None, int | None]:
    """Return state, its words, since when, and until when."""
    contacts = [contact for contact in _list(value, "handling") if isinstance(contact, Mapping)]
    active = [contact for contact in contacts if contact.get("state") != "post_processing"]
    if active:
        first = min(active, key=lambda contact: _whole(contact, "since_ms") or 2**62)
        words = _spaced(_text(first, "state") or "handling")
        if len(active) > 1:
            words = f"{words} +{len(active) - 1}"
        return "handling", words, _whole(first, "since_ms"), None
    after = value.get("post_processing")
    if isinstance(after, Mapping):
        return "post-processing", "post-processing", _whole(after, "since_ms"), _whole(after, "ends_at_ms")
    if contacts:
        return "post-processing", "post-processing", _whole(contacts[0], "since_ms"), None
    words = _spaced(_text(value, "routing_state") or "unknown")
    state = words if words in STATES else "unknown"
    return state, words, _whole(value, "routing_state_since_ms"), None


def _remarks(value: Value) -> list[str]:
    remarks = []
    if value.get("logged_on_remotely") is True:
        remarks.append("remote")
    if value.get("app_present") is False:
        remarks.append("app absent")
    return remarks


def _reasons(mirror: Mapping[str, Value]) -> dict[str, str]:
    names: dict[str, str] = {}
    for reason in _list(mirror.get("catalogue:reasons", {}), "reasons"):
        if isinstance(reason, Mapping):
            id_, name = _text(reason, "reason_id"), _text(reason, "name")
            if id_ is not None and name is not None:
                names[id_] = name
    return names


def _list(value: Value, name: str) -> list[object]:
    found = value.get(name)
    return found if isinstance(found, list) else []


def _text(value: Value, name: str) -> str | None:
    found = value.get(name)
    return found if isinstance(found, str) and found else None


def _number(value: Value, name: str) -> float | None:
    found = value.get(name)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def _whole(value: Value, name: str) -> int | None:
    found = _number(value, name)
    return None if found is None else int(found)


def _spaced(word: str) -> str:
    return word.replace("_", " ")
