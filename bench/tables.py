"""How do results look as Markdown?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.contenders import UNPACED
from bench.goals import GOALS, Goal
from bench.results import Line, Results

NOT_MEASURED = "–"


class Column(NamedTuple):
    """A figure in a table."""

    figure: str
    title: str
    digits: int = 1


_CPU = Column("cpu_us", "CPU µs")
_DELAYS = (Column("p50_ms", "p50 ms"), Column("p99_ms", "p99 ms"), Column("p999_ms", "p99.9 ms"))
_FANNED = (
    Column("delivered_per_s", "delivered/s", 0),
    Column("share_pct", "delivered %"),
    _CPU,
    *_DELAYS,
    Column("wire_bytes", "bytes each", 0),
    Column("frames_per_s", "frames/s", 0),
    Column("rss_end_mb", "RSS MB", 0),
    Column("loop_lag_mean_ms", "loop lag ms"),
)
COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "fan-out": _FANNED,
    "private": _FANNED,
    "crowd": _FANNED,
    "growth": (*_FANNED, Column("phone_kb", "KB a phone")),
    "idle": (
        Column("phone_kb", "KB a phone"),
        Column("rss_idle_mb", "RSS MB", 0),
        Column("rss_fresh_mb", "fresh MB", 0),
        Column("connect_s", "connected after s"),
    ),
    "site": (
        Column("delivered_per_s", "delivered/s", 0),
        Column("share_pct", "delivered %"),
        Column("cpu_share_pct", "core %", 0),
        _CPU,
        *_DELAYS,
        Column("wire_mb_per_s", "wire MB/s"),
        Column("rss_end_mb", "RSS MB", 0),
        Column("loop_lag_mean_ms", "loop lag ms"),
    ),
    "stalled": (
        Column("delivered_per_s", "delivered/s", 0),
        Column("cpu_us", "CPU µs"),
        *_DELAYS,
        Column("stalled_user_kb", "process KB a stalled phone"),
        Column("stalled_kernel_kb", "kernel KB a stalled phone"),
        Column("closed", "sent away", 0),
    ),
    "storm": (
        Column("ready", "in sync", 0),
        Column("all_ready_s", "all after s"),
        Column("p50_ms", "p50 ms", 0),
        Column("p99_ms", "p99 ms", 0),
        Column("resumed", "resumed", 0),
        Column("resets", "resets", 0),
        Column("cpu_us_a_phone", "CPU µs a phone", 0),
    ),
    "commands": (
        Column("per_s", "commands/s", 0),
        *_DELAYS,
        Column("applied_pct", "applied %"),
        Column("cpu_us", "CPU µs", 0),
    ),
    "cluster": (
        Column("delivered_per_s", "followed/s", 0),
        Column("p50_ms", "p50 ms"),
        Column("p99_ms", "p99 ms"),
        Column("p50_follower_ms", "p50 ms, second node"),
        Column("p99_follower_ms", "p99 ms, second node"),
        Column("p99_added_ms", "added to p99 ms"),
        Column("cpu_us", "CPU µs a change, second node"),
    ),
}
"""What is shown of each scenario."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are aligned to the right."""
    lines = [list(head), ["---", *("---:" for _ in head[1:])], *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None, digits: int = 1) -> str:
    """Return a figure as people read it."""
    return NOT_MEASURED if value is None else f"{value:,.{digits}f}"


def scenario(results: Results, name: str) -> str:
    """Return a scenario's results: a table for each case that many took part in, else one for all."""
    cases = results.cases(name)
    if not cases:
        return "_Not measured yet._"
    many = [case for case in cases if len(results.lines(name, case)) > 2]
    parts = [f"**{case}**\n\n{_contenders(name, results.lines(name, case))}" for case in many]
    rest = [(case, line) for case in cases if case not in many for line in results.lines(name, case)]
    if rest:
        columns = _present(name, [line for _, line in rest])
        rows = [[case, line.contender, *_cells(line, columns)] for case, line in rest]
        parts.append(table(["case", "server", *(column.title for column in columns)], rows))
    return "\n\n".join(parts)


def _contenders(name: str, lines: list[Line]) -> str:
    columns = _present(name, lines)
    base = next((line.figures.get("cpu_us") for line in lines if line.contender == UNPACED), None)
    head = ["server", *(column.title for column in columns)]
    rows = [[line.contender, *_cells(line, columns)] for line in lines]
    if base:
        head.append("CPU by the gateway's")
        for row, line in zip(rows, lines, strict=True):
            own = line.figures.get("cpu_us")
            row.append(NOT_MEASURED if own is None else f"{own / base:.2f} ×")
    return table(head, rows)


def _present(name: str, lines: list[Line]) -> list[Column]:
    return [column for column in COLUMNS[name] if any(column.figure in line.figures for line in lines)]


def _cells(line: Line, columns: Sequence[Column]) -> list[str]:
    if not line.figures:
        return ["not measured" if not place else "" for place in range(len(columns))]
    return [number(line.figures.get(column.figure), column.digits) for column in columns]


def goals(results: Results) -> str:
    """Return the table of goals: what was wanted, what was measured, whether it is reached."""
    rows = []
    for goal in GOALS:
        value = goal.measure(results)
        sign = "≥" if goal.at_least else "≤"
        digits = 0 if goal.bound >= 1_000 else 2
        wanted = f"{sign} {_plain(goal.bound)} {goal.unit}".rstrip()
        shown = NOT_MEASURED if value is None else f"{number(value, digits)} {goal.unit}".rstrip()
        rows.append([goal.what, wanted, shown, _verdict(goal, value)])
    return table(["figure", "goal", "measured", ""], rows)


def _plain(bound: float) -> str:
    return f"{bound:,.0f}" if bound >= 1_000 else f"{bound:g}"


def _verdict(goal: Goal, value: float | None) -> str:
    if value is None:
        return "not measured"
    return "reached" if goal.holds(value) else "**not reached**"


def machine(told: Mapping[str, str | int], runs: int) -> str:
    """Return on what was measured, in a sentence."""
    if not told:
        return "_Not measured yet._"
    return (
        f"{told['cores']} cores of {told['processor']}, {told['memory_gib']} GiB, {told['system']}, "
        f"CPython {told['python']}, {told['files']:,} files per process; "
        f"load generator: {told['generator']}; "
        f"medians of {runs} interleaved runs."
    )
