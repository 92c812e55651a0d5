"""Follower: when to ask the owner for missing changes, and the store for the owner.

A pure machine. *now* is monotonic seconds.
"""

from __future__ import annotations

import enum
import math
from typing import Final, Literal

from gateway.core.ledger import Receipt
from gateway.protocol import frames


class FollowState(enum.StrEnum):
    """What the follower of one user waits for."""

    DOUBTING = "doubting"
    """Something may be missing: the owner is to be asked as soon as that is allowed."""
    ASKING = "asking"
    """The owner was asked; without an answer it is asked again."""
    FOLLOWING = "following"
    """Nothing is known to be missing; the owner is asked now and then, as asking is the interest."""
    SEARCHING = "searching"
    """The owner is not known: the lease is to be read."""


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
"""The longest time between two questions. An owner publishes if it was asked within 25 s, so that two
may be lost."""
_SPREAD: Final = 0.25
"""By which part of it jitter shortens that time."""
SPACED_S: Final = 0.25
SPACED_MAX_S: Final = 2.0
LOWER_S: Final = 5.0
"""After how long of nothing but lower epochs the lease is read, and is right."""
STALE_S: Final = 15.0
GAP_S: Final = 3.0
"""For how long what is known to be missing may be missing while the rest is shown as live."""

Need = Literal["ask", "read_lease", "nothing"]


class FollowMachine:
    """One user, as a node sees them that is not the owner.

    Invariants: questions are at least 0.25 s apart, unless another owner was found; while they are not
    answered, at most 2 s; otherwise at most 10 s; :attr:`floor` grows but for a lease that was read
    after 5 s of nothing but lower epochs; an illegal transition changes nothing.

    A gap while a question is under way needs no other: what a node publishes arrives in order, so the
    answer that is still to come covers what was lost before it.

    Args:
        epoch: The token of the lease by which the owner is known.
        now: When following begins; the owner is asked at once.
        jitter: In [0, 1): spreads the questions of many followers.
    """

    def __init__(self, epoch: int, now: float, jitter: float = 0.0) -> None:
        self.state = FollowState.DOUBTING
        self.floor = epoch
        """The highest epoch seen: readers drop what is of a lower one."""
        self._every_s = ASK_S * (1.0 - _SPREAD * jitter)
        self._asked_at = -math.inf
        self._not_before = -math.inf
        self._spacing_s = SPACED_S
        self._due_at = now
        self._lower_since: float | None = None
        self._heard_at = -math.inf
        self._gap_since: float | None = None
        self._is_told = False
        """Whether anything that fits came since the owner was asked."""
        self.is_unsure = False
        """Whether the owner was unreachable, and has not answered since: what is held may be old."""

    # ---- what comes ----

    def admits(self, epoch: int) -> bool:
        """Return whether a message of *epoch* may be read. Call :meth:`published` in any case."""
        return epoch >= self.floor

    def published(self, epoch: int, receipt: Receipt, now: float) -> None:
        """Process a publication, and what the replica made of it if it was admitted.

        A higher epoch is another owner's: which one must be read from the lease.
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
        """Record that an owner speaks in *epoch*. A higher one than was seen: the lease is to be read."""
        if epoch > self.floor:
            self.floor = epoch
            self._begin_anew()
            self._lose(now)

    def answered(self, now: float) -> None:
        """Record that the owner has answered; call after what it published as its answer was processed.

        It answers nothing when that was of a lower epoch, did not fit, or did not come: it is asked again.
        """
        if self._lower_since is not None or not self._is_told:
            return
        self._heard_at = now
        if self._move("answered"):
            self.is_unsure = False
            self._spacing_s = SPACED_S
            self._not_before = self._asked_at + SPACED_S
            self._due_at = self._asked_at + self._every_s

    def not_mine(self, now: float) -> None:
        """Record that the node that was asked is not the owner, or no longer."""
        self._lose(now)

    def doubt(self, now: float) -> None:
        """Record that messages may have been lost, also the answer that is still to come."""
        if self._move("doubt"):
            self._ask_soon(now)

    def unsure(self, now: float) -> None:
        """Record that the owner is, or was, unreachable: nothing is live before it answers."""
        self.is_unsure = True
        if self._move("gap"):
            self._ask_soon(now)

    # ---- what is done ----

    def asked(self, now: float) -> None:
        """Record that the owner is asked."""
        if self._move("ask"):
            self._asked_at, self._is_told = now, False
            self._not_before = self._wait(now)

    def reading(self, now: float) -> None:
        """Record that the lease is being read; without :meth:`read` it will be again."""
        self._move("lost")
        self._wait(now)

    def read(self, epoch: int, now: float) -> bool:
        """Process the token of the lease that was read.

        Returns:
            Whether :attr:`floor` fell to it: then what the replica holds is of no owner; forget its
            position.
        """
        if not self._move("read"):
            return False
        is_right = self._is_outdated(now)
        fell = is_right and epoch < self.floor
        is_other = epoch > self.floor or fell
        self.floor = epoch if is_right else max(self.floor, epoch)
        self._lower_since = None
        if is_other:
            self._begin_anew()
        self._ask_soon(now)
        return fell

    # ---- queries ----

    def need(self, now: float) -> Need:
        """Return what is to be done now."""
        if now < self.due_at:
            return "nothing"
        if self.state is FollowState.SEARCHING or self._is_outdated(now):
            return "read_lease"
        return "ask"

    @property
    def due_at(self) -> float:
        """When to ask for :meth:`need`."""
        if self._lower_since is None or self.state is FollowState.SEARCHING:
            return self._due_at
        return min(self._due_at, self._lower_since + LOWER_S)

    @property
    def stale_at(self) -> float:
        """When :meth:`health` gets worse by time alone; in the past while it is."""
        if self.is_unsure:
            return -math.inf
        stale_at = self._heard_at + STALE_S
        return stale_at if self._gap_since is None else min(stale_at, self._gap_since + GAP_S)

    def health(self, now: float, said: frames.Health) -> frames.Health:
        """Return how fresh the data is: as the owner reported.

        At best stale after 15 s without a message of the owner, after 3 s with a gap, and while its messages
        may not arrive.
        """
        is_old = self.is_unsure or now - self._heard_at > STALE_S or self._lacks_s(now) > GAP_S
        return "stale" if said == "live" and is_old else said

    # ---- inner ----

    def _take(self, receipt: Receipt, now: float) -> None:
        """Record whether what was published fits: what does not is no word of how things are."""
        if receipt is Receipt.GAP:
            self._gap_since = now if self._gap_since is None else self._gap_since
        else:
            self._heard_at, self._gap_since, self._is_told = now, None, True

    def _lacks_s(self, now: float) -> float:
        return 0.0 if self._gap_since is None else now - self._gap_since

    def _lose(self, now: float) -> None:
        if self._move("lost"):
            self._due_at = now

    def _begin_anew(self) -> None:
        """Another owner is asked without regard to what the last was asked."""
        self._not_before, self._spacing_s = -math.inf, SPACED_S

    def _ask_soon(self, now: float) -> None:
        self._due_at = max(now, self._not_before)

    def _wait(self, now: float) -> float:
        self._due_at = now + self._spacing_s
        self._spacing_s = min(SPACED_MAX_S, 2 * self._spacing_s)
        return self._due_at

    def _is_outdated(self, now: float) -> bool:
        # the same sum as in due_at: a difference may be rounded below LOWER_S when that is over
        return self._lower_since is not None and now >= self._lower_since + LOWER_S

    def _move(self, event: str) -> bool:
        target = TRANSITIONS.get((self.state, event))
        if target is None:
            return False
        self.state = target
        return True
