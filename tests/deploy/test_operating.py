"""Operators' commands reach a node as deploy/README.md says.

Real nodes and real commands have the environment and the files that the unit, compose.yaml and the chart
give them, at other paths and ports.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml

from gateway.app.cli import parser
from gateway.app.cli.demo import free_port
from tests.app.samples import KEY, OTHER_KEY, SMALLEST
from tests.deploy.manifests import documents, of
from tests.deploy.programs import DEPLOY, Said, carried
from tests.deploy.test_oscc_gateway_node import placed
from tests.deploy.test_systemd_unit import said, variables
from tests.doubles.servers import Engine, redis_server, until

COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
IMAGE_WORKS_AT: Final = "WORKDIR /etc/oscc-gateway\n"
STATE: Final = "/var/lib/oscc-gateway"
PATIENCE_S: Final = 120.0

Place = Callable[[Path, dict[str, str]], "Way"]


class Way(NamedTuple):
    """How a node runs, and how a command for it is typed: *before* it and *after* it, with what variables."""

    environ: dict[str, str]
    before: tuple[str, ...]
    after: tuple[str, ...]
    operator: dict[str, str]
    bundles: Path


def on_a_host(folder: Path, ports: dict[str, str]) -> Way:
    """Be a host: the unit's environment for the node, a root shell's for the operator."""
    own = "".join(f'{name}="{value}"\n' for name, value in ports.items())
    (folder / "node-2.env").write_text(f"# the second node\n{own}", "utf-8")
    (folder / "gateway.toml").write_text(without_secrets(), "utf-8")
    script = placed(folder, Path(carried("oscc-gateway")))
    bundles = folder / "oscc-gateway-2"
    bundles.mkdir(mode=int(said("StateDirectoryMode")[0], 8))
    environ = variables("2", folder / "secrets", folder) | ports
    return Way(environ, (str(script), "2"), (), {"PATH": "/usr/bin:/bin"}, bundles)


def without_secrets() -> str:
    """Return a file for nodes whose secrets come from elsewhere."""
    left_out = "[bus]", "[secrets]", 'url = "memory', "token", "sealing_keys", "pseudonym_key"
    return "".join(line for line in SMALLEST.splitlines(keepends=True) if not line.startswith(left_out))


def in_compose(folder: Path, ports: dict[str, str]) -> Way:
    """Be a container of compose.yaml."""
    service = COMPOSE["services"]["gateway-1"]
    text = (DEPLOY / "compose" / "gateway.toml").read_text("utf-8")
    (tmpfs,) = [one.partition(":") for one in service["tmpfs"]]
    assert tmpfs[0] == STATE
    (folder / "state").mkdir(mode=int(tmpfs[2].partition("mode=")[2], 8))
    return in_a_container(folder, text, service["environment"], ports)


def in_kubernetes(folder: Path, ports: dict[str, str]) -> Way:
    """Be a pod of the chart."""
    found = documents("4", "least", "--set", "admin.enabled=true")
    pod = of("Deployment", found)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert STATE in {one["mountPath"] for one in container["volumeMounts"]}
    (folder / "state").mkdir()
    # an emptyDir is everybody's
    (folder / "state").chmod(0o2777)
    (text,) = [one["data"]["gateway.toml"] for one in found if "gateway.toml" in one.get("data", {})]
    environ = {one["name"]: one.get("value", "demo-oscc-gateway-x2x4z") for one in container["env"]}
    # the empty ConfigMap of notices
    assert "/run/notices" in {one["mountPath"] for one in container["volumeMounts"]}
    (folder / "notices").mkdir()
    return in_a_container(folder, text.replace("/run/notices", str(folder / "notices")), environ, ports)


def in_a_container(folder: Path, text: str, environ: dict[str, str], ports: dict[str, str]) -> Way:
    assert IMAGE_WORKS_AT in (DEPLOY / "Dockerfile").read_text("utf-8")
    (folder / "gateway.toml").write_text(text.replace(STATE, str(folder / "state")), "utf-8")
    secrets = f"{folder}/secrets/"
    # a shell in the container has the same environment
    inside = ports | {
        name: re.sub("/run/secrets/(gateway/)?", lambda _: secrets, value) for name, value in environ.items()
    }
    after, bundles = ("--config", "gateway.toml"), folder / "state" / "bundles"
    return Way(inside, (carried("oscc-gateway"),), after, inside, bundles)


PLACES: Final[dict[str, Place]] = {"host": on_a_host, "compose": in_compose, "kubernetes": in_kubernetes}


@asynccontextmanager
async def way(name: str, folder: Path) -> AsyncIterator[Way]:
    """One of the ways, and its Redis."""
    secrets = {"sealing_keys": f"k1:{KEY}", "pseudonym_key": OTHER_KEY, "admin_token": "an operator's token"}
    (folder / "secrets").mkdir()
    ports = {f"OSCC_GATEWAY__{name}__PORT": str(free_port()) for name in ("CLIENT", "OPS", "ADMIN")}
    async with redis_server(engine=Engine.VALKEY) as server:
        for secret, value in {**secrets, "bus_url": server.url}.items():
            (folder / "secrets" / secret).write_text(value, "utf-8")
        yield PLACES[name](folder, ports)


@contextmanager
def node(way: Way, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the way's node while the block lasts."""
    words = [carried("oscc-gateway"), "serve", "--config", str(folder / "gateway.toml")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=way.environ, text=True) as process:
        assert process.stdout is not None
        try:
            received: dict[str, object] = {}
            while received.get("listener") != "client":
                received = json.loads(process.stdout.readline())
            yield process
        finally:
            process.kill()


def ask(way: Way, folder: Path, *words: str) -> Said:
    """Type a command as the way has it."""
    command, *more = words
    done = subprocess.run(
        [*way.before, command, *way.after, *more],
        env=way.operator,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return Said(done.returncode, done.stdout + done.stderr)


async def lives(way: Way, folder: Path) -> bool:
    """Tell whether the node answers, and has reached its Redis."""
    return ask(way, folder, "sessions").code == 0


@pytest.mark.timeout(600)  # some processes, each of which may take its time on a busy machine
@pytest.mark.parametrize("name", PLACES)
@pytest.mark.takes(4)
async def test_what_is_checked_is_what_the_node_has_and_commands_reach_it(name: str, tmp_path: Path) -> None:
    async with way(name, tmp_path) as at:
        received = ask(at, tmp_path, "check-config", "--offline")
        assert received.code == 0, received.text
        for secret in ("SECRETS__SEALING_KEYS", "SECRETS__PSEUDONYM_KEY", "BUS__URL", "ADMIN__TOKEN"):
            assert f"# OSCC_GATEWAY__{secret}_FILE\n" in received.text
        assert f'bundle_folder = "{at.bundles}"' in received.text
        if name == "compose":
            return  # from here on its container is as a pod's
        with node(at, tmp_path) as process:
            # it says that it lives a moment after it listens
            await until(lambda: lives(at, tmp_path), "no node lives")
            assert ask(at, tmp_path, "nodes").text.count(" live ") == 1
            written = ask(at, tmp_path, "support-bundle", "--purpose", "case-4711", "--write")
            assert written.code == 0, written.text
            (file,) = at.bundles.iterdir()
            assert written.text.endswith(f"Written to {file}\n")
            assert json.loads(file.read_text("utf-8"))["bundle"]["purpose"] == "case-4711"
            drained = ask(at, tmp_path, "drain")
            assert drained.code == 0, drained.text
            assert process.wait(timeout=PATIENCE_S) == 0


BEFORE: Final = re.compile(
    r"[#$] (?:oscc-gateway-node \d|docker compose .* oscc-gateway|kubectl .* -- oscc-gateway) "
)


def test_the_page_has_commands_that_there_are() -> None:
    text, by = (DEPLOY / "README.md").read_text("utf-8"), set[str]()
    for line in text.splitlines():
        if (before := BEFORE.match(line)) is not None:
            args = parser().parse_args(shlex.split(line[before.end() :], comments=True))
            by.add(line.split()[1])
            # the script says it by itself; in a container it counts from where the image works
            assert (args.config is None) == line.startswith("# oscc-gateway-node"), line
    assert by == {"oscc-gateway-node", "docker", "kubectl"}
