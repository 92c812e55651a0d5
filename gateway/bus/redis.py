"""How do nodes reach each other through Redis?

Two connections: all that a node publishes leaves through one of them, in order; all that it hears comes
through the other. What travels is sealed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from gateway.bus.cable import Reply, Word
from gateway.bus.door import Door
from gateway.bus.hearing import LISTENING, Ears
from gateway.bus.line import Line, Pace
from gateway.bus.names import Names
from gateway.bus.sealing import Seals, Unopened
from gateway.bus.wire import bus_down
from gateway.protocol.envelope_codec import BadEnvelope, decode, encode
from gateway.protocol.envelopes import Channel, Envelope
from gateway.runtime.ports import Clock

PUBLISHING: Final = Pace(window=2_000)

Receive = Callable[[Envelope], None]


class RedisBus:
    """See :class:`gateway.runtime.ports.Bus`. Works while :meth:`run` runs.

    Invariants: what is told was sealed for its channel by a node of this cluster; a message is published
    once or not at all, and none that failed is delivered after one that was asked later.

    Args:
        door: Opens connections.
        names: What channels are called.
        seals: Seal and open what travels.
        clock: The only time.
        jitter: Draws from [0, 1).
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
        self._names = names
        self._seals = seals

    async def run(self) -> None:
        """Keep both connections until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.mouth.run())
            tasks.create_task(self.ears.line.run())

    async def subscribe(self, channel: Channel, receive: Receive) -> None:
        """See :meth:`gateway.runtime.ports.Bus.subscribe`."""
        name = self._names.channel(channel)
        await self.ears.listen(name, partial(self._open, name, receive))

    async def unsubscribe(self, channel: Channel) -> None:
        """See :meth:`gateway.runtime.ports.Bus.unsubscribe`."""
        await self.ears.stop(self._names.channel(channel))

    async def publish(self, channel: Channel, envelope: Envelope) -> int:
        """See :meth:`gateway.runtime.ports.Bus.publish`."""
        name = self._names.channel(channel)
        match await self.mouth.answer(b"PUBLISH", name, self._seals.seal(name, encode(envelope))):
            case int(receivers):
                self.published += 1
                return receivers
        raise bus_down("it answered something else")

    def watch(self, doubted: Callable[[], None]) -> None:
        """See :meth:`gateway.runtime.ports.Bus.watch`."""
        self.ears.watch(doubted)

    def _open(self, name: bytes, receive: Receive, sealed: bytes) -> None:
        plain = self._seals.open(name, sealed)
        if plain is None:
            return
        try:
            envelope = decode(plain)
        except BadEnvelope:
            self._seals.drop(Unopened.UNREADABLE)
            return
        self.received += 1
        receive(envelope)


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
