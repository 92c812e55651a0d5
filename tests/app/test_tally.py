"""Each event between nodes moves its metric, and no other."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator

import pytest

from gateway.app.keys import SecretKey
from gateway.app.logging import configure
from gateway.app.metrics import CountingTally
from gateway.core.rate_limits import Urgency
from gateway.domain.commands import Dropped
from gateway.domain.errors import EndReason
from gateway.domain.upstream import LinkReplaced
from gateway.runtime.ports import Tally
from gateway.telemetry import Telemetry

HAPPENED: dict[str, tuple[Callable[[Tally], None], dict[str, float]]] = {
    "took over: planned": (lambda t: t.took_over("planned"), {"takeovers_total planned": 1}),
    "took over: early": (
        lambda t: t.took_over("early"),
        {"takeovers_total early": 1, "ownership_moves_total deaf": 1},
    ),
    "took over: expired": (
        lambda t: t.took_over("expired"),
        {"takeovers_total expired": 1, "ownership_moves_total expired": 1},
    ),
    "took over: assumed": (
        lambda t: t.took_over("assumed"),
        {"takeovers_total assumed": 1, "ownership_moves_total island": 1},
    ),
    "saw again": (
        lambda t: t.saw_again(2.0),
        {"takeover_blind_seconds_count": 1, "takeover_blind_seconds_sum": 2.0},
    ),
    "gave": (lambda t: t.gave("drain"), {"ownership_moves_total drain": 1}),
    "fenced itself": (lambda t: t.fenced_itself(), {"self_fences_total": 1}),
    "saw two owners": (lambda t: t.saw_two_owners(), {"dual_owner_observed_total": 1}),
    "dropped stale epoch": (lambda t: t.dropped_stale_epoch(), {"stale_epoch_dropped_total": 1}),
    "found gap": (lambda t: t.found_gap("probe"), {"bus_gaps_total probe": 1}),
    "resynced": (lambda t: t.resynced("bus"), {"resyncs_total bus": 1}),
    "probed": (lambda t: t.probed(0.5), {"bus_probe_seconds_count": 1, "bus_probe_seconds_sum": 0.5}),
    "published": (lambda t: t.published(), {"bus_publish_total": 1}),
    "came": (
        lambda t: t.came(LinkReplaced(2)),
        {"upstream_events_total link_replaced": 1, "link_replaced_total": 1},
    ),
    "left out": (lambda t: t.left_out("main", (Dropped("Queue", "Key missing", 2),)), {}),
    "read": (
        lambda t: t.read(0.5),
        {"event_latency_seconds_count upstream": 1, "event_latency_seconds_sum upstream": 0.5},
    ),
    "arrived": (
        lambda t: t.arrived(0.5),
        {"event_latency_seconds_count bus": 1, "event_latency_seconds_sum bus": 0.5},
    ),
    "attached": (lambda t: t.attached(2), {"devices_per_user_count": 1, "devices_per_user_sum": 2}),
    "session ended": (lambda t: t.session_ended(EndReason.EXPIRED), {"session_ends_total expired": 1}),
    "faulted": (lambda t: t.faulted("fleet"), {"faults_total fleet": 1}),
    "waited": (
        lambda t: t.waited(Urgency.ROAMING, 3.0),
        {"budget_wait_seconds_count roaming": 1, "budget_wait_seconds_sum roaming": 3.0},
    ),
}


def _values(telemetry: Telemetry) -> Iterator[tuple[str, float]]:
    for family in telemetry.registry.collect():
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                name = sample.name.removeprefix("oscc_gateway_")
                yield " ".join([name, *sample.labels.values()]), sample.value


@pytest.mark.parametrize("happened", HAPPENED)
def test_what_happened_moves_its_metric_and_no_other(happened: str) -> None:
    act, moved = HAPPENED[happened]
    telemetry = Telemetry()
    before = dict(_values(telemetry))
    act(CountingTally(telemetry))
    after = {
        name: value
        for name, value in _values(telemetry)
        if not math.isnan(value) and value != before.get(name, 0)
    }
    assert after == moved


def test_every_report_of_the_runtime_is_counted() -> None:
    received = {name for name in vars(Tally) if not name.startswith("_")}
    assert received <= vars(CountingTally).keys()
    assert {happened.partition(":")[0].replace(" ", "_") for happened in HAPPENED} == received


def test_rows_that_cannot_be_read_are_warned_of_once(own_logging: None) -> None:
    written, tally = io.StringIO(), CountingTally(Telemetry())
    configure("warning", SecretKey(bytes(32)), written)
    for rows in (0, 2, 2, 1, 3):
        found = (Dropped("Queue", "Key missing", rows), Dropped("Skill", "Key wrong_type", 1)) if rows else ()
        tally.left_out("main", found)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert {(line["event"], line["site"]) for line in lines} == {("directory_rows_unreadable", "main")}
    assert [(line["kind"], line["dropped"], line["why"]) for line in lines] == [
        ("Queue", 2, "Key missing"),
        ("Skill", 1, "Key wrong_type"),
        ("Queue", 3, "Key missing"),
    ]
