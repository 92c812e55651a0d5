"""Tables show what was measured, say what was not, and put ratios side by side."""

from __future__ import annotations

from bench import tables
from bench.contenders import PACED, UNPACED
from bench.results import Results
from bench.scenarios import SCENARIOS
from bench.work import Record

CASE = "1,000 phones, 50,000/s"


def fan_out() -> Results:
    """Return a case with three contenders, of whom one failed."""
    return Results(
        [
            Record("fan-out", CASE, UNPACED, 0, {"cpu_us": 4.0, "p99_ms": 1.25}),
            Record("fan-out", CASE, "nats", 0, {"cpu_us": 12.0, "p99_ms": 19.0}),
            Record("fan-out", CASE, PACED, 0, trouble="it ended"),
        ]
    )


def test_a_table_of_contenders_holds_their_ratio() -> None:
    text = tables.scenario(fan_out(), "fan-out")
    assert f"**{CASE}**" in text
    assert "| nats | 12.0 | 19.0 | 3.00 × |" in text
    assert "| gateway | not measured |  | – |" in text


def test_a_scenario_without_peers_is_one_table() -> None:
    records = [Record("storm", name, PACED, 0, {"all_ready_s": 3.25}) for name in ("afresh", "resumed")]
    text = tables.scenario(Results(records), "storm")
    assert text.splitlines()[0] == "| case | server | all after s |"
    assert "| resumed | gateway | 3.2 |" in text


def test_what_was_not_measured_is_said() -> None:
    assert tables.scenario(Results([]), "storm") == "_Not measured yet._"
    assert tables.machine({}, 0) == "_Not measured yet._"
    assert tables.number(None) == tables.NOT_MEASURED


def test_every_scenario_has_its_columns() -> None:
    assert set(tables.COLUMNS) == set(SCENARIOS)


def test_goals_say_whether_they_are_reached() -> None:
    text = tables.goals(fan_out())
    assert "| bytes on the wire per update at 50,000/s, 1,000 phones |  | – | not measured |" in text
    assert "| CPU per update at 50,000/s, 1,000 phones | ≤ 4.8 µs | 4.00 µs | reached |" in text
    assert "| memory per idle phone, 10,000 phones | ≤ 3 KB | – | not measured |" in text
    worse = Results([Record("fan-out", CASE, UNPACED, 0, {"cpu_us": 4.9})])
    assert "| 4.90 µs | **not reached** |" in tables.goals(worse)


def test_everybody_stands_in_one_table() -> None:
    records = [
        Record("fan-out", CASE, "nats", 0, {"cpu_us": 12.0, "p50_ms": 3.0, "p99_ms": 19.0}),
        Record("fan-out", "10,000 phones, 16 under way", "nats", 0, {"delivered_per_s": 138_000.0}),
        Record("idle", "10,000 phones", PACED, 0, {"phone_kb": 2.5}),
    ]
    lines = tables.others(Results(records)).splitlines()
    assert "| nats | 12.0 / – | 3.0 / – | 19.0 / – | – / 138 | – | – |" in lines
    assert all(line.endswith("| – | 2.5 |") for line in lines if line.startswith("| gateway"))
