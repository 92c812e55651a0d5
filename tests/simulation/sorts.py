"""Sorts of events, by the laws that they may affect."""

from __future__ import annotations

from typing import Final

EVERYDAY: Final = ("count", "command", "roam", "vanish", "leave")
UNMOVED: Final = frozenset({"count", "command", "flush", "step", "freeze", "redis_down", "fail_over"})
"""Events that cost no user their link or connection: only Redis has trouble, and no phone comes or goes."""
GENTLE: Final = frozenset({*EVERYDAY, "drain"})
"""Events without a fault: every command has a known outcome."""
REFUSING: Final = frozenset({*EVERYDAY, "refuse", "kill"})
"""Events that keep no phone out with link fencing, although Redis may refuse writes."""
