"""One link: its state, and how it sends."""

from __future__ import annotations

from typing import Protocol

from gateway.simulator.session import Session
from gateway.simulator.subscriptions import Subscriptions


class Outlet(Protocol):
    """The way out to one peer. Never blocks; what is slow is its own business."""

    def send(self, frames: bytes) -> None:
        """Send whole frames, in order."""

    def close(self, code: int) -> None:
        """Say good-bye after what was sent."""

    def abort(self) -> None:
        """Cut the line."""


class Link:
    """One link of one user, from its admission to its end."""

    def __init__(self, link_id: str, session: Session) -> None:
        self.link_id = link_id
        self.account = session.account
        self.opened_by = session
        self.subscriptions = Subscriptions()
        self.outlet: Outlet | None = None
        self.replaced_by: int | None = None
        self.linger_until_ms: int | None = None
        self.repeatable: list[bytes] = []
        """The last partial events without ``Removed``: what a duplicate repeats."""
        self.hold_next = False
        """The next partial events come late."""
        self.late: list[bytes] = []

    def send(self, *frames: bytes) -> None:
        """Send frames in order; before the link is open there is nothing to send."""
        if frames and self.outlet is not None:
            self.outlet.send(frames[0] if len(frames) == 1 else b"".join(frames))
