"""How do nodes reach each other through Redis?

Two connections: all that a node publishes leaves through one of them, in order; all that it hears comes
through the other. What travels is sealed, and heard once: see :mod:`gateway.bus.lives`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from gateway.bus.cable import Reply, Word
from gateway.bus.door import Door
from gateway.bus.hearing import LISTENING, Ears
from gateway.bus.line import Line, Pace
from gateway.bus.lives import Freshness, Head, Lives, WaitingMessage, opened, read, written
from gateway.bus.names import LIVES, Names
from gateway.bus.sealing import Seals, Unopened
from gateway.bus.wire import bus_down
from gateway.domain.errors import GatewayError
from gateway.protocol.envelope_codec import BadEnvelope, decode, encode
from gateway.protocol.envelopes import Channel, Envelope, aged
from gateway.runtime.ports import Clock

PUBLISHING: Final = Pace(window=2_000)
GREET_S: Final = 0.02
"""Between two greetings of this node: what it owes meanwhile goes with the next."""
GREET_AGAIN_S: Final = 0.25
"""After a greeting that the bus did not take."""
SLOW_S: Final = 0.02
"""A message that was under way for less is told as it was sent."""
_DROPPED: Final = {
    Freshness.REPEATED: Unopened.REPEATED,
    Freshness.LATE: Unopened.LATE,
}

Receive = Callable[[Envelope], None]


class RedisBus:
    """See :class:`gateway.runtime.ports.Bus`. Works while :meth:`run` runs.

    Invariants: what is told was sealed for its channel by a node of this cluster that lives, since this one
    does, and is told once; a message is published once or not at all, and none that failed is delivered
    after one that was asked later.

    Args:
        door: Opens connections.
        names: What channels are called.
        seals: Seal and open what travels.
        clock: The only time.
        jitter: Draws from [0, 1).
        draw: Draws that many unpredictable bytes.
        publishing: How long to wait for what when sending.
        listening: And when hearing.
    """

    def __init__(
        self,
        door: Door,
        names: Names,
        seals: Seals,
        clock: Clock,
        jitter: Callable[[], float],
        draw: Callable[[int], bytes],
        *,
        publishing: Pace = PUBLISHING,
        listening: Pace = LISTENING,
    ) -> None:
        self.published = 0
        """Messages that Redis took."""
        self.received = 0
        """Messages that were told."""
        self.ears: Final = Ears(door, clock, jitter, listening)
        last = _LastConnection()
        self.mouth: Final = Line(
            door, clock, jitter, publishing, greetings=last.greetings, opened=last.opened
        )
        self.seals: Final = seals
        self.lives: Final = Lives(draw, clock.now())
        self._names = names
        self._clock = clock
        self._receivers: dict[bytes, Receive] = {}
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Keep both connections until cancelled, and get to know who else lives."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.mouth.run())
            tasks.create_task(self.ears.line.run())
            tasks.create_task(self._greet())

    async def subscribe(self, channel: Channel, receive: Receive) -> None:
        """See :meth:`gateway.runtime.ports.Bus.subscribe`."""
        name = self._names.channel(channel)
        self._receivers[name] = receive
        await self.ears.listen(name, partial(self._hear, name))

    async def unsubscribe(self, channel: Channel) -> None:
        """See :meth:`gateway.runtime.ports.Bus.unsubscribe`."""
        name = self._names.channel(channel)
        self._receivers.pop(name, None)
        await self.ears.stop(name)

    async def publish(self, channel: Channel, envelope: Envelope) -> int:
        """See :meth:`gateway.runtime.ports.Bus.publish`."""
        name = self._names.channel(channel)
        receivers = await self._publish(name, encode(envelope))
        self.published += 1
        return receivers

    def watch(self, doubted: Callable[[], None]) -> None:
        """See :meth:`gateway.runtime.ports.Bus.watch`."""
        self.ears.watch(doubted)

    # ---- one message ----

    def sealed(self, name: bytes, body: bytes) -> bytes:
        """Return *body* as it travels on the channel *name*, once: it has the next number of this life."""
        return self.seals.seal(name, self.lives.stamp(self._clock.now()) + body)

    async def _publish(self, name: bytes, body: bytes) -> int:
        match await self.mouth.answer(b"PUBLISH", name, self.sealed(name, body)):
            case int(receivers):
                return receivers
        raise bus_down("it answered something else")

    def _opened(self, name: bytes, sealed: bytes) -> tuple[Head, bytes] | None:
        plain = self.seals.open(name, sealed)
        if plain is None:
            return None
        found = opened(plain)
        if found is None:
            self.seals.drop(Unopened.UNREADABLE)
        return found

    def _hear(self, name: bytes, sealed: bytes) -> None:
        found = self._opened(name, sealed)
        if found is None:
            return
        head, body = found
        now = self._clock.now()
        verdict = self.lives.judge(head, now)
        if verdict is Freshness.NEW:
            self._tell(name, body, self.lives.age_s(head, now))
            return
        self._news.set()
        if verdict is Freshness.UNPROVEN:
            self.seals.drop(Unopened.UNPROVEN, self.lives.hold(WaitingMessage(head, now, name, body)))
        else:
            self.seals.drop(_DROPPED[verdict])

    def _tell(self, name: bytes, body: bytes, age_s: float) -> None:
        receive = self._receivers.get(name)
        if receive is None:
            return
        try:
            envelope = decode(body)
        except BadEnvelope:
            self.seals.drop(Unopened.UNREADABLE)
            return
        self.received += 1
        receive(envelope if age_s < SLOW_S else aged(envelope, round(age_s * 1000)))

    # ---- who lives ----

    async def _greet(self) -> None:
        """Challenge who is not known, and answer the challenges of others, until cancelled."""
        await self.ears.listen(LIVES, self._greeted)
        while True:
            now = self._clock.now()
            self.seals.drop(Unopened.UNPROVEN, self.lives.expire(now))
            if (due_at := self.lives.due_at(now)) <= now:
                await self._clock.sleep(await self._say(now))
                continue
            self._news.clear()
            with suppress(TimeoutError):
                async with self._clock.timeout(due_at - now):
                    await self._news.wait()

    async def _say(self, now: float) -> float:
        """Publish a greeting; returns how long to wait until the next."""
        try:
            await self._publish(LIVES, written(self.lives.greeting(now)))
        except GatewayError:
            self.lives.unheard()
            return GREET_AGAIN_S
        return GREET_S

    def _greeted(self, sealed: bytes) -> None:
        found = self._opened(LIVES, sealed)
        if found is None:
            return
        head, body = found
        said = read(body)
        if said is None:
            self.seals.drop(Unopened.UNREADABLE)
            return
        now = self._clock.now()
        verdict, released = self.lives.greeted(head, said, now)
        if verdict in _DROPPED:
            self.seals.drop(_DROPPED[verdict])
        for held in released:
            self._tell(held.channel, held.body, self.lives.age_s(held.head, now))
        self._news.set()


class _LastConnection:
    """The connection through which this node published before.

    A server that was frozen still reads what such a connection left behind when the next one is
    publishing already: so the next one ends it first. Its number alone would name somebody else's
    connection after the server began anew; with its address it does not.
    """

    def __init__(self) -> None:
        self._known: tuple[str, str] | None = None

    def greetings(self) -> Sequence[Sequence[Word]]:
        """Ask who the new connection is, and end the last one."""
        ask = ("CLIENT", "INFO")
        if self._known is None:
            return (ask,)
        number, address = self._known
        return (("CLIENT", "KILL", "ID", number, "ADDR", address), ask)

    def opened(self, replies: Sequence[Reply]) -> None:
        """Note who the new connection is, if the server tells."""
        self._known = None
        if isinstance(replies[-1], bytes):
            told = dict(
                word.split("=", 1) for word in replies[-1].decode(errors="replace").split() if "=" in word
            )
            if "id" in told and "addr" in told:
                self._known = told["id"], told["addr"]
