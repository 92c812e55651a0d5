"""Of which sorts are the things that happen?"""

from __future__ import annotations

from typing import Final

EVERYDAY: Final = ("count", "command", "roam", "vanish", "leave")
UNMOVED: Final = frozenset({"count", "command", "flush", "step", "freeze", "redis_down", "fail_over"})
"""What costs nobody his link or his connection: the trouble is Redis' alone, and nobody comes or goes."""
GENTLE: Final = frozenset({*EVERYDAY, "drain"})
"""What breaks nothing: every command has an outcome that is known."""
REFUSING: Final = frozenset({*EVERYDAY, "refuse", "kill"})
"""What keeps nobody out where OSCC-E fences links, though Redis may take no writes."""
