"""Is the first response remembered, for ten minutes and within bounds?"""

from __future__ import annotations

from gateway.simulator import model
from gateway.simulator.model import REMEMBERED_MS, FirstResponses


def test_the_first_response_for_ten_minutes() -> None:
    kept = FirstResponses()
    kept.put(("s", "k"), 0, {"Error": 0})
    assert kept.get(("s", "k"), REMEMBERED_MS - 1) == {"Error": 0}
    assert kept.get(("other", "k"), 0) is None
    assert kept.get(("s", "k"), REMEMBERED_MS) is None


def test_the_oldest_goes_first() -> None:
    kept = FirstResponses()
    for number in range(model.REMEMBERED_MOST + 1):
        kept.put(("s", str(number)), 0, {})
    assert kept.get(("s", "0"), 0) is None
    assert kept.get(("s", "1"), 0) == {}
    kept.clear()
    assert kept.get(("s", "1"), 0) is None
