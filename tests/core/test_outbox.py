"""Outbox: one phone gets what it lacks, in a reliable order and shape."""

from __future__ import annotations

import math

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


def test_the_state_that_is_owed_follows_the_first_frame_at_once() -> None:
    line = Line()
    line.outbox.begin(None)
    for text in ("a", "b"):
        line.outbox.post(note(text))
    assert [frame.get("message", frame["kind"]) for frame in line.take()] == ["a", "changes", "b"]


# ---- conflation ----


def test_a_change_is_reported_as_the_difference() -> None:
    line = synced()
    line.change("queue:1", queue(5))
    patch = {"queue:1": {"contacts_waiting": 5}}
    assert line.take() == [{"kind": "changes", "after": 2, "upto": 3, "patch": patch}]


def test_it_has_the_arrival_time_of_the_oldest_waiting_news() -> None:
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


def test_of_many_changes_the_newest_is_reported() -> None:
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


# ---- positions ----


def test_a_new_epoch_names_its_stream_without_a_reset() -> None:
    line = synced()
    line.ledger.rebase(9)
    assert line.outbox.due_at(line.now) == line.now
    assert line.take() == [{"kind": "changes", "after": 2, "upto": 2, "stream": f"9.{VIEW.mark}"}]


def test_a_newer_ping_replaces_one_that_waits() -> None:
    line = synced()
    line.outbox.ping(ping)
    line.outbox.ping(lambda *_: b'{"kind":"ping","nonce":"2"}')
    assert line.take() == [{"kind": "ping", "nonce": "2"}]
    assert line.take() == []


# ---- parts ----


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


def test_who_stopped_reading_is_sent_no_more() -> None:
    line = synced()
    line.outbox.close()
    line.change("queue:1", queue(5))
    assert line.outbox.dirty == 0
    assert not line.ledger.readers
