"""Every attribute that keeps personal data has a category of the inventory."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import gateway
from gateway.protocol.schemas import inventory
from tests.privacy.places import NOBODY, PLACES, ROOMS, places

ROOT = Path(gateway.__file__).parent
BESIDE_PLACES = {
    "log_on", "remote_number", "device", "known_devices", "audit_log", "support_bundle", "traces",
}  # fmt: skip
"""Held with something else, for one request, or not in memory at all."""
TEXTS = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in ROOT.rglob("*.py")
    if str(path.relative_to(ROOT)).startswith(ROOMS)
}


@cache
def there() -> set[str]:
    """Return the places that there are."""
    return set(places(TEXTS))


def test_every_place_is_known() -> None:
    assert sorted(there() - set(PLACES)) == [], "say in tests/privacy/places.py what is in it"


def test_nothing_is_known_that_is_not_there() -> None:
    assert sorted(set(PLACES) - there()) == []


def test_every_place_is_in_the_inventory_and_every_category_somewhere() -> None:
    received = {entry.category for entry in inventory().entries}
    assert {category for category in PLACES.values() if category != NOBODY} <= received
    beside = {category for category in received if "." not in category}
    assert beside - set(PLACES.values()) == BESIDE_PLACES


def test_a_place_that_nobody_listed_is_found() -> None:
    planted = """
class Diary:
    def __init__(self) -> None:
        self._read: Final[dict[UserId, str]] = {}
        self.count: int = 0

class Page(UntrackedStruct):
    lines: list[str]

@lru_cache(maxsize=9)
def remembered(user: UserId) -> str: ...

kept: Final = lru_cache(maxsize=9)(str)
_stored: Final[dict[str, str]] = {}
"""
    found = set(places({"core/diary.py": planted}))
    functions = {"core/diary.py remembered", "core/diary.py kept", "core/diary.py _stored"}
    assert found == functions | {"core/diary.py Diary._read", "core/diary.py Page.lines"}
