"""Cost of one followed change at the owner and at the second node, in one process.

Many users, each with a link, and with phones at two nodes. The links, owners, messages, followers and phones
are real; the bus passes the sealed bytes on, and both ends are test doubles. The figures are CPU time of the
thread and Python calls. Run with ``python -m bench.profiles.followed --help``.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Final, cast

from bench.profiles.path import SETTLING, CountedClock, ProfiledNode, count_instructions, counted_calls
from bench.profiles.path import arguments as path_arguments
from bench.profiles.supervisor import Supervisor
from gateway.app.process import run_loop
from gateway.bus.sealing import Seals
from gateway.core.ledger import Health
from gateway.core.link import Pauses
from gateway.core.registry import WaitQueue
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import (
    BusChannel,
    Envelope,
    Inbox,
    Probe,
    Publications,
    Since,
    decode,
    encode,
)
from gateway.runtime.cluster import Exchange
from gateway.runtime.cluster_receiver import ClusterReceiver, ReceivingNode
from gateway.runtime.follower import Follower
from gateway.runtime.handover import ChangePublisher
from gateway.runtime.link_session import OwnerServices
from gateway.runtime.mirror import Feed
from gateway.runtime.ports import Grant, OnPosted, Receive
from gateway.telemetry import RuntimeCounters

OWNER, SECOND = NodeId("owner"), NodeId("second")
EPOCH: Final = 1
SETTLED_S: Final = 0.5
CHANNEL: Final = b"second"


class _Bus:
    """Bus that keeps what is sent to the second node, as sealed bytes."""

    def __init__(self, seals: Seals) -> None:
        self.seals = seals
        self.sent: list[bytes] = []
        self.receive: Receive | None = None
        self.waiting_bytes = 0

    async def subscribe(self, channel: BusChannel, receive: Receive) -> None:
        if isinstance(channel, Inbox):
            self.receive = receive

    async def unsubscribe(self, channel: BusChannel) -> None: ...

    async def publish(self, channel: BusChannel, envelope: Envelope) -> int:
        raise NotImplementedError

    def post(self, channel: BusChannel, envelope: Envelope, answered: OnPosted) -> bool:
        if isinstance(envelope, Probe) and self.receive is not None:
            self.receive(envelope)  # of the node itself
        elif channel == Inbox(SECOND):
            self.sent.append(self.seals.seal(CHANNEL, encode(envelope)))
        answered(1)
        return True

    def flush(self) -> None: ...

    def watch(self, report_loss: object) -> None: ...


class TwoNodes(ProfiledNode):
    """An owner node with all links, and a node that follows every user."""

    async def open(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Open links and phones at the owner, then the followers and their phones."""
        running = await super().open(tasks)
        seals = Seals([("k", bytes(32))], os.urandom)
        self.seals, self.bus, second_bus = seals, _Bus(seals), _Bus(seals)
        counters = RuntimeCounters(self.telemetry)
        owner = Exchange(OWNER, self.bus, self.clock, 0, counters)
        second = Exchange(SECOND, second_bus, self.clock, 0, counters)
        second.phones, self._bundles = self.scheduler, owner.bundles
        states: dict[UserId, Any] = {}
        local = SimpleNamespace(pauses=Pauses(), user_states=states)
        receiver = ClusterReceiver("life", cast("ReceivingNode", local), second, counters)
        running += [
            tasks.create_task(owner.run(receiver.received, receiver.recovered)),
            tasks.create_task(receiver.run()),
        ]
        await asyncio.sleep(SETTLED_S)
        if second.health(self.clock.now()) != "live":
            raise RuntimeError("the second node does not trust its bus")
        services = SimpleNamespace(
            clock=self.clock,
            jitter=lambda: 0.5,
            exchange=second,
            counters=counters,
            pauses=local.pauses,
            waits=WaitQueue(),
        )
        if second_bus.receive is None:
            raise RuntimeError("the second node receives nothing")
        self._receive = second_bus.receive
        for one in self.users:
            follower = Follower(
                Feed(one.feed.user),
                cast("OwnerServices", services),
                Grant(OWNER, "life", EPOCH),
                {},
                lambda: None,
            )
            states[one.feed.user] = SimpleNamespace(role=follower)
            self._follow(one, follower.feed, ChangePublisher(one.feed, owner), tasks)
        return running

    def _follow(
        self, one: Supervisor, feed: Feed, publisher: ChangePublisher, tasks: asyncio.TaskGroup
    ) -> None:
        """Publish the changes of a user from now on, and open the user's phones at the second node."""
        now, ledger = self.clock.now(), one.feed.ledger
        ledger.rebase(EPOCH)
        ledger.health = Health("live", "live", now)
        one.feed.outlet = publisher
        publisher.run_in(tasks)
        publisher.disclose()
        publisher.reads(SECOND, together=True)
        publisher.interested(SECOND, now)
        self._receive(Publications((publisher.answer(Since(feed.user, 0, 0), {}),)))
        followed = cast("Any", SimpleNamespace(feed=feed, user_sessions=one.user_sessions))
        for number in range(self.phones):
            self._phone(followed, number)

    async def follow(self, messages: list[bytes], changes: int) -> float:
        """Pass *messages* to the second node; returns the thread's CPU seconds."""
        before, began = self.telemetry.updates.value, time.thread_time()
        for sealed in messages:
            self._receive(decode(self.seals.open(CHANNEL, sealed) or b""))
        while self.telemetry.updates.value - before < changes * self.phones:  # noqa: ASYNC110 - as in ProfiledNode
            await asyncio.sleep(0)
        return time.thread_time() - began

    async def publish(self, at_once: int) -> tuple[float, list[bytes]]:
        """Let every user have a change; returns the thread's CPU seconds at the owner, and its messages."""
        took, began = await self.pass_on(self.round(), at_once), time.thread_time()
        while len(self._bundles):  # noqa: ASYNC110 - as in ProfiledNode
            await asyncio.sleep(0)
        messages, self.bus.sent = self.bus.sent, []
        return took + time.thread_time() - began, messages


async def measure(options: argparse.Namespace) -> None:
    """Run the profile and print the figures."""
    gc.set_threshold(50_000, 20, 100)
    nodes = TwoNodes(options, CountedClock() if options.counted else None)
    changes = options.users * options.elements
    async with asyncio.TaskGroup() as tasks:
        running = await nodes.open(tasks)
        if options.counted:
            count_instructions()
        for _ in range(SETTLING):
            _, messages = await nodes.publish(options.at_once)
            await nodes.follow(messages, changes)
        at_owner, at_second, sizes = list[float](), list[float](), list[int]()
        for _ in range(options.rounds):
            took, messages = await nodes.publish(options.at_once)
            at_owner.append(took / changes * 1e6)
            at_second.append(await nodes.follow(messages, changes) / changes * 1e6)
            sizes.append(sum(map(len, messages)))
        with counted_calls() as of_owner:
            _, sent = await nodes.publish(options.at_once)
        with counted_calls() as of_second:
            await nodes.follow(sent, changes)
        for name, figures, calls in (("owner", at_owner, of_owner), ("second node", at_second, of_second)):
            best, median = min(figures), statistics.median(figures)
            print(f"{name}: CPU {best:.1f} µs best, {median:.1f} median, {calls.total() / changes:.1f} calls")
            for where, times in calls.most_common(options.show):
                print(f"{times / changes:8.2f}  {where}")
        print(f"{statistics.median(sizes) / changes:.0f} bytes a change between the nodes")
        for task in running:
            task.cancel()


def main() -> None:
    """Read the options and run."""
    with suppress(asyncio.CancelledError):
        run_loop(measure(path_arguments(__doc__ or "").parse_args()))


if __name__ == "__main__":
    main()
