"""Does a phone get the same, whether what waits is taken as news or as anything is?"""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from typing import Any

import pytest

from gateway.core.outbox import News
from tests.core.outbox_line import Line, note, ping, queue, synced
from tests.core.samples import decoded

KEYS = ("queue:1", "queue:2")


def taken(line: Line) -> list[dict[str, Any]]:
    """Take as a socket does: as news if it is only that."""
    news = line.outbox.take_news(line.now)
    if news is None:
        return line.take()
    return decoded([news.frame]) if isinstance(news, News) else []


def act(line: Line, draw: random.Random) -> None:
    """Let something happen to the mirror, or to what the phone is to be told."""
    key = draw.choice(KEYS)
    match draw.randint(0, 9):
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
