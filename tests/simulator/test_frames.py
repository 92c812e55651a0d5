"""Do messages become the right bytes?"""

from __future__ import annotations

import pytest

from gateway.simulator.elements import encode, event, message, text_frame
from tests.simulator.peer import messages


@pytest.mark.parametrize(("size", "head"), [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_the_length_is_told_in_the_shortest_form(size: int, head: int) -> None:
    frame = text_frame(b"x" * size)
    assert (frame[0], len(frame)) == (0x81, head + size)


def test_messages_are_read_back() -> None:
    frames = message({"Type": "Notice", "Text": "Grüße"}) + message({"Type": "Other"})
    assert list(messages(frames)) == [{"Type": "Notice", "Text": "Grüße"}, {"Type": "Other"}]


@pytest.mark.parametrize("removed", [[], [7, 8]])
def test_an_event_is_what_an_encoder_would_write(removed: list[int]) -> None:
    elements = [{"UserKey": 1}, {"UserKey": 2}]
    frame = event(3, "UserRealtime", 5, [encode(each) for each in elements], removed, complete=False)
    expected = {
        "Type": "Event",
        "QueryID": 3,
        "EventType": "UserRealtime",
        "Time": 5,
        "Complete": False,
        "Elements": elements,
    }
    assert list(messages(frame)) == [expected | ({"Removed": removed} if removed else {})]
