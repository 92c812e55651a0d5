"""Does one phone get what it is missing, in an order and a shape that it can rely on?"""

from __future__ import annotations

import math

import pytest

from gateway.core.element import Element
from gateway.core.outbox import CONTROL_MAX
from gateway.domain.resources import Site
from gateway.protocol.frames import StreamPosition
from tests.core.outbox_line import STREAM, VIEW, Line, note, ping, queue, synced

# ---- the beginning ----


def test_a_phone_that_knows_nothing_gets_a_reset() -> None:
    line = Line()
    assert line.outbox.begin(None) is False
    assert line.take() == [
        {
            "kind": "changes",
            "after": 0,
            "upto": 2,
            "stream": STREAM,
            "reset": True,
            "put": {"queue:1": {"contacts_waiting": 1}, "queue:2": {"contacts_waiting": 2}},
        }
    ]


def test_a_phone_in_sync_gets_an_empty_changes() -> None:
    line = Line()
    assert line.outbox.begin(StreamPosition(STREAM, 2)) is True
    assert line.take() == [{"kind": "changes", "after": 2, "upto": 2}]
    assert line.take() == []


def test_a_phone_that_was_away_gets_what_changed_since() -> None:
    line = Line()
    line.change("queue:1", None)
    assert line.outbox.begin(StreamPosition(STREAM, 1)) is True
    put = {"queue:2": {"contacts_waiting": 2}}
    assert line.take() == [{"kind": "changes", "after": 1, "upto": 3, "put": put, "gone": ["queue:1"]}]


@pytest.mark.parametrize(
    "position",
    [
        StreamPosition("1.other", 2),
        StreamPosition(f"2.{VIEW.mark}", 2),
        StreamPosition(STREAM, 3),
        StreamPosition("", 0),
    ],
)
def test_any_other_position_gets_a_reset(position: StreamPosition) -> None:
    line = Line()
    assert line.outbox.begin(position) is False
    (frame,) = line.take()
    assert (frame["reset"], frame["after"], sorted(frame["put"])) == (True, 0, ["queue:1", "queue:2"])


def test_the_state_that_is_owed_follows_the_first_frame_at_once() -> None:
    line = Line()
    line.outbox.begin(None)
    for text in ("a", "b"):
        line.outbox.post(note(text))
    assert [frame.get("message", frame["kind"]) for frame in line.take()] == ["a", "changes", "b"]


# ---- conflation ----


def test_a_change_is_told_as_the_difference() -> None:
    line = synced()
    line.change("queue:1", queue(5))
    patch = {"queue:1": {"contacts_waiting": 5}}
    assert line.take() == [{"kind": "changes", "after": 2, "upto": 3, "patch": patch}]


def test_it_tells_when_the_oldest_news_that_waits_came() -> None:
    line = synced()
    assert line.outbox.waits[1] == math.inf
    for came_at in (110.0, 120.0):
        line.ledger.came_at = came_at
        line.change("queue:1", queue(int(came_at)))
        assert line.outbox.waits[1] == 110.0
    line.take()
    assert line.outbox.waits[1] == math.inf
    line.outbox.reset()
    assert line.outbox.dirty
    assert line.outbox.waits[1] == math.inf


def test_of_many_changes_the_newest_is_told() -> None:
    line = synced()
    for waiting in (5, 6, 7):
        line.change("queue:1", queue(waiting, "x"))
    assert line.outbox.dirty == 1
    assert line.outbox.conflated == 2
    assert line.take()[0]["patch"] == {"queue:1": {"contacts_waiting": 7, "name": "x"}}


def test_a_change_that_was_taken_back_is_none() -> None:
    line = synced()
    line.change("queue:1", queue(5))
    line.change("queue:1", queue(1))
    assert line.take() == []
    line.outbox.ping(ping)
    assert line.take() == [{"kind": "ping", "after": 2, "upto": 4}]


def test_what_came_and_went_unseen_is_not_told() -> None:
    line = synced()
    line.change("site", Element(Site()))
    line.change("site", None)
    assert line.take() == []


def test_what_went_is_gone_and_what_came_back_changed() -> None:
    line = synced()
    line.change("queue:1", None)
    assert line.take()[0]["gone"] == ["queue:1"]
    line.now += 10
    line.change("queue:2", None)
    line.change("queue:2", queue(9))
    assert line.take()[0]["patch"] == {"queue:2": {"contacts_waiting": 9}}


def test_what_is_outside_the_view_does_not_wait() -> None:
    line = synced()
    line.change("queue:3", queue(5))
    line.change("agent:1", queue(5))
    assert line.outbox.dirty == 0
    assert line.outbox.due_at(line.now) is None
    assert line.take() == []


# ---- positions ----


def test_a_new_epoch_names_its_stream_without_a_reset() -> None:
    line = synced()
    line.ledger.rebase(9)
    assert line.outbox.due_at(line.now) == line.now
    assert line.take() == [{"kind": "changes", "after": 2, "upto": 2, "stream": f"9.{VIEW.mark}"}]


def test_a_ping_moves_a_clean_phone_over_what_it_does_not_see() -> None:
    line = synced()
    line.change("queue:3", queue(5))
    line.outbox.ping(ping)
    assert line.take() == [{"kind": "ping", "after": 2, "upto": 3}]
    line.change("queue:1", queue(5))
    assert line.take()[0]["after"] == 3


def test_a_ping_moves_no_phone_for_which_something_waits() -> None:
    line = synced()
    line.change("queue:1", queue(5))
    line.take()
    line.change("queue:1", queue(6))
    line.outbox.ping(ping)
    assert line.take() == [{"kind": "ping", "after": 3, "upto": 3}]
    line.now += 10
    assert line.take()[0]["after"] == 3


def test_a_newer_ping_replaces_one_that_waits() -> None:
    line = synced()
    line.outbox.ping(ping)
    line.outbox.ping(lambda *_: b'{"kind":"ping","nonce":"2"}')
    assert line.take() == [{"kind": "ping", "nonce": "2"}]
    assert line.take() == []


# ---- parts ----


def test_an_answer_is_split_and_only_its_last_part_moves_the_position() -> None:
    line = synced(frame_bytes=330)
    for number in (1, 2):
        line.change(f"queue:{number}", queue(number, "n" * 60))
    line.outbox.reset()
    first, last = line.take()
    assert (first["after"], first["upto"], first["reset"], first["more"]) == (0, 0, True, True)
    assert (last["after"], last["upto"]) == (0, 4)
    assert "more" not in last
    assert "reset" not in last
    assert (first["stream"], "stream" in last) == (STREAM, False)
    assert [list(part["put"]) for part in (first, last)] == [["queue:1"], ["queue:2"]]


def test_one_value_that_fits_nowhere_is_sent_alone() -> None:
    line = synced(frame_bytes=300)
    line.change("queue:1", queue(1, "n" * 1000))
    line.change("queue:2", queue(9, "m"))
    assert [list(part["patch"]) for part in line.take()] == [["queue:1"], ["queue:2"]]


# ---- control frames ----


def test_control_frames_leave_in_order_and_do_not_wait_for_the_pace() -> None:
    line = synced()
    line.change("queue:1", queue(5))
    line.take()
    line.change("queue:1", queue(6))
    for text in ("a", "b", "c"):
        assert line.outbox.post(note(text))
    assert line.outbox.due_at(line.now) == line.now
    assert [frame["message"] for frame in line.take()] == ["a", "b", "c"]
    assert line.outbox.due_at(line.now) == line.now + 0.05


def test_a_result_waits_for_the_state_that_it_caused() -> None:
    line = synced()
    line.change("queue:1", queue(5))
    line.take()
    line.change("queue:1", queue(6))
    line.outbox.post(note("before"))
    line.outbox.post(note("result"), after_state=True)
    kinds = [frame.get("message", frame["kind"]) for frame in line.take()]
    assert kinds == ["before", "changes", "result"]
    assert line.take() == []


def test_a_result_does_not_wait_for_state_that_is_not_there() -> None:
    line = synced()
    line.outbox.post(note("result"), after_state=True)
    assert [frame["kind"] for frame in line.take()] == ["error"]


def test_too_many_control_frames_are_too_many() -> None:
    line = synced()
    posted = [line.outbox.post(note(str(number))) for number in range(CONTROL_MAX + 1)]
    assert posted == [True] * 64 + [False]
    assert len(line.take()) == 64
    assert line.outbox.post(note("again"))


# ---- time ----


def test_state_leaves_at_the_pace() -> None:
    line = synced()
    line.change("queue:1", queue(5))
    assert line.outbox.due_at(line.now) == line.now
    line.take()
    line.change("queue:1", queue(6))
    assert line.take() == []
    assert line.outbox.due_at(line.now) == line.now + 0.05
    line.now += 0.05
    assert line.take()[0]["patch"] == {"queue:1": {"contacts_waiting": 6}}


def test_nothing_is_due_when_nothing_waits() -> None:
    line = synced()
    assert line.outbox.due_at(line.now) is None
    line.outbox.ping(ping)
    assert line.outbox.due_at(line.now) == line.now


def test_a_resync_sends_everything_again() -> None:
    line = synced()
    line.change("queue:1", None)
    line.outbox.reset()
    line.outbox.reset()
    (frame,) = line.take()
    assert (frame["reset"], frame["stream"], frame["after"], frame["upto"]) == (True, STREAM, 0, 3)
    assert list(frame["put"]) == ["queue:2"]
    assert "gone" not in frame


def test_who_stopped_reading_is_told_no_more() -> None:
    line = synced()
    line.outbox.close()
    line.change("queue:1", queue(5))
    assert line.outbox.dirty == 0
    assert not line.ledger.readers
