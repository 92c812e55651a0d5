"""What a check has: a client that it drives, the gateway that the client meets, and time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.conformance.driver import Driver, Refusal
from tests.conformance.gateway import ScriptedGateway
from tests.conformance.phone import Phone
from tests.conformance.timing import Failed, Time, expect
from tests.conformance.wire import Frame

SLACK_S: Final = 0.6
"""Real seconds that a wait may be longer than asked for: the machine has other work."""
EARLY_S: Final = 0.06
"""Real seconds that a wait may seem shorter, since its beginning was seen late."""
DEADLINE_LATE_S: Final = 2.0
"""How much nearer a deadline may be: the client's estimate of the clock is late by the frame's way here."""
LOG_ON: Final = {
    "site": "main", "application": "dashboard", "user": "ada", "password": "secret",
    "device": {"id": "d1", "name": "Ada's desk"},
}  # fmt: skip
STORED: Final = {"user": "ada", "password": "stored"}
SALES: Final[Mapping[str, Any]] = {"queue:1": {"name": "Sales", "contacts_waiting": 3}}


class Stage:
    """Where one check plays.

    Args:
        driver: Drives the client under test.
        gateway: Plays its gateway.
        time: Theirs.
    """

    def __init__(self, driver: Driver, gateway: ScriptedGateway, time: Time) -> None:
        self.driver: Final = driver
        self.gateway: Final = gateway
        self.time: Final = time
        self.slack_s: Final = SLACK_S * time.scale
        self.early_s: Final = EARLY_S * time.scale

    # ---- the client ----

    async def start(self, **options: object) -> None:
        """Have a new client: *options* are those of the driver's `start`."""
        said: dict[str, object] = {"base": self.gateway.address, "codec": "json", **options}
        if self.time.scale != 1.0:
            said["time_scale"] = self.time.scale
        if "chance" not in self.driver.features:
            said.pop("chance", None)
        await self.driver.ask("start", **said)
        # the client before it may have reported its end until now
        self.driver.events.clear()

    async def log_on(self, **fields: object) -> dict[str, Any]:
        return await self.driver.ask("log_on", **{**LOG_ON, **fields})

    async def begin(self, **options: object) -> Phone:
        """Have a client that logged on and connects; returns its socket, before the hello was taken."""
        await self.start(**options)
        await self.log_on()
        await self.driver.ask("connect")
        return await self.gateway.phone()

    async def live(self, put: Mapping[str, Any] = SALES, seq: int = 5, **options: object) -> Phone:
        """Have a client that is in sync at *seq* in stream ``1.a``."""
        phone = await self.begin(**options)
        await phone.serve(put=put, seq=seq)
        await phone.settle()
        return phone

    async def again(self, **fields: object) -> Phone:
        """Take the client's next connection and tell it that nothing has changed."""
        phone = await self.gateway.phone()
        await phone.resume(**fields)
        return phone

    async def greeted(self, **wanted: object) -> Phone:
        """Take the client's next connection, whose hello has just these values in these fields."""
        phone = await self.gateway.phone()
        hello = await phone.receive("hello")
        for name, value in wanted.items():
            expect(hello.get(name) == value, f"the next hello has {name} {hello.get(name)}, not {value}")
        return phone

    async def mirror(self) -> dict[str, Any]:
        mirror: dict[str, Any] = (await self.driver.ask("snapshot"))["mirror"]
        return mirror

    async def holds(self, otherwise: str, **mirror: object) -> None:
        """Hold that the client holds just *mirror*; ``__`` in a name stands for ``:``."""
        wanted = {key.replace("__", ":"): value for key, value in mirror.items()}
        held = await self.mirror()
        expect(held == wanted, f"{otherwise}: the client holds {held}, not {wanted}")

    async def refused(self, do: str, code: str, **said: object) -> dict[str, Any]:
        """Hold that the client refuses with *code*; returns the error."""
        try:
            await self.driver.ask(do, **said)
        except Refusal as refusal:
            expect(refusal.code == code, f"{do} is refused with {refusal.code!r}, not {code!r}")
            return refusal.error
        raise Failed(f"{do} is not refused")

    async def ended(self, code: int) -> dict[str, Any]:
        """Hold that the client reports that all is over; returns its report."""
        received = await self.driver.event("ended")
        expect(received.get("code") == code, f"the client reports code {received.get('code')}, not {code}")
        return received

    async def commanded(self, phone: Phone) -> tuple[Any, Frame]:
        """Have the client send a command; returns its answer to come and the frame."""
        args = {"agent_id": "7", "state": "available", "when": "now"}
        answer = self.driver.begin("command", kind="agent.routing_state.set", args=args, deadline_s=10.0)
        return answer, await phone.receive("command")

    async def outcome(self, answer: Any, status: str | None = None) -> dict[str, Any]:  # noqa: ANN401 - the driver's future
        """Return what became of a command; it has this *status*."""
        outcome: dict[str, Any] = (await self.driver.answered(answer, "command"))["outcome"]
        reported = outcome["status"]
        expect(status is None or reported == status, f"the client reports {reported}, not {status}")
        return outcome

    # ---- waits ----

    def within(self, took_s: float, low_s: float, high_s: float, what: str) -> None:
        """Hold that *what* took from *low_s* to *high_s*, as exactly as this machine can tell."""
        fits = low_s - self.early_s <= took_s <= high_s + self.slack_s
        tolerance = f"tolerance: {self.early_s:g} s before, {self.slack_s:g} s after"
        expect(fits, f"{what} came after {took_s:.2f} s, not within {low_s:g} to {high_s:g} s ({tolerance})")

    def ahead(self, frame: Frame, deadline_s: float) -> None:
        """Hold that a command's deadline is *deadline_s* ahead of the gateway's clock, as seen on arrival."""
        ahead_s = (frame["expires_at_ms"] - self.time.server_ms()) / 1000
        low_s, high_s = deadline_s - DEADLINE_LATE_S, deadline_s + self.early_s
        bounds = f"not within {low_s:g} to {deadline_s:g} s (tolerance: {self.early_s:g} s after)"
        expect(
            low_s < ahead_s <= high_s, f"a deadline of {deadline_s:g} s is {ahead_s:.2f} s ahead, {bounds}"
        )
