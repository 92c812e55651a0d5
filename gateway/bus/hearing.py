"""How does a node listen to channels, and how does it notice that it may have missed something?

Redis keeps nothing for who is not there: a renewed connection means that messages may be missing. Then
every channel is subscribed again, and when the last one is confirmed, whoever watches is told.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from gateway.bus.cable import Reply, code
from gateway.bus.door import Door
from gateway.bus.line import Line, Pace
from gateway.bus.wire import Wire
from gateway.runtime.ports import Clock

SUBSCRIBE_MAX: Final = 512
"""Channels of one command: the server confirms each of them, and serves nobody else meanwhile."""
LISTENING: Final = Pace(deadline_s=1.0, window=100_000, waiting_max=200_000)
"""A second: after a loss tens of thousands of channels are subscribed again."""
CONFIRMED_S: Final = 1.25
"""How long a confirmation is waited for: a little longer than the line does, which then drops."""
_SUBSCRIBE: Final = b"SUBSCRIBE"
_UNSUBSCRIBE: Final = b"UNSUBSCRIBE"

Tell = Callable[[bytes], None]


class _Subscription:
    """A channel that is listened to. *in_force*: the server has confirmed it on this connection."""

    __slots__ = ("in_force", "tell")

    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self.in_force = asyncio.Event()


class _Change(NamedTuple):
    """What the server is to be told: to begin *subscription*, or to end it; *done* with its confirmation."""

    verb: bytes
    name: bytes
    done: asyncio.Event


class Ears:
    """The channels that a node listens to, over one connection that is kept.

    Invariant: payloads are told as they are read, in the order in which Redis sent them, and never after
    :meth:`stop` returned.

    Args:
        door: Opens connections.
        clock: The only time.
        jitter: Draws from [0, 1).
        pace: How long to wait for what.
    """

    def __init__(self, door: Door, clock: Clock, jitter: Callable[[], float], pace: Pace = LISTENING) -> None:
        self.doubts: Final[Counter[str]] = Counter()
        """How often something may have been lost, by what told so: ``renewed`` or ``unrequested``."""
        self.line: Final = Line(
            door,
            clock,
            jitter,
            pace,
            wires=lambda cable: Wire(cable, self._hear, self._stray),
            opened=self._opened,
        )
        self._clock = clock
        self._subscriptions: dict[bytes, _Subscription] = {}
        self._changes: list[_Change] = []
        """What this turn asked for."""
        self._watchers: list[Callable[[], None]] = []
        self._owes = False
        """Whether whoever watches is to be told as soon as every channel is in force."""

    @property
    def channels(self) -> int:
        """How many are listened to."""
        return len(self._subscriptions)

    def watch(self, doubted: Callable[[], None]) -> None:
        """Call *doubted* whenever payloads may have been lost unseen."""
        self._watchers.append(doubted)

    async def listen(self, name: bytes, tell: Tell) -> None:
        """Tell each payload of channel *name*; replaces whom it was told before.

        In force when it returns, unless the bus is away: then as soon as it is back.
        """
        known = self._subscriptions.get(name)
        if known is None:
            known = self._subscriptions[name] = _Subscription(tell)
            self._change(_Change(_SUBSCRIBE, name, known.in_force))
        known.tell = tell
        if not self.line.is_up:
            known.in_force.clear()
        if not await self._happens(known.in_force):
            self._owes = True

    async def stop(self, name: bytes) -> None:
        """Tell nothing of channel *name* any more."""
        if self._subscriptions.pop(name, None) is not None:
            done = asyncio.Event()
            self._change(_Change(_UNSUBSCRIBE, name, done))
            await self._happens(done)

    # ---- what this node wants ----

    def _change(self, change: _Change) -> None:
        if not self.line.is_up:  # a new connection begins with what is wanted then
            self._failed(change)
            return
        if not self._changes:
            asyncio.get_running_loop().call_soon(self._send_changes)
        self._changes.append(change)

    def _send_changes(self) -> None:
        changes, self._changes = self._changes, []
        if self.line.is_up:
            for verb, group in groupby(changes, lambda change: change.verb):
                self._send(verb, list(group))
        else:
            for change in changes:
                self._failed(change)

    def _send(self, verb: bytes, changes: Sequence[_Change]) -> asyncio.Future[Reply] | None:
        """Send *changes* in commands of a bounded size; returns the last confirmation to come."""
        last: asyncio.Future[Reply] | None = None
        for at in range(0, len(changes), SUBSCRIBE_MAX):
            batch = changes[at : at + SUBSCRIBE_MAX]
            answers = self.line.ask_about(verb, [change.name for change in batch])
            for change, answer in zip(batch, answers, strict=True):
                answer.add_done_callback(partial(self._settled, change))
            last = answers[-1]
        return last

    def _settled(self, change: _Change, answer: asyncio.Future[Reply]) -> None:
        if answer.exception() is not None:
            self._failed(change)
        elif isinstance(reply := answer.result(), RedisError):
            # one refusal for all channels of the command: what comes next belongs to nobody
            self.line.drop(f"it refused to let this node listen: {code(reply)}")
        else:
            change.done.set()

    def _failed(self, change: _Change) -> None:
        """Take in that the connection went: with it went whatever was subscribed."""
        if change.verb == _UNSUBSCRIBE:
            change.done.set()

    async def _happens(self, event: asyncio.Event) -> bool:
        """Wait for *event*, for a bounded time, and not at all while nobody is reachable."""
        if event.is_set() or self.line.is_down:
            return event.is_set()
        try:
            async with self._clock.timeout(CONFIRMED_S):
                await event.wait()
        except TimeoutError:
            return False
        return True

    # ---- what the server does ----

    def _opened(self, _: Sequence[Reply]) -> None:
        for subscription in self._subscriptions.values():
            subscription.in_force.clear()
        wanted = [_Change(_SUBSCRIBE, name, of.in_force) for name, of in self._subscriptions.items()]
        last = self._send(_SUBSCRIBE, wanted)
        if last is not None and self._owes:
            last.add_done_callback(self._in_force_again)
        self._owes = True  # whatever ends this connection

    def _in_force_again(self, last: asyncio.Future[Reply]) -> None:
        if last.exception() is None and not isinstance(last.result(), RedisError):
            self._doubt("renewed")

    def _stray(self) -> None:
        """Take in a confirmation that nobody asked for: something in between renewed the connection."""
        self._doubt("unrequested")

    def _doubt(self, why: str) -> None:
        self.doubts[why] += 1
        for doubted in self._watchers:
            doubted()

    def _hear(self, name: bytes, payload: bytes) -> None:
        subscription = self._subscriptions.get(name)
        if subscription is not None:
            subscription.tell(payload)
