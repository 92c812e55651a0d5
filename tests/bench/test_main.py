"""The command line says what is wrong with it, and one benchmark waits for another."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from bench.__main__ import alone, main, parser, peers_of
from bench.peers import PEERS


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


def test_two_benchmarks_do_not_measure_each_other(tmp_path: Path) -> None:
    file = tmp_path / "build" / "lock"
    with alone(file), file.open("wb") as second, pytest.raises(BlockingIOError):
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with file.open("wb") as third:
        fcntl.flock(third, fcntl.LOCK_EX | fcntl.LOCK_NB)
