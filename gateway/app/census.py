"""How many users, links, sessions and leases are there right now, and how much do they share?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Final, NamedTuple

from gateway.bus.leases import RedisLeases
from gateway.bus.redis import RedisBus
from gateway.bus.sealing import Unopened
from gateway.core.bus_state import BusState
from gateway.core.convoy import Convoy
from gateway.core.ledger import Ledger
from gateway.core.outbox import Outbox
from gateway.domain.model import SITE, Application
from gateway.domain.resources import Functions, FunctionState, Site
from gateway.runtime.node import Node
from gateway.runtime.owner import Owner
from gateway.runtime.ports import ENTRY_REFUSALS, WRITE_REFUSALS, Bus, Leases
from gateway.runtime.turns import Turns
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


FRESH_S: Final = 2.0
"""Nothing may wait longer for a phone whose data is called fresh."""
FUNCTION_LEVELS: Final[Mapping[FunctionState, float]] = {
    FunctionState.UP: 1.0,
    FunctionState.DEGRADED: 0.5,
    FunctionState.DOWN: 0.0,
    FunctionState.UNKNOWN: math.nan,
}


def count_all(node: Node, sites: Iterable[str], telemetry: Telemetry) -> None:
    """Note all that *node* tells of itself, and of the OSCC-E Servers of *sites*."""
    count_users(node, telemetry)
    count_owned(node, telemetry)
    count_phones(node, telemetry)
    count_functions(node, sites, telemetry)
    count_late(node, telemetry)


class Shown(NamedTuple):
    """What phones that are served are shown, and what waits for them."""

    phones: int = 0
    dirty: int = 0
    rungs: int = 0
    late: int = 0
    """Of the phones: those for which something has waited for too long."""


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
        silence_s = max(silence_s, _silence_s(owner, household.feed.ledger, now))
    telemetry.users.set(len(node.households))
    telemetry.upstream_silence_seconds.set(silence_s)
    telemetry.log_offs_pending.set(node.account.log_offs_pending)
    for state in LINK_STATES:
        telemetry.links[state].set(links[state])
    for application in Application:
        telemetry.sessions_attached[application.value].set(sessions[application])


def _silence_s(owner: Owner, ledger: Ledger, now: float) -> float:
    """Return for how long OSCC-E has said nothing; 0 of a user of whom no node has heard yet.

    While there is no link the last word counts on, also one that another owner heard.
    """
    if owner.link is not None:
        return now - owner.link.heard_at
    return now - ledger.came_at + ledger.under_way_s if ledger.came_at > -math.inf else 0.0


def count_phones(node: Node, telemetry: Telemetry) -> None:
    """Note how phones of *node* fare: one look at each convoy, and at each phone that goes alone."""
    phones = fresh = dirty = rungs = 0
    by = node.clock.now() - FRESH_S
    for household in node.households.values():
        feed = household.feed
        shown = _shown(feed.ledger, by)
        phones, dirty, rungs = phones + shown.phones, dirty + shown.dirty, rungs + shown.rungs
        if feed.health.upstream == "live" and feed.health.bus == "live":
            fresh += shown.phones - shown.late
    telemetry.served_connections.set(phones)
    telemetry.fresh_connections.set(fresh)
    telemetry.dirty_keys.set(dirty)
    telemetry.pace_level.set(rungs)


def _shown(ledger: Ledger, by: float) -> Shown:
    phones = dirty = rungs = late = 0
    for reader in ledger.readers:
        if isinstance(reader, Outbox):
            size = 1
            rungs += reader.pace.level
        elif isinstance(reader, Convoy):
            size = len(reader.members)
        else:
            continue
        phones += size
        names, since = reader.waits
        dirty += names * size
        late += size if since <= by else 0
    return Shown(phones, dirty, rungs, late)


def count_functions(node: Node, sites: Iterable[str], telemetry: Telemetry) -> None:
    """Note what one live link of each of *sites* says of its functions; without any nobody reaches it."""
    told: dict[str, Functions | None] = {}
    for user, household in node.households.items():
        if household.owner is None or told.get(user.site) is not None:
            continue
        element = household.feed.ledger.get(SITE) if household.owner.link is not None else None
        value = None if element is None else element.value
        told[user.site] = value.functions if isinstance(value, Site) else None
    for site in sites:
        functions = told.get(site)
        for function in fields(Functions):
            level = math.nan if site not in told else 0.0
            if functions is not None:
                level = FUNCTION_LEVELS[asdict(functions)[function.name]]
            telemetry.site_function_up[site, function.name].set(level)


def count_late(node: Node, telemetry: Telemetry) -> None:
    """Note how many elements were too old to be taken in."""
    telemetry.late_elements.value = node.composer.tellings.late


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
    refused = node.bus_refusals
    for word in sorted(ENTRY_REFUSALS | WRITE_REFUSALS):
        telemetry.bus_refused[word].set(int(word in refused))
    for name, size in node.sizes.items():
        telemetry.registry_size[name].set(size)


def clock_offset_s(leases: Leases) -> float | None:
    """Return how far the clock of the store of *leases* is ahead; without a store all share one clock."""
    return leases.clock_offset_s if isinstance(leases, RedisLeases) else 0.0


def read_clock(leases: Leases, telemetry: Telemetry) -> None:
    """Note how far the clock of the store of *leases* is ahead."""
    offset_s = clock_offset_s(leases)
    telemetry.clock_offset_seconds.set(math.nan if offset_s is None else offset_s)


def count_dropped(bus: Bus, telemetry: Telemetry) -> None:
    """Note what of the bus was dropped, by reason; in one process nothing is."""
    if isinstance(bus, RedisBus):
        telemetry.bus_unopened.values = {why.value: bus.seals.dropped[why] for why in Unopened}


def count_turns(turns: Iterable[Turns], telemetry: Telemetry) -> None:
    """Note whether the node keeps up with what its links bring, and how much of it newer news replaced."""
    each = list(turns)
    telemetry.overloaded.set(int(any(one.is_overloaded for one in each)))
    telemetry.upstream_skipped.value = sum(one.skipped for one in each)


def count_shared(pools: Iterable[PartPool], telemetry: Telemetry) -> None:
    """Note how much of what came was known already, and what could not be shown."""
    shared = parsed = giants = 0
    for pool in pools:
        giants += pool.giants
        shared += pool.shared
        parsed += pool.parsed
    telemetry.upstream_figures_dropped.value = giants
    telemetry.pool_hit_ratio.set(shared / (shared + parsed) if shared else 0.0)
