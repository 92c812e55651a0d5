"""A day at a small Asterisk: callers arrive, telephones ring, agents answer, a caller hangs up.

For demonstrations: from a seed, and not meant to be realistic.
"""

from __future__ import annotations

import random  # noqa: TID251 - a demonstration, seeded
from dataclasses import dataclass
from typing import Final

from gateway.simulator.ami import FakeAsterisk
from gateway.simulator.settings import Clock

TURN_S: Final = 0.5
CONTEXT: Final = "oscc-remote"
_QUEUES: Final = ("sales", "support", "billing", "returns", "vip")
_FIRST: Final = ("Ada", "Ben", "Cem", "Dana", "Emil", "Fay", "Gus", "Hana", "Ivo", "June", "Kai", "Lena")
_LAST: Final = ("Adler", "Bauer", "Conti", "Dietz", "Ebert", "Frank", "Gross", "Huber", "Iven", "Jahn")
_REASONS: Final = ("Lunch", "Meeting", "Training")


@dataclass(slots=True)
class _Call:
    """A caller in a queue."""

    queue: str
    unique: str
    patience_s: float
    waited_s: float = 0.0
    interface: str | None = None
    phase_s: float = 0.0
    talks: bool = False


class Day:
    """Creates callers for an Asterisk, and lets agents answer them.

    Args:
        asterisk: The Asterisk; :meth:`add_queues_and_agents` adds queues and members.
        clock: Waits between two turns.
        seed: Seed of the random generator.
    """

    def __init__(self, asterisk: FakeAsterisk, clock: Clock, *, seed: int = 1) -> None:
        self._asterisk = asterisk
        self._clock = clock
        self._random = random.Random(seed)
        self._calls: list[_Call] = []

    def add_queues_and_agents(self, *, agents: int, queues: int) -> None:
        """Add queues, and agents at their desks who are members of two queues each."""
        names = [_QUEUES[place] if place < len(_QUEUES) else f"queue{place}" for place in range(queues)]
        for name in names:
            self._asterisk.add_queue(name)
        for place in range(agents):
            called = f"{_FIRST[place % len(_FIRST)]} {_LAST[place // len(_FIRST) % len(_LAST)]}"
            for name in {names[place % queues], names[(place * 3 + 1) % queues]}:
                penalty = self._random.randint(0, 3)
                self._asterisk.add_static(name, f"PJSIP/{2001 + place}", called, penalty=penalty)

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self._turn()
            await self._clock.sleep(TURN_S)

    def _turn(self) -> None:
        queues = self._asterisk.queues
        members = {interface for queue in queues.values() for interface in queue.members}
        if self._random.random() < min(0.9, len(members) / 60) and len(self._calls) < 2 * len(members) + 3:
            queue = self._random.choice(list(queues))
            number = f"+4930{self._random.randint(10**6, 10**7 - 1)}"
            unique = self._asterisk.join(queue, number)
            self._calls.append(_Call(queue, unique, self._random.uniform(20, 90)))
        if members and self._random.random() < 0.05:
            self._pause(self._random.choice(sorted(members)))
        for call in list(self._calls):
            self._advance(call)

    def _pause(self, interface: str) -> None:
        if CONTEXT not in interface:  # agents who are logged on with the app pause with it
            self._asterisk.set_paused(interface, self._random.choice((None, None, *_REASONS)))

    def _advance(self, call: _Call) -> None:
        call.waited_s += TURN_S
        call.phase_s -= TURN_S
        if call.talks:
            if call.phase_s <= 0:
                self._end(call)
        elif call.waited_s > call.patience_s:
            self._give_up(call)
        elif call.interface is None:
            self._ring(call)
        elif call.phase_s <= 0:
            self._answer(call)

    def _ring(self, call: _Call) -> None:
        queue = self._asterisk.queues[call.queue]
        busy = {other.interface for other in self._calls}
        free = [
            member.interface
            for member in queue.members.values()
            if member.interface not in busy and not member.paused and member.status == 1
            if self._rings(member.interface)
        ]
        if free:
            call.interface = self._random.choice(free)
            call.phase_s = self._random.uniform(1, 5)
            self._asterisk.ring(call.queue, call.unique, call.interface)

    def _rings(self, interface: str) -> bool:
        login, at, context = interface.removeprefix("Local/").partition("@")
        return not at or not context.startswith(CONTEXT) or self._asterisk.rings_at(login) is not None

    def _answer(self, call: _Call) -> None:
        interface = call.interface or ""
        if interface not in self._asterisk.queues[call.queue].members:
            call.interface = None
        elif self._random.random() < 0.1:
            self._asterisk.ring_no_answer(call.queue, call.unique, interface)
            call.interface = None
        else:
            self._asterisk.answer(call.queue, call.unique, interface)
            call.talks, call.phase_s = True, self._random.uniform(8, 60)

    def _give_up(self, call: _Call) -> None:
        if call.interface in self._asterisk.queues[call.queue].members:
            self._asterisk.device(call.interface or "", 1)
        self._asterisk.abandon(call.queue, call.unique)
        self._calls.remove(call)

    def _end(self, call: _Call) -> None:
        if call.interface in self._asterisk.queues[call.queue].members:
            self._asterisk.complete(call.queue, call.unique, call.interface or "")
        self._calls.remove(call)
