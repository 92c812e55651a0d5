"""The list of scenarios."""

from __future__ import annotations

from collections.abc import Callable

from bench.case import Case, Scale
from bench.scenarios import (
    cluster,
    commands,
    crowd,
    fan_out,
    growth,
    idle,
    overload,
    private,
    site,
    stalled,
    storm,
)

SCENARIOS: dict[str, Callable[[Scale], list[Case]]] = {
    "private": private.cases,
    "overload": overload.cases,
    "fan-out": fan_out.cases,
    "idle": idle.cases,
    "crowd": crowd.cases,
    "site": site.cases,
    "stalled": stalled.cases,
    "storm": storm.cases,
    "commands": commands.cases,
    "cluster": cluster.cases,
    "growth": growth.cases,
}
"""Every scenario by its name, the most important first."""
