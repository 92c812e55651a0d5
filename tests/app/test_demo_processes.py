"""Are the processes of a demonstration told apart, killed and started by name, and shown as they are?"""

from __future__ import annotations

import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.app.cli.demo import ChildProcess, LocalRedis, RedisProgram
from gateway.app.cli.demo_cluster import DemoProcesses, NodeProcess
from gateway.app.listeners import listening
from gateway.app.process import SystemClock
from tests.doubles.servers import any_engine, binary

SLEEPS = (sys.executable, "-c", "import signal; signal.pause()")


def node(folder: Path, name: str) -> NodeProcess:
    """A node whose process does nothing."""
    made = NodeProcess(name, folder / "gateway.toml", folder)
    vars(made)["child"] = ChildProcess(name, SLEEPS, folder / f"{name}.log")
    return made


def crew_in(folder: Path) -> DemoProcesses:
    redis = LocalRedis(RedisProgram(Path(binary(any_engine())), "here"), folder)
    return DemoProcesses([node(folder, "n1"), node(folder, "n2")], redis, SystemClock())


async def test_each_process_is_killed_and_started_by_its_name(tmp_path: Path) -> None:
    crew = crew_in(tmp_path)
    await crew.start()
    try:
        for name, child in crew.children.items():
            pid = child.pid
            assert pid is not None
            killed = f"{name} was killed (kill -9 {pid}); start it again with: start {name}."
            assert await crew.act("kill", name) == killed
            assert child.pid is None
            with pytest.raises(ValueError, match=f"{name} does not run"):
                await crew.act("stop", name)
            assert (await crew.act("start", name)).startswith(f"{name} starts (process ")
            with pytest.raises(ValueError, match=f"{name} runs already"):
                await crew.act("start", name)
            assert child.pid != pid
        assert "was asked to end" in await crew.act("stop", "n1")
    finally:
        await crew.end()
    assert [child.pid for child in crew.children.values()] == [None, None, None]


@pytest.mark.parametrize(("verb", "name"), [("kill", "n9"), ("eat", "n1"), ("", "")])
async def test_what_cannot_be_done_is_told_with_what_can(tmp_path: Path, verb: str, name: str) -> None:
    with pytest.raises(ValueError, match="Say one of kill, stop, start, and which of n1, n2, redis"):
        await crew_in(tmp_path).act(verb, name)


async def test_a_node_is_as_it_says_itself(tmp_path: Path) -> None:
    said = ["ok"]

    async def ready(request: web.Request) -> web.Response:
        return web.Response(text=f"{said[-1]}\n", status=200 if said[-1] == "ok" else 503)

    app = web.Application()
    app.router.add_get("/readyz", ready)
    crew = crew_in(tmp_path)
    first, second = crew.nodes
    async with aiohttp.ClientSession() as http, listening("ops", app, "127.0.0.1", first.ops_port):
        await first.look(http)
        assert (first.state, crew.targets()) == ("down", [])
        await first.child.start()
        await first.look(http)
        assert first.state == "ready"
        assert crew.targets() == [("n1", first.port)]
        line = crew.line("n1")
        assert line == f"n1 ● pid {first.child.pid} (board)   n2 ✕ down   redis ✕ down"
        said.append("draining")
        await first.look(http)
        assert (first.state, crew.targets()) == ("draining", [])
        assert crew.line(None).startswith("n1 ▲ draining   ")
        await second.child.start()
        await second.look(http)
        assert second.state == "starting"
        await first.child.kill()
        assert "n1 ✕ down" in crew.line(None)
    await crew.end()


def test_a_node_has_its_own_settings_and_none_of_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSCC_GATEWAY__CLIENT__HOST", "0.0.0.0")
    monkeypatch.setenv("KEPT", "yes")
    made = NodeProcess("n1", tmp_path / "gateway.toml", tmp_path)
    environ = made.child._environ
    assert environ["KEPT"] == "yes"
    assert {name: value for name, value in environ.items() if name.startswith("OSCC_GATEWAY__")} == {
        "OSCC_GATEWAY__NODE__NAME": "n1",
        "OSCC_GATEWAY__CLIENT__PORT": str(made.port),
        "OSCC_GATEWAY__OPS__PORT": str(made.ops_port),
        "OSCC_GATEWAY__ADMIN__PORT": "0",
    }
