"""Outbox: one phone gets what it lacks, in a reliable order and shape."""

from __future__ import annotations

import math
import random  # noqa: TID251 - seeded
from typing import Any

import pytest

from gateway.core.element import ChangeSet, Element
from gateway.core.fanout_group import ChangesFrame, Cursor, first_of
from gateway.core.ledger import Ledger
from gateway.core.view import me_key, view_of
from gateway.domain.model import Scope
from gateway.protocol.codec import JSON, MSGPACK, Codec
from gateway.protocol.frames import Changes
from tests.core.outbox_line import VIEW, Line, note, ping, queue, synced
from tests.core.samples import decoded

# ---- the beginning ----


@pytest.fixture
def line() -> Line:
    return synced()


def test_the_state_that_is_owed_follows_the_first_frame_at_once() -> None:
    line = Line()
    line.outbox.begin(None)
    for text in ("a", "b"):
        line.outbox.post(note(text))
    assert [frame.get("message", frame["kind"]) for frame in line.take()] == ["a", "changes", "b"]


# ---- conflation ----


def test_a_change_is_reported_as_the_difference(line: Line) -> None:
    line.change("queue:1", queue(5))
    patch = {"queue:1": {"contacts_waiting": 5}}
    assert line.take() == [{"kind": "changes", "after": 2, "upto": 3, "patch": patch}]


def test_it_has_the_arrival_time_of_the_oldest_waiting_news(line: Line) -> None:
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


def test_of_many_changes_the_newest_is_reported(line: Line) -> None:
    for waiting in (5, 6, 7):
        line.change("queue:1", queue(waiting, "x"))
    assert (line.outbox.dirty, line.outbox.conflated) == (1, 2)
    assert line.take()[0]["patch"] == {"queue:1": {"contacts_waiting": 7, "name": "x"}}


def test_a_change_that_was_taken_back_is_none(line: Line) -> None:
    line.change("queue:1", queue(5))
    line.change("queue:1", queue(1))
    assert line.take() == []
    line.outbox.ping(ping)
    assert line.take() == [{"kind": "ping", "after": 2, "upto": 4}]


# ---- positions ----


def test_a_new_epoch_names_its_stream_without_a_reset(line: Line) -> None:
    line.ledger.rebase(9)
    assert line.outbox.due_at(line.now) == line.now
    assert line.take() == [{"kind": "changes", "after": 2, "upto": 2, "stream": f"9.{VIEW.mark}"}]


def test_a_newer_ping_replaces_one_that_waits(line: Line) -> None:
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


def test_control_frames_leave_in_order_and_do_not_wait_for_the_pace(line: Line) -> None:
    line.change("queue:1", queue(5))
    line.take()
    line.change("queue:1", queue(6))
    for text in ("a", "b", "c"):
        assert line.outbox.post(note(text))
    assert line.outbox.due_at(line.now) == line.now
    assert [frame["message"] for frame in line.take()] == ["a", "b", "c"]
    assert line.outbox.due_at(line.now) == line.now + 0.05


# ---- time ----


def test_state_leaves_at_the_pace(line: Line) -> None:
    line.change("queue:1", queue(5))
    assert line.outbox.due_at(line.now) == line.now
    line.take()
    line.change("queue:1", queue(6))
    assert line.take() == []
    assert line.outbox.due_at(line.now) == line.now + 0.05
    line.now += 0.05
    assert line.take()[0]["patch"] == {"queue:1": {"contacts_waiting": 6}}


def test_who_stopped_reading_is_sent_no_more(line: Line) -> None:
    line.outbox.close()
    line.change("queue:1", queue(5))
    assert line.outbox.dirty == 0
    assert not line.ledger.readers


# ---- the news path and the general path send the same ----


NARROW = view_of("h", Scope(queues=frozenset({1})), ("queues",))
KEYS = ("queue:1", "queue:2")


def taken(line: Line) -> list[dict[str, Any]]:
    """Take as a socket does: as news if it is only that."""
    news = line.outbox.take_news(line.now)
    if news is None:
        return line.take()
    return decoded([news.frame]) if isinstance(news, ChangesFrame) else []


def at_once(line: Line, keys: tuple[str, ...], draw: random.Random) -> None:
    """Let all *keys* change with one reading, as links bring what is the same for many users."""
    changes = []
    for key in keys:
        before, after = line.ledger.get(key), queue(draw.randint(0, 2), draw.choice(("a", "b")))
        if before is None or before.value != after.value:
            changes.append((key, before, after))
    line.ledger.record_all(ChangeSet(changes))


def act(line: Line, draw: random.Random) -> None:
    """Let something happen to the mirror, or to what the phone is to be sent."""
    key = draw.choice(KEYS)
    match draw.randint(0, 12):
        case 0:
            line.change(key, None)
        case 1:
            line.outbox.post(note("busy"), after_state=draw.random() < 0.5)
        case 2:
            line.outbox.ping(ping)
        case 3:
            line.outbox.reset()
        case 4:
            line.ledger.rebase(line.ledger.position.epoch + 1)
        case 5:
            line.outbox.change_view(VIEW if draw.random() < 0.5 else NARROW)
        case 6 | 7 | 8:
            at_once(line, KEYS, draw)
        case _:
            line.change(key, queue(draw.randint(0, 2)))


@pytest.mark.parametrize("seed", range(25))
def test_news_are_what_would_be_taken_otherwise(seed: int) -> None:
    plain, quick = synced(), synced()
    draws = random.Random(seed), random.Random(seed)
    for _ in range(60):
        act(plain, draws[0])
        act(quick, draws[1])
        step_s = draws[0].choice((0.0, 0.01, 0.1))
        assert step_s == draws[1].choice((0.0, 0.01, 0.1))
        plain.now += step_s
        quick.now += step_s
        assert taken(quick) == plain.take()
        assert quick.outbox.due_at(quick.now) == plain.outbox.due_at(plain.now)


def test_a_frame_that_may_be_too_large_is_no_news() -> None:
    line = synced(frame_bytes=300)
    line.change("queue:1", queue(7, "x" * 200))
    assert line.outbox.take_news(line.now) is None
    assert line.take() != []


def test_a_change_that_cannot_be_encoded_still_waits() -> None:
    line = synced()
    line.change("queue:1", queue(7, "\ud800"))
    with pytest.raises(UnicodeEncodeError):
        line.outbox.take_news(line.now)
    line.change("queue:1", queue(7, "calls"))
    [frame] = taken(line)
    assert frame["patch"] == {"queue:1": {"name": "calls", "contacts_waiting": 7}}


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)
def test_patches_of_what_many_phones_get_alike_are_written_once(codec: Codec) -> None:
    lines = [synced(codec=codec) for _ in range(2)]
    changes = ChangeSet((key, lines[0].ledger.get(key), queue(7)) for key in KEYS)
    frames = []
    for line in lines:
        line.ledger.record_all(changes)
        news = line.outbox.take_news(line.now)
        assert isinstance(news, ChangesFrame)
        frames.append(codec.decode_gateway(news.frame))
    expected = {key: {"contacts_waiting": 7} for key in KEYS}
    assert [each.patch for each in frames if isinstance(each, Changes)] == [expected, expected]
    assert changes.patches(codec) is changes.patches(codec)


def test_what_waits_of_several_steps_is_written_once_for_all_phones_that_missed_the_same() -> None:
    lines = [synced() for _ in range(2)]
    first = ChangeSet((key, lines[0].ledger.get(key), queue(7)) for key in KEYS)
    second = ChangeSet([("queue:1", first.elements["queue:1"], queue(8))])
    frames = []
    for line in lines:
        line.ledger.record_all(first)
        line.ledger.record_all(second)
        news = line.outbox.take_news(line.now)
        assert isinstance(news, ChangesFrame)
        assert (news.elements, news.conflated) == (2, 1)
        frames.append(news.frame)
    assert frames[0] == frames[1]
    both = {"queue:1": {"contacts_waiting": 8}, "queue:2": {"contacts_waiting": 7}}
    assert decoded(frames[:1])[0]["patch"] == both
    assert first.then(second) is first.then(second)


# ---- frames made of changed keys ----


def ledger(**elements: Element) -> Ledger:
    made = Ledger(1)
    for number, element in elements.items():
        made.record(f"queue:{number[1:]}", element)
    return made


def test_the_first_frame_for_all_is_made_once_and_again_after_a_change() -> None:
    received, head = ledger(q1=queue(1), q77=queue(2)), Cursor("1.a", 2)
    frames = [first_of(received, VIEW, JSON, head=head, frame_bytes=10_000) for _ in range(3)]
    assert frames[0] == frames[1] == frames[2]
    assert decoded(frames[0])[0]["put"] == {"queue:1": {"contacts_waiting": 1}}
    assert len(received.firsts) == 1
    received.record(me_key("of nobody here"), queue(9))
    assert len(received.firsts) == 1, "what is one session's own concerns nobody else"
    received.record("queue:1", queue(5))
    assert not received.firsts
    [frame] = decoded(first_of(received, VIEW, JSON, head=head, frame_bytes=10_000))
    assert (frame["put"], frame["reset"]) == ({"queue:1": {"contacts_waiting": 5}}, True)
