"""Fan-out group: phones of one user at the same position share frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core import fanout_group as fanout_groups
from gateway.core.fanout_group import SIZE, TURN_S, ChangesFrame, FanoutGroup
from gateway.core.ledger import Ledger
from gateway.core.outbox import LADDER_S, Outbox, PaceLadder, unite_due
from gateway.core.view import View, me_key, view_of
from gateway.protocol.codec import JSON
from gateway.protocol.frames import ErrorFrame
from tests.core.outbox_line import SCOPE, ping, queue
from tests.core.samples import decoded


class Setup:
    """A mirror with a queue, and phones that read it."""

    def __init__(self, phones: int, *, every_s: float = 0.0) -> None:
        self.ledger = Ledger(1)
        self.ledger.record("queue:1", queue(1))
        self.now = 100.0
        self.outboxes = [self.add(f"s{number}", every_s=every_s) for number in range(phones)]

    def add(self, handle: str, *, every_s: float = 0.0) -> Outbox:
        outbox = Outbox(self.ledger, self.view(handle), JSON, PaceLadder(every_s))
        outbox.begin(None)
        outbox.take(self.now)
        return outbox

    def view(self, handle: str) -> View:
        return view_of(handle, SCOPE, ("queues",))

    def wait(self, waiting: int, *, unite: bool = False) -> None:
        """Let so many wait; with *unite*, phones that may be sent it now share it."""
        self.ledger.record("queue:1", queue(waiting))
        if unite:
            unite_due(self.ledger, self.now)

    @property
    def fanout_groups(self) -> list[FanoutGroup]:
        return [reader for reader in self.ledger.readers if isinstance(reader, FanoutGroup)]


def only(setup: Setup) -> FanoutGroup:
    [fanout_group] = setup.fanout_groups
    return fanout_group


def send_due(fanout_group: FanoutGroup, now: float) -> None:
    """Have what is due leave, as who brings it does: those who know as much now unite behind it."""
    assert fanout_group.take(now)
    fanout_group.unite(now)


def test_phones_served_in_the_same_turn_are_one_reader_until_a_new_epoch() -> None:
    setup = Setup(3)
    assert len(only(setup).members) == 3
    assert len(setup.ledger.readers) == 1
    setup.ledger.rebase(2)
    assert not setup.fanout_groups
    assert all(outbox.waiting() == outbox.view.handle for outbox in setup.outboxes)


def test_when_the_oldest_that_waits_came_is_known_and_goes_along_with_who_parts() -> None:
    setup = Setup(3)
    fanout_group = only(setup)
    assert fanout_group.since == math.inf
    for came_at in (110.0, 120.0):
        setup.ledger.came_at = came_at
        setup.wait(int(came_at))
        assert {fanout_group.since, *(outbox.waits[1] for outbox in setup.outboxes)} == {110.0}
    setup.outboxes[0].post(ErrorFrame("busy", "x"))
    assert (setup.outboxes[0].fanout_group, setup.outboxes[0].waits[1]) == (None, 110.0)
    send_due(fanout_group, 130.0)
    assert fanout_group.since == math.inf


@pytest.mark.parametrize("first", ["group", "phone"])
def test_who_has_parted_is_in_step_again_after_the_next_change(first: str) -> None:
    setup = Setup(3)
    setup.now += 1
    setup.wait(5)
    setup.outboxes[0].post(ErrorFrame("busy", "later"))
    if first == "phone":
        setup.outboxes[0].take(setup.now)
    send_due(only(setup), setup.now)
    if first == "group":
        setup.outboxes[0].take(setup.now)
    assert len(only(setup).members) == 3


ITS_OWN: dict[str, Callable[[Outbox], object]] = {
    "all again": Outbox.reset,
    "a frame": lambda outbox: outbox.post(ErrorFrame("busy", "again")),
    "a ping": lambda outbox: outbox.ping(ping),
    "another view": lambda outbox: outbox.change_view(view_of("s0", SCOPE, ("queue:1",))),
    "a full socket": lambda outbox: outbox.keep_apart(apart=True),
    "its end": Outbox.close,
}


@pytest.mark.parametrize("its_own", ITS_OWN.values(), ids=ITS_OWN)
def test_who_was_served_before_the_others_and_has_something_of_its_own_since_is_not_taken_along(
    its_own: Callable[[Outbox], object],
) -> None:
    setup = Setup(3)
    setup.now += 1
    setup.wait(5)
    setup.outboxes[0].post(ErrorFrame("busy", "later"))
    setup.outboxes[0].take(setup.now)
    its_own(setup.outboxes[0])
    send_due(only(setup), setup.now)
    assert setup.outboxes[0].fanout_group is None
    assert list(only(setup).members) == setup.outboxes[1:]


def test_fan_out_groups_are_bounded() -> None:
    setup = Setup(SIZE + 2)
    assert sorted(len(fanout_group.members) for fanout_group in setup.fanout_groups) == [2, SIZE]
    setup = came_one_by_one(SIZE + 2)
    setup.wait(5, unite=True)
    assert sorted(len(fanout_group.members) for fanout_group in setup.fanout_groups) == [2, SIZE]


def test_a_group_is_due_when_its_pace_allows_and_the_last_may_be_sent() -> None:
    setup = Setup(2, every_s=2.0)
    fanout_group = only(setup)
    assert (fanout_group.due_at(setup.now), fanout_group.waiting()) == (None, None)
    setup.wait(5)
    assert fanout_group.due_at(setup.now + 0.5) == setup.now + 2
    assert fanout_group.due_at(setup.now + 3) == setup.now + 3
    assert fanout_group.waiting() == "s0"
    setup = Setup(1)
    setup.now += TURN_S / 2
    setup.add("late")
    setup.wait(5)
    assert only(setup).due_at(setup.now) == setup.now + LADDER_S[0]


def came_one_by_one(phones: int) -> Setup:
    """Return a setup whose phones were each served in a turn of their own, so that none shares frames."""
    setup = Setup(1)
    for number in range(1, phones):
        setup.now += 2 * TURN_S
        setup.add(f"s{number}")
    assert len(setup.ledger.readers) == phones
    setup.now += LADDER_S[0]
    return setup


def test_phones_that_came_one_by_one_and_groups_share_the_first_change() -> None:
    setup = came_one_by_one(5)
    setup.wait(5, unite=True)
    assert len(only(setup).members) == 5
    assert len(setup.ledger.readers) == 1
    assert only(setup).due_at(setup.now) == setup.now
    [frame] = decoded(only(setup).take(setup.now))
    assert frame["patch"] == {"queue:1": {"contacts_waiting": 5}}
    assert all(outbox.waits == (0, math.inf) for outbox in setup.outboxes)
    setup = Setup(3)
    setup.now += 2 * TURN_S
    setup.outboxes += [setup.add("a"), setup.add("b")]
    setup.now += 2 * TURN_S
    setup.outboxes += [setup.add("c")]
    setup.now += 1
    setup.wait(5, unite=True)
    assert len(only(setup).members) == 6


def test_who_may_not_be_sent_the_change_or_has_its_own_goes_alone() -> None:
    setup = came_one_by_one(2)
    setup.add("late")
    setup.wait(5, unite=True)
    assert len(only(setup).members) == 2
    assert only(setup).due_at(setup.now) == setup.now
    setup = came_one_by_one(3)
    setup.wait(5)
    setup.outboxes[0].mark(me_key("s0"), None)
    unite_due(setup.ledger, setup.now)
    assert setup.outboxes[0].fanout_group is None
    assert len(only(setup).members) == len(setup.ledger.readers) == 2


def with_own_values(phones: int) -> Setup:
    """Return a setup whose phones' own values came at different times, so that each has another position."""
    setup = Setup(0)
    for number in range(phones):
        setup.ledger.record(me_key(f"s{number}"), queue(number))
        setup.outboxes.append(setup.add(f"s{number}"))
    assert len(setup.ledger.readers) == phones
    setup.now += 1
    return setup


def frames_of_all(setup: Setup) -> list[dict[str, Any]]:
    """Return the frame of each phone, from its group or its own."""
    fanout_group = only(setup)
    news = fanout_group.take_news(setup.now)
    assert isinstance(news, ChangesFrame)
    own, fanout_group.own_frames = fanout_group.own_frames, {}
    return decoded([own.get(outbox, news.frame) for outbox in setup.outboxes])


def test_phones_whose_own_values_came_at_different_times_share_the_first_change() -> None:
    setup = with_own_values(3)
    setup.wait(5, unite=True)
    frames = frames_of_all(setup)
    assert [(frame["after"], frame["upto"]) for frame in frames] == [(2, 5), (3, 5), (4, 5)]
    assert all(frame["patch"] == {"queue:1": {"contacts_waiting": 5}} for frame in frames)
    setup.now += 1
    setup.wait(6)
    assert [frame["after"] for frame in frames_of_all(setup)] == [5, 5, 5]


def test_who_leaves_before_the_first_shared_change_continues_from_its_own_position() -> None:
    setup = with_own_values(3)
    setup.wait(5, unite=True)
    leaving = setup.outboxes[2]
    leaving.post(ErrorFrame("busy", "x"))
    _, frame = decoded(leaving.take(setup.now))
    assert (frame["after"], frame["patch"]) == (4, {"queue:1": {"contacts_waiting": 5}})


def test_who_needs_a_frame_of_another_size_is_sent_it_alone() -> None:
    setup = with_own_values(10)
    setup.wait(5, unite=True)
    fanout_group = only(setup)
    assert isinstance(fanout_group.take_news(setup.now), ChangesFrame)
    fanout_group.unite(setup.now)
    alone = [outbox for outbox in setup.outboxes if outbox not in fanout_group.members]
    frames = decoded([frame for outbox in alone for frame in outbox.take(setup.now)])
    assert [(frame["after"], frame["upto"]) for frame in frames] == [(10, 12), (11, 12)]
    assert set(fanout_group.own_frames) | {setup.outboxes[0]} == set(setup.outboxes)
    assert len(only(setup).members) == 10


def test_at_different_positions_a_large_change_is_sent_to_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = with_own_values(3)
    setup.wait(5, unite=True)
    monkeypatch.setattr(fanout_groups, "patches_of", lambda *_: None)
    fanout_group = only(setup)
    assert fanout_group.take_news(setup.now) is None
    fanout_group.take(setup.now)
    assert list(fanout_group.members) == [setup.outboxes[0]]
    frames = [decoded(outbox.take(setup.now))[0] for outbox in setup.outboxes[1:]]
    assert [frame["after"] for frame in frames] == [3, 4]


def test_while_it_is_written_and_counted_everybody_is_where_he_was() -> None:
    setup = Setup(2)
    setup.now += 1
    setup.add("t0")
    setup.add("t1")
    setup.now += 1
    setup.wait(5)
    before = [list(fanout_group.members) for fanout_group in setup.fanout_groups]
    for fanout_group in setup.fanout_groups:
        fanout_group.take(setup.now)
    assert [list(fanout_group.members) for fanout_group in setup.fanout_groups] == before


@pytest.mark.parametrize("place", ["patches_of", "changes_of", "frames_of"])
def test_what_no_frames_could_be_made_of_still_waits(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = Setup(2)
    setup.wait(5)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(place)

    with monkeypatch.context() as patched:
        patched.setattr(fanout_groups, "patches_of", lambda *_: None)
        patched.setattr(fanout_groups, place, broken)
        with pytest.raises(RuntimeError, match=place):
            assert only(setup).take_news(setup.now + 1) or only(setup).take(setup.now + 1)
    assert (len(only(setup).dirty), only(setup).seq) == (1, 1)
    [frame] = decoded(only(setup).take(setup.now + 1))
    assert frame["patch"] == {"queue:1": {"contacts_waiting": 5}}


def test_who_is_kept_apart_goes_alone_until_he_is_not() -> None:
    setup = Setup(2)
    setup.outboxes[0].keep_apart(apart=True)
    setup.outboxes[0].take(setup.now)
    assert setup.outboxes[0].fanout_group is None
    setup.outboxes[0].keep_apart(apart=False)
    setup.outboxes[0].take(setup.now)
    assert setup.outboxes[0].fanout_group is setup.outboxes[1].fanout_group is not None


def test_few_changes_leave_as_one_frame_with_what_they_are_counted_as() -> None:
    setup = Setup(2)
    fanout_group = only(setup)
    assert fanout_group.take_news(setup.now) is None, "nothing waits"
    setup.now += 1
    setup.ledger.came_at = 110.0
    setup.wait(5)
    setup.wait(6)
    news = fanout_group.take_news(setup.now)
    assert isinstance(news, ChangesFrame)
    assert (news.elements, news.since, news.conflated) == (1, 110.0, 1)
    [frame] = decoded([news.frame])
    assert frame["patch"] == {"queue:1": {"contacts_waiting": 6}}
    assert (frame["after"], frame["upto"]) == (1, setup.ledger.shared_seq)
    setup.wait(7)
    assert fanout_group.take_news(setup.now) == setup.now + fanout_group.interval_s
    setup.ledger.record("queue:1", None)
    assert fanout_group.take_news(setup.now + 1) is None, "a removed key is no patch"
    assert [frame["gone"] for frame in decoded(fanout_group.take(setup.now + 1))] == [["queue:1"]]


def test_a_ping_to_who_holds_everything_parts_no_one() -> None:
    setup = Setup(2)
    first, second = setup.outboxes
    head = setup.ledger.shared_seq
    assert first.ping_in_step(ping) == ping(head, head)
    assert first.fanout_group is second.fanout_group is not None
    setup.now += 1
    setup.wait(5)
    assert first.ping_in_step(ping) is None, "a change waits, and the ping must not be ahead of it"
    assert only(setup).take(setup.now)
    setup.ledger.record("queue:9", queue(1))
    assert first.ping_in_step(ping) is None, (
        "a change elsewhere: the ping reports a later seq than the group's"
    )
    first.ping(ping)
    assert first.take(setup.now) == [ping(head + 1, head + 2)]
    assert first.ping_in_step(ping) is None, "it is in no group"
