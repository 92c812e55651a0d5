"""Checks: waiting times before a client reconnects."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from tests.conformance.phone import Phone
from tests.conformance.registry import check, live
from tests.conformance.stage import Stage
from tests.conformance.timing import expect

_BACKOFF: Final = "Wait `random(0, min(20 s, 0.5 s · 2^n))`"
_STABLE: Final = "`n` returns to 0 only after 30 s of a stable connection."
_WIN: Final = "Advised windows and `Retry-After` have precedence."
_REFUSED: Final = "| 429 or 503 with `Retry-After` | over a limit |"


async def _waits(stage: Stage, count: int) -> list[float]:
    """Return the waits before the next *count* tries; the last one is let in."""
    known = len(stage.gateway.tries())
    stage.gateway.refuse(0, times=count - 1)
    phone = stage.gateway.phones[-1]
    phone.drop()
    ended_at = await phone.left()
    await stage.gateway.phone(within_s=120.0)
    tries = [ended_at, *stage.gateway.tries()[known:]]
    return [later - at for at, later in pairwise(tries)]


@check("coming_back.grows", _BACKOFF, scale=4.0)
async def grows(stage: Stage) -> None:
    """The bound doubles with each failure. Where chance can be fixed, each wait is known."""
    await stage.live(chance=0.9)
    waits = await _waits(stage, 6)
    expect(len(waits) == 6, f"{len(waits)} tries, not 6")
    for number, took_s in enumerate(waits):
        bound = min(20.0, 0.5 * 2**number)
        low = 0.9 * bound if "chance" in stage.driver.features else 0.0
        stage.within(took_s, low, bound, f"try {number + 1}")
    expect(sum(waits) > 1.5, f"all six tries within {sum(waits):.2f} s: nothing grows")


@check("coming_back.bounded", _BACKOFF, scale=10.0, needs=("chance", "time_scale"))
async def bounded(stage: Stage) -> None:
    """No wait is longer than 20 s."""
    await stage.live(chance=0.99)
    waits = await _waits(stage, 9)
    for took_s in waits[6:]:
        stage.within(took_s, 19.8, 20.0, "a try after many")


@check("coming_back.stable", _STABLE, scale=10.0, needs=("chance",))
async def stable(stage: Stage) -> None:
    """A short connection does not end the row of failures; one of 30 s does."""
    await stage.live(chance=0.9)
    await _waits(stage, 5)
    phone = stage.gateway.phones[-1]
    await phone.resume()
    await stage.time.sleep(5.0)
    (took_s,) = await _waits(stage, 1)
    stage.within(took_s, 14.4, 16.0, "the try after a short connection")
    phone = stage.gateway.phones[-1]
    await phone.resume()
    await stage.time.sleep(20.0)
    await phone.ping(5)
    await stage.time.sleep(12.0)
    (took_s,) = await _waits(stage, 1)
    stage.within(took_s, 0.0, 0.5, "the try after a stable connection")


@live("coming_back.window", _WIN)
async def window(stage: Stage, phone: Phone) -> None:
    """A window that is advised with a code of the back-off range holds, too."""
    began = stage.time.now()
    await phone.bye(4103, "over_capacity", min_s=1.5, max_s=2.0)
    again = await stage.again()
    stage.within(again.came_at - began, 1.5, 2.0, "the next connection")


@check("coming_back.window_spreads", "reconnect at a random instant of the advised window", needs=("chance",))
async def window_spreads(stage: Stage) -> None:
    """Phones that received the same window come at different instants of it: chance decides."""
    phone = await stage.live(chance=0.75)
    began = stage.time.now()
    await phone.bye(4201, "rebalance", min_s=0.5, max_s=2.5)
    again = await stage.again()
    stage.within(again.came_at - began, 2.0, 2.0, "with a chance of 0.75 the connection")


@live("coming_back.window_once", _WIN)
async def window_once(stage: Stage, phone: Phone) -> None:
    """A window holds for one return; a connection lost later comes back by back-off."""
    await phone.bye(4200, "draining", min_s=0.5, max_s=0.6)
    again = await stage.again()
    again.drop()
    ended_at = await again.left()
    third = await stage.again()
    stage.within(third.came_at - ended_at, 0.0, 1.0, "the try")


@live("coming_back.upgrade_refused", _REFUSED, needs=("upgrade_status",))
async def upgrade_refused(stage: Stage, phone: Phone) -> None:
    """`Retry-After` of a refused upgrade is waited for."""
    stage.gateway.refuse(503, Retry_After="2")
    phone.drop()
    await stage.again()
    _, refused_at, served_at = stage.gateway.tries()
    stage.within(served_at - refused_at, 2.0, 2.2, "the try after 503")


@check("coming_back.upgrade_limited", _REFUSED, needs=("upgrade_status",))
async def upgrade_limited(stage: Stage) -> None:
    """So is that of a 429 at the very first connection."""
    await stage.start()
    await stage.log_on()
    stage.gateway.refuse(429, Retry_After="1")
    await stage.driver.ask("connect")
    await (await stage.gateway.phone()).serve()
    refused_at, served_at = stage.gateway.tries()
    stage.within(served_at - refused_at, 1.0, 1.2, "the try after 429")


@check("coming_back.upgrade_fails", _REFUSED)
async def upgrade_fails(stage: Stage) -> None:
    """A client whose platform hides the status of a refused upgrade backs off at least."""
    await stage.start(chance=0.9)
    await stage.log_on()
    stage.gateway.refuse(503, times=2)
    await stage.driver.ask("connect")
    await (await stage.gateway.phone()).serve()
    first, second, third = stage.gateway.tries()
    stage.within(second - first, 0.0, 0.5, "the second try")
    stage.within(third - second, 0.0, 1.0, "the third try")


@check(
    "coming_back.upgrade_forbidden", "| 403 | an `Origin` that is not on the exact", needs=("upgrade_status",)
)
async def upgrade_forbidden(stage: Stage) -> None:
    """A refusal that does not pass by waiting is the end."""
    await stage.start()
    await stage.log_on()
    stage.gateway.refuse(403)
    await stage.driver.ask("connect")
    await stage.driver.event("ended")
    await stage.time.sleep(1.2)
    expect(len(stage.gateway.tries()) == 1, "it tried again")


@check("coming_back.nobody_listens", _BACKOFF)
async def nobody_listens(stage: Stage) -> None:
    """A gateway that is away for a while is found again."""
    await stage.live()
    stage.gateway.shut()
    await stage.time.sleep(1.0)
    await stage.gateway.open()
    await stage.again()
