"""A real Prometheus that scrapes real nodes, configured as in deploy/."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from gateway.app.cli.demo import ChildProcess
from tests.cluster.cluster import Cluster
from tests.deploy.expressions import RULES
from tests.deploy.programs import DEPLOY, machine
from tests.doubles.machine import Watch
from tests.doubles.servers import free_port

SETTINGS: Final = DEPLOY / "compose" / "prometheus.yml"
JOB: Final = "oscc-gateway"
EVERY_S: Final = 1
"""How often nodes are scraped and rules looked at, instead of what the file says."""
_LOOK_S: Final = 0.25
_ASKED_AT_ONCE: Final = 8


class Prometheus:
    """A server that looks at nodes.

    Args:
        url: Of its HTTP API.
        http: Asks it.
    """

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    async def ask(self, path: str, **query: str) -> Any:  # noqa: ANN401 - JSON, of a shape for each path
        """Return what its API answers; what it refuses fails with its reason."""
        async with asyncio.timeout(10), self._http.get(f"{self._url}/api/v1/{path}", params=query) as answer:
            received = await answer.json()
        assert received["status"] == "success", f"{query}: {received}"
        return received["data"]

    async def values(self, expression: str) -> list[float]:
        """Return the value of each series that *expression* has now; NaN is none, no panel shows it."""
        data = await self.ask("query", query=expression)
        received = (
            [data["result"]] if data["resultType"] == "scalar" else [one["value"] for one in data["result"]]
        )
        return [value for _, text in received if not math.isnan(value := float(text))]

    async def empty(self, expressions: Iterable[str]) -> set[str]:
        """Return those of *expressions* that have no value now."""
        gate, found = asyncio.Semaphore(_ASKED_AT_ONCE), set[str]()

        async def look(expression: str) -> None:
            async with gate:
                if not await self.values(expression):
                    found.add(expression)

        async with asyncio.TaskGroup() as tasks:
            for expression in expressions:
                tasks.create_task(look(expression))
        return found

    async def until(
        self, holds: Callable[[], Awaitable[object]], within_s: float, otherwise: str, found: object = ""
    ) -> None:
        """Return once *holds* is true.

        Raises:
            AssertionError: It was not within *within_s* in which programs had their cores; says *otherwise*,
                and what was *found* last.
        """
        watch = Watch()
        while True:
            with contextlib.suppress(TimeoutError):  # of one question
                if await holds():
                    return
            assert watch.run_s() < within_s, f"{otherwise}: {found}"
            await asyncio.sleep(_LOOK_S)

    async def until_seen(self, expression: str, within_s: float) -> None:
        """Return once *expression* has a value."""
        await self.until(lambda: self.values(expression), within_s, "never seen", expression)

    async def rules(self) -> list[dict[str, Any]]:
        """Return what it reports of each rule."""
        return [rule for group in (await self.ask("rules"))["groups"] for rule in group["rules"]]


@contextlib.asynccontextmanager
async def prometheus(folder: Path, running: Cluster) -> AsyncIterator[Prometheus]:
    """Run one that looks at all nodes, by our settings and rules, while the block lasts."""
    targets = [node.ops.removeprefix("http://") for node in running.nodes]
    port = free_port()
    options = (
        f"--config.file={_settings(folder, targets)}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    )
    child = ChildProcess("prometheus", (machine("prometheus"), *options), folder / "prometheus.log")
    made = Prometheus(f"http://127.0.0.1:{port}", running.http)

    async def sees_all() -> bool:
        assert child.pid is not None, child.log.read_text("utf-8")
        with contextlib.suppress(aiohttp.ClientError, OSError):
            return await made.values(f'count(up{{job="{JOB}"}} == 1)') == [len(targets)]
        return False

    await child.start()
    try:
        await made.until(sees_all, 20, "it does not see all nodes")
        yield made
    finally:
        await child.kill()


def _settings(folder: Path, targets: Sequence[str]) -> Path:
    """Return the file of compose.yaml, of which only addresses and times are others."""
    settings = yaml.safe_load(SETTINGS.read_text("utf-8"))
    settings["global"] |= {"scrape_interval": f"{EVERY_S}s", "evaluation_interval": f"{EVERY_S}s"}
    settings["rule_files"] = [str(RULES)]
    (job,) = [one for one in settings["scrape_configs"] if one["job_name"] == JOB]
    settings["scrape_configs"] = [job | {"static_configs": [{"targets": list(targets)}]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(settings), "utf-8")
    return file
