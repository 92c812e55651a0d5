"""A contact centre and a gateway in this process, on one clock that a test moves, and what they may not say.

The simulated OSCC-E Server and the gateway have their real listeners; between them is a proxy that a
test can close. Nobody works in the centre but whom the test logs on, so that every call that finds
somebody finds him.
"""

from __future__ import annotations

import asyncio
import io
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from typing import Any, Literal

import aiohttp

from gateway.app import wiring
from gateway.app.config.settings import Settings
from gateway.app.config.sources import generate_secrets
from gateway.app.logging import configure
from gateway.app.process import StopRequest
from gateway.app.wiring import LogOffsLost
from gateway.simulator import Simulator, SimulatorSettings
from gateway.simulator.contact_center import ContactPlans
from gateway.simulator.model import Agent, Contact
from tests.doubles.chaos_proxy import ChaosProxy
from tests.doubles.clock import CentreClock, ManualClock

PASSWORD = "canary-of-a-password"
NUMBER, OTHER_NUMBER = "+493055501987", "+498955504321"
CANARIES = (PASSWORD, NUMBER[3:], OTHER_NUMBER[3:])
IDLE_S = 60
ATTACH_S = 120
DROPPED_S = 60
"""OSCC-E drops a link that is silent for three times KeepAlive."""
ANSWER_S = 10
"""The gateway gives an HTTP request at OSCC-E up after so long."""
RETRY_S = 5
SOON_S = 1.0
"""Both ends look every so often what is due."""
Trouble = Literal["closed", "one-way", "lost", "frozen"]
CLOSE_S = 1.0
"""How long the gateway waits for the other end of a link to close it, too."""
_PATIENCE_S = 5.0
_TURN_S = 0.25
_REAL_S = 10.0


class Bell(ContactPlans):
    """Notes at which remote numbers calls ring."""

    def __init__(self, simulator: Simulator) -> None:
        self.rung: list[str] = []
        self._agents = simulator.center.directory.agents
        self._plans = simulator.center.plans
        simulator.center.plans = self

    def waits(self, contact: Contact) -> None:
        self._plans.waits(contact)

    def rings(self, contact: Contact) -> None:
        remote = self._agents[contact.agent_key or 0].remote
        if remote is not None:
            self.rung.append(remote.number)
        self._plans.rings(contact)

    def answered(self, contact: Contact) -> None:
        self._plans.answered(contact)


class GatewaySetup:
    """The simulator, the gateway before it, the proxy between them and the clock."""

    def __init__(
        self, clock: ManualClock, simulator: Simulator, proxy: ChaosProxy, http: aiohttp.ClientSession
    ) -> None:
        self.clock, self.simulator, self.proxy, self.http = clock, simulator, proxy, http
        self.bell = Bell(simulator)
        self.base = self.ops = ""
        self.written = io.StringIO()
        """What the gateway logged, and what else was written."""
        self.secrets = generate_secrets()
        self.tasks: asyncio.TaskGroup
        self._leave = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    # ---- the gateway ----

    async def start(self) -> None:
        """Start the gateway; again at the same address and with the same secrets."""
        self._leave = asyncio.Event()
        up: asyncio.Future[wiring.Addresses] = asyncio.get_running_loop().create_future()
        self._life = self.tasks.create_task(self._live(up))
        self.base, self.ops, _ = await up

    async def stop(self) -> float:
        """Stop the gateway in a hurry: whatever it has in memory is gone. Returns what time that took."""
        assert self._life is not None
        self._leave.set()
        ended, _ = await asyncio.wait((self._life,), timeout=_PATIENCE_S)
        if not ended:  # a link that cannot be closed is waited for, for so long
            await self.clock.advance(CLOSE_S)
        await self._life
        return 0.0 if ended else CLOSE_S

    async def _live(self, up: asyncio.Future[wiring.Addresses]) -> None:
        settings = Settings.model_validate(
            {
                "client": {"port": int(self.base.rpartition(":")[2] or 0), "insecure": True},
                "ops": {"port": 0},
                "admin": {"port": 0},
                "sites": [
                    {
                        "id": "main",
                        "url": f"http://127.0.0.1:{self.proxy.port}",
                        "display_name": "Main",
                        "country": "DE",
                    }
                ],
            }
        )
        stopping = StopRequest()
        stopping.hurried.set()  # or its drain schedule would wait for a time that nobody lets pass
        with suppress(LogOffsLost):  # this node is alone
            async with wiring.serving(settings, self.secrets, self.clock, stopping) as addresses:
                up.set_result(addresses)
                await self._leave.wait()

    async def metrics(self) -> str:
        async with self.http.get(f"{self.ops}/metrics") as answer:
            return await answer.text()

    async def metric(self, name: str) -> float:
        found = re.search(rf"^oscc_gateway_{name} (\S+)$", await self.metrics(), re.MULTILINE)
        assert found is not None
        return float(found[1])

    # ---- time ----

    async def until(self, happened: Callable[[], object]) -> None:
        """Return when it has, without letting time pass."""
        give_up = time.monotonic() + _REAL_S
        while not happened():
            await self.clock.settle()
            assert time.monotonic() < give_up, "it never happened"

    # ---- the centre ----

    def trouble(self, what: Trouble, seconds: float) -> None:
        """Let OSCC-E not be reached until :meth:`mend`, or stand still for so many *seconds*."""
        match what:
            case "closed":
                self.proxy.kill()
            case "one-way":
                self.proxy.down.freeze()
            case "lost":
                self.proxy.freeze()
            case "frozen":
                self.simulator.faults.freeze(seconds, None)

    def mend(self) -> None:
        """Let OSCC-E be reached again; connections that missed data are cut."""
        if any(way.is_frozen for way in self.proxy.ways):
            self.proxy.cut()
        self.proxy.heal()

    @property
    def log_ons(self) -> int:
        """How many sessions OSCC-E has ever opened."""
        return self.simulator.sessions.log_ons

    def agent(self, user: str = "agent1") -> Agent:
        key = self.simulator.accounts.by_name[user].agent_key
        return self.simulator.center.directory.agents[key or 0]

    def make_available(self, user: str = "agent1") -> None:
        """Let calls come to him."""
        self.simulator.center.ask(self.agent(user), "Available", None, "Now", "Supervisor")

    @property
    def routed(self) -> dict[str, str]:
        """The simulator's routing table: user name → remote number."""
        return self.simulator.sessions.routing_table()

    def call(self) -> list[str]:
        """Let calls come to each queue, more than it has agents; returns the remote numbers that rang."""
        center, before = self.simulator.center, len(self.bell.rung)
        directory = center.directory
        calls = [center.arrive(queue) for queue in directory.queues.values() for _ in directory.agents]
        for call in calls:
            center.drop(call)
        return self.bell.rung[before:]

    def nothing_left(self) -> bool:
        """Tell whether no number is routed, and no call finds one."""
        return self.routed == {} and self.call() == []

    async def lasts(self, seconds: float) -> None:
        """See what is routed now ring on for *seconds* but for the last moment, and be gone after it."""
        routed = self.routed
        await self.clock.advance(seconds - SOON_S)
        assert self.routed == routed
        assert set(self.call()) == set(routed.values())
        await self.clock.advance(2 * SOON_S)
        assert self.nothing_left()

    def show_no_canary(self, *texts: str) -> None:
        """Fail when something that is nobody's business, or a fault, stands in what was written."""
        for text in (self.written.getvalue(), *texts):
            assert [canary for canary in CANARIES if canary in text] == []
            assert "Traceback" not in text
            errors = [line for line in text.splitlines() if '"level": "error"' in line]
            assert [line for line in errors if "log_offs_unconfirmed" not in line] == []


@contextmanager
def _logged(to: io.StringIO, setup: GatewaySetup) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    configure("debug", setup.secrets.pseudonym_key, to)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.raiseExceptions = raising
        logging.captureWarnings(capture=False)
        logging.getLogger("aiohttp.access").disabled = False


@asynccontextmanager
async def opened(**centre: Any) -> AsyncIterator[GatewaySetup]:
    """Open a setup; in the end nothing is routed, and nothing secret was sent."""
    clock = ManualClock(wall_ms=round(time.time() * 1000))
    random.seed(7)
    small: dict[str, Any] = {"agents": 2, "queues": 2, "users": 1, "warm_up_s": 0, "start_paused": True}
    secret: dict[str, Any] = {"password": PASSWORD, "idle_timeout_s": IDLE_S}
    settings = SimulatorSettings(**small | secret | centre)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        simulator = await enter(Simulator(settings, CentreClock(clock, _TURN_S)))
        for agent in simulator.center.directory.agents.values():
            simulator.center.force_off(agent)
        proxy = await enter(ChaosProxy(int(simulator.url.rpartition(":")[2])))
        setup = GatewaySetup(clock, simulator, proxy, await enter(aiohttp.ClientSession()))
        stack.enter_context(redirect_stdout(setup.written))
        stack.enter_context(redirect_stderr(setup.written))
        stack.enter_context(_logged(setup.written, setup))
        setup.tasks = await enter(asyncio.TaskGroup())
        await setup.start()
        yield setup
        assert setup.nothing_left()
        metrics = await setup.metrics()
        await setup.stop()
        setup.show_no_canary(metrics)
