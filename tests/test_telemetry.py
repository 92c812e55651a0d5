"""Metrics are named, labelled and bounded as documented."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import gateway
from docs._generate.metrics import VALUES
from gateway.app.config.settings import Settings
from gateway.domain.resources import Functions
from gateway.telemetry import CHILDREN_MAX, FRESH_MAX, LATENCY_BUCKETS_S, SITE_CHILDREN_MAX, Telemetry

HERE = Path(gateway.__file__).parent
PAGE = (HERE.parent / "docs" / "operations.md").read_text("utf-8")
ROW = re.compile(r"\| `([a-z_]+)(?:\{([a-z_,]+)\})?` \| (.+) \|")
ASKED = [
    "connections{application,platform,codec}", "users", "handshakes_total{result}", "handshake_seconds",
    "closes_total{initiator,code}", "connection_age_seconds", "resumes_total{result}", "devices_per_user",
    "event_latency_seconds{hop}", "state_age_seconds", "frames_total", "frame_bytes_total",
    "updates_total", "conflated_total", "pace_level", "slow_closes_total", "dirty_keys",
    "ping_rtt_seconds", "commands_total{kind,status}", "command_seconds{kind}", "commands_in_flight",
    "links{state}", "link_opens_total{result}", "link_replaced_total",
    "log_ons_total{application,result}", "log_on_seconds", "upstream_events_total{type}",
    "upstream_silence_seconds", "site_function_up{site,function}", "leases_held", "lease_renew_seconds",
    "lease_margin_seconds", "self_fences_total", "takeovers_total{kind}", "takeover_blind_seconds",
    "stale_epoch_dropped_total", "dual_owner_observed_total", "bus_state", "bus_probe_seconds",
    "bus_gaps_total{detector}", "bus_unopened_total{reason}", "resyncs_total{reason}",
    "bus_publish_total", "sessions_attached{application}", "session_ends_total{reason}",
    "log_offs_pending", "link_refused_total{reason}", "ownership_moves_total{reason}",
    "owners_without_local_device", "budget_wait_seconds{class}", "clock_offset_seconds", "pool_hit_ratio",
    "unhelloed_connections", "late_elements_total", "loop_lag_seconds", "tasks", "registry_size{name}",
    "rss_bytes", "fds{kind}", "drain_state", "certificate_expiry_timestamp_seconds",
    "build_info{version,revision,loop,python}",
]  # fmt: skip
"""What the page of operations of the design lists."""
NAME = re.compile(r"`([a-z_]+)(?:\{([a-z_,]+)\})?`")


FED_THROUGH = dict.fromkeys(("state_age_seconds", "updates"), "update_times")
"""Metrics that are fed together with others, and the attribute that feeds them."""


def _section(title: str) -> str:
    """Return the text of the page's section below *title*."""
    found = re.search(rf"^#+ {title}$(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def _there() -> dict[str, tuple[str, str]]:
    """Name without prefix → labels and meaning, of every metric that there is."""
    telemetry, found = Telemetry(), {}
    for family in telemetry.registry.collect():
        name = family.name.removeprefix("oscc_gateway_")
        total = "_total" if family.type == "counter" else ""
        found[name + total] = (",".join(telemetry.labels[name]), family.documentation)
    return found


def _attributes() -> list[str]:
    """The names by which metrics are fed."""
    made = vars(Telemetry())
    return [name for name in made if name not in {"registry", "labels", "trace_id", "update_times"}]


def test_the_page_names_no_metric_that_is_not_there() -> None:
    there = {name: labels for name, (labels, _) in _there().items()}
    health = _section("Health")
    asked = re.findall(r"^\| [^|`]+\? \| (.+) \|$", health, re.MULTILINE)
    first = NAME.findall(health.partition("What to look at first")[2])
    named = [*first, *(each for cell in asked for each in NAME.findall(cell))]
    assert (len(first) > 10, len(named) - len(first) > 5) == (True, True)
    assert [(name, labels) for name, labels in named if there.get(name) != labels] == []


def test_every_metric_that_the_design_asks_for_is_there() -> None:
    there = {f"{name}{{{labels}}}" if labels else name for name, (labels, _) in _there().items()}
    assert set(ASKED) - there == set()


def test_the_page_says_of_the_metrics_of_a_cluster_when_to_worry() -> None:
    there = {name: labels for name, (labels, _) in _there().items()}
    received = {name: labels for name, labels, _ in ROW.findall(_section("The nodes together"))}
    assert [(name, labels) for name, labels in received.items() if there.get(name) != labels] == []
    of_clusters = re.compile(
        "bus_|lease|takeover|owner|resyncs|self_fences|stale_epoch|registry_size|clock_offset"
    )
    assert {name for name in there if of_clusters.match(name)} <= received.keys()


def test_the_page_says_what_each_size_is_of() -> None:
    of_what = re.findall(r"^\| `([a-z_]+)` \| .", _section("Stored items"), re.MULTILINE)
    assert sorted(of_what) == sorted(VALUES["registry_size.name"])


@pytest.mark.parametrize("name", _attributes())
def test_every_metric_is_fed(name: str) -> None:
    fed = re.compile(rf"telemetry\.{FED_THROUGH.get(name, name)}\b")
    assert any(fed.search(path.read_text("utf-8")) for path in HERE.rglob("*.py"))


def test_what_is_rendered_can_be_read_by_prometheus() -> None:
    telemetry = Telemetry()
    telemetry.frames.inc(3)
    telemetry.closes["gateway", "4108"].inc()
    telemetry.links["live"].set(2)
    telemetry.command_seconds["routing_state.set"].observe(0.2)
    families = {family.name: family for family in text_string_to_metric_families(telemetry.render().decode())}
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["oscc_gateway_frames_total",] == 3
    assert samples["oscc_gateway_closes_total", ("code", "4108"), ("initiator", "gateway")] == 1
    assert samples["oscc_gateway_links", ("state", "live")] == 2
    bucket = "oscc_gateway_command_seconds_bucket"
    assert samples[bucket, ("kind", "routing_state.set"), ("le", "0.25")] == 1
    assert samples[bucket, ("kind", "routing_state.set"), ("le", "0.1")] == 0
    assert not [name for name, *_ in samples if str(name).endswith("_created")]


def test_metrics_are_named_as_promtool_wants() -> None:
    for family in text_string_to_metric_families(Telemetry().render().decode()):
        assert re.fullmatch(r"(oscc_gateway|process)_[a-z_]+", family.name)
        assert str(family.documentation)[-1] == "."
        assert not family.name.endswith(("_milliseconds", "_ms", "_total", "_count", "_sum", "_bucket"))


def test_buckets_have_an_edge_at_each_objective() -> None:
    assert {0.001, 0.25, 1.0, 10.0} <= set(LATENCY_BUCKETS_S)
    assert list(LATENCY_BUCKETS_S) == sorted(LATENCY_BUCKETS_S)


def test_what_is_observed_together_is_counted_each_and_stands_in_its_bucket() -> None:
    telemetry = Telemetry()
    series = telemetry.event_latency_seconds["edge"]
    series.observe(0.25, 3)
    series.observe(0.26)
    series.observe(99.0, 2)

    def sample(name: str, **labels: str) -> float | None:
        name, received = f"oscc_gateway_event_latency_seconds_{name}", {"hop": "edge", **labels}
        return telemetry.registry.get_sample_value(name, received)

    edges = {"0.1": 0, "0.25": 3, "0.5": 4, "10.0": 4, "+Inf": 6}
    assert {edge: sample("bucket", le=edge) for edge in edges} == edges
    assert sample("count") == 6
    assert sample("sum") == pytest.approx(199.01)


def test_frames_of_one_phone_are_observed_like_those_of_many() -> None:
    one, many = Telemetry(), Telemetry()
    edges = (0.0, *LATENCY_BUCKETS_S, 11.0)
    for number in range(3 * FRESH_MAX):
        waited_s = (edges[number % len(edges)], number / 1000)[number % 2]
        came_later_s, under_way_s = (number % 5 == 0) / 64, (number % 7 == 0) / 16
        came = (100.0 - waited_s, 100.0 - waited_s + came_later_s, under_way_s, 100.0)
        one.update_times.sent_one(10 + number, 1, *came)
        many.update_times.sent(1, 10 + number, 1, *came)
    values = [
        {
            (each.name, *each.labels.values()): each.value
            for family in node.collect()
            for each in family.samples
        }
        for node in (one, many)
    ]
    assert values[0] == pytest.approx(values[1], nan_ok=True)


def test_a_histogram_of_frames_has_the_edges_that_the_library_would_write() -> None:
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(Telemetry().render().decode()):
        edges = {sample.labels["le"] for sample in family.samples if "le" in sample.labels}
        found[family.name.removeprefix("oscc_gateway_")] = edges
    assert found["event_latency_seconds"] == found["handshake_seconds"]
    assert found["state_age_seconds"] == found["takeover_blind_seconds"]


def test_children_are_made_once() -> None:
    closes = Telemetry().closes
    assert closes["client", "1000"] is closes["client", "1000"]
    assert closes["client", "1000"] is not closes["client", "1001"]


def test_too_many_label_sets_share_one_child() -> None:
    telemetry = Telemetry()
    for number in range(CHILDREN_MAX + 10):
        telemetry.resyncs[f"reason{number}"].inc()
    (family,) = [
        family
        for family in text_string_to_metric_families(telemetry.render().decode())
        if family.name == "oscc_gateway_resyncs"
    ]
    assert len(family.samples) == CHILDREN_MAX + 1
    assert {sample.value for sample in family.samples if sample.labels["reason"] == "other"} == {10}


def test_labels_are_given_whole() -> None:
    with pytest.raises(ValueError, match="label"):
        Telemetry().closes["client"]


def test_two_nodes_of_one_process_count_apart() -> None:
    one, other = Telemetry(), Telemetry()
    one.users.set(5)
    assert b"oscc_gateway_users 5.0" in one.render()
    assert b"oscc_gateway_users 0.0" in other.render()


def test_each_function_of_as_many_sites_as_can_be_set_has_its_own_child() -> None:
    bounds = Settings.model_fields["sites"].metadata
    sites = next(bound.max_length for bound in bounds if hasattr(bound, "max_length"))
    up = Telemetry().site_function_up
    children = {id(up[f"site{site}", field.name]) for site in range(sites) for field in fields(Functions)}
    assert len(children) == sites * len(fields(Functions)) == SITE_CHILDREN_MAX
