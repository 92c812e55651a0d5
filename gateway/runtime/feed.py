"""Feed: distribute one user's changes on this node.

The user's mirror and the connections that read it. Whoever changes the mirror calls
:meth:`Feed.flush` once afterwards, in the same turn, and the connections with news are woken.
"""

from __future__ import annotations

from typing import Protocol

from gateway.core.effects import Health
from gateway.core.element import Element
from gateway.core.ledger import Ledger, Reader
from gateway.core.session import Session
from gateway.core.view import FACTS_PREFIX, ME_PREFIX, facts_key, me_key
from gateway.domain.errors import CloseCode
from gateway.domain.model import Device, UserId
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.spawn import weakly


class Connection(Protocol):
    """One phone's connection, as whoever serves it sees it. No method blocks or raises."""

    def __hash__(self) -> int:
        """Connections are told apart by identity."""
        ...

    @property
    def session(self) -> Session:
        """The connection's machine."""
        ...

    @property
    def device(self) -> Device:
        """The phone, as its token names it."""
        ...

    def wake(self) -> None:
        """Note that something may be due."""
        ...

    def learned(self, facts: SessionFacts) -> None:
        """Take in what OSCC-E says of the session now."""
        ...

    def announce(self, notice: NoticeFrame) -> None:
        """Show the phone a notice."""
        ...

    def close(
        self,
        code: CloseCode,
        reason: str,
        *,
        by: str | None = None,
        window_s: tuple[float, float] | None = None,
    ) -> None:
        """Say `bye` with *code* and close."""
        ...


class Outlet(Reader, Protocol):
    """Who tells other nodes what changes; a reader of the ledger while there are any."""

    def flush(self) -> None:
        """Note that something changed, or that it grew old or fresh."""
        ...

    def announce(self, notice: NoticeFrame) -> None:
        """Have a notice shown there too."""
        ...


class Feed:
    """One user on this node: his mirror, and who reads it."""

    def __init__(self, user: UserId) -> None:
        self.user = user
        self.ledger = Ledger()
        self.ledger.confidant = weakly(self._tell_one)  # a ledger does not keep its feed in memory
        self.connections: dict[str, Connection] = {}
        self.outlet: Outlet | None = None
        self.health = Health("down", "live", None)

    def flush(self) -> None:
        """Wake the connections for which something waits, and let other nodes know."""
        if self.outlet is not None:
            self.outlet.flush()
        is_for_all, alone = self.ledger.take_news()
        for reader in list(self.ledger.readers) if is_for_all else ():
            me = reader.waiting()
            if me is not None:
                self._wake(me)
        for key in alone:
            self._wake(key)

    def _tell_one(self, key: str, before: Element | None) -> None:
        """Tell who alone sees *key* that it changed, and other nodes."""
        if self.outlet is not None and self.outlet in self.ledger.readers:
            self.outlet.mark(key, before)
        connection = self.connections.get(key.removeprefix(ME_PREFIX)) if key.startswith(ME_PREFIX) else None
        live = None if connection is None else connection.session.live
        if live is not None:
            live.outbox.part()
            live.outbox.mark(key, before)

    def _wake(self, me: str) -> None:
        connection = self.connections.get(me.removeprefix(ME_PREFIX))
        if connection is not None:
            connection.wake()

    def facts(self, handle: str) -> SessionFacts | None:
        """Return what OSCC-E said of a session."""
        element = self.ledger.get(facts_key(handle))
        return element.value if element is not None and isinstance(element.value, SessionFacts) else None

    def learn(self, facts: SessionFacts, me: Element | None) -> None:
        """Take in what OSCC-E says of a session: into the mirror, and to its connection in the same turn."""
        known = self.facts(facts.handle)
        if known != facts:
            self.ledger.record(facts_key(facts.handle), Element(facts))
        if me is not None:
            self.ledger.record(me_key(facts.handle), me)
        connection = self.connections.get(facts.handle)
        if connection is not None and known != facts:
            connection.learned(facts)

    def forget(self, handle: str) -> None:
        """Take a session out of the mirror."""
        self.ledger.record(facts_key(handle), None)
        self.ledger.record(me_key(handle), None)

    def keep(self, handles: set[str]) -> None:
        """Take every session out of the mirror but those."""
        for key, _ in self.ledger.items():  # noqa: PERF102 - a ledger's, of what has a value now
            prefix, _, handle = key.partition(":")
            if f"{prefix}:" in {FACTS_PREFIX, ME_PREFIX} and handle not in handles:
                self.ledger.record(key, None)

    def announce(self, notice: NoticeFrame) -> None:
        """Show a notice to whoever is connected now; nobody else will ever see it."""
        if self.outlet is not None:
            self.outlet.announce(notice)
        for connection in list(self.connections.values()):
            connection.announce(notice)

    def say(self, health: Health) -> None:
        """Note how old the data may be; a change of it is told at once."""
        news = (health.upstream, health.bus) != (self.health.upstream, self.health.bus)
        self.health = health
        if news and self.outlet is not None:
            self.outlet.flush()
        if news:
            for connection in list(self.connections.values()):
                connection.wake()
