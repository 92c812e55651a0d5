"""However late the messages of a new link come, phones show in the end what the contact centre has.

A user has a Remote Assistant, which sees one agent, and a Dashboard, which sees more. Both come at any time,
and what the server sends comes in any portions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.model import Application, Kind, Scope
from gateway.domain.resources import Agent
from gateway.domain.upstream import LinkEvent, Part, Source
from tests.doubles.fake_link import FakeLink
from tests.runtime.scene import FakePhone, Scene, scene, user

TOPICS = ["agents", "queues"]
NUMBER = "+49301234567"
SETTLED_S = 30
ROUNDS = 8
"""More than a link needs to open."""

Step = str | float | int
"""A phone comes, the link is lost, a figure changes, the server answers all, time passes (float), or some
messages arrive (int).
"""
STEPS = st.lists(
    st.one_of(
        st.sampled_from(["assistant", "dashboard", "lost", "handled", "answers"]),
        st.sampled_from([0.1, 1.0, 5.5, 11.0]),
        st.integers(1, 12),
    ),
    max_size=24,
)


class Messages:
    """The messages of the server that are under way."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []
        self._put = FakeLink._put

    def taker(self) -> Callable[[FakeLink, Callable[[], LinkEvent | None]], None]:
        """Return what a link calls with each message of its server."""

        def put(link: FakeLink, item: Callable[[], LinkEvent | None]) -> None:
            self._waiting.append(lambda: self._put(link, item))

        return put

    def arrive(self, most: int) -> None:
        arriving, self._waiting = self._waiting[:most], self._waiting[most:]
        for deliver in arriving:
            deliver()


class Opening:
    """One user whose link opens, and the user's phones."""

    def __init__(self, at: Scene, messages: Messages) -> None:
        self.at, self.messages = at, messages
        self.phones: dict[str, FakePhone] = {}
        self.handled = 2
        at.upstream.add_user(
            2, "dana", scope=Scope(agents=frozenset({7, 8}), queues=frozenset({5})), own_agent=7
        )
        self._count()

    def _count(self) -> None:
        self.at.upstream.put(
            *(Part(Kind.AGENT, key, Source.CUMULATIVE, Agent(handled_today=self.handled)) for key in (7, 8))
        )

    async def step(self, step: Step) -> None:
        match step:
            case "lost" if user(2) in self.at.upstream.user_links:
                self.at.upstream.drop(user(2))
            case "handled":
                self.handled += 1
                self._count()
            case "answers":
                for _ in range(ROUNDS):
                    await self._receive(1_000)
            case "assistant" | "dashboard":
                await self._come(str(step))
            case float():
                await self.at.pass_time(step)
            case int():
                await self._receive(step)

    async def _receive(self, most: int) -> None:
        self.messages.arrive(most)
        await self.at.clock.settle()

    async def _come(self, which: str) -> None:
        """Let a phone come that is not there, or no longer."""
        known = self.phones.get(which)
        if known is None:
            is_assistant = which == "assistant"
            kind = Application.REMOTE_ASSISTANT if is_assistant else Application.DASHBOARD
            number = NUMBER if is_assistant else None
            known = await self.at.phone("dana", kind, device=which, number=number)
        elif known.closed is None:
            return
        else:
            known = FakePhone(self.at, known.ticket)
        self.phones[which] = known
        known.hello(topics=TOPICS)
        await self.at.clock.settle()


async def _open(steps: list[Step]) -> None:
    messages = Messages()
    with patch.object(FakeLink, "_put", messages.taker()):
        async with scene() as at:
            opening = Opening(at, messages)
            for step in steps:
                await opening.step(step)
            for _ in range(SETTLED_S):
                for which in ("assistant", "dashboard"):
                    await opening.step(which)
                await opening.step(1_000)
                await opening.step(1.0)
            seen = {"assistant": (7,), "dashboard": (7, 8)}
            for which, phone in opening.phones.items():
                shown = {key: value for key, value in phone.shown.items() if key.startswith("agent:")}
                assert {key: value.get("handled_today") for key, value in shown.items()} == {
                    f"agent:{number}": opening.handled for number in seen[which]
                }
                assert phone.health == "live"
            assert opening.phones["dashboard"].shown["queue:5"]["contacts_waiting"] == 3


@given(STEPS)
@example(["assistant", "answers", "dashboard", 1, 5.5, "answers"])
@example(["assistant", "answers", "dashboard", 2, 5.5, "answers"])
@example(["assistant", "answers", "dashboard", 3, 5.5, "answers"])
def test_phones_show_the_truth_in_the_end(steps: list[Step]) -> None:
    asyncio.run(_open(steps))
