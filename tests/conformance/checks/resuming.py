"""Checks: a client resumes at its position."""

from __future__ import annotations

from typing import Final

from tests.conformance.phone import Phone
from tests.conformance.registry import check, live
from tests.conformance.saying import changes
from tests.conformance.stage import SALES, Stage
from tests.conformance.timing import expect

_HELLO: Final = (
    "When the position in `hello` is of the same stream, the gateway sends what changed since. "
    "Otherwise it sends a reset."
)
_SLEEP: Final = (
    "A phone that goes to the background says `bye` and resumes in the foreground with its position."
)


async def _tries_at_once(stage: Stage, event: str) -> Phone:
    """Hold that the client connects as soon as it is told of an event; returns its connection."""
    began = stage.time.now()
    await stage.driver.ask(event)
    again = await stage.gateway.phone()
    stage.within(again.came_at - began, 0.0, 0.3, "the try")
    return again


@live("resuming.position", _HELLO)
async def position(stage: Stage, phone: Phone) -> None:
    """After a lost connection the hello names the position, and what changed since is taken in."""
    await phone.send(changes(5, 8, put={"queue:2": {"name": "Two"}}))
    await phone.ping(8)
    phone.drop()
    again = await stage.greeted(position={"stream": "1.a", "seq": 8})
    await again.welcome(resumed=True)
    await again.send(changes(8, 12, patch={"queue:1": {"contacts_waiting": 4}}, gone=["queue:2"]))
    await again.ping(12)
    await stage.holds("it resumed", queue__1={"name": "Sales", "contacts_waiting": 4})
    received = await stage.driver.event("connected", 2)
    expect(received.get("resumed") is True, "the client does not tell that it resumed")


@live("resuming.reset", _HELLO)
async def reset(stage: Stage, phone: Phone) -> None:
    """When the gateway answers with a reset, nothing of before is left."""
    phone.drop()
    again = await stage.gateway.phone()
    await again.serve(stream="9.a", seq=1, put={"queue:2": {"name": "Two"}})
    await again.ping(1)
    await stage.holds("it was reset", queue__2={"name": "Two"})


@live("resuming.hang_up", "1001, 1006, 1011, 1012 and 1013 count as")
async def hang_up(stage: Stage, phone: Phone) -> None:
    """An end of the connection without a close frame is a lost connection."""
    phone.hang_up()
    await stage.again()


@live(
    "resuming.after_gap",
    "When `after` differs from the client's `seq` and the frame has no `reset`, a change was lost.",
)
async def after_gap(stage: Stage, phone: Phone) -> None:
    """A connection lost between gap and reset: the next one resumes where the gap was found, and goes on."""
    await phone.send(changes(7, 8))
    await phone.receive("resync")
    phone.drop()
    again = await stage.greeted(position={"stream": "1.a", "seq": 5})
    await again.welcome(resumed=True)
    await again.send(changes(5, 8, put={"queue:3": {"name": "Three"}}))
    await again.ping(8)
    await stage.holds("it went on", queue__1=SALES["queue:1"], queue__3={"name": "Three"})


@live("resuming.background", _SLEEP)
async def background(stage: Stage, phone: Phone) -> None:
    """`bye`, then silence; at once back in the foreground, and nothing was forgotten."""
    await stage.driver.ask("background")
    await phone.receive("bye")
    await phone.left()
    await stage.gateway.hears_nobody(1.5)
    await stage.holds("the mirror stays", queue__1=SALES["queue:1"])
    hello = await (await _tries_at_once(stage, "foreground")).resume()
    expect(hello["position"] == {"stream": "1.a", "seq": 5}, f"it resumes at {hello['position']}")


@live("resuming.background_while_waiting", _SLEEP)
async def background_while_waiting(stage: Stage, phone: Phone) -> None:
    """In the background no connection is tried, also when one was being waited for."""
    await phone.bye(4200, "draining", min_s=0.8, max_s=1.0)
    await stage.driver.ask("background")
    await stage.gateway.hears_nobody(2.0)
    await stage.driver.ask("foreground")
    await stage.again()


@live("resuming.foreground", "When the app comes to the foreground or the network comes back, try at once")
async def foreground(stage: Stage, phone: Phone) -> None:
    """The foreground cuts a wait short."""
    await phone.bye(4200, "draining", min_s=30, max_s=40)
    await phone.left()
    await _tries_at_once(stage, "foreground")


@live("resuming.online", "When the app comes to the foreground or the network comes back, try at once")
async def online(stage: Stage, phone: Phone) -> None:
    """So does a network that comes back."""
    await phone.bye(4103, "over_capacity", min_s=30, max_s=40)
    await phone.left()
    await _tries_at_once(stage, "network_changed")


@check("resuming.once_per_2_s", "at most once per 2 s", scale=2.0)
async def once_per_2_s(stage: Stage) -> None:
    """A window that comes and goes all the time makes no more than one try in 2 s."""
    phone = await stage.live(chance=0.9)
    stage.gateway.refuse(0, times=8)
    await phone.bye(4200, "draining", min_s=30, max_s=40)
    await phone.left()
    began = stage.time.now()
    for _ in range(24):
        await stage.driver.ask("background")
        await stage.driver.ask("foreground")
        await stage.time.sleep(0.25)
    tries = [at for at in stage.gateway.tries() if at >= began - stage.early_s]
    expect(tries, "nothing was tried")
    expect(len(tries) <= 5, f"{len(tries)} tries in 6 s")


@check(
    "resuming.delayed_try", "A try that is due sooner is delayed until they are over, and is not left out."
)
async def delayed_try(stage: Stage) -> None:
    """The foreground, twice within 2 s: the second try comes when the 2 s are over."""
    phone = await stage.live(chance=0.9)
    stage.gateway.refuse(0)
    await phone.bye(4200, "draining", min_s=30, max_s=40)
    await phone.left()
    before = len(stage.gateway.tries())
    for _ in range(2):
        await stage.driver.ask("background")
        await stage.driver.ask("foreground")
        await stage.time.sleep(0.3)
    again = await stage.gateway.phone(within_s=4.0)
    first = stage.gateway.tries()[before]
    stage.within(again.came_at - first, 2.0, 2.3, "the second try")
