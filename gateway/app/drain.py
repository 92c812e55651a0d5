"""Drain and balance: when a node sends its phones to other nodes, and when it may end."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from gateway.app.config.settings import LimitsSection
from gateway.app.process import StopRequest, wait_for
from gateway.core.drain_schedule import (
    Balance,
    DrainPace,
    DrainSchedule,
    Move,
    UsersToMove,
    drain_schedules,
    moving_s,
)
from gateway.core.session import State
from gateway.domain.errors import CloseCode
from gateway.edge.socket import PhoneSocket
from gateway.runtime.cluster_receiver import ClusterMembership
from gateway.runtime.node import Node
from gateway.runtime.ports import Clock
from gateway.runtime.user_state import Owner
from gateway.telemetry import Telemetry

_LOG: Final = logging.getLogger("gateway.app")
BALANCE_S: Final = 3.0
"""Interval in which nodes report their number of phones."""
WINDOW_S: Final = (0.0, 1.0)
"""Window of a phone's return: so few are sent away that they need not be spread further."""


class PhoneBalancer:
    """Sends phones to other nodes by ``bye`` 4201, while this node has far more than the mean of all.

    Invariants: a phone with a command in progress stays, and so does one without a session.
    :class:`gateway.core.drain_schedule.Balance` decides how many phones are sent away.

    Args:
        is_steady: Returns whether this node reaches the others and neither drains nor is cut off.
        log_ons_per_s: Log-ons and links that the sites accept per second.
    """

    def __init__(
        self,
        membership: ClusterMembership,
        is_steady: Callable[[], bool],
        phones: Collection[PhoneSocket],
        log_ons_per_s: float,
        clock: Clock,
        shuffle: Callable[[list[PhoneSocket]], None],
        telemetry: Telemetry,
    ) -> None:
        self._membership = membership
        self._is_steady = is_steady
        self._phones = phones
        self._log_ons_per_s = log_ons_per_s
        self._clock = clock
        self._shuffle = shuffle
        self._telemetry = telemetry
        self._balance = Balance(clock.now())

    async def run(self) -> None:
        """Balance at intervals until cancelled."""
        while True:
            await self._clock.sleep(BALANCE_S)
            self._balance_now(self._clock.now())

    def _balance_now(self, now: float) -> None:
        was_active = self._balance.is_active
        staying = [phone for phone in self._phones if phone.session.state is not State.CLOSING]
        wanted = self._balance.phones_to_move(now, len(staying), self._others(), self._log_ons_per_s)
        chosen = self._chosen(staying, wanted) if wanted else []
        self._balance.sent(now, wanted - len(chosen))
        for phone in chosen:
            phone.close(CloseCode.REBALANCE, "balancing", window_s=WINDOW_S)
            self._telemetry.phones_sent_on.inc()
        if was_active is not self._balance.is_active:
            self._note(now)

    def _others(self) -> Mapping[str, int]:
        nodes = self._membership.nodes
        if not self._is_steady() or any(node.draining for node in nodes):
            return {}
        return {node.holder: node.connections for node in self._membership.others}

    def _chosen(self, staying: Iterable[PhoneSocket], wanted: int) -> list[PhoneSocket]:
        """Return *wanted* phones that may be sent away, of any user."""
        sessions = ((phone, phone.session.live) for phone in staying)
        able = [phone for phone, live in sessions if live is not None and not live.commands_in_flight]
        self._shuffle(able)
        return able[:wanted]

    def _note(self, now: float) -> None:
        connections = len(self._phones)
        if self._balance.is_active:
            _LOG.info("balancing_began", extra={"connections": connections})
        elif now < self._balance.paused_until:
            _LOG.warning("balancing_without_effect", extra={"connections": connections})
        else:
            _LOG.info("balancing_ended", extra={"connections": connections})


BYE_S: Final = 5.0
"""How long phones may take to receive their `bye`; a phone that does not read delays no other."""
RESTART_S: Final = 10.0
"""Without another live node, phones come back within this time at most, to the next process of this node."""
HAND_OVER_S: Final = 5.0
"""Time after the last phone's return elsewhere within which its user belongs to another node, unless others
have precedence in a site's budget.
"""
_CHECK_S: Final = 0.05


class Departure(NamedTuple):
    """The phones of a node that drains, and its listener."""

    node: Node
    phones: Collection[PhoneSocket]
    sockets: Callable[[], int]
    """Returns the number of connections, with or without a `bye`."""
    refuse: Callable[[], Coroutine[None, None, None]]
    """Refuses new connections from now on."""
    shuffle: Callable[[list[PhoneSocket]], None]
    """Shuffles the phones of all users."""
    watch_move: Callable[[PhoneSocket], Callable[[], Move] | None]
    """Returns a function that returns how far a phone has moved; None when that is unknown."""


def drain_limit_s(limits: LimitsSection) -> float:
    """Return how long a drain may take: the supervisor of the process must wait that long.

    It takes longer when the other nodes' part of the budget of log-ons is too small for the users.
    """
    return limits.drain_notice_s + limits.drain_s + BYE_S + HAND_OVER_S


async def drain_node(
    departure: Departure,
    limits: LimitsSection,
    stopping: StopRequest,
    clock: Clock,
    telemetry: Telemetry,
) -> None:
    """Send all phones of this node away, after the node has reported that it is not ready.

    Returns when all phones have left and other nodes own their users. It returns at the latest after the
    limits' time and the time that phones may take to receive the `bye`; at once when *stopping* is hurried.
    *telemetry* shows when the drain began, and its planned duration as soon as that is known.
    """
    node, asked_at = departure.node, clock.now()
    telemetry.drain_began_timestamp_seconds.set(clock.wall_ms() / 1000)
    if node.membership.others:
        await _pause(limits.drain_notice_s, stopping, clock)
    node.drain()
    await departure.refuse()
    phones = list(departure.phones)
    departure.shuffle(phones)
    moving = moving_users(node)
    plan = drain_plan(node, len(phones), limits, moving)
    last_s = max((drain_schedule.at_s + drain_schedule.window_s[1] for drain_schedule in plan), default=0.0)
    _LOG.info("drain_started", extra={"connections": len(phones), "window_s": round(last_s, 1)})
    began = clock.now()
    moved_s = max(last_s, moving_s(moving))
    handed_over_by = began + moved_s + HAND_OVER_S if node.membership.others else began
    at_last = max(handed_over_by, began + limits.drain_s + HAND_OVER_S)
    telemetry.drain_planned_seconds.set(max(handed_over_by, began + BYE_S) - asked_at)
    await _send_away(departure, phones, plan, limits.drain_s, stopping, clock)
    received_by = clock.now() + BYE_S
    if node.membership.others:
        handed_over_by = max(handed_over_by, clock.now() + HAND_OVER_S)
    while not stopping.hurried.is_set():
        now = clock.now()
        is_received = now >= received_by or not departure.sockets()
        if is_received and _is_handed_over(node, now, handed_over_by, at_last):
            if left := len(_followed(node)):
                _LOG.warning("drain_left_users", extra={"users": left})
            return
        await clock.sleep(_CHECK_S)


async def _send_away(
    departure: Departure,
    phones: Sequence[PhoneSocket],
    plan: Sequence[DrainSchedule],
    grace_s: float,
    stopping: StopRequest,
    clock: Clock,
) -> None:
    """Send *phones* away by *plan*, and later while those before them, or their users, are long in moving."""
    began = clock.now()
    pace = DrainPace(began, len(phones), grace_s)
    for place, (phone, planned) in enumerate(zip(phones, plan, strict=True)):
        await _pause(began + planned.at_s - clock.now(), stopping, clock)
        while not pace.may_send(place, planned, clock.now()) and not stopping.hurried.is_set():
            if pace.is_over(now := clock.now()):
                for last, window_s in zip(phones[place:], pace.last_windows(plan[place:], now), strict=True):
                    last.close(CloseCode.DRAINING, "draining", window_s=window_s)
                return
            await clock.sleep(_CHECK_S)
        moved = departure.watch_move(phone) if departure.node.membership.others else None
        phone.close(CloseCode.DRAINING, "draining", window_s=planned.window_s)
        if moved is not None:
            pace.sent(moved, clock.now() + planned.window_s[1])


def moving_users(node: Node) -> list[UsersToMove]:
    """Return the users whose links other nodes must open, of each site; none without another node."""
    others = node.membership.others
    if not others:
        return []
    # each node uses its part of a site's budget, also this one until it has ended
    part = len(others) / len(node.membership.nodes)
    users = Counter(
        user_state.feed.user.site for user_state in node.user_states.values() if user_state.owner is not None
    )
    return [UsersToMove(count, part * node.links_per_s[site]) for site, count in users.items()]


def drain_plan(
    node: Node, phones: int, limits: LimitsSection, moving: Sequence[UsersToMove]
) -> tuple[DrainSchedule, ...]:
    """Return when each of *phones* phones is sent away, and when it comes back."""
    others = node.membership.others
    return drain_schedules(
        phones,
        accepts_per_s=[other.accepts_per_s for other in others],
        moving=moving,
        grace_s=limits.drain_s if others else min(limits.drain_s, RESTART_S),
    )


def _is_handed_over(node: Node, now: float, by: float, at_last: float) -> bool:
    """Return whether other nodes own all users, or waiting is of no use; other nodes request the users."""
    if now >= at_last or not any(user_state.owner is not None for user_state in node.user_states.values()):
        return True
    return now >= by and not _followed(node)


def _followed(node: Node) -> list[Owner]:
    """Return the owners of users with a phone at another node: its data is old there without this link."""
    others = {other.node for other in node.membership.others}
    owners = [user_state.owner for user_state in node.user_states.values() if user_state.owner is not None]
    return [
        owner
        for owner in owners
        if any(member.present and member.node in others for member in owner.user_sessions)
    ]


async def _pause(seconds: float, stopping: StopRequest, clock: Clock) -> None:
    """Wait, unless the end is hurried."""
    if seconds > 0:
        await wait_for(stopping.hurried, seconds, clock)
