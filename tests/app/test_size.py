"""``size``: computes from measured figures, with limits that fit each other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway
from docs._generate import sizing
from gateway.app.cli import doctor, main
from gateway.app.cli.doctor import Wanted
from gateway.app.config.settings import LimitsSection
from gateway.app.drain import drain_limit_s
from gateway.app.process import files_needed

MEASURED = (Path(gateway.__file__).parents[1] / "docs" / "benchmarks.md").read_text("utf-8")


def cell(row: str, column: int) -> float:
    """Return a figure of the benchmarks' tables: the row begins with *row*."""
    found = re.search(rf"(?m)^\| {re.escape(row)} \|(.*)$", MEASURED)
    assert found is not None, row
    return float(re.sub(r"[^0-9.]", "", found[1].split("|")[column]))


@pytest.mark.parametrize(
    ("constant", "measured"),
    [
        (doctor.PHONE_KB, lambda: cell("memory per idle phone, 10,000 phones", 1)),
        (doctor.PHONE_TLS_KB, lambda: cell("memory per idle phone over TLS, 10,000 phones", 1)),
        (doctor.FRESH_MB, lambda: cell("10,000 phones, TLS | gateway", 2)),
        (doctor.USER_KB, lambda: (cell("5,000 users, 20,000/s | gateway", 8) - doctor.FRESH_MB) / 5),
        (
            doctor.WATCHED_UPDATE_S * 1e6,
            lambda: cell("300 supervisors, 1,500 agents, 100 queues, 52,500/s | gateway", 3),
        ),
        (doctor.OWN_UPDATE_S * 1e6, lambda: cell("1,000 users, 1 element an event | gateway", 2)),
    ],
)
def test_its_constants_are_those_of_the_benchmarks(constant: float, measured: object) -> None:
    assert callable(measured)
    # figures vary from run to run; by more than a quarter the page no longer says what is computed
    assert constant == pytest.approx(measured(), rel=0.25)


def test_the_largest_site_takes_the_core_that_it_was_measured_to_take() -> None:
    found = doctor.size(Wanted(phones=300, users=300, dashboards=300))
    assert found.cores == pytest.approx(cell("largest site: of one core", 1) / 100, rel=0.1)
    assert found.nodes == 2


@given(st.integers(1, 1_000_000), st.floats(0.01, 1), st.floats(0, 1), st.booleans(), st.floats(1, 10_000))
def test_its_limits_fit_each_other(
    phones: int, user_share: float, dashboard_share: float, tls: bool, pace: float
) -> None:
    users = max(1, int(phones * user_share))
    wanted = Wanted(phones, users, int(users * dashboard_share), tls, pace)
    found = doctor.size(wanted)
    staying = found.nodes - 1
    assert staying >= 1
    # everything is carried while one node is missing
    assert found.phones * staying >= phones
    assert found.users * staying >= users
    assert found.cores <= doctor.CPU_SHARE + 0.01
    assert found.phones <= doctor.PHONES_MAX
    assert found.connections >= found.phones
    assert found.files >= files_needed(found.connections) > 2 * found.connections
    assert found.memory_limit_mb * doctor.MEMORY_SHARE >= found.memory_mb - 1
    # users per node ≤ log_ons_per_s × drain_s × (nodes − 1) / nodes, also of the last node that is restarted
    assert doctor.DRAIN_SPARE * users / staying <= pace * found.drain_s * staying / found.nodes * 1.001
    limits = LimitsSection(connections=found.connections, drain_s=found.drain_s, log_ons_per_s=pace)
    assert limits.connections == found.connections


def test_the_page_is_fresh() -> None:
    assert sizing.PAGE.read_text("utf-8") == sizing.fresh(), "write it again: make diagrams"


def test_the_page_names_the_figures_that_are_computed_with() -> None:
    page = sizing.PAGE.read_text("utf-8")
    for row, value in (
        ("a node without phones", doctor.FRESH_MB),
        ("a phone, idle, in clear text", doctor.PHONE_KB),
        ("a phone, idle, over TLS on the node", doctor.PHONE_TLS_KB),
        ("a user with a link", doctor.USER_KB),
        ("an update to a Dashboard", doctor.WATCHED_UPDATE_S * 1e6),
        ("an update over a user's own link", doctor.OWN_UPDATE_S * 1e6),
    ):
        found = re.search(rf"(?m)^\| {re.escape(row)} \| ([0-9.]+)", page)
        assert found is not None, row
        assert float(found[1]) == pytest.approx(value, rel=0.01), row


# ---- the command ----


def test_it_has_nodes_and_limits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["size", "--phones", "50000"]) == 0
    received = capsys.readouterr().out
    assert received.startswith(
        "50,000 phones of 50,000 users, 5,000 of them Dashboards; clear text behind a proxy"
    )
    assert re.search(r"limits\.connections +\d+\n", received)
    assert "advice: one Redis was measured with 7,000 renewals a second" in received
    assert main(["size", "--phones", "100", "--users", "50", "--tls", "--log-ons-per-s", "10000"]) == 0
    received = capsys.readouterr().out
    assert "TLS on the nodes" in received
    assert "advice" not in received


def test_times_are_those_that_an_operator_sets_and_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["size", "--phones", "50000"]) == 0
    shown = capsys.readouterr().out
    drain_s = re.search(r"limits.drain_s +(\d+)", shown)
    stop_s = re.search(r"stop timeout +(\d+) s", shown)
    assert drain_s is not None
    assert stop_s is not None
    assert int(stop_s[1]) == drain_limit_s(LimitsSection(drain_s=float(drain_s[1]))) == 360
    assert "after about 83 minutes" in shown


def test_machines_get_json(capsys: pytest.CaptureFixture[str]) -> None:
    for words, wanted in (([], Wanted(1000, 1000, 100)), (["--dashboards", "0"], Wanted(1000, 1000, 0))):
        assert main(["size", "--phones", "1000", *words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == doctor.size(wanted)._asdict()
