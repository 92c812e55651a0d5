"""Links of users, and their fencing.

One at a time, and the token decides (LinkFencing).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.simulator.errors import Refused


@dataclass(slots=True)
class Line:
    """What the server remembers of one user's links."""

    user_name: str
    token: int | None = None
    """The highest so far; None when none was seen (or none is needed)."""
    holder: str | None = None
    present: list[str] = field(default_factory=list)
    """Links that are open and not replaced: at most one, or something is wrong."""
    most_at_once: int = 0
    opens: int = 0
    replacements: int = 0
    refusals: int = 0
    closed_ms: int | None = None
    longest_gap_ms: int = 0
    """The longest time without a link between two of them."""


class Links:
    """The fence of all users' links.

    Invariant: the highest token of a user only grows while a session of his lives, and at most one
    of his links is present.
    """

    def __init__(self, *, fencing: bool = True) -> None:
        self.fencing = fencing
        self._lines: dict[int, Line] = {}

    def admit(
        self, user_key: int, user_name: str, link_id: str, token: int | None, holder: str | None, now_ms: int
    ) -> str | None:
        """Let *link_id* be the user's link from now on; returns the link that it replaces.

        Raises:
            Refused: ``BadRequest`` without token or holder, ``LinkStale`` with the highest token.
        """
        line = self._lines.setdefault(user_key, Line(user_name))
        if self.fencing:
            self._fence(line, token, holder)
        replaced = line.present.pop() if line.present else None
        line.opens += 1
        line.replacements += replaced is not None
        if line.closed_ms is not None and replaced is None:
            line.longest_gap_ms = max(line.longest_gap_ms, now_ms - line.closed_ms)
        line.closed_ms = None
        line.present.append(link_id)
        line.most_at_once = max(line.most_at_once, len(line.present))
        return replaced

    def outbid(self, user_key: int, token: int | None = None) -> tuple[int, str | None]:
        """Act as if another holder had opened a link; returns his token and the link he replaced."""
        line = self._lines.setdefault(user_key, Line(str(user_key)))
        line.token = token if token is not None else (line.token or 0) + 1
        line.holder = "another holder"
        replaced = line.present.pop() if line.present else None
        line.replacements += replaced is not None
        return line.token, replaced

    def present(self, user_key: int) -> str | None:
        """Return the user's link."""
        line = self._lines.get(user_key)
        return line.present[-1] if line is not None and line.present else None

    def token(self, user_key: int) -> int | None:
        """Return the highest token of the user."""
        line = self._lines.get(user_key)
        return None if line is None else line.token

    def is_present(self, user_key: int, link_id: str) -> bool:
        """Tell whether *link_id* is the user's link; a request read on any other is not executed."""
        return self.present(user_key) == link_id

    def closed(self, user_key: int, link_id: str, now_ms: int) -> None:
        """The link is gone. A replaced one was gone before."""
        line = self._lines.get(user_key)
        if line is not None and link_id in line.present:
            line.present.remove(link_id)
            line.closed_ms = now_ms

    def forget_token(self, user_key: int) -> None:
        """The user's last session is over, and with it his highest token. What was counted stays."""
        line = self._lines.get(user_key)
        if line is not None:
            line.token = line.holder = line.closed_ms = None

    def restart(self) -> None:
        """Forget every link and token. What was counted stays."""
        for line in self._lines.values():
            line.token = line.holder = line.closed_ms = None
            line.present.clear()

    def counts(self) -> dict[str, Line]:
        """Return what was seen, by user name."""
        return {line.user_name: line for line in self._lines.values()}

    def _fence(self, line: Line, token: int | None, holder: str | None) -> None:
        if token is None or not holder:
            raise Refused("BadRequest")
        if line.token is not None and (token < line.token or (token == line.token and holder != line.holder)):
            line.refusals += 1
            raise Refused("LinkStale", Token=line.token)
        line.token, line.holder = token, holder
