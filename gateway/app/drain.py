"""Drain a node: announce it, refuse new phones, send the others away at the pace that other nodes accept."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple, Protocol

import structlog

from gateway.app.config.settings import LimitsSection
from gateway.app.process import StopRequest
from gateway.core.drain_schedule import DrainSchedule, Moving, farewells
from gateway.domain.errors import CloseCode
from gateway.runtime.log_off import LogOffs
from gateway.runtime.node import Node
from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry

BYE_S: Final = 5.0
"""How long phones may take to receive their `bye`; a phone that does not read delays no other."""
RESTART_S: Final = 10.0
"""Where no other node lives phones come back within this time at most, to the node that starts here next."""
HAND_OVER_S: Final = 5.0
"""After the last phone is back elsewhere its user becomes another node's within this time, unless others of
a site's budget come first."""
_CHECK_S: Final = 0.05

_LOG: Final = structlog.get_logger("gateway.app")


class DrainablePhone(Protocol):
    """A connection that can be sent away."""

    def close(self, code: CloseCode, reason: str, *, window_s: tuple[float, float] | None = None) -> None:
        """Say `bye`, and when to come back."""
        ...


class Departure(NamedTuple):
    """The phones that leave."""

    node: Node
    phones: Collection[DrainablePhone]
    """Those connected, at any time."""
    sockets: Callable[[], int]
    """How many connections there are, whether or not they received their `bye`."""
    refuse: Callable[[], Coroutine[None, None, None]]
    """Takes no new connections from now on."""
    shuffle: Callable[[list[DrainablePhone]], None]
    """Mixes the phones of all users."""


def drain_limit_s(limits: LimitsSection) -> float:
    """Return how long a drain may take: what stops the process must wait that long.

    It takes longer when the others' part of the budget of log-ons is too small for so many users.
    """
    return limits.drain_notice_s + limits.drain_s + BYE_S + HAND_OVER_S


async def drain_node(
    parting: Departure, limits: LimitsSection, stopping: StopRequest, clock: Clock, telemetry: Telemetry
) -> None:
    """Send all phones of this node away. The caller has reported that the node is not ready.

    Returns when all have left and their users are others', at the latest after the limits' time and what
    phones may take to receive it; at once when *stopping* is in a hurry. *telemetry* shows when it began, and
    as soon as that is known how long it takes.
    """
    node, asked_at = parting.node, clock.now()
    telemetry.drain_began_timestamp_seconds.set(clock.wall_ms() / 1000)
    if node.membership.others:
        await _pause(limits.drain_notice_s, stopping, clock)
    node.drain()
    await parting.refuse()
    phones = list(parting.phones)
    parting.shuffle(phones)
    plan = drain_plan(node, len(phones), limits)
    last_s = max((drain_schedule.at_s + drain_schedule.window_s[1] for drain_schedule in plan), default=0.0)
    _LOG.info("drain_started", connections=len(phones), window_s=round(last_s, 1))
    began = clock.now()
    given_by = began + last_s + HAND_OVER_S if node.membership.others else began
    at_last = max(given_by, began + limits.drain_s + HAND_OVER_S)
    telemetry.drain_planned_seconds.set(max(given_by, began + BYE_S) - asked_at)
    for phone, drain_schedule in zip(phones, plan, strict=True):
        await _pause(began + drain_schedule.at_s - clock.now(), stopping, clock)
        phone.close(CloseCode.DRAINING, "draining", window_s=drain_schedule.window_s)
    heard_by = clock.now() + BYE_S
    while not stopping.hurried.is_set():
        now = clock.now()
        is_heard = now >= heard_by or not parting.sockets()
        if is_heard and _is_handed_over(node, now, given_by, at_last):
            return
        await clock.sleep(_CHECK_S)


class LogOffsLost(Exception):  # noqa: N818 - names what happened
    """A node has ended, and no node retries so many log-offs that OSCC-E has not confirmed.

    The sessions end by themselves, at their idle timeout.
    """

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count: Final = count


@asynccontextmanager
async def handing_over_log_offs(log_offs: LogOffs) -> AsyncIterator[None]:
    """After the block, leave the log-offs that are not confirmed to other nodes.

    Raises:
        LogOffsLost: There is no store that outlives this node, or it does not answer.
    """
    lost = 0
    try:
        yield
    finally:
        lost = await log_offs.hand_on()
        left = len(log_offs) - lost
        if left:
            _LOG.info("log_offs_left", log_offs=left)
        if lost:
            _LOG.error("log_offs_unconfirmed", log_offs=lost)
    if lost:
        raise LogOffsLost(lost)


def drain_plan(node: Node, phones: int, limits: LimitsSection) -> tuple[DrainSchedule, ...]:
    """Return when each of so many phones is sent away, and when it comes back."""
    others = node.membership.others
    # each node takes its part of a site's budget, this one, too, until it is gone
    part = len(others) / max(1, len(node.membership.nodes))
    users = Counter(home.feed.user.site for home in node.user_states.values() if home.owner is not None)
    return farewells(
        phones,
        accepts_per_s=[other.accepts_per_s for other in others],
        moving=[Moving(count, part * node.links_per_s[site]) for site, count in users.items()]
        if others
        else [],
        grace_s=limits.drain_s if others else min(limits.drain_s, RESTART_S),
    )


def _is_handed_over(node: Node, now: float, by: float, at_last: float) -> bool:
    """Return whether all users are others', or waiting is of no use: other nodes ask for their users."""
    owners = [home.owner for home in node.user_states.values() if home.owner is not None]
    if not owners or now >= at_last:
        return True
    others = {other.node for other in node.membership.others}
    return now >= by and not any(
        member.present and member.node in others for owner in owners for member in owner.user_sessions
    )


async def _pause(seconds: float, stopping: StopRequest, clock: Clock) -> None:
    """Wait, unless the end is in a hurry."""
    if seconds > 0 and not stopping.hurried.is_set():
        with suppress(TimeoutError):
            async with clock.timeout(seconds):
                await stopping.hurried.wait()
