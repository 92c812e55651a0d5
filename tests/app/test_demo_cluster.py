"""``demo-cluster``: nodes survive a kill, and all ends cleanly."""

from __future__ import annotations

import json
import re
import signal
import tomllib
from pathlib import Path

import pytest

from gateway.app.cli import main
from gateway.app.cli.demo import LocalRedis, RedisProgram
from gateway.app.cli.demo_cluster import (
    DemoCluster,
    DemoProcesses,
    LoadBalancer,
    NodeProcess,
    cluster_board_options,
    cluster_footer,
    cluster_introduction,
    node_configuration,
)
from gateway.app.config.sources import generate_secrets, load
from gateway.runtime.event_loop import SystemClock
from gateway.simulator import SimulatorSettings
from tests.app.processes import Running, run, running

PROGRAM = RedisProgram(Path("/bin/redis-server"), "redis-server on the PATH")


def stage_in(folder: Path, port: int = 8080) -> DemoCluster:
    """A stage on which nothing runs."""
    nodes = [NodeProcess(name, folder) for name in ("n1", "n2", "n3")]
    crew = DemoProcesses(nodes, LocalRedis(PROGRAM, folder), SystemClock())
    door = LoadBalancer(crew.targets)
    return DemoCluster(crew, folder, "http://127.0.0.1:1", f"http://127.0.0.1:{port}", port, "http://b", door)


def test_each_node_has_a_file_that_can_be_used_and_an_admin_token_of_this_run(tmp_path: Path) -> None:
    tokens, own = set(), generate_secrets()
    for node in stage_in(tmp_path).processes.nodes:
        text = node_configuration(node, "redis://:canary@127.0.0.1:1", "http://127.0.0.1:2", own)
        node.config.write_text(text, "utf-8")
        settings = load(node.config, {}).settings
        assert settings.bus.url == "redis://:canary@127.0.0.1:1"
        assert settings.secrets is not None
        assert tomllib.loads(text)["sites"][0]["url"] == "http://127.0.0.1:2"
        assert {settings.client.host, settings.ops.host, settings.admin.host} == {"127.0.0.1"}
        assert (settings.node.name, settings.admin.port) == (node.name, node.admin.port)
        assert settings.admin.token is not None
        tokens.add(settings.admin.token.get_secret_value())
    assert len(tokens) == 3
    assert min(map(len, tokens)) >= 32


def test_the_introduction_names_what_there_is_to_try(tmp_path: Path) -> None:
    stage = stage_in(tmp_path)
    text = cluster_introduction(SimulatorSettings(), stage, PROGRAM)
    for part in (
        "200 agents, 20 queues",
        "redis-server on the PATH",
        "supervisor1",
        "agent1",
        "password demo",
        "oscc-gateway demo-cluster kill n1 ",
        "oscc-gateway demo-cluster start n1 ",
        "oscc-gateway demo-cluster kill redis ",
        f"oscc-gateway nodes --config {tmp_path}/n1.toml\n",
        f"oscc-gateway drain --config {tmp_path}/n1.toml --node n2\n",
        "oscc-gateway watch http://127.0.0.1:8080 --user supervisor2\n",
        *(f"http://127.0.0.1:{node.port} " for node in stage.processes.nodes),
    ):
        assert part in text
    assert stage.processes.redis.url not in text
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 80


def test_the_board_shows_the_nodes_and_what_to_try_on_them(tmp_path: Path) -> None:
    stage = stage_in(tmp_path)
    options = cluster_board_options(SimulatorSettings(), stage, 5.0, 60)
    assert (options.address, options.user_name, options.lines) == ("http://b", "supervisor1", 60)
    assert callable(options.footer)
    assert options.footer().splitlines() == [
        "n1 ✕ down   n2 ✕ down   n3 ✕ down   redis ✕ down",
        "in another terminal: oscc-gateway demo-cluster kill n1",
        "http://127.0.0.1:8080 · password demo · Ctrl-C ends it",
    ]
    stage.board_balancer.last = "n2"
    assert "demo-cluster kill n2" in options.footer()
    other = cluster_footer(SimulatorSettings(), stage_in(tmp_path, 9999))
    assert "oscc-gateway demo-cluster --port 9999 kill n1" in other


def test_where_no_demonstration_runs_nothing_can_be_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert main(["demo-cluster", "kill", "n1"]) == 1
    assert "No demonstration of many nodes runs here" in capsys.readouterr().err


def test_without_a_redis_it_is_said_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main(["demo-cluster"]) == 1
    assert "There is no Redis to run the nodes on: install" in capsys.readouterr().err


# ---- for real ----

OPTIONS = ("--port", "0", "--agents", "3", "--queues", "2", "--lines", "16")


def _asked(port: str, verb: str, name: str) -> str:
    ended = run("demo-cluster", verb, name, "--port", port)
    assert (ended.code, ended.err) == (0, ""), ended.err
    return ended.out


def _port(process: Running) -> str:
    (port,) = re.findall(r"127\.0\.0\.1:(\d+)", process.until("Load balancer"))
    assert isinstance(port, str)
    return port


@pytest.mark.scenario
def test_the_board_goes_on_at_another_node_when_its_node_is_killed_and_when_one_is_drained() -> None:
    with running("demo-cluster", *OPTIONS) as process:
        port = _port(process)
        config = process.until("oscc-gateway nodes --config ").split()[-1]
        first = re.findall(r"(n\d) ● pid \d+ \(board\)", process.until("(board)"))
        assert first
        assert "was killed" in _asked(port, "kill", first[0])
        line = process.until("✕ down")
        second = re.findall(r"(n\d) ● pid \d+ \(board\)", line) or re.findall(
            r"(n\d) ● pid \d+ \(board\)", process.until("(board)")
        )
        assert second
        assert second != first
        process.until("upstream ● live   bus ● live")
        listed = run("nodes", "--config", config, "--json")
        assert listed.code == 0
        assert {node["node"] for node in json.loads(listed.out)} >= set(second)
        assert "starts" in _asked(port, "start", first[0])
        other = Path(config).with_name(f"{second[0]}.toml")
        assert json.loads(run("sessions", "--config", str(other), "--json").out)["sessions"]
        assert "was asked to end" in _asked(port, "stop", second[0])
        process.until(f"{second[0]} ✕ down")
        process.until("upstream ● live   bus ● live")
        ended = process.end(signal.SIGINT)
    assert (ended.code, ended.err) == (0, ""), ended.err
    assert not Path(config).exists()


@pytest.mark.scenario
def test_the_start_is_shown_and_without_its_redis_the_board_stays_live() -> None:
    with running("demo-cluster", *OPTIONS) as process:
        process.until("3 nodes start.")
        ready = {process.until(" accepts phones after ").split()[1] for _ in range(3)}
        assert ready == {"n1", "n2", "n3"}
        port = _port(process)
        process.until("upstream ● live   bus ● live")
        assert "redis was killed" in _asked(port, "kill", "redis")
        process.until("upstream ● live   bus ✕ down")
        assert "redis starts" in _asked(port, "start", "redis")
        process.until("upstream ● live   bus ● live")
        ended = process.end(signal.SIGTERM)
    assert (ended.code, ended.err) == (0, ""), ended.err
