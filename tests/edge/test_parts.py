"""Is an edge complete with what it must be given, and content with keeping nothing?"""

from __future__ import annotations

import dataclasses

from gateway.edge.handshake import EdgeParts
from tests.edge.visits import house


def test_only_what_a_lone_node_needs_not_may_be_left_out() -> None:
    optional = {
        field.name
        for field in dataclasses.fields(EdgeParts)
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    }
    assert optional == {"elsewhere", "on_close"}


async def test_without_a_note_nothing_is_kept_and_nothing_fails() -> None:
    parts = house().parts
    given = {field.name: getattr(parts, field.name) for field in dataclasses.fields(parts)}
    silent = EdgeParts(**{name: value for name, value in given.items() if name != "on_close"})
    assert silent.on_close(None) is None  # type: ignore[arg-type, func-returns-value]  # whatever it is, it is dropped
