"""Commands' times become figures, and the command line is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.load.commander import Counts, Wish, answer


def test_the_command_line_is_read() -> None:
    wish = Wish.read(["8080", "hellos", "50", "10000000", "10", "1000", "4", "6", "77"])
    assert wish == Wish(8080, Path("hellos"), 50, 10_000_000, 10, 1_000.0, 4, 6.0, 77)


def test_only_what_is_measured_counts() -> None:
    counts = Counts()
    counts.take(9.0, {"status": "applied"})
    counts.measuring = True
    for took_s in (0.001, 0.002, 0.003):
        counts.take(took_s, {"status": "applied"})
    counts.take(0.004, {"status": "rejected"})
    told = answer(counts, 2.0)
    assert (told["done"], told["per_s"]) == (4, 2.0)
    assert told["p50_ms"] == pytest.approx(3.0)
    assert told["p999_ms"] == pytest.approx(4.0)
    assert told["statuses"] == {"applied": 3, "rejected": 1}
