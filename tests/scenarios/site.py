"""A whole installation for one scenario: a simulated OSCC-E Server and a gateway, each its own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.cluster.centre import Centre
from tests.cluster.programs import Node
from tests.doubles.servers import free_port


@dataclass
class Installation:
    """Both processes."""

    centre: Centre
    gateway: Node


@asynccontextmanager
async def installation(
    folder: Path, *simulator_options: str, limits: Mapping[str, object] | None = None
) -> AsyncIterator[Installation]:
    """Start both, and end both in the end: the gateway with SIGTERM, which must exit 0."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        centre = Centre(folder, http, (free_port(), free_port()), *simulator_options)
        stack.push_async_callback(centre.kill9)
        await centre.open()
        ports = {"client": free_port(), "ops": free_port()}
        (folder / "gateway.toml").write_text(_config(ports, centre.port, limits or {}))
        gateway = Node("gateway", folder, ports, http)
        stack.push_async_callback(gateway.kill9)
        await gateway.start()
        await gateway.until_ready()
        yield Installation(centre, gateway)
        assert await gateway.term() == 0


def _config(ports: Mapping[str, int], site: int, limits: Mapping[str, object]) -> str:
    """Return a configuration with the defaults of everything but *limits*."""
    lines = [f"{name} = {value}" for name, value in limits.items()]
    return "\n".join(
        [
            f'[client]\nhost = "127.0.0.1"\nport = {ports["client"]}\ninsecure = true',
            f'[ops]\nhost = "127.0.0.1"\nport = {ports["ops"]}',
            '[bus]\nurl = "memory://"',
            "[limits]",
            *lines,
            f'[[sites]]\nid = "main"\nurl = "http://127.0.0.1:{site}"\ndisplay_name = "Main"\ncountry = "DE"',
        ]
    )
