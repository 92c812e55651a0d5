"""What an Asterisk costs a node: one whole reading, events with many users, and links that open.

``python -m bench.profiles.asterisk``: 20 queues of 200 members each, 200 users who see everything.
CPU time of this process; the runtime above the adapter is not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final, cast

from gateway.domain.commands import Listen
from gateway.domain.model import Kind, Scope, UserId
from gateway.domain.upstream import Reading, Source
from gateway.runtime.event_loop import SystemClock
from gateway.simulator.ami import FakeAsterisk, Membership
from gateway.upstream.asterisk.ami import Framer
from gateway.upstream.asterisk.link import AsteriskLink, Server
from gateway.upstream.asterisk.monitor import Publisher
from gateway.upstream.asterisk.people import AsteriskView, Rules
from gateway.upstream.asterisk.state import Pass, Queues

QUEUES: Final = 20
MEMBERS: Final = 200
USERS: Final = 200
PIECE: Final = 32 * 1024
SECONDS: Final = 20
PER_S: Final = 45


class Nothing:
    """The server of links that ask for nothing."""

    heard_at = 0.0

    def left(self, link: AsteriskLink) -> None:
        """Do nothing."""


def _bytes(messages: list[list[tuple[str, str]]]) -> bytes:
    return b"".join(
        ("".join(f"{name}: {value}\r\n" for name, value in one) + "\r\n").encode() for one in messages
    )


def _timed(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


def _piece(framer: Framer, reading: Pass, raw: bytes, at: int) -> None:
    for message in framer.feed(raw[at : at + PIECE]):
        reading.row(message, 1_000)


def main() -> None:
    """Measure and print."""
    fake = FakeAsterisk(lambda: 1_000_000.0)
    for place in range(QUEUES):
        queue = fake.add_queue(f"q{place}")
        for number in range(MEMBERS):
            name = f"Local/{number}@desk/n"
            queue.members[name] = Membership(name, f"Agent {number}")
    rows = [
        [("Event", kind), *headers, ("ActionID", "1")]
        for name in fake.queues
        for kind, headers in fake.rows_of(name)
    ]
    raw = _bytes(rows)
    queues = Queues()
    view = AsteriskView(queues, Rules())
    publisher = Publisher(queues, view)
    print(f"{QUEUES} queues of {MEMBERS} members: {len(rows)} rows, {len(raw) / 2**20:.1f} MiB")
    for what in ("first", "again"):
        framer = Framer()
        framer.feed(b"Asterisk Call Manager/13.0.0\r\n")
        reading = queues.begin(with_members=True)

        slices = [_timed(partial(_piece, framer, reading, raw, at)) for at in range(0, len(raw), PIECE)]
        reading.end()
        while publisher.has_more:
            slices.append(_timed(lambda: publisher.publish(1_000)))
        print(
            f"  {what}: {sum(slices):.0f} ms of CPU in {len(slices)} slices, the longest {max(slices):.1f} ms"
        )
    _events(queues, view, publisher)


def _events(queues: Queues, view: AsteriskView, publisher: Publisher) -> None:
    clock = SystemClock()
    scope = Scope(frozenset(view.interfaces), frozenset(view.queue_number(name) for name in queues.queues))
    heard: list[Reading] = []
    for user in range(USERS):
        link = AsteriskLink(cast(Server, Nothing()), UserId("main", user), clock, token=1, holder="a")
        link.scope = scope
        for kind in (Kind.AGENT, Kind.QUEUE):
            for source in (Source.REALTIME, Source.CUMULATIVE):
                publisher.listen(link, Listen(kind, source, None))
        link._hear = heard.extend  # noqa: SLF001 - as if its owner received
        publisher.links[user] = link
    names = list(queues.memberships)

    def happen() -> None:
        for number in range(SECONDS * PER_S):
            interface = names[number % len(names)]
            member = next(iter(queues.memberships[interface].values()))
            event = {
                "Event": "QueueMemberPause",
                "Queue": member.queue,
                "Interface": interface,
                "MemberName": member.name,
                "Membership": "dynamic",
                "Status": "1",
                "Paused": str(number // len(names) % 2 ^ 1),
                "PausedReason": "Lunch",
            }
            queues.event(event, 1_000 + number)
            while publisher.has_more:
                publisher.publish(1_000 + number)

    took_ms = _timed(happen)
    per_s = took_ms / SECONDS
    told = len(heard) + sum(link.waiting for link in publisher.links.values())
    print(f"{PER_S} events/s with {USERS} users who see all: {per_s / 10:.1f} % of a core, {told} readings")


if __name__ == "__main__":
    main()
