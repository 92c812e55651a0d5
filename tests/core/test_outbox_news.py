"""Outbox: the news path and the general path send the same."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from typing import Any

import pytest

from gateway.core.element import ChangeSet
from gateway.core.fanout_group import News
from gateway.core.view import view_of
from gateway.domain.model import Scope
from gateway.protocol.codec import JSON, MSGPACK, Codec
from gateway.protocol.frames import Changes
from tests.core.outbox_line import VIEW, Line, note, ping, queue, synced
from tests.core.samples import decoded

NARROW = view_of("h", Scope(queues=frozenset({1})), ("queues",))
KEYS = ("queue:1", "queue:2")


def taken(line: Line) -> list[dict[str, Any]]:
    """Take as a socket does: as news if it is only that."""
    news = line.outbox.take_news(line.now)
    if news is None:
        return line.take()
    return decoded([news.frame]) if isinstance(news, News) else []


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
            line.outbox.look(VIEW if draw.random() < 0.5 else NARROW)
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


def test_news_wait_for_the_pace() -> None:
    line = synced()
    line.change("queue:1", queue(7))
    assert isinstance(line.outbox.take_news(line.now), News)
    line.change("queue:1", queue(8))
    assert line.outbox.take_news(line.now) == pytest.approx(line.now + line.pace.interval_s)
    line.now += line.pace.interval_s
    news = line.outbox.take_news(line.now)
    assert isinstance(news, News)
    assert decoded([news.frame])[0]["patch"] == {"queue:1": {"contacts_waiting": 8}}


def test_a_frame_that_may_be_too_large_is_no_news() -> None:
    line = synced(frame_bytes=300)
    line.change("queue:1", queue(7, "x" * 200))
    assert line.outbox.take_news(line.now) is None
    assert line.take() != []


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)
def test_patches_of_what_many_phones_get_alike_are_written_once(codec: Codec) -> None:
    lines = [synced(codec=codec) for _ in range(2)]
    changes = ChangeSet((key, lines[0].ledger.get(key), queue(7)) for key in KEYS)
    frames = []
    for line in lines:
        line.ledger.record_all(changes)
        news = line.outbox.take_news(line.now)
        assert isinstance(news, News)
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
        assert isinstance(news, News)
        assert (news.elements, news.conflated) == (2, 1)
        frames.append(news.frame)
    assert frames[0] == frames[1]
    both = {"queue:1": {"contacts_waiting": 8}, "queue:2": {"contacts_waiting": 7}}
    assert decoded(frames[:1])[0]["patch"] == both
    assert first.then(second) is first.then(second)
