"""Ports of the runtime with their contracts, and a node's role for a user.

Every adapter passes the contract suite of its port in ``tests/contracts``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from gateway.core.ledger import ChangeReader
from gateway.core.rate_limits import ReaderPace
from gateway.core.session import Session
from gateway.domain.commands import Call, History, LinkAnswer, LinkRequest, Outcome
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import Device, NodeId, SessionId, SessionSecret, Ticket, UserId
from gateway.domain.upstream import (
    About,
    LinkClosed,
    LinkEvent,
    LoggedOff,
    LoggedOn,
    LogOn,
    Reading,
    SessionInfo,
)
from gateway.protocol.envelopes import BusChannel, Envelope, Lingering, NodeRecord, SessionFacts
from gateway.protocol.frames import NoticeFrame
from gateway.telemetry import TakeoverKind

NODE_TTL_S: Final = 10.0
ENTRY_REFUSALS: Final = frozenset({"NOAUTH", "NOPERM", "TLS", "WRONGPASS"})
"""Refusals of a node by Redis: the first word of its reply, or TLS."""
WRITE_REFUSALS: Final = frozenset({"CLUSTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY"})
"""Refusals of writes alone, by Redis or one shard of a Redis Cluster: messages still pass."""


OnOutcome: TypeAlias = Callable[[Outcome], None]
"""Takes the outcome of a command. Never raises."""


OnForwarded: TypeAlias = Callable[[Outcome | None], None]
"""Takes the outcome of a command; None: the owner has not begun it. Never raises."""


class Executor(Protocol):
    """What executes commands at the owner: the owner here, or messages to the owner on another node."""

    @property
    def token(self) -> int:
        """The token of the owner, if that may change; else any number."""

    def execute(self, call: Call, settle: OnForwarded) -> Callable[[], None]:
        """Have a command executed.

        *settle* is called once, perhaps in this call, unless the returned function is called before.
        """


class Role(Protocol):
    """This node's role for a user."""

    @property
    def execution(self) -> Executor:
        """What executes commands while this is the role."""


Receive: TypeAlias = Callable[[Envelope], None]
"""Takes a message of another node. Never blocks."""


class Tasks(Protocol):
    """What runs tasks: an :class:`asyncio.TaskGroup`, or an object that ends its own tasks."""

    def create_task(self, work: Coroutine[Any, Any, None], /) -> object:
        """Run *work*. Raises :class:`RuntimeError` when no more tasks begin."""


class Clock(Protocol):
    """Time, and the only way to wait."""

    def now(self) -> float:
        """Return monotonic seconds. Never goes back."""

    def wall_ms(self) -> int:
        """Return ms since 1970 UTC. May jump."""

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of :meth:`now` have passed."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound the block: :class:`TimeoutError` when *seconds* of :meth:`now` passed inside it."""

    def call_later(self, seconds: float, act: Callable[[], None]) -> Callable[[], None]:
        """Call *act* when *seconds* of :meth:`now` have passed, unless the returned function is called."""


async def wait_at_most(clock: Clock, seconds: float, event: Awaitable[object]) -> None:
    """Return when *event* has happened, or after *seconds*."""
    with suppress(TimeoutError):
        async with clock.timeout(seconds):
            await event


class NotSentError(GatewayError):
    """``bus_down``, and the request has not left this node: no answer can come."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.BUS_DOWN, message)


OnPosted: TypeAlias = Callable[[int | GatewayError], None]
"""Takes the number of nodes that received a message, or why it is not known. Never raises."""


class Bus(Protocol):
    """Messages between nodes: at most once, in order from one node to another, possibly lost.

    The order holds over all channels: a node that is subscribed to two channels receives the messages of one
    sender in the order in which they were published.
    """

    async def subscribe(self, channel: BusChannel, receive: Receive) -> None:
        """Call *receive* for each envelope that is published to *channel* from now on.

        When this returns, the subscription is in force: later messages arrive, or are lost with the bus.
        While the bus is away it returns after a bounded time all the same. The subscription then takes effect
        when the bus is back, and :meth:`watch` reports it. *receive* must not block or raise. A channel has
        one receiver per node; a second subscribe replaces the first.
        """

    async def unsubscribe(self, channel: BusChannel) -> None:
        """End the subscription. Nothing arrives after this returned. Unknown channels are ignored."""

    async def publish(self, channel: BusChannel, envelope: Envelope) -> int:
        """Send it; return the number of nodes that were subscribed.

        Raises:
            GatewayError: ``bus_down``; the envelope may or may not have been sent.
            NotSentError: It was not sent.
        """

    def post(self, channel: BusChannel, envelope: Envelope, answered: OnPosted) -> bool:
        """Send it after all earlier ones, in this call, and call *answered* as soon as the result is known.

        Args:
            channel: Where to.
            envelope: The message.
            answered: Gets what :meth:`publish` returns, or the error that it would raise. It must not raise.

        Returns:
            False, and nothing happens, when it has to wait, for example for a large message before it: then
                only :meth:`publish` sends it.
        """

    def flush(self) -> None:
        """Write now what was posted, as far as the network accepts it, instead of in the loop's next turn."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the encoded messages that have not left yet, or have no answer."""

    def watch(self, report_loss: Callable[[], None]) -> None:
        """Call *report_loss* whenever messages may have been lost unnoticed, as after a reconnect."""


class Grant(NamedTuple):
    """The owner of a user: its node, its holder id, and its token."""

    node: NodeId
    holder: str
    token: int


class Leases(Protocol):
    """The owners of users. The tokens of a user only grow, also when the store loses its data.

    Every method raises :class:`GatewayError` ``bus_down`` when no answer came: the request may or may not
    have taken effect.
    """

    async def acquire(
        self, user: UserId, node: NodeId, holder: str, *, floor: int, expected: int | None = None
    ) -> Grant:
        """Request to own *user*; return the owner, whose holder may be another one.

        It is granted when no node holds the lease, when the present token equals *expected* (a planned or
        early takeover), or when *holder* has it already. A granted token is above *floor* and above every
        token granted before.
        """

    async def renew(self, user: UserId, node: NodeId, holder: str, token: int) -> bool:
        """Extend one's own lease, or create it again when the store has lost it.

        False: another node holds it.

        A token above every granted one always wins: its holder took the user while the store was away, and
        OSCC-E has accepted it.
        """

    async def renew_many(
        self, node: NodeId, holder: str, held: Sequence[tuple[UserId, int]]
    ) -> list[bool | None]:
        """Extend many of one's own leases at once, each as by :meth:`renew`; answers are in the same order.

        None stands for a lease without an answer, where several servers keep the leases.

        Args:
            node: The node that renews.
            holder: Its life.
            held: The users and the tokens of their leases.
        """

    async def release(self, user: UserId, holder: str, token: int) -> None:
        """Give one's own lease up; another node's lease is not changed."""

    async def read(self, user: UserId) -> Grant | None:
        """Return the present owner of *user*."""


class NodeRegistry(Protocol):
    """The nodes that run. A node that is not announced for :data:`NODE_TTL_S` is removed.

    Every method raises :class:`GatewayError` ``bus_down`` when no answer came.
    """

    async def announce(self, record: NodeRecord) -> None:
        """Store the record of a running node; it is stored again at least every 3 s."""

    async def leave(self, holder: str) -> None:
        """Remove the record of a node that ends."""

    async def nodes(self) -> tuple[NodeRecord, ...]:
        """Return the running nodes, ordered by id."""


LOG_OFFS_MAX: Final = 10_000
"""Unconfirmed log-offs that a shared store keeps, and that one node retries."""


RESERVATIONS_MAX: Final = 64
"""Reservations of one name that a shared store keeps."""


class KeptLogOff(NamedTuple):
    """A log-off that OSCC-E has not confirmed. Any node may repeat it; a repetition changes nothing.

    *holder*: the life of the node that retries it; empty when there is none. *until_ms*: when the session
    ends in any case. The ticket holds only what the request needs, without names.
    """

    holder: str
    until_ms: int
    ticket: Ticket

    def __repr__(self) -> str:
        return f"KeptLogOff({self.holder!r})"


class SharedStore(Protocol):
    """Small values about absent users that nodes share: best effort, each with a lifetime.

    Names are hashes, or are hashed here. Every method raises :class:`GatewayError` ``bus_down`` when no
    answer came.
    """

    @property
    def outlives_node(self) -> bool:
        """Whether other nodes can still read the values after this node has ended."""

    async def keep_log_off(self, kept: KeptLogOff, ttl_s: float) -> bool:
        """Store the log-off, in place of an earlier one of that session; False when too many are stored."""

    async def log_offs(self) -> tuple[KeptLogOff, ...]:
        """Return all stored log-offs."""

    async def drop_log_off(self, handle: str) -> None:
        """Delete the log-off of a session."""

    def pseudonym(self, text: str) -> str:
        """Return a keyed hash that stands for a user, or for the handle of a session."""

    async def deny(self, handle: str, reason: EndReason, ttl_s: float) -> None:
        """Store that a session ended."""

    async def shorten_denial(self, pseudonym: str, ttl_s: float) -> None:
        """Refuse the session whose handle has a pseudonym for *ttl_s* only, and delete the reason."""

    async def denied(self, handle: str) -> EndReason | None:
        """Return why a session ended, if that is stored."""

    async def count(self, name: str, ttl_s: float) -> int:
        """Add 1 to *name*'s counter, which lives *ttl_s* from its first count; return its value."""

    async def counted(self, name: str) -> int:
        """Return the value of *name*'s counter; 0 when there is none."""

    async def forget(self, name: str) -> None:
        """Delete *name*'s counter."""

    async def reserve(self, name: str, entry: str, ttl_s: float) -> tuple[str, ...]:
        """Make the reservation *entry* of *name* unless it is made; return all, the oldest first.

        It lasts *ttl_s* unless it is ended before. Without *entry* among them there were
        :data:`RESERVATIONS_MAX` already.
        """

    async def end_reservation(self, name: str, entry: str) -> None:
        """End a reservation of *name*."""


class Connection(Protocol):
    """One phone's connection, as the node sees it. No method blocks or raises."""

    def __hash__(self) -> int:
        """Connections are compared by identity."""

    @property
    def session(self) -> Session:
        """The connection's machine."""

    @property
    def device(self) -> Device:
        """The phone, from its token."""

    @property
    def last_received_at(self) -> float:
        """When its last frame arrived, monotonic seconds."""

    def wake(self) -> None:
        """Record that something may be due."""

    def updated(self) -> None:
        """Record that values wait for the phone, or for those that get the same frames."""

    def facts_changed(self, facts: SessionFacts) -> None:
        """Process OSCC-E's new facts of the session."""

    def announce(self, notice: NoticeFrame) -> None:
        """Send the phone a notice."""

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run *work* until it ends, or the connection does."""

    def fail(self, fault: Exception) -> None:
        """Close after a fault, which ends this connection only."""

    def close(
        self,
        code: CloseCode,
        reason: str,
        *,
        by: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> None:
        """Send `bye` with *code* and close."""


class Outlet(ChangeReader, Protocol):
    """Sends changes to other nodes; the outlet of the ledger while any node follows."""

    def flush(self) -> None:
        """Record a change of data or of its age."""

    def announce(self, notice: NoticeFrame) -> None:
        """Have a notice shown on other nodes."""


OnReadings: TypeAlias = Callable[[Sequence[Reading]], ReaderPace | None]
"""Receives readings in the order in which they came; none when only an answer to :meth:`Link.send` came.

It returns the pace of the only reader: later readings may wait until that one may be sent changes. None: they
must not wait.
"""
OnAnswer: TypeAlias = Callable[[LinkAnswer | GatewayError | LinkClosed], None]
"""Takes the answer to a request, its refusal, or the end of the link."""


class Link(Protocol):
    """One open link of one user. It has one owner, and ends with :class:`LinkClosed`."""

    @property
    def last_received_at(self) -> float:
        """When the last message of the server was received, in seconds of the clock's ``now``."""

    @property
    def has_message(self) -> bool:
        """Whether :meth:`receive` would return at once."""

    @property
    def waits_since(self) -> float | None:
        """When the oldest message came that is known to wait in this process; None: none is."""

    def arrival(self, on_readings: OnReadings) -> asyncio.Future[None] | None:
        """Return what is done when :meth:`receive` has something to process; None: call it now.

        A link is silent for most of its life, and a future takes less memory than a task that waits.
        Meanwhile *on_readings* takes readings, as there.
        """

    async def receive(self, on_readings: OnReadings | None = None) -> LinkEvent | None:
        """Return the next event; None for a message without one (an answer, a keep-alive).

        Readings that arrive during the wait may be given to *on_readings* instead, in their order among all
        events. Then most messages of a link wake no task. An exception of *on_readings* is raised here.

        Answers that are read on the way settle their :meth:`request`. So a caller that processes each event
        before the next call sees a request's effect before its answer.

        Raises:
            LinkClosed: The link is gone.
        """

    async def request(self, request: LinkRequest) -> LinkAnswer:
        """Send *request* and wait for its answer; needs a concurrent :meth:`receive`.

        The caller of a command bounds the wait for its answer; all other waits are bounded here.

        Raises:
            GatewayError: The server refused it, with the protocol's code, or gave no answer in time.
            LinkClosed: The link ended before the answer came, or before the request could be sent.
        """

    def send(self, request: LinkRequest, answered: OnAnswer) -> Callable[[], object] | None:
        """Send *request* without a task; None: it was not sent, and :meth:`request` can send it.

        *answered* is called at most once, with the answer or the end of the link, when :meth:`receive` has
        read everything before it. A call of the returned function withdraws *answered*: the caller bounds
        the wait. The next keep-alive ends the wait for the one before it.

        Raises:
            GatewayError: The request cannot be sent in any way.
        """

    async def close(self) -> None:
        """Close it. Requests under way end with :class:`LinkClosed`. It may be closed twice."""


class Upstream(Protocol):
    """One organisation's OSCC-E Server: the links to it."""

    async def about(self) -> About:
        """Return name, version and features of the server.

        Raises:
            GatewayError: ``upstream_version_unsupported`` or ``upstream_unavailable``.
        """

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> Link:
        """Open the user's link by any of their live sessions; the first event is ``Opened``.

        Raises:
            LinkClosed: ``session_unknown``, ``stale`` (with the token), ``unavailable``,
                ``version_unsupported``.
        """


class Authority(Protocol):
    """Log-ons and sessions of one organisation's OSCC-E Server. Each call is bounded in time.

    Instants are the gateway's, independent of the server's clock. Every method raises :class:`GatewayError`
    ``upstream_unavailable`` when no answer came, and ``session_ended`` when the server has no such session,
    or no longer.
    """

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        """Open a session.

        Raises:
            GatewayError: ``invalid_credentials``, ``account_locked``, ``account_blocked``,
                ``role_missing``, ``already_logged_on``, ``remote_number_*``, ``function_unavailable``,
                ``upstream_version_unsupported``.
        """

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        """End the session. An ended or unknown one counts as removed."""

    async def sessions(self, secret: SessionSecret) -> tuple[SessionInfo, ...]:
        """List the sessions of the user."""

    async def end(self, secret: SessionSecret, session: SessionId) -> LoggedOff:
        """End another session of the same user. Raises ``not_found`` when there is none.

        The answer for an ended session contains what is routed now.
        """

    async def keep_alive(self, secret: SessionSecret) -> int:
        """Request a longer life; return the new end, ms since 1970."""


RECONNECT_WINDOW_S: Final = (1.0, 10.0)


class RoleOverError(Exception):
    """The node's role for the user has changed: get the present role, and repeat the call."""


class InTurnError(Exception):
    """The session waits for its turn at a busy owner: repeat the call."""


class Local(NamedTuple):
    """A session with a phone on this node."""

    ticket: Ticket
    topics: tuple[str, ...]
    since: float = 0.0
    """When its phone connected, at the earliest."""
    at_latest: float = 0.0
    """The same, at the latest: this process may have been stopped when the phone's first frame came."""

    def is_same(self, other: Local | None) -> bool:
        """Return whether both are of one connection of the phone."""
        return other is not None and (other.since, other.at_latest) == (self.since, self.at_latest)

    def replaced(self, since: float | None = None) -> SessionRefused:
        """Return how to close its connection because its phone has moved to another node.

        If the phone may have come here later, it is to connect again: then it is certain where it is.

        Args:
            since: When it came there; None: at an unknown time after :attr:`since`.
        """
        is_certain = self.since >= self.at_latest if since is None else since > self.at_latest
        if is_certain:
            return SessionRefused(CloseCode.REPLACED, "replaced")
        return SessionRefused(CloseCode.REBALANCE, "replaced", window_s=RECONNECT_WINDOW_S)


class Start(NamedTuple):
    """The beginning of an ownership.

    *expected*: the lease may be taken from the holder of that token. *floor*: the highest token seen.
    *assumed*: the store is away, and OSCC-E decides. *history*, *lingering*: from the owner that gave the
    user away; they are valid when the lease is granted before *by*, since the owner may continue later.
    *kind*: how the user came from another owner; None when there was none, or it was this node. *entered*:
    the user already has a place in the site's admission queue. The place is given back when the link is open,
    or will not be opened.
    """

    expected: int | None = None
    floor: int = 0
    assumed: bool = False
    history: History | None = None
    by: float = math.inf
    lingering: tuple[Lingering, ...] = ()
    kind: TakeoverKind | None = None
    entered: bool = False


NO_START: Final = Start()
"""The beginning of an ownership that no other node had."""


def not_reached(
    *, for_bus: bool = False, window_s: tuple[float, float] = RECONNECT_WINDOW_S
) -> SessionRefused:
    """Return how to refuse a phone for whose session no node could act in time.

    *for_bus*: because no lease can be granted, although the store is reachable.
    """
    why = ErrorCode.BUS_DOWN if for_bus else ErrorCode.UPSTREAM_UNAVAILABLE
    return SessionRefused(CloseCode.INTERNAL, why, window_s=window_s)


TURN_MAX_S: Final = 50.0
"""The longest time until a phone whose turn did not come is to return: meanwhile its user keeps the turn, at
least where `linger_s` is as shipped.
"""


def not_their_turn(turn_in_s: float) -> SessionRefused:
    """Return how to refuse a phone whose session waited while this node served others before it."""
    first_s, last_s = RECONNECT_WINDOW_S
    after_s = max(0.0, min(turn_in_s, TURN_MAX_S) - first_s)
    reason = CloseCode.OVER_CAPACITY.name.lower()
    return SessionRefused(CloseCode.OVER_CAPACITY, reason, window_s=(first_s + after_s, last_s + after_s))


def too_many_numbers(wait_s: float) -> GatewayError:
    """Return how to refuse a change of the remote number, which may succeed after *wait_s*."""
    message = "The remote number was changed too often within the last hour."
    return GatewayError(ErrorCode.RATE_LIMITED, message, retry_after_s=wait_s)


class Cluster(NamedTuple):
    """What the nodes of a gateway share."""

    bus: Bus
    leases: Leases
    registry: NodeRegistry
    shared: SharedStore
    refusals: Callable[[], frozenset[str]] = frozenset
    """Returns what the bus server refuses now: words of ``ENTRY_REFUSALS`` and ``WRITE_REFUSALS``."""
    dropped: Callable[[], Mapping[str, int]] = dict
    """Returns how many messages of the bus were not accepted, by reason."""
    clock_offset_s: Callable[[], float | None] = lambda: 0.0
    """Returns how far the clock of the bus server is ahead of this node's; None: unknown."""


class SiteParts(NamedTuple):
    """One organisation's contact centre."""

    upstream: Upstream
    authority: Authority
    links_per_s: float | None = None
    """Log-ons and links per second at this site; None: as many as log-ons."""
    log_ons_per_s: float | None = None
    """Value of *links_per_s* if the site has no number of its own and twice the log-ons; None: as for any
    site.
    """
