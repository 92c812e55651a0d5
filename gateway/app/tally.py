"""Which metric moves when something happens between the nodes?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.core.throttle import Urgency
from gateway.domain.errors import EndReason
from gateway.runtime.tally import Detector, Gift, Part, Resync, Takeover, Tally
from gateway.telemetry import Telemetry

MOVES: Final[Mapping[Takeover, str]] = {"early": "deaf", "expired": "expired", "assumed": "island"}
"""Why a user moved whom this node took. One who was offered is counted by the node that gave him."""
CLASSES: Final[Mapping[Urgency, str]] = {urgency: urgency.name.lower() for urgency in Urgency}


class CountingTally(Tally):
    """Counts what it is told, in the metrics of one node.

    Args:
        telemetry: Where it is counted.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def took_over(self, kind: Takeover) -> None:
        """See :class:`Tally`, as all below."""
        self._telemetry.takeovers[kind].inc()
        reason = MOVES.get(kind)
        if reason is not None:
            self._telemetry.ownership_moves[reason].inc()

    def saw_again(self, blind_s: float) -> None:
        """Observe it."""
        self._telemetry.takeover_blind_seconds.observe(blind_s)

    def gave(self, reason: Gift) -> None:
        """Count it."""
        self._telemetry.ownership_moves[reason].inc()

    def fenced_itself(self) -> None:
        """Count it."""
        self._telemetry.self_fences.inc()

    def saw_two_owners(self) -> None:
        """Count it."""
        self._telemetry.dual_owner_observed.inc()

    def dropped_stale_epoch(self) -> None:
        """Count it."""
        self._telemetry.stale_epoch_dropped.inc()

    def found_gap(self, detector: Detector) -> None:
        """Count it."""
        self._telemetry.bus_gaps[detector].inc()

    def resynced(self, reason: Resync) -> None:
        """Count it."""
        self._telemetry.resyncs[reason].inc()

    def probed(self, seconds: float) -> None:
        """Observe it."""
        self._telemetry.bus_probe_seconds.observe(seconds)

    def published(self) -> None:
        """Count it."""
        self._telemetry.bus_publish.inc()

    def read(self, seconds: float) -> None:
        """Observe it."""
        self._telemetry.event_latency_seconds["upstream"].observe(seconds)

    def arrived(self, seconds: float) -> None:
        """Observe it."""
        self._telemetry.event_latency_seconds["bus"].observe(seconds)

    def attached(self, phones: int) -> None:
        """Observe it."""
        self._telemetry.devices_per_user.observe(phones)

    def session_ended(self, reason: EndReason) -> None:
        """Count it."""
        self._telemetry.session_ends[reason.value].inc()

    def faulted(self, part: Part) -> None:
        """Count it."""
        self._telemetry.faults[part].inc()

    def waited(self, urgency: Urgency, seconds: float) -> None:
        """Observe it."""
        self._telemetry.budget_wait_seconds[CLASSES[urgency]].observe(seconds)
