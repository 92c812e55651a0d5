"""A load generator's answer becomes figures; records survive their file."""

from __future__ import annotations

import json

import pytest

from bench.work import Record, Work, figures_of


def answer(delivered: int, published: int) -> dict[str, object]:
    """Return what a generator tells of 5 s."""
    return {
        "opened": 100,
        "closed": 0,
        "connect_s": 0.5,
        "secs": 5.0,
        "deliv": delivered,
        "deliv_s": delivered / 5,
        "deliv_total": delivered,
        "frames_s": 100.0,
        "MB_s": 0.6,
        "lat_us": {"p50": 1_000.0, "p99": 5_000.0, "p999": 9_000.0},
        "pub": {"total": published},
        "ready": {"all_s": 0.7},
        "srv": {"cpu_s": 2.5, "us_per_deliv": 250.0, "rss_idle_mb": 100.0, "rss_end_mb": 110.0},
    }


def test_units_are_those_of_the_names() -> None:
    figures = figures_of(answer(10_000, 100), Work(100, per_s=20))
    assert figures["p99_ms"] == 5.0
    assert figures["cpu_share_pct"] == 50.0
    assert figures["wire_bytes"] == pytest.approx(300)


def test_what_did_not_come_is_seen() -> None:
    assert figures_of(answer(9_000, 100), Work(100, per_s=20))["share_pct"] == pytest.approx(90)


def test_stalled_phones_are_not_waited_for() -> None:
    assert figures_of(answer(9_000, 100), Work(100, per_s=20, stalled=10))["share_pct"] == pytest.approx(100)


def test_each_topic_has_its_part_of_the_phones() -> None:
    assert figures_of(answer(1_000, 100), Work(100, topics=10, per_s=20))["share_pct"] == pytest.approx(100)


def test_who_hears_nothing_has_no_delay() -> None:
    figures = figures_of(answer(0, 0), Work(100))
    assert "p99_ms" not in figures
    assert "cpu_us" not in figures
    assert figures["rss_idle_mb"] == 100.0


def test_records_survive_their_file() -> None:
    record = Record("idle", "10 phones", "gateway", 2, {"phone_kb": 1.5}, "")
    assert Record.read(json.loads(json.dumps(record.as_json()))) == record


def test_works_share_a_life_that_differ_in_what_is_asked() -> None:
    first = Work(100, users=5, per_s=20)
    assert first.life == Work(200, users=5, window=16, size=40, duration_s=1, warmup_s=0).life
    assert first.life != Work(100, users=6, per_s=20).life
    assert first.life != Work(100, users=5, per_s=20, tls=True).life
    assert [Work(1).publishes, first.publishes, Work(1, share=0.5).publishes] == [False, True, True]
