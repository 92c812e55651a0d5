"""Several devices of one user, woken as the node wakes them."""

from __future__ import annotations

from gateway.core.fanout_group import FanoutGroup
from gateway.domain.model import UserId
from gateway.edge.socket import PhoneSocket
from gateway.protocol import frames
from gateway.protocol.codec import JSON, Codec
from gateway.runtime.mirror import Feed
from tests.edge.raw_phone import RawPhone
from tests.edge.visits import Gateway, Phone, ticket_of

PACE_S = 0.06
"""Longer than the least time between two state frames."""


def group_of(socket: PhoneSocket) -> FanoutGroup | None:
    """Return the fan-out group of a phone."""
    return None if socket.session.live is None else socket.session.live.outbox.fanout_group


class Home:
    """One user's devices on one mirror, woken as the node wakes them: one for all that are in step."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.feed = Feed(UserId("main", 7))
        self.feed.ledger = gateway.node.ledger
        self.phones: list[Phone] = []
        self.sockets: list[PhoneSocket] = []

    async def come(self, codec: Codec = JSON) -> Phone:
        ticket = ticket_of(self.gateway.clock, session=f"s{len(self.phones)}")
        phone = await self.gateway.served(codec, ticket)
        self.phones.append(phone)
        self._note(ticket.handle)
        return phone

    async def come_slowly(self) -> RawPhone:
        """Let one more device be served, one that reads only when asked to."""
        ticket = ticket_of(self.gateway.clock, session="slow")
        phone = await self.gateway.raw(slow=True)
        phone.hello(self.gateway.token(ticket))
        await phone.read_until(b'"ping"')
        self._note(ticket.handle)
        return phone

    def _note(self, handle: str) -> None:
        socket = self.gateway.node.connections[-1]
        assert isinstance(socket, PhoneSocket)
        self.sockets.append(socket)
        self.feed.connections[handle] = socket

    async def fill(self, phones: int) -> None:
        for _ in range(phones):
            await self.come()
        await self.gateway.clock.advance(1)
        self.change(100)
        await self.gateway.clock.advance(1)
        for phone in self.phones:
            await figure(phone, 100)
        assert {group_of(socket) for socket in self.sockets} == {self.fanout_group}

    @property
    def fanout_group(self) -> FanoutGroup:
        """The one in which all sail who do not go alone."""
        [fanout_group] = [reader for reader in self.feed.ledger.readers if isinstance(reader, FanoutGroup)]
        return fanout_group

    @property
    def first(self) -> int:
        """Which device the node wakes when something waits for all."""
        me = next(iter(self.fanout_group.members)).view.me
        return [f"me:{handle}" for handle in self.feed.connections].index(me)

    def waits_for_all_but(self, leaver: PhoneSocket) -> int:
        lives = [socket.session.live for socket in self.sockets if socket is not leaver]
        return sum(1 if live is None else live.outbox.dirty for live in lives)

    def phones_but(self, leaver: PhoneSocket) -> list[Phone]:
        pairs = zip(self.sockets, self.phones, strict=True)
        return [phone for socket, phone in pairs if socket is not leaver]

    def change(self, waiting: int, queue: int = 1) -> None:
        """Let a figure change, and wake who is to be woken; nobody has had a turn yet."""
        connections, self.gateway.node.connections = self.gateway.node.connections, []
        self.gateway.node.wait_for(waiting, queue)
        self.gateway.node.connections = connections
        self.feed.flush()


async def figure(phone: Phone, waiting: int) -> list[frames.Changes]:
    """Return the changes that are received until the figure of queue 1 is *waiting*."""
    received: list[frames.Changes] = []
    while not received or received[-1].patch.get("queue:1") != {"contacts_waiting": waiting}:
        frame = await phone.hear()
        if isinstance(frame, frames.Changes):
            received.append(frame)
    return received


async def figure_in_any_form(phone: Phone, waiting: int) -> None:
    """Return when the figure of queue 1 was *waiting*, in a patch or as a whole."""
    while True:
        frame = await phone.hear()
        if isinstance(frame, frames.Changes):
            received = {**frame.put, **frame.patch}.get("queue:1")
            if received is not None and received["contacts_waiting"] == waiting:
                return
