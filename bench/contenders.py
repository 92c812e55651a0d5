"""Contenders of a run: the gateway at some pace, or another server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import crowd
from bench.gateway_node import quantile_of, total
from bench.load.generator import Load, Span, SpanAnswer, read
from bench.machine import SERVER_CORE, free_port
from bench.peer import Peer
from bench.programs import BenchError, Program, running
from bench.sockets import Sockets
from bench.stage import Stage
from bench.work import Figures, Work, figures_of

DRAIN_S = 0.5
Outcome = Figures | BenchError
PACED, UNPACED = "gateway", "gateway, pace 0"


@dataclass(frozen=True, slots=True)
class Gateway:
    """Gateway: a node and an OSCC-E Server; *pace_min_s* None is the product's default."""

    name: str
    pace_min_s: float | None = None

    async def play(self, stage: Stage, works: Sequence[Work]) -> list[Outcome]:
        """Run *works* on a node.

        With one topic, all users see the same resources; with several, each topic has its own user.
        """
        if self.pace_min_s is not None and not stage.reach.has_pace:
            raise BenchError("this version of the gateway has no setting for its pace")
        most = max(works, key=lambda work: work.phones)
        layout = stage.layout(most)
        hellos = await stage.hellos(most.phones, layout.users)
        async with stage.gateway(layout, self.pace_min_s, tls=most.tls) as (centre, node):
            fresh = node.program.rss_bytes()
            options = crowd.phone_options(hellos)
            if any(work.publishes for work in works):
                options += crowd.publisher_options(centre.door)
            load = replace(load_of(works, node.port, crowd.PATH, options), pid=node.program.pid)
            async with crowd.flooding(centre.door, most.flood_per_s):
                answers, held = await _watched(stage, load, node.program, node.metrics)
        return outcomes(answers, works, fresh, held)


@dataclass(frozen=True, slots=True)
class Other:
    """Server of a peer."""

    peer: Peer

    @property
    def name(self) -> str:
        """Its name in tables."""
        return self.peer.name

    async def play(self, stage: Stage, works: Sequence[Work]) -> list[Outcome]:
        """Run *works* on the peer: phones subscribe to their topic; publishes go to topics in turn."""
        if any(work.tls or work.size != 1 for work in works):
            raise BenchError("peers are asked for clear text and single messages only")
        peer, port = self.peer, free_port()
        folder = _folder(stage, peer)
        async with running(
            peer.name, peer.command(folder, port), SERVER_CORE, stage.folder / "logs"
        ) as program:
            await program.until_listening(port)
            fresh = program.rss_bytes()
            options = (*peer.subscribe, "--stamp", peer.stamp)
            if any(work.publishes for work in works):
                options += peer.publish
            load = replace(load_of(works, port, peer.path, options), pid=program.pid)
            answers, held = await _watched(stage, load, program, _no_metrics)
        return outcomes(answers, works, fresh, held)

    async def prepare(self, stage: Stage) -> bool:
        """Install the peer; returns whether this machine can run it."""
        return await asyncio.to_thread(self.peer.prepare, _folder(stage, self.peer))


def _folder(stage: Stage, peer: Peer) -> Path:
    folder = (stage.folder / "peers" / peer.name).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def _no_metrics() -> Figures:
    return {}


def load_of(works: Sequence[Work], port: int, path: str, options: tuple[str, ...]) -> Load:
    """Return the load of *works*, with a span for each on the same connections."""
    first, last = works[0], works[-1]
    return Load(
        port=port,
        path=path,
        phones=last.phones,
        options=options,
        settle_s=first.settle_s,
        drain_s=DRAIN_S,
        groups=first.topics,
        stalled=first.stalled,
        tls=first.tls,
        connect_per_s=first.connect_per_s,
        spans=tuple(_span(work) for work in works),
    )


def _span(work: Work) -> Span:
    per_s = work.per_s if work.share is None else -work.share
    return Span(work.phones, per_s, work.window, work.warmup_s, work.duration_s, work.size)


async def _watched(
    stage: Stage, load: Load, program: Program, look: Callable[[], Awaitable[Figures]]
) -> tuple[list[SpanAnswer[Figures]], Figures]:
    """Run *load*; where phones stall, measure the kernel memory of their sockets, too."""
    if not load.stalled:
        return await stage.generator.spans(load, look), {}
    async with asyncio.TaskGroup() as tasks:
        sockets = Sockets(load.port, load.stalled)
        watching = tasks.create_task(sockets.watch())
        try:
            answers = await stage.generator.spans(load, look)
        finally:
            watching.cancel()
    if not program.runs:
        raise BenchError(f"{program.name} ended: {program.tail()}")
    return answers, sockets.figures()


def outcomes(
    answers: Sequence[SpanAnswer[Figures]], works: Sequence[Work], fresh_bytes: int, held: Figures
) -> list[Outcome]:
    """Return the figures of each work, up to the first error, which comes last.

    Raises:
        BenchError: The load generator wrote no answer.
    """
    if not answers:
        raise BenchError("the load generator ended without an answer")
    found: list[Outcome] = []
    for each, work in zip(answers, works, strict=False):
        try:
            answer = read(each.text, stalled=work.stalled)
        except BenchError as trouble:
            return [*found, trouble]
        figures = figures_of(answer, work) | held | memory(answer, fresh_bytes, work)
        found.append(figures | lag(each.before, each.after))
    return found


def memory(answer: Mapping[str, Any], fresh_bytes: int, work: Work) -> Figures:
    """Return the server's memory per connected, idle phone and per stalled phone."""
    if not answer["opened"]:
        return {}
    idle = answer["srv"]["rss_idle_mb"] * 1e6
    grown = answer["srv"]["rss_end_mb"] * 1e6 - idle
    found = {"phone_kb": (idle - fresh_bytes) / work.phones / 1e3, "rss_fresh_mb": fresh_bytes / 1e6}
    if work.stalled:
        found["stalled_user_kb"] = max(0.0, grown) / work.stalled / 1e3
    return found


def lag(before: Mapping[str, float], after: Mapping[str, float]) -> Figures:
    """Return a node's loop lag between two readings of its metrics; empty without metrics."""
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    turns = total(grown, "loop_lag_seconds_count")
    if turns <= 0:
        return {}
    return {
        "loop_lag_mean_ms": 1e3 * total(grown, "loop_lag_seconds_sum") / turns,
        "loop_lag_p99_ms": 1e3 * quantile_of(grown, "loop_lag_seconds", 0.99),
    }
