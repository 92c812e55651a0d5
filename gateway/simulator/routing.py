"""Routing states of agents, and requests to change them.

ECMA-269 agent states:

```
logged off --log on--> Unavailable;  Available ⇄ Unavailable/Work (reason)
log off only with handling empty, else it becomes pending (AfterContact) or is refused (Now)
handling non-empty --X--> same state, pending = X; a later Y replaces it;
    the present state asked for clears it
when handling empties: post-processing (pending kept) → finish or end reached → pending or previous state
the present state asked for with nothing pending → Unchanged, and nothing changes
```
Pure: functions over one agent; *now_ms* is an argument. The returned verdict names a change.
"""

from __future__ import annotations

from typing import Literal

from gateway.simulator.fields import Refused
from gateway.simulator.model import Agent, By, Contact, Pending, PostProcessing, Remote, TargetState

Verdict = Literal["Applied", "Pending", "Unchanged"]
When = Literal["Now", "AfterContact"]

POST_PROCESSING_LIMIT_S = 300
"""The longest post-processing after one contact, extensions included."""
POST_PROCESSING_GRACE_S = 60
"""How long after a contact's end post-processing can still be started."""


def log_on(agent: Agent, now_ms: int, remote: Remote | None = None) -> None:
    """Log the agent on, unavailable; an agent who is logged on starts again."""
    agent.logged_on = True
    agent.state = "Unavailable"
    agent.reason_key = None
    agent.state_by = "Self"
    agent.since_ms = now_ms
    agent.pending = None
    agent.remote = remote


def log_off(agent: Agent) -> None:
    """Log the agent off at once, during any contact; the routing to their number ends with it."""
    agent.logged_on = False
    agent.state = "Unavailable"
    agent.reason_key = None
    agent.pending = None
    agent.contacts.clear()
    agent.post = None
    agent.post_wanted_s = None
    agent.last_contact = agent.unprocessed = None
    agent.remote = None


def ask(
    agent: Agent,
    target: TargetState,
    reason_key: int | None,
    when: When,
    now_ms: int,
    by: By,
    by_name: str | None = None,
) -> Verdict:
    """Request a routing state. On ``Unchanged`` nothing changed.

    An omitted reason together with the present state means the present state as it is.

    Raises:
        Refused: ``NotLoggedOn``; ``NotAllowedWhileHandling`` for LoggedOff now.
    """
    if not agent.logged_on:
        if target == "LoggedOff":
            return "Unchanged"
        raise Refused("NotLoggedOn")
    if is_present(agent, target, reason_key):
        return _clear_pending(agent)
    if not agent.handling:
        _enter(agent, Pending(target, reason_key, by, by_name), now_ms)
        return "Applied"
    if target == "LoggedOff" and when == "Now":
        raise Refused("NotAllowedWhileHandling")
    agent.pending = Pending(target, reason_key, by, by_name)
    return "Pending"


def is_present(agent: Agent, target: TargetState, reason_key: int | None) -> bool:
    """Return whether *target* is the agent's present state."""
    return agent.logged_on and agent.state == target and reason_key in {None, agent.reason_key}


def contact_begins(agent: Agent, contact: Contact, now_ms: int) -> None:
    """Give the agent a contact; only contacts cause Talking, requests never do."""
    contact.agent_key = agent.key
    contact.since_ms = now_ms
    agent.contacts.append(contact)


def contact_ends(agent: Agent, contact: Contact, now_ms: int) -> None:
    """Remove a contact; after the last one, the consequences for answered ones begin.

    An agent whose session is over has no post-processing: their number must no longer be routed.
    """
    agent.contacts.remove(contact)
    if contact.answered_ms is not None:
        agent.last_contact = agent.unprocessed = contact
        agent.last_contact_ms = now_ms
    if agent.contacts or agent.post is not None:
        return
    leaving = agent.remote is not None and agent.remote.routed_until_ms is not None
    talked = agent.unprocessed
    if talked is not None and not leaving and (agent.auto.on or agent.post_wanted_s is not None):
        post_processing_begins(agent, talked, now_ms, agent.post_wanted_s or agent.auto.duration_s)
    else:
        settle(agent, now_ms)


def post_processing_begins(agent: Agent, contact: Contact, now_ms: int, duration_s: float) -> None:
    """Begin post-processing of *contact*; the pending state is kept."""
    limit_ms = now_ms + POST_PROCESSING_LIMIT_S * 1000
    agent.post_wanted_s = None
    agent.last_contact = agent.unprocessed = None
    agent.post = PostProcessing(
        contact.call_id,
        contact.media,
        contact.queue_key,
        contact.direct,
        since_ms=now_ms,
        ends_ms=min(limit_ms, now_ms + round(duration_s * 1000)),
        limit_ms=limit_ms,
    )


def post_processing_ends(agent: Agent, now_ms: int) -> None:
    """End post-processing: to the pending or the previous state, unless a contact is there."""
    agent.post = None
    if not agent.contacts:
        settle(agent, now_ms)


def settle(agent: Agent, now_ms: int) -> None:
    """Enter the pending state, since handling is empty."""
    agent.post_wanted_s = None
    agent.unprocessed = None
    pending, agent.pending = agent.pending, None
    if pending is not None:
        _enter(agent, pending, now_ms)


def _enter(agent: Agent, wanted: Pending, now_ms: int) -> None:
    agent.pending = None
    if wanted.state == "LoggedOff":
        log_off(agent)
        return
    agent.state = wanted.state
    agent.reason_key = wanted.reason_key
    agent.state_by = wanted.by
    agent.since_ms = now_ms


def _clear_pending(agent: Agent) -> Verdict:
    if agent.pending is None:
        return "Unchanged"
    agent.pending = None
    return "Applied"
