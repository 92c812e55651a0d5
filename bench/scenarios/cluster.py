"""Cost of following a user whose link another node holds.

Two nodes and a real Redis server. 100 users have a phone at each node. The phones of the first node connect
first, so it holds the links; the second node follows through Redis. Both measure the same updates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import crowd
from bench.case import Case, Scale, thousands
from bench.crowd import Centre, centre
from bench.gateway_node import Node, node
from bench.layout import Layout
from bench.load.generator import Load
from bench.machine import LOAD_CORE, free_port
from bench.programs import BenchError, running
from bench.redis_server import program
from bench.stage import Stage
from bench.work import Figures

USERS = 100
RATES = (10, 50)
CONNECT_WITHIN_S = 30.0
LEAD_S = 2.0
"""Half of the time between the connections to the first node and the first publish."""


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    rates = RATES[:1] if scale.is_quick else RATES

    names = [f"{USERS} users, {thousands(USERS * rate)} followed changes/s" for rate in rates]

    async def play(stage: Stage) -> dict[str, Figures]:
        return dict(zip(names, await _play(stage, rates, scale.duration_s), strict=True))

    seconds = scale.duration_s + 4 * LEAD_S + 8
    return [Case(name, play=play, group="all", seconds=seconds) for name in names]


async def _play(stage: Stage, rates: Sequence[int], duration_s: float) -> list[Figures]:
    redis = program()
    if redis is None:
        raise BenchError("there is no redis-server and no valkey-server on this machine")
    logs, port = stage.folder / "logs", free_port()
    words = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/tmp")  # noqa: S108 - nothing is written
    tokens = await stage.tokens(2 * USERS, USERS)
    found: list[Figures] = []
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running("redis", (redis, *words), LOAD_CORE, logs))
        await server.until_listening(port)
        made = await stack.enter_async_context(centre(Layout(USERS, 100), logs))
        nodes = []
        for name in ("owner", "follower"):
            settings = replace(stage.settings(made), bus=f"redis://127.0.0.1:{port}/0")
            nodes.append(await stack.enter_async_context(node(settings, logs, name=name)))
        for rate in rates:
            found.append(await _measure(stage, made, nodes, tokens, rate, duration_s))
            for each in nodes:
                await each.until_connected(0, CONNECT_WITHIN_S)
    return found


async def _measure(
    stage: Stage, made: Centre, nodes: list[Node], tokens: list[str], rate: int, duration_s: float
) -> Figures:
    hellos = [
        crowd.write_hellos(stage.folder / f"hellos{number}.txt", tokens[number : number + USERS])
        for number in (0, USERS)
    ]
    at_owner = _load(nodes[0], hellos[0], duration_s + 2 * LEAD_S)
    publisher = crowd.publisher_options(made.door)
    at_owner = replace(
        at_owner, options=(*at_owner.options, *publisher), per_s=float(rate), settle_s=2 * LEAD_S, pid=None
    )
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(stage.generator.run(at_owner))
        await nodes[0].until_connected(USERS, CONNECT_WITHIN_S)
        # the second node's measurement lies within the first one's
        at_follower = replace(_load(nodes[1], hellos[1], duration_s), settle_s=2 * LEAD_S, warmup_s=2.0)
        second = tasks.create_task(stage.generator.run(at_follower))
    return figures(first.result(), second.result())


def _load(at: Node, hellos: Path, duration_s: float) -> Load:
    return Load(
        at.port, crowd.PATH, USERS, crowd.phone_options(hellos), duration_s=duration_s, pid=at.program.pid
    )


def figures(owner: dict[str, Any], follower: dict[str, Any]) -> Figures:
    """Return the figures of both nodes; *cpu_us* is the second node's per delivered change."""
    found: Figures = {"delivered_per_s": follower["deliv_s"]}
    for name in ("p50", "p99"):
        here, there = owner["lat_us"][name] / 1e3, follower["lat_us"][name] / 1e3
        found |= {f"{name}_ms": here, f"{name}_follower_ms": there, f"{name}_added_ms": there - here}
    found["cpu_us"] = follower["srv"]["us_per_deliv"]
    return found
