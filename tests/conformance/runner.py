"""Run checks against a client, several at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from tests.conformance.driver import Driver, DriverLost, Refusal
from tests.conformance.gateway import ScriptedGateway
from tests.conformance.registry import Check
from tests.conformance.report import Report, Verdict, Words
from tests.conformance.stage import Stage
from tests.conformance.timing import Failed, Time, expect

AT_ONCE: Final = 6
"""Drivers that run beside each other: checks wait most of their time."""
_LIMIT_S: Final = 180.0
"""Real seconds after which a check has failed, whatever it waits for."""

Tell = Callable[[Verdict], None]


async def run(
    command: str,
    checks: Sequence[Check],
    *,
    at_once: int = AT_ONCE,
    again: int = 0,
    tell: Tell = lambda _: None,
) -> Report:
    """Run *checks* against the client that *command* drives; *tell* receives each verdict as it comes.

    What fails is judged up to *again* more times: real time passes, and a busy machine may not be on time.
    """
    waiting = deque(checks)
    verdicts: list[Verdict] = []
    names: set[str] = set()

    def note(verdict: Verdict) -> None:
        verdicts.append(verdict)
        tell(verdict)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(at_once, len(checks))):
            tasks.create_task(_work(command, waiting, note, names, again))
    order = {check.name: number for number, check in enumerate(checks)}
    return Report(
        "client", ", ".join(sorted(names)) or command, sorted(verdicts, key=lambda one: order[one.name])
    )


async def _work(command: str, waiting: deque[Check], note: Tell, names: set[str], again: int) -> None:
    """Take one check after the other; a driver that was lost is replaced."""
    while waiting:
        async with Driver(command) as driver:
            names.add(driver.name)
            while waiting and not driver.lost:
                check = waiting.popleft()
                verdict = await judge(driver, check)
                for _ in range(again):
                    if verdict.outcome == "failed" and not driver.lost:
                        verdict = await judge(driver, check)
                note(verdict)


async def judge(driver: Driver, check: Check) -> Verdict:
    """Run one check."""
    missing = check.needs - driver.features
    if missing:
        return Verdict(
            check.name,
            Words(check.sentence),
            "skipped",
            f"the driver lacks {', '.join(sorted(missing))}",
            0.0,
        )
    time = Time(check.scale if "time_scale" in driver.features else 1.0)
    text = await _fault(driver, check, time)
    took_s = time.real(time.now())
    return Verdict(
        check.name, Words(check.sentence), "passed" if text is None else "failed", text or "", took_s
    )


async def _fault(driver: Driver, check: Check, time: Time) -> str | None:
    """Return what is wrong; None when nothing is."""
    try:
        async with asyncio.timeout(_LIMIT_S), ScriptedGateway(time) as gateway:
            await check.play(Stage(driver, gateway, time))
            faults = [fault for phone in gateway.phones for fault in phone.faults]
            expect(not faults, "; ".join(faults))
            await _stop(driver)
    except (Failed, DriverLost) as failed:
        return str(failed)
    except Refusal as refusal:
        return f"the client refuses: {refusal.error}"
    except TimeoutError:
        return f"it took longer than {_LIMIT_S:.0f} s"
    except KeyError as missing:
        return f"what the driver or the client says lacks {missing}"
    except (TypeError, ValueError) as malformed:
        return f"what the driver or the client says is malformed: {malformed!r}"
    return None


async def _stop(driver: Driver) -> None:
    """Have the client leave before its gateway goes; that it was left already is no fault."""
    if not driver.lost:
        await driver.ask("close")
