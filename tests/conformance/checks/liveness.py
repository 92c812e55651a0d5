"""Checks: a client detects a dead gateway, and answers pings."""

from __future__ import annotations

from typing import Final

from tests.conformance.phone import Phone
from tests.conformance.registry import check, live
from tests.conformance.stage import SALES, Stage
from tests.conformance.timing import expect

_GIVES_UP: Final = "The client gives up when no frame came for `ping_s` + 10 s."
_PROBE: Final = "When its network changes, a client sends a `pong` that answers no `ping`, and waits for 3 s."


@live(
    "liveness.pong",
    "| `pong` | `nonce?` | answers `ping`; one without its nonce asks for a `ping`, at most once a second |",
)
async def pong(stage: Stage, phone: Phone) -> None:
    """Each ping has its pong, with its nonce and in order."""
    for _ in range(3):
        await phone.ping(5)


@check("liveness.gives_up", _GIVES_UP, scale=6.0)
async def gives_up(stage: Stage) -> None:
    """A silent gateway is left after ping_s + 10 s, counted from the last frame, and tried again."""
    phone = await stage.begin()
    await phone.serve(put=SALES, ping_s=12.0)
    await phone.ping(5)
    last_received_at = stage.time.now()
    again = await stage.gateway.phone(within_s=40.0)
    stage.within(again.came_at - last_received_at, 22.0, 24.0, "the next connection")
    await again.resume()


@check("liveness.any_frame_counts", "Any frame counts.", scale=6.0)
async def any_frame_counts(stage: Stage) -> None:
    """A frame of a kind that is not known is a sign of life, too."""
    phone = await stage.begin()
    await phone.serve(put=SALES, ping_s=10.0)
    for _ in range(3):
        await stage.time.sleep(12.0)
        await phone.send({"kind": "sign_of_life"})
    await stage.time.sleep(12.0)
    expect(not phone.gone.is_set(), "the client gave up although frames came")
    expect(len(stage.gateway.tries()) == 1, "the client connected again")


@check("liveness.upgrade_hangs", _GIVES_UP, scale=6.0)
async def upgrade_hangs(stage: Stage) -> None:
    """A gateway that says nothing after the hello is left."""
    phone = await stage.begin()
    await phone.receive("hello")
    await stage.gateway.phone(within_s=60.0)


@live("liveness.network_changed", _PROBE, scale=2.0)
async def network_changed(stage: Stage, phone: Phone) -> None:
    """No answer within 3 s: the connection is given up."""
    began = stage.time.now()
    await stage.driver.ask("network_changed")
    await phone.receive("pong")
    again = await stage.gateway.phone(within_s=15.0)
    stage.within(again.came_at - began, 3.0, 4.0, "the next connection")


@live("liveness.network_stays", _PROBE, scale=2.0)
async def network_stays(stage: Stage, phone: Phone) -> None:
    """An answer in time keeps the connection."""
    await stage.driver.ask("network_changed")
    await phone.receive("pong")
    await stage.time.sleep(1.5)
    await phone.ping(5)
    await stage.gateway.hears_nobody(4.0)
    expect(not phone.gone.is_set(), "the client left although it was answered")


@live("liveness.health", "an empty `changes` that also says how old the data is")
async def health(stage: Stage, phone: Phone) -> None:
    """What pings say of the link, the bus and the age of the data is reported."""
    await phone.ping(5, upstream="stale", bus="degraded", as_of_ms=1_767_000_000_000)
    received = await stage.driver.event("health", len(stage.driver.received("health")) or 1)
    seen = (received.get("upstream"), received.get("bus"), received.get("as_of_ms"))
    expect(seen == ("stale", "degraded", 1_767_000_000_000), f"the client reports {seen}")
    await phone.ping(5, upstream="down", as_of_ms=None)
    received = await stage.driver.event("health", 2)
    expect(
        (received.get("upstream"), received.get("as_of_ms")) == ("down", None),
        f"the client reports {received}",
    )
    await stage.holds("old data is still held", queue__1=SALES["queue:1"])
