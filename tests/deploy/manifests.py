"""Manifests that the chart renders, and what a cluster would refuse.

Kubernetes' own kinds are held to its schemas, the three kinds of others to those of ``other_kinds.yaml``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate import utils

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


def _closed(schema: object) -> object:
    """Return a schema whose objects have no properties but the named ones, and whose items are lists'."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    more: Document = {"type": "object", "additionalProperties": False} if "properties" in schema else {}
    more |= {"type": "array"} if "items" in schema else {}
    return more | {name: _closed(each) for name, each in schema.items()}


_OTHERS: Final = cast(
    "Document", _closed(yaml.safe_load(Path(__file__).with_name("other_kinds.yaml").read_text("utf-8")))
)


def judge(document: Document, version: str) -> None:
    """Hold a manifest to what a cluster of *version* takes.

    Raises:
        Exception: It would be refused.
    """
    if document["apiVersion"].startswith(("gateway.networking.k8s.io/", "monitoring.coreos.com/")):
        schema = {"$ref": f"#/{document['kind']}", **_OTHERS}
        jsonschema.Draft202012Validator(schema).validate(document)
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
