"""Who does the work of a run: the gateway at some pace, or somebody else's server?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from bench import crowd
from bench.gateway_node import Node, total
from bench.load.generator import Load
from bench.machine import SERVER_CORE, free_port
from bench.peer import Peer
from bench.programs import BenchError, Program, running
from bench.sockets import Sockets
from bench.stage import Stage
from bench.work import Figures, Work, figures_of

PACED, UNPACED = "gateway", "gateway, pace 0"


class Contender(Protocol):
    """Somebody who can be asked for work."""

    @property
    def name(self) -> str:
        """How tables call it."""

    async def play(self, stage: Stage, work: Work) -> Figures:
        """Do the work once, with a server of its own.

        Raises:
            BenchError: It cannot be had.
        """


@dataclass(frozen=True, slots=True)
class Gateway:
    """A node of the gateway and its OSCC-E Server. *pace_min_s*: None is the product's default."""

    name: str
    pace_min_s: float | None = None

    async def play(self, stage: Stage, work: Work) -> Figures:
        """Let phones of as few users as may be follow the same queues, or each topic be a user's own."""
        if self.pace_min_s is not None and not stage.reach.has_pace:
            raise BenchError("this version of the gateway has no setting for its pace")
        layout = stage.layout(work)
        hellos = await stage.hellos(work.phones, layout.users)
        async with stage.gateway(layout, self.pace_min_s, tls=work.tls) as (centre, node):
            fresh = node.program.rss_bytes()
            options = crowd.phone_options(hellos)
            if _publishes(work):
                options += crowd.publisher_options(centre.door, work.size)
            load = replace(load_of(work, node.port, crowd.PATH, options), pid=node.program.pid)
            answer, held = await _watched(stage, load, node.program)
            figures = figures_of(answer, work) | held | memory(answer, fresh, work)
            return figures | await _lag(node)


@dataclass(frozen=True, slots=True)
class Other:
    """A peer's server."""

    peer: Peer

    @property
    def name(self) -> str:
        """How tables call it."""
        return self.peer.name

    async def play(self, stage: Stage, work: Work) -> Figures:
        """Let connections subscribe to their topic, and publish into topics in turn."""
        if work.tls or work.size != 1:
            raise BenchError("peers are asked for clear text and single messages only")
        peer, port = self.peer, free_port()
        folder = _folder(stage, peer)
        async with running(
            peer.name, peer.command(folder, port), SERVER_CORE, stage.folder / "logs"
        ) as program:
            await program.until_listening(port)
            fresh = program.rss_bytes()
            options = (*peer.subscribe, "--stamp", peer.stamp)
            if _publishes(work):
                options += peer.publish
            load = replace(load_of(work, port, peer.path, options), pid=program.pid)
            answer, held = await _watched(stage, load, program)
            return figures_of(answer, work) | held | memory(answer, fresh, work)

    async def prepare(self, stage: Stage) -> bool:
        """Install it; False when this machine cannot have it."""
        return await asyncio.to_thread(self.peer.prepare, _folder(stage, self.peer))


def _folder(stage: Stage, peer: Peer) -> Path:
    folder = (stage.folder / "peers" / peer.name).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _publishes(work: Work) -> bool:
    return work.per_s is not None or work.window is not None


def load_of(work: Work, port: int, path: str, options: tuple[str, ...]) -> Load:
    """Return the load that *work* means for a server."""
    return Load(
        port=port,
        path=path,
        phones=work.phones,
        options=options,
        duration_s=work.duration_s,
        warmup_s=work.warmup_s,
        settle_s=work.settle_s,
        groups=work.topics,
        per_s=work.per_s,
        window=work.window,
        stalled=work.stalled,
        tls=work.tls,
        connect_per_s=work.connect_per_s,
    )


async def _watched(stage: Stage, load: Load, program: Program) -> tuple[dict[str, Any], Figures]:
    """Run *load*; where phones stall, watch what the kernel holds for them."""
    if not load.stalled:
        return await stage.generator.run(load), {}
    async with asyncio.TaskGroup() as tasks:
        sockets = Sockets(load.port, load.stalled)
        watching = tasks.create_task(sockets.watch())
        try:
            answer = await stage.generator.run(load)
        finally:
            watching.cancel()
    if not program.runs:
        raise BenchError(f"{program.name} ended: {program.tail()}")
    return answer, sockets.figures()


def memory(answer: Mapping[str, Any], fresh_bytes: int, work: Work) -> Figures:
    """Return the memory of the server per phone that is connected and idle, everything included."""
    if not answer["opened"]:
        return {}
    idle = answer["srv"]["rss_idle_mb"] * 1e6
    grown = answer["srv"]["rss_end_mb"] * 1e6 - idle
    found = {"phone_kb": (idle - fresh_bytes) / work.phones / 1e3, "rss_fresh_mb": fresh_bytes / 1e6}
    if work.stalled:
        found["stalled_user_kb"] = max(0.0, grown) / work.stalled / 1e3
    return found


async def _lag(node: Node) -> Figures:
    """Return the mean lag of the node's loop over the whole run, as its operators see it."""
    metrics = await node.metrics()
    turns = total(metrics, "loop_lag_seconds_count")
    return {} if not turns else {"loop_lag_mean_ms": 1e3 * total(metrics, "loop_lag_seconds_sum") / turns}
