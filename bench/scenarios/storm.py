"""Time until all phones are in sync again after they reconnect at once.

10,000 phones lose their connections, a few resources change, and all phones connect again at the same moment:
once without their positions, so that each receives everything, and once with them, so that each receives what
it missed.
"""

from __future__ import annotations

from dataclasses import replace

from bench import crowd
from bench.case import Case, Scale, thousands
from bench.crowd import Centre
from bench.gateway_node import Node
from bench.load.generator import Load
from bench.programs import BenchError
from bench.stage import Stage
from bench.work import Figures, Work

PHONES = 10_000
MISSED = 10
"""Resources that change while no phone is connected."""
LEFT_WITHIN_S = 60.0
SECONDS = 25.0
AFRESH, RESUMED = "afresh", "resumed"


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    phones = scale.phones(PHONES)[0]
    names = [f"{thousands(phones)} phones, {name}" for name in (AFRESH, RESUMED)]

    async def play(stage: Stage) -> dict[str, Figures]:
        return dict(zip(names, await _play(stage, phones), strict=True))

    return [Case(name, play=play, sitting="all", seconds=SECONDS) for name in names]


async def _play(stage: Stage, phones: int) -> list[Figures]:
    """Connect all phones three times: at first, again without positions, and again with them."""
    layout = stage.layout(Work(phones))
    tokens = await stage.tokens(phones, layout.users)
    hellos, saved = stage.folder / "hellos.txt", stage.folder / "positions.txt"
    crowd.write_hellos(hellos, tokens)
    async with stage.gateway(layout) as (centre, node):
        load = Load(
            node.port,
            crowd.PATH,
            phones,
            crowd.phone_options(hellos),
            duration_s=0.2,
            warmup_s=0.1,
            drain_s=0.2,
        )
        first = await stage.generator.run(load)
        if first["ready"]["n"] < phones:
            raise BenchError(f"only {first['ready']['n']} of {phones} phones were in sync before the storm")
        await _between(centre, node)
        keeping = replace(load, options=(*load.options, "--save", str(saved)))
        afresh = await _storm(stage, keeping, node)
        await _between(centre, node)
        crowd.write_hellos(hellos, tokens, crowd.read_positions(crowd.text_of(saved)))
        return [afresh, await _storm(stage, load, node)]


async def _between(centre: Centre, node: Node) -> None:
    await node.until_connected(0, LEFT_WITHIN_S)
    await centre.publish(0, MISSED)


async def _storm(stage: Stage, load: Load, node: Node) -> Figures:
    before_s = node.program.cpu_s()
    options = ("--inflight", str(load.phones), "--count", '"resumed":true', "--count", '"reset":true')
    answer = await stage.generator.run(replace(load, options=(*load.options, *options)))
    ready = answer["ready"]
    return {
        "phones": answer["opened"],
        "ready": ready["n"],
        "all_ready_s": ready["all_s"],
        "p50_ms": ready["p50_ms"],
        "p99_ms": ready["p99_ms"],
        "resumed": ready["counts"][0],
        "resets": ready["counts"][1],
        "cpu_us_a_phone": 1e6 * (node.program.cpu_s() - before_s) / load.phones,
    }
