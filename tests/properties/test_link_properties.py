"""A link is always dialled again, never twice at a time, and never shown fresher than it is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.link import LinkMachine

KEEP_ALIVE = 20
JITTER = st.sampled_from([0.0, 0.5, 0.875])


class Links(RuleBasedStateMachine):
    """The machine beside what an onlooker notes of one user's links."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.link = LinkMachine()
        self.link.agreed(float(KEEP_ALIVE))
        self.dialling = self.open = self.stopped = False
        self.last_received_at = 0
        self.asked_at = 0
        self.answered = False
        self.must_listen = False
        self.synced_at: int | None = None
        self.failures = 0
        self.refusals = 0
        self.not_before = 0.0
        self.not_after = 0.0

    @rule(seconds=st.integers(1, 70))
    def much_time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(seconds=st.integers(1, 12))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def dial(self) -> None:
        due_at = self.link.dial_at(self.now)
        if due_at is not None and due_at <= self.now:
            assert self.link.dialling()
            assert not self.dialling
            assert not self.open
            self.dialling = True

    @rule()
    def dial_whatever_the_time(self) -> None:
        if self.dialling or self.open or self.stopped:
            assert not self.link.dialling()

    @precondition(lambda self: self.dialling)
    @rule()
    def it_opens(self) -> None:
        self.link.opened(self.now)
        self.dialling, self.open = False, True
        self.last_received_at = self.asked_at = self.now
        self.answered = self.must_listen = False
        self.synced_at = None
        self.refusals = 0

    @precondition(lambda self: self.dialling)
    @rule()
    def it_is_refused(self) -> None:
        self.link.refused()
        self.dialling = False
        self.refusals += 1
        self.not_before = self.not_after = self.now
        if self.refusals > 4:
            self.not_after = self.now + 30.0
            self.not_before = self.now + 0.5
        self.link.dial_at(self.now)

    @precondition(lambda self: self.dialling or self.open)
    @rule(jitter=JITTER)
    def it_fails(self, jitter: float) -> None:
        stable = self.synced_at is not None and self.now - self.synced_at >= 30
        self.failures = 0 if stable else self.failures
        self.link.failed(self.now, jitter)
        bound = min(30.0, 0.5 * 2**self.failures)
        self.not_before = self.not_after = self.now + jitter * bound
        self.failures += 1
        self.refusals = 0
        self.gone()

    @precondition(lambda self: self.open)
    @rule(jitter=JITTER)
    def it_is_kicked(self, jitter: float) -> None:
        self.link.kicked(self.now, jitter)
        self.not_before, self.not_after = self.now + 5.0, self.now + 400.0
        self.gone()

    def gone(self) -> None:
        self.dialling = self.open = False
        self.synced_at = None

    @precondition(lambda self: self.open)
    @rule()
    def a_message_comes(self) -> None:
        self.link.received(self.now)
        if self.now - self.last_received_at > KEEP_ALIVE:
            self.answered, self.must_listen = False, True
        self.last_received_at = self.now

    @precondition(lambda self: self.open)
    @rule()
    def every_question_is_answered(self) -> None:
        self.link.synced(self.now)
        if not self.must_listen:
            self.answered = True
            self.synced_at = self.now if self.synced_at is None else self.synced_at

    @rule()
    def tend(self) -> None:
        need = self.link.need(self.now)
        silence = self.now - self.last_received_at
        if not self.open:
            assert need == "nothing"
        elif silence >= 3 * KEEP_ALIVE:
            assert need == "drop"
        elif self.must_listen:
            assert need == "listen_again"
            self.must_listen = False
        elif self.now - max(self.last_received_at, self.asked_at) >= KEEP_ALIVE / 2:
            assert need == "keep_alive"
            self.asked_at = self.now
        else:
            assert need == "nothing"

    @precondition(lambda self: self.now > 500)
    @rule()
    def stop(self) -> None:
        self.link.stop()
        self.stopped = True
        self.gone()

    @invariant()
    def it_is_never_shown_fresher_than_it_is(self) -> None:
        health = self.link.health(self.now)
        if not self.open:
            assert health == "down"
        elif not self.answered or self.now - self.last_received_at >= 1.5 * KEEP_ALIVE:
            assert health == "stale"
        else:
            assert health == "live"

    @invariant()
    def it_is_always_dialled_again_in_time_and_not_before(self) -> None:
        due_at = self.link.dial_at(self.now)
        if self.dialling or self.open or self.stopped:
            assert due_at is None
        else:
            assert due_at is not None
            assert max(self.now, self.not_before) <= due_at <= max(self.now, self.not_after)


TestLinks = Links.TestCase
TestLinks.settings = settings(max_examples=max(60, settings().max_examples))


@given(jitters=st.lists(st.tuples(JITTER, JITTER), min_size=80, max_size=80))
def test_rivals_come_to_rest(jitters: list[tuple[float, float]]) -> None:
    """Two nodes that believe in different lease stores kick each other less and less."""
    links, now, opened = (LinkMachine(), LinkMachine()), 0.0, []
    for pair in jitters:
        now, i = min((at, i) for i, link in enumerate(links) if (at := link.dial_at(now)) is not None)
        assert links[i].dialling()
        links[1 - i].kicked(now, pair[i])
        links[i].opened(now)
        links[i].synced(now)
        opened.append(now)
    assert sum(at <= 60.0 for at in opened) < 20
    assert sum(now - 3600.0 < at for at in opened) < 30
