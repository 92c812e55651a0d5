"""Steady instants: a small difference is not a change.

Readings carry whole seconds since something began, so what began once seems to have begun a little
earlier or later each time: that is no change.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway.domain.resources import Agent, Aggregate, Group, Handling, PostProcessing, Queue

STEADY_MS: Final = 2_000
"""Instants that move by no more than this make no change."""

Composed = Agent | Queue | Group | Aggregate


def steady(before: Composed, after: Composed) -> Composed:
    """Return *after* with the instants of *before* where they only jittered.

    An instant is kept only while what it dates stays the same.
    """
    if isinstance(before, Agent) and isinstance(after, Agent):
        return _agent(before, after)
    if isinstance(before, Queue) and isinstance(after, Queue):
        if (before.oldest_since_ms, before.window_start_ms) == (after.oldest_since_ms, after.window_start_ms):
            return after
        oldest_ms = _kept(before.oldest_since_ms, after.oldest_since_ms)
        window_ms = _kept(before.window_start_ms, after.window_start_ms)
        if (oldest_ms, window_ms) != (after.oldest_since_ms, after.window_start_ms):
            return replace(after, oldest_since_ms=oldest_ms, window_start_ms=window_ms)
    if isinstance(before, Aggregate) and isinstance(after, Aggregate):
        oldest_ms = _kept(before.oldest_since_ms, after.oldest_since_ms)
        if oldest_ms != after.oldest_since_ms:
            return replace(after, oldest_since_ms=oldest_ms)
    return after


def _agent(before: Agent, after: Agent) -> Agent:
    since_ms = after.routing_state_since_ms
    if before.routing_state is after.routing_state:
        since_ms = _kept(before.routing_state_since_ms, since_ms)
    handling = _contacts(before.handling, after.handling)
    post = _post_processing(before.post_processing, after.post_processing)
    absent_ms = _kept(before.app_absent_since_ms, after.app_absent_since_ms)
    day_ms = _kept(before.day_start_ms, after.day_start_ms)
    kept = (since_ms, handling, post, absent_ms, day_ms)
    if kept == (
        after.routing_state_since_ms,
        after.handling,
        after.post_processing,
        after.app_absent_since_ms,
        after.day_start_ms,
    ):
        return after
    return replace(
        after,
        routing_state_since_ms=since_ms,
        handling=handling,
        post_processing=post,
        app_absent_since_ms=absent_ms,
        day_start_ms=day_ms,
    )


def _contacts(before: tuple[Handling, ...], after: tuple[Handling, ...]) -> tuple[Handling, ...]:
    if not (before and after):
        return after
    held = {(contact.contact_id, contact.state): contact.since_ms for contact in before}
    return tuple([_contact(each, held.get((each.contact_id, each.state))) for each in after])


def _contact(after: Handling, before_ms: int | None) -> Handling:
    since_ms = _kept(before_ms, after.since_ms)
    if since_ms == after.since_ms:
        return after
    return Handling(after.contact_id, after.media, after.state, since_ms, after.direct, after.queue_id)


def _post_processing(before: PostProcessing | None, post: PostProcessing | None) -> PostProcessing | None:
    if before is None or post is None:
        return post
    since_ms, ends_ms = _kept(before.since_ms, post.since_ms), _kept(before.ends_at_ms, post.ends_at_ms)
    return replace(post, since_ms=since_ms, ends_at_ms=ends_ms)


def _kept(before_ms: int | None, after_ms: int | None) -> int | None:
    if before_ms is None or after_ms is None:
        return after_ms
    return before_ms if abs(after_ms - before_ms) <= STEADY_MS else after_ms
