"""Run checks against a server, as many at once as there are users."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiohttp

from tests.conformance.report import Report, Verdict
from tests.server_conformance import shapes
from tests.server_conformance.driver import HOOKS, Driver, DriverError, User
from tests.server_conformance.registry import Check
from tests.server_conformance.stage import Stage, Tokens
from tests.server_conformance.verdicts import Failed, Skipped

AT_ONCE: Final = 8
_LIMIT_S: Final = 60.0
"""Seconds after which a check has failed, whatever it waits for; a slow one has as many more as it says."""
Tell = Callable[[Verdict], None]


class Run:
    """One run of the kit.

    Args:
        driver: What is known of the server.
        slow: Whether checks that wait for minutes are run.
        tell: Receives each verdict as it comes.
    """

    def __init__(self, driver: Driver, *, slow: bool = False, tell: Tell = lambda _: None) -> None:
        self._driver = driver
        self._slow = slow
        self._tell = tell
        self._tokens = Tokens()
        self._about: dict[str, Any] = {}
        self._free: dict[str, list[User]] = {}
        self._changed = asyncio.Condition()

    async def play(self, checks: Sequence[Check], at_once: int = AT_ONCE) -> Report:
        """Run *checks*; those that trouble all users come last, one after the other.

        Raises:
            DriverError: Nothing answers at the server's address.
        """
        await self._look()
        self._free = {"dashboards": list(self._driver.dashboards), "agents": list(self._driver.agents)}
        verdicts: list[Verdict] = []
        beside = asyncio.Semaphore(at_once)

        async def one(check: Check) -> None:
            async with beside:
                verdicts.append(await self._judge(check))
                self._tell(verdicts[-1])

        async with asyncio.TaskGroup() as tasks:
            for check in sorted(checks, key=lambda each: -each.slow_s):
                if not check.alone:
                    tasks.create_task(one(check))
        for check in checks:
            if check.alone:
                await one(check)
        order = {check.name: number for number, check in enumerate(checks)}
        return Report(
            "server", self._driver.server, sorted(verdicts, key=lambda verdict: order[verdict.name])
        )

    async def _look(self) -> None:
        try:
            async with Stage(self._driver, {}, (), (), self._tokens) as stage:
                patience = aiohttp.ClientTimeout(total=self._driver.patience_s)
                reply = await stage.http("GET", "/about", timeout=patience)
        except Failed as lost:
            raise DriverError(f"no server answers: {lost}") from lost
        if reply.status in {404, 405} and not reply.error:  # also a JSON of another service
            raise DriverError(
                f"GET {self._driver.server}/oscce/v1/about is answered {reply.status}: no server of the "
                "reference link is at this address"
            )
        self._about = reply.body if isinstance(reply.body, dict) else {}
        if not isinstance(self._about.get("Features", []), list):
            self._about = {}

    async def _judge(self, check: Check) -> Verdict:
        reason = self._lacks(check)
        if reason is not None:
            return Verdict(check.name, check.sentence, "skipped", reason, 0.0)
        dashboards, agents = await self._take(check)
        now = asyncio.get_running_loop().time
        began = now()
        try:
            async with asyncio.timeout(_LIMIT_S + check.slow_s):
                await self._play(check, dashboards, agents)
        except Skipped as skipped:
            return Verdict(check.name, check.sentence, "skipped", str(skipped), now() - began)
        except Failed as failed:
            sentence = failed.sentence or check.sentence
            return Verdict(check.name, sentence, "failed", str(failed), now() - began)
        except DriverError as error:
            return Verdict(check.name, check.sentence, "skipped", str(error), now() - began)
        except TimeoutError:
            return Verdict(check.name, check.sentence, "failed", "it is not over in time", now() - began)
        finally:
            await self._give_back(dashboards, agents)
        return Verdict(check.name, check.sentence, "passed", "", now() - began)

    async def _play(self, check: Check, dashboards: tuple[User, ...], agents: tuple[User, ...]) -> None:
        """Play a check; what holds for all links is looked at, too."""
        stage = Stage(self._driver, self._about, dashboards, agents, self._tokens)
        said: Exception | None = None
        async with stage:
            try:
                await check.play(stage)
            except (Failed, Skipped, DriverError) as reason:
                said = reason
            except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as malformed:
                said = Failed(f"what the server says is malformed: {in_words(malformed)}", shapes.TYPES)
        if isinstance(said, Failed) and said.sentence is None:
            raise Failed("\n        ".join([str(said), *map(_received, stage.faults[:1])]))
        if stage.faults:
            raise stage.faults[0]
        if said is not None:
            raise said

    def _lacks(self, check: Check) -> str | None:
        """Return why a check cannot be run."""
        driver, features = self._driver, self._about.get("Features", ())
        if missing := sorted(check.hooks - driver.hooks.keys()):
            takes = {name: ", ".join(HOOKS[name]) for name in missing}
            return "the driver has no hook " + "; ".join(
                f"{name} ({fields})" for name, fields in takes.items()
            )
        if missing := sorted(check.features - set(features)):
            return f"the server has no feature {', '.join(missing)}"
        if check.dashboards > len(driver.dashboards):
            return f"it needs {check.dashboards} Dashboard users; the driver names {len(driver.dashboards)}"
        if check.agents > len(driver.agents):
            return f"it needs {check.agents} agents; the driver names {len(driver.agents)}"
        if check.slow_s and not self._slow:
            return f"it takes about {check.slow_s:.0f} s; --slow runs it"
        return None

    async def _take(self, check: Check) -> tuple[tuple[User, ...], tuple[User, ...]]:
        """Wait for users that no other check has."""
        wanted = {"dashboards": check.dashboards, "agents": check.agents}
        async with self._changed:
            await self._changed.wait_for(
                lambda: all(len(self._free[of]) >= count for of, count in wanted.items())
            )
            taken = {of: tuple(self._free[of].pop(0) for _ in range(count)) for of, count in wanted.items()}
        return taken["dashboards"], taken["agents"]

    async def _give_back(self, dashboards: tuple[User, ...], agents: tuple[User, ...]) -> None:
        async with self._changed:
            self._free["dashboards"] += dashboards
            self._free["agents"] += agents
            self._changed.notify_all()


def _received(fault: Failed) -> str:
    """Return what else is wrong, for a failure of the check itself: often the one has caused the other."""
    return f"and {fault.sentence.line if fault.sentence else ''}: {fault}"


async def run(
    driver: Driver,
    checks: Sequence[Check],
    *,
    slow: bool = False,
    at_once: int = AT_ONCE,
    tell: Tell = lambda _: None,
) -> Report:
    """Run *checks* against the server of *driver*."""
    return await Run(driver, slow=slow, tell=tell).play(checks, at_once)


def in_words(malformed: Exception) -> str:
    """Return what a check could not read, in words for the author of a server."""
    match malformed:
        case KeyError():
            return f"there is no {malformed.args[0]}"
        case TypeError() | AttributeError():
            return "a value is null, or of another type than on the page"
        case IndexError():
            return "a list has too few members"
        case _:
            return str(malformed)
