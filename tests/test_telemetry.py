"""Are the metrics named, labelled and bounded as the page of operations says?"""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry import CHILDREN_MAX, LATENCY_BUCKETS_S, Family, Telemetry

LABELS = {
    "build_info": ("version", "loop", "python"),
    "closes_total": ("initiator", "code"),
    "command_seconds": ("kind",),
    "commands_total": ("kind", "status"),
    "connections": ("application", "platform", "codec"),
    "fds": ("kind",),
    "handshakes_total": ("result",),
    "link_opens_total": ("result",),
    "links": ("state",),
    "log_ons_total": ("application", "result"),
    "resumes_total": ("result",),
    "sessions_attached": ("application",),
    "upstream_events_total": ("type",),
}
PLAIN = {
    "certificate_expiry_timestamp_seconds",
    "commands_in_flight",
    "conflated_total",
    "drain_state",
    "frame_bytes_total",
    "frames_total",
    "handshake_seconds",
    "late_elements_total",
    "log_offs_pending",
    "log_on_seconds",
    "loop_lag_seconds",
    "pool_hit_ratio",
    "rss_bytes",
    "tasks",
    "unhelloed_connections",
    "updates_total",
    "upstream_silence_seconds",
    "users",
}


def _named(telemetry: Telemetry) -> dict[str, tuple[str, ...]]:
    """Name without prefix → labels, of every metric that there is."""
    found: dict[str, tuple[str, ...]] = {}
    for metric in vars(telemetry).values():
        inner = metric._metric if isinstance(metric, Family) else metric
        if hasattr(inner, "_labelnames"):
            total = "_total" if inner._type == "counter" else ""
            found[inner._name.removeprefix("oscc_gateway_") + total] = inner._labelnames
    return found


def test_names_and_labels_are_those_of_the_page() -> None:
    assert _named(Telemetry()) == {**LABELS, **dict.fromkeys(PLAIN, ())}


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
        assert re.fullmatch(r"oscc_gateway_[a-z_]+", family.name)
        assert str(family.documentation)[-1] == "."
        assert not family.name.endswith(("_milliseconds", "_ms", "_total", "_count", "_sum", "_bucket"))


def test_buckets_have_an_edge_at_each_objective() -> None:
    assert {0.001, 0.25, 1.0, 10.0} <= set(LATENCY_BUCKETS_S)
    assert list(LATENCY_BUCKETS_S) == sorted(LATENCY_BUCKETS_S)


def test_children_are_made_once() -> None:
    closes = Telemetry().closes
    assert closes["client", "1000"] is closes["client", "1000"]
    assert closes["client", "1000"] is not closes["client", "1001"]


def test_too_many_label_sets_share_one_child() -> None:
    telemetry = Telemetry()
    for number in range(CHILDREN_MAX + 10):
        telemetry.upstream_events[f"type{number}"].inc()
    (family,) = [
        family
        for family in text_string_to_metric_families(telemetry.render().decode())
        if family.name == "oscc_gateway_upstream_events"
    ]
    assert len(family.samples) == CHILDREN_MAX + 1
    assert {sample.value for sample in family.samples if sample.labels["type"] == "other"} == {10}


def test_labels_are_given_whole() -> None:
    with pytest.raises(ValueError, match="label"):
        Telemetry().closes["client"]


def test_two_nodes_of_one_process_count_apart() -> None:
    one, other = Telemetry(), Telemetry()
    one.users.set(5)
    assert b"oscc_gateway_users 5.0" in one.render()
    assert b"oscc_gateway_users 0.0" in other.render()
