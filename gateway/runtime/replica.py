"""What does a publication of the owner change in the ledger of who follows him?"""

from __future__ import annotations

from typing import Final

from gateway.core.element import Element
from gateway.core.ledger import Delta, Ledger, is_own
from gateway.core.versioned_map import Update
from gateway.core.view import FACTS_PREFIX
from gateway.protocol.envelopes import Publication, Value

AHEAD_MS: Final = 1_000
"""Wall clocks of two nodes that differ by less are taken for equal: how long a message was under way is not
known more closely, and what phones take for the time must not jump with each."""
PLAUSIBLE_S: Final = 1.0
"""Wall clocks of two nodes by which a message was under way for longer are taken for different ones."""

Shared = dict[int, Element]
"""The elements made of what was published together, by the identities of their values, which live as long."""


def arrived(told: Publication, ledger: Ledger, now: float, wall_ms: int) -> float | None:
    """Note in *ledger* when what it is to take in came, and since when the owner knew it.

    Returns:
        For how long news was under way, by the wall clocks of both nodes; None: it is no news of the link's.
    """
    _compare_clocks(told, ledger, wall_ms)
    if told.as_of_ms is None or told.reset:
        ledger.came_at, ledger.under_way_s = now, 0.0
        return None
    age_s = _age_s(told, told.as_of_ms, wall_ms)
    if all(is_own(update.key) for update in told.updates):
        ledger.came_at = now + ledger.under_way_s - age_s
        return None
    ledger.came_at, ledger.under_way_s = now, age_s
    return age_s


def _compare_clocks(told: Publication, ledger: Ledger, wall_ms: int) -> None:
    """Note in *ledger* how far the owner's wall clock is ahead, by which the values have their instants.

    What it was when this was sent, and the way since, is the sum of instant and age.
    """
    if told.as_of_ms is None or told.age_ms is None:
        return
    ahead_ms = told.as_of_ms + told.age_ms - wall_ms
    if abs(ahead_ms - ledger.ahead_ms) >= AHEAD_MS:
        ledger.ahead_ms = ahead_ms if abs(ahead_ms) >= AHEAD_MS else 0


def as_of_ms(told: Publication, wall_ms: int) -> int | None:
    """Return when what was told was true, by this node's wall clock: never later than now."""
    if told.as_of_ms is None:
        return None
    return wall_ms - round(_age_s(told, told.as_of_ms, wall_ms) * 1000)


def _age_s(told: Publication, as_of_ms: int, wall_ms: int) -> float:
    """Return how old it is: as it was when it was sent, and the way, as far as both wall clocks agree."""
    seen_s = max(0.0, (wall_ms - as_of_ms) / 1000)
    if told.age_ms is None:
        return seen_s
    age_s = told.age_ms / 1000
    return seen_s if age_s <= seen_s <= age_s + PLAUSIBLE_S else max(0.0, age_s)


def delta(told: Publication, ledger: Ledger, made: Shared) -> Delta:
    """Return what was told, with the elements that are held, or made for others, where they are equal."""
    updates = tuple(
        [
            Update(
                update.key,
                update.seq,
                None if update.value is None else _element(update.value, ledger.get(update.key), made),
            )
            for update in told.updates
        ]
    )
    return Delta(told.epoch, told.after, told.upto, told.reset, updates, told.floor)


def is_of_sessions(told: Publication) -> bool:
    """Tell whether it may say anything new of sessions."""
    return told.reset or any(update.key.startswith(FACTS_PREFIX) for update in told.updates)


def _element(value: Value, held: Element | None, made: Shared) -> Element:
    known = made.get(id(value))
    if known is not None and (held is None or held is known or held.value != value):
        return known
    element = made[id(value)] = held if held is not None and held.value == value else Element(value)
    return element
