"""One simulated OSCC-E Server and one gateway in this process, with phones that keep what they received.

Both live in real time; a test may move their hands on. Whatever it waits for has a bound: where the
protocol promises an effect within a second, that second.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp
import msgspec

from gateway.app import wiring
from gateway.app.config.settings import SecretsSection, Settings
from gateway.app.process import StopRequest
from gateway.runtime.event_loop import SystemClock
from gateway.simulator import Simulator, SimulatorSettings
from gateway.simulator.sessions import Session
from gateway.simulator.settings import RealClock
from tests.scenarios.phones import Phone

AT_ONCE_S = 1.0
"""Within which a live session feels what was done to it."""
SOON_S = 10.0
"""Within which happens what nothing is promised of: only a bound."""
KEYS = {name: base64.b64encode(bytes([number]) * 32).decode() for number, name in enumerate(("k1", "k2"))}
CENTRE = SimulatorSettings(
    agents=20, queues=6, groups=2, users=3, warm_up_s=0, on_change=True, start_paused=True
)
"""Nothing happens in it by itself."""


class Answer(NamedTuple):
    """What a route of the gateway answered."""

    status: int
    body: dict[str, Any]
    raw: bytes
    headers: frozenset[tuple[str, str]]
    """All but the time of day."""
    took_s: float


class Time(SystemClock):
    """The gateway's clock, whose hands a test may move on."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        """Of the monotonic clock."""
        self.wall_ahead_ms = 0
        """Of the wall clock, which is the centre's too."""

    def now(self) -> float:
        return super().now() + self.ahead_s

    def wall_ms(self) -> int:
        return super().wall_ms() + self.wall_ahead_ms


class CentreTime(RealClock):
    """The centre's clock: its wall clock moves with the gateway's."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self._time = time

    def now_ms(self) -> int:
        return super().now_ms() + self._time.wall_ahead_ms


class Handset(Phone):
    """A phone that keeps all frames, and that can be deaf to pings."""

    def __init__(self, office: Office, name: str, device: str) -> None:
        super().__init__(office.http, office.base, name, device)
        self.office = office
        self.frames: list[dict[str, Any]] = []
        """Since the last hello."""
        self.session = ""
        self.deaf = False
        self._news = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    # ---- life ----

    async def logged_on(self, number: str | None = None, *, takeover: bool = False) -> Handset:
        """Log on; with a number as a Remote Assistant, else as a Dashboard."""
        answer = await self.office.log_on(self.name, self.device, number=number, takeover=takeover)
        assert answer.status == 201, answer.body
        self.token, self.session = answer.body["token"], answer.body["session"]["id"]
        return self

    def twin(self, token: str) -> Handset:
        """A second phone that shows a token of this one's session."""
        other = Handset(self.office, self.name, self.device)
        other.token, other.session = token, self.session
        return other

    def say_hello(self) -> None:
        """Connect, and live on by itself."""
        self.ready.clear()
        self.base, self.frames = self.office.base, []
        self._life = self.office.tasks.create_task(self.live())

    async def connected(self) -> Handset:
        """Connect; returns when everything is there."""
        self.say_hello()
        await self.until(self.ready.is_set)
        return self

    async def refused(self) -> dict[str, Any]:
        """Connect without being served; returns the `bye`."""
        self.say_hello()
        bye = await self.over(SOON_S)
        assert not self.of_kind("welcome")
        return bye

    async def over(self, within_s: float = AT_ONCE_S) -> dict[str, Any]:
        """Return the `bye` of the connection, whose end must be there in time."""
        assert self._life is not None
        _, alive = await asyncio.wait([self._life], timeout=within_s)
        assert not alive, f"the connection did not end within {within_s} s"
        bye = self.last("bye")
        assert self.counts.closes.pop(bye["code"]) == 1
        return bye

    # ---- what it received ----

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return its frames of *kind*."""
        return [frame for frame in self.frames if frame["kind"] == kind]

    def last(self, kind: str) -> dict[str, Any]:
        """Return the last of them."""
        return self.of_kind(kind)[-1]

    @property
    def me(self) -> dict[str, Any]:
        """What it is shown of its user."""
        return self.shown["me"]

    @property
    def place(self) -> dict[str, Any]:
        """Where it is: `stream` and `seq`."""
        assert self.position is not None
        return self.position

    def keys_sent(self) -> set[str]:
        """Return every key that any frame named."""
        named: set[str] = set()
        for frame in self.of_kind("changes"):
            named |= {*frame.get("put", ()), *frame.get("patch", ()), *frame.get("gone", ())}
        return named

    async def until(self, condition: Callable[[], bool], within_s: float = SOON_S) -> None:
        """Return when *condition* holds; it is looked at after each frame."""
        async with asyncio.timeout(within_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def caught_up(self) -> None:
        """Return when everything that happened to its session until now has been sent.

        A command that can only be rejected is answered after the state that was there before it.
        """
        assert await self.asks_for(0, "available") in {"not_found", "forbidden"}

    # ---- what it asks ----

    async def asks_for(self, agent: int, state: str) -> str:
        """Ask for an agent's routing state; returns how that ended, or with which code it was rejected."""
        outcome = await self.command("agent.routing_state.set", agent_id=str(agent), state=state, when="now")
        return str(outcome["error"]["code"] if outcome["status"] == "rejected" else outcome["status"])

    async def command(self, kind: str, **fields: object) -> dict[str, Any]:
        """Give a command; returns its outcome."""
        name = uuid.uuid4().hex
        await self.send(
            {
                "kind": "command",
                "id": name,
                "key": str(uuid.uuid4()),
                "stream": self.place["stream"],
                "expires_at_ms": self.office.time.wall_ms() + 10_000,
                "command": {"kind": kind, **fields},
            }
        )
        await self.until(lambda: name in self.results)
        return self.results[name]

    async def ask(self, method: str = "GET", path: str = "/v1/session", *, token: str = "") -> Answer:
        """Ask a route, with its own token or another one."""
        return await self.office.ask(method, path, token=token or self.token)

    async def _take(self, ws: aiohttp.ClientWebSocketResponse, text: str) -> None:
        frame = msgspec.json.decode(text)
        if not (self.deaf and frame["kind"] == "ping"):
            await super()._take(ws, text)
        self.frames.append(frame)
        self._news.set()


@dataclass
class Office:
    """The server, the gateway of the moment, and the doors to both."""

    http: aiohttp.ClientSession
    simulator: Simulator
    time: Time
    tasks: asyncio.TaskGroup
    base: str = ""

    @asynccontextmanager
    async def gateway(self, *keys: str) -> AsyncIterator[None]:
        """A gateway whose tokens the first key seals and all keys open."""
        where = {"id": "main", "url": self.simulator.url, "display_name": "Main", "country": "DE"}
        doors = {"client": {"port": 0, "insecure": True}, "ops": {"port": 0}, "admin": {"port": 0}}
        settings = Settings.model_validate(
            {**doors, "sites": [where], "limits": {"log_ons_per_s": 200, "drain_s": 0}}
        )
        sealing = [f"{name}:{KEYS[name]}" for name in keys]
        secrets = SecretsSection.model_validate({"sealing_keys": sealing, "pseudonym_key": KEYS["k1"]})
        async with wiring.serving(settings, secrets, self.time, StopRequest()) as addresses:
            self.base = addresses.client
            yield

    # ---- phones ----

    def phone(self, name: str, device: str) -> Handset:
        """A phone that has not logged on."""
        return Handset(self, name, device)

    async def served(self, name: str, device: str, number: str | None = None) -> Handset:
        """A phone that shows everything; with a number a Remote Assistant, else a Dashboard."""
        return await (await self.phone(name, device).logged_on(number)).connected()

    async def log_on(
        self,
        name: str,
        device: str,
        *,
        number: str | None = None,
        password: str = "demo",
        takeover: bool = False,
    ) -> Answer:
        """Try to log on; the device's name is its id in capitals."""
        body: dict[str, object] = {
            "site": "main",
            "application": "dashboard" if number is None else "remote_assistant",
            "user_name": name,
            "password": password,
            "device": {"id": device, "name": device.upper(), "platform": "test", "app_version": "1.0"},
            "takeover": takeover,
            **({} if number is None else {"remote_number": number}),
        }
        return await self.ask("POST", "/v1/sessions", body=body)

    async def ask(self, method: str, path: str, *, token: str = "", body: object = None) -> Answer:
        """Ask a route of the gateway."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        began = self.time.now()
        async with self.http.request(method, self.base + path, headers=headers, json=body) as response:
            raw = await response.read()
        took_s = self.time.now() - began
        received = frozenset((name, text) for name, text in response.headers.items() if name != "Date")
        return Answer(response.status, msgspec.json.decode(raw) if raw else {}, raw, received, took_s)

    # ---- the OSCC-E Server ----

    async def act(self, act: str, **fields: object) -> dict[str, Any]:
        """Let something be done at the OSCC-E Server."""
        return await self._control("act", {"Act": act, **fields})

    async def fault(self, fault: str, **fields: object) -> dict[str, Any]:
        """Let something go wrong there."""
        return await self._control("fault", {"Fault": fault, **fields})

    async def _control(self, door: str, body: dict[str, object]) -> dict[str, Any]:
        async with self.http.post(f"{self.simulator.control_url}/simulator/v1/{door}", json=body) as answer:
            received: dict[str, Any] = await answer.json()
            assert answer.status == 200, received
            return received

    async def looked_at(self, what: str) -> dict[str, Any]:
        """Look behind the scenes: ``links`` or ``routing``."""
        async with self.http.get(f"{self.simulator.control_url}/simulator/v1/{what}") as answer:
            received: dict[str, Any] = await answer.json()
            return received

    async def link_of(self, name: str) -> dict[str, Any]:
        """Return what was counted of a user's links."""
        counted: dict[str, Any] = (await self.looked_at("links"))["Links"][name]
        return counted

    def session_of(self, phone: Handset) -> Session:
        """Return a phone's session as the OSCC-E Server has it."""
        (found,) = [each for each in self.simulator.sessions if each.public_id == phone.session]
        return found

    def keys_of(self, phone: Handset, *kinds: str) -> set[str]:
        """Return the keys of those *kinds* that the OSCC-E Server lets a phone's session see."""
        scope = self.session_of(phone).scope
        numbers: dict[str, Iterable[int]] = {
            "agent": scope.users,
            "queue": scope.queues,
            "group": scope.groups,
            "aggregate": scope.aggregates,
        }
        return {f"{kind}:{number}" for kind in kinds for number in numbers[kind]}


@asynccontextmanager
async def empty_office() -> AsyncIterator[Office]:
    """An office whose gateways a test starts by itself. What the block raises leaves it as it is."""
    time, own = Time(), None
    async with (
        asyncio.timeout(60),
        Simulator(CENTRE, CentreTime(time)) as simulator,
        aiohttp.ClientSession() as http,
        asyncio.TaskGroup() as tasks,
    ):
        try:
            yield Office(http, simulator, time, tasks)
        except Exception as error:  # noqa: BLE001 - raised again outside the groups
            own = error
    if own is not None:
        raise own


@asynccontextmanager
async def office() -> AsyncIterator[Office]:
    """An office with a gateway."""
    async with empty_office() as made, made.gateway("k1"):
        yield made
