"""A node is set up as its settings allow, and its metrics are read."""

from __future__ import annotations

import base64
import json
import tomllib
from pathlib import Path

import pytest

from bench.gateway_node import Reach, Settings, quantile_of, read_metrics, read_reach, total
from gateway.app.config import sources as config_sources

KEY = base64.b64encode(bytes(32)).decode()
SECRETS = f'[secrets]\nsealing_keys = ["k1:{KEY}"]\npseudonym_key = "{KEY}"\n'


def test_the_file_says_what_is_wanted() -> None:
    settings = Settings(9, SECRETS, pace_min_s=0.0, devices=7, limits={"linger_s": 5})
    told = tomllib.loads(settings.text(1, 2, 3))
    assert told["client"] == {"host": "127.0.0.1", "port": 1, "insecure": True}
    assert told["sites"][0]["url"] == "http://127.0.0.1:9"
    assert (told["limits"]["devices"], told["limits"]["pace_min_s"], told["limits"]["linger_s"]) == (7, 0, 5)


def test_the_gateway_takes_it(tmp_path: Path) -> None:
    """Whatever bound a benchmark raises must be one that an operator could raise."""
    file = tmp_path / "gateway.toml"
    file.write_text(Settings(9, SECRETS).text(1, 2, 3), "utf-8")
    assert config_sources.load(file, {}).settings.limits.connections == 20_000


def test_the_default_pace_is_the_products_own() -> None:
    assert "pace_min_s" not in tomllib.loads(Settings(9, SECRETS).text(1, 2, 3))["limits"]


def test_with_a_certificate_it_speaks_tls() -> None:
    files = (Path("a.pem"), Path("a.key"))
    client = tomllib.loads(Settings(9, SECRETS, certificate=files).text(1, 2, 3))["client"]
    assert (client["certificate"], client["key"]) == ("a.pem", "a.key")
    assert "insecure" not in client


def test_how_far_it_goes_is_what_its_schema_says() -> None:
    limits = {"devices": {"maximum": 20_000}, "pace_min_s": {}}
    schema = {
        "properties": {"limits": {"$ref": "#/$defs/Some"}},
        "$defs": {"Some": {"properties": limits}},
    }
    assert read_reach(schema) == Reach(20_000, has_pace=True)
    assert read_reach(json.loads(config_sources.json_schema())).devices >= 20


def test_metrics_are_read_and_summed_over_labels() -> None:
    text = (
        '# HELP oscc_gateway_connections Phones\noscc_gateway_connections{codec="json"} 3.0\n'
        'oscc_gateway_connections{codec="msgpack"} 4.0\noscc_gateway_connections_most 9.0\nother 1.0\n'
    )
    metrics = read_metrics(text)
    assert total(metrics, "connections") == 7
    assert total(metrics, "other") == 0


def test_a_quantile_lies_between_the_bounds_of_its_bucket() -> None:
    counts = {"0.001": 90.0, "0.01": 98.0, "0.1": 100.0, "+Inf": 100.0}
    metrics = {f'lag_bucket{{le="{bound}"}}': count for bound, count in counts.items()}
    assert quantile_of(metrics, "lag", 0.5) == pytest.approx(0.001 * 50 / 90)
    assert quantile_of(metrics, "lag", 0.99) == pytest.approx(0.055)
    assert quantile_of({**metrics, 'lag_bucket{le="+Inf"}': 200.0}, "lag", 0.99) == 0.1
    assert quantile_of({}, "lag", 0.99) == 0.0
