"""Which counters stand at 0 before anything has happened?

One that appears with its first event does not increase for Prometheus, which sees 1 and nothing before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Final, get_args

from gateway.app.tally import CLASSES, MOVES
from gateway.core.effects import Resumption
from gateway.domain.commands import Status
from gateway.domain.errors import CloseCode, EndReason, ErrorCode
from gateway.edge.witness import FAILED, OK, REFUSED
from gateway.protocol.frames import COMMANDS
from gateway.runtime.tally import Detector, Gift, Resync, Takeover
from gateway.telemetry import Family, M, Telemetry

LINK_REFUSALS: Final = ("session_unknown", "stale", "version_unsupported")
OWN_REFUSALS: Final = (
    *(code.value for code in (ErrorCode.OVER_CAPACITY, ErrorCode.RATE_LIMITED)),
    REFUSED[CloseCode.INTERNAL],
)
"""Handshakes that a node refuses for reasons of its own."""
OWN_CLOSES: Final = tuple(str(code.value) for code in (CloseCode.INTERNAL, CloseCode.OVER_CAPACITY))
"""Connections that it ends for them."""


def begin(telemetry: Telemetry) -> None:
    """Let what alerts and the dashboard ask for be there, and whatever is one of few."""
    _make(telemetry.handshakes, (OK, *OWN_REFUSALS))
    _make(telemetry.closes, ("gateway",), OWN_CLOSES)
    _make(telemetry.resumes, get_args(Resumption))
    _make(telemetry.commands, COMMANDS, (*Status, FAILED))
    _make(telemetry.command_seconds, COMMANDS)
    _make(telemetry.link_opens, (OK, *LINK_REFUSALS, "unavailable"))
    _make(telemetry.link_refused, LINK_REFUSALS)
    _make(telemetry.budget_wait_seconds, CLASSES.values())
    _make(telemetry.session_ends, EndReason)
    _make(telemetry.takeovers, get_args(Takeover))
    _make(telemetry.ownership_moves, (*get_args(Gift), *MOVES.values()))
    _make(telemetry.bus_gaps, get_args(Detector))
    _make(telemetry.resyncs, get_args(Resync))


def _make(family: Family[M], *values: Iterable[str]) -> None:
    for labels in product(*values):
        family[labels if len(labels) > 1 else labels[0]]  # which makes it, at 0
