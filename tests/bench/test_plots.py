"""Pictures show what was measured, in order."""

from __future__ import annotations

from bench.plots import bar_values, growth
from bench.results import Results
from bench.work import Record


def test_bars_are_those_of_the_case_and_in_order() -> None:
    results = Results(
        [
            Record("idle", "10,000 phones, TLS", "gateway", 0, {"phone_kb": 40.0}),
            Record("idle", "10,000 phones", "nats", 0, {"phone_kb": 24.0}),
            Record("idle", "10,000 phones", "gateway", 0, {"phone_kb": 2.5}),
            Record("idle", "10,000 phones", "ws", 0, trouble="cannot be had"),
        ]
    )
    assert bar_values(results, "idle", "10,000 phones", "phone_kb") == [("gateway", 2.5), ("nats", 24.0)]
    assert bar_values(results, "idle", "5 phones", "phone_kb") == []


def test_growth_is_by_phones_or_by_resources() -> None:
    results = Results(
        [
            Record("growth", "1,000 phones", "gateway", 0, {"cpu_us": 4.0}),
            Record("growth", "19,500 phones", "gateway", 0, {"cpu_us": 6.0}),
            Record("growth", "10 resources", "gateway", 0, {"cpu_us": 3.0}),
        ]
    )
    assert growth(results, "phones") == {"gateway": [(1_000.0, 4.0), (19_500.0, 6.0)]}
    assert growth(results, "resources") == {"gateway": [(10.0, 3.0)]}
