"""The chart's values fit together: each pair of choices is rendered and held to a cluster's rules."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml

from tests.deploy.helm_programs import MAJORS
from tests.deploy.manifests import (
    Document,
    documents,
    judge,
    of,
    openshift_faults,
    rendered,
    restricted_faults,
)

VERSIONS: Final = ("1.30", "1.34", "1.37")
"""Of Kubernetes: the oldest that the chart takes, a newer and a new one; each pair of a choice and a version
is tried, too."""


class Choice(NamedTuple):
    """Values that belong together, and what must be found in the manifests because of them."""

    values: Mapping[str, Any]
    seen: tuple[str, ...] = ()


_CHOICES: Final = yaml.safe_load(Path(__file__).with_name("helm_choices.yaml").read_text("utf-8"))
FACTORS: Final[Mapping[str, Sequence[Choice]]] = {
    factor: [Choice(**choice) for choice in choices] for factor, choices in _CHOICES.items()
}
SITE: Final = {"id": "main", "url": "https://oscce.example", "display_name": "Main", "country": "DE"}

Row = tuple[int, ...]


def pairwise(sizes: Sequence[int]) -> list[Row]:
    """Return few rows of choices in which each pair of choices of two factors stands together somewhere."""
    wanted = {
        (one, first, two, second)
        for one, two in itertools.combinations(range(len(sizes)), 2)
        for first in range(sizes[one])
        for second in range(sizes[two])
    }
    rows = list[Row]()
    while wanted:
        one, first, two, second = min(wanted)
        row = {one: first, two: second}
        for place in range(len(sizes)):
            if place not in row:
                row[place] = max(range(sizes[place]), key=lambda choice: _gain(wanted, row, place, choice))
        rows.append(tuple(row[place] for place in range(len(sizes))))
        wanted -= set(_pairs(rows[-1]))
    return rows


def _gain(wanted: set[tuple[int, int, int, int]], row: Mapping[int, int], place: int, choice: int) -> int:
    return sum(
        ((other, chosen, place, choice) if other < place else (place, choice, other, chosen)) in wanted
        for other, chosen in row.items()
    )


def _pairs(row: Row) -> Iterator[tuple[int, int, int, int]]:
    for one, two in itertools.combinations(range(len(row)), 2):
        yield one, row[one], two, row[two]


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return two trees of values as one."""
    found = dict(base)
    for key, value in more.items():
        old = found.get(key)
        found[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found


SIZES: Final = (*(len(choices) for choices in FACTORS.values()), len(VERSIONS))
ROWS: Final = pairwise(SIZES)


def test_each_pair_of_choices_is_tried() -> None:
    pairs = {pair for row in ROWS for pair in _pairs(row)}
    assert len(pairs) == sum(one * two for one, two in itertools.combinations(SIZES, 2))
    assert len(ROWS) < 50


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "".join(map(str, row)))
def test_any_two_values_fit_together(row: Row, tmp_path: Path) -> None:
    *places, version = row
    chosen = [choices[place] for place, choices in zip(places, FACTORS.values(), strict=True)]
    values: dict[str, Any] = {"sites": [SITE]}
    for choice in chosen:
        values = merged(values, choice.values)
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps(values), "utf-8")
    major = MAJORS[ROWS.index(row) % 2]  # both render the values of `ci` alike
    found = documents(major, file)
    text = rendered(major, file).text + yaml.safe_dump_all(found)
    for choice in chosen:
        for seen in choice.seen:
            assert seen in text, f"{seen!r} is nowhere, though {choice.values} were given"
    for document in found:
        judge(document, VERSIONS[version])
    hold_pods(found, is_openshift=values.get("openshift") is True)
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found]
    assert len(set(names)) == len(names)


def hold_pods(found: Sequence[Document], *, is_openshift: bool) -> None:
    """Hold the pods to what admission checks, and to what they themselves name."""
    template = of("Deployment", list(found))["spec"]["template"]
    for pod in (template["spec"], of("Pod", list(found))["spec"]):
        assert list(restricted_faults(pod)) == []
        if is_openshift and "supplementalGroups" not in pod["securityContext"]:
            assert list(openshift_faults(pod)) == []
        volumes = [volume["name"] for volume in pod.get("volumes", [])]
        containers = [*pod.get("initContainers", []), *pod["containers"]]
        assert len(set(volumes)) == len(volumes)
        for container in containers:
            mounts = container.get("volumeMounts", [])
            assert {mount["name"] for mount in mounts} <= set(volumes)
            assert len({mount["mountPath"] for mount in mounts}) == len(mounts)
            names = [variable["name"] for variable in container.get("env", [])]
            assert len(set(names)) == len(names)
    selector = of("Deployment", list(found))["spec"]["selector"]["matchLabels"].items()
    assert selector <= template["metadata"]["labels"].items()
    assert not {"helm.sh/chart", "app.kubernetes.io/version"} & template["metadata"]["labels"].keys()


# ---- OpenShift ----


@pytest.mark.parametrize(
    "given", [("--api-versions", "security.openshift.io/v1"), ("--set", "openshift=true")]
)
def test_openshift_gives_users_and_groups_itself(given: tuple[str, ...]) -> None:
    for values in ("least", "ingress-tls"):
        found = documents("4", values, *given)
        for pod in (of("Deployment", found)["spec"]["template"]["spec"], of("Pod", found)["spec"]):
            assert [*restricted_faults(pod), *openshift_faults(pod)] == []


def test_elsewhere_and_where_it_is_refused_the_user_is_the_images() -> None:
    for given in ((), ("--api-versions", "security.openshift.io/v1", "--set", "openshift=false")):
        pod = of("Deployment", documents("4", "least", *given))["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsUser"] == 10001
        assert list(openshift_faults(pod)) != []
    other = documents("4", "least", "--set", "podSecurityContext.runAsUser=null,podSecurityContext.fsGroup=7")
    security = of("Deployment", other)["spec"]["template"]["spec"]["securityContext"]
    assert "runAsUser" not in security
    assert security["fsGroup"] == 7
