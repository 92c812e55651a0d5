"""Frames made of changed keys."""

from __future__ import annotations

from gateway.core.element import Element
from gateway.core.ledger import Cursor, Ledger, first_of
from gateway.core.view import me_key
from gateway.protocol.codec import JSON
from tests.core.outbox_line import VIEW, queue
from tests.core.samples import decoded


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
