"""How many users, links and sessions are there right now, and how much do they share?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from gateway.domain.model import Application
from gateway.runtime.node import Node
from gateway.telemetry import Telemetry
from gateway.upstream.wire_pool import PartPool

LINK_STATES: Final = ("live", "stale", "down")
"""As phones are told of it."""


def count_users(node: Node, telemetry: Telemetry) -> None:
    """Note what the users of *node* have."""
    links: Counter[str] = Counter()
    sessions: Counter[Application] = Counter()
    silence_s, now = 0.0, node.clock.now()
    for household in node.households.values():
        links[household.feed.health.upstream] += 1
        owner = household.owner
        if owner is None:
            continue
        sessions.update(member.ticket.application for member in owner.roster if member.on_link)
        if owner.link is not None:
            silence_s = max(silence_s, now - owner.link.heard_at)
    telemetry.users.set(len(node.households))
    telemetry.upstream_silence_seconds.set(silence_s)
    telemetry.log_offs_pending.set(node.account.log_offs_pending)
    for state in LINK_STATES:
        telemetry.links[state].set(links[state])
    for application in Application:
        telemetry.sessions_attached[application.value].set(sessions[application])


def count_shared(pools: Iterable[PartPool], telemetry: Telemetry) -> None:
    """Note how much of what came was known already."""
    shared = parsed = 0
    for pool in pools:
        shared += pool.shared
        parsed += pool.parsed
    telemetry.pool_hit_ratio.set(shared / (shared + parsed) if shared else 0.0)
