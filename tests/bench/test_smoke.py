"""A short run of fan-out, end to end: a node, the OSCC-E Server, both load generators; no process is left."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from bench.contenders import Gateway
from bench.load.generator import Generator
from bench.stage import Stage
from bench.work import Work

WORK = Work(20, per_s=20, duration_s=0.5, warmup_s=0.2, settle_s=0.1)
WORKS = (WORK, replace(WORK, per_s=None, window=2), replace(WORK, phones=30, per_s=None, share=0.5))


@pytest.mark.scenario
@pytest.mark.takes(30)
async def test_every_update_reaches_every_phone(tmp_path: Path) -> None:
    stage = await Stage.make(tmp_path)
    for made in (stage, replace(stage, generator=Generator(None))):
        outcomes = await Gateway("gateway").play(made, WORKS)
        for figures, work in zip(outcomes, WORKS, strict=True):
            assert isinstance(figures, dict), figures
            assert figures["phones"] == work.phones
            assert figures["closed"] == 0
            assert work.window or figures["share_pct"] == pytest.approx(100)
            assert figures["cpu_us"] > 0
            assert figures["loop_lag_p99_ms"] >= 0
            assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["p999_ms"] < 1_000
    assert processes_with(str(tmp_path)) == []


def processes_with(text: str) -> list[bytes]:
    """Return the command lines of processes that hold *text*."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it may end while we look
            found.append(each.read_bytes())
    return [line for line in found if text.encode() in line]
