"""Are the metrics named, labelled and bounded as the page of operations says?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

import gateway
from gateway.telemetry import CHILDREN_MAX, LATENCY_BUCKETS_S, Family, Telemetry

HERE = Path(gateway.__file__).parent
PAGE = (HERE.parent / "docs" / "operations.md").read_text("utf-8")
ROW = re.compile(r"\| `([a-z_]+)(?:\{([a-z_,]+)\})?` \| (.+) \|")
NAME = re.compile(r"`([a-z_]+)(?:\{([a-z_,]+)\})?`")


def _section(title: str) -> str:
    """Return the text of the page's section below *title*."""
    found = re.search(rf"^#+ {title}$(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def _metrics(telemetry: Telemetry) -> dict[str, MetricWrapperBase]:
    """Attribute → metric."""
    found = {}
    for name, metric in vars(telemetry).items():
        inner = metric._metric if isinstance(metric, Family) else metric
        if isinstance(inner, MetricWrapperBase):
            found[name] = inner
    return found


def _there() -> dict[str, tuple[str, str]]:
    """Name without prefix → labels and meaning, of every metric that there is."""
    found = {}
    for metric in _metrics(Telemetry()).values():
        total = "_total" if metric._type == "counter" else ""
        found[metric._name.removeprefix("oscc_gateway_") + total] = (
            ",".join(metric._labelnames),
            metric._documentation,
        )
    return found


def test_the_page_lists_every_metric_and_no_other() -> None:
    listed = {name: (labels, text) for name, labels, text in ROW.findall(_section("Metrics"))}
    assert listed == _there()


def test_the_page_asks_of_no_metric_that_is_not_there() -> None:
    there = {name: labels for name, (labels, _) in _there().items()}
    asked = re.findall(r"^\| [^|`]+\? \| (.+) \|$", _section("Health"), re.MULTILINE)
    names = [named for cell in asked for named in NAME.findall(cell)]
    assert len(names) > 5
    assert [(name, labels) for name, labels in names if there.get(name) != labels] == []


def test_the_page_says_of_the_metrics_of_a_cluster_when_to_worry() -> None:
    there = {name: labels for name, (labels, _) in _there().items()}
    told = {name: labels for name, labels, _ in ROW.findall(_section("The nodes together"))}
    assert [(name, labels) for name, labels in told.items() if there.get(name) != labels] == []
    of_clusters = re.compile(
        "bus_|lease|takeover|owner|resyncs|self_fences|stale_epoch|registry_size|clock_offset"
    )
    assert {name for name in there if of_clusters.match(name)} <= told.keys()


@pytest.mark.parametrize("name", _metrics(Telemetry()))
def test_every_metric_is_fed(name: str) -> None:
    sources = (path for path in HERE.rglob("*.py") if path.name != "telemetry.py")
    fed = re.compile(rf"telemetry\.{name}\b")
    assert any(fed.search(path.read_text("utf-8")) for path in sources)


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
