"""Follower: when to request missing changes from the owner, and read the owner from the store.

A pure machine. *now* is monotonic seconds.
"""

from __future__ import annotations

import enum
import math
from typing import Final, Literal

from gateway.core.ledger import Receipt
from gateway.protocol import frames


class FollowState(enum.StrEnum):
    """The event for which the follower of one user waits."""

    DOUBTING = "doubting"
    """A change may be missing: a request to the owner is due as soon as it is allowed."""
    ASKING = "asking"
    """A request to the owner is under way; without an answer it is repeated."""
    FOLLOWING = "following"
    """Nothing is missing, as far as known; requests at intervals keep the owner publishing."""
    SEARCHING = "searching"
    """The owner is unknown: the lease must be read."""


TRANSITIONS: Final[dict[tuple[FollowState, str], FollowState]] = {
    (FollowState.DOUBTING, "ask"): FollowState.ASKING,
    (FollowState.ASKING, "ask"): FollowState.ASKING,
    (FollowState.FOLLOWING, "ask"): FollowState.ASKING,
    (FollowState.ASKING, "answered"): FollowState.FOLLOWING,
    (FollowState.FOLLOWING, "gap"): FollowState.DOUBTING,
    (FollowState.FOLLOWING, "doubt"): FollowState.DOUBTING,
    (FollowState.ASKING, "doubt"): FollowState.DOUBTING,
    **{(state, "lost"): FollowState.SEARCHING for state in FollowState if state is not FollowState.SEARCHING},
    (FollowState.SEARCHING, "read"): FollowState.DOUBTING,
}

ASK_S: Final = 10.0
"""The longest time between two requests. An owner publishes for 25 s after a request, so two may be lost."""
_SPREAD: Final = 0.25
"""Largest part by which jitter shortens that time."""
SPACED_S: Final = 0.25
SPACED_MAX_S: Final = 2.0
LOWER_S: Final = 5.0
"""Time with messages of lower epochs only, after which the lease is read and counts."""
STALE_S: Final = 15.0
GAP_S: Final = 3.0
"""How long a known change may be missing while the other data is shown as live."""

Need = Literal["ask", "read_lease", "nothing"]


class FollowMachine:
    """One user on a node that is not the owner.

    Invariants: requests are at least 0.25 s apart, unless another owner was found. Without an answer they are
    at most 2 s apart, otherwise at most 10 s. :attr:`floor` only grows, except for a lease that was read
    after 5 s of lower epochs only. An illegal transition changes nothing.

    A gap while a request is under way needs no further request. A node's messages arrive in order, so the
    answer covers everything that was lost before it.

    Args:
        epoch: The token of the owner's lease.
        now: When following begins; the first request is due at once.
        jitter: In [0, 1): spreads the requests of many followers.
    """

    def __init__(self, epoch: int, now: float, jitter: float = 0.0) -> None:
        self.state = FollowState.DOUBTING
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
        self._is_told = False
        """Whether a message that fits has come since the request to the owner."""
        self.is_unsure = False
        """Whether the owner was unreachable, and has not answered since: the data may be old."""

    # ---- what comes ----

    def admits(self, epoch: int) -> bool:
        """Return whether a message of *epoch* may be read. Call :meth:`published` in any case."""
        return epoch >= self.floor

    def published(self, epoch: int, receipt: Receipt, now: float) -> None:
        """Process a publication, and the replica's receipt if it was admitted.

        A higher epoch belongs to another owner, which must be read from the lease.
        """
        if epoch < self.floor:
            self._lower_since = now if self._lower_since is None else self._lower_since
            return
        self._lower_since = None
        self._take(receipt, now)
        if epoch > self.floor:
            self.seen(epoch, now)
        elif receipt is Receipt.GAP and self._move("gap"):
            self._ask_soon(now)

    def seen(self, epoch: int, now: float) -> None:
        """Record that an owner publishes in *epoch*.

        After a higher one than before, the lease must be read.
        """
        if epoch > self.floor:
            self.floor = epoch
            self._restart_requests()
            self._lose(now)

    def answered(self, now: float) -> None:
        """Record that the owner has answered; call after its publication was processed.

        The request stays open when the publication was of a lower epoch, did not fit, or did not arrive.
        """
        if self._lower_since is not None or not self._is_told:
            return
        self._last_received_at = now
        if self._move("answered"):
            self.is_unsure = False
            self._spacing_s = SPACED_S
            self._not_before = self._asked_at + SPACED_S
            self._due_at = self._asked_at + self._every_s

    def not_mine(self, now: float) -> None:
        """Record that the addressed node is not the owner, or no longer."""
        self._lose(now)

    def doubt(self, now: float) -> None:
        """Record that messages may have been lost, also the answer under way."""
        if self._move("doubt"):
            self._ask_soon(now)

    def unsure(self, now: float) -> None:
        """Record that the owner is, or was, unreachable: no data is live before it answers."""
        self.is_unsure = True
        if self._move("gap"):
            self._ask_soon(now)

    # ---- what is done ----

    def asked(self, now: float) -> None:
        """Record that a request is sent to the owner."""
        if self._move("ask"):
            self._asked_at, self._is_told = now, False
            self._not_before = self._wait(now)

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

    def need(self, now: float) -> Need:
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
    def stale_at(self) -> float:
        """When :meth:`health` gets worse by time alone; in the past while it is bad."""
        if self.is_unsure:
            return -math.inf
        stale_at = self._last_received_at + STALE_S
        return stale_at if self._gap_since is None else min(stale_at, self._gap_since + GAP_S)

    def health(self, now: float, said: frames.Health) -> frames.Health:
        """Return the freshness of the data, from the owner's report *said*.

        It is at best stale after 15 s without a message of the owner, after 3 s with a gap, and while the
        owner's messages may not arrive.
        """
        is_old = self.is_unsure or now - self._last_received_at > STALE_S or self._lacks_s(now) > GAP_S
        return "stale" if said == "live" and is_old else said

    # ---- inner ----

    def _take(self, receipt: Receipt, now: float) -> None:
        """Record whether a publication could be applied.

        One that could not does not show the present state.
        """
        if receipt is Receipt.GAP:
            self._gap_since = now if self._gap_since is None else self._gap_since
        else:
            self._last_received_at, self._gap_since, self._is_told = now, None, True

    def _lacks_s(self, now: float) -> float:
        return 0.0 if self._gap_since is None else now - self._gap_since

    def _lose(self, now: float) -> None:
        if self._move("lost"):
            self._due_at = now

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

    def _move(self, event: str) -> bool:
        target = TRANSITIONS.get((self.state, event))
        if target is None:
            return False
        self.state = target
        return True
