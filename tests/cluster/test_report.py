"""The chaos report shows what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.figures import FOLDER, Figures, kept
from tests.cluster.report import COLUMNS, page


def test_figures_are_kept_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    roaming = Figures(
        "roaming", 1, size="full", phones=60, converge_s=1.25, lost=0, links_max=1, log_on_rate_max=12.4
    )
    roaming.log_on_budget, roaming.notes = 20, {"roamed": 120}
    roaming.canaries = {"monitor": 1_000_000, "log node1.log": 10, "log node2.log": 20}
    roaming.keep()
    Figures("numbers & phones", 7, notes={"way, s": 2.5}).keep()
    assert [each.fault for each in kept(tmp_path)] == ["roaming", "numbers & phones"]
    text = page(kept(tmp_path))
    cells = [
        "1",
        "roaming",
        "full",
        "60",
        "1.2",
        "–",
        "–",
        "0",
        "0",
        "0",
        "1",
        "0.0",
        "0",
        "0",
        "12 of 20",
        "0",
    ]
    assert len(cells) == len(COLUMNS)
    assert f"| {' | '.join(cells)} |" in text
    assert "- roaming: roamed 120" in text
    assert "- numbers & phones: way, s 2.5" in text
    assert "| numbers & phones |" not in text, "where there was no phone there is nothing for the table"
    assert "- monitor: 1,000,000 bytes\n" in text
    assert "- logs: 30 bytes\n" in text
