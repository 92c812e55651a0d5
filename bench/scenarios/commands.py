"""Latency and rate of commands through gateway and OSCC-E Server.

50 supervisors, each with one phone and ten agents, set routing states. First 1,000 commands per second are
sent, whether or not results return; then each phone has four commands under way. The new state reaches the
phone before the result. Every figure includes the OSCC-E Server's own time.
"""

from __future__ import annotations

import json
import sys

from bench.case import Case, Scale, thousands
from bench.layout import Layout
from bench.machine import LOAD_CORE
from bench.programs import output
from bench.stage import Stage
from bench.work import Figures

PHONES, AGENTS = 50, 10
RATE = 1_000
WINDOW = 4
PATIENCE_S = 60.0
PACED, FLOODED = f"{thousands(RATE)}/s", f"{WINDOW} under way on each of {PHONES} phones"


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    rate = RATE // 5 if scale.is_quick else RATE

    names = (f"{thousands(rate)}/s", FLOODED)

    async def play(stage: Stage) -> dict[str, Figures]:
        return dict(zip(names, await _play(stage, rate, scale.duration_s), strict=True))

    return [Case(name, play=play, group="all", seconds=scale.duration_s + 4) for name in names]


async def _play(stage: Stage, rate: int, duration_s: float) -> list[Figures]:
    layout = Layout(PHONES, 1, AGENTS, shared=False)
    hellos = await stage.hellos(PHONES, layout.users)
    first = layout.visible_keys(0).agents[0]
    found: list[Figures] = []
    async with stage.gateway(layout) as (_, node):
        for asked in (rate, 0):
            words = (node.port, hellos, PHONES, first, AGENTS, asked, WINDOW, duration_s, node.program.pid)
            command = (sys.executable, "-m", "bench.load.commander", *(str(word) for word in words))
            found.append(_figures(await output("the commander", command, LOAD_CORE, PATIENCE_S + duration_s)))
            await node.until_connected(0, PATIENCE_S)
    return found


def _figures(answer: bytes) -> Figures:
    told = json.loads(answer)
    done = told["statuses"].get("applied", 0)
    return {
        "per_s": told["per_s"],
        "p50_ms": told["p50_ms"],
        "p99_ms": told["p99_ms"],
        "p999_ms": told["p999_ms"],
        "applied_pct": 100 * done / max(1, told["done"]),
        "cpu_us": 1e6 * told["server_cpu_s"] / max(1, told["done"]),
    }
