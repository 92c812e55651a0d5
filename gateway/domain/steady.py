"""When is an instant that moved still the same?

Readings carry whole seconds since something began, so what began once seems to have begun a little
earlier or later each time: that is no change.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, TypeVar

from gateway.domain.resources import Agent, Aggregate, Group, Handling, PostProcessing, Queue

STEADY_MS: Final = 2_000
"""Instants that move by no more than this make no change."""

Composed = Agent | Queue | Group | Aggregate
D = TypeVar("D", Agent, Queue, Aggregate, Handling, PostProcessing)


def steady(before: Composed, after: Composed) -> Composed:
    """Return *after* with the instants of *before* where they only jittered.

    An instant is kept only while what it dates stays the same.
    """
    if isinstance(before, Agent) and isinstance(after, Agent):
        return _steady_agent(before, after)
    if isinstance(before, Queue) and isinstance(after, Queue):
        return _with(
            after,
            oldest_since_ms=_kept(before.oldest_since_ms, after.oldest_since_ms),
            window_start_ms=_kept(before.window_start_ms, after.window_start_ms),
        )
    if isinstance(before, Aggregate) and isinstance(after, Aggregate):
        return _with(after, oldest_since_ms=_kept(before.oldest_since_ms, after.oldest_since_ms))
    return after


def _steady_agent(before: Agent, after: Agent) -> Agent:
    since_ms = after.routing_state_since_ms
    if before.routing_state is after.routing_state:
        since_ms = _kept(before.routing_state_since_ms, since_ms)
    post = after.post_processing
    if post is not None and before.post_processing is not None:
        post = _with(
            post,
            since_ms=_kept(before.post_processing.since_ms, post.since_ms),
            ends_at_ms=_kept(before.post_processing.ends_at_ms, post.ends_at_ms),
        )
    return _with(
        after,
        routing_state_since_ms=since_ms,
        handling=_steady_contacts(before.handling, after.handling),
        post_processing=post,
        app_absent_since_ms=_kept(before.app_absent_since_ms, after.app_absent_since_ms),
        day_start_ms=_kept(before.day_start_ms, after.day_start_ms),
    )


def _steady_contacts(before: tuple[Handling, ...], after: tuple[Handling, ...]) -> tuple[Handling, ...]:
    if not (before and after):
        return after
    held = {(contact.contact_id, contact.state): contact.since_ms for contact in before}
    steadied = tuple(
        _with(each, since_ms=_kept(held.get((each.contact_id, each.state)), each.since_ms)) for each in after
    )
    return after if all(new is old for new, old in zip(steadied, after, strict=True)) else steadied


def _with(value: D, **fields: Any) -> D:  # noqa: ANN401 - of whichever type each field is
    """Return *value* with *fields*: itself when they are its own."""
    if all(getattr(value, name) == field for name, field in fields.items()):
        return value
    return replace(value, **fields)


def _kept(before_ms: int | None, after_ms: int | None) -> int | None:
    if before_ms is None or after_ms is None:
        return after_ms
    return before_ms if abs(after_ms - before_ms) <= STEADY_MS else after_ms
