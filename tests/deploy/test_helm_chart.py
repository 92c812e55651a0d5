"""Helm chart: rendered manifests fit each other, the gateway, and a cluster."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import gateway
from gateway.app.cli import parser
from gateway.app.config.settings import LimitsSection, Settings
from gateway.app.config.sources import load
from tests.app.samples import KEY, OTHER_KEY
from tests.deploy.helm_programs import MAJORS, helm
from tests.deploy.manifests import (
    CHART,
    VALUES,
    VERSIONS,
    Document,
    documents,
    judge,
    of,
    rendered,
    restricted_faults,
    values_file,
)
from tests.deploy.programs import DEPLOY, Said, ask

MARGIN_S = 10
EACH = pytest.mark.parametrize("values", VALUES)
BOTH = pytest.mark.parametrize("major", MAJORS)


def pods(found: list[Document]) -> Iterator[Document]:
    """Yield the specification of each pod."""
    yield pod_of(found)
    yield of("Pod", found)["spec"]


def assert_refused(said: Said, reason: str) -> None:
    """Hold that Helm fails, and says why."""
    assert said.code != 0
    assert reason in said.text


def pod_of(found: list[Document]) -> Document:
    """Return the specification of a node's pod."""
    pod: Document = of("Deployment", found)["spec"]["template"]["spec"]
    return pod


@BOTH
@EACH
def test_helm_finds_no_fault(values: str, major: str) -> None:
    said = ask(helm(major), "lint", "--strict", "--quiet", "--values", values_file(values), CHART)
    assert (said.code, said.text.strip()) == (0, "")


@EACH
def test_both_helms_render_the_same(values: str) -> None:
    assert documents("3", values) == documents("4", values)


def test_all_kinds_are_rendered_somewhere() -> None:
    kinds = {document["kind"] for values in VALUES for document in documents("4", values)}
    assert kinds >= {"Deployment", "Service", "ConfigMap", "Secret", "ServiceAccount", "Pod"}
    assert kinds >= {"PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy"}
    assert kinds >= {"Ingress", "HTTPRoute", "ServiceMonitor", "PrometheusRule"}


@EACH
@pytest.mark.parametrize("version", VERSIONS)
def test_a_cluster_takes_all_of_it(values: str, version: str) -> None:
    for document in documents("4", values):
        judge(document, version)


def test_a_cluster_takes_nothing_that_is_wrong() -> None:
    found = documents("4", "gateway-api") + documents("4", "monitoring")
    for document in found:
        wrong = copy.deepcopy(document)
        # a Secret and a ConfigMap have no other table than these
        wrong["spec" if "spec" in wrong else "metadata"]["unheard_of"] = 1
        with pytest.raises(Exception, match="unheard_of"):
            judge(wrong, VERSIONS[0])


# ---- one pod ----


@EACH
def test_pods_are_restricted(values: str) -> None:
    for pod in pods(documents("4", values)):
        assert list(restricted_faults(pod)) == []


def test_a_pod_that_is_not_would_be_reported() -> None:
    bare = {"containers": [{"name": "c"}], "volumes": [{"name": "v", "hostPath": {}}], "hostNetwork": True}
    assert len(list(restricted_faults(bare))) == 9


def gateway_toml(found: list[Document], folder: Path) -> Settings:
    """Return the settings that the node of these manifests has, its secrets given."""
    (text,) = [one["data"]["gateway.toml"] for one in found if "gateway.toml" in one.get("data", {})]
    (folder / "gateway.toml").write_text(text, "utf-8")
    secrets = {"sealing_keys": f"k1:{KEY}", "pseudonym_key": OTHER_KEY, "bus_url": "redis://:x@redis:6379"}
    for name, value in {**secrets, "admin_token": "token of the operators"}.items():
        (folder / name).write_text(value, "utf-8")
    (container,) = pod_of(found)["containers"]
    environ = {}
    for variable in container["env"]:
        value = variable.get("value", "demo-oscc-gateway-5d4c8f7b9-x2x4z")
        value = value.replace("/run/secrets/gateway", str(folder)).replace("/run/secrets/redis", str(folder))
        environ[variable["name"]] = value
    return load(folder / "gateway.toml", environ).settings


@EACH
def test_the_gateway_takes_its_settings(values: str, tmp_path: Path) -> None:
    settings = gateway_toml(documents("4", values), tmp_path)
    assert (settings.client.port, settings.ops.port) == (8080, 9090)
    assert settings.node.name == "demo-oscc-gateway-5d4c8f7b9-x2x4z"
    assert settings.secrets is not None
    given = yaml.safe_load((values_file(values)).read_text("utf-8"))
    assert [site.display_name for site in settings.sites] == [one["display_name"] for one in given["sites"]]
    for name, value in given["settings"].get("limits", {}).items():
        assert getattr(settings.limits, name) == value


def test_files_are_where_the_settings_look(tmp_path: Path) -> None:
    found = documents("4", "ingress-tls")
    settings = gateway_toml(found, tmp_path)
    pod = pod_of(found)
    mounts = {one["mountPath"]: one["name"] for one in pod["containers"][0]["volumeMounts"]}
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes[mounts["/run/secrets/tls"]]["secret"]["secretName"] == "gateway-tls"
    assert str(settings.client.certificate) == "/run/secrets/tls/tls.crt"
    assert volumes[mounts["/run/authorities"]]["configMap"]["name"] == "authorities"
    assert str(settings.sites[0].ca_file) == "/run/authorities/main.pem"
    assert volumes[mounts["/etc/oscc-gateway"]]["configMap"]["name"] == "demo-oscc-gateway"
    assert volumes[mounts["/run/notices"]] == {
        "name": "notices",
        "configMap": {"name": "demo-oscc-gateway-notices"},
    }
    assert settings.notices.files == (Path("/run/notices"),)
    assert set(of("Secret", found)["stringData"]) == {
        "sealing_keys",
        "pseudonym_key",
        "bus_url",
        "admin_token",
    }


def test_redis_may_come_from_secrets_of_its_own(tmp_path: Path) -> None:
    given = {
        "redis.url": "rediss+sentinel://a:26379\\,b:26379/m?db=2",
        "redis.user": "gate",
        "redis.password.existingSecret": "redis",
        "redis.sentinelUser": "watcher",
        "redis.sentinelPassword.existingSecret": "sentinels",
        "redis.sentinelPassword.key": "pw",
        "redis.ca.existingSecret": "redis-ca",
    }
    found = documents("4", "least", "--set", ",".join(f"{key}={value}" for key, value in given.items()))
    pod = pod_of(found)
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert {
        (item["path"], source["secret"]["name"], item["key"])
        for source in volumes["redis"]["projected"]["sources"]
        for item in source["secret"]["items"]
    } == {
        ("password", "redis", "redis-password"),
        ("sentinel_password", "sentinels", "pw"),
        ("ca.crt", "redis-ca", "ca.crt"),
    }
    (tmp_path / "password").write_text("p@ss", "utf-8")
    (tmp_path / "sentinel_password").write_text("s/ss", "utf-8")
    bus = gateway_toml(found, tmp_path).bus
    assert (bus.url, bus.user, bus.sentinel_user) == (
        "rediss+sentinel://a:26379,b:26379/m?db=2",
        "gate",
        "watcher",
    )
    assert bus.password is not None
    assert bus.password.get_secret_value() == "p@ss"
    assert str(bus.ca_file) == "/run/secrets/redis/ca.crt"


@pytest.mark.parametrize("url", ["redis+cluster://a,b:6379,c", "rediss+cluster://a:6379"])
def test_a_redis_cluster_may_be_named(url: str, tmp_path: Path) -> None:
    given = url.replace(",", "\\,")
    assert gateway_toml(documents("4", "least", "--set", f"redis.url={given}"), tmp_path).bus.url == url
    secrets = f"sealingKeys=k1:{KEY},pseudonymKey={OTHER_KEY},busUrl={given}".replace(",", ",secrets.")
    own = f"secrets.existingSecret=,secrets.{secrets}".replace("\\,secrets.", "\\,")
    (secret,) = [one for one in documents("4", "least", "--set", own) if one["kind"] == "Secret"]
    assert secret["stringData"]["bus_url"] == url


@pytest.mark.parametrize(
    ("url", "port"), [("ami://pbx", 5038), ("amis://pbx", 5039), ("amis://pbx:5555", 5555)]
)
def test_an_asterisk_has_its_secret_from_a_variable_and_its_port_open(
    url: str, port: int, tmp_path: Path
) -> None:
    site = {"id": "main", "display_name": "Main", "url": url, "insecure": "true"}
    given = {f"sites[0].{name}": value for name, value in site.items()}
    given |= {"sites[0].asterisk.user": "gate", "sites[0].asterisk.people_file": "/people.toml"}
    variable = "OSCC_GATEWAY__SITES__0__ASTERISK__SECRET"
    given |= {"extraEnv[0].name": variable, "extraEnv[0].value": "from a Secret"}
    found = documents("4", "least", "--set", ",".join(f"{key}={value}" for key, value in given.items()))
    (asked,) = [one.asterisk for one in gateway_toml(found, tmp_path).sites]
    assert asked is not None
    assert asked.secret.get_secret_value() == "from a Secret"
    assert port in {
        each["port"] for rule in of("NetworkPolicy", found)["spec"]["egress"] for each in rule["ports"]
    }


@EACH
def test_a_pod_may_write_support_bundles_alone(values: str, tmp_path: Path) -> None:
    found = documents("4", values)
    pod = pod_of(found)
    written = [one for one in pod["containers"][0]["volumeMounts"] if not one.get("readOnly")]
    folder = gateway_toml(found, tmp_path).admin.bundle_folder
    assert [one["mountPath"] for one in written] == ([] if folder is None else [str(folder.parent)])
    assert (folder is None) is (values != "ingress-tls")
    empty = {one["name"]: one["emptyDir"] for one in pod["volumes"] if "emptyDir" in one}
    assert empty == {one["name"]: {"medium": "Memory", "sizeLimit": "16Mi"} for one in written}


def test_the_command_line_is_one() -> None:
    for values in VALUES:
        (container,) = pod_of(documents("4", values))["containers"]
        assert str(parser().parse_args(container["args"]).config) == "/etc/oscc-gateway/gateway.toml"


# ---- how pods come and go ----


@EACH
def test_a_pod_may_take_as_long_to_end_as_it_takes(values: str, tmp_path: Path) -> None:
    found = documents("4", values)
    limits = gateway_toml(found, tmp_path).limits
    pod = pod_of(found)
    pre_stop = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = pre_stop + limits.drain_notice_s + limits.drain_s + MARGIN_S
    assert pod["terminationGracePeriodSeconds"] >= needed


@BOTH
def test_a_grace_that_is_too_short_is_refused(major: str) -> None:
    assert_refused(
        rendered(major, "least", "--set", "drain.terminationGracePeriodSeconds=89"),
        "is 89, but preStop, drain and margin take 90 s",
    )
    longer = documents(major, "least", "--set-json", "settings.limits.drain_s=300.5")
    assert pod_of(longer)["terminationGracePeriodSeconds"] == 331


def test_one_pod_comes_before_one_goes() -> None:
    spec = of("Deployment", documents("4", "least"))["spec"]
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert spec["replicas"] == 3
    assert of("PodDisruptionBudget", documents("4", "least"))["spec"]["maxUnavailable"] == 1
    assert "replicas" not in of("Deployment", documents("4", "autoscaling"))["spec"]


@EACH
def test_no_two_pods_drain_at_the_same_time(values: str, tmp_path: Path) -> None:
    found = documents("4", values)
    spec, limits = of("Deployment", found)["spec"], gateway_toml(found, tmp_path).limits
    pre_stop = spec["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["minReadySeconds"] >= pre_stop + limits.drain_notice_s + limits.drain_s
    # what takes longer than progressDeadlineSeconds is called a failure
    assert spec["progressDeadlineSeconds"] >= spec["minReadySeconds"] + 600


def test_a_shorter_readiness_may_be_asked_for() -> None:
    found = documents("4", "least", "--set", "minReadySeconds=0,strategy.type=Recreate")
    spec = of("Deployment", found)["spec"]
    assert (spec["minReadySeconds"], spec["strategy"]) == (0, {"type": "Recreate"})


def test_scaling_down_waits_for_the_drain_before() -> None:
    def period(*more: str) -> int:
        behaviour = of("HorizontalPodAutoscaler", documents("4", "autoscaling", *more))["spec"]["behavior"]
        seconds: int = behaviour["scaleDown"]["policies"][0]["periodSeconds"]
        return seconds

    assert period() == 600
    assert period("--set", "settings.limits.drain_s=1000") == 1015


def test_another_version_of_the_chart_replaces_no_pod(tmp_path: Path) -> None:
    copy_of = tmp_path / "oscc-gateway"
    shutil.copytree(CHART, copy_of)
    text = (copy_of / "Chart.yaml").read_text("utf-8")
    (copy_of / "Chart.yaml").write_text(re.sub(r"(?m)^version: .*$", "version: 99.0.0", text), "utf-8")

    def template(chart: Path) -> Document:
        said = ask(helm("4"), "template", "demo", chart, "--values", values_file("ingress-tls"))
        found = [one for one in yaml.safe_load_all(said.text) if one]
        pod: Document = of("Deployment", found)["spec"]["template"]
        return pod

    assert template(copy_of) == template(CHART)


def checksums(*more: str, values: str = "ingress-tls") -> dict[str, str]:
    pod = of("Deployment", documents("4", values, *more))["spec"]["template"]["metadata"]
    return {name: value for name, value in pod["annotations"].items() if name.startswith("checksum/")}


def test_pods_are_replaced_when_their_settings_change_and_not_for_notices() -> None:
    before = checksums()
    assert before.keys() == {"checksum/config", "checksum/secret"}
    assert checksums("--set", "notices.upkeep\\.toml=other") == before
    pod = of("Deployment", documents("4", "ingress-tls"))["spec"]["template"]
    for notices in ("notices.second\\.toml=new", "notices=null"):
        assert of("Deployment", documents("4", "ingress-tls", "--set", notices))["spec"]["template"] == pod
    assert checksums("--set", "replicaCount=5") == before
    assert checksums("--set", "settings.log.level=debug")["checksum/config"] != before["checksum/config"]
    assert checksums("--set", "secrets.adminToken=other")["checksum/secret"] != before["checksum/secret"]


@BOTH
def test_one_node_only_lives_without_redis(major: str) -> None:
    alone = ("--set", "secrets.busUrl=memory://,replicaCount=")
    assert "serves one node" in rendered(major, "ingress-tls", alone[0], f"{alone[1]}2").text
    assert rendered(major, "ingress-tls", alone[0], f"{alone[1]}1").code == 0


@BOTH
def test_a_gateway_without_sites_is_refused_at_the_install_and_not_by_lint(major: str) -> None:
    given = ("template", "demo", CHART, "--set", "settings.client.insecure=true")
    assert_refused(ask(helm(major), *given), "sites is empty")
    linted = ask(helm(major), "lint", "--strict", CHART)
    assert linted.code == 0
    assert "0 chart(s) failed" in linted.text


@BOTH
def test_tls_must_end_somewhere(major: str) -> None:
    assert_refused(
        rendered(major, "least", "--set", "settings.client.trusted_proxies=null"), "Nothing ends TLS."
    )


@pytest.mark.parametrize(
    ("values", "given", "received"),
    [
        (
            "autoscaling",
            "autoscaling.minReplicas=13",
            "minReplicas (13) is greater than autoscaling.maxReplicas (12)",
        ),
        ("ingress-tls", "settings.client.insecure=true", "remove one of them"),
        ("ingress-tls", "redis.url=redis://redis:6379", "redis.url and secrets.busUrl are both set"),
        ("least", "redis.user=gateway", "redis.url is missing"),
        ("least", "service.loadBalancerClass=internal", "service.type is ClusterIP"),
        ("least", "service.nodePort=30080", "service.type is ClusterIP"),
        ("least", "extraEnv[0].name=OSCC_GATEWAY__LIMITS__DRAIN_S", "set it under settings.limits"),
        ("least", "extraEnv[0].name=OSCC_GATEWAY__CLIENT__PORT", "the chart's own listeners"),
    ],
)
def test_what_contradicts_itself_is_refused(values: str, given: str, received: str) -> None:
    assert_refused(rendered("4", values, "--set", given), received)


@pytest.mark.parametrize(("name", "major"), [("1st", "3"), ("v1.2", "4")])
def test_a_release_that_no_service_can_be_called_after_is_refused(name: str, major: str) -> None:
    command = (helm(major), "template", name, CHART, "--values", values_file("least"))
    assert_refused(ask(*command), f"No Service can be called {name}-oscc-gateway")
    assert ask(*command, "--set", "fullnameOverride=gw").code == 0


# ---- what comes from elsewhere ----


def values() -> dict[str, Any]:
    given: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    return given


def test_the_chart_is_of_this_gateway() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == gateway.__version__
    for name, value in values()["settings"]["limits"].items():
        assert getattr(LimitsSection(), name) == value


RULES, DASHBOARD = CHART / "files" / "rules.yaml", CHART / "files" / "dashboard.json"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(RULES, DEPLOY / "prometheus" / "rules.yaml"), (DASHBOARD, DEPLOY / "grafana" / "dashboard.json")],
)
def test_rules_and_dashboard_are_those_of_deploy(ours: Path, theirs: Path) -> None:
    # a chart cannot reach beyond its folder, so it has copies
    if not theirs.exists():
        pytest.skip(f"the chart's {ours.name} is the only one")
    assert ours.read_bytes() == theirs.read_bytes()


def rules_of(found: list[Document]) -> dict[str, Any]:
    """Return the rules of the manifests, the expected number of nodes as in the file."""
    spec: dict[str, Any] = of("PrometheusRule", found)["spec"]
    expected = "oscc_gateway:nodes_expected:count"
    for group in spec["groups"]:
        for rule in group["rules"]:
            if rule.get("record") == expected:
                assert rule["expr"] == (
                    '3 + 0 * oscc_gateway:nodes:count{namespace="voice", job="oscc-gateway"}'
                )
                rule["expr"] = "max_over_time(oscc_gateway:nodes:count[6h])"
    return spec


def test_rules_and_dashboard_arrive_whole() -> None:
    found = documents("4", "monitoring")
    assert rules_of(found) == yaml.safe_load(RULES.read_text("utf-8"))
    (shown,) = [one for one in found if "oscc-gateway.json" in one.get("data", {})]
    assert json.loads(shown["data"]["oscc-gateway.json"]) == json.loads(DASHBOARD.read_text("utf-8"))
    assert shown["metadata"]["labels"]["grafana_dashboard"] == "1"


@pytest.mark.parametrize(("slash", "major"), [("", "3"), ("/", "4")])
def test_alerts_link_to_a_copy_of_the_runbook(slash: str, major: str) -> None:
    address = "https://git.example/oscc-gateway/blob/main"
    found = documents(major, "monitoring", "--set", f"monitoring.prometheusRule.runbooksAt={address}{slash}")
    spec, alerts = rules_of(found), 0
    for rule in [rule for group in spec["groups"] for rule in group["rules"] if "alert" in rule]:
        alerts += 1
        start, path = rule["annotations"]["runbook_url"][: len(address) + 1], "docs/runbook.md#"
        assert start == f"{address}/"
        rule["annotations"]["runbook_url"] = rule["annotations"]["runbook_url"].removeprefix(start)
        assert rule["annotations"]["runbook_url"].startswith(path)
    assert alerts > 10
    assert spec == yaml.safe_load(RULES.read_text("utf-8"))


@pytest.mark.parametrize(
    ("given", "received"), [("least", "create secret generic"), ("ingress-tls", "https://")]
)
def test_notes_tell_what_is_next(given: str, received: str) -> None:
    file = values_file(given)
    said = ask(helm("4"), "install", "demo", CHART, "--dry-run=client", "--values", file)
    assert said.code == 0
    notes = said.text.partition("\nNOTES:\n")[2]
    assert received in notes
    assert "helm test demo" in notes
