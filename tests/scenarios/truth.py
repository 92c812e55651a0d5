"""What a phone must show, computed from what the simulated OSCC-E Server says of itself.

An independent reading of docs/protocol.md: it shares no code with the gateway.
"""

from __future__ import annotations

import re
from typing import Any

JITTER_MS = 2_000
STATES = {
    "Available": "available",
    "Unavailable": "unavailable",
    "Work": "work",
}


class Truth:
    """The whole truth of a simulated site at one quiet moment."""

    def __init__(self, truth: dict[str, Any]) -> None:
        self.time_ms: int = truth["Time"]
        self.users = {e["UserKey"]: e for e in truth["UserRealtime"]}
        self.queues = {e["QueueKey"]: e for e in truth["QueueRealtime"]}
        self.groups = {e["GroupKey"]: e for e in truth["GroupRealtime"]}
        self.aggregates = {e["AggregateKey"]: e for e in truth["AggregateRealtime"]}
        self.queue_days = {e["QueueKey"]: e for e in truth["QueueCumulative"]}
        self.user_days = {e["UserKey"]: e for e in truth["UserCumulative"]}

    def differences(self, shown: dict[str, dict[str, Any]], scope: dict[str, list[int]]) -> list[str]:
        """Return what a phone with *scope* shows wrongly; empty when it shows the truth."""
        found: list[str] = []
        expected = {f"agent:{k}" for k in scope["Users"]} | {f"queue:{k}" for k in scope["Queues"]}
        expected |= {f"group:{k}" for k in scope["Groups"]} | {f"aggregate:{k}" for k in scope["Aggregates"]}
        present = {key for key in shown if key.split(":")[0] in ("agent", "queue", "group", "aggregate")}
        if present != expected:
            found.append(f"keys: missing {expected - present}, too many {present - expected}")
        for key in sorted(present & expected):
            kind, number = key.split(":")
            wanted = getattr(self, f"_{kind}")(int(number))
            found += [
                f"{key}.{name}: shown {shown[key].get(name)!r}, true {value!r}"
                for name, value in wanted.items()
                if not _same(name, shown[key].get(name), value)
            ]
        return found

    def _agent(self, key: int) -> dict[str, Any]:
        day = self.user_days.get(key, {})
        counters = {"handled_today": day.get("Handled"), "talk_s_today": day.get("TotalTalkTime")}
        now = self.users.get(key)
        if now is None:
            return {"routing_state": "logged_off", "handling": [], "pending_routing_state": None, **counters}
        return {
            "routing_state": STATES[now["RoutingState"]],
            "routing_state_since_ms": self._since(now["TimeInRoutingState"]),
            "extension": now["Extension"],
            "reason_id": _id(now.get("ReasonKey")),
            "handling": [
                (c["CallID"], _snake(c["HandlingState"]), self._since(c["TimeInHandlingState"]))
                for c in now["HandlingStates"]
            ],
            "pending_routing_state": _snake(now.get("PendingRoutingState")),
            "presence_state": now.get("PresenceState"),
            **counters,
        }

    def _queue(self, key: int) -> dict[str, Any]:
        now, day = self.queues[key], self.queue_days.get(key, {})
        return {
            "contacts_waiting": now["Contacts"],
            "oldest_since_ms": self._since(now["OldestContactWaitTime"]),
            "service_level_pct": now["ServiceLevel"],
            "abandoned_rate_pct": now["AbandonedRate"],
            "agents_logged_on": now["LoggedOnUsers"],
            "agents_available": now["AvailableUsers"],
            "agents_handling": now["HandlingUsers"],
            "agents_post_processing": now["PostProcessingUsers"],
            "level": now["Level"].lower(),
            "received": day.get("Received"),
            "answered": day.get("Answered"),
            "abandoned": day.get("Abandoned"),
        }

    def _group(self, key: int) -> dict[str, Any]:
        now = self.groups[key]
        return {
            "users_logged_on": now["LoggedOnUsers"],
            "users_idle": now["IdleUsers"],
            "users_busy": now["BusyUsers"],
            "calls_waiting": now["CallsWaiting"],
        }

    def _aggregate(self, key: int) -> dict[str, Any]:
        now = self.aggregates[key]
        return {
            "contacts_waiting": now["Contacts"],
            "service_level_pct": now["ServiceLevel"],
            "oldest_since_ms": self._since(now["OldestContactWaitTime"]),
        }

    def _since(self, seconds: float | None) -> int | None:
        return None if seconds is None else round(self.time_ms - seconds * 1000)


def _same(name: str, shown: Any, true: Any) -> bool:
    if name == "handling":
        pairs = [(c["contact_id"], c["state"], c["since_ms"]) for c in shown]
        return len(pairs) == len(true) and all(
            mine[:2] == theirs[:2] and abs(mine[2] - theirs[2]) <= JITTER_MS
            for mine, theirs in zip(pairs, true, strict=True)
        )
    if name.endswith("_ms") and shown is not None and true is not None:
        return bool(abs(shown - true) <= JITTER_MS)
    return bool(shown == true)


def _snake(word: str | None) -> str | None:
    return None if word is None else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).lower()


def _id(key: int | None) -> str | None:
    return None if key is None else str(key)
