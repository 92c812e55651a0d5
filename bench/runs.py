"""In which order are cases run, and where do their results go?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.case import Case
from bench.contenders import Contender, Gateway, Other
from bench.peer import Peer
from bench.programs import BenchError
from bench.stage import Stage
from bench.work import Figures, Record

RESULTS = "results.jsonl"
MACHINE = "machine.json"


def contenders(case: Case, peers: Sequence[Other]) -> list[Gateway | Other]:
    """Return who is asked for a case."""
    return [*case.gateways, *(peers if case.with_peers else ())]


async def prepared(stage: Stage, peers: Iterable[Peer]) -> list[Other]:
    """Install the peers; those that cannot be had are said and left out."""
    found: list[Other] = []
    for each in peers:
        peer = Other(each)
        if await peer.prepare(stage):
            found.append(peer)
        else:
            print(f"{each.name}: cannot be had on this machine", flush=True)
    return found


async def play(stage: Stage, scenario: str, case: Case, peers: Sequence[Other], runs: int) -> list[Record]:
    """Run a case, contenders in turn and that over and over: whatever changes on the machine meets all."""
    records: list[Record] = []
    for run in range(runs):
        for contender in contenders(case, peers):
            record = await _once(stage, scenario, case, contender, run)
            records.append(record)
            print(line(record), flush=True)
    return records


async def _once(stage: Stage, scenario: str, case: Case, contender: Contender, run: int) -> Record:
    who = (scenario, case.name, contender.name, run)
    try:
        return Record(*who, figures=await _figures(stage, case, contender))
    except (BenchError, OSError) as trouble:
        return Record(*who, trouble=f"{type(trouble).__name__}: {trouble}"[:500])
    except ExceptionGroup as troubles:
        known, unknown = troubles.split((BenchError, OSError))
        if known is None or unknown is not None:
            raise
        return Record(*who, trouble=f"{type(known.exceptions[0]).__name__}: {known.exceptions[0]}"[:500])


async def _figures(stage: Stage, case: Case, contender: Contender) -> Figures:
    if case.play is not None:
        return await case.play(stage)
    assert case.work is not None, "a case says what is asked"
    return await contender.play(stage, case.work)


def line(record: Record) -> str:
    """Return a run as a line for the person who waits."""
    head = f"{record.scenario:9} {record.case:48} {record.contender:18} #{record.run + 1}"
    if record.trouble:
        return f"{head}  {record.trouble.splitlines()[0][:150]}"
    shown = ("delivered_per_s", "cpu_us", "p50_ms", "p99_ms", "phone_kb", "share_pct", "all_ready_s", "per_s")
    figures = record.figures
    return head + "".join(f"  {name}={figures[name]:,.2f}" for name in shown if name in figures)


def add(folder: Path, records: Sequence[Record], machine: Mapping[str, str | int]) -> None:
    """Keep *records*; what was kept before of the same cases and contenders makes room for them."""
    folder.mkdir(parents=True, exist_ok=True)
    new = {(each.scenario, each.case, each.contender) for each in records}
    old = [each for each in kept(folder) if (each.scenario, each.case, each.contender) not in new]
    text = "".join(json.dumps(each.as_json()) + "\n" for each in (*old, *records))
    (folder / RESULTS).write_text(text, "utf-8")
    (folder / MACHINE).write_text(json.dumps(machine), "utf-8")


def kept(folder: Path) -> Iterator[Record]:
    """Return the records of a folder."""
    file = folder / RESULTS
    if file.exists():
        for text in file.read_text("utf-8").splitlines():
            yield Record.read(json.loads(text))
