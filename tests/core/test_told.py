"""Is what links tell one object for all that have told the same, and gone when nobody tells it?"""

from __future__ import annotations

import gc

import pytest

from gateway.core import told as told_module
from gateway.core.told import STEPS_S, News, Tellings, Told
from gateway.domain.model import Kind
from gateway.domain.resources import Agent, RoutingState
from gateway.domain.upstream import Part, Reading, Source
from tests.core.samples import part

AGENT = (Kind.AGENT, 5)
SOURCES = (Source.DIRECTORY, Source.REALTIME, Source.CONFIGURATION)


def available() -> Part:
    return part(*AGENT, Source.REALTIME, Agent(routing_state=RoutingState.AVAILABLE))


def after_all(told: Told, *parts: Part) -> Told:
    for each in parts:
        told = told.after(each)
    return told


def test_it_holds_the_newest_part_of_each_source() -> None:
    first, second = available(), available()
    known, skills = part(*AGENT, Source.DIRECTORY), part(*AGENT, Source.CONFIGURATION)
    told = after_all(Tellings().nothing(AGENT), known, first, skills, second)
    assert [told.part(source) for source in Source] == [known, second, None, skills]
    assert (told.address, told.key) == (AGENT, "agent:5")


def test_the_same_in_any_order_is_the_same_object() -> None:
    tellings = Tellings()
    parts = [part(*AGENT, source) for source in SOURCES]
    one = after_all(tellings.nothing(AGENT), *parts)
    assert after_all(tellings.nothing(AGENT), *reversed(parts)) is one
    assert one.after(parts[0]) is one
    assert after_all(tellings.nothing((Kind.AGENT, 6)), *parts) is not one


def test_whoever_was_led_elsewhere_since_is_led_right() -> None:
    told = Tellings().nothing(AGENT).after(part(*AGENT, Source.DIRECTORY))
    first, second = available(), available()
    led = [told.after(each).part(Source.REALTIME) for each in (first, second, first)]
    assert led == [first, second, first]


def test_when_somebody_left_is_said_until_he_is_back() -> None:
    present = after_all(Tellings().nothing(AGENT), part(*AGENT, Source.DIRECTORY), available())
    gone = present.with_part(Source.REALTIME, None, 20)
    assert (present.left_at_ms, gone.left_at_ms) == (None, 20)
    assert gone.after(part(*AGENT, Source.CUMULATIVE)).left_at_ms == 20
    assert gone.after(available()).left_at_ms is None
    assert present.with_part(Source.REALTIME, None, 30) is not gone


def test_it_is_plain_when_it_is_known_and_there() -> None:
    nothing = Tellings().nothing(AGENT)
    known = nothing.after(part(*AGENT, Source.DIRECTORY))
    assert [nothing.is_plain, known.is_plain, nothing.after(available()).is_plain] == [False] * 3
    assert known.after(available()).is_plain


def test_a_link_that_lags_keeps_nothing_of_what_came_since() -> None:
    tellings = Tellings()
    lagging = leading = after_all(tellings.nothing(AGENT), *(part(*AGENT, source) for source in SOURCES))
    before = len(tellings)
    for _ in range(100):
        leading = leading.after(available())
    gc.collect()
    assert len(tellings) == before + 1
    assert lagging.after(available()) is not leading


def test_the_first_steps_of_a_link_are_kept_for_the_next_but_not_without_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(told_module, "FIRST_STEPS_MOST", 4)
    tellings = Tellings()
    parts = [part(*AGENT, source) for source in SOURCES]
    steps = {id(after_all(tellings.nothing(AGENT), *parts[:count])) for count in range(len(parts))}
    again = {id(after_all(tellings.nothing(AGENT), *parts[:count])) for count in range(len(parts))}
    assert steps == again
    for number in range(100):
        tellings.nothing((Kind.AGENT, number))
    gc.collect()
    assert len(tellings) == 4


def reading(*parts: Part, time_ms: int = 10) -> Reading:
    return Reading(1, Kind.AGENT, Source.REALTIME, time_ms, complete=False, parts=parts)


def test_news_tell_what_has_changed_and_what_has_not() -> None:
    tellings = Tellings()
    told = after_all(tellings.nothing(AGENT), part(*AGENT, Source.DIRECTORY), available())
    other = tellings.nothing((Kind.AGENT, 6))
    now = told.after(available())
    news = News([told, other], {5: now, 6: other}, 10)
    assert (news.changed, news.keys, news.numbers) == ((now,), ["agent:5"], frozenset({5}))
    assert (news.order, news.read_ms) == ([5, 6], {5: 10, 6: 10})
    assert news.is_plain
    assert not News([None], {6: other}, 10).is_plain


def test_news_are_kept_by_the_parts_and_the_time_of_their_reading() -> None:
    tellings = Tellings()
    first, second = available(), available()
    news = tellings.news(reading(first, second))
    assert tellings.news(reading(first, second)) is news
    assert tellings.news(reading(second, first)) is not news
    assert tellings.news(reading(first, second, time_ms=11)) is not news


def test_the_oldest_news_go_when_there_are_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_module, "NEWS_PARTS_MOST", 4)
    tellings, parts = Tellings(), [available() for _ in range(4)]
    kept = [tellings.news(reading(*parts[:2], time_ms=time_ms)) for time_ms in range(3)]
    assert tellings.news(reading(*parts[:2], time_ms=2)) is kept[2]
    assert tellings.news(reading(*parts[:2], time_ms=1)) is kept[1]
    assert tellings.news(reading(*parts[:2], time_ms=0)) is not kept[0]
    big = tellings.news(reading(*parts, parts[0]))
    assert tellings.news(reading(*parts, parts[0])) is big


def test_news_and_first_steps_go_by_time_though_nothing_comes() -> None:
    tellings, part_of_all = Tellings(), available()
    news = tellings.news(reading(part_of_all))
    tellings.nothing(AGENT)
    tellings.turn(0.0)
    assert tellings.news(reading(part_of_all)) is news
    tellings.turn(2.0)
    assert tellings.news(reading(part_of_all)) is not news
    tellings.turn(STEPS_S - 1)
    assert len(tellings) == 1, "the next link takes the same first steps"
    tellings.turn(STEPS_S)
    assert len(tellings) == 0
