"""What does a node that starts say of the company that it is in?

Of a Redis that is too old, or keeps what it is told; of another live node with its own name; and of sealing
keys that differ.
Nothing here stops the node: it serves its phones, and the log says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from gateway.app.bus_check import bus_found
from gateway.app.config_sections import Bus
from gateway.domain.model import NodeId
from gateway.runtime.fleet import Fleet
from gateway.runtime.ports import NODE_TTL_S, Clock

AGAIN_S: Final = 5.0
"""A Redis that is away is looked at again after this time."""
NAMESAKE_S: Final = NODE_TTL_S + 5.0
"""How often is looked; by the first time nothing is on its way any more of this node's own former life."""

CLOCK_OFF_S: Final = 1.0
"""Clocks that differ by more are told of: what phones are shown of times is wrong by as much."""
CLOCK_LOOK_S: Final = 10.0
KEYS_LOOK_S: Final = 10.0
"""Keys that differ at two looks do so for longer than a reload of all nodes takes."""

_LOG: Final = structlog.get_logger("gateway.app")


async def look_at_bus(bus: Bus, clock: Clock) -> None:
    """Look at the bus's Redis until it was seen once, and log what is wrong with it."""
    while True:
        found = await bus_found(bus, clock)
        for fault in found.faults:
            _LOG.error("the bus is not as it must be", fault=fault)
        for advice in found.advices:
            _LOG.warning("the bus is not as it should be", fault=advice)
        if found.told or not found.faults:
            return
        await clock.sleep(AGAIN_S)


async def look_at_clock(offset_s: Callable[[], float | None], clock: Clock) -> None:
    """Log when this node's clock and that of Redis begin to differ, and when they agree again; never ends."""
    is_off = False
    while True:
        ahead_s = offset_s()
        if ahead_s is not None and (abs(ahead_s) >= CLOCK_OFF_S) is not is_off:
            is_off = not is_off
            if is_off:
                _LOG.warning("clock_differs", offset_s=round(ahead_s, 3))
            else:
                _LOG.info("clock_agrees", offset_s=round(ahead_s, 3))
        await clock.sleep(CLOCK_LOOK_S)


async def look_at_keys(fleet: Fleet, clock: Clock) -> None:
    """Log when another node's sealing keys begin to differ from this one's, and when they agree again."""
    before: set[NodeId] = set()
    told: set[NodeId] = set()
    while True:
        await clock.sleep(KEYS_LOOK_S)
        own, others = fleet.sealing_keys, fleet.sealing_keys_of_others
        differ = {node for node, keys in others.items() if keys and keys != own}
        for node in sorted((differ & before) - told):
            _LOG.warning("sealing_keys_differ", node=node, sealing_keys=own, other_keys=others[node])
        for node in sorted(told & others.keys() - differ):
            _LOG.info("sealing_keys_agree", node=node, sealing_keys=own)
        told = differ & (before | told)
        before = differ


async def look_for_namesake(fleet: Fleet, clock: Clock) -> None:
    """Log whenever another live node turns out to have this one's name: each would get the other's messages.

    Only a node that is heard counts: while Redis is away, the record of this node's own former life is
    remembered.
    """
    was_there = False
    while True:
        await clock.sleep(NAMESAKE_S)
        is_there = fleet.has_namesake
        if is_there and not was_there:
            _LOG.error(
                "another live node has this one's name: give each its own in node.name", node=fleet.node
            )
        was_there = is_there
