"""Elements that changed since they were last read."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


class Kind(enum.StrEnum):
    """The event types that carry elements with keys."""

    USER = "UserRealtime"
    QUEUE = "QueueRealtime"
    GROUP = "GroupRealtime"
    AGGREGATE = "AggregateRealtime"
    QUEUE_CUMULATIVE = "QueueCumulative"
    USER_CUMULATIVE = "UserCumulative"
    CONFIGURATION = "Configuration"


@dataclass(slots=True)
class Changes:
    """Keys by kind. *own* names users of whom only what they see of themselves changed.

    Invariant: bounded by the number of objects; a key changed twice stands once.
    """

    keys: dict[Kind, set[int]] = field(default_factory=lambda: {kind: set() for kind in Kind})
    own: set[int] = field(default_factory=set)

    def add(self, kind: Kind, keys: Iterable[int]) -> None:
        """Note changed elements."""
        self.keys[kind].update(keys)

    def told(self, other: Changes) -> None:
        """Forget what *other* notes: it has been read since."""
        for kind, keys in other.keys.items():
            self.keys[kind] -= keys
        self.own -= other.own

    def __len__(self) -> int:
        """Count the changed elements."""
        return sum(map(len, self.keys.values())) + len(self.own)

    def __iter__(self) -> Iterator[Kind]:
        """List the kinds with changes."""
        return (kind for kind, keys in self.keys.items() if keys or (kind is Kind.USER and self.own))
