"""Plots of results."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.contenders import PACED, UNPACED
from bench.results import Results

WIDTH_IN, HEIGHT_IN = 7.0, 3.2
_OURS, _THEIRS = "#1b6ca8", "#b8bec6"


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw each figure that has results; returns the files. Equal results give equal bytes."""
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "benchmarks", "font.size": 9, "svg.fonttype": "none"})
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Path] = []
    bars = (
        ("cpu-1000", "fan-out", "1,000 phones, 50,000/s", "cpu_us", "µs of CPU per update, 1,000 phones"),
        ("cpu-10000", "fan-out", "10,000 phones, 50,000/s", "cpu_us", "µs of CPU per update, 10,000 phones"),
        ("p99-1000", "fan-out", "1,000 phones, 50,000/s", "p99_ms", "p99 in ms, 1,000 phones, 50,000/s"),
        ("idle", "idle", "10,000 phones", "phone_kb", "KB of memory per idle phone, 10,000 phones"),
    )
    for name, scenario, case, figure, title in bars:
        values = bar_values(results, scenario, case, figure)
        if values:
            found.append(_bars(folder / f"{name}.svg", values, title))
    for name, unit in (("growth-phones", "phones"), ("growth-resources", "resources")):
        lines = growth(results, unit)
        if lines:
            found.append(_lines(folder / f"{name}.svg", lines, unit))
    return found


def bar_values(results: Results, scenario: str, case: str, figure: str) -> list[tuple[str, float]]:
    """Return a figure of all contenders of a case, the smallest first."""
    exact = [each for each in results.cases(scenario) if each == case]
    lines = results.lines(scenario, exact[0]) if exact else []
    values = [(line.contender, line.figures[figure]) for line in lines if figure in line.figures]
    return sorted(values, key=lambda pair: pair[1])


def growth(results: Results, unit: str) -> dict[str, list[tuple[float, float]]]:
    """Return CPU time per update by the number of *unit*, for each contender."""
    found: dict[str, list[tuple[float, float]]] = {}
    for case in results.cases("growth"):
        count, _, what = case.partition(" ")
        if what != unit:
            continue
        for line in results.lines("growth", case):
            if "cpu_us" in line.figures:
                point = (float(count.replace(",", "")), line.figures["cpu_us"])
                found.setdefault(line.contender, []).append(point)
    return found


def _figure() -> tuple[Any, Any]:
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(WIDTH_IN, HEIGHT_IN))
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Any, file: Path) -> Path:  # noqa: ANN401 - the library is not installed where types are checked
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    # generated files of this project have no trailing spaces
    text = "\n".join(line.rstrip() for line in file.read_text("utf-8").splitlines())
    file.write_text(text + "\n", "utf-8")
    return file


def _bars(file: Path, values: Sequence[tuple[str, float]], title: str) -> Path:
    figure, axes = _figure()
    names = [name for name, _ in reversed(values)]
    colours = [_OURS if name in {PACED, UNPACED} else _THEIRS for name in names]
    bars = axes.barh(names, [value for _, value in reversed(values)], color=colours)
    axes.bar_label(bars, fmt="%.1f", padding=2)
    axes.set_title(title)
    return _save(figure, file)


def _lines(file: Path, lines: dict[str, list[tuple[float, float]]], unit: str) -> Path:
    figure, axes = _figure()
    for name, points in lines.items():
        ordered = sorted(points)
        axes.plot([at for at, _ in ordered], [value for _, value in ordered], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(unit)
    axes.set_title("µs of CPU per update at 50,000/s")
    axes.legend()
    return _save(figure, file)
