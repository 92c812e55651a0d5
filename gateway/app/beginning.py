"""Which counters stand at 0 before anything has happened?

One that appears with its first event does not increase for Prometheus, which sees 1 and nothing before it.
"""

from __future__ import annotations

from itertools import product
from typing import Final, get_args

from gateway.app.tally import MOVES
from gateway.core.effects import Resumption
from gateway.domain.commands import Status
from gateway.domain.errors import CloseCode, EndReason, ErrorCode
from gateway.edge.witness import FAILED
from gateway.protocol.frames import COMMANDS
from gateway.runtime.tally import Detector, Gift, Resync, Takeover
from gateway.telemetry import Telemetry

OK: Final = "ok"
LINK_REFUSALS: Final = ("session_unknown", "stale", "version_unsupported")
OWN_REFUSALS: Final = (ErrorCode.OVER_CAPACITY.value, ErrorCode.RATE_LIMITED.value)
"""Handshakes that a node refuses for reasons of its own."""
OWN_CLOSES: Final = tuple(str(code.value) for code in (CloseCode.INTERNAL, CloseCode.OVER_CAPACITY))
"""Connections that it ends for them."""


def begin(telemetry: Telemetry) -> None:
    """Let what alerts and the dashboard ask for be there."""
    for family, *values in (
        (telemetry.handshakes, (OK, *OWN_REFUSALS)),
        (telemetry.closes, ("gateway",), OWN_CLOSES),
        (telemetry.resumes, get_args(Resumption)),
        (telemetry.commands, tuple(COMMANDS), (*Status, FAILED)),
        (telemetry.link_opens, (OK, *LINK_REFUSALS, "unavailable")),
        (telemetry.link_refused, LINK_REFUSALS),
        (telemetry.session_ends, tuple(EndReason)),
        (telemetry.takeovers, get_args(Takeover)),
        (telemetry.ownership_moves, (*get_args(Gift), *MOVES.values())),
        (telemetry.bus_gaps, get_args(Detector)),
        (telemetry.resyncs, get_args(Resync)),
    ):
        for labels in product(*values):
            family[labels if len(labels) > 1 else labels[0]].inc(0)
