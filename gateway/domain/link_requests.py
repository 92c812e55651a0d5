"""Requests of a gateway on a user's link, and their answers.

The requests of :meth:`gateway.runtime.ports.Link.request`, whatever the wire. What the server
tells unasked is in :mod:`gateway.domain.upstream`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.domain.catalogue import Reason, RoutingParameter, Skill
from gateway.domain.commands import Command
from gateway.domain.model import Kind, SessionSecret
from gateway.domain.upstream import Attached, Part, Source


@dataclass(frozen=True, slots=True, repr=False)
class AttachSession:
    """Attach a further session of the user. Answer: :class:`Attached`."""

    secret: SessionSecret


@dataclass(frozen=True, slots=True)
class DetachSession:
    """Take a session off this link without ending it. Answer: None."""

    alias: int


@dataclass(frozen=True, slots=True)
class Presence:
    """Say whether a device of the session is connected. Answer: None."""

    alias: int
    present: bool


@dataclass(frozen=True, slots=True)
class Listen:
    """Ask for parts of one *kind* and *source*; *numbers* None means all in the union of scopes.

    ``Listen(None, CONFIGURATION, None)`` and ``Listen(None, DIRECTORY, None)`` (live directory,
    scope and catalogue changes) cover all kinds. Answer: :class:`Listening`.
    """

    kind: Kind | None
    source: Source
    numbers: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class StopListening:
    """End a query. Answer: None."""

    query: int


@dataclass(frozen=True, slots=True)
class QueryDirectory:
    """Ask for all directory objects and catalogues in the union of scopes. Answer: :class:`Directory`."""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Break a silence. Answer: None."""


@dataclass(frozen=True, slots=True)
class Execute:
    """Execute *command* for the session. Answer: :class:`Executed`."""

    alias: int
    command: Command
    key: str
    not_after_ms: int
    """Server clock."""


LinkRequest = (
    AttachSession | DetachSession | Presence | Listen | StopListening | QueryDirectory | KeepAlive | Execute
)


# ---- answers ----


@dataclass(frozen=True, slots=True)
class Listening:
    """A query runs; its first complete reading follows."""

    query: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows of one kind of the directory that were left out for one reason."""

    kind: str
    """As the server calls it."""
    why: str
    """A field and what is wrong with it; never a value."""
    rows: int


@dataclass(frozen=True, slots=True)
class Directory:
    """All directory objects that the attached sessions may see, and the catalogues."""

    parts: tuple[Part, ...]
    skills: tuple[Skill, ...]
    reasons: tuple[Reason, ...]
    parameters: tuple[RoutingParameter, ...]
    dropped: tuple[Dropped, ...] = ()
    """What could not be read, and is left out."""


@dataclass(frozen=True, slots=True)
class Executed:
    """The server's answer to a command; its effect came before."""

    state: Literal["applied", "pending", "unchanged"]
    version: int | None = None


LinkAnswer = Attached | Listening | Directory | Executed | None
