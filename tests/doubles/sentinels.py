"""Three sentinels that watch a primary and its replica, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from redis.exceptions import RedisError

from tests.doubles.servers import NOTHING_KEPT, Engine, Server, any_engine, lasting, running, until

MASTER: Final = "mymaster"


class Trio:
    """Three sentinels over a primary and its replica.

    *primary* and *replica* are the present roles, after :meth:`fail_over` and :meth:`failed_over`.
    """

    def __init__(self, sentinels: list[Server], primary: Server, replica: Server) -> None:
        self.sentinels: Final = sentinels
        self.primary = primary
        self.replica = replica

    @property
    def url(self) -> str:
        """The bus URL: all three sentinels and the name of the primary."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{MASTER}"

    async def fail_over(self) -> None:
        """Let the sentinels make the replica primary; return when all of them report it."""
        await until(self._begun, "no sentinel began a fail-over")
        await self.failed_over()

    async def failed_over(self) -> None:
        """Return when all running sentinels have made the replica primary, as after its kill."""
        await until(self._moved, "no fail-over")
        self.primary, self.replica = self.replica, self.primary

    async def rejoined(self) -> None:
        """Return when the server that is not primary follows the primary.

        The sentinels take 8 s in which nobody was away for it, and 30 s more after a stall of their own: on a
        busy machine that is never. Or they have exchanged the roles once more. So this follows their choice,
        and gives their command.
        """
        await until(self._follows, "no server follows the primary")

    async def _follows(self) -> bool:
        try:
            chosen = [await self._chosen_by(sentinel) for sentinel in self.sentinels]
            if chosen == [self.replica.port] * len(chosen):
                self.primary, self.replica = self.replica, self.primary
            if (await self.primary.role())[:1] == (await self.replica.role())[:1] == [b"master"]:
                await self.replica.command("REPLICAOF", "127.0.0.1", self.primary.port)
        except (RedisError, OSError):
            return False
        return await self.replica.follows()

    async def _begun(self) -> bool:
        try:
            await self.sentinels[0].command("SENTINEL", "FAILOVER", MASTER)
        except (RedisError, OSError):  # it has not contacted the replica yet
            return False
        return True

    async def _moved(self) -> bool:
        for sentinel in self.sentinels:
            try:
                chosen = await self._chosen_by(sentinel)
            except (RedisError, OSError):
                continue
            if chosen != self.replica.port:
                return False
        return (await self.replica.role())[:1] == [b"master"]

    async def _chosen_by(self, sentinel: Server) -> int:
        """Return the port of the server that is primary for *sentinel*."""
        address = await sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        assert isinstance(address, list)
        return int(address[1])


@asynccontextmanager
async def sentinel_trio(*, engine: Engine | None = None, down_after_ms: int = 500) -> AsyncIterator[Trio]:
    """Run three sentinels, a primary and a replica while the block lasts, all connected.

    Args:
        engine: The engine; any when None.
        down_after_ms: Silence after which a sentinel counts a server as down.
    """
    of = engine or any_engine()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        primary = Server(of, folder, *NOTHING_KEPT)
        await stack.enter_async_context(running(primary))
        replica = Server(of, folder, *NOTHING_KEPT, "--replicaof", "127.0.0.1", str(primary.port))
        await stack.enter_async_context(running(replica))
        await until(replica.follows, "the replica did not follow")
        sentinels = [Server(of, folder, str(folder / f"s{number}.conf"), "--sentinel") for number in range(3)]
        for number in range(3):
            text = _sentinel_conf(number, sentinels, primary, replica, down_after_ms)
            (folder / f"s{number}.conf").write_text(text)
        for sentinel in sentinels:
            await stack.enter_async_context(running(sentinel))
        yield Trio(sentinels, primary, replica)


@cache
def shared_trio() -> Trio:
    """Return a trio that lives as long as this process. Each user of it flushes its primary first."""
    return lasting(sentinel_trio)


def _sentinel_conf(
    number: int, sentinels: list[Server], primary: Server, replica: Server, down_after_ms: int
) -> str:
    """Return a sentinel's configuration with all others: finding them takes ten seconds."""
    lines = [
        f"sentinel myid {str(number + 1) * 40}",
        f"sentinel monitor {MASTER} 127.0.0.1 {primary.port} 2",
        f"sentinel down-after-milliseconds {MASTER} {down_after_ms}",
        f"sentinel failover-timeout {MASTER} 3000",
        f"sentinel known-replica {MASTER} 127.0.0.1 {replica.port}",
    ]
    for other, sentinel in enumerate(sentinels):
        if other != number:
            lines.append(f"sentinel known-sentinel {MASTER} 127.0.0.1 {sentinel.port} {str(other + 1) * 40}")
    return "\n".join(lines) + "\n"
