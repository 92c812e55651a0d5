"""A whole installation for one scenario: a simulated OSCC-E Server and a gateway, each its own process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

LINES_MAX = 20_000


class Installation:
    """Two processes and the doors to them."""

    def __init__(self, simulator: Process, control: str, gateway: Process, base: str, ops: str) -> None:
        self.simulator, self.control = simulator, control
        self.gateway, self.base, self.ops = gateway, base, ops
        self.log: list[str] = []

    async def ask(self, http: aiohttp.ClientSession, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the simulator's control door."""
        if body is None:
            async with http.get(f"{self.control}{path}") as answer:
                return await answer.json(content_type=None)
        async with http.post(f"{self.control}{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json(content_type=None)

    async def metric(self, http: aiohttp.ClientSession, name: str) -> float:
        """Return the sum of a metric's samples."""
        async with http.get(f"{self.ops}/metrics") as answer:
            text = await answer.text()
        return sum(
            float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        )


@contextlib.asynccontextmanager
async def installation(
    folder: Path, *simulator_options: str, limits: dict[str, Any] | None = None
) -> AsyncIterator[Installation]:
    """Start both, and end both in the end: the gateway with SIGTERM, which must exit 0."""
    oscc = [sys.executable, "-m", "gateway"]
    simulator = await _start(*oscc, "simulate", "--port", "0", "--control-port", "0", *simulator_options)
    try:
        assert simulator.stdout is not None
        lines = [(await simulator.stdout.readline()).decode() for _ in range(2)]
        url, control = (re.findall(r"http://\S+", line)[0].rstrip("/") for line in lines)
        config = folder / "gateway.toml"
        config.write_text(_config(url, limits or {}))
        gateway = await _start(*oscc, "serve", "--config", str(config))
        async with asyncio.TaskGroup() as tasks:
            log: list[str] = []
            doors = asyncio.get_running_loop().create_future()
            tasks.create_task(_follow(gateway, log, doors))
            tasks.create_task(_drop(simulator))
            ports = await doors
            made = Installation(
                simulator,
                control,
                gateway,
                f"http://127.0.0.1:{ports['client']}",
                f"http://127.0.0.1:{ports['ops']}",
            )
            made.log = log
            try:
                yield made
            finally:
                gateway.send_signal(signal.SIGTERM)
                code = await gateway.wait()
                simulator.terminate()
                await simulator.wait()
            assert code == 0, f"the gateway ended with {code}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            simulator.kill()


async def _start(*command: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *command, stdout=PIPE, stderr=asyncio.subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )


async def _follow(process: Process, log: list[str], doors: asyncio.Future[dict[str, int]]) -> None:
    assert process.stdout is not None
    ports: dict[str, int] = {}
    async for raw in process.stdout:
        line = raw.decode()
        if len(log) < LINES_MAX:
            log.append(line)
        found = re.search(r'"listener": "(\w+)".*?"port": (\d+)', line)
        if found:
            ports[found[1]] = int(found[2])
            if {"client", "ops"} <= ports.keys() and not doors.done():
                doors.set_result(ports)
    if not doors.done():
        doors.set_exception(AssertionError("".join(log)))


async def _drop(process: Process) -> None:
    assert process.stdout is not None
    async for _ in process.stdout:
        pass


def _config(url: str, limits: dict[str, Any]) -> str:
    lines = [f"{name} = {value}" for name, value in limits.items()]
    return "\n".join(
        [
            '[client]\nhost = "127.0.0.1"\nport = 0\ninsecure = true',
            '[ops]\nhost = "127.0.0.1"\nport = 0',
            '[bus]\nurl = "memory://"',
            "[limits]",
            *lines,
            f'[[sites]]\nid = "main"\nurl = "{url}"\ndisplay_name = "Main"\ncountry = "DE"',
        ]
    )
