"""How does what happened to some keys become frames?"""

from __future__ import annotations

from gateway.core.element import Element
from gateway.core.ledger import Base, Change, Cursor, Held, Ledger, changes_of, first_of, frames_of
from gateway.core.view import me_key
from gateway.domain.resources import Me
from gateway.protocol.codec import JSON
from tests.core.outbox_line import VIEW, queue
from tests.core.samples import decoded


def ledger(**elements: Element) -> Ledger:
    made = Ledger(1)
    for number, element in elements.items():
        made.record(f"queue:{number[1:]}", element)
    return made


def test_what_is_held_decides_what_is_told() -> None:
    before = queue(1, "a")
    held: dict[str, Base] = {"queue:1": Held.NOTHING, "queue:2": Held.SOMETHING, "queue:3": before}
    assert changes_of(held, ledger(q1=queue(1), q2=queue(2)), VIEW, JSON) == [
        Change("put", "queue:1", b'{"contacts_waiting":1}'),
        Change("put", "queue:2", b'{"contacts_waiting":2}'),
        Change("gone", "queue:3", b""),
    ]


def test_a_known_base_is_patched_and_an_equal_value_is_no_change() -> None:
    same = queue(1)
    held = {"queue:1": queue(7, "a"), "queue:2": same}
    assert changes_of(held, ledger(q1=queue(8, "a"), q2=same), VIEW, JSON) == [
        Change("patch", "queue:1", b'{"contacts_waiting":8}')
    ]


def test_what_the_view_does_not_see_is_gone_for_its_reader() -> None:
    held: dict[str, Base] = {"queue:77": queue(1), "queue:78": Held.NOTHING}
    assert changes_of(held, ledger(q77=queue(2)), VIEW, JSON) == [Change("gone", "queue:77", b"")]


def test_ones_own_is_called_me() -> None:
    made = ledger()
    made.record(me_key("h"), Element(Me(agent="7")))
    assert changes_of({me_key("h"): Held.NOTHING}, made, VIEW, JSON)[0].key == "me"


def test_parts_stay_within_a_frame_and_only_the_last_moves_the_reader() -> None:
    changes = [Change("put", f"queue:{number}", b'"%s"' % (b"x" * 90)) for number in range(4)]
    told = frames_of(
        changes, JSON, cursor=Cursor("1.a", 3), head=Cursor("1.a", 9), reset=False, frame_bytes=470
    )
    parts = decoded(list(told))
    assert [(part["after"], part["upto"], part.get("more", False)) for part in parts] == [
        (3, 3, True),
        (3, 9, False),
    ]
    assert [len(part["put"]) for part in parts] == [2, 2]


def test_a_reset_names_the_stream_and_begins_at_nothing() -> None:
    told = frames_of([], JSON, cursor=Cursor("", 0), head=Cursor("2.b", 7), reset=True, frame_bytes=1000)
    assert decoded(list(told)) == [{"kind": "changes", "after": 0, "upto": 7, "stream": "2.b", "reset": True}]


def test_what_all_are_told_first_is_made_once_and_anew_when_it_changed() -> None:
    told, head = ledger(q1=queue(1), q77=queue(2)), Cursor("1.a", 2)
    frames = [first_of(told, VIEW, JSON, head=head, frame_bytes=10_000) for _ in range(3)]
    assert frames[0] == frames[1] == frames[2]
    assert decoded(frames[0])[0]["put"] == {"queue:1": {"contacts_waiting": 1}}
    assert len(told.firsts) == 1
    told.record(me_key("of nobody here"), queue(9))
    assert len(told.firsts) == 1, "what is one session's own concerns nobody else"
    told.record("queue:1", queue(5))
    assert not told.firsts
    [frame] = decoded(first_of(told, VIEW, JSON, head=head, frame_bytes=10_000))
    assert (frame["put"], frame["reset"]) == ({"queue:1": {"contacts_waiting": 5}}, True)
