"""PromQL expressions: the names in them, and whether Prometheus accepts them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from docs._generate.metrics import ANY, VALUES, measured
from gateway.telemetry import PREFIX
from tests.deploy.programs import DEPLOY, Said, ask, machine

RULES: Final = DEPLOY / "prometheus" / "rules.yaml"
DASHBOARD: Final = DEPLOY / "grafana" / "dashboard.json"
_SERIES: Final = re.compile(rf"\b{PREFIX}(_[a-z_]+|:[a-z0-9_:]+)(?:\{{([^}}]*)\}})?")
_MATCHER: Final = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_OF_PROMETHEUS: Final = {"instance", "job", "namespace", "slo", "le"}
_OF_GRAFANA: Final = {"$__rate_interval": "5m", "$namespace": ".*", "$job": ".*", "$node": ".*"}
_SUFFIXES: Final = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}


@cache
def rules() -> list[dict[str, Any]]:
    """Return every rule."""
    groups = yaml.load(RULES.read_text("utf-8"), yaml.CSafeLoader)["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Return every alert by its name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> list[str]:
    """Return every series that a rule records, as one asks for it."""
    return [
        rule["record"] + "".join(f'{{{label}="{value}"}}' for label, value in rule.get("labels", {}).items())
        for rule in rules()
        if "record" in rule
    ]


def shown() -> Iterator[str]:
    """Return every expression of the dashboard, as Grafana would send it."""
    board: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    written = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    for one in [*written, *(note["expr"] for note in board["annotations"]["list"])]:
        expression = one
        for name, value in _OF_GRAFANA.items():
            expression = expression.replace(name, value)
        yield expression


@cache
def series() -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """Return every name by which something can be asked for → its metric and labels."""
    found = {
        f"{PREFIX}_{one.name}{suffix}": (one.name, one.labels)
        for one in measured()
        for suffix in _SUFFIXES[one.kind]
    }
    return found | {rule["record"]: (rule["record"], ("slo",)) for rule in rules() if "record" in rule}


def strangers(expression: str) -> list[str]:
    """Return what *expression* names that is not there: series, labels, and values of labels."""
    found = []
    for name, matchers in _SERIES.findall(expression):
        if f"{PREFIX}{name}" not in series():
            found.append(f"{PREFIX}{name}")
            continue
        metric, labels = series()[f"{PREFIX}{name}"]
        for label, operator, value in _MATCHER.findall(matchers):
            if label not in _OF_PROMETHEUS | set(labels):
                found.append(f"{name}.{label}")
            elif label not in _OF_PROMETHEUS and not value.startswith("$"):
                allowed = VALUES[f"{metric}.{label}"]
                values = value.split("|") if operator in {"=~", "!~"} else [value]
                found += [one for one in values if ANY not in allowed and one not in allowed]
    return found


def judged(expressions: Iterable[str], folder: Path) -> Said:
    """Return what promtool says of *expressions*."""
    records = [{"record": f"one:{number}", "expr": one} for number, one in enumerate(expressions)]
    file = folder / "expressions.yaml"
    file.write_text(json.dumps({"groups": [{"name": "all", "rules": records}]}), "utf-8")
    return ask(machine("promtool"), "check", "rules", file)
