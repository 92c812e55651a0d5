"""Whatever is lost on the way, a follower asks soon enough, never too often, and whom the lease names."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.core.follower import FollowMachine, FollowNeed
from gateway.core.ledger import Receipt

EPOCH = 70
EPOCHS = st.sampled_from([-2, -1, 0, 0, 0, 0, 1])
"""Above what is known."""


class Following(RuleBasedStateMachine):
    """One follower, an owner who may not answer, a lease that may not be read, and an onlooker."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.follow = FollowMachine(EPOCH, 0.0)
        self.every_s = 10.0
        self.answers = self.reads = True
        self.floor = EPOCH
        self.owes = True
        """Whether something may be missing that nobody was asked for."""
        self.waits = False
        self.doubts = False
        """Whether the answer that is waited for may have been lost, or may not cover everything."""
        self.searches = False
        self.since = 0.0
        """Since when something is to be done."""
        self.asked_at: float | None = None
        self.tries = 0
        """Questions since the last answer, or since this owner was found."""
        self.reads_tried = 0
        """Looks at the lease since then: they slow the questions down as well."""
        self.read_at: float | None = None
        self.lower_since: float | None = None
        self.last_received_at: float | None = None
        self.unsure = False
        self.received = False
        """Whether something that fits came since the last question."""
        self.gap_since: float | None = None

    @initialize(jitter=st.sampled_from([0.0, 0.5, 0.875]))
    def begins(self, jitter: float) -> None:
        self.follow = FollowMachine(EPOCH, 0.0, jitter)
        self.every_s = 10.0 - 2.5 * jitter

    # ---- the world ----

    @rule(answers=st.booleans(), reads=st.booleans())
    def the_network_becomes(self, answers: bool, reads: bool) -> None:
        self.answers, self.reads = answers, reads

    @rule(seconds=st.sampled_from([0.0625, 0.25, 1.0, 3.0, 6.0, 16.0]))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        while self.follow.due_at <= until:
            self.now = max(self.now, self.follow.due_at)
            if self.act() == "read_lease":
                self.act()
            assert self.follow.due_at > self.now
        self.now = max(self.now, until)

    @rule()
    def look_now(self) -> None:
        self.act()

    def act(self) -> FollowNeed:
        need = self.follow.need(self.now)
        assert (need == "nothing") == (self.now < self.follow.due_at)
        if need == "ask":
            self.ask()
        elif need == "read_lease":
            self.look_for_the_owner()
        return need

    def ask(self) -> None:
        assert not self.searches
        assert not self.is_outdated()
        if self.asked_at is not None:
            assert self.now - self.asked_at >= min(2.0, 0.25 * 2.0 ** max(0, self.tries - 1))
        self.follow.asked(self.now)
        self.asked_at, self.tries = self.now, self.tries + 1
        self.owes, self.waits, self.doubts, self.received = False, True, False, False
        if self.answers:
            self.now += 0.03125
            self.something_is_published(0, Receipt.STALE)
            self.an_answer_comes()

    def look_for_the_owner(self) -> None:
        assert self.searches or self.is_outdated()
        self.follow.reading(self.now)
        self.read_at, self.searches, self.waits = self.now, True, False
        self.reads_tried += 1
        if self.reads:
            self.the_lease_is_read(0)

    @rule()
    def an_answer_comes(self) -> None:
        """What he published as his answer came before, or was lost."""
        self.follow.answered(self.now)
        if self.lower_since is not None or not self.received:
            return
        self.last_received_at = self.now
        if self.waits and self.doubts:
            self.waits, self.owes, self.since, self.tries = False, True, self.now + 0.25, 1
        elif self.waits:
            self.waits, self.tries, self.reads_tried, self.unsure = False, 0, 0, False

    @rule(above=EPOCHS, receipt=st.sampled_from(Receipt))
    def something_is_published(self, above: int, receipt: Receipt) -> None:
        epoch = self.floor + above
        assert self.follow.admits(epoch) == (epoch >= self.floor)
        self.follow.published(epoch, receipt, self.now)
        if above < 0:
            self.lower_since = self.now if self.lower_since is None else self.lower_since
            return
        self.lower_since = None
        if receipt is Receipt.GAP:
            self.gap_since = self.now if self.gap_since is None else self.gap_since
        else:
            self.last_received_at, self.gap_since, self.received = self.now, None, True
        if above:
            self.floor, self.asked_at, self.tries, self.reads_tried = epoch, None, 0, 0
            self.owner_is_lost()
        elif receipt is Receipt.GAP and not (self.owes or self.waits or self.searches):
            self.owes, self.since = True, self.now

    @rule()
    def a_connection_is_renewed(self) -> None:
        self.follow.ask_again(self.now)
        self.doubts = True
        if not (self.owes or self.waits or self.searches):
            self.owes, self.since = True, self.now

    @rule()
    def the_owner_is_out_of_hearing(self) -> None:
        self.follow.unconfirmed(self.now)
        self.unsure = True
        if not (self.owes or self.waits or self.searches):
            self.owes, self.since = True, self.now

    @rule()
    def who_was_asked_is_not_the_owner(self) -> None:
        self.follow.not_mine(self.now)
        self.owner_is_lost()

    def owner_is_lost(self) -> None:
        if not self.searches:
            self.searches, self.read_at, self.since = True, None, self.now
            self.waits = False

    @rule(above=EPOCHS)
    def the_lease_is_read(self, above: int) -> None:
        epoch = self.floor + above
        falls = self.searches and above < 0 and self.is_outdated()
        assert self.follow.read(epoch, self.now) == falls
        if not self.searches:
            return
        if above > 0 or falls:
            self.floor, self.asked_at, self.tries, self.reads_tried = epoch, None, 0, 0
        self.searches, self.lower_since = False, None
        self.owes, self.since = True, self.now

    def is_outdated(self) -> bool:
        return self.lower_since is not None and self.now - self.lower_since >= 5.0

    # ---- what must hold ----

    @invariant()
    def what_is_to_be_done_is_done_soon(self) -> None:
        due_at = self.follow.due_at
        if self.searches:
            soonest = self.since if self.read_at is None else self.read_at
            assert soonest <= due_at <= (soonest if self.read_at is None else soonest + 2.0)
            return
        if self.lower_since is not None:
            assert due_at <= self.lower_since + 5.0
        if self.owes and self.asked_at is None:
            assert due_at <= self.since
        elif self.owes or self.waits:
            assert self.asked_at is not None
            assert due_at <= max(self.since, self.asked_at + 2.0)
        else:
            assert self.asked_at is not None
            assert due_at <= self.asked_at + self.every_s

    @invariant()
    def nothing_is_done_without_need(self) -> None:
        is_quiet = not (self.owes or self.waits or self.searches) and self.lower_since is None
        if is_quiet and self.asked_at is not None:
            assert self.follow.due_at >= self.asked_at + self.every_s

    @invariant()
    def the_first_question_about_a_loss_is_quick(self) -> None:
        is_first = self.owes and not self.searches and self.tries <= 1 and not self.reads_tried
        if is_first and self.asked_at is not None and self.lower_since is None:
            assert self.follow.due_at <= max(self.since, self.asked_at + 0.25)

    @invariant()
    def lower_epochs_are_dropped(self) -> None:
        assert self.follow.floor == self.floor

    @invariant()
    def nothing_is_shown_fresher_than_it_is(self) -> None:
        is_received = (
            self.last_received_at is not None and self.now - self.last_received_at <= 15.0 and not self.unsure
        )
        is_received = is_received and (self.gap_since is None or self.now - self.gap_since <= 3.0)
        assert self.follow.health(self.now, "live") == ("live" if is_received else "stale")
        assert self.follow.health(self.now, "stale") == "stale"
        assert self.follow.health(self.now, "down") == "down"


TestFollowing = Following.TestCase
TestFollowing.settings = settings(max_examples=max(60, settings().max_examples))
