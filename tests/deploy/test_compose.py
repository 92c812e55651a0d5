"""Compose file: valid, isolated services, and settings that the gateway accepts."""

from __future__ import annotations

import json
import re
import stat
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import redis.asyncio as client
import yaml

from gateway.app.cli import parser
from gateway.app.cli.demo import ChildProcess, free_port
from gateway.app.config.settings import LimitsSection
from gateway.app.config.sources import load
from tests.app import certificates
from tests.app.samples import KEY, OTHER_KEY
from tests.deploy.programs import DEPLOY, ROOT, ask, machine
from tests.doubles.servers import Engine, binary, until

FILE: Final = DEPLOY / "compose.yaml"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load(FILE.read_text("utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
NODES: Final = ("gateway-1", "gateway-2")
MARGIN_S: Final = 10
EACH = pytest.mark.parametrize("name", SERVICES)


def test_its_schema_takes_it_and_would_report_a_fault() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    taken = jsonschema.Draft202012Validator(json.loads(schema.read_text("utf-8")))
    taken.validate(COMPOSE)
    wrong = FILE.read_text("utf-8").replace("pids_limit: 64", "pids_limits: 64")
    with pytest.raises(jsonschema.ValidationError, match="pids_limits"):
        taken.validate(yaml.safe_load(wrong))


# ---- each service ----


@EACH
def test_a_service_may_do_as_little_as_can_be(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"}
    assert service["mem_limit"]
    assert service["restart"] == "unless-stopped"


@EACH
def test_a_service_has_a_health_check_and_waits_for_its_dependencies(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    for needed, how in service.get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert set(service["networks"]) & set(SERVICES[needed]["networks"])


@EACH
def test_an_image_has_a_version(name: str) -> None:
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+[\w.-]*", image) or "build" in SERVICES[name]


@EACH
def test_what_is_mounted_is_there_and_stays_as_it_is(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, _, *mode = volume.split(":")
        if source.startswith("."):
            assert (DEPLOY / source).is_file(), source
            assert mode == ["ro"]
            assert (DEPLOY / source).stat().st_mode & stat.S_IROTH
        else:
            assert source in COMPOSE["volumes"]


@EACH
def test_secrets_are_files(name: str) -> None:
    service = SERVICES[name]
    named = {one if isinstance(one, str) else one["source"] for one in service.get("secrets", [])}
    assert named <= COMPOSE["secrets"].keys()
    for variable, value in service.get("environment", {}).items():
        if "/run/secrets/" in value:
            assert Path(value).name.removesuffix(".pem") in named
        else:
            assert not re.search(r"PASSWORD|TOKEN|SECRET|KEY", variable)


def test_the_secrets_are_those_that_are_made() -> None:
    script = (DEPLOY / "make-secrets.sh").read_text("utf-8")
    files = {Path(secret["file"]) for secret in COMPOSE["secrets"].values()}
    assert {file.parent for file in files} == {Path("compose/secrets")}
    (names,) = re.findall(r"^for name in (.*); do$", script, re.MULTILINE)
    assert {file.name for file in files} == {*names.split(), "tls.pem"}


def test_few_ports_are_open_and_few_networks_lead_out() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"haproxy": ["8443:8443"], "grafana": ["127.0.0.1:3000:3000"]}
    inner = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    assert inner == {"bus", "site", "watch"}
    for name, service in SERVICES.items():
        assert set(service["networks"]) <= inner or name in {"haproxy", "grafana", *NODES}


# ---- the nodes ----


def placed(text: str, folder: Path) -> str:
    return text.replace("/run/secrets/", f"{folder}/")


@pytest.mark.parametrize("name", NODES)
def test_a_node_takes_its_settings(name: str, tmp_path: Path) -> None:
    service = SERVICES[name]
    values = {
        "sealing_keys": f"k1:{KEY}",
        "pseudonym_key": OTHER_KEY,
        "admin_token": "token of the operators",
    }
    for secret, value in {**values, "bus_url": "redis://oscc-gateway:x@valkey:6379"}.items():
        (tmp_path / secret).write_text(value, "utf-8")
    assert set(service["secrets"]) == {path.name for path in tmp_path.iterdir()}
    environ = {key: placed(value, tmp_path) for key, value in service["environment"].items()}
    settings = load(DEPLOY / "compose" / "gateway.toml", environ).settings
    assert [str(network) for network in settings.client.trusted_proxies] == [
        COMPOSE["networks"]["front"]["ipam"]["config"][0]["subnet"]
    ]
    (site,) = settings.sites
    command = parser().parse_args(SERVICES["simulator"]["command"])
    assert site.url == f"http://simulator:{command.port}"
    proxy = SERVICES["haproxy"]["environment"]
    at = NODES.index(name) + 1
    assert proxy[f"OSCC_NODE_{at}"] == f"{name}:{settings.client.port}"
    assert proxy[f"OSCC_NODE_{at}_OPS"] == str(settings.ops.port)


@pytest.mark.parametrize("name", NODES)
def test_a_node_may_write_support_bundles_alone(name: str, tmp_path: Path) -> None:
    file = DEPLOY / "compose" / "gateway.toml"
    (tmp_path / "gateway.toml").write_text(file.read_text("utf-8"), "utf-8")
    folder = load(tmp_path / "gateway.toml", {}).settings.admin.bundle_folder
    ((place, _, options),) = [one.partition(":") for one in SERVICES[name]["tmpfs"]]
    assert folder is not None
    assert place == str(folder.parent)
    user, _, group = SERVICES[name]["user"].partition(":")
    assert options.split(",") == ["size=16m", f"uid={user}", f"gid={group}", "mode=0700"]


@pytest.mark.parametrize("name", NODES)
def test_a_node_may_take_as_long_to_stop_as_a_drain_takes(name: str) -> None:
    grace_s = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert grace_s >= LimitsSection().drain_notice_s + LimitsSection().drain_s + MARGIN_S


@pytest.mark.parametrize("name", [*NODES, "simulator"])
def test_health_is_asked_in_python_that_fails_when_nobody_answers(name: str) -> None:
    _, python, *words = SERVICES[name]["healthcheck"]["test"]
    assert python == "python"
    # nobody listens there
    code = words[1].replace("9090", "1").replace("8443", "1")
    assert "ConnectionRefusedError" in ask(sys.executable, "-c", code).text


# ---- those around them ----


async def test_valkey_starts_as_configured_and_lets_the_nodes_in(tmp_path: Path) -> None:
    service, port = SERVICES["valkey"], free_port()
    (tmp_path / "redis_password").write_text("secret", "utf-8")
    (tmp_path / "redis_admin_password").write_text("another secret", "utf-8")
    (tmp_path / "valkey-server").symlink_to(binary(Engine.VALKEY))
    (script,) = service["command"]
    script = placed(script.replace("$$", "$"), tmp_path).replace("/data", str(tmp_path))
    script = script.replace("/etc/oscc-gateway/redis.conf", str(DEPLOY / "redis.conf"))
    script = script.replace("--dir", f"--port {port} --dir")
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    child = ChildProcess("valkey", (*service["entrypoint"], script), tmp_path / "valkey.log", path)
    await child.start()
    try:

        async def lets_in() -> bool:
            assert child.pid is not None, child.log.read_text("utf-8")
            url = f"redis://oscc-gateway:secret@127.0.0.1:{port}"
            try:
                async with client.Redis.from_url(url) as door:
                    return bool(await door.ping())
            except client.ConnectionError:
                return False

        await until(lets_in, "it lets no node in")
        with pytest.raises(client.AuthenticationError):
            async with client.Redis(port=port, username="oscc-gateway", password="x") as door:
                await door.ping()
        async with client.Redis(port=port, username="oscc-admin", password="another secret") as door:
            assert await door.config_set("maxmemory", "128mb"), "as the runbook says"
    finally:
        await child.kill()
    conf = (tmp_path / "valkey.conf").read_text("utf-8")
    assert "secret" not in conf
    assert "bind * -::*" in conf


def test_haproxy_takes_its_settings(tmp_path: Path) -> None:
    certificate, key = certificates.make(tmp_path)
    (tmp_path / "tls.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    service = SERVICES["haproxy"]
    environ = [f"{key}={placed(value, tmp_path)}" for key, value in service["environment"].items()]
    assert ask("env", *environ, machine("haproxy"), "-c", "-f", DEPLOY / "haproxy" / "haproxy.cfg").code == 0


def test_prometheus_takes_its_settings_and_looks_at_all(tmp_path: Path) -> None:
    text = (DEPLOY / "compose" / "prometheus.yml").read_text("utf-8")
    rules = ROOT / "helm" / "oscc-gateway" / "files" / "rules.yaml"
    file = tmp_path / "prometheus.yml"
    file.write_text(text.replace("/etc/prometheus/rules.yaml", str(rules)), "utf-8")
    assert ask(machine("promtool"), "check", "config", file).code == 0
    file.write_text(text.replace("scrape_interval: 5s", "scrape_interval: soon"), "utf-8")
    assert ask(machine("promtool"), "check", "config", file).code != 0
    jobs = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in yaml.safe_load(text)["scrape_configs"]
    }
    assert jobs == {"oscc-gateway": [f"{name}:9090" for name in NODES], "haproxy": ["haproxy:8404"]}


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    folder = DEPLOY / "compose" / "grafana"
    (source,) = yaml.safe_load((folder / "datasources.yaml").read_text("utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((folder / "dashboards.yaml").read_text("utf-8"))["providers"]
    mounted = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/oscc-gateway.json" in mounted
    dashboard = json.loads((ROOT / "helm" / "oscc-gateway" / "files" / "dashboard.json").read_text("utf-8"))
    assert source["uid"] in json.dumps(dashboard)
