"""How many users, links, sessions and leases are there right now, and how much do they share?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from gateway.bus.leases import RedisLeases
from gateway.core.bus_state import BusState
from gateway.domain.model import Application
from gateway.runtime.node import Node
from gateway.runtime.ports import Leases
from gateway.telemetry import Telemetry
from gateway.upstream.wire_pool import PartPool

LINK_STATES: Final = ("live", "stale", "down")
"""As phones are told of it."""
BUS_STATES: Final[Mapping[BusState, int]] = {
    BusState.LIVE: 0,
    BusState.RECOVERING: 1,
    BusState.DEGRADED: 2,
    BusState.DOWN: 3,
}
"""The worse, the more."""


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


def count_owned(node: Node, telemetry: Telemetry) -> None:
    """Note for whom *node* speaks, and how the others are reached."""
    held = alone = 0
    margin_s, now = math.inf, node.clock.now()
    for household in node.households.values():
        owner = household.owner
        if owner is None or not owner.lease.is_ours:
            continue
        held += 1
        alone += not household.feed.connections
        margin_s = min(margin_s, owner.lease.left_s(now))
    telemetry.leases_held.set(held)
    telemetry.owners_without_local_device.set(alone)
    telemetry.lease_margin_seconds.set(margin_s if held else math.nan)
    telemetry.bus_state.set(BUS_STATES[node.exchange.machine.state])
    for name, size in node.sizes.items():
        telemetry.registry_size[name].set(size)


def read_clock(leases: Leases, telemetry: Telemetry) -> None:
    """Note how far the clock of the store of *leases* is ahead; without a store all share one clock."""
    offset_s = leases.clock_offset_s if isinstance(leases, RedisLeases) else 0.0
    telemetry.clock_offset_seconds.set(math.nan if offset_s is None else offset_s)


def count_shared(pools: Iterable[PartPool], telemetry: Telemetry) -> None:
    """Note how much of what came was known already."""
    shared = parsed = 0
    for pool in pools:
        shared += pool.shared
        parsed += pool.parsed
    telemetry.pool_hit_ratio.set(shared / (shared + parsed) if shared else 0.0)
