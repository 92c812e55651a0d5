"""Phones that act at once, and an OSCC-E Server that receives, or answers, some of them late."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import aiohttp
import msgspec
import pytest

from gateway.simulator.fields import Body
from gateway.simulator.links import Link
from tests.scenarios.assistant import Assistant
from tests.scenarios.house import NUMBER, House

HOLD_S = 3.0
"""So long is a link held: less than the gateway waits for an answer on it."""
Received = tuple[str, str | None]
"""How a command ended: status, and the code of its error."""
APPLIED: Received = ("applied", None)
LOST: Received = ("unknown", "owner_lost")
"""Of a command whose session ended before its result came."""


class Rival(Assistant):
    """A phone that gives commands and keeps what it receives: a Remote Assistant's, or else a Dashboard's."""

    def __init__(self, house: House, user: str, device: str = "d1", *, base: str = "") -> None:
        super().__init__(house, device, user=user, base=base)
        self.house = house
        self.is_assistant = user.startswith("agent")
        self.frames: list[dict[str, Any]] = []
        """Of all its connections."""
        self.shown_when: dict[str, dict[str, Any]] = {}
        """What it showed when a command's result came."""

    def credentials(self, number: str = NUMBER, **more: object) -> dict[str, object]:
        body = super().credentials(number, **more)
        if not self.is_assistant:
            del body["remote_number"]
            body["application"] = "dashboard"
        return body

    async def come(self, number: str = NUMBER, **more: object) -> Rival:
        """Log on and show everything."""
        assert await self.enter(number, **more) == (201, "")
        return await self.back()

    async def back(self) -> Rival:
        """Connect and show everything."""
        self.ready.clear()
        self.connect()
        await self.house.until(self.ready.is_set)
        return self

    async def die(self) -> None:
        """Lose the connection as in a tunnel."""
        closes = sum(self.counts.closes.values())
        self.cut()
        await self.house.until(lambda: sum(self.counts.closes.values()) > closes)

    async def give(self, command: dict[str, Any], *, key: str = "", **more: object) -> str:
        """Give a command; returns its frame's name. The same *key* again is the same intended action."""
        name = uuid.uuid4().hex
        assert self.position is not None
        frame = {
            "kind": "command",
            "id": name,
            "key": key or str(uuid.uuid4()),
            "stream": self.position["stream"],
            "expires_at_ms": self.house.clock.wall_ms() + 10_000,
            "command": command,
            **more,
        }
        await self.send(frame)
        return name

    def wish(self, state: str, agent: int | None = None, **more: object) -> dict[str, Any]:
        """Return a supervisor's command about *agent*, or an agent's own, with a reason if it needs one."""
        reasons = self.shown["catalogue:reasons"]["reasons"]
        fitting = [each["reason_id"] for each in reasons if state in each.get("required_for", ())]
        reason = {"reason_id": fitting[0]} if fitting else {}
        own = {"kind": "routing_state.set"}
        another = {"kind": "agent.routing_state.set", "agent_id": str(agent)}
        return (own if agent is None else another) | {"state": state, "when": "now"} | reason | more

    def outcome(self, name: str) -> Received | None:
        """Return how a command ended; None without a result."""
        reported = self.results.get(name)
        return None if reported is None else (reported["status"], reported.get("error", {}).get("code"))

    async def received(self, name: str) -> Received:
        """Return how a command ended, once its result came."""
        await self.house.until(lambda: name in self.results)
        outcome = self.outcome(name)
        assert outcome is not None
        return outcome

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return its frames of *kind*."""
        return [frame for frame in self.frames if frame["kind"] == kind]

    def last(self, kind: str) -> dict[str, Any]:
        """Return the last of them."""
        return self.of_kind(kind)[-1]

    def named_after_it_went(self, key: str) -> bool:
        """Tell whether any frame named a resource after it was said to be gone."""
        (went,) = [n for n, frame in enumerate(self.frames) if key in frame.get("gone", ())]
        return any(f'"{key}"' in msgspec.json.encode(frame).decode() for frame in self.frames[went + 1 :])

    async def _take(self, ws: aiohttp.ClientWebSocketResponse, text: str) -> None:
        frame = msgspec.json.decode(text)
        if frame["kind"] == "result":
            assert frame["id"] not in self.results, "a command gets one result"
            self.shown_when[frame["id"]] = deepcopy(self.shown)
        self.frames.append(frame)
        await super()._take(ws, text)


class Ears:
    """Notes which commands the OSCC-E Server reads, in that order.

    Args:
        house: Whose server it is.
        patch: Undoes it.
    """

    def __init__(self, house: House, patch: pytest.MonkeyPatch) -> None:
        self.read: list[tuple[str, str]] = []
        """User name and key of each command."""
        self._house = house
        received = house.simulator.requests.received

        def arrived(link: Link, body: Body) -> None:
            if "RequestKey" in body:
                self.read.append((link.account.user_name, str(body["RequestKey"])))
            received(link, body)

        patch.setattr(house.simulator.requests, "received", arrived)

    @property
    def keys(self) -> list[str]:
        """The keys of the commands that were read."""
        return [key for _, key in self.read]

    async def until_came(self, count: int) -> None:
        """Return when so many commands were read, or wait before a frozen link."""
        lines = self._house.simulator.doors.lines
        await self._house.until(
            lambda: len(self.read) + sum(len(line.inbox) for line in lines.values()) >= count
        )


def hold(house: House, what: str, user: str) -> None:
    """Let the server read later what a user asks (``request``), or tell him later (``answer``)."""
    if what == "request":
        house.simulator.faults.freeze(HOLD_S, user)
    elif what == "answer":
        house.simulator.faults.delay(HOLD_S, user)


async def release(house: House, *users: str) -> None:
    """Let everything arrive."""
    for user in users:
        house.simulator.faults.delay(0, user)
    await house.clock.advance(HOLD_S + 1)


async def quiet(house: House, happened: Callable[[], object]) -> None:
    """Let a reading's time pass until *happened*: phones show what is true then."""
    for _ in range(5):
        if happened():
            return
        await house.clock.advance(1)
    assert happened()


def change_number(number: str) -> dict[str, Any]:
    return {"kind": "remote_number.change", "number": number}
