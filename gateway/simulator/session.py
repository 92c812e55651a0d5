"""Session, and what remains of it after its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.simulator.accounts import Account, Application
from gateway.simulator.model import Scope

EndReason = Literal["LoggedOff", "LoggedOffBySupervisor", "Expired", "Blocked", "Maintenance", "TakenOver"]


@dataclass(frozen=True, slots=True)
class LogOn:
    """What somebody who logs on says."""

    application: Application
    user_name: str
    password: str
    device_id: str
    device_name: str
    remote_number: str | None = None
    takeover: bool = False


@dataclass(slots=True)
class Session:
    """One log-on of one user at one device."""

    secret: str
    public_id: str
    account: Account
    application: Application
    device_id: str
    device_name: str
    since_ms: int
    expires_ms: int
    idle_timeout_s: int
    rights: tuple[str, ...]
    scope: Scope
    link_id: str | None = None
    alias: int = 0
    present: bool = False
    ever_attached: bool = False
    idle_ms: int = 0
    counted_ms: int = 0
    """Idle time is counted up to here."""

    @property
    def remote(self) -> bool:
        """Is it a RemoteAssistant session?"""
        return self.application == "RemoteAssistant"

    @property
    def watched(self) -> bool:
        """Is it attached, with a device present?"""
        return self.link_id is not None and self.present


@dataclass(frozen=True, slots=True)
class Ended:
    """A session that is over."""

    session: Session
    reason: EndReason
    by: str | None
    at_ms: int
