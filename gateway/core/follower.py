"""Follower of a user: its requests to the owner, how it applies changes, and which owner nodes it reaches.

Pure. *now* is monotonic seconds.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from gateway.core.element import Element
from gateway.core.ledger import Delta, Ledger, Receipt, Update
from gateway.core.view import FACTS_PREFIX, OWN_PREFIXES, is_own
from gateway.domain.model import NodeId, StateMachine, UserId
from gateway.protocol import frames
from gateway.protocol.envelopes import Publication, Value


class FollowState(enum.StrEnum):
    """The event for which the follower of one user waits."""

    INCOMPLETE = "incomplete"
    """A change may be missing: a request to the owner is due as soon as it is allowed."""
    ASKING = "asking"
    """A request to the owner is under way; without an answer it is repeated."""
    FOLLOWING = "following"
    """Nothing is missing, as far as known; requests at intervals keep the owner publishing."""
    SEARCHING = "searching"
    """The owner is unknown: the lease must be read."""


TRANSITIONS: Final[dict[tuple[FollowState, str], FollowState]] = {
    (FollowState.INCOMPLETE, "ask"): FollowState.ASKING,
    (FollowState.ASKING, "ask"): FollowState.ASKING,
    (FollowState.FOLLOWING, "ask"): FollowState.ASKING,
    (FollowState.ASKING, "answered"): FollowState.FOLLOWING,
    (FollowState.ASKING, "unread"): FollowState.INCOMPLETE,
    (FollowState.FOLLOWING, "gap"): FollowState.INCOMPLETE,
    (FollowState.FOLLOWING, "ask_again"): FollowState.INCOMPLETE,
    **{(state, "lost"): FollowState.SEARCHING for state in FollowState if state is not FollowState.SEARCHING},
    (FollowState.SEARCHING, "read"): FollowState.INCOMPLETE,
}


class FollowedNodes:
    """The nodes that own users who are followed on this node. A user without a change costs nothing."""

    def __init__(self) -> None:
        self._owner_of: dict[UserId, NodeId] = {}
        self._users_of: Counter[NodeId] = Counter()

    def __len__(self) -> int:
        """Return the number of followed users."""
        return len(self._owner_of)

    @property
    def nodes(self) -> frozenset[NodeId]:
        """The nodes."""
        return frozenset(self._users_of)

    @property
    def most_of_one(self) -> int:
        """The number of followed users of the node that owns most of them."""
        return max(self._users_of.values(), default=0)

    def note(self, user: UserId, owner: NodeId | None) -> None:
        """Record which node owns a user who is followed; None: the user is not followed."""
        before = self._owner_of.pop(user, None)
        if before is not None:
            self._users_of[before] -= 1
            if not self._users_of[before]:
                del self._users_of[before]
        if owner is not None:
            self._owner_of[user] = owner
            self._users_of[owner] += 1


ASK_S: Final = 10.0
"""The longest time between two requests. An owner publishes for 25 s after a request, so two may be lost."""
_SPREAD: Final = 0.25
"""Largest part by which jitter shortens that time."""
SPACED_S: Final = 0.25
SPACED_MAX_S: Final = 2.0
LOST_S: Final = 1.0
"""Time without an answer after which a request is repeated. It is long, since the answer to a new follower is
its whole state, and a node that does not get its core would be sent each request several times.
"""
LOWER_S: Final = 5.0
"""Time with messages of lower epochs only, after which the lease is read and counts."""
STALE_S: Final = 15.0
GAP_S: Final = 3.0
"""How long a known change may be missing while the other data is shown as live."""

FollowNeed = Literal["ask", "read_lease", "nothing"]


class FollowMachine(StateMachine[FollowState]):
    """One user on a node that is not the owner.

    Invariants: requests are at least 0.25 s apart, unless another owner was found. Without an answer they are
    1 to 2 s apart, otherwise at most 10 s. :attr:`floor` only grows, except for a lease that was read
    after 5 s of lower epochs only. An illegal transition changes nothing.

    A gap while a request is under way needs no further request. A node's messages arrive in order, so the
    answer covers everything that was lost before it. After :meth:`ask_again` another request follows it.

    Args:
        epoch: The token of the owner's lease.
        now: When following begins; the first request is due at once.
        jitter: In [0, 1): spreads the requests of many followers.
    """

    TABLE = TRANSITIONS

    def __init__(self, epoch: int, now: float, jitter: float = 0.0) -> None:
        self.state = FollowState.INCOMPLETE
        self.floor = epoch
        """The highest epoch seen: readers drop data of a lower one."""
        self._every_s = ASK_S * (1.0 - _SPREAD * jitter)
        self._asked_at = -math.inf
        self._not_before = -math.inf
        self._spacing_s = SPACED_S
        self._due_at = now
        self._lower_since: float | None = None
        self._last_received_at = -math.inf
        self._gap_since: float | None = None
        self._is_answered = False
        """Whether a message that fits has come since the request to the owner."""
        self._must_ask_again = False
        """Whether the answer to the request under way may not cover everything."""
        self._is_usual = False
        """Whether the last request was one of those at intervals: nothing was missing."""
        self.is_unconfirmed = False
        """Whether the data may be old, since the owner has not answered after :meth:`unconfirmed`."""

    # ---- what comes ----

    def admits(self, epoch: int) -> bool:
        """Return whether a message of *epoch* may be read. Call :meth:`published` in any case."""
        return epoch >= self.floor

    def published(self, epoch: int, receipt: Receipt, now: float) -> bool:
        """Process a publication, and the replica's receipt if it was admitted.

        A higher epoch belongs to another owner, which must be read from the lease.

        Returns:
            Whether something is missing that was not known to be.
        """
        if epoch < self.floor:
            self._lower_since = now if self._lower_since is None else self._lower_since
            return False
        self._lower_since = None
        if receipt is not Receipt.GAP:
            self.applied_next(now)
        elif self._gap_since is None:  # it does not show that the data is current
            self._gap_since = now
        if epoch > self.floor:
            self.seen(epoch, now)
        elif receipt is Receipt.GAP and self._move("gap"):
            self._ask_soon(now)
            return True
        return False

    def applied_next(self, now: float) -> None:
        """Process a publication of :attr:`floor` that fitted; :meth:`published` does the same."""
        self._lower_since = self._gap_since = None
        self._last_received_at, self._is_answered = now, True

    def seen(self, epoch: int, now: float) -> None:
        """Record that an owner publishes in *epoch*.

        After a higher one than before, the lease must be read.
        """
        if epoch > self.floor:
            self.floor = epoch
            self._restart_requests()
            self.not_mine(now)

    def answered(self, now: float) -> None:
        """Record that the owner has answered; call after its publication was processed.

        The request stays open when the publication was of a lower epoch, did not fit, or did not arrive.
        """
        if self._lower_since is not None or not self._is_answered:
            return
        self._last_received_at = now
        if not self._move("answered"):
            return
        if self._must_ask_again:
            self._not_before = now + SPACED_S
            self.ask_again(now)
        else:
            self.is_unconfirmed = False
            self._spacing_s = SPACED_S
            self._not_before = self._asked_at + SPACED_S
            self._due_at = self._asked_at + self._every_s

    def not_mine(self, now: float) -> None:
        """Record that the addressed node is not the owner, or no longer."""
        if self._move("lost"):
            self._due_at = now

    def unread(self, now: float) -> None:
        """Record that the request was not read: the addressed node is of an older version, or refused it."""
        if self._move("unread"):
            self._due_at = now

    def ask_again(self, now: float) -> None:
        """Have a request sent soon, also after an answer under way: that one may be lost, or too old."""
        self._must_ask_again = True
        if self._move("ask_again"):
            self._ask_soon(now)

    def unconfirmed(self, now: float) -> None:
        """Record that the owner is, or was, unreachable: no data is live until it answers."""
        self.is_unconfirmed = True
        if self._move("gap"):
            self._ask_soon(now)

    # ---- what is done ----

    def asked(self, now: float) -> None:
        """Record that a request is sent to the owner."""
        is_usual = self._is_complete
        if self._move("ask"):
            self._is_usual = is_usual
            self._asked_at, self._is_answered, self._must_ask_again = now, False, False
            self._not_before = self._wait(now)
            self._due_at = max(self._due_at, now + LOST_S)

    def reading(self, now: float) -> None:
        """Record that the lease is being read; without :meth:`read` it will be read again."""
        self._move("lost")
        self._wait(now)

    def read(self, epoch: int, now: float) -> bool:
        """Process the token of the lease that was read.

        Returns:
            Whether :attr:`floor` fell to it. Then the data of the replica belongs to no owner, and its
                position must be dropped.
        """
        if not self._move("read"):
            return False
        is_right = self._is_outdated(now)
        fell = is_right and epoch < self.floor
        is_other = epoch > self.floor or fell
        self.floor = epoch if is_right else max(self.floor, epoch)
        self._lower_since = None
        if is_other:
            self._restart_requests()
        self._ask_soon(now)
        return fell

    # ---- queries ----

    def need(self, now: float) -> FollowNeed:
        """Return the action that is due now."""
        if now < self.due_at:
            return "nothing"
        if self.state is FollowState.SEARCHING or self._is_outdated(now):
            return "read_lease"
        return "ask"

    @property
    def due_at(self) -> float:
        """When to call :meth:`need`."""
        if self._lower_since is None or self.state is FollowState.SEARCHING:
            return self._due_at
        return min(self._due_at, self._lower_since + LOWER_S)

    @property
    def urgent_at(self) -> float:
        """When to call :meth:`need` exactly: not for requests at intervals, which may be a little late."""
        return math.inf if self._is_complete and self._lower_since is None else self.due_at

    @property
    def stale_at(self) -> float:
        """When :meth:`health` gets worse by time alone; in the past while it is bad."""
        if self.is_unconfirmed:
            return -math.inf
        stale_at = self._last_received_at + STALE_S
        return stale_at if self._gap_since is None else min(stale_at, self._gap_since + GAP_S)

    def health(self, now: float, reported: frames.HealthStatus) -> frames.HealthStatus:
        """Return the freshness of the data, from the owner's report *reported*.

        It is at best stale after 15 s without a message of the owner, after 3 s with a gap, and while the
        owner's messages may not arrive.
        """
        if reported != "live":
            return reported
        is_lacking = self._gap_since is not None and now - self._gap_since > GAP_S
        is_old = self.is_unconfirmed or is_lacking or now - self._last_received_at > STALE_S
        return "stale" if is_old else "live"

    # ---- inner ----

    @property
    def _is_complete(self) -> bool:
        """Whether nothing is missing, as far as known."""
        is_asking_as_usual = self.state is FollowState.ASKING and self._is_usual
        return is_asking_as_usual or self.state is FollowState.FOLLOWING

    def _restart_requests(self) -> None:
        """Begin the requests again, because there is another owner."""
        self._not_before, self._spacing_s = -math.inf, SPACED_S

    def _ask_soon(self, now: float) -> None:
        self._due_at = max(now, self._not_before)

    def _wait(self, now: float) -> float:
        self._due_at = now + self._spacing_s
        self._spacing_s = min(SPACED_MAX_S, 2 * self._spacing_s)
        return self._due_at

    def _is_outdated(self, now: float) -> bool:
        # the same sum as in due_at: a difference may be rounded below LOWER_S when that time is over
        return self._lower_since is not None and now >= self._lower_since + LOWER_S


AHEAD_MS: Final = 1_000
"""Wall clocks of two nodes count as equal below this difference. The transit time of a message is not known
more precisely, and the time shown on phones must not jump with each message.
"""
PLAUSIBLE_S: Final = 1.0
"""A transit time above this, by the wall clocks of two nodes, means that the clocks differ."""


RECENT_MAX: Final = 4_096
"""Limit of the stored elements of earlier publications; beyond it the oldest entry is removed."""


class Shared:
    """Elements of publications that arrived together: a value of several users becomes one element.

    It identifies values by identity, so they must live as long as it does.

    Args:
        recent: The newest elements of earlier publications, by key: an equal value becomes the same one, so
            that all its readers share encodings. Bounded; the caller clears it soon.
    """

    __slots__ = ("_compared", "_made", "_recent")

    def __init__(self, recent: dict[str, Element] | None = None) -> None:
        self._made: dict[int, Element] = {}
        self._compared: dict[tuple[int, int], tuple[Element, Element | None]] = {}
        """(Value, held element), by identity → the element, and the held one, which so stays in memory."""
        self._recent = {} if recent is None else recent

    def element(self, key: str, value: Value, held: Element | None) -> Element:
        """Return the element of *value* for a reader that holds *held*: that one, if it is equal."""
        pair = id(value), id(held)
        known = self._compared.get(pair)  # users with a value in common mostly hold the same element, too
        if known is not None:
            return known[0]
        element, recent = self._made.get(id(value)), self._recent
        if held is not None and held is not element and (held.lasting or held.value) == value:
            element = self._made[id(value)] = held
        elif element is None:
            element = recent.get(key)
            if element is None or element.lasting != value:
                element = Element(value)
                # nobody else has an element that is equal to one session's own
                if not key.startswith(OWN_PREFIXES):
                    recent[key] = element
                    if len(recent) > RECENT_MAX:
                        del recent[next(iter(recent))]
            self._made[id(value)] = element
        self._compared[pair] = element, held
        return element


class Arrival(NamedTuple):
    """When a message arrived, and the state of the bus.

    *waited_s*: how long it may have waited: here while this process stood still, or in Redis. *bus*: None
    when the bus is down, or any owner node does not receive.
    """

    now: float
    wall_ms: int
    waited_s: float
    bus: frames.BusHealth | None


def arrived(
    publication: Publication, ledger: Ledger, now: float, wall_ms: int, waited_s: float = 0.0
) -> float | None:
    """Record in *ledger* when a publication arrived, and since when the owner had its data.

    Args:
        publication: The publication.
        ledger: The ledger that will process it.
        now: Monotonic seconds.
        wall_ms: The time of day.
        waited_s: How long it may have waited, here or in Redis.

    Returns:
        The transit time by the wall clocks of both nodes; None when it has no data of the link.
    """
    if not waited_s:
        _compare_clocks(publication, ledger, now, wall_ms)
    ledger.came_late(now)
    if publication.as_of_ms is None or publication.reset:
        ledger.came_at, ledger.under_way_s = now, 0.0
        return None
    age_s = _age_s(publication, publication.as_of_ms, wall_ms, waited_s)
    for update in publication.updates:
        if not is_own(update.key):
            ledger.came_at, ledger.under_way_s = now, age_s
            return age_s
    ledger.came_at = now + ledger.under_way_s - age_s
    return None


def _compare_clocks(publication: Publication, ledger: Ledger, now: float, wall_ms: int) -> None:
    """Record in *ledger* the owner's clock, which dates the values; this node's, if both agree.

    The owner's clock at the time of sending is the sum of instant and age.
    """
    if publication.as_of_ms is None or publication.age_ms is None:
        return
    sent_ms = publication.as_of_ms + publication.age_ms
    if abs(sent_ms - now * 1000 - ledger.clock_ms) >= AHEAD_MS:
        ledger.set_clock((wall_ms if abs(sent_ms - wall_ms) < AHEAD_MS else sent_ms) - now * 1000)


def as_of(publication: Publication, now: float, wall_ms: int, waited_s: float = 0.0) -> float | None:
    """Return until when a publication was correct, by this node's steady clock: never later than *now*."""
    if publication.as_of_ms is None:
        return None
    return now - _age_s(publication, publication.as_of_ms, wall_ms, waited_s)


def _age_s(publication: Publication, as_of_ms: int, wall_ms: int, waited_s: float) -> float:
    """Return the age of a publication.

    The age at sending plus the transit time, where both wall clocks agree.
    """
    seen_s = max(0.0, (wall_ms - as_of_ms) / 1000)
    if publication.age_ms is None:
        return seen_s
    age_s, most_s = publication.age_ms / 1000, publication.age_ms / 1000 + waited_s
    return seen_s if age_s <= seen_s <= most_s + PLAUSIBLE_S else max(0.0, most_s)


def delta(publication: Publication, ledger: Ledger, made: Shared) -> Delta:
    """Return a publication with elements that this node already has, where they are equal."""
    updates = tuple(
        [
            Update(
                update.key,
                update.seq,
                None
                if update.value is None
                else made.element(update.key, update.value, ledger.get(update.key)),
            )
            for update in publication.updates
        ]
    )
    return Delta(
        publication.epoch, publication.after, publication.upto, publication.reset, updates, publication.floor
    )


class Received(NamedTuple):
    """How a publication was processed: the receipt, and the transit time if it has data of the link.

    *as_of*: until when the data of the ledger is correct: a gap does not show that.
    """

    receipt: Receipt
    under_way_s: float | None
    as_of: float | None


def receive(publication: Publication, ledger: Ledger, made: Shared, arrival: Arrival) -> Received:
    """Process a publication of any kind."""
    now, wall_ms, waited_s, _ = arrival
    under_way_s = arrived(publication, ledger, now, wall_ms, waited_s)
    receipt = ledger.receive(delta(publication, ledger, made))
    is_gap = receipt is Receipt.GAP
    until = ledger.health.as_of if is_gap else as_of(publication, now, wall_ms, waited_s)
    return Received(receipt, under_way_s if receipt is Receipt.APPLIED else None, until)


def is_of_sessions(publication: Publication) -> bool:
    """Return whether a publication may have new data about sessions."""
    for update in publication.updates:  # almost always one, so no generator
        if update.key.startswith(FACTS_PREFIX):
            return True
    return publication.reset


def receive_next(
    publication: Publication, ledger: Ledger, made: Shared, now: float, wall_ms: int
) -> float | None:
    """Apply a publication of the next changes of shared values, as nearly all are.

    Returns:
        The transit time, see :func:`arrived`; None, and nothing was done, for any other publication.
    """
    updates, as_of_ms, epoch, seq = publication.updates, publication.as_of_ms, ledger.epoch, ledger.seq
    upto, age_ms, elements = publication.upto, publication.age_ms, ledger.elements
    is_next = publication.epoch == epoch and publication.after <= seq < upto
    if not (is_next and updates) or publication.reset or as_of_ms is None:
        return None
    for update in updates:
        if update.value is None or (update.key not in elements and is_own(update.key)):
            return None
    if age_ms is not None and abs(as_of_ms + age_ms - now * 1000 - ledger.clock_ms) >= AHEAD_MS:
        _compare_clocks(publication, ledger, now, wall_ms)
    seen_s = (wall_ms - as_of_ms) / 1000
    is_plausible = age_ms is not None and 0 <= age_ms / 1000 <= seen_s <= age_ms / 1000 + PLAUSIBLE_S
    age_s = seen_s if is_plausible else _age_s(publication, as_of_ms, wall_ms, 0.0)
    if upto - seq > 1:
        ledger.came_late(now)
    ledger.came_at, ledger.under_way_s = now, age_s
    last = updates[-1]
    for update in updates:
        key, value = update.key, update.value
        if value is not None:
            received = upto if update is last else seq  # a fault before the last one leaves a gap
            before = elements.get(key)
            ledger.record_one(key, before, made.element(key, value, before), update.seq, received)
    return age_s


ASK_EVERY_S: Final = 1.0
SILENT_S: Final = 1.0
"""Minimum time between two requests that no node received, before the node counts as unreachable."""
UNANSWERED_S: Final = 3.0


@dataclass(slots=True)
class _Peer:
    """Data about one node. Requests with numbers up to *settled* no longer matter."""

    settled: int
    asked_at: float = -math.inf
    answered_at: float = -math.inf
    received: int = 0
    """The newest request for which it is known whether a node received it."""
    waits_for: int = 0
    """The newest request that a node received."""
    waits_since: float | None = None
    silent_since: float | None = None
    silent_at: float = -math.inf

    def is_unreachable(self, now: float) -> bool:
        is_unreceived = self.silent_since is not None and self.silent_at - self.silent_since >= SILENT_S
        return is_unreceived or (self.waits_since is not None and now - self.waits_since >= UNANSWERED_S)


class Peers:
    """Signs of life of the owner nodes that this node follows.

    Each gets a request at least once a second, which also tests it. A request has a number. Its result is
    reported by :meth:`received` and :meth:`answered`, in any order. A refusal by the bus is not reported,
    since it shows nothing about the node.

    Bounded: only followed nodes have an entry, of constant size.

    Invariants: a node is unreachable only in two cases. No node received two requests at least
    1 s apart, without a sign of life in between. Or a request that was received, and every later one, has had
    no answer for 3 s.

    Args:
        first: The number before that of its first request; each life of the node begins at another one.
    """

    def __init__(self, first: int = 0) -> None:
        self._number = first
        self._peers: dict[NodeId, _Peer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def follow(self, nodes: Iterable[NodeId]) -> None:
        """Follow exactly *nodes*; the data of others is removed."""
        self._peers = {node: self._peers.get(node) or _Peer(self._number) for node in nodes}

    # ---- requests ----

    def due(self, now: float) -> tuple[NodeId, ...]:
        """Return the nodes that need a request now, even an empty one."""
        return tuple(node for node, peer in self._peers.items() if now >= peer.asked_at + ASK_EVERY_S)

    @property
    def due_at(self) -> float:
        """When the next request is due; inf when no node is followed."""
        return min((peer.asked_at + ASK_EVERY_S for peer in self._peers.values()), default=math.inf)

    def asking(self, node: NodeId, now: float) -> int:
        """Record that a request is sent to *node*, and return its number: above all earlier ones."""
        self._number += 1
        peer = self._peers.get(node)
        if peer is not None:
            peer.asked_at = now
        return self._number

    def received(self, node: NodeId, number: int, receivers: int, now: float) -> None:
        """Record how many nodes were subscribed when a request was published."""
        peer = self._peers.get(node)
        if peer is None or number <= max(peer.settled, peer.received):
            return
        peer.received = number
        if receivers:
            peer.silent_since = None
            peer.waits_for = number
            peer.waits_since = now if peer.waits_since is None else peer.waits_since
        else:
            peer.silent_since = now if peer.silent_since is None else peer.silent_since
            peer.silent_at = now

    def answered(self, node: NodeId, number: int, now: float) -> None:
        """Record an answer. It settles all requests up to its own, as requests arrive in order."""
        peer = self._peers.get(node)
        if peer is None or not peer.settled < number <= self._number:
            return
        peer.settled, peer.answered_at = number, now
        peer.silent_since = None
        # open requests count from this sign of life, so that one time is enough
        peer.waits_since = None if peer.waits_since is None or number >= peer.waits_for else now

    # ---- queries ----

    def answered_at(self, node: NodeId) -> float:
        """Return when a followed node last answered; -inf without an answer."""
        peer = self._peers.get(node)
        return -math.inf if peer is None else peer.answered_at

    def is_unreachable(self, node: NodeId, now: float) -> bool:
        """Return whether *node* is a followed node that does not receive."""
        peer = self._peers.get(node)
        if peer is None or peer.silent_since is peer.waits_since is None:
            return False
        return peer.is_unreachable(now)

    def are_reachable(self, now: float) -> bool:
        """Return whether all followed nodes receive, as far as is known."""
        for peer in self._peers.values():  # no call for those without an open request
            if not (peer.silent_since is peer.waits_since is None) and peer.is_unreachable(now):
                return False
        return True

    def unreachable(self, now: float) -> frozenset[NodeId]:
        """Return the followed nodes that do not receive."""
        return frozenset(node for node, peer in self._peers.items() if peer.is_unreachable(now))
