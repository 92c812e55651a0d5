"""The command line says what is wrong with it, and one benchmark waits for another."""

from __future__ import annotations

import argparse
import fcntl
from pathlib import Path

import pytest

import bench.__main__ as command
from bench.__main__ import alone, keys, main, missing, not_idle, parser, peers_of, planned
from bench.case import Scale
from bench.contenders import Other
from bench.kept import Kept
from bench.peers import PEERS
from bench.work import Record


def test_what_there_is_not_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dancing"]) == 2
    assert main(["idle", "--peers", "nobody"]) == 2
    assert capsys.readouterr().err.splitlines() == ["there is no dancing", "there is no nobody"]


def test_peers_are_all_none_or_some() -> None:
    assert peers_of(None) == list(PEERS)
    assert peers_of("none") == []
    assert peers_of("nats,floor") == ["nats", "floor"]


def test_without_words_everything_is_measured_three_times() -> None:
    args = parser().parse_args([])
    assert (args.scenarios, args.quick, args.runs, args.peers, args.case) == ([], False, None, None, "")
    assert args.resume is False


def test_what_is_asked_for_is_planned_and_nothing_else() -> None:
    plan = planned(["idle"], Scale(19_500), "TLS")
    assert [case.name for sitting in plan for case in sitting.cases] == [
        "10,000 phones, TLS",
        "19,500 phones, TLS",
    ]
    assert keys(plan, [Other(PEERS["nats"])]) == {
        ("idle", "10,000 phones, TLS", "gateway"),
        ("idle", "19,500 phones, TLS", "gateway"),
    }
    everything = keys(planned(["idle"], Scale(19_500), ""), [Other(PEERS["nats"])])
    assert ("idle", "10,000 phones", "nats") in everything
    assert ("idle", "19,500 phones", "nats") not in everything


def test_what_is_there_is_not_planned_again(tmp_path: Path) -> None:
    plan = planned(["commands", "storm"], Scale(19_500), "")
    kept = Kept(tmp_path, {})
    for case in plan[0].cases:
        kept.add(Record("commands", case.name, "gateway", 0, {"per_s": 1.0}))
    assert [sitting.scenario for sitting in missing(plan, kept, [], 1)] == ["storm"]
    assert missing(plan, kept, [], 2) == plan


def test_two_benchmarks_do_not_measure_each_other(tmp_path: Path) -> None:
    file = tmp_path / "build" / "lock"
    with alone(file), file.open("wb") as second, pytest.raises(BlockingIOError):
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with file.open("wb") as third:
        fcntl.flock(third, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_interrupted_benchmark_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def interrupted(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measure", interrupted)
    monkeypatch.setattr(command, "BUILD", tmp_path)
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None)
    assert main([]) == command.INTERRUPTED
    assert "--resume" in capsys.readouterr().err


def test_a_machine_that_others_use_is_said() -> None:
    assert not_idle(0.5) is None
    assert "not idle (load 9.0)" in str(not_idle(9.0))
