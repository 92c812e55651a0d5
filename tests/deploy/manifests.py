"""Manifests that the chart renders, and what a cluster would refuse.

Kubernetes' own kinds are held to its schemas. For the three kinds of others, models here say what their
reference pages say, as far as the chart uses it: whatever else appears in them is a fault.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import kubernetes_validate
import yaml
from kubernetes_validate import utils
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tests.deploy.helm_programs import helm
from tests.deploy.programs import ROOT, Said, ask

CHART: Final = ROOT / "helm" / "oscc-gateway"
ENDING: Final = "-values.yaml"
"""Of the files of ``ci``, by which chart-testing (``ct``) finds them."""
VALUES: Final = tuple(sorted(path.name.removesuffix(ENDING) for path in (CHART / "ci").glob(f"*{ENDING}")))
VERSIONS: Final = ("1.30", "1.37")
"""The oldest Kubernetes that the chart takes, and a new one."""

Document = dict[str, Any]

# it reads a megabyte of definitions for each manifest
utils.schema_contents = functools.cache(utils.schema_contents)


def values_file(name: str) -> Path:
    """Return a file of ``ci``."""
    return CHART / "ci" / f"{name}{ENDING}"


@functools.cache
def rendered(major: str, values: str | Path, *more: str) -> Said:
    """Return what Helm renders from a file of ``ci``, or another one."""
    file = values if isinstance(values, Path) else values_file(values)
    return ask(helm(major), "template", "demo", CHART, "--namespace", "voice", "--values", file, *more)


def documents(major: str, values: str | Path, *more: str) -> list[Document]:
    """Return the manifests, in no particular order of Helm's."""
    said = rendered(major, values, *more)
    assert said.code == 0, said.text
    found = [document for document in yaml.load_all(said.text, yaml.CSafeLoader) if document]
    return sorted(found, key=lambda one: (one["kind"], one["metadata"]["name"]))


def of(kind: str, found: list[Document]) -> Document:
    """Return the only manifest of a kind."""
    (one,) = [document for document in found if document["kind"] == kind]
    return one


class Strict(BaseModel):
    """Nothing but what is named."""

    model_config = ConfigDict(extra="forbid", strict=True)


Labels = dict[str, str]
Span = Annotated[str, Field(pattern=r"^[0-9]+(ms|s|m|h)$")]


class Metadata(Strict):
    """Of any object."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=63)]
    namespace: str | None = None
    labels: Labels
    annotations: Labels = {}


class PathMatch(Strict):
    """Of an HTTPRoute."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"]
    value: str


class Match(Strict):
    """Of an HTTPRoute."""

    path: PathMatch


class Timeouts(Strict):
    """GEP-1742: Go's durations; 0s is none."""

    request: Span | None = None
    backendRequest: Span | None = None  # noqa: N815 - Kubernetes' name


class HeaderFilter(Strict):
    """Of an HTTPRoute."""

    set: list[dict[str, str]] = []
    add: list[dict[str, str]] = []
    remove: list[str] = []


class Filter(Strict):
    """Of an HTTPRoute; of its kinds the one that suits a WebSocket."""

    type: Literal["RequestHeaderModifier", "ResponseHeaderModifier"]
    requestHeaderModifier: HeaderFilter | None = None  # noqa: N815 - Kubernetes' name
    responseHeaderModifier: HeaderFilter | None = None  # noqa: N815 - Kubernetes' name


class Backend(Strict):
    """Of an HTTPRoute; without a kind it is a Service."""

    name: str
    port: Annotated[int, Field(ge=1, le=65535)]


class RouteRule(Strict):
    """Of an HTTPRoute."""

    matches: list[Match]
    filters: list[Filter] = []
    timeouts: Timeouts | None = None
    backendRefs: list[Backend]  # noqa: N815 - Kubernetes' name


class Parent(Strict):
    """Of an HTTPRoute; without a kind it is a Gateway."""

    name: str
    namespace: str | None = None
    sectionName: str | None = None  # noqa: N815 - Kubernetes' name


class RouteSpec(Strict):
    """Of an HTTPRoute."""

    parentRefs: Annotated[list[Parent], Field(min_length=1)]  # noqa: N815 - Kubernetes' name
    hostnames: list[str] = []
    rules: list[RouteRule]


class HttpRoute(Strict):
    """The Gateway API's."""

    apiVersion: Literal["gateway.networking.k8s.io/v1"]  # noqa: N815 - Kubernetes' name
    kind: Literal["HTTPRoute"]
    metadata: Metadata
    spec: RouteSpec


class Relabeling(Strict):
    """Of a ServiceMonitor."""

    targetLabel: str | None = None  # noqa: N815 - Kubernetes' name
    sourceLabels: list[str] = []  # noqa: N815 - Kubernetes' name
    regex: str | None = None
    action: Literal["replace", "keep", "drop", "labeldrop", "labelkeep", "labelmap"] = "replace"
    replacement: str | None = None


class Endpoint(Strict):
    """Of a ServiceMonitor."""

    port: str
    path: str
    interval: Span
    scrapeTimeout: Span | None = None  # noqa: N815 - Kubernetes' name
    relabelings: list[Relabeling]
    metricRelabelings: list[Relabeling] = []  # noqa: N815 - Kubernetes' name


class Selector(Strict):
    """Of a ServiceMonitor."""

    matchLabels: Labels  # noqa: N815 - Kubernetes' name


class Namespaces(Strict):
    """Of a ServiceMonitor."""

    matchNames: Annotated[list[str], Field(min_length=1)]  # noqa: N815 - Kubernetes' name


class MonitorSpec(Strict):
    """Of a ServiceMonitor."""

    namespaceSelector: Namespaces  # noqa: N815 - Kubernetes' name
    selector: Selector
    endpoints: list[Endpoint]


class ServiceMonitor(Strict):
    """The Prometheus Operator's."""

    apiVersion: Literal["monitoring.coreos.com/v1"]  # noqa: N815 - Kubernetes' name
    kind: Literal["ServiceMonitor"]
    metadata: Metadata
    spec: MonitorSpec


class Rule(Strict):
    """Of a PrometheusRule."""

    alert: str | None = None
    record: str | None = None
    expr: str
    labels: Labels = {}
    annotations: Labels = {}
    # the YAML says `for`
    for_: Annotated[Span | None, Field(alias="for")] = None
    keep_firing_for: Span | None = None


class Group(Strict):
    """Of a PrometheusRule."""

    name: str
    interval: Span | None = None
    rules: list[Rule]


class RuleSpec(Strict):
    """Of a PrometheusRule."""

    groups: Annotated[list[Group], Field(min_length=1)]


class PrometheusRule(Strict):
    """The Prometheus Operator's."""

    apiVersion: Literal["monitoring.coreos.com/v1"]  # noqa: N815 - Kubernetes' name
    kind: Literal["PrometheusRule"]
    metadata: Metadata
    spec: RuleSpec


_OTHERS: Final[TypeAdapter[Any]] = TypeAdapter(
    Annotated[HttpRoute | ServiceMonitor | PrometheusRule, Field(discriminator="kind")]
)


def judge(document: Document, version: str) -> None:
    """Hold a manifest to what a cluster of *version* takes.

    Raises:
        Exception: It would be refused.
    """
    if document["apiVersion"].startswith(("gateway.networking.k8s.io/", "monitoring.coreos.com/")):
        _OTHERS.validate_python(document)
    else:
        kubernetes_validate.validate(document, version, strict=True)


UNASKED: Final = {"configMap", "secret", "projected", "emptyDir", "csi", "downwardAPI", "ephemeral"}
"""Volumes that the Pod Security Standard *restricted* allows, but for claims of disks."""


def restricted_faults(pod: Document) -> Iterator[str]:
    """Report what the Pod Security Standard *restricted* forbids, and what we forbid beside it."""
    security = pod.get("securityContext", {})
    if not (security.get("runAsNonRoot") is True and security.get("runAsUser", 1) > 0):
        yield "may be root"
    if security.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "may call the whole kernel"
    if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        yield "shares the host's namespaces"
    if security.get("sysctls") or security.get("windowsOptions", {}).get("hostProcess"):
        yield "changes the host"
    if pod.get("automountServiceAccountToken") is not False:
        yield "has a token of the cluster"
    kinds = {next(kind for kind in volume if kind != "name") for volume in pod.get("volumes", [])}
    if not kinds <= UNASKED:
        yield f"mounts {kinds}"
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        yield from _container_faults(container)


def _container_faults(container: Document) -> Iterator[str]:
    own, name = container.get("securityContext", {}), container["name"]
    if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
        yield f"{name} may gain privileges"
    if own.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{name} has capabilities"
    if own.get("runAsUser", 1) == 0 or own.get("runAsNonRoot") is False:
        yield f"{name} may be root"
    if own.get("procMount", "Default") != "Default" or any(
        "hostPort" in port for port in container.get("ports", [])
    ):
        yield f"{name} reaches the host"
    if own.get("readOnlyRootFilesystem") is not True:
        yield f"{name} may write its root"
    if "memory" not in container.get("resources", {}).get("limits", {}):
        yield f"{name} may take all memory"


def openshift_faults(pod: Document) -> Iterator[str]:
    """Report what OpenShift's *restricted-v2* refuses, beside what *restricted* forbids.

    Users and groups come from the range of the namespace: one that a pod names itself is outside of it.
    """
    containers = (*pod.get("initContainers", []), *pod["containers"])
    named = [("pod", pod.get("securityContext", {}))]
    named += [(container["name"], container.get("securityContext", {})) for container in containers]
    for name, security in named:
        for key in ("runAsUser", "runAsGroup", "fsGroup", "supplementalGroups", "seLinuxOptions"):
            if key in security:
                yield f"{name} names its own {key}"
        if security.get("seccompProfile", {"type": "RuntimeDefault"}) != {"type": "RuntimeDefault"}:
            yield f"{name} names another profile of system calls"
