"""Publications of an owner at a follower: their ages by two clocks, and changes that are applied at once."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway.core.element import Element
from gateway.core.follower import Shared, arrived, as_of, receive_next
from gateway.core.ledger import Health
from gateway.core.view import me_key
from gateway.domain.model import Position, UserId
from gateway.domain.resources import Me, Queue
from gateway.protocol.envelopes import Publication, PublishedValue, Value
from tests.core.test_ledger import recorded

NOW, WALL_MS, HOUR_MS = 100.0, 1_700_000_000_000, 3_600_000
VALUE, OWN_KEY = Queue(contacts_waiting=9), me_key("s1")


def publication(*keys: str, value: Value | None = VALUE, **fields: Any) -> Publication:  # noqa: ANN401 - its fields
    """Return the change to (1, 2), whose data was 200 ms old when it was sent, 300 ms ago."""
    usual = {"epoch": 1, "after": 1, "upto": 2, "reset": False, "upstream": "live"}
    times = {"as_of_ms": WALL_MS - 500, "age_ms": 200}
    updates = tuple(PublishedValue(key, 2, value) for key in keys)
    return Publication(user=UserId("main", 1), updates=updates, **{**usual, **times, **fields})


@pytest.mark.parametrize(
    ("seen_ms", "age_ms", "waited_s", "age_s"),
    [
        (500, 200, 0.0, 0.5),
        (1_200, 200, 0.0, 1.2),
        (1_300, 200, 0.0, 0.2),
        (100, 200, 0.0, 0.2),
        (3_200, 200, 2.0, 3.2),
        (3_300, 200, 2.0, 2.2),
        (700, None, 0.0, 0.7),
        (-700, None, 0.0, 0.0),
    ],
)
def test_the_age_is_that_by_both_clocks_where_they_may_agree(
    seen_ms: int, age_ms: int | None, waited_s: float, age_s: float
) -> None:
    sent = publication("queue:1", as_of_ms=WALL_MS - seen_ms, age_ms=age_ms)
    assert as_of(sent, NOW, WALL_MS, waited_s) == pytest.approx(NOW - age_s)
    assert arrived(sent, recorded("queue:1"), NOW, WALL_MS, waited_s) == pytest.approx(age_s)
    if not waited_s:
        assert receive_next(sent, recorded("queue:1"), Shared(), NOW, WALL_MS) == pytest.approx(age_s)


def test_only_shared_data_dates_the_arrival_and_a_reset_ends_it() -> None:
    ledger = recorded("queue:1")
    assert arrived(publication("queue:1"), ledger, NOW, WALL_MS) == 0.5
    assert (ledger.came_at, ledger.under_way_s) == (NOW, 0.5)
    assert arrived(publication(OWN_KEY, as_of_ms=WALL_MS - 300, age_ms=100), ledger, NOW, WALL_MS) is None
    assert (ledger.came_at, ledger.under_way_s) == (NOW + 0.5 - 0.3, 0.5)
    for fields in ({"reset": True}, {"as_of_ms": None}):
        ledger.came_at, ledger.under_way_s = 0.0, 0.5
        assert arrived(publication("queue:1", **fields), ledger, NOW, WALL_MS) is None
        assert (ledger.came_at, ledger.under_way_s) == (NOW, 0.0)


@pytest.mark.parametrize("ahead_ms", [0, HOUR_MS])
def test_values_are_dated_by_the_owners_clock_unless_both_agree(ahead_ms: int) -> None:
    sent = publication("queue:1", as_of_ms=WALL_MS + ahead_ms - 500)
    dated_ms = WALL_MS - NOW * 1000 + (ahead_ms - 300 if ahead_ms else 0)
    ledger = recorded("queue:1")
    arrived(sent, ledger, NOW, WALL_MS, waited_s=0.25)
    assert ledger.clock_ms == -math.inf, "how long it waited is not known"
    arrived(sent, ledger, NOW, WALL_MS)
    assert ledger.clock_ms == dated_ms
    ledger = recorded("queue:1")
    receive_next(sent, ledger, Shared(), NOW, WALL_MS)
    assert ledger.clock_ms == dated_ms


@pytest.mark.parametrize(
    "other",
    [
        publication("queue:1", epoch=2),
        publication("queue:1", after=2, upto=3),
        publication("queue:1", after=0, upto=1),
        publication("queue:1", reset=True),
        publication("queue:1", as_of_ms=None),
        publication("queue:1", value=None),
        publication(OWN_KEY, value=Me()),
        publication(),
    ],
)
def test_only_the_next_changes_of_shared_values_are_applied_at_once(other: Publication) -> None:
    ledger = recorded("queue:1")
    assert receive_next(other, ledger, Shared(), NOW, WALL_MS) is None
    assert (ledger.position, ledger.came_at) == (Position(1, 1), -math.inf)
    assert receive_next(publication("queue:1"), ledger, Shared(), NOW, WALL_MS) == 0.5
    assert (ledger.position, ledger.elements["queue:1"].value) == (Position(1, 2), VALUE)
    assert (ledger.came_at, ledger.under_way_s) == (NOW, 0.5)


def test_several_changes_may_be_late_and_a_fault_between_them_leaves_a_gap() -> None:
    ledger = recorded("queue:1", "queue:2")
    ledger.health = Health("live", "live", NOW - 60.0)
    for upto, late in ((3, ()), (5, ((NOW, NOW - 60.0),))):
        sent = publication("queue:1", after=ledger.seq, upto=upto)
        assert receive_next(sent, ledger, Shared(), NOW, WALL_MS) is not None
        assert ledger.late == late

    class Faulty(Shared):
        def element(self, key: str, value: Value, held: Element | None) -> Element:
            if key == "queue:2":
                raise RuntimeError(key)
            return super().element(key, value, held)

    with pytest.raises(RuntimeError, match="queue:2"):
        receive_next(publication("queue:1", "queue:2", after=5, upto=7), ledger, Faulty(), NOW, WALL_MS)
    assert ledger.position == Position(1, 5)
