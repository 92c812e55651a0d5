"""The ports of the runtime, with their contracts; the events that metrics count; a node's role for a user.

Every adapter passes the contract suite of its port in ``tests/contracts``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from gateway.core.rate_limits import Urgency
from gateway.domain.commands import Call, Dropped, History, LinkAnswer, LinkRequest, Outcome
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import NodeId, SessionId, SessionSecret, Ticket, UserId
from gateway.domain.upstream import About, LinkEvent, LoggedOff, LoggedOn, LogOn, Reading, SessionInfo
from gateway.protocol.envelopes import Channel, Envelope, Lingering, NodeRecord, SessionFacts

NODE_TTL_S: Final = 10.0
ENTRY_REFUSALS: Final = frozenset({"NOAUTH", "NOPERM", "TLS", "WRONGPASS"})
"""How a Redis refuses a node: the first word of its reply, or TLS."""
WRITE_REFUSALS: Final = frozenset({"CLUSTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY"})
"""How a Redis, or the shard of a Redis Cluster, refuses writes alone: it still carries messages."""


class Clock(Protocol):
    """Time, and the only way to wait for it."""

    def now(self) -> float:
        """Return monotonic seconds. Never goes back."""
        ...

    def wall_ms(self) -> int:
        """Return ms since 1970 UTC. May jump."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of :meth:`now` have passed."""
        ...

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound the block: :class:`TimeoutError` when *seconds* of :meth:`now` passed inside it."""
        ...


class NotSentError(GatewayError):
    """``bus_down``, and the request has not left this node: no answer can come."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.BUS_DOWN, message)


class Bus(Protocol):
    """Messages between nodes: at most once, in order from one node to another, possibly lost.

    The order holds over all channels: what a node publishes to two of them arrives at a node that is
    subscribed to both in the order in which it was published.
    """

    async def subscribe(self, channel: Channel, receive: Callable[[Envelope], None]) -> None:
        """Call *receive* for each envelope published to *channel* from now on.

        When it returns the subscription is in force: what is published afterwards arrives,
        or is lost with the bus. While the bus is away it returns after a bounded time all the same, and
        comes into force with the bus; then :meth:`watch` reports it. *receive* must not block or raise. One
        receiver per channel and node; a second subscribe replaces the first.
        """
        ...

    async def unsubscribe(self, channel: Channel) -> None:
        """Stop. Nothing arrives after it returned. Unknown channels are ignored."""
        ...

    async def publish(self, channel: Channel, envelope: Envelope) -> int:
        """Send; returns how many nodes were subscribed.

        Raises:
            GatewayError: ``bus_down``; the envelope may or may not have been sent.
            NotSentError: It has not.
        """
        ...

    def watch(self, doubted: Callable[[], None]) -> None:
        """Call *doubted* whenever messages may have been lost unnoticed, as after a reconnect."""
        ...


class Grant(NamedTuple):
    """The owner of a user: its node, its holder id, and its token."""

    node: NodeId
    holder: str
    token: int


class Leases(Protocol):
    """The owners of users. The tokens of a user only grow, also when the store loses its data.

    Every method raises :class:`GatewayError` ``bus_down`` when no answer came: what was asked may
    or may not have happened.
    """

    async def acquire(
        self, user: UserId, node: NodeId, holder: str, *, floor: int, expected: int | None = None
    ) -> Grant:
        """Request to own *user*. Returns the owner: compare its holder with the one requested.

        Granted when no node holds it, or the present token equals *expected* (a planned or early
        take-over), or *holder* has it already and asks again. A granted token is above *floor* and above
        every token granted before.
        """
        ...

    async def renew(self, user: UserId, node: NodeId, holder: str, token: int) -> bool:
        """Extend one's own lease, or re-create it when the store forgot it. False: another holds.

        A token above every one that was granted wins in any case: its holder took the user while the
        store was away, and OSCC-E has accepted it.
        """
        ...

    async def renew_many(
        self, node: NodeId, holder: str, held: Sequence[tuple[UserId, int]]
    ) -> list[bool | None]:
        """Extend many of one's own leases at once: as :meth:`renew` each, answered in order.

        None stands for a lease of which no answer came, where leases are kept by several servers.

        Args:
            node: The node that asks.
            holder: Its life.
            held: The users and the tokens of their leases.
        """
        ...

    async def release(self, user: UserId, holder: str, token: int) -> None:
        """Give one's own lease up; another's is left alone."""
        ...

    async def read(self, user: UserId) -> Grant | None:
        """Return the present owner of *user*."""
        ...


class NodeRegistry(Protocol):
    """The nodes that run. A node that is not announced for :data:`NODE_TTL_S` is removed.

    Every method raises :class:`GatewayError` ``bus_down`` when no answer came.
    """

    async def announce(self, record: NodeRecord) -> None:
        """Store the record of a running node; again at least every 3 s."""
        ...

    async def leave(self, holder: str) -> None:
        """Remove the record of a node that ends."""
        ...

    async def nodes(self) -> tuple[NodeRecord, ...]:
        """Return the running nodes, ordered by id."""
        ...


LOG_OFFS_MAX: Final = 10_000
"""Unconfirmed log-offs that a shared store keeps, and a node retries."""


class KeptLogOff(NamedTuple):
    """A log-off that OSCC-E has not confirmed: any node may ask for it again, which changes nothing more.

    *holder*: the life of the node that retries it; empty: of none. *until_ms*: when the session is over
    anyway. The ticket holds what asking takes; names are left out.
    """

    holder: str
    until_ms: int
    ticket: Ticket

    def __repr__(self) -> str:
        return f"KeptLogOff({self.holder!r})"


class SharedStore(Protocol):
    """Small values that nodes share about absent users: best effort, each with a lifetime.

    Names are hashes already, or are made such. Every method raises :class:`GatewayError` ``bus_down``
    when no answer came.
    """

    @property
    def outlives_node(self) -> bool:
        """Whether other nodes still find the values when this node has ended."""
        ...

    async def keep_log_off(self, kept: KeptLogOff, ttl_s: float) -> bool:
        """Keep a log-off in place of what was kept of that session; False when too many are kept."""
        ...

    async def log_offs(self) -> tuple[KeptLogOff, ...]:
        """Return all that are kept."""
        ...

    async def drop_log_off(self, handle: str) -> None:
        """Keep the log-off of a session no longer."""
        ...

    def pseudonym(self, text: str) -> str:
        """Return a keyed hash that stands for a user, or for the handle of a session."""
        ...

    async def deny(self, handle: str, reason: EndReason, ttl_s: float) -> None:
        """Store that a session ended."""
        ...

    async def shorten_denial(self, pseudonym: str, ttl_s: float) -> None:
        """Refuse the session whose handle has a pseudonym for *ttl_s* only, and forget the reason."""
        ...

    async def denied(self, handle: str) -> EndReason | None:
        """Return why a session ended, if that is stored."""
        ...

    async def count(self, name: str, ttl_s: float) -> int:
        """Add one to *name*'s counter, which lives *ttl_s* from its first; returns how many it has now."""
        ...

    async def counted(self, name: str) -> int:
        """Return *name*'s counter; 0 when there is none."""
        ...

    async def forget(self, name: str) -> None:
        """Remove *name*'s counter."""
        ...


Hear: TypeAlias = Callable[[Sequence[Reading]], None]
"""Takes in readings that came one after the other, at least one."""


class Link(Protocol):
    """One open link of one user. Used by one owner; ends with :class:`LinkClosed`."""

    @property
    def heard_at(self) -> float:
        """When a message of the server was last received, in seconds of the clock's ``now``."""
        ...

    @property
    def speaks(self) -> bool:
        """Whether :meth:`receive` would return at once."""
        ...

    async def receive(self, hear: Hear | None = None) -> LinkEvent | None:
        """Return the next event; None when a message came that carries none (an answer, a keep-alive).

        Readings that come while it waits may be given to *hear* instead, in their order among all that is
        returned: most of what a link brings then wakes no task. What *hear* raises is raised here.

        Answers met on the way settle their :meth:`request`, so a caller that processes each event
        before calling again sees a request's effect before its answer.

        Raises:
            LinkClosed: The link is gone.
        """
        ...

    async def request(self, request: LinkRequest) -> LinkAnswer:
        """Send *request* and wait for its answer; needs a concurrent :meth:`receive`.

        The caller of a command bounds the wait for its answer; any other wait is bounded here.

        Raises:
            GatewayError: The server refused it, with the protocol's code, or gave no answer in time.
            LinkClosed: The link went before the answer came.
        """
        ...

    async def close(self) -> None:
        """Close it. Requests under way end with :class:`LinkClosed`. Closing twice is fine."""
        ...


class Upstream(Protocol):
    """One organisation's OSCC-E Server: the links to it."""

    async def about(self) -> About:
        """Return which server this is.

        Raises:
            GatewayError: ``upstream_version_unsupported`` or ``upstream_unavailable``.
        """
        ...

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> Link:
        """Open the user's link by any of their live sessions; the first event is ``Opened``.

        Raises:
            LinkClosed: ``session_unknown``, ``stale`` (with the token), ``unavailable``,
                ``version_unsupported``.
        """
        ...


class Authority(Protocol):
    """One organisation's OSCC-E Server: log-ons and sessions. Each call is bounded in time.

    Instants are the gateway's, whatever the server's clock says. Every method raises
    :class:`GatewayError` ``upstream_unavailable`` when no answer came, and ``session_ended`` when
    the session is not known, or no longer.
    """

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        """Open a session.

        Raises:
            GatewayError: ``invalid_credentials``, ``account_locked``, ``account_blocked``,
                ``role_missing``, ``already_logged_on``, ``remote_number_*``, ``function_unavailable``,
                ``upstream_version_unsupported``.
        """
        ...

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        """End the session. An ended or unknown one counts as removed."""
        ...

    async def sessions(self, secret: SessionSecret) -> tuple[SessionInfo, ...]:
        """List the sessions of the user."""
        ...

    async def end(self, secret: SessionSecret, session: SessionId) -> LoggedOff:
        """End another session of the same user. Raises ``not_found`` when it is none.

        The answer to an ended one contains what is routed now.
        """
        ...

    async def keep_alive(self, secret: SessionSecret) -> int:
        """Ask for more life; returns the new end, ms since 1970."""
        ...


Takeover = Literal["planned", "early", "expired", "assumed"]
"""How a node came to own a user of another: offered by the owner; taken from one that is deaf; when
its lease was gone; without the store, which is away."""
Gift = Literal["roam", "drain", "island"]
"""Why a node gives a user to another: their phones are there; it drains; it does not reach the site."""
Detector = Literal["sequence", "probe", "subscription"]
"""What noticed that messages were lost, or may have been."""
Resync = Literal["gap", "bus", "epoch"]
"""Why a follower asks for all that may be missing: a gap, the bus is back, another owner began."""

Part = Literal["log_off", "fleet", "endings"]
"""Background work that goes on after a fault: retries of log-offs, membership, ends of sessions."""


class Tally:
    """Receives events and does nothing. A subclass counts them.

    No method blocks or raises; each is cheap enough for the place that it is called from.
    """

    def took_over(self, kind: Takeover) -> None:
        """Record that this node was granted, or assumed, a user of another."""

    def saw_again(self, blind_s: float) -> None:
        """Record how long after it began to take a user over everything asked for was there."""

    def gave(self, reason: Gift) -> None:
        """Record that another node took a user that this one offered to it."""

    def fenced_itself(self) -> None:
        """Record that a lease ran out unrenewed: this node may no longer act by it."""

    def saw_two_owners(self) -> None:
        """Record that lease and link name different owners, for longer than a move takes."""

    def dropped_stale_epoch(self) -> None:
        """Record that what an earlier owner said was not processed."""

    def found_gap(self, detector: Detector) -> None:
        """Record that messages of the bus were lost, or may have been."""

    def resynced(self, reason: Resync) -> None:
        """Record that a follower asks for all that may be missing."""

    def probed(self, seconds: float) -> None:
        """Record how long this node's own probe was under way."""

    def published(self) -> None:
        """Record that the bus took a message."""

    def came(self, event: LinkEvent) -> None:
        """Record that a link brought *event*, which is no reading: these are counted where they are read."""

    def left_out(self, site: str, dropped: Sequence[Dropped]) -> None:
        """Record which rows of a site's directory could not be read."""

    def read(self, seconds: float) -> None:
        """Record how long after its receipt a message of a link was in the mirror, of a sample."""

    def arrived(self, seconds: float) -> None:
        """Record how long after its receipt at the owner news was on this node, by the nodes' wall clocks."""

    def attached(self, phones: int) -> None:
        """Record that a phone is served, and how many its user has on this node."""

    def session_ended(self, reason: EndReason) -> None:
        """Record that a session of a user of this node ended."""

    def faulted(self, part: Part) -> None:
        """Record that background work failed for an unforeseen reason, and goes on."""

    def waited(self, urgency: Urgency, seconds: float) -> None:
        """Record how long a link waited for its turn at the site."""


RECONNECT_WINDOW_S: Final = (1.0, 10.0)


class RoleOverError(Exception):
    """The node's role for the user has changed: ask again what it is."""


class Local(NamedTuple):
    """A session with a phone on this node."""

    ticket: Ticket
    topics: tuple[str, ...]
    since: float = 0.0
    """When its phone came."""


class Start(NamedTuple):
    """How an ownership begins.

    *expected*: the lease may be taken from the holder of that token. *floor*: the highest token seen.
    *assumed*: the store is away, OSCC-E decides. *history*, *lingering*: from the owner that gave, good
    when the lease is granted *by* that time; later the owner may have gone on.
    *kind*: of another owner's user; None of one that no node owns, or one's own. *entered*: the user already
    has a place in the site's admission queue. It is given back when the link is open, or will not be opened.
    """

    expected: int | None = None
    floor: int = 0
    assumed: bool = False
    history: History | None = None
    by: float = math.inf
    lingering: tuple[Lingering, ...] = ()
    kind: Takeover | None = None
    entered: bool = False


class Role(Protocol):
    """What a user state does for its phones."""

    async def attach(self, ticket: Ticket, topics: tuple[str, ...]) -> SessionFacts:
        """Return when OSCC-E has accepted the session in this epoch and the mirror shows what it follows.

        Raises:
            SessionRefused: It has ended, or no answer came in time.
            RoleOverError: The role ended meanwhile.
        """
        ...

    def follow(self, handle: str, topics: tuple[str, ...]) -> None:
        """Listen to what the session follows now."""
        ...

    def leave(self, handle: str) -> None:
        """Record that the session's phone left this node."""
        ...

    def let_go(self, handle: str) -> None:
        """Act for a session no longer."""
        ...

    async def execute(self, call: Call) -> Outcome | None:
        """Have a command executed at most once, and return what became of it.

        None: nothing, since the role is over or is about to be.
        """
        ...

    def owned(self, grant: Grant) -> None:
        """Record that another node owns the user, as it says itself: the store of leases takes no writes."""
        ...

    def tick(self, now: float) -> None:
        """Do what is due by time."""
        ...

    def due_at(self, now: float) -> float:
        """Return when :meth:`tick` has something to do if nothing happens before; *now*: each time."""
        ...

    def stop(self) -> None:
        """End: :meth:`run` returns soon."""
        ...

    async def run(self) -> None:
        """Play the role until it is over."""
        ...


def not_reached(*, for_bus: bool = False) -> SessionRefused:
    """Return how a phone is refused whose session no node could act for in time.

    *for_bus*: since no lease is to be had, though the store is there.
    """
    why = ErrorCode.BUS_DOWN if for_bus else ErrorCode.UPSTREAM_UNAVAILABLE
    return SessionRefused(CloseCode.INTERNAL, why, window_s=RECONNECT_WINDOW_S)
