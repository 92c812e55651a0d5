"""Event streams: each reader gets all events in order, within bounds."""

from __future__ import annotations

import asyncio

from gateway.client.mirror import KEPT, Connected, Ended, Event, EventStream, Reconnecting

ENDED = Ended(4005, "logged_off", "Ada")


async def _all(stream: EventStream, into: list[Event]) -> None:
    async for event in stream.read():
        into.append(event)  # noqa: PERF401 - what came before a break matters too


async def test_every_reader_gets_every_event_in_order() -> None:
    stream, received = EventStream(), ([], [])  # type: tuple[EventStream, tuple[list[Event], list[Event]]]
    async with asyncio.TaskGroup() as tasks:
        for into in received:
            tasks.create_task(_all(stream, into))
        await asyncio.sleep(0)
        stream.publish(Connected(False))
        await asyncio.sleep(0)
        stream.publish(Reconnecting(1.0, "lost"))
        stream.publish(ENDED)
        stream.close()
    assert received[0] == received[1] == [Connected(False), Reconnecting(1.0, "lost"), ENDED]


async def test_reading_begins_with_the_call() -> None:
    stream = EventStream()
    stream.publish(Connected(False))
    reader = stream.read()
    stream.publish(ENDED)
    stream.close()
    assert [event async for event in reader] == [ENDED]


async def test_a_reader_that_lags_keeps_the_newest() -> None:
    stream = EventStream()
    reader = stream.read()
    for second in range(KEPT + 10):
        stream.publish(Reconnecting(float(second), "lost"))
    stream.publish(ENDED)
    stream.close()
    events = [event async for event in reader]
    assert len(events) == KEPT
    assert events[0] == Reconnecting(11.0, "lost")
    assert events[-1] == ENDED


async def test_a_reader_that_stops_is_forgotten() -> None:
    stream = EventStream()
    reader = stream.read()
    stream.publish(ENDED)
    async for _ in reader:
        break
    await reader.aclose()  # type: ignore[attr-defined]  # it is a generator
    assert stream._readers == []
