"""Order of runs, and the records of cases that cannot run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from bench.case import Case
from bench.contenders import Gateway, Other, Outcome
from bench.kept import ResultStore
from bench.peer import Peer
from bench.plan import CaseGroup, expected_s
from bench.programs import BenchError
from bench.stage import Stage
from bench.work import Record


async def prepared(stage: Stage, peers: Iterable[Peer]) -> list[Other]:
    """Install the peers; those that this machine cannot run are printed and left out."""
    found: list[Other] = []
    for each in peers:
        peer = Other(each)
        if await peer.prepare(stage):
            found.append(peer)
        else:
            print(f"{each.name}: not available on this machine", flush=True)
    return found


class Play:
    """Runner of case groups, which stores their results.

    Args:
        stage: The resources of all runs.
        store: The store of results; stored ones are not measured again.
        peers: The contenders beside the gateway.
        runs: Number of runs, where a group does not need fewer.
    """

    def __init__(self, stage: Stage, store: ResultStore, peers: Sequence[Other], runs: int) -> None:
        self.failures = 0
        self._stage = stage
        self._store = store
        self._peers = peers
        self._runs = runs

    async def run_group(self, group: CaseGroup) -> None:
        """Run *group*: all contenders in turn per run, so that the machine's changes affect all.

        A contender that failed a case in the first run does not run it again.
        """
        given_up: set[tuple[str, str]] = set()
        began = time.monotonic()
        for run in range(group.runs(self._runs)):
            for contender in group.contenders(self._peers):
                cases = [
                    case
                    for case in group.asked(contender)
                    if (case.name, contender.name) not in given_up
                    and not self._store.has((group.scenario, case.name, contender.name), run)
                ]
                failed = await self._life(group.scenario, cases, contender, run)
                given_up |= {(name, contender.name) for name in failed if run == 0}
        took_s, due_s = time.monotonic() - began, expected_s(group, self._peers, self._runs)
        print(f"{group.scenario}: took {took_s / 60:.1f} min of {due_s / 60:.1f}", flush=True)

    async def _life(
        self, scenario: str, cases: list[Case], contender: Gateway | Other, run: int
    ) -> list[str]:
        """Run *cases* on one server, on a new one after an error; returns the names of failed cases."""
        failed: list[str] = []
        while cases:
            for case, outcome in zip(cases, await _outcomes(self._stage, cases, contender), strict=False):
                cases = cases[1:]
                record = _record((scenario, case.name, contender.name, run), outcome)
                failed += [case.name] if record.trouble else []
                self._store.add(record)
                print(line(record), flush=True)
        self.failures += len(failed)
        return failed


def _record(who: tuple[str, str, str, int], outcome: Outcome) -> Record:
    if isinstance(outcome, BenchError):
        return Record(*who, trouble=str(outcome)[:500])
    return Record(*who, figures=outcome)


async def _outcomes(stage: Stage, cases: Sequence[Case], contender: Gateway | Other) -> list[Outcome]:
    """Run *cases*; returns the outcomes of the first ones, at least of one."""
    try:
        play = cases[0].play
        if play is not None:
            played = await play(stage)
            return [played[case.name] for case in cases]
        works = [case.work for case in cases if case.work is not None]
        return await contender.play(stage, works) or [BenchError("nothing came of it")]
    except Exception as trouble:  # noqa: BLE001 - a failed case must not end the others
        # a contender that cannot start would fail in each case
        return [BenchError(reason(trouble)) for _ in cases]


def reason(trouble: BaseException) -> str:
    """Return why something failed, in one line."""
    while isinstance(trouble, BaseExceptionGroup):
        trouble = trouble.exceptions[0]
    return f"{type(trouble).__name__}: {trouble}"


def line(record: Record) -> str:
    """Return a record as one line of text."""
    head = f"{record.scenario:9} {record.case:48} {record.contender:18} #{record.run + 1}"
    if record.trouble:
        return f"{head}  {record.trouble.splitlines()[0][:150]}"
    shown = ("delivered_per_s", "cpu_us", "p50_ms", "p99_ms", "phone_kb", "share_pct", "all_ready_s", "per_s")
    figures = record.figures
    return head + "".join(f"  {name}={figures[name]:,.2f}" for name in shown if name in figures)
