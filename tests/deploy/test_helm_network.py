"""Helm chart: phones, probes and nodes reach what they need, and nothing else."""

from __future__ import annotations

import pytest

from tests.deploy.manifests import VALUES, Document, documents, of

EACH = pytest.mark.parametrize("values", VALUES)


@EACH
def test_what_names_the_pods_finds_them(values: str) -> None:
    found = documents("4", values)
    deployment = of("Deployment", found)
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    services = [one for one in found if one["kind"] == "Service"]
    for one in found:
        for selector in selectors(one):
            assert selector.items() <= labels
    assert {port["targetPort"] for one in services for port in one["spec"]["ports"]} == ports
    for one in found:
        if one["kind"] == "NetworkPolicy":
            assert {port["port"] for rule in one["spec"]["ingress"] for port in rule["ports"]} == ports
        if one["kind"] == "HorizontalPodAutoscaler":
            assert one["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


def selectors(one: Document) -> list[dict[str, str]]:
    """Return by which labels a manifest finds the pods."""
    match one["kind"]:
        case "Service":
            return [one["spec"]["selector"]]
        case "PodDisruptionBudget" | "Deployment":
            return [one["spec"]["selector"]["matchLabels"]]
        case "NetworkPolicy":
            return [one["spec"]["podSelector"]["matchLabels"]]
        case _:
            return []


def test_what_names_the_services_finds_them() -> None:
    found = [one for values in VALUES for one in documents("4", values)]
    services = {one["metadata"]["name"]: one for one in found if one["kind"] == "Service"}
    wanted = of("ServiceMonitor", found)["spec"]["selector"]["matchLabels"].items()
    watched = [one for one in services.values() if wanted <= one["metadata"]["labels"].items()]
    (endpoint,) = of("ServiceMonitor", found)["spec"]["endpoints"]
    assert {one["metadata"]["name"] for one in watched} == {"demo-oscc-gateway-ops", "gw-ops"}
    assert {one["spec"]["ports"][0]["name"] for one in watched} == {endpoint["port"]}
    (back,) = of("HTTPRoute", found)["spec"]["rules"][0]["backendRefs"]
    assert back["port"] in {port["port"] for port in services[back["name"]]["spec"]["ports"]}
    back = of("Ingress", found)["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert back["port"]["name"] in {port["name"] for port in services[back["name"]]["spec"]["ports"]}


def test_the_tests_own_pod_is_let_in_and_counts_as_no_node() -> None:
    found = documents("4", "gateway-api")
    test = of("Pod", found)["metadata"]["labels"].items()
    policy = of("NetworkPolicy", found)["spec"]
    for rule in policy["ingress"]:
        named = [one["podSelector"]["matchLabels"].items() for one in rule["from"] if "podSelector" in one]
        assert any(labels <= test for labels in named)
    assert not of("Deployment", found)["spec"]["selector"]["matchLabels"].items() <= test


def test_a_node_may_go_nowhere_but_where_it_must() -> None:
    def ports(values: str) -> list[list[int]]:
        egress = of("NetworkPolicy", documents("4", values))["spec"]["egress"]
        return [sorted(port["port"] for port in rule["ports"]) for rule in egress]

    assert ports("ingress-tls") == [[53, 53], [6379], [80, 8443]]
    assert ports("gateway-api") == [[53, 53], [6379, 26379], [443]]
    narrow = of("NetworkPolicy", documents("4", "gateway-api"))["spec"]["egress"]
    assert [bool(rule.get("to")) for rule in narrow] == [True, True, True]


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("https://otel.example/v1/traces", 443),
        ("http://collector.monitoring:4318/v1/traces", 4318),
        ("http://[::1]/v1/traces", 80),
    ],
)
def test_a_node_reaches_its_collector_of_traces(endpoint: str, port: int) -> None:
    given = ("--set", f"settings.tracing.endpoint={endpoint}")
    (*others, rule) = of("NetworkPolicy", documents("4", "least", *given))["spec"]["egress"]
    assert rule == {"ports": [{"port": port, "protocol": "TCP"}]}
    assert others == of("NetworkPolicy", documents("4", "least"))["spec"]["egress"]
    narrow = ("--set-json", 'networkPolicy.tracingTo=[{"podSelector": {"matchLabels": {"app": "otel"}}}]')
    (*_, rule) = of("NetworkPolicy", documents("4", "least", *given, *narrow))["spec"]["egress"]
    assert rule["to"] == [{"podSelector": {"matchLabels": {"app": "otel"}}}]


def test_the_test_pod_runs_python_that_compiles() -> None:
    code, *arguments = of("Pod", documents("4", "ingress-tls"))["spec"]["containers"][0]["args"]
    compile(code, "reach", "exec")
    assert arguments == ["https://demo-oscc-gateway:8080/v1/about", "demo-oscc-gateway-ops"]
