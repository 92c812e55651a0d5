"""What does a publication of the owner change in the ledger of who follows him?"""

from __future__ import annotations

from gateway.core.element import Element
from gateway.core.ledger import Delta, Ledger, is_own
from gateway.core.newest import Update
from gateway.core.view import FACTS_PREFIX
from gateway.protocol.envelopes import Publication, Value

Shared = dict[int, Element]
"""The elements made of what was published together, by the identities of their values, which live as long."""


def arrived(told: Publication, ledger: Ledger, now: float, wall_ms: int) -> float | None:
    """Note in *ledger* when what it is to take in came, and since when the owner knew it.

    Returns:
        For how long news was under way, by the wall clocks of both nodes; None: it is no news of the link's.
    """
    if told.as_of_ms is None or told.reset:
        ledger.came_at, ledger.under_way_s = now, 0.0
        return None
    age_s = max(0.0, (wall_ms - told.as_of_ms) / 1000)
    if all(is_own(update.key) for update in told.updates):
        ledger.came_at = now + ledger.under_way_s - age_s
        return None
    ledger.came_at, ledger.under_way_s = now, age_s
    return age_s


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
