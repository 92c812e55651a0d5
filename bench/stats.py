"""Statistics: quantiles, medians and spreads."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence

from bench.work import Figures


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that *share* of the *ordered* values do not exceed; 0 without values."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def medians(runs: Iterable[Figures]) -> Figures:
    """Return the median of each figure over the runs that have it."""
    values: dict[str, list[float]] = defaultdict(list)
    for figures in runs:
        for name, value in figures.items():
            values[name].append(value)
    return {name: statistics.median(found) for name, found in values.items()}


def spreads(runs: Iterable[Figures]) -> Figures:
    """Return the spread of each figure: (largest - smallest) / median; 0 for one run."""
    values: dict[str, list[float]] = defaultdict(list)
    for figures in runs:
        for name, value in figures.items():
            values[name].append(value)
    return {
        name: (max(found) - min(found)) / abs(statistics.median(found)) if statistics.median(found) else 0.0
        for name, found in values.items()
    }
