"""Which fields may a value have? One value of each kind, with every field that the page lists."""

from __future__ import annotations

from typing import Any, Final

AT_MS: Final = 1_767_225_000_000

AGENT: Final[dict[str, Any]] = {
    "display_name": "Ada", "extension": "101", "group_ids": ["3"], "queue_ids": ["1"],
    "skills": [{"skill_id": "4", "level": 7, "preference": 2, "active": True}],
    "routing_state": "work", "routing_state_since_ms": AT_MS, "reason_id": "11",
    "routing_state_by": "supervisor", "pending_routing_state": "unavailable", "pending_by": "self",
    "pending_reason_id": "12", "pending_post_processing": True,
    "handling": [
        {"contact_id": "c1", "media": "voice", "state": "talking", "since_ms": AT_MS, "direct": False,
         "queue_id": "1"}
    ],
    "post_processing": {
        "since_ms": AT_MS, "ends_at_ms": AT_MS + 30_000, "extendable": True, "next_state": "available",
        "reason_id": "13",
    },
    "auto_post_processing": {"on": True, "duration_s": 30},
    "media": {
        "voice": "on", "callback": "off", "email": "off", "web_collaboration": "off", "open_media": "failed",
    },
    "presence_state": "In a meeting", "logged_on_remotely": True, "app_present": False,
    "app_absent_since_ms": AT_MS, "handled_today": 12, "talk_s_today": 340.5, "day_start_ms": AT_MS,
    "allowed_actions": ["set_available"], "version": 3_000_000_000,
}  # fmt: skip
QUEUE: Final[dict[str, Any]] = {
    "name": "Sales", "media": "voice", "skill_ids": ["4", "5"], "contacts_waiting": 3,
    "oldest_since_ms": AT_MS, "service_level_pct": 81.5, "service_level_threshold_s": 20,
    "service_level_formula": "answered", "abandoned_rate_pct": 2.5, "estimated_wait_s": 12.5,
    "agents_logged_on": 6, "agents_available": 1, "agents_handling": 2, "agents_post_processing": 1,
    "agents_unavailable": 1, "agents_work": 1, "window_start_ms": AT_MS, "received": 40, "answered": 36,
    "abandoned": 1, "average_wait_s": 9.5, "maximum_wait_s": 88, "level": "attention",
    "routing_parameters": {"threshold": 20, "overflow": ["2", "3"], "open": True, "text": "x"}, "version": 9,
}  # fmt: skip
GROUP: Final[dict[str, Any]] = {
    "name": "Team", "users_logged_on": 4, "users_idle": 1, "users_busy": 2, "users_away": 1,
    "users_handling_routed": 1, "users_handling_direct": 1, "calls_waiting": 3,
    "routing_parameters": {"limit": 5}, "version": 2,
}  # fmt: skip
AGGREGATE: Final[dict[str, Any]] = {
    "name": "All", "queue_ids": ["1", "2"], "contacts_waiting": 5, "service_level_pct": 80,
    "oldest_since_ms": AT_MS,
}  # fmt: skip
SITE: Final[dict[str, Any]] = {
    "extensions_version": "V2R1", "contact_center_version": "V8R2",
    "functions": {
        "realtime": "up", "routing": "degraded", "administration": "down", "voice": "up", "email": "up",
        "callback": "up", "web_collaboration": "unknown", "remote_agent": "up",
    },
}  # fmt: skip
ME: Final[dict[str, Any]] = {
    "user_id": "7", "display_name": "Ada", "agent": "7", "rights": ["own_routing_state"], "scope_size": 3,
    "remote_number": "+49301234567", "last_end": {"reason": "expired", "by": "system", "at_ms": AT_MS},
}  # fmt: skip
SKILLS: Final[dict[str, Any]] = {
    "skills": [
        {"skill_id": "4", "name": "French", "level_min": 1, "level_max": 9, "preference_min": 1,
         "preference_max": 5}
    ]
}  # fmt: skip
REASONS: Final[dict[str, Any]] = {
    "reasons": [{"reason_id": "11", "kind": "work", "name": "Project", "required_for": ["work"]}]
}
PARAMETERS: Final[dict[str, Any]] = {
    "parameters": [
        {"name": "threshold", "applies_to": "queue", "data_type": "integer", "min": 0, "max": 600, "step": 5,
         "values": [5, 10], "unit": "s", "read_only": False, "default": 20}
    ]
}  # fmt: skip
VALUES: Final[dict[str, dict[str, Any]]] = {
    "agent:7": AGENT, "queue:1": QUEUE, "group:3": GROUP, "aggregate:2": AGGREGATE, "site": SITE, "me": ME,
    "catalogue:skills": SKILLS, "catalogue:reasons": REASONS, "catalogue:routing_parameters": PARAMETERS,
}  # fmt: skip
"""By key."""
