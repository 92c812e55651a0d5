"""Counters that alerts use are 0 at the start."""

from __future__ import annotations

import re
from itertools import product

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from docs._generate.metrics import VALUES
from gateway.app.metrics import CountedAuthority, create_startup_series
from gateway.app.status import SiteReach
from gateway.telemetry import CHILDREN_MAX, PREFIX, Telemetry
from tests.deploy.expressions import RULES
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream

Labels = frozenset[tuple[str, str]]
_COUNTER = re.compile(rf"({PREFIX}_[a-z_]+_total)(?:\{{([^}}]*)\}})?")
_MATCHER = re.compile(r'(\w+)=~?"([^"]*)"')


def begun() -> Telemetry:
    """Return the metrics of a node with one site at its start."""
    telemetry = Telemetry()
    create_startup_series(telemetry)
    CountedAuthority(FakeUpstream(ManualClock()), "main", telemetry, SiteReach())
    return telemetry


def counters(telemetry: Telemetry) -> dict[str, dict[Labels, float]]:
    """Return name → labels → value, without what the process itself has used."""
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(telemetry.render().decode()):
        for sample in family.samples if not family.name.startswith("process_") else ():
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def asked() -> set[tuple[str, Labels]]:
    """Return each counter of the rules, with each set of the values that it is asked for."""
    text = " ".join(
        rule["expr"]
        for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    )
    return {
        (name, frozenset(labels))
        for name, matchers in _COUNTER.findall(text)
        for labels in product(
            *([(label, value) for value in values.split("|")] for label, values in _MATCHER.findall(matchers))
        )
    }


def missing(telemetry: Telemetry) -> set[tuple[str, Labels]]:
    """Return what is asked for and not there."""
    there = counters(telemetry)
    return {
        (name, labels) for name, labels in asked() if not any(labels <= one for one in there.get(name, {}))
    }


def test_whatever_the_rules_ask_for_is_there() -> None:
    assert len(asked()) > 10
    assert missing(begun()) == set()


def test_what_is_not_there_would_be_found() -> None:
    names = {name for name, _ in missing(Telemetry())}
    assert f"{PREFIX}_commands_total" in names
    assert f"{PREFIX}_self_fences_total" not in names


def test_nothing_has_happened() -> None:
    ends = ("_total", "_count")
    counts = {name: values for name, values in counters(begun()).items() if name.endswith(ends)}
    assert {value for values in counts.values() for value in values.values()} == {0}


def test_what_is_rare_is_not_lost_for_being_the_first_of_its_kind() -> None:
    there = counters(begun())
    for name, label in (("command_seconds", "kind"), ("budget_wait_seconds", "class")):
        every = {frozenset({(label, value)}) for value in VALUES[f"{name}.{label}"]}
        assert there[f"{PREFIX}_{name}_count"].keys() == every


@pytest.mark.parametrize("name", ["commands", "takeovers", "ownership_moves", "bus_gaps", "link_opens"])
def test_all_values_of_small_sets_are_there_and_no_other(name: str) -> None:
    labels = {
        place.partition(".")[2]: values for place, values in VALUES.items() if place.startswith(f"{name}.")
    }
    every = {frozenset(zip(labels, map(str, one), strict=True)) for one in product(*labels.values())}
    assert counters(begun())[f"{PREFIX}_{name}_total"].keys() == every
    assert len(every) < CHILDREN_MAX
