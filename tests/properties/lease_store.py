"""Model of a lease store, the scripts in Redis written in Python: acquire, renew or re-create, release."""

from __future__ import annotations

from typing import NamedTuple

from gateway.core.lease import Acquire

TTL = 15.0


class Owns(NamedTuple):
    """What the store says of the user."""

    holder: str
    token: int
    until: float


class Store:
    """One user's lease."""

    def __init__(self) -> None:
        self.owns: Owns | None = None
        self.newest = 0
        self.skew = 0

    def present(self, now: float) -> Owns | None:
        return self.owns if self.owns is not None and now < self.owns.until else None

    def acquire(self, holder: str, question: Acquire, now: float) -> Owns:
        present = self.present(now)
        if present is not None and present.token != question.expected:
            return present
        token = max(int(now) * 10 + self.skew, self.newest + 1, question.floor + 1)
        self.newest = token
        self.owns = Owns(holder, token, now + TTL)
        return self.owns

    def renew(self, holder: str, token: int, now: float) -> bool:
        present = self.present(now)
        if present is not None and present[:2] != (holder, token):
            return False
        if present is None and self.newest not in (0, token):
            return False
        self.newest = max(self.newest, token)
        self.owns = Owns(holder, token, now + TTL)
        return True

    def release(self, holder: str, token: int) -> None:
        if self.owns is not None and self.owns[:2] == (holder, token):
            self.owns = None

    def forget(self, skew: int) -> None:
        self.owns, self.newest, self.skew = None, 0, skew
