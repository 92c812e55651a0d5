"""What does one query of a link tell, and how far has it come?"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.domain.link_requests import Listen
from gateway.domain.model import Kind


@dataclass(slots=True, eq=False)
class Query:
    """One query of a link."""

    listen: Listen
    complete: bool = False
    """Whether its first complete reading came, or is not waited for."""
    refused: bool = False
    """Whether it is not to be had: never, or not yet."""
    whole_at_ms: int | None = None
    """When its whole set was last read: whatever was not in it was not there then."""

    def covers(self, kind: Kind, number: int) -> bool:
        """Tell whether it tells of a resource."""
        numbers = self.listen.numbers
        return self.listen.kind in (None, kind) and (numbers is None or number in numbers)

    @property
    def is_told(self) -> bool:
        """Whether its first complete reading came."""
        return self.complete and not self.refused

    @property
    def covers_all(self) -> bool:
        """Whether it tells of every resource of its kind."""
        return self.is_told and self.listen.numbers is None

    def tells(self, listen: Listen) -> bool:
        """Tell whether it has told all that is asked for by *listen*."""
        mine = self.listen
        if not self.complete or (mine.kind, mine.source) != (listen.kind, listen.source):
            return False
        return mine.numbers is None or (listen.numbers is not None and listen.numbers <= mine.numbers)
