"""What does a publication of the owner change in the ledger of who follows him?"""

from __future__ import annotations

from gateway.core.element import Element
from gateway.core.ledger import Delta, Ledger, Update
from gateway.core.view import FACTS_PREFIX
from gateway.protocol.envelopes import Publication, Value

Shared = dict[int, Element]
"""The elements made of what was published together, by the identities of their values, which live as long."""


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
    return Delta(told.epoch, told.after, told.upto, told.reset, updates)


def is_of_sessions(told: Publication) -> bool:
    """Tell whether it may say anything new of sessions."""
    return told.reset or any(update.key.startswith(FACTS_PREFIX) for update in told.updates)


def _element(value: Value, held: Element | None, made: Shared) -> Element:
    known = made.get(id(value))
    if known is not None and (held is None or held is known or held.value != value):
        return known
    element = made[id(value)] = held if held is not None and held.value == value else Element(value)
    return element
