"""Is the Redis of a bus there, new enough, and set up so that nothing stays in it?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from gateway.app.config_bus_url import redis_url, without_password
from gateway.app.config_sections import Bus
from gateway.bus.address import parse
from gateway.bus.door import Unreachable
from gateway.bus.survey import OLDEST, Survey, survey
from gateway.runtime.ports import Clock

OFFSET_S: Final = 2.0
"""Leases are given in Redis' time: a node's clock that is further away shows trouble with one of them."""


class Found(NamedTuple):
    """What was found, a sentence each. *told*: what is well; *faults*: with them no node should run."""

    told: tuple[str, ...] = ()
    advices: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


async def bus_found(bus: Bus, clock: Clock) -> Found:
    """Look at the bus's Redis, if there is one; bounded in time."""
    url = redis_url(bus.url, bus.ca_file)
    if url is None:
        return Found()
    try:
        seen = await survey(parse(url), clock)
    except Unreachable as error:
        return Found(faults=(f"The Redis at {without_password(bus.url)} cannot be used: {error}.",))
    return judged(seen)


def judged(seen: Survey) -> Found:
    """Return what there is to say of a server."""
    engine = f"{seen.engine or 'a Redis'} {'.'.join(map(str, seen.version))}".strip()
    return Found((f"Redis at {seen.place} answers: {engine}",), tuple(_advices(seen)), tuple(_faults(seen)))


def _faults(seen: Survey) -> Iterator[str]:
    if seen.is_too_old:
        oldest = " or ".join(f"{name} {major}.{minor}" for name, (major, minor, *_) in OLDEST.items())
        yield f"The server at {seen.place} is too old: the gateway needs {oldest}, or newer."

    if seen.write_refusal is not None:
        yield (
            f"The server at {seen.place} takes no writes ({seen.write_refusal}): nobody who comes could be "
            "served. docs/runbook.md#osccgatewaybusrefuseswrites says what to do for each word."
        )


def _advices(seen: Survey) -> Iterator[str]:
    if seen.engine is None:
        yield f"The server at {seen.place} does not say what it is: its version could not be checked."
    if seen.persists:
        yield (
            f"The server at {seen.place} writes what it holds to a disk, where it outlives the people's "
            'sessions: set save "" and appendonly no.'
        )
    elif seen.persists is None:
        yield (
            f"The server at {seen.place} does not tell this user whether it writes snapshots to a disk: "
            'look that its configuration says save "" and appendonly no.'
        )
    if seen.evicts:
        yield (
            f"The server at {seen.place} forgets keys when its memory is full, and so who owns a user: "
            "set maxmemory-policy noeviction."
        )
    if seen.clock_offset_s is not None and abs(seen.clock_offset_s) > OFFSET_S:
        ahead = "ahead of" if seen.clock_offset_s > 0 else "behind"
        yield (
            f"The clock of the server at {seen.place} is {abs(seen.clock_offset_s):.0f} s {ahead} this "
            "machine's: let both follow the same time."
        )
