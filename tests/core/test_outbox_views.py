"""Outbox: a new view arrives in place; nothing outside it is sent."""

from __future__ import annotations

from gateway.core.view import view_of
from gateway.domain.model import Scope
from tests.core.outbox_line import SCOPE, queue, synced


def test_another_view_arrives_in_place() -> None:
    line = synced()
    other = view_of("h", Scope(queues=frozenset({2, 3})), ("queues",))
    line.change("queue:3", queue(3))
    line.outbox.look(other)
    assert line.take() == [
        {
            "kind": "changes",
            "after": 2,
            "upto": 3,
            "stream": f"1.{other.mark}",
            "put": {"queue:3": {"contacts_waiting": 3}},
            "gone": ["queue:1"],
        }
    ]


def test_a_view_of_the_same_keys_still_names_its_stream() -> None:
    line = synced()
    other = view_of("h", SCOPE, ("queue:1", "queue:2"))
    line.outbox.look(other)
    assert line.take() == [{"kind": "changes", "after": 2, "upto": 2, "stream": f"1.{other.mark}"}]
