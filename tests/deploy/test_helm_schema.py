"""Helm chart: the schema of the values accepts and refuses as it should."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import helm_readme
from tests.deploy.helm_readme import PAGE, comments
from tests.deploy.helm_schema import FILE, fresh
from tests.deploy.manifests import (
    CHART,
    ENDING,
    VERSIONS,
    documents,
    judge,
    rendered,
    restricted_faults,
    values_file,
)
from tests.deploy.programs import ask, machine

SCHEMA: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
REFERENCE = "#/$defs/"
SECURITY = ("podSecurityContext.", "securityContext.")
PROBES = ("startupProbe.", "livenessProbe.", "readinessProbe.", "dnsConfig.")
"""Of these the schema names more than the values give."""

REFUSED: dict[str, str] = yaml.safe_load(Path(__file__).with_name("helm_refused.yaml").read_text("utf-8"))
"""Values of ``--set`` that cannot be meant, and the word by which their refusal names each."""
BY_HELM_3 = ("replicaCount=0", "sites=null", "settings.limits.drian_s=60", "ingress.enabled=true")
"""One of each means of the schema: the two Helms have different validators."""


def batches() -> list[dict[str, str]]:
    """Return what is refused, in sets of which no two are of the same value of the first level."""
    found: list[dict[str, str]] = []
    for given in REFUSED:
        top = top_of(given)
        batch = next((one for one in found if top not in one), None)
        if batch is None:
            found.append(batch := {})
        batch[top] = given
    return found


def top_of(given: str) -> str:
    return re.split(r"[.=\[]", given)[0]


@pytest.mark.parametrize("batch", batches(), ids=",".join)
def test_what_cannot_be_meant_is_refused(batch: dict[str, str]) -> None:
    said = rendered("4", "least", *(word for given in batch.values() for word in ("--set", given)))
    assert said.code != 0
    assert "values don't meet the specifications of the schema" in said.text
    for top, given in batch.items():
        faults = re.split(r"\n(?=- at )", said.text)
        own = [
            fault
            for fault in faults
            if any(word in fault for word in (f"'/{top}", f"'{top}'", "propertyName"))
        ]
        assert any(REFUSED[given] in fault for fault in own), (given, said.text)


@pytest.mark.parametrize("given", BY_HELM_3)
def test_helm_3_refuses_it_too(given: str) -> None:
    said = rendered("3", "least", "--set", given)
    assert said.code != 0
    assert "values don't meet the specifications of the schema" in said.text
    assert REFUSED[given] in said.text


def test_its_definitions_are_the_gateways() -> None:
    assert FILE.read_text("utf-8") == fresh(), "rewrite it: make diagrams"


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
    named, given = _keys(SCHEMA), _given(values)
    free = ("resources.", "settings.", "monitoring.dashboard.labels.", *SECURITY, *PROBES)
    assert {key for key in named if not key.startswith(free)} == {
        key for key in given if not key.startswith(free)
    }


def test_every_value_is_used() -> None:
    texts = "".join(path.read_text("utf-8") for path in CHART.rglob("templates/**/*.*"))
    for key in yaml.safe_load((CHART / "values.yaml").read_text("utf-8")):
        assert f".Values.{key}" in texts or f'"{key}"' in texts, f"{key} does nothing"


def references(node: object) -> set[str]:
    """Return the names of all definitions that a part of a schema refers to."""
    if isinstance(node, dict):
        own = {str(node["$ref"])} if "$ref" in node else set()
        return own.union(*(references(value) for value in node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_every_definition_that_is_referred_to_is_there() -> None:
    assert references(SCHEMA) <= {REFERENCE + name for name in SCHEMA["$defs"]}
    assert references(SCHEMA)


# ---- the chart's README, and what chart-testing asks for ----


def test_its_table_of_values_is_fresh() -> None:
    assert PAGE.read_text("utf-8") == helm_readme.fresh(), "write it again: make diagrams"
    for path in _given(yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))):
        if not path.endswith(("labels.grafana_dashboard",)):
            assert f"`{path}" in PAGE.read_text("utf-8"), path


def test_a_comment_belongs_to_the_value_under_it() -> None:
    text = "# no\na: 1\n# -- of b\n# and more\nb:\n  # -- of c\n  c: 1\n\nd: 2\n"
    assert comments(text) == {"b": "of b and more", "b.c": "of c"}


EXAMPLES = re.findall(r"```yaml\n# values\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("place", range(len(EXAMPLES)))
def test_each_example_of_the_page_renders(place: int, tmp_path: Path) -> None:
    least, example = (
        yaml.safe_load(text) for text in (values_file("least").read_text("utf-8"), EXAMPLES[place])
    )
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps(least | example), "utf-8")
    for document in documents("4", file):
        judge(document, VERSIONS[0])


def test_the_page_has_two_controllers_and_a_route() -> None:
    said = [yaml.safe_load(text) for text in EXAMPLES]
    assert {one["ingress"]["className"] for one in said if "ingress" in one} == {"haproxy", "traefik"}
    assert any("httpRoute" in one for one in said)


def test_chart_testing_finds_the_files_of_values() -> None:
    assert {path.name.endswith(ENDING) for path in (CHART / "ci").iterdir()} == {True}
    config = yaml.safe_load((CHART.parent / "ct.yaml").read_text("utf-8"))
    assert config["chart-dirs"] == ["helm"]


# ---- the job that needs a cluster ----

KIND = Path(__file__).parent / "kind"


def test_what_the_job_kind_installs_is_taken() -> None:
    found = documents("4", KIND / "values.yaml")
    around = [one for one in yaml.safe_load_all((KIND / "around.yaml").read_text("utf-8")) if one]
    for document in (*found, *around):
        judge(document, VERSIONS[0])
    for one in (*found, *around):
        if one["kind"] == "Deployment":
            assert restricted_for_admission(one["spec"]["template"]["spec"]) == []
    assert {one["metadata"]["name"] for one in around} == {"valkey", "simulator"}


def restricted_for_admission(pod: dict[str, Any]) -> list[str]:
    """Return what the standard itself forbids, without what we forbid beside it."""
    ours = ("has a token of the cluster", "may write its root", "may take all memory")
    return [fault for fault in restricted_faults(pod) if not fault.endswith(ours)]


def test_its_script_is_sound() -> None:
    assert ask(machine("shellcheck"), KIND / "try.sh").text == ""
