"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.contenders import PACED, UNPACED
from bench.goals import GOALS, Goal
from bench.peers import PEERS
from bench.results import Line, Results

NOT_MEASURED = "–"


class Column(NamedTuple):
    """A figure in a table."""

    figure: str
    title: str
    digits: int = 1


_CPU = Column("cpu_us", "CPU µs")
_DELAYS = (Column("p50_ms", "p50 ms"), Column("p99_ms", "p99 ms"), Column("p999_ms", "p99.9 ms"))
_LAGS = (Column("loop_lag_mean_ms", "loop lag ms"), Column("loop_lag_p99_ms", "its p99"))
_FANNED = (
    Column("delivered_per_s", "delivered/s", 0),
    Column("share_pct", "delivered %"),
    _CPU,
    *_DELAYS,
    Column("wire_bytes", "bytes each", 0),
    Column("frames_per_s", "frames/s", 0),
    Column("rss_end_mb", "RSS MB", 0),
    *_LAGS,
)
COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "fan-out": _FANNED,
    "private": (*_FANNED, Column("phone_kb", "KB a phone")),
    "overload": (Column("offered_per_s", "offered/s", 0), *_FANNED),
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
        *_LAGS,
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
"""Columns of each scenario's tables."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are aligned to the right."""
    lines = [list(head), ["---", *("---:" for _ in head[1:])], *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None, digits: int = 1) -> str:
    """Return a figure with commas and *digits* decimals; a dash when it was not measured."""
    return NOT_MEASURED if value is None else f"{value:,.{digits}f}"


def scenario(results: Results, name: str) -> str:
    """Return a scenario's tables: one per case of more than two contenders, one for the rest."""
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
    """Return the table of goals: figure, goal, measured value, and whether it is reached."""
    rows = []
    for goal in GOALS:
        value = goal.measure(results)
        digits = 2 if value is None or value < 1_000 else 0
        shown = NOT_MEASURED if value is None else f"{number(value, digits)} {goal.unit}".rstrip()
        rows.append([goal.what, _wanted(goal), shown, _verdict(goal, value)])
    return table(["figure", "goal", "measured", ""], rows)


def _wanted(goal: Goal) -> str:
    if goal.bound is None:
        return ""
    sign = "≥" if goal.at_least else "≤"
    return f"{sign} {_plain(goal.bound)} {goal.unit}".rstrip()


def _plain(bound: float) -> str:
    return f"{bound:,.0f}" if bound >= 1_000 else f"{bound:g}"


def _verdict(goal: Goal, value: float | None) -> str:
    if value is None:
        return "not measured"
    if goal.bound is None:
        return ""
    return "reached" if goal.holds(value) else "**not reached**"


_OTHERS = (
    ("CPU µs at 50,000/s", "fan-out", "{} phones, 50,000/s", "cpu_us", 1),
    ("p50 ms", "fan-out", "{} phones, 50,000/s", "p50_ms", 1),
    ("p99 ms", "fan-out", "{} phones, 50,000/s", "p99_ms", 1),
    ("16 under way, k/s", "fan-out", "{} phones, 16 under way", "delivered_per_s", 0),
)
_ALONE = (
    ("small audiences, CPU µs", "private", "1,000 users of 10 phones, 50,000/s", "cpu_us", 1),
    ("idle, KB", "idle", "10,000 phones", "phone_kb", 1),
)


def others(results: Results) -> str:
    """Return one table of all contenders, with 1,000 and 10,000 phones side by side."""
    rows = [
        [
            name,
            *(
                " / ".join(_figure(results, name, *_at(asked, size)) for size in ("1,000", "10,000"))
                for asked in _OTHERS
            ),
            *(_figure(results, _idle_name(name, asked[1]), *asked[1:]) for asked in _ALONE),
        ]
        for name in (UNPACED, PACED, *PEERS)
    ]
    return table(["server", *(asked[0] for asked in (*_OTHERS, *_ALONE))], rows)


def _at(asked: tuple[str, str, str, str, int], size: str) -> tuple[str, str, str, int]:
    _, scenario_, case, figure, digits = asked
    return scenario_, case.format(size), figure, digits


def _idle_name(name: str, scenario_: str) -> str:
    """Return the contender to look up: idle phones have no pace, so one gateway is measured."""
    return PACED if scenario_ == "idle" and name == UNPACED else name


def _figure(results: Results, contender: str, scenario_: str, case: str, figure: str, digits: int) -> str:
    value = results.figure(scenario_, case, contender, figure)
    return number(value / 1_000 if value is not None and figure == "delivered_per_s" else value, digits)


def machine(facts: Mapping[str, str | int], runs: int) -> str:
    """Return a sentence on the machine and the number of runs."""
    if not facts:
        return "_Not measured yet._"
    return (
        f"{facts['cores']} cores of {facts['processor']}, {facts['memory_gib']} GiB, {facts['system']}, "
        f"CPython {facts['python']}, {facts['files']:,} files per process; "
        f"load generator: {facts['generator']}; "
        f"medians of {runs} interleaved runs, but for memory, which hardly varies."
    )
