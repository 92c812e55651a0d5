"""Time until all phones are in sync again after they reconnect at once.

10,000 phones lose their connections, a few resources change, and all phones connect again at the same moment:
once without their positions, so that each receives everything, and once with them, so that each receives what
it missed. First they are the phones of one user, then each of 9,500 is another user's. Their links are still
open when the phones come back. Last, fewer users connect at once to a node without a link of theirs, as after
the loss of a node.
"""

from __future__ import annotations

from dataclasses import replace

from bench import crowd
from bench.case import Case, Scale, thousands
from bench.crowd import Centre
from bench.gateway_node import Node
from bench.load.generator import Load
from bench.stage import Stage
from bench.work import Figures, Work

PHONES = 10_000
USERS = 9_500
"""Users of one phone: each needs two files of the node, which has 20,000 here."""
NEWCOMERS = 2_000
"""Users who connect at once to a node without their links."""
USERS_PER_S = 120.0
"""Users who connect per second before they come back at once."""
QUEUES = 20
"""Resources of each user, where each phone is another user's."""
MISSED = 10
"""Resources that change while no phone is connected."""
LEFT_WITHIN_S = 60.0
SECONDS = 25.0
NEW, AFRESH, RESUMED = "to a new node", "afresh", "resumed"


def of_one_user(phones: int, how: str) -> str:
    """Return the name of a case of phones of one user."""
    return f"{thousands(phones)} phones, {how}"


def of_many_users(phones: int, how: str) -> str:
    """Return the name of a case of users with one phone each."""
    return f"{thousands(phones)} users of 1 phone, {how}"


def cases(scale: Scale) -> list[Case]:
    """Return the cases of this scenario."""
    phones, users, few = (scale.phones(count)[0] for count in (PHONES, USERS, NEWCOMERS))
    many = Work(users, topics=users, queues=QUEUES, connect_per_s=USERS_PER_S)
    return [
        *_cases([of_one_user(phones, how) for how in (AFRESH, RESUMED)], Work(phones)),
        *_cases([of_many_users(users, how) for how in (AFRESH, RESUMED)], many),
        *_cases([of_many_users(few, NEW)], Work(few, topics=few, queues=QUEUES)),
    ]


def _cases(names: list[str], work: Work) -> list[Case]:
    async def play(stage: Stage) -> dict[str, Figures]:
        return dict(zip(names, await _play(stage, work, len(names)), strict=True))

    seconds = SECONDS + (work.phones / work.connect_per_s if work.connect_per_s else 0.0)
    return [Case(name, play=play, group=names[0], seconds=seconds / len(names)) for name in names]


async def _play(stage: Stage, work: Work, storms: int) -> list[Figures]:
    """Connect all phones to a new node; with two *storms*, measure how they come back, else this."""
    layout, phones = stage.layout(work), work.phones
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
        if storms == 1:
            return [await _storm(stage, load, node)]
        await stage.generator.run(replace(load, connect_per_s=work.connect_per_s))
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
