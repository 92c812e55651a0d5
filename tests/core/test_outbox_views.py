"""Does another view arrive in place, and does nothing outside of it leave?"""

from __future__ import annotations

from gateway.core.view import view_of
from gateway.domain.model import Scope
from tests.core.outbox_line import SCOPE, VIEW, queue, synced


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


def test_what_left_the_view_before_it_was_told_is_not_told() -> None:
    line = synced()
    line.change("queue:1", queue(5))
    line.outbox.look(view_of("h", Scope(), ()))
    (frame,) = line.take()
    assert (frame.get("put"), frame.get("patch")) == (None, None)
    assert sorted(frame["gone"]) == ["queue:1", "queue:2"]


def test_what_left_and_came_back_is_told_as_it_differs() -> None:
    line = synced()
    line.outbox.look(view_of("h", Scope(), ()))
    line.change("queue:1", queue(5))
    line.outbox.look(VIEW)
    (frame,) = line.take()
    assert frame["patch"] == {"queue:1": {"contacts_waiting": 5}}
    assert "gone" not in frame


def test_what_changed_and_went_while_out_of_view_is_gone() -> None:
    line = synced()
    line.outbox.look(view_of("h", Scope(), ()))
    line.change("queue:1", None)
    line.outbox.look(VIEW)
    (frame,) = line.take()
    assert frame["gone"] == ["queue:1"]
