"""Mirror: apply the data of a link to the ledger of its user, and inform the readers.

Synchronous: each event is applied to the assembly and recorded in the ledger in one turn. Until all first
answers of a new link have arrived, the mirror keeps its data. Data outside all scopes is removed at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final, Protocol

from gateway.core.assembly import Assembly, Composer
from gateway.core.element import Address, Element, Parts, ReadingStep
from gateway.core.ledger import Health, Ledger
from gateway.core.link import PendingReadings, wanted_by
from gateway.core.outbox import unite_due
from gateway.core.rate_limits import ReaderPace
from gateway.core.view import ME_PREFIX, Member, UserSessions, facts_key, is_own, me_key
from gateway.domain.commands import Directory, Listen
from gateway.domain.model import (
    AGENT,
    EMPTY_SET,
    NO_ITEMS,
    REASONS,
    ROUTING_PARAMETERS,
    SITE,
    SKILLS,
    Application,
    Kind,
    Scope,
    SmallMap,
    UserId,
    address_of,
    key_of,
    masked,
    with_item,
)
from gateway.domain.resources import (
    STEADY_MS,
    Functions,
    FunctionState,
    LastEnd,
    Me,
    Reasons,
    RoutingParameters,
    Site,
    Skills,
)
from gateway.domain.upstream import About, FunctionChanged, ObjectChanged, Reading
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.ports import Clock, Connection, Outlet


class Connections(SmallMap[str, Connection]):
    """The connections of one user's phones, by the session's handle."""

    __slots__ = ()

    def mark(self, key: str, before: Element | None) -> None:
        """Mark a change of *key* for the only session that sees it."""
        connection = self.get(key.removeprefix(ME_PREFIX)) if key.startswith(ME_PREFIX) else None
        live = None if connection is None else connection.session.live
        if live is not None:
            live.outbox.leave_group()
            live.outbox.mark(key, before)


class Feed:
    """One user on this node: the mirror, and its readers."""

    __slots__ = ("__weakref__", "connections", "ledger", "outlet", "user")

    def __init__(self, user: UserId) -> None:
        self.user = user
        self.ledger = Ledger()
        self.connections: Connections = Connections()
        self.ledger.own_readers = self.connections
        self.outlet: Outlet | None = None

    def flush(self) -> ReaderPace | None:
        """Wake the connections with waiting changes, and publish to other nodes.

        Returns:
            The pace of the only reader; None: there are several or none, it may be sent changes at any time,
                or another node follows.
        """
        ledger, connections, outlet = self.ledger, self.connections, self.outlet
        readers, only = ledger.readers, ledger.readers.only_key
        if outlet is not None and outlet is ledger.outlet:  # otherwise no node follows
            outlet.flush()
        if ledger.has_news:
            ledger.has_news = False
            if ledger.has_new_clock:  # each phone is sent a ping, also in a fan-out group
                ledger.has_new_clock = False
                self._wake_all()
            if only is not None and connections.only is not None:
                connections.only.updated()  # its turn costs less than asking if it waits
            else:
                if only is None and connections.only is None:
                    unite_due(ledger, ledger.came_at)
                self._wake_waiting()
        if ledger.own_news:
            for key in ledger.take_own_news():
                self._wake(key.removeprefix(ME_PREFIX))
        only = readers.only_key  # another one may be the only one by now
        return only.pace if only is not None and ledger.outlet is None else None

    def _wake(self, handle: str) -> None:
        connection = self.connections.get(handle)
        if connection is not None:
            connection.wake()

    def _wake_waiting(self) -> None:
        """Wake the connections for which changes wait."""
        for handle in [reader.waiting() for reader in self.ledger.readers]:
            if handle is not None and (connection := self.connections.get(handle)) is not None:
                connection.updated()

    def _wake_all(self) -> None:
        for connection in list(self.connections.values()):
            connection.wake()

    def facts(self, handle: str) -> SessionFacts | None:
        """Return OSCC-E's facts of a session."""
        element = self.ledger.get(facts_key(handle))
        return element.value if element is not None and isinstance(element.value, SessionFacts) else None

    def set_facts(self, facts: SessionFacts, me: Element | None) -> None:
        """Apply OSCC-E's facts of a session to the mirror, and to its connection in the same turn."""
        known = self.facts(facts.handle)
        if known != facts:
            self.ledger.record(facts_key(facts.handle), Element(facts))
        if me is not None:
            self.ledger.record(me_key(facts.handle), me)
        connection = self.connections.get(facts.handle)
        if connection is not None and known != facts:
            connection.facts_changed(facts)

    def report_facts(self) -> None:
        """Report the facts that the mirror has of each session to its connection, where they changed."""
        for handle, connection in list(self.connections.items()):
            facts, live = self.facts(handle), connection.session.live
            if facts is not None and live is not None and facts != live.facts:
                connection.facts_changed(facts)

    def forget(self, handle: str) -> None:
        """Remove a session from the mirror."""
        self.ledger.record(facts_key(handle), None)
        self.ledger.record(me_key(handle), None)

    def keep(self, handles: set[str]) -> None:
        """Remove all other sessions from the mirror."""
        for key, _ in self.ledger.items():  # noqa: PERF102 - a ledger's, of what has a value now
            if is_own(key) and key.partition(":")[2] not in handles:
                self.ledger.record(key, None)

    def announce(self, notice: NoticeFrame) -> None:
        """Send a notice to the phones that are connected now."""
        if self.outlet is not None:
            self.outlet.announce(notice)
        for connection in list(self.connections.values()):
            connection.announce(notice)

    def set_health(self, health: Health) -> None:
        """Record the age of the data; a change of it is sent at once."""
        before, self.ledger.health = self.ledger.health, health
        if health.upstream != before.upstream or health.bus != before.bus:
            if self.outlet is not None:
                self.outlet.flush()
            self._wake_all()


OUTSIDE_MOST: Final = 16_384
"""Resources outside all scopes that are held: those of a session may come before its acceptance."""
COMPOSED_AT_ONCE: Final = 64
"""Resources that are composed at once when they are shown: about 1 ms. More are composed before."""
COMPOSED_S: Final = 0.001
"""Time of composing these in one turn of the loop; it is looked at after each :data:`COMPOSED_LEAST`."""
COMPOSED_LEAST: Final = 64


WALL_CLOCK_S: Final = 0.002
"""Time in which the wall clock is read once for all links: about a turn of the loop."""
COMPARED_S: Final = 30.0
"""Time after which each link compares its clocks even if none has moved: its window may be over."""
SLEWED_MS: Final = 50.0
"""How far the wall clock may move until each link compares it with its own base."""
REBASED_MS: Final = 1_000.0
"""How far the wall clock may be slewed until it is read again; smaller differences are invisible."""
OFFSET_STEP_MS: Final = 250
"""Granularity of the clock offset, so that links of one server share their elements."""

WINDOW_S: Final = 300.0
"""The smallest offset holds for one to two of these intervals, so that drifting clocks are followed."""
OFFSETS_MAX: Final = 64
"""Offsets of one site. Beyond it the one that no link has had for the longest time is dropped."""


class SharedOffsets:
    """The clock offsets that the links of one site use on a node.

    Transit times make a link's own offset too large, never too small. So of the links of one server the
    smallest offset is right, and the others use it, too: then they share all that is composed. A server whose
    clock differs by more than :data:`gateway.domain.resources.STEADY_MS` has an offset of its own.
    """

    __slots__ = (
        "_compared_at", "_compared_ms", "_seen_at", "version", "wall_clock_read_at", "wall_zero_ms",
    )  # fmt: skip

    def __init__(self) -> None:
        self.version = 0
        """Another number whenever each link has to compare its clocks."""
        self._compared_at = self._compared_ms = -math.inf
        """When that was last so because of time or the wall clock, and what :attr:`wall_zero_ms` was then."""
        self._seen_at: dict[int, float] = {}
        """Offset → when a link last had it as its own."""
        self.wall_clock_read_at = -math.inf
        """When the wall clock was last read for all links, in monotonic seconds."""
        self.wall_zero_ms = 0.0
        """What the wall clock showed then, minus that time."""

    def __len__(self) -> int:
        return len(self._seen_at)

    def nearest(self, own_ms: int, now: float) -> int:
        """Return the offset for a link whose own one is *own_ms* at *now*."""
        seen_at = self._seen_at
        old = [each for each, at in seen_at.items() if now - at > 2 * WINDOW_S and each != own_ms]
        for each in old:
            del seen_at[each]
        if old or own_ms not in seen_at:
            self.version += 1
        seen_at[own_ms] = now
        if len(seen_at) > OFFSETS_MAX:
            del seen_at[min(seen_at.keys() - {own_ms}, key=lambda each: seen_at[each])]
        return min(each for each in seen_at if own_ms - STEADY_MS <= each <= own_ms)

    def set_wall_clock(self, now: float, wall_ms: int) -> None:
        """Record what the wall clock shows *now*; have links compare clocks when it moved, and by time."""
        self.wall_clock_read_at, self.wall_zero_ms = now, wall_ms - now * 1000
        is_slewed = abs(self.wall_zero_ms - self._compared_ms) >= SLEWED_MS
        if is_slewed or not 0.0 <= now - self._compared_at < COMPARED_S:
            self._compared_at, self._compared_ms = now, self.wall_zero_ms
            self.version += 1

    def forget(self) -> None:
        """Forget all, since this node's clock was set."""
        self._seen_at.clear()
        self.version += 1


class ServerOffset:
    """How far this node's wall clock is ahead of the server's, by the times on one link.

    It is the smallest (receipt - Time) of the last minutes by the steady clock, since a transit time is never
    negative. A smaller one of other links of the site replaces it. It moves in steps. The wall clock counts
    as unchanged until it has moved by :data:`REBASED_MS` against the steady one: then it was set.

    Args:
        shared: The offsets of all links of the site on this node.
    """

    __slots__ = (
        "_before_ms", "least_ms", "offset_ms", "own_ms", "shared", "until", "version", "wall_zero_ms",
    )  # fmt: skip

    def __init__(self, shared: SharedOffsets) -> None:
        self.offset_ms = 0
        self.own_ms = 0
        """The offset by the times of this link alone: too small by less than a step, if at all."""
        self.shared = shared
        self.version = -1
        """The version of the shared offsets that this one follows."""
        self.least_ms = self._before_ms = math.inf
        """The smallest difference of this window, and of the one before it."""
        self.until = -math.inf
        """When this window ends; it may be noticed up to :data:`COMPARED_S` later."""
        self.wall_zero_ms = -math.inf
        """The wall clock at the zero of the monotonic clock; -infinity before the first time."""

    def late_s(self, time_ms: int, now: float) -> float:
        """Return how much longer a message took than the fastest one, s.

        Args:
            time_ms: When the server sent it, by its clock.
            now: When it came.
        """
        least_ms = min(self.least_ms, self._before_ms)
        return 0.0 if least_ms == math.inf else max(0.0, now - (time_ms + least_ms) / 1000)

    def see(self, time_ms: int, now: float, wall_ms: float) -> bool:
        """Process the server's time, received at *now*; return whether shown instants are wrong.

        They are when the wall clock has jumped, or when all earlier messages were slow. Nothing changes while
        the clocks stay as they were and an earlier message of this window took less time.
        """
        zero_ms, is_new = wall_ms - now * 1000, self.wall_zero_ms == -math.inf
        if now >= self.until:
            self._before_ms, self.least_ms, self.until = self.least_ms, math.inf, now + WINDOW_S
        self.least_ms = min(self.least_ms, now * 1000 - time_ms)
        has_jumped = not is_new and abs(zero_ms - self.wall_zero_ms) >= REBASED_MS
        if is_new or has_jumped:
            self.wall_zero_ms = zero_ms
        seen_ms = min(self.least_ms, self._before_ms) + self.wall_zero_ms
        step_ms = round(seen_ms / OFFSET_STEP_MS) * OFFSET_STEP_MS
        is_first = self.until == now + WINDOW_S and self._before_ms == math.inf
        if is_first or has_jumped or not 0 <= step_ms - self.own_ms <= OFFSET_STEP_MS:
            self.own_ms = step_ms
        if has_jumped:
            self.shared.forget()
        before_ms, self.offset_ms = self.offset_ms, self.shared.nearest(self.own_ms, now)
        self.version = self.shared.version
        were_slow = not is_new and before_ms - self.offset_ms > STEADY_MS
        return has_jumped or were_slow


class WaitingForSessions(Protocol):
    """The tasks that wait until sessions are accepted."""

    def wake(self, handle: str) -> None:
        """Wake those that wait for one session."""


class Mirror:
    """One user's resources, from one link after another.

    Invariant: no data outside the union of the scopes of the user's sessions is kept. When the last session
    is over, all data stays: its phone, on any node, keeps it until it is closed.

    Args:
        waiting: Are woken for each session that OSCC-E accepted, once that is recorded.
    """

    __slots__ = (
        "__weakref__", "_about", "_clock", "_composed", "_composer", "_directory", "_feed", "_functions",
        "_has_pruned", "_last_end", "_me_shown", "_narrowed_to", "_number", "_server",
        "_synced_agents", "_synced_scope", "_uncomposed", "_user_sessions", "_waiting", "assembly",
        "has_snapshot", "is_blind", "live", "pending_readings",
    )  # fmt: skip

    def __init__(
        self,
        feed: Feed,
        user_sessions: UserSessions,
        composer: Composer,
        offsets: SharedOffsets,
        clock: Clock,
        waiting: WaitingForSessions | None = None,
    ) -> None:
        self.assembly = Assembly(composer)
        self.pending_readings = PendingReadings()
        self.live = False
        """Whether the present link has answered every first request."""
        self.has_snapshot = False
        """Whether any link has answered every first request."""
        self._feed, self._user_sessions, self._clock = feed, user_sessions, clock
        self._composer = composer
        self._about: About | None = None
        self._directory: Directory | None = None  # until its catalogues are shown
        self._functions = _UNKNOWN_FUNCTIONS
        self.is_blind = False
        """Whether the server reports that it has no realtime data: then the shown data grows old."""
        self._server = ServerOffset(offsets)
        self._last_end: LastEnd | None = None
        self._narrowed_to: Scope | None = None
        """The scope that contains all shown data. While it is the sessions' one, none is looked up."""
        self._synced_scope: Scope | None = None
        """The scope of the sessions when every request was answered last; next, the user as an agent then."""
        self._synced_agents: frozenset[int] = EMPTY_SET
        self._has_pruned = False
        """Whether data was removed that may be in the scope of a session which is not accepted yet."""
        self._uncomposed: list[Address] | None = None
        """The elements that :meth:`prepare` has not composed yet; None: it has not begun."""
        self._composed: dict[Address, tuple[Parts, Element | None, int, Element]] = NO_ITEMS
        """The result of :meth:`prepare`: the composed parts, the elements before, and the offset."""
        self._me_shown: Element | None = None
        """The last session's view of its user."""
        self._number: str | None = None
        """The number of the user when all sessions were shown last."""
        self._waiting = waiting

    @property
    def offset_ms(self) -> int:
        """Gateway clock minus server clock."""
        return self._server.offset_ms

    def deadline_ms(self, wall_ms: int) -> int:
        """Return a deadline of this node's wall clock by the server's, which makes no deadline too late.

        It goes by the times of the link alone, and by the wall clock as it was at the last of them.
        """
        set_ms = self._clock.wall_ms() - self._clock.now() * 1000 - self._server.wall_zero_ms
        return wall_ms - self._server.own_ms - (round(set_ms) if REBASED_MS <= abs(set_ms) < math.inf else 0)

    @property
    def is_partial(self) -> bool:
        """Whether realtime data is shown as unknown or old, because it has not come yet."""
        return self.assembly.lacks_realtime

    @property
    def is_empty(self) -> bool:
        """Whether nothing is shown."""
        return not self._feed.ledger.shared()

    # ---- the life of a link ----

    def begin(self, about: About, time_ms: int, last_end: LastEnd | None) -> None:
        """Begin with a new link; the shown data stays until :meth:`settle`."""
        self.assembly, self.pending_readings = Assembly(self._composer), PendingReadings()
        self.assembly.is_unshown = self.is_empty
        self.live = False
        self._functions, self.is_blind = _UNKNOWN_FUNCTIONS, False
        self._about = about
        self._directory = None
        self._server = ServerOffset(self._server.shared)
        self._narrowed_to = self._synced_scope = None
        self._has_pruned = False
        self._uncomposed, self._composed = None, NO_ITEMS
        self.see_clock(time_ms)
        self._last_end = None if last_end is None else self._dated(last_end)

    def prepare(self) -> bool:
        """Compose some of the resources for :meth:`settle`, if there are many; False: call it again.

        Resources that change in between are composed again.
        """
        left, assembly = self._uncomposed, self.assembly
        if left is None:
            addresses = assembly.addresses()
            if len(addresses) <= COMPOSED_AT_ONCE:
                return True
            left = self._uncomposed = list(addresses)
        inside, until, is_due = self._user_sessions.scope.by_kind(), self._clock.now() + COMPOSED_S, False
        while left and not is_due:
            kind, number = address = left.pop()
            parts = assembly.parts(address) if number in inside[kind] else None
            if parts is not None:
                before, offset_ms = self._feed.ledger.get(key_of(kind, number)), self.offset_ms
                element = self._composer.element(parts, before, offset_ms)
                made = parts, before, offset_ms, element
                self._composed = with_item(self._composed, address, made)
            is_due = not len(left) % COMPOSED_LEAST and self._clock.now() >= until
        return not left

    def settle(self) -> None:
        """Show the data of the new link: whole sets, so other resources are removed."""
        self.live = self.has_snapshot = True
        self.assembly.is_unshown = False
        ledger = self._feed.ledger
        since = ledger.position.seq
        self._show_all()
        self._show_site()
        self._show_catalogues()
        ledger.join_changes(since)
        self._uncomposed, self._composed = None, NO_ITEMS
        self._share_tables()
        self.show_sessions()

    def synced(self) -> None:
        """Record that every request so far was answered."""
        self._synced_scope = self._user_sessions.scope
        self._synced_agents = self._user_sessions.own_agents

    def has_read(self, member: Member) -> bool:
        """Return whether all data that a session on the link follows was read.

        For a Remote Assistant it is never certain: its number comes when the session is accepted.
        """
        sessions = self._user_sessions
        following = sessions.following(member)
        if following is None or self._synced_scope is not sessions.scope or not self.live:
            return False
        if following.application is Application.REMOTE_ASSISTANT:
            return False
        are_same = self._synced_agents == sessions.own_agents
        return are_same and self.assembly.has_delivered(wanted_by(following))

    # ---- what comes on the link ----

    def read_all(self, readings: Sequence[Reading]) -> None:
        """Apply readings in their order. Some adapters make readings long after the server's last message."""
        now = self._clock.now()
        server, sessions = self._server, self._user_sessions
        offsets = server.shared
        assembly, ledger, scope = self.assembly, self._feed.ledger, sessions.scope
        checked = None if scope is self._narrowed_to else scope
        self._composer.readings += len(readings)
        if not 0.0 <= now - offsets.wall_clock_read_at < WALL_CLOCK_S:
            offsets.set_wall_clock(now, self._clock.wall_ms())
        now_ms = now * 1000.0
        for reading in readings:
            is_to_compare = now_ms - reading.time_ms < server.least_ms or server.version != offsets.version
            if is_to_compare and server.see(reading.time_ms, now, offsets.wall_zero_ms + now_ms):
                self._show_all()
            change = None
            if reading.steps is None and self.live:
                change = assembly.follow_one(reading, ledger.versions.elements, server.offset_ms, checked)
            if change is None:
                self._read(reading)
                continue
            key, before, element = change
            if element is not before:
                ledger.record_one(key, before, element)
            if reading.kind is AGENT and reading.parts[0].number in sessions.own_agents:
                self._show_number()  # perhaps only the number has changed

    def _read(self, reading: Reading) -> None:
        """Apply a reading of several parts, or one that other links may have received."""
        if self.live:
            scope: Scope | None = self._user_sessions.scope
            scope = None if scope is self._narrowed_to else scope
            shown, offset_ms = self._feed.ledger.versions, self._server.offset_ms
            step = self.assembly.follow(reading, shown.elements, offset_ms, scope, shown.shared)
            if step is not None:
                self._show_step(step, reading.kind)
                return
        if self.pending_readings.is_watching and not self.assembly.runs(reading.query):
            self.pending_readings.keep(reading)
        self.show(self.assembly.read(reading))
        sessions = self._user_sessions
        if self.assembly.size > sessions.scope.size + OUTSIDE_MOST:
            self.assembly.keep(sessions.scope)
            self._has_pruned = self._has_pruned or not sessions.are_all_accepted

    def listening(self, query: int, listen: Listen) -> None:
        """Record that *query* runs, and apply its earlier readings."""
        self.assembly.listening(query, listen)
        # their times and counts were recorded when they came
        for reading in self.pending_readings.take(query, listen):
            self._read(reading)

    def directory(self, directory: Directory) -> None:
        """Apply the whole directory and the catalogues."""
        self._directory = replace(directory, parts=())  # the assembly may hold equal ones of other links
        self.show(self.assembly.directory(directory.parts))
        self._show_catalogues()

    def unknown(self, addresses: Iterable[Address]) -> list[Address]:
        """Return those of *addresses* without a directory object."""
        return [each for each in addresses if self.assembly.received(each).directory is None]

    def object(self, change: ObjectChanged) -> None:
        """Apply one change of the directory."""
        self.show(self.assembly.object((change.kind, change.number), change.part))

    def function(self, change: FunctionChanged) -> bool:
        """Record the state of a function; return whether realtime data comes again after a pause."""
        was_blind = self.is_blind
        if change.function != "historical":  # phones are not shown this function
            self._functions = _functions_after(self._functions, change)
            self.is_blind = self._functions.realtime is FunctionState.DOWN
            self._show_site()
        return was_blind and not self.is_blind

    def rescoped(self, before: Scope) -> None:
        """Record that the scope of the sessions was *before*, and has changed; whole sets follow."""
        self.assembly.gained(self._user_sessions.scope.agents - before.agents)
        self.narrowed()
        for member in self._user_sessions.take_rescoped():
            self.show_session(member)

    def narrowed(self) -> None:
        """Remove data outside the scope of all sessions.

        The scope of a session that OSCC-E has not accepted in this epoch is unknown. While there is one,
        nothing is removed before the whole sets of the next link.
        """
        scope = self._user_sessions.scope
        if scope is self._narrowed_to or not (self._user_sessions and self._user_sessions.are_all_accepted):
            return
        self._narrowed_to, inside = scope, scope.by_kind()
        for kind, number in self._shown():
            if number not in inside[kind]:
                self._feed.ledger.record(key_of(kind, number), None)

    def take_pruned(self) -> bool:
        """Return, once, whether data that a session may see was removed for want of room."""
        has_pruned, self._has_pruned = self._has_pruned, False
        return has_pruned

    def prune(self) -> None:
        """Remove data outside all scopes, also from the assembly: no session is being accepted now."""
        self.assembly.keep(self._user_sessions.scope)
        self.narrowed()

    # ---- what is shown ----

    def show(self, addresses: Iterable[Address]) -> None:
        """Record the present value of each resource in the scope of a session; without one do nothing."""
        if not (self.live and self._user_sessions):
            return
        ledger, inside = self._feed.ledger, self._user_sessions.scope.by_kind()
        own = self._user_sessions.own_agents
        owns = False
        for address in addresses:
            kind, number = address
            key = key_of(kind, number)
            element = self._element(address, ledger.get(key)) if number in inside[kind] else None
            ledger.record(key, element)
            owns = owns or (kind is Kind.AGENT and number in own)
        if owns:
            self._show_number()

    def _show_step(self, step: ReadingStep, kind: Kind | None) -> None:
        """Record the new values of resources of one kind, like :meth:`show`."""
        self._feed.ledger.record_all(step.changes, step.shown_tables)
        if step.compares_tables:
            self._share_tables()
        if kind is Kind.AGENT and not self._user_sessions.own_agents.isdisjoint(step.numbers):
            self._show_number()

    def _share_tables(self) -> None:
        """Hold the same tables as other links of the node, where they are equal."""
        links = self.assembly.share_tables()
        if links > 1:
            self._feed.ledger.share_table(self._composer.shown_tables, links)

    def _element(self, address: Address, before: Element | None) -> Element | None:
        assembly = self.assembly
        parts = assembly.parts(address)
        if parts is None:
            return None
        if before is not None and before.parts is parts and before.offset_ms == self.offset_ms:
            return before
        made = self._composed.get(address)
        if made is not None and made[:3] == (parts, before, self.offset_ms):
            element = made[3]
        else:
            element = self._composer.element(parts, before, self.offset_ms)
        assembly.show(address, parts, element)
        return element

    def _show_number(self) -> None:
        """Show each session the user's number, if it has changed."""
        if self._remote_number() != self._number:
            self.show_sessions()

    def show_sessions(self) -> None:
        """Record each accepted session's own data; its rights, scope and end apply at once."""
        self._number = self._remote_number()
        for member in self._user_sessions:
            self.show_session(member)

    def show_session(self, member: Member) -> None:
        """Record one session's own data, if it was accepted."""
        if member.attached is not None:
            self._feed.set_facts(member.facts(), self._me_of(member) if self.live else None)
            if self._waiting is not None:
                self._waiting.wake(member.handle)

    def _me_of(self, member: Member) -> Element:
        """Return a session's view of its user; it is that of the last session, if they are equal."""
        me = self._me(member)
        if self._me_shown is None or self._me_shown.value != me:
            self._me_shown = Element(me)
        return self._me_shown

    def _shown(self) -> set[Address]:
        return {address for key, _ in self._feed.ledger.shared() if (address := address_of(key)) is not None}

    def _show_site(self) -> None:
        about = self._about
        if self.live and about is not None:
            self._feed.ledger.record(SITE, _site(about, self._functions))

    def _show_catalogues(self) -> None:
        sent = self._directory
        if self.live and sent is not None:
            ledger, element = self._feed.ledger, self._composer.catalogue
            ledger.record(SKILLS, element(sent.skills, Skills))
            ledger.record(REASONS, element(sent.reasons, Reasons))
            ledger.record(ROUTING_PARAMETERS, element(sent.parameters, RoutingParameters))
            self._directory = None

    def _me(self, member: Member) -> Me:
        attached = member.attached
        agent = None if attached is None else attached.own_agent
        number = self._remote_number()
        if number is not None and member.ticket.application is not Application.REMOTE_ASSISTANT:
            number = masked(number)
        return Me(
            user_id=str(member.ticket.user.key),
            display_name=member.ticket.display_name,
            agent=None if agent is None else str(agent),
            rights=member.facts().rights,
            scope_size=None if attached is None else attached.scope.size,
            remote_number=number,
            last_end=self._last_end,
        )

    def _remote_number(self) -> str | None:
        """Return the remote number of the user's own agent, from any session."""
        for agent in self._user_sessions.own_agents:
            number = self.assembly.received((Kind.AGENT, agent)).remote_number
            if number is not None:
                return number
        return None

    def shows_number(self, number: str) -> bool:
        """Return whether *number* is in effect now, by the newest values."""
        return self.live and self._remote_number() == number

    def _dated(self, end: LastEnd) -> LastEnd:
        """Return *end* in gateway time. Each link sends it again, with a slightly different clock."""
        if end.at_ms is None:
            return end
        at_ms, before = end.at_ms + self.offset_ms, self._last_end
        if before is not None and before.at_ms is not None and abs(before.at_ms - at_ms) <= STEADY_MS:
            at_ms = before.at_ms
        return replace(end, at_ms=at_ms)

    def late_s(self, time_ms: int, now: float) -> float:
        """Return how much longer a message took than the fastest one, s: sent at *time_ms*, read at *now*."""
        return self._server.late_s(time_ms, now)

    def see_clock(self, time_ms: int) -> None:
        """Compare the clocks; where instants were wrong, show all of them again."""
        if self._server.see(time_ms, self._clock.now(), self._clock.wall_ms()):
            self._show_all()

    def _show_all(self) -> None:
        self.show(self._shown() | self.assembly.addresses())
        if self.live and self._user_sessions:
            self._narrowed_to = self._user_sessions.scope
        self._set_clock()

    def _set_clock(self) -> None:
        """Record in the ledger which wall clock dates the shown instants, if it has changed."""
        ledger, clock_ms = self._feed.ledger, self._server.wall_zero_ms
        if self.live and clock_ms != -math.inf and abs(clock_ms - ledger.clock_ms) >= REBASED_MS:
            ledger.set_clock(clock_ms)


@lru_cache(maxsize=64)
def _functions_after(functions: Functions, change: FunctionChanged) -> Functions:
    """Return the states of functions after a change: one object for all users."""
    return replace(functions, **{change.function: change.state})


@lru_cache(maxsize=64)
def _site(about: About, functions: Functions) -> Element:
    """Return the element of a server: one for all its users."""
    return Element(Site(about.extensions_version, about.contact_center_version, functions))


_UNKNOWN_FUNCTIONS = Functions(*[FunctionState.UNKNOWN] * 8)
