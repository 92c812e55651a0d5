"""Rules of post-processing.

It can be started during a contact (then it follows) or up to 60 s after one, be extended up to 300 s after
its beginning, be finished at any time, and follow each contact automatically.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.simulator import routing
from gateway.simulator.contact_center import ContactCenter
from gateway.simulator.fields import Refused
from gateway.simulator.model import Agent, AutoPostProcessing, PostProcessing, TargetState

EXTENSION_MS = 30_000
"""Extension when no end is requested."""


def start(
    center: ContactCenter, agent: Agent, until_ms: int | None, duration_s: int | None
) -> routing.Verdict:
    """Begin now after a contact, or once the present one ends.

    Raises:
        Refused: ``NoContact``, ``ValueOutOfRange``, ``LimitReached``.
    """
    if agent.post is not None or agent.post_wanted_s is not None:
        return "Unchanged"
    in_contact = any(each.answered_ms is not None for each in agent.contacts)
    contact = agent.last_contact
    if not in_contact and (contact is None or agent.contacts):
        raise Refused("NoContact")
    wanted_s = _wanted_s(center, agent, until_ms, duration_s)
    if in_contact or contact is None:
        agent.post_wanted_s = wanted_s
        center.mark_agent(agent)
        return "Pending"
    routing.post_processing_begins(agent, contact, center.now_ms, wanted_s)
    center.post_processing_set(agent)
    return "Applied"


def extend(center: ContactCenter, agent: Agent, until_ms: int | None) -> routing.Verdict:
    """Move the end to a later time.

    Raises:
        Refused: ``NotPostProcessing``, ``LimitReached``.
    """
    post = _present(agent)
    ends_ms = post.ends_ms + EXTENSION_MS if until_ms is None else until_ms
    if ends_ms > post.limit_ms or (until_ms is None and post.ends_ms >= post.limit_ms):
        raise Refused("LimitReached", Until=post.limit_ms + center.skew_ms)
    if ends_ms <= post.ends_ms:
        return "Unchanged"
    agent.post = replace(post, ends_ms=ends_ms)
    center.post_processing_set(agent)
    return "Applied"


def finish(
    center: ContactCenter, agent: Agent, next_state: TargetState | None, wrapup_keys: Sequence[int]
) -> routing.Verdict:
    """End it now: to *next_state*, else to the pending or the previous state.

    Raises:
        Refused: ``NotPostProcessing``, ``WrapupReasonRequired``, ``ReasonUnknown``, ``ReasonWrongKind``.
    """
    post = _present(agent)
    _check_wrapup(center, post, wrapup_keys)
    if next_state is not None:
        center.ask(agent, next_state, None, "AfterContact", "Self")
    center.finish_post_processing(agent)
    return "Applied"


def set_auto(center: ContactCenter, agent: Agent, duration_s: int | None, *, on: bool) -> routing.Verdict:
    """Let post-processing follow each contact automatically, or not.

    Raises:
        Refused: ``ValueOutOfRange``.
    """
    wanted = AutoPostProcessing(on, agent.auto.duration_s if duration_s is None else duration_s)
    _check_duration(wanted.duration_s)
    if wanted == agent.auto:
        return "Unchanged"
    agent.auto = wanted
    center.changes.own.add(agent.key)
    center.generation += 1
    return "Applied"


def _wanted_s(center: ContactCenter, agent: Agent, until_ms: int | None, duration_s: int | None) -> float:
    if until_ms is None:
        wanted_s = agent.auto.duration_s if duration_s is None else duration_s
        _check_duration(wanted_s)
        return wanted_s
    limit_ms = center.now_ms + routing.POST_PROCESSING_LIMIT_S * 1000
    if until_ms > limit_ms:
        raise Refused("LimitReached", Until=limit_ms + center.skew_ms)
    return max(1.0, (until_ms - center.now_ms) / 1000)


def _present(agent: Agent) -> PostProcessing:
    if agent.post is None:
        raise Refused("NotPostProcessing")
    return agent.post


def _check_duration(duration_s: float) -> None:
    if not 1 <= duration_s <= routing.POST_PROCESSING_LIMIT_S:
        raise Refused("ValueOutOfRange", Min=1, Max=routing.POST_PROCESSING_LIMIT_S)


def _check_wrapup(center: ContactCenter, post: PostProcessing, keys: Sequence[int]) -> None:
    queue = center.directory.queues.get(post.queue_key) if post.queue_key is not None else None
    if queue is not None and queue.parameters["WrapupReasonRequired"] is True and not keys:
        raise Refused("WrapupReasonRequired")
    for key in keys:
        reason = center.directory.reasons.get(key)
        if reason is None:
            raise Refused("ReasonUnknown")
        if reason.kind != "WrapupReason":
            raise Refused("ReasonWrongKind")
