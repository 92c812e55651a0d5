"""A mirror with two queues, and the outbox of one phone that reads it."""

from __future__ import annotations

from typing import Any

from gateway.core.element import Element
from gateway.core.ledger import Ledger
from gateway.core.outbox import Outbox, PaceLadder
from gateway.core.view import View, view_of
from gateway.domain.model import Scope
from gateway.domain.resources import Queue
from gateway.protocol.codec import JSON, Codec
from gateway.protocol.frames import ErrorFrame
from tests.core.samples import decoded

SCOPE = Scope(queues=frozenset({1, 2}))
VIEW = view_of("h", SCOPE, ("queues",))
STREAM = f"1.{VIEW.mark}"


def queue(waiting: int | None = None, name: str | None = None) -> Element:
    return Element(Queue(name=name, contacts_waiting=waiting))


def ping(after: int, upto: int) -> bytes:
    return b'{"kind":"ping","after":%d,"upto":%d}' % (after, upto)


def note(text: str) -> ErrorFrame:
    return ErrorFrame("busy", text)


class Line:
    """A mirror with two queues, and one phone that reads it."""

    def __init__(self, view: View = VIEW, *, frame_bytes: int = 10_000, codec: Codec = JSON) -> None:
        self.ledger = Ledger(1)
        self.ledger.record("queue:1", queue(1))
        self.ledger.record("queue:2", queue(2))
        self.pace = PaceLadder()
        self.outbox = Outbox(self.ledger, view, codec, self.pace, frame_bytes=frame_bytes)
        self.now = 100.0

    def take(self) -> list[dict[str, Any]]:
        return decoded(self.outbox.take(self.now))

    def change(self, key: str, element: Element | None) -> None:
        self.ledger.record(key, element)


def synced(*, frame_bytes: int = 10_000, codec: Codec = JSON) -> Line:
    line = Line(frame_bytes=frame_bytes, codec=codec)
    line.outbox.begin(None)
    line.outbox.take(line.now)
    line.now += 10
    return line
