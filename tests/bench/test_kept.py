"""Results are in their file as soon as they come, and what is missing is known."""

from __future__ import annotations

from pathlib import Path

from bench.kept import BEFORE, Kept, kept, key_of
from bench.work import Record


def record(contender: str, run: int = 0, trouble: str = "") -> Record:
    """Return a run."""
    return Record("idle", "10 phones", contender, run, {} if trouble else {"phone_kb": 1.0}, trouble)


def test_of_nothing_nothing_was_kept(tmp_path: Path) -> None:
    assert list(kept(tmp_path)) == []


def test_a_result_is_kept_at_once(tmp_path: Path) -> None:
    results = Kept(tmp_path, {"cores": 2})
    results.add(record("a"))
    assert list(kept(tmp_path)) == [record("a")]
    assert results.has(key_of(record("a")), 0)
    assert not results.has(key_of(record("a")), 1)
    assert not results.has(key_of(record("b")), 0)


def test_what_is_measured_anew_replaces_only_its_like_and_is_kept_aside(tmp_path: Path) -> None:
    old = [record(name, run) for name in "ab" for run in (0, 1)]
    results = Kept(tmp_path, {})
    for each in old:
        results.add(each)
    results = Kept(tmp_path, {})
    results.renew({key_of(record("a"))})
    assert list(kept(tmp_path)) == old[2:]
    assert len((tmp_path / BEFORE).read_text("utf-8").splitlines()) == 4


def test_who_goes_on_measures_what_failed_and_what_never_was(tmp_path: Path) -> None:
    results = Kept(tmp_path, {})
    for each in (record("a"), record("a", 1, "it ended"), record("b", 0, "it ended")):
        results.add(each)
    results = Kept(tmp_path, {})
    results.retry({key_of(record("a"))})
    assert results.has(key_of(record("a")), 0)
    assert not results.has(key_of(record("a")), 1)
    # nobody asked for this one
    assert results.has(key_of(record("b")), 0)
