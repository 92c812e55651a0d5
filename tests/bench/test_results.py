"""Results are the medians of the runs that went well, found by scenario, case and contender."""

from __future__ import annotations

from bench.results import Results
from bench.work import Record


def record(
    run: int, cpu_us: float | None, contender: str = "gateway", case: str = "10 phones, 5/s"
) -> Record:
    """Return a run; one without a figure went wrong."""
    if cpu_us is None:
        return Record("fan-out", case, contender, run, trouble="it ended")
    return Record("fan-out", case, contender, run, {"cpu_us": cpu_us})


def test_a_run_that_went_wrong_spoils_no_median() -> None:
    results = Results([record(0, 4.0), record(1, None), record(2, 8.0)])
    assert results.figure("fan-out", "10 phones", "gateway", "cpu_us") == 6.0
    (line,) = results.lines("fan-out", "10 phones, 5/s")
    assert (line.runs, line.trouble) == (2, "it ended")


def test_what_was_not_measured_is_none() -> None:
    results = Results([record(0, None)])
    assert results.figure("fan-out", "10 phones", "gateway", "cpu_us") is None
    assert results.figure("fan-out", "10 phones", "nats", "cpu_us") is None
    assert results.figure("idle", "10 phones", "gateway", "cpu_us") is None
    assert results.cases("idle") == []


def test_the_case_of_a_name_is_found_whatever_was_measured_before_it() -> None:
    results = Results([record(0, 9.0, case="10 phones, TLS"), record(0, 4.0, case="10 phones")])
    assert results.figure("fan-out", "10 phones", "gateway", "cpu_us") == 4.0
    assert results.figure("fan-out", "10 ph", "gateway", "cpu_us") == 9.0


def test_cases_keep_their_order_and_runs_are_counted() -> None:
    results = Results([record(0, 1.0, case="b"), record(1, 1.0, case="b"), record(0, 1.0, case="a")])
    assert results.cases("fan-out") == ["b", "a"]
    assert results.runs() == 2
    assert Results([]).runs() == 0
