"""Frames and answers that the checks send."""

from __future__ import annotations

from typing import Any, Final

from tests.conformance.wire import Frame

SESSION: Final = {"id": "s1", "application": "dashboard", "expires_at_ms": 1_900_000_000_000}
USER: Final = {"user_id": "7", "display_name": "Ada"}
LIMITS: Final = {
    "frame_bytes_in": 16_384, "frame_bytes_out": 262_144, "frames_per_s": 20.0, "frames_burst": 40,
    "topics": 64, "commands_in_flight": 8, "devices": 5,
}  # fmt: skip


def hail(server_time_ms: int, **fields: object) -> Frame:
    """Return a `welcome`."""
    return {
        "kind": "welcome", "session": SESSION, "user": USER, "rights": ["routing_state_write"],
        "application": "dashboard", "topics": {"granted": ["agents", "queues"], "refused": []},
        "resumed": False, "server_time_ms": server_time_ms, "ping_s": 25.0, "pace_s": 0.0, "limits": LIMITS,
        **fields,
    }  # fmt: skip


def changes(after: int, upto: int, **fields: object) -> Frame:
    return {"kind": "changes", "after": after, "upto": upto, **fields}


def result(id_: str, status: str = "applied", **fields: object) -> Frame:
    return {"kind": "result", "id": id_, "outcome": {"status": status, **fields}}


def notice(version: int = 2, **fields: object) -> Frame:
    return {
        "kind": "notice", "id": "n1", "version": version, "category": "privacy", "title": "New statement",
        "summary": "Read it.", "link": None, "effective_at_ms": 1_800_000_000_000, "must_acknowledge": True,
        **fields,
    }  # fmt: skip


def created(token: str = "token-1", **fields: object) -> dict[str, Any]:
    """Return the body of a log-on's 201."""
    return {"token": token, "session": SESSION, "user": USER, **fields}


def problem(status: int, code: str, **details: object) -> dict[str, Any]:
    """Return problem+json as RFC 9457 and the page have it."""
    return {
        "type": f"urn:oscc-gateway:error:{code}", "title": code.replace("_", " "), "status": status,
        "code": code, "detail": "In words.", **details,
    }  # fmt: skip
