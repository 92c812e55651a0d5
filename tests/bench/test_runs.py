"""Contenders take turns, results are kept until the same is measured again, and trouble is told."""

from __future__ import annotations

from pathlib import Path

from bench.case import BOTH_PACES, Case
from bench.contenders import Other
from bench.peer import Peer
from bench.runs import add, contenders, kept, line
from bench.work import Record, Work

PEER = Peer("peer", "somebody's", lambda _: True, lambda _, __: (), "/", (), ())


def test_peers_take_part_where_they_are_asked() -> None:
    peers = [Other(PEER)]
    alone = Case("10 phones", Work(10), BOTH_PACES)
    assert [each.name for each in contenders(alone, peers)] == ["gateway, pace 0", "gateway"]
    together = Case("10 phones", Work(10), BOTH_PACES, with_peers=True)
    assert [each.name for each in contenders(together, peers)] == ["gateway, pace 0", "gateway", "peer"]


def test_new_results_replace_those_of_the_same_case_and_contender(tmp_path: Path) -> None:
    old = [Record("idle", "10 phones", name, run, {"phone_kb": 1.0}) for name in "ab" for run in (0, 1)]
    add(tmp_path, old, {})
    new = Record("idle", "10 phones", "a", 0, {"phone_kb": 2.0})
    add(tmp_path, [new], {})
    assert list(kept(tmp_path)) == [*old[2:], new]


def test_of_nothing_nothing_was_kept(tmp_path: Path) -> None:
    assert list(kept(tmp_path)) == []


def test_a_line_tells_figures_or_trouble() -> None:
    assert line(Record("idle", "10 phones", "gateway", 0, {"phone_kb": 2.5})).endswith("#1  phone_kb=2.50")
    assert line(Record("idle", "10 phones", "gateway", 1, trouble="it ended\nat once")).endswith(
        "#2  it ended"
    )
