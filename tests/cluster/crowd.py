"""All phones of a scenario: they connect, roam, send commands, and are compared with the truth in the end."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from tests.cluster.centre import Beacon, Lines, Observer
from tests.cluster.cluster import PASSWORD, Cluster, Size
from tests.cluster.figures import Figures
from tests.cluster.phones import Phone
from tests.cluster.sizes import COMMANDS_PER_S, LOOK_S, ROAMS_PER_S
from tests.doubles.machine import Watch, waited_s

LOG_ONS_AT_A_TIME = 32
DATED_MAX_S = 1.0
"""By how much a view may be reported as newer than it is (docs/protocol.md, *Age of the data*).

A view is dated by the receipt of a message: a delay at the contact centre comes in addition, and so does the
time for which programs waited for a core.
"""


class Crowd:
    """Phones of a cluster. An async context manager: its tasks are over when the block is left."""

    def __init__(
        self, cluster: Cluster, size: Size, scopes: dict[str, dict[str, list[int]]], seed: int
    ) -> None:
        self.cluster = cluster
        self.scopes = scopes
        self.chance = random.Random(seed)
        self.held_back_s = 0.0
        """The longest time for which the centre delayed messages, since the counts were reset."""
        self.phones = [
            Phone(f"supervisor{user}", f"d{device}", PASSWORD, self.pick, random.Random(self.chance.random()))
            for user in range(1, size.users + 1)
            for device in range(size.phones)
        ]
        users = {phone.user for phone in self.phones}
        self.beacon = Beacon(cluster.centre, [scopes[user] for user in sorted(users)])
        for phone in self.phones:
            phone.beacon = self.beacon
        self.observer = Observer(cluster.centre)
        self._turn = itertools.count()
        self._traffic_round = self._commanded = 0
        """Number of the present round of traffic, and for which of these rounds a command has its outcome."""
        self._before: dict[str, Any] | None = None
        """The count of the centre at the last reset."""
        self._waited_s = self._reset_at_waited_s = 0.0
        self._tasks = asyncio.TaskGroup()
        self._mine: list[asyncio.Task[Any]] = []
        self._busy: list[asyncio.Task[Any]] = []

    @classmethod
    async def of(cls, cluster: Cluster, size: Size, seed: int = 1) -> Crowd:
        """Return the phones of so many users of the Dashboard."""
        return cls(cluster, size, await cluster.centre.scopes(), seed)

    async def __aenter__(self) -> Crowd:
        await self._tasks.__aenter__()
        for life in (self.beacon.run(), self.observer.watch(), self._look()):
            self._mine.append(self._tasks.create_task(life))
        return self

    async def __aexit__(self, *problem: Any) -> None:
        for task in self._mine:
            task.cancel()
        await self._tasks.__aexit__(*problem)

    def pick(self) -> str:
        """Return the load balancer's node for a connection.

        Ready nodes in turn, or any when none is ready.
        """
        nodes = self.cluster.ready or self.cluster.nodes
        return nodes[next(self._turn) % len(nodes)].base

    def by_user(self) -> dict[str, list[Phone]]:
        """Return the phones of each user."""
        found: dict[str, list[Phone]] = {}
        for phone in self.phones:
            found.setdefault(phone.user, []).append(phone)
        return found

    # ---- what phones do ----

    async def arrive(self, within_s: float) -> None:
        """Log all phones on; return when each was in sync."""
        gate = asyncio.Semaphore(LOG_ONS_AT_A_TIME)
        for phone in self.phones:
            self._mine.append(self._tasks.create_task(phone.live(gate)))
        await self.until(lambda: all(phone.arrived.is_set() for phone in self.phones), within_s, "arrive")

    async def reset_counts(self) -> float:
        """Let the centre continue, and reset all counts, before the next fault. Return the loop's time."""
        await self.cluster.centre.ask("resume", {})
        self._before = await self.cluster.centre.ask("links")
        self.held_back_s = 0.0
        self._reset_at_waited_s = waited_s()
        for phone in self.phones:
            phone.seen.breaks.clear()
            phone.seen.outcomes.clear()
            phone.seen.lie_s = phone.seen.lie_run_s = phone.seen.dated_s = 0.0
        return asyncio.get_running_loop().time()

    def start_traffic(self, *, roam_s: float | None = 8.0, command_s: float | None = 8.0) -> None:
        """Let each phone change its network and send a command at these mean intervals from now on.

        Each phone of a large crowd does so less often, see :mod:`tests.cluster.sizes`.
        """
        if roam_s is not None:
            roam_s = max(roam_s, len(self.phones) / ROAMS_PER_S)
        self._traffic_round += 1
        if command_s is not None:
            command_s = max(command_s, len(self.phones) / COMMANDS_PER_S)
        for phone in self.phones:
            for every_s, act in ((roam_s, self._roam), (command_s, self._command)):
                if every_s is not None:
                    self._busy.append(self._tasks.create_task(self._every(every_s, phone, act)))
        self._mine += self._busy

    async def commanding(self) -> None:
        """Return when a command after :meth:`start_traffic` has its outcome; others follow."""
        await self.until(lambda: self._commanded == self._traffic_round, 30, "give a command")

    async def rest(self) -> None:
        """Stop roaming and new commands; commands under way end."""
        for task in self._busy:
            task.cancel()
        if self._busy:
            await asyncio.wait(self._busy)
        self._busy.clear()

    async def _roam(self, phone: Phone) -> None:
        phone.roam()

    async def _command(self, phone: Phone) -> None:
        traffic_round = self._traffic_round
        await phone.command(self.scopes[phone.user]["Users"])
        self._commanded = max(self._commanded, traffic_round)  # one from before may get its outcome later

    async def _every(self, seconds: float, phone: Phone, act: Callable[[Phone], Any]) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(0.2, 1.8) * seconds)
            # only the clock may end a command, or its outcome would not be counted
            await asyncio.shield(self._tasks.create_task(act(phone)))

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = waited_s()
            waited = [now_s - at_s for at_s in self.beacon.waited_s]
            for phone in self.phones:
                if phone.arrived.is_set():
                    phone.look(loop.time(), self.beacon.lit, waited)

    # ---- what is seen ----

    async def until(self, happened: Callable[[], bool], within_s: float, what: str) -> float:
        """Return after how many seconds it *happened*.

        Raises:
            AssertionError: It did not within *within_s* in which programs had their cores.
        """
        loop, watch = asyncio.get_running_loop(), Watch()
        began = loop.time()
        while not happened():
            assert watch.run_s() < within_s, f"{what}: not within {within_s:.0f} s; {self.state()}"
            await asyncio.sleep(LOOK_S / 2)
        return loop.time() - began

    async def until_async(self, happened: Callable[[], Coroutine[Any, Any, bool]], within_s: float) -> None:
        """Return when it *happened*; a timeout otherwise."""
        async with asyncio.timeout(within_s):
            while not await happened():  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(LOOK_S)

    async def fresh(self, since: float, within_s: float) -> float:
        """Return how long after *since* the last phone saw data that is newer than *since*."""

        def seen() -> list[float | None]:
            return [phone.fresh_again(since, self.beacon.begun) for phone in self.phones]

        began_s = waited_s()
        await self.until(lambda: None not in seen(), within_s, "fresh")
        self._waited_s = waited_s() - began_s
        return max(at for at in seen() if at is not None) - since

    def bound(self, idle_s: float) -> float:
        """Return *idle_s* plus the time in which programs waited for a core while phones became fresh again.

        Bounds hold for nodes that get the core that they need.
        """
        return idle_s + self._waited_s

    def bound_since_reset(self, idle_s: float) -> float:
        """Return *idle_s* plus the time in which programs waited for a core since :meth:`reset_counts`.

        It bounds what phones showed all the while, also before the fault was over.
        """
        return idle_s + waited_s() - self._reset_at_waited_s

    def state(self) -> str:
        """Return the state of the phones as text."""
        breaks: Counter[str] = Counter()
        for phone in self.phones:
            breaks.update(phone.seen.breaks)
        connected = sum(phone.seen.connected_at is not None for phone in self.phones)
        live = sum(phone.arrived.is_set() and phone.says_live for phone in self.phones)
        ended = Counter(str(phone.seen.ended) for phone in self.phones if phone.seen.ended is not None)
        now = asyncio.get_running_loop().time()
        old = sorted((round(phone.age_s(now, self.beacon.lit), 1), phone.name) for phone in self.phones)[-5:]
        lie = max(self.phones, key=lambda phone: phone.seen.lie_s).seen.lie
        return (
            f"{connected} of {len(self.phones)} phones connected, {live} say live; breaks {dict(breaks)}; "
            f"ended {dict(ended)}; oldest views {old}; worst lie {lie}"
        )

    async def settle(self, within_s: float) -> list[str]:
        """Stop the centre; return the differences that remain after that time."""
        await self.rest()
        await self.cluster.centre.ask("pause", {})
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + within_s
        differences = ["nothing was compared"]
        while differences and loop.time() < give_up_at:
            await asyncio.sleep(0.5)  # between two checks
            differences = await self.differences()
        return differences

    async def differences(self) -> list[str]:
        """Compare each phone with the truth."""
        truth = await self.cluster.centre.truth()
        found: list[str] = []
        for phone in self.phones:
            shown = {key: dict(value) for key, value in phone.client.mirror.items()}
            wrong = truth.differences(shown, self.scopes[phone.user])
            found += [f"{phone.name} {difference}" for difference in wrong]
            if phone.seen.connected_at is None:
                found.append(f"{phone.name} is not connected")
        return found

    async def figures(self, fault: str, since: float, budget_per_s: float) -> Figures:
        """Return the figures of a fault that began at *since*.

        Raises:
            AssertionError: A view was reported as newer than it was.
        """
        latest = max(self.phones, key=lambda phone: phone.seen.dated_s)
        late_s = latest.seen.dated_s
        assert late_s <= DATED_MAX_S + self.held_back_s, (
            f"{latest.name}: a view is said to be {late_s:.1f} s newer than it is"
        )
        rate, over = self.observer.log_on_rate(budget_per_s, since)
        now, lit = asyncio.get_running_loop().time(), self.beacon.lit
        lines = Lines.of(await self.cluster.centre.ask("links"), self._before)
        outcomes: Counter[str] = Counter()
        breaks: Counter[str] = Counter()
        for phone in self.phones:
            outcomes.update(phone.seen.outcomes)
            breaks.update(phone.seen.breaks)
        return Figures(
            fault=fault,
            phones=len(self.phones),
            blind_s=max(phone.blind_s(since, now, lit) for phone in self.phones),
            lie_s=max(phone.seen.lie_s for phone in self.phones),
            disconnected=sum(breaks.values()),
            breaks=dict(breaks),
            outcomes=dict(outcomes),
            gap_s=lines.gap_ms / 1000,
            kicks_max=lines.kicks_max,
            without_link=len(lines.without),
            executed=lines.executed,
            twice=lines.twice,
            log_on_rate_max=rate,
            log_ons_over=over,
            log_on_budget=budget_per_s,
            routed_left=len(await self.cluster.centre.routed()),
        )
