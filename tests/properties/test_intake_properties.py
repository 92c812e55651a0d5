"""The shown state does not depend on how a link's bytes are cut or batched."""

from __future__ import annotations

import asyncio
import json
import random  # noqa: TID251 - seeded by Hypothesis
from collections.abc import Iterator
from typing import cast

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.outbox import PaceLadder
from gateway.core.rate_limits import ReaderPace
from gateway.domain.commands import Directory, Listen
from gateway.domain.model import Kind, Scope
from gateway.domain.resources import Agent, Queue
from gateway.domain.upstream import Part, Reading, Source
from gateway.protocol import websocket
from gateway.runtime.event_loop import LinkScheduler
from gateway.upstream.oscce.messages import LinkReader
from gateway.upstream.oscce.readings import Kept, Readings
from gateway.upstream.oscce.socket import Closed, LinkSocket
from tests.runtime.mirror_room import Room

QUEUES, AGENTS = tuple(range(1, 10)), (7, 8)
QUERIES = {
    1: ("UserRealtime", Kind.AGENT, Source.REALTIME),
    2: ("QueueRealtime", Kind.QUEUE, Source.REALTIME),
    3: ("QueueCumulative", Kind.QUEUE, Source.CUMULATIVE),
}
TIME_MS = 1_700_000_000_000


def element(query: int, key: int, value: int) -> dict[str, object]:
    """Return an element with *value* of a resource."""
    if query == 1:
        talking = {"HandlingState": "Talking", "CallID": f"c-{value}", "QueueKey": 1}
        return {"UserKey": key, "Extension": str(value), "RoutingState": "Work", "HandlingStates": [talking]}
    return {"QueueKey": key, "Contacts" if query == 2 else "Received": value}


def said(draw: random.Random, answers: float) -> str:
    if draw.random() < answers:
        return '{"Type":"Response","RequestID":1}'
    query = draw.choice([1, 2, 2, 3, 3])
    known = AGENTS if query == 1 else QUEUES
    how = draw.choice(["single"] * 8 + ["several", "removed", "complete"])
    received = draw.sample([*known, 99], 1 if how == "single" else draw.randint(how != "complete", 3))
    message: dict[str, object] = {
        "Type": "Event",
        "QueryID": query,
        "EventType": QUERIES[query][0],
        "Time": TIME_MS + draw.randint(0, 3),
        "Complete": how == "complete",
        "Elements": [element(query, key, draw.randint(0, 50)) for key in received],
    }
    if how == "removed":
        removed = {"Removed": [draw.choice(known)]}
        message = {**message, **removed} if draw.random() < 0.5 else {"Type": "Event", **removed, **message}
    separators = (", ", ": ") if draw.random() < 0.1 else (",", ":")
    return json.dumps(message, separators=separators)


class Shown:
    """What one way of reading makes of it."""

    def __init__(self) -> None:
        self.room = Room()
        self.pace = PaceLadder(least_s=0.05)
        """That of the only phone."""
        self.answered: list[dict[str, object]] = []
        """What was shown when each answer came: an effect is there before its result."""
        self.room.accept(Scope(agents=frozenset(AGENTS), queues=frozenset(QUEUES)))
        queues = [Part(Kind.QUEUE, key, Source.DIRECTORY, Queue(name=f"Q{key}")) for key in QUEUES]
        agents = [Part(Kind.AGENT, key, Source.DIRECTORY, Agent(display_name=f"A{key}")) for key in AGENTS]
        self.room.mirror.directory(Directory((*queues, *agents), (), (), ()))
        for query, (_, kind, source) in QUERIES.items():
            self.room.mirror.listening(query, Listen(kind, source, None))
        self._readings = Readings()
        reader = LinkReader("main", self._readings)
        for query in QUERIES:
            first = {"Type": "Event", "QueryID": query, "EventType": QUERIES[query][0], "Time": TIME_MS}
            keys = AGENTS if query == 1 else QUEUES
            text = json.dumps(
                {**first, "Complete": True, "Elements": [element(query, key, 0) for key in keys]}
            )
            self.read(*cast("tuple[Reading]", reader.read(text)))
        self.room.mirror.settle()
        self._reader = reader

    def take_text(self, _: str) -> bool:
        """Process nothing: other texts are received."""
        return False

    def take_readings(self, unread: list[Kept], _: float | None = None) -> ReaderPace:
        """Read what is unread as a link does, up to what is no reading."""
        while unread:
            kept = unread[0]
            reading = self._readings.event(kept) or self._reader.peek(kept)
            if reading is None:
                break
            del unread[0]
            self.read(reading)
        return self.pace

    def receive(self, text: str) -> None:
        """Read a text as the receiver of a link's messages does."""
        for each in self._reader.read(text):
            if isinstance(each, Reading):
                self.read(each)
            else:
                self.answered.append(self.values())

    def read(self, reading: Reading) -> None:
        self.room.read(reading)

    def values(self) -> dict[str, object]:
        return {key: each.value for key, each in self.room.feed.ledger.shared()}


class Transport:
    """A transport of which nothing is wanted."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str) -> None: ...

    def is_closing(self) -> bool:
        return False


class ByHand:
    """Turns that the test takes itself."""

    skipped = 0
    is_planned = True
    began_at = 0.0

    def __init__(self) -> None:
        self.due: list[object] = []

    def now(self) -> float:
        return self.began_at

    def schedule(self, _: object) -> None: ...

    def hold(self, link: LinkSocket, _: float) -> None:
        """Record when its data came."""
        link.held_at = self.began_at


async def read_in_turns(chunks: Iterator[tuple[bytes, bool]], shown: Shown) -> int:
    """Receive *chunks*, some of them followed by a turn, which is also one of the phone.

    Returns how many readings were skipped.
    """
    hand = ByHand()
    link = LinkSocket(
        cast("asyncio.Transport", Transport()), 10**6, lambda *_: None, cast("LinkScheduler", hand)
    )

    async def receive() -> None:
        while type(text := await link.receive(shown)) is not Closed:
            assert isinstance(text, str)
            shown.receive(text)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(receive())
        for data, is_turn in chunks:
            link.data_received(data)
            if is_turn:
                await asyncio.sleep(0)
                link.process_received()
                shown.pace.sent(hand.began_at)
            hand.began_at += 0.02
        await asyncio.sleep(0)
        link.process_received()
        link.connection_lost(None)
    return hand.skipped


def cut(data: bytes, draw: random.Random) -> Iterator[tuple[bytes, bool]]:
    """Yield *data* in pieces, and whether a turn follows each."""
    at = 0
    while at < len(data):
        size = draw.choice([1, 100, 700, 3000, 9000, 9000])
        yield data[at : at + size], draw.random() < 0.3
        at += size


@given(st.integers(0, 2**32))
@example(1389)  # a reading was moved behind the whole set that removed its resource
@example(2927)
def test_turns_cuts_and_skips_show_what_reading_all_in_order_would(seed: int) -> None:
    draw = random.Random(seed)
    answers = draw.choice([0.0, 0.1])
    messages = [said(draw, answers) for _ in range(draw.randint(1, 60))]
    in_order, in_turns = Shown(), Shown()
    for message in messages:
        in_order.receive(message)
    data = b"".join(websocket.frame(websocket.TEXT, message.encode()) for message in messages)
    asyncio.run(read_in_turns(cut(data, draw), in_turns))
    assert in_turns.values() == in_order.values()
    assert in_turns.answered == in_order.answered
