"""Bodies of the admin API.

One immutable type per body. What an operator sends is checked strictly, unknown members too: a misspelt
wish must not be carried out as another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, Strict, StringConstraints, TypeAdapter

from gateway.domain.model import Application
from gateway.protocol.bodies import ExportEntry
from gateway.protocol.frames import Flag

PURPOSE_CHARS_MAX: Final = 200
_STRICT: Final = ConfigDict(extra="forbid")
_NodeName = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Purpose = Annotated[str, Strict(), Field(min_length=1, max_length=PURPOSE_CHARS_MAX)]
_Digest = Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{64}$")]


# ---- operator → gateway ----


@dataclass(frozen=True, slots=True)
class NodeBody:
    """``POST /drain`` and ``POST /reload``: the node, if not the default."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    node: _NodeName | None = None


@dataclass(frozen=True, slots=True)
class LogLevelBody:
    """``POST /log-level``; without *node* all nodes."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    level: Literal["debug", "info", "warning", "error"]
    node: _NodeName | None = None


@dataclass(frozen=True, slots=True)
class BundleBody:
    """``POST /support-bundle``: a *preview*, or the *digest* of one, which is written then."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    preview: Flag = False
    purpose: _Purpose | None = None
    digest: _Digest | None = None


NODE: Final[TypeAdapter[NodeBody]] = TypeAdapter(NodeBody)
LOG_LEVEL: Final[TypeAdapter[LogLevelBody]] = TypeAdapter(LogLevelBody)
BUNDLE: Final[TypeAdapter[BundleBody]] = TypeAdapter(BundleBody)


# ---- gateway → operator ----


@dataclass(frozen=True, slots=True)
class Unreached:
    """A node that did not answer, and the reason."""

    node: str
    reason: Literal["not_heard", "no_answer", "bus_down", "refused"]


@dataclass(frozen=True, slots=True)
class AttachedSession:
    """A session that OSCC-E has accepted. *user* is a keyed hash, the same as in logs.

    *owner* is the node that has the user's link, *node* the one that the phone is connected to; None: the
    phone left, and may come back. *attached*: the present link serves it.
    """

    id: str
    user: str
    site: str
    application: Application
    owner: str
    node: str | None
    attached: bool
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class AttachedBody:
    """``GET /sessions``. *next*: the key for the next page; absent on the last page."""

    sessions: tuple[AttachedSession, ...]
    unreached: tuple[Unreached, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that is over for the gateway.

    *confirmed*: OSCC-E said that nothing is routed; else it is asked again. *by_node*: the node that asked.
    """

    id: str
    user: str
    application: Application
    by_node: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class EndedBody:
    """``DELETE /sessions/{id}`` and ``POST /users/{id}/end``."""

    ended: tuple[EndedSession, ...]
    unreached: tuple[Unreached, ...]


@dataclass(frozen=True, slots=True)
class HeldBody:
    """``GET /users/{id}/export``: one entry for each category of the inventory, also where nothing is held.

    Each record names its *node*. *complete*: every live node has answered, and all of it is here.
    """

    user: str
    at_ms: int
    complete: bool
    nodes: tuple[str, ...]
    unreached: tuple[Unreached, ...]
    entries: tuple[ExportEntry, ...]


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node's own record. *here*: it is the answering node.

    *sealing_keys*: ids and check values of its keys, the one that seals first.
    """

    node: str
    version: str
    connections: int
    links: int
    draining: bool
    accepts_per_s: float
    here: bool
    sealing_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodesBody:
    """``GET /nodes``."""

    nodes: tuple[NodeView, ...]


@dataclass(frozen=True, slots=True)
class CloseView:
    """A connection that ended, as in the log: *user* is a keyed hash, *address* a network."""

    id: str
    node: str
    at_ms: int
    initiator: str
    close_code: int
    close_reason: str
    user: str | None
    application: str | None
    codec: str | None
    address: str | None
    lasted_s: float
    frames_in: int
    frames_out: int
    bytes_out: int
    conflated: int
    commands: int


@dataclass(frozen=True, slots=True)
class ClosesBody:
    """``GET /closes``, the newest first. *next*: the key for the next page; absent on the last page."""

    closes: tuple[CloseView, ...]
    unreached: tuple[Unreached, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class KeptOld:
    """A node that could not use everything after a reload, and *what* stays old there."""

    node: str
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeysInForce:
    """The sealing keys of a node after a reload: ids and check values, the one that seals first."""

    node: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DoneBody:
    """``POST /log-level`` and ``POST /reload``: the nodes that did it, and the unreached ones.

    *kept*: those that were reached and did not do all of it; absent when there are none. *sealing_keys*: what
    each node that was reached has after a reload; absent after other acts.
    """

    nodes: tuple[str, ...]
    unreached: tuple[Unreached, ...]
    kept: tuple[KeptOld, ...] | None = None
    sealing_keys: tuple[KeysInForce, ...] | None = None

    @property
    def keys_differ(self) -> bool:
        """Whether the sealing keys of nodes differ, or their order does."""
        return len({each.keys for each in self.sealing_keys or ()}) > 1


@dataclass(frozen=True, slots=True)
class DrainBody:
    """``POST /drain`` → 202: the node has begun to send its phones away; then it ends."""

    node: str
    state: Literal["draining"] = "draining"


@dataclass(frozen=True, slots=True)
class BundleView:
    """``POST /support-bundle``: what would be written, whole, or where it was written (*path*)."""

    digest: str
    size_bytes: int
    bundle: dict[str, Any] | None = None
    path: str | None = None
