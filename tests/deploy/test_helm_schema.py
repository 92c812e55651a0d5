"""Does the schema of the values know all values, take what can be meant, and refuse what cannot?"""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.deploy.helm_schema import FILE, fresh
from tests.deploy.manifests import CHART, rendered

SCHEMA: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
REFERENCE = "#/$defs/"
UNKNOWN_TO_VALUES = {"global"}
"""Helm gives it to every chart."""

REFUSED = {
    "replicaCount=0": "replicaCount",
    "replicaCount=three": "replicaCount",
    "replicas=3": "replicas",
    "image.pullPolicy=Sometimes": "pullPolicy",
    "image.digest=sha256:short": "digest",
    "sites=null": "sites",
    "sites[1].id=second": "url",
    "sites[0].colour=red": "colour",
    "settings.limits.drian_s=60": "drian_s",
    "settings.limits.drain_s=-1": "drain_s",
    "settings.limits.drain_s=null": "drain_s",
    "settings.limits.devices=many": "devices",
    "settings.log.level=loud": "level",
    "settings.client.port=80": "port",
    "settings.bus.url=redis://elsewhere": "url",
    "settings.secrets.pseudonym_key=x": "secrets",
    "notices.upkeep=x": "upkeep",
    "secrets.sealingKeys=abc": "sealingKeys",
    "secrets.busUrl=http://redis": "busUrl",
    "drain.preStopSeconds=0": "preStopSeconds",
    "drain.marginSeconds=5": "marginSeconds",
    "podDisruptionBudget.maxUnavailable=0": "maxUnavailable",
    "topologySpread.whenUnsatisfiable=Never": "whenUnsatisfiable",
    "autoscaling.cpuPercent=0": "cpuPercent",
    "service.port=99999": "port",
    "fullnameOverride=1st": "fullnameOverride",
    "fullnameOverride=gw.voice": "fullnameOverride",
    "ingress.enabled=true": "hosts",
    "ingress.hosts[0]=https://gateway.example": "hosts",
    "httpRoute.enabled=true": "parentRefs",
    "httpRoute.timeouts.request=never": "request",
    "networkPolicy.redis.ports[0]=0": "ports",
    "monitoring.serviceMonitor.interval=often": "interval",
}
ALSO_BY_HELM_3 = ("replicaCount=0", "sites=null", "settings.limits.drian_s=60", "ingress.enabled=true")
"""One of each means of the schema: the two Helms have different validators."""


@pytest.mark.parametrize(
    ("major", "given"),
    [("4", given) for given in REFUSED] + [("3", given) for given in ALSO_BY_HELM_3],
)
def test_what_cannot_be_meant_is_refused(major: str, given: str) -> None:
    said = rendered(major, "least", "--set", given)
    assert said.code != 0
    assert "values don't meet the specifications of the schema" in said.text
    assert REFUSED[given] in said.text


def test_its_definitions_are_the_gateways() -> None:
    assert FILE.read_text("utf-8") == fresh(), "write it anew: make diagrams"


def _keys(schema: dict[str, Any], path: str = "") -> set[str]:
    """Return the paths of all values that the schema names itself."""
    found = set[str]()
    for name, inner in schema.get("properties", {}).items():
        found |= {f"{path}{name}"} | _keys(inner, f"{path}{name}.")
    return found


def _given(values: dict[str, Any], path: str = "") -> set[str]:
    found = set[str]()
    for name, inner in values.items():
        found |= {f"{path}{name}"}
        found |= _given(inner, f"{path}{name}.") if isinstance(inner, dict) else set()
    return found


def test_it_names_each_value_and_no_other() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    named, given = _keys(SCHEMA) - UNKNOWN_TO_VALUES, _given(values)
    free = ("resources.", "settings.", "ingress.annotations.", "monitoring.dashboard.labels.")
    assert {key for key in named if not key.startswith(free)} == {
        key for key in given if not key.startswith(free)
    }


def test_every_value_is_used() -> None:
    texts = "".join(path.read_text("utf-8") for path in CHART.rglob("templates/**/*.*"))
    for key in yaml.safe_load((CHART / "values.yaml").read_text("utf-8")):
        assert f".Values.{key}" in texts, f"{key} does nothing"


def references(node: object) -> set[str]:
    """Return the names of all definitions that a part of a schema refers to."""
    if isinstance(node, dict):
        own = {str(node["$ref"])} if "$ref" in node else set()
        return own.union(*(references(value) for value in node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_every_definition_that_is_referred_to_is_there() -> None:
    assert references(SCHEMA) <= {REFERENCE + name for name in SCHEMA["$defs"]}
    assert references(SCHEMA)
