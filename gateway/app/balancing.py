"""Balancing: phones of a node that has far more of them than the others are sent on, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import structlog

from gateway.core.balance import Balance
from gateway.core.session import State
from gateway.domain.errors import CloseCode
from gateway.edge.socket import PhoneSocket
from gateway.runtime.cluster import ClusterMembership
from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry

LOOK_S: Final = 3.0
"""As often as nodes say how many phones they have."""
WINDOW_S: Final = (0.0, 1.0)
"""When a phone comes back: so few are sent on that they need not be spread further."""
_LOG: Final = structlog.stdlib.get_logger(__name__)


class PhoneBalancer:
    """Sends phones on by ``bye`` 4201 while this node has far more than the mean of all.

    Invariants: a phone with a command in progress stays, and so does one without a session; how many are sent
    on is decided by :class:`gateway.core.balance.Balance`.

    Args:
        membership: The nodes and their phones.
        is_steady: Returns whether this node reaches the others and neither drains nor is cut off.
        phones: Those connected, at any time.
        log_ons_per_s: How many log-ons and links the sites take in a second.
        clock: The only time.
        shuffle: Mixes phones.
        telemetry: Counts.
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
        """Look at intervals, until cancelled."""
        while True:
            await self._clock.sleep(LOOK_S)
            self._look(self._clock.now())

    def _look(self, now: float) -> None:
        was_active = self._balance.is_active
        staying = [phone for phone in self._phones if phone.session.state is not State.CLOSING]
        wanted = self._balance.look(now, len(staying), self._others(), self._log_ons_per_s)
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
        """Return so many phones that may be sent on, of all users alike."""
        able = [
            phone
            for phone in staying
            if (live := phone.session.live) is not None and not live.commands_in_flight
        ]
        self._shuffle(able)
        return able[:wanted]

    def _note(self, now: float) -> None:
        connections = len(self._phones)
        if self._balance.is_active:
            _LOG.info("balancing_began", connections=connections)
        elif now < self._balance.paused_until:
            _LOG.warning("balancing_without_effect", connections=connections)
        else:
            _LOG.info("balancing_ended", connections=connections)
