"""What travels between two nodes?

Whole values only; patches exist on the last hop alone. Every envelope names the user it is
about. Adapters seal envelopes; nothing here is readable outside a node's memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.domain.commands import Call, Outcome
from gateway.domain.errors import EndReason
from gateway.domain.model import Application, NodeId, Right, Scope, UserId
from gateway.domain.resources import Resource


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What OSCC-E said of one session; travels in the ledger beside the resources, never to phones.

    *handle* names the session inside the gateway. *end* is None while it lives; *accepted* is
    False until OSCC-E has accepted it in this epoch.
    """

    handle: str
    application: Application
    rights: tuple[Right, ...]
    scope: Scope
    expires_at_ms: int
    end: EndReason | None = None
    end_by: str | None = None


Value = Resource | SessionFacts


@dataclass(frozen=True, slots=True)
class Update:
    """The newest value of one key; None when it is gone."""

    key: str
    seq: int
    value: Value | None


@dataclass(frozen=True, slots=True)
class Publication:
    """Everything that happened in ``(after, upto]`` of one epoch of one user, compacted.

    No updates and ``after == upto`` is a heartbeat. *reset*: forget every key first.
    """

    user: UserId
    epoch: int
    after: int
    upto: int
    reset: bool
    updates: tuple[Update, ...]
    upstream: Literal["live", "stale", "down"]
    as_of_ms: int | None


@dataclass(frozen=True, slots=True)
class Since:
    """A follower asks what it is missing; asking is also the interest that keeps it published to."""

    user: UserId
    node: NodeId
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class Attach:
    """A follower asks the owner to have a session accepted by OSCC-E, and to follow its topics."""

    user: UserId
    node: NodeId
    request: int
    token: str
    """The sealed token; only nodes can open it."""
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Detach:
    """A follower's last device of a session left."""

    user: UserId
    handle: str


@dataclass(frozen=True, slots=True)
class AttachAnswer:
    """The session is accepted, or *error* says why not."""

    request: int
    error: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A command on its way to the owner."""

    user: UserId
    node: NodeId
    request: int
    call: Call


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """What became of it."""

    request: int
    outcome: Outcome


Envelope = Publication | Since | Attach | Detach | AttachAnswer | CallRequest | CallAnswer
