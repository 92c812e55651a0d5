"""Subscriptions of one link: the queries of a user, sent in rounds and kept current.

A change of the wanted subscriptions only sets a flag. Rounds of requests bring the present ones in line with
the wanted ones, so that two changes never overlap.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Final, Protocol, TypeVar
from weakref import proxy

from gateway.core.element import Address
from gateway.core.link import ALWAYS_LISTENED, DIRECTORY, FUNCTION_OF, sending_order, wanted
from gateway.core.view import Member, UserSessions
from gateway.domain.commands import (
    AttachSession,
    DetachSession,
    Directory,
    LinkAnswer,
    LinkRequest,
    Listen,
    Listening,
    Presence,
    QueryDirectory,
    StopListening,
)
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import EMPTY_SET, LONG_AGO, NO_ITEMS, Kind, Scope, with_item
from gateway.domain.resources import FunctionState
from gateway.domain.upstream import Attached, FunctionChanged, FunctionName, LinkClosed, SessionEnded, Source
from gateway.runtime.event_loop import LeanEvent, TaskGroup, spawn
from gateway.runtime.mirror import Feed, Mirror
from gateway.runtime.ports import Clock, Link, Tasks
from gateway.telemetry import RuntimeCounters

MOST: Final = 48
"""Requests under way at once: a link accepts 64, and commands need room."""
ROUND_S: Final = 5.0
"""How long the caller waits for the answer; a later answer counts, too."""
DATA_ANSWER_S: Final = 60.0
"""How long an answer with data may take: a late answer costs less than a second request."""
DATA_AGAIN_MAX_S: Final = 16 * DATA_ANSWER_S
"""The longest wait until data that never comes is requested again; each wait is twice the one before."""
PRESENCE_S: Final = 4.0
"""How long the answer to a presence may take: less than a round, so that a pause follows."""

T = TypeVar("T")
Take = Callable[[LinkAnswer | GatewayError], None]


@dataclass(slots=True, eq=False)
class SentRequest:
    """A request without an answer yet."""

    until: float
    """When the wait for its answer ends."""
    take: Take
    answered: LeanEvent = field(default_factory=LeanEvent)
    withdraw: Callable[[], object] | None = None
    """Ends the wait for its answer; None: the link bounds it."""
    is_late: bool = False
    """Whether the caller no longer waits for the answer."""


class RequestsUnderWay:
    """Requests of one link that wait for their answers. A late answer counts, too.

    Invariant: a request is under way at most once. An answer is processed in the call that reads it, before
    the next message of the link.

    Args:
        subscriptions: Begin a round after a late answer was processed.
    """

    __slots__ = ("_clock", "_link", "_subscriptions", "_tasks", "_under_way")

    def __init__(self, link: Link, clock: Clock, tasks: Tasks, subscriptions: LinkSubscriptions) -> None:
        self._link, self._clock = link, clock
        self._tasks, self._subscriptions = tasks, subscriptions
        self._under_way: dict[Hashable, SentRequest] = NO_ITEMS

    def __contains__(self, key: Hashable) -> bool:
        return key in self._under_way

    def __len__(self) -> int:
        return len(self._under_way)

    def begin(
        self, key: Hashable, request: LinkRequest, take: Take, within_s: float = DATA_ANSWER_S
    ) -> list[SentRequest]:
        """Send a request unless one of the same *key* is under way; return what :meth:`wait` waits for.

        *take* receives the answer, or the reason why there is none within *within_s*, also when it is late.
        """
        if key in self._under_way:
            return []
        if len(self._under_way) >= MOST:
            take(GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "Too many requests are under way."))
            return []
        sent_request = SentRequest(self._clock.now() + within_s, take)
        self._under_way = with_item(self._under_way, key, sent_request)
        try:
            sent_request.withdraw = self._link.send(request, partial(self._answered, key))
        except GatewayError as error:
            self._answered(key, error)
        else:
            if sent_request.withdraw is None and not spawn(self._tasks, self._ask(key, request)):
                return []
        return [sent_request]

    async def wait(self, sent_requests: Sequence[SentRequest]) -> None:
        """Return when *sent_requests* were answered, or took too long."""
        if all(sent_request.answered.is_set() for sent_request in sent_requests):
            return
        with suppress(TimeoutError):
            async with self._clock.timeout(ROUND_S):
                for sent_request in sent_requests:
                    await sent_request.answered.wait()
        for sent_request in sent_requests:
            sent_request.is_late = True

    def tick(self, now: float) -> None:
        """Wait no longer for answers that take too long."""
        for key, sent_request in list(self._under_way.items()):
            if now >= sent_request.until and sent_request.withdraw is not None:
                sent_request.withdraw()
                message = "The contact centre did not answer in time."
                self._answered(key, GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, message))

    def end(self) -> None:
        """Forget all requests: the link is gone, and a task that was to send one may never have begun."""
        self._under_way = NO_ITEMS  # each request holds its taker, which holds this object

    async def _ask(self, key: Hashable, request: LinkRequest) -> None:
        answer: LinkAnswer | GatewayError
        try:
            answer = await self._link.request(request)
        except GatewayError as error:
            answer = error
        except BaseException:
            del self._under_way[key]  # which holds this object
            raise
        self._answered(key, answer)

    def _answered(self, key: Hashable, answer: LinkAnswer | GatewayError | LinkClosed) -> None:
        sent_request = self._under_way.pop(key)
        self._under_way = self._under_way or NO_ITEMS
        if isinstance(answer, LinkClosed):
            return  # the reader of the link sees it, too, and ends all that waits
        sent_request.take(answer)
        sent_request.answered.set()
        if sent_request.is_late:
            self._subscriptions.need()


SERVED_S: Final = 10.0
"""Time after which missing data is no longer waited for: phones are served without it."""
KEPT_S: Final = 60.0
"""How long realtime data of the last link is shown that this link has not sent."""
STOPPED_MOST: Final = 32
"""Covered queries that are kept until the readings of their replacements have come."""


class Queries:
    """The queries of one link.

    Invariants: equal queries are not under way at the same time. An answer counts at any time. A query that
    is no longer needed, or that no answer names, is stopped. If another one replaces it, it is stopped and
    removed only after the readings of that one have come; else it is removed at once, since its data no
    longer changes.

    Args:
        subscriptions: Learn when requests are due soon, and that the server sends changes of the directory.
    """

    __slots__ = (
        "_again", "_again_s", "_asked_at", "_clock", "_down", "_link", "_mirror", "_placeholder", "_queries",
        "_requests", "_stopped", "_stopping", "_subscriptions", "_unanswered", "_wanted",
    )  # fmt: skip

    def __init__(
        self,
        link: Link,
        requests: RequestsUnderWay,
        mirror: Mirror,
        clock: Clock,
        subscriptions: LinkSubscriptions,
    ) -> None:
        self._link, self._requests, self._mirror, self._clock = link, requests, mirror, clock
        self._subscriptions = subscriptions
        self._wanted, self._placeholder = ALWAYS_LISTENED, 0
        self._queries: dict[Listen, int] = {}
        """Subscription → its query. One below 0 is a placeholder: it was refused, or is not waited for."""
        self._again: frozenset[Listen] = EMPTY_SET
        """Subscriptions to be requested again."""
        self._again_s = DATA_ANSWER_S
        """How long data is waited for until it is requested again."""
        self._asked_at: dict[Listen, float] = NO_ITEMS
        """Subscription → since when its first reading is waited for."""
        self._unanswered: frozenset[Listen] = EMPTY_SET
        self._down: frozenset[FunctionName] = EMPTY_SET
        self._stopping: tuple[int, ...] = ()
        self._stopped: tuple[int, ...] = ()

    @property
    def are_read(self) -> bool:
        """Whether all wanted data was read once, or is no longer waited for."""
        unanswered = (self._unanswered & self._wanted) - self._queries.keys()
        return not unanswered and self._mirror.assembly.settled

    # ---- what is wanted ----

    def drop_all(self) -> None:
        """Have all queries sent again, since data may have been lost."""
        for listen in list(self._queries):
            self._drop(listen)

    def ask_refused_again(self) -> bool:
        """Send queries again that were refused or not answered; return whether there are any."""
        self._again |= {each for each, query in self._queries.items() if query < 0} - self._unanswered
        return bool(self._again)

    def function(self, change: FunctionChanged) -> None:
        """Record whether a function is down; the server itself reports when it is up again."""
        if change.state is FunctionState.DOWN:
            self._down |= {change.function}
        else:
            self._down = self._down - {change.function} or EMPTY_SET

    @property
    def awaits(self) -> bool:
        """Whether an answer or reading is missing, so that :meth:`tick` has work."""
        return bool(self._asked_at)

    def tick(self, now: float) -> None:
        """Stop waiting for late data, and request it again when it has not come in a long time."""
        assembly, again = self._mirror.assembly, self._again
        for listen, since in list(self._asked_at.items()):
            query = self._queries.get(listen)
            is_unread = query is None or assembly.awaits(query)
            is_missed = query is not None and query >= 0 and assembly.lacks(query)
            if listen not in self._wanted or not (is_unread or is_missed):
                del self._asked_at[listen]
            elif is_missed and now - since >= self._again_s:
                del self._asked_at[listen]
                self._again |= {listen}
                self._subscriptions.ask_later()
            elif is_unread and now - since >= self._patience_s(listen):
                self._do_without(listen)
        self._asked_at = self._asked_at or NO_ITEMS
        if self._again != again:
            self._again_s = min(2 * self._again_s, DATA_AGAIN_MAX_S)
        elif not (self._asked_at or self._again):  # all of it has come
            self._again_s = DATA_ANSWER_S

    def _patience_s(self, listen: Listen) -> float:
        is_missed = listen.source is Source.REALTIME and not (self._mirror.live or self._mirror.is_empty)
        return KEPT_S if is_missed else SERVED_S

    def forget_stopped(self) -> None:
        """Remove data of stopped queries: the readings of their replacements have come."""
        lacks = self._mirror.assembly.lacks
        self._forget(query for query in self._stopped if query < 0 or lacks(query))
        if not self._mirror.is_partial:  # a late value may be taken from them, although it is old
            self._forget(self._stopped)

    def _forget(self, queries: Iterable[int]) -> None:
        gone = set(queries)
        self._stopped = tuple([query for query in self._stopped if query not in gone])
        for query in gone:
            self._mirror.show(self._mirror.assembly.stopped(query))

    # ---- asking ----

    async def subscribe_directory(self) -> None:
        """Subscribe to the directory, unless this is done already."""
        if self._is_to_ask(DIRECTORY):
            await self._requests.wait(self._listen_to(DIRECTORY))

    async def listen(self, wanted: frozenset[Listen], sent_before: Sequence[SentRequest]) -> None:
        """Run the *wanted* queries and no others; wait for the answers to *sent_before*, too."""
        self._wanted = wanted
        for listen in self._queries.keys() - wanted:
            self._drop(listen)
        asked = map(self._listen_to, sorted(filter(self._is_to_ask, wanted), key=sending_order))
        sent_requests = [*sent_before, *chain.from_iterable(asked)]
        if sent_requests:  # before others are stopped, so that no change is missed in between
            await self._requests.wait(sent_requests)
        self._stopping += self._mirror.pending_readings.take_unnamed()
        if self._stopping:
            stopping, self._stopping = self._stopping, ()
            async with TaskGroup() as tasks:
                for query in stopping:
                    tasks.create_task(self._stop(query))

    async def _stop(self, query: int) -> None:
        with suppress(GatewayError):  # otherwise the server continues to send, and no session sees it
            await self._link.request(StopListening(query))
        self._note_stopped(query)

    def _is_to_ask(self, listen: Listen) -> bool:
        return listen not in self._queries or listen in self._again

    def _listen_to(self, listen: Listen) -> list[SentRequest]:
        if listen in self._unanswered:
            since = self._asked_at.get(listen, self._clock.now())
            self._asked_at = with_item(self._asked_at, listen, since)
            return []
        self._again = self._again - {listen} or EMPTY_SET
        self._unanswered |= {listen}
        self._mirror.pending_readings.expect(True)
        self._asked_at = with_item(self._asked_at, listen, self._clock.now())
        return self._requests.begin(listen, listen, lambda answer: self._take(listen, answer))

    # ---- answers ----

    def _take(self, listen: Listen, answer: LinkAnswer | GatewayError) -> None:
        self._unanswered = self._unanswered - {listen} or EMPTY_SET
        if isinstance(answer, Listening):
            if listen in self._queries:
                self._drop(listen)
            self._run(listen, answer.query)
            self._asked_at = with_item(self._asked_at, listen, self._clock.now())
        elif isinstance(answer, GatewayError) and answer.code is ErrorCode.UPSTREAM_UNAVAILABLE:
            self._mirror.pending_readings.missed()
            self._subscriptions.ask_later()
            self._do_without(listen)
        elif isinstance(answer, GatewayError):
            self._refused(listen, answer)
        self._mirror.pending_readings.expect(bool(self._unanswered))
        if listen == DIRECTORY:
            self._subscriptions.directory_subscribed()

    def _run(self, listen: Listen, query: int) -> None:
        self._queries[listen] = query
        self._mirror.listening(query, listen)

    def _next_placeholder(self) -> int:
        self._placeholder -= 1
        return self._placeholder

    def _do_without(self, listen: Listen) -> None:
        """Show the data of *listen* without waiting for the rest."""
        if listen not in self._queries:
            self._run(listen, self._next_placeholder())
        query = self._queries[listen]
        if query < 0:
            self._asked_at.pop(listen, None)
        self._mirror.show(self._mirror.assembly.do_without(query))

    def _refused(self, listen: Listen, error: GatewayError) -> None:
        self._asked_at.pop(listen, None)
        if not self._will_recover(listen, error):
            self._subscriptions.ask_later()
        before, assembly = self._queries.get(listen), self._mirror.assembly
        query = self._queries[listen] = self._next_placeholder()
        self._mirror.show(assembly.refused(query, listen))
        if before is not None:  # it has never delivered data
            self._mirror.show(assembly.stopped(before))
            self._stopping += (before,) if before >= 0 else ()

    def _will_recover(self, listen: Listen, error: GatewayError) -> bool:
        """Return whether a function that is reported down refused it: its recovery is reported, too."""
        named = error.details.get("function")
        is_unavailable = error.code is ErrorCode.FUNCTION_UNAVAILABLE
        return is_unavailable and (named or FUNCTION_OF[listen.source]) in self._down

    def _drop(self, listen: Listen) -> None:
        query = self._queries.pop(listen)
        self._again = self._again - {listen} or EMPTY_SET
        if not any(each.kind == listen.kind and each.source == listen.source for each in self._wanted):
            self._mirror.show(self._mirror.assembly.stopped(query))
        if query >= 0:
            self._stopping += (query,)
        else:
            self._note_stopped(query)

    def _note_stopped(self, query: int) -> None:
        if not self._mirror.assembly.runs(query):
            return
        if self._mirror.assembly.awaits(query):
            self._mirror.show(self._mirror.assembly.stopped(query))
            return
        self._stopped += (query,)
        if len(self._stopped) > STOPPED_MOST:
            self._forget(self._stopped[:1])


AT_ONCE: Final = 32
"""Sessions for which requests are sent at once: half of what a link accepts, since commands need room."""
PRESENCES_AT_ONCE: Final = 4 * AT_ONCE
"""Phones whose presence is sent before sessions that came later are attached."""
FIRST_S: Final = 1.0
"""How long a round waits for the first readings that the round before requested."""
REFUSED_PAUSE_S: Final = 5.0
"""Pause before a request is repeated that was refused for a temporary reason."""
REPORTED_AFTER_S: Final = 1.0
"""Time after which the directory is queried for objects that came into scope and were not sent."""
_ENDED: Final = frozenset({ErrorCode.SESSION_ENDED, ErrorCode.FORBIDDEN})


class SubscribingOwner(Protocol):
    """The owner of the link."""

    clock: Clock
    counters: RuntimeCounters
    user_sessions: UserSessions
    mirror: Mirror
    feed: Feed

    def touch(self) -> None:
        """Record that the time of the next :meth:`LinkSubscriptions.tick` may be earlier than before."""

    def ended(self, member: Member, reason: EndReason, by: str | None) -> None:
        """Remove a session that OSCC-E refused."""

    def answered(self) -> None:
        """Wake the tasks that wait for answers."""

    def synced(self) -> None:
        """Record that every request was answered, and the mirror has the data."""


class LinkSubscriptions:
    """The requests of one link.

    Invariants: one round at a time. Once :attr:`settled`, each session of the user that OSCC-E accepts is on
    the link, the presence of all phones was sent, the queries match what is followed, and all their data was
    received once or is no longer waited for. A round waits for no answer longer than
    :data:`gateway.runtime.subscriptions.ROUND_S`; a later answer counts, too.

    Args:
        tasks: Where rounds run: the lifetime of the link.
    """

    __slots__ = (
        "__weakref__", "_again_at", "_asking", "_attach_due", "_directory_known", "_doubts", "_early_ends",
        "_gained", "_gained_at", "_is_served", "_is_settling", "_leaving", "_link", "_mirror", "_needed",
        "_owner", "_pause", "_presence_due", "_queries", "_tasks", "_tried", "_user_sessions", "requests",
        "settled",
    )  # fmt: skip

    def __init__(self, link: Link, owner: SubscribingOwner, tasks: Tasks) -> None:
        self.settled = False
        self._link, self._owner, self._tasks = link, owner, tasks
        self._user_sessions, self._mirror = owner.user_sessions, owner.mirror
        self._needed = False
        self._asking = False
        self._directory_known = False
        self._attach_due: dict[str, Member] = NO_ITEMS
        """Sessions that are not on the link, or whose scope may have changed without a message."""
        self._tried: frozenset[Member] = EMPTY_SET
        """Sessions that the link was asked to attach in this round."""
        self._presence_due: dict[str, Member] = NO_ITEMS
        """Sessions whose presence at OSCC-E may be wrong."""
        me: LinkSubscriptions = proxy(self)  # those of an ended link leave memory at once
        self.requests = RequestsUnderWay(link, owner.clock, tasks, me)
        self._queries = Queries(link, self.requests, owner.mirror, owner.clock, me)
        self._gained: frozenset[Address] = EMPTY_SET
        """Resources that came into scope, while their directory objects may be missing."""
        self._gained_at = LONG_AGO
        self._leaving: tuple[int, ...] = ()
        self._early_ends: tuple[SessionEnded, ...] = ()
        """Ends of sessions that came while the answer with their alias may still be under way."""
        self._doubts: dict[Member, SessionEnded] = NO_ITEMS
        """Sessions that are attached again, since the end of one with their alias came before the answer."""
        self._again_at = math.inf
        self._is_settling = False
        """Whether :meth:`settle` runs in the next turn of the loop."""
        self._is_served = False
        """Whether phones are served while realtime data is missing."""
        self._pause: LeanEvent | None = None
        """Between two rounds, while first readings are missing: set when they have arrived."""

    # ---- what is wanted ----

    def need(self) -> None:
        """Start a round in the next turn of the loop; many calls before it start one."""
        self.settled = False
        self._needed = True
        self._owner.touch()
        if not self._asking:
            self._asking = spawn(self._tasks, self._ask())

    def leave(self, alias: int) -> None:
        """Detach a session for which this node no longer acts."""
        self._leaving += (alias,)
        self.need()

    def ended(self, event: SessionEnded) -> None:
        """Record the end of a session that has no known alias: its attach may not be answered yet."""
        if self._is_attaching and event.alias not in self._leaving:
            self._early_ends = (*self._early_ends, event)[-AT_ONCE:]

    def directory_changed(self) -> None:
        """Request the directory and the catalogues again."""
        self._directory_known = False
        self.need()

    def rescoped(self, before: Scope) -> None:
        """Record that the union of scopes was *before*: the server sends the new objects soon."""
        after = self._user_sessions.scope
        self._gained |= {(kind, each) for kind in Kind for each in after.of(kind) - before.of(kind)}
        self._gained_at = self._owner.clock.now()
        self.need()

    def _find_gained(self, now: float) -> None:
        """Query the directory once, if it has not sent all objects that came into scope."""
        if not self._gained or now - self._gained_at < REPORTED_AFTER_S:
            return
        gained, self._gained = self._gained, EMPTY_SET
        if any(number in self._user_sessions.scope.of(kind) for kind, number in self._mirror.unknown(gained)):
            self.directory_changed()

    def listen_again(self) -> None:
        """Request everything again, since data may have been lost."""
        self._queries.drop_all()
        self.need()

    def ask_refused_again(self) -> None:
        """Send the refused queries again."""
        if self._queries.ask_refused_again():
            self.need()

    def function(self, change: FunctionChanged) -> None:
        """Record that a function went up or down."""
        self._queries.function(change)

    def tick(self, now: float) -> None:
        """Stop waiting for late data, and repeat requests that are due."""
        if len(self.requests):
            self.requests.tick(now)
        if self._queries.awaits:
            self._queries.tick(now)
        if self._gained:
            self._find_gained(now)
        if not self.settled:
            self.settle()
        if now >= self._again_at:
            self._again_at = math.inf
            self.ask_refused_again()
            self.need()

    @property
    def due_at(self) -> float:
        """When :meth:`tick` has something to do; in the past: each time."""
        is_waiting = not self.settled or self._gained or self._queries.awaits or len(self.requests)
        return LONG_AGO if is_waiting else self._again_at

    def settle(self) -> None:
        """Record when everything that is followed was read once, or is no longer waited for."""
        if self.settled or not self._is_read or (self._asking and self._pause is None):
            return
        self._queries.forget_stopped()
        is_partial = self._mirror.is_partial
        if is_partial and self._is_served:
            return
        if not (self._mirror.live or self._mirror.prepare()):
            self._go_on()
            return
        self._is_served = is_partial
        self.settled = not (self._asking or is_partial)
        if not self._mirror.live:
            self._mirror.settle()
        self._owner.synced()
        if self._pause is not None:
            self._pause.set()

    def _go_on(self) -> None:
        """Call :meth:`settle` in the next turn of the loop, once."""
        if not self._is_settling:
            self._is_settling = spawn(self._tasks, self._settle_soon())

    async def _settle_soon(self) -> None:
        await self._owner.clock.sleep(0)
        self._is_settling = False
        self.settle()

    @property
    def _is_read(self) -> bool:
        return self._directory_known and QueryDirectory not in self.requests and self._queries.are_read

    # ---- rounds ----

    async def _ask(self) -> None:
        while self._needed:
            self._needed = False
            self._tried = EMPTY_SET
            await self._detach()
            await self._queries.subscribe_directory()
            await self._attach()
            if not self._attach_due and self._mirror.take_pruned():
                self._queries.drop_all()
            sent_requests = [] if self._directory_known else self._query_directory()
            if self._mirror.live:
                await self.requests.wait(sent_requests)
            sent_requests += await self._send_presence()
            await self._queries.listen(wanted(self._user_sessions.followings), sent_requests)
            if self._needed and not self._mirror.live and self._mirror.is_empty:
                await self._first_readings()
        self._asking = False
        self._tried = EMPTY_SET
        if not self._attach_due:  # else data of a session may be here whose scope has not come yet
            self._mirror.prune()
        self.settle()
        self._owner.feed.flush()  # not after each answer: what one removed, another may add
        self._owner.answered()

    async def _first_readings(self) -> None:
        """Wait until earlier sessions have their first readings, before later ones are attached."""
        self._pause = LeanEvent()
        self.settle()
        with suppress(TimeoutError):
            async with self._owner.clock.timeout(FIRST_S):
                await self._pause.wait()
        self._pause = None

    async def _detach(self) -> None:
        while self._leaving:
            leaving, self._leaving = self._leaving, ()
            await self._of_each(leaving, self._detach_one)

    async def _detach_one(self, alias: int) -> None:
        with suppress(GatewayError):  # it may have ended in between
            await self._link.request(DetachSession(alias))

    def directory_subscribed(self) -> None:
        """Request the directory and the scopes of sessions, now that the server sends changes of them.

        The subscription to the directory has no first event. It is sent before all other requests.
        """
        self._attach_due = {member.handle: member for member in self._user_sessions}
        self._directory_known = False

    async def _attach(self) -> None:
        """Attach the sessions that are not on the link, also those that come during this."""
        while asked := [member for member in self._to_attach() if member not in self._tried]:
            self._tried |= frozenset(asked)
            await self._of_each(asked, self._attach_one)
            if not self._mirror.live:
                return  # sessions that came during this wait no longer for the first readings than the others

    def _to_attach(self) -> list[Member]:
        for member in self._user_sessions.take_changed():
            self._presence_due = with_item(self._presence_due, member.handle, member)
            if not member.on_link:
                self._attach_due = with_item(self._attach_due, member.handle, member)
        for member in list(self._attach_due.values()):
            if member not in self._user_sessions:
                del self._attach_due[member.handle]
                self._doubts.pop(member, None)
        return list(self._attach_due.values())

    async def _of_each(self, sessions: Sequence[T], ask: Callable[[T], Awaitable[None]]) -> None:
        """Send requests for several sessions at once, so that their waits overlap."""
        if len(sessions) == 1:
            await ask(sessions[0])
            return
        left = iter(sessions)

        async def work() -> None:
            for session in left:
                await ask(session)

        async with TaskGroup() as tasks:
            for _ in sessions[:AT_ONCE]:
                tasks.create_task(work())

    async def _attach_one(self, member: Member) -> None:
        if len(self.requests) >= AT_ONCE:
            self.ask_later()
            return
        if self._early_ends and not self._is_attaching:
            self._early_ends = ()
        attach, take = AttachSession(member.ticket.secret), partial(self._take_attached, member)
        await self.requests.wait(self.requests.begin(member, attach, take))

    def _take_attached(self, member: Member, answer: LinkAnswer | GatewayError) -> None:
        if isinstance(answer, GatewayError):
            if answer.code in _ENDED:
                unknown = SessionEnded(0, member.end_at(self._user_sessions.server), None)
                end = self._doubts.pop(member, unknown)
                self._owner.ended(member, end.reason, end.by)
            else:
                self.ask_later()
        if not isinstance(answer, Attached) or self._may_have_ended(member, answer.alias):
            return
        self._doubts.pop(member, None)
        if member not in self._user_sessions:
            self._leaving += (answer.alias,)
            self._needed = True
            return
        before, own_agents = self._user_sessions.scope, self._user_sessions.own_agents
        self._user_sessions.accepted(member.handle, answer)
        self._attach_due.pop(member.handle, None)
        self._attach_due = self._attach_due or NO_ITEMS
        self._presence_due = with_item(self._presence_due, member.handle, member)
        self._directory_known = self._directory_known and self._user_sessions.scope == before
        self._mirror.narrowed()
        if self._user_sessions.own_agents == own_agents:
            self._mirror.show_session(member)
        else:  # the agent has a number, which all sessions are shown
            self._mirror.show_sessions()

    def _may_have_ended(self, member: Member, alias: int) -> bool:
        """Return whether an end with this alias came before, maybe of another session; then attach again."""
        ends = [event for event in self._early_ends if event.alias == alias]
        if ends:
            self._early_ends = tuple([event for event in self._early_ends if event not in ends])
            self._doubts = with_item(self._doubts, member, ends[0])
            self._tried, self._needed = self._tried - {member}, True
        return bool(ends)

    @property
    def _is_attaching(self) -> bool:
        return any(member in self.requests for member in self._attach_due.values())

    def _query_directory(self) -> list[SentRequest]:
        if QueryDirectory in self.requests:
            return []
        self._directory_known = True
        return self.requests.begin(QueryDirectory, QueryDirectory(), self._take_directory)

    def _take_directory(self, answer: LinkAnswer | GatewayError) -> None:
        if isinstance(answer, Directory):
            self._owner.counters.left_out(self._owner.feed.user.site, answer.dropped)
            self._mirror.directory(answer)
        else:
            self._directory_known = False
            self.ask_later()

    async def _send_presence(self) -> list[SentRequest]:
        """Send the presence of each phone, unless OSCC-E certainly has it.

        Returns the requests whose answers are to be waited for.
        """
        due, self._presence_due = self._presence_due, NO_ITEMS
        news = [each for each in due.values() if each.on_link and each.sent_presence is not each.present]
        if len(news) == 1 and not self._mirror.live:
            return self._begin_presence(news[0])
        for at in range(0, len(news), PRESENCES_AT_ONCE):
            await self._of_each(news[at : at + PRESENCES_AT_ONCE], self._send_presence_of)
            if self._mirror.live:
                await self._attach()  # sessions that come during this do not wait for all the others
        return []

    async def _send_presence_of(self, member: Member) -> None:
        await self.requests.wait(self._begin_presence(member))

    def _begin_presence(self, member: Member) -> list[SentRequest]:
        present, attached, key = member.present, member.attached, (Presence, member)
        if attached is None or not member.on_link or member not in self._user_sessions:
            return []
        if key in self.requests:
            self._presence_due = with_item(self._presence_due, member.handle, member)
            return []
        take = partial(self._take_presence, member, present)
        return self.requests.begin(key, Presence(attached.alias, present), take, PRESENCE_S)

    def _take_presence(self, member: Member, present: bool, answer: LinkAnswer | GatewayError) -> None:
        if member not in self._user_sessions:
            return  # another session may have its handle
        if isinstance(answer, GatewayError):
            self.ask_later()
            member.sent_presence = None
        else:
            member.sent_presence = present
        if member.sent_presence is not member.present:  # a round that has ended may have passed it over
            self._presence_due = with_item(self._presence_due, member.handle, member)

    def ask_later(self) -> None:
        """Repeat refused requests after a pause."""
        self._again_at = min(self._again_at, self._owner.clock.now() + REFUSED_PAUSE_S)
        self._owner.touch()
