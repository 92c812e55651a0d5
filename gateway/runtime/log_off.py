"""Log-off: retried until OSCC-E confirms it, and sessions that end on every node."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple, Protocol

from gateway.core.rate_limits import Buckets
from gateway.core.registry import Denylist, End
from gateway.domain.errors import EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import Device, SessionId, Ticket, UserId, handle_of
from gateway.domain.upstream import LoggedOff
from gateway.protocol.envelopes import Control, SessionOver
from gateway.runtime.cluster import Exchange
from gateway.runtime.ports import LOG_OFFS_MAX, Authority, Clock, KeptLogOff, SharedStore, Tally
from gateway.runtime.spawn import log_fault, spawn
from gateway.runtime.world import refusal

RETRY_S: Final = 5.0
RETRIES_AT_ONCE: Final = 8
"""Of one site: log-ons find free connections to a server that many log-offs are sent to."""
LOOK_S: Final = 10.0
"""How often a node looks for log-offs whose node has ended."""
REPEATS_PER_S: Final = 1.0
REPEATS_BURST: Final = 5.0
"""Of one session: so many of its log-offs are asked of OSCC-E at once, and so many a second after that."""
CONFIRMED_S: Final = 600.0
"""For how long a confirmed log-off is answered from memory."""
REPEATS_AT_ONCE: Final = 8
"""Of one site: repeated log-offs leave the other connections to log-ons and to first log-offs."""
_KEPT_LEAST_S: Final = 60.0
_NOBODY: Final = Device("", "")

_LOG: Final = logging.getLogger(__name__)


class SiteAuthority(Protocol):
    """A site as this module needs it."""

    @property
    def authority(self) -> Authority:
        """Its log-on service."""
        ...


class EndsSessions(Protocol):
    """What serves the sessions."""

    def logged_off(self, ticket: Ticket, by: str = "self") -> None:
        """End a session on all nodes: the user did, here or from the device *by*."""
        ...


class Others(NamedTuple):
    """What a node's log-offs need to know of the others.

    *holder*: this node's life. *living*: returns the lives of all nodes that are there to stay.
    """

    shared: SharedStore
    holder: str
    living: Callable[[], Collection[str]]


@dataclass(slots=True, repr=False)
class _Pending:
    ticket: Ticket
    until_ms: int
    """When the session is over anyway."""
    is_kept: bool = False
    """Whether the shared store has it."""
    is_taken: bool = False
    """Whether OSCC-E has said that it ends the session by itself after the contact."""


class _Answered(NamedTuple):
    """What a session's log-off was answered. *until*: before that OSCC-E is not asked again."""

    answer: LoggedOff
    until: float


class LogOffs:
    """The log-offs of all sites.

    Invariants: of each session at most one request is under way; repeated ones of a site are at most
    REPEATS_AT_ONCE; what was not confirmed is retried, whatever fails, until the session's life is over,
    and is in a store that outlives the node, so that another node retries it when this one ends. Log-offs
    are idempotent at OSCC-E: two nodes that retry the same one do no harm.

    Bounded: beyond LOG_OFFS_MAX the oldest one is left to the session's own end.

    Args:
        sites: The OSCC-E Servers by the id of their site.
        clock: The only time.
        users: What serves the sessions.
        others: The other nodes.
        tally: Counts faults.
    """

    def __init__(
        self,
        sites: Mapping[str, SiteAuthority],
        clock: Clock,
        users: EndsSessions,
        others: Others,
        tally: Tally,
    ) -> None:
        self._sites = sites
        self._clock = clock
        self._users = users
        self._others = others
        self._tally = tally
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Future[LoggedOff]] = {}
        self._answered: OrderedDict[bytes, _Answered] = OrderedDict()
        self._repeats: Counter[str] = Counter()
        self._rates: Buckets[bytes] = Buckets(REPEATS_PER_S, REPEATS_BURST)

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def pending(self) -> tuple[Ticket, ...]:
        """The sessions whose log-off waits for its confirmation."""
        return tuple(each.ticket for each in self._pending.values())

    def is_pending(self, ticket: Ticket) -> bool:
        """Return whether the session's log-off waits for its confirmation here."""
        pending = self._pending.get(ticket.handle)
        return pending is not None and pending.ticket.secret == ticket.secret

    async def log_off(self, ticket: Ticket, by: str = "self") -> LoggedOff:
        """End the session. ``after_contact`` means: not confirmed yet, and retried by :meth:`run`.

        Its phone is closed, and its token refused, at once either way. Cancelled, it is not confirmed yet.
        Repeated while a request is under way it waits for that one's answer; repeated too soon, or while too
        many are repeated, it is answered as before.

        Args:
            ticket: The session's.
            by: What ends it, as the phone is sent it.
        """
        key = _key(ticket)
        under_way = self._under_way.get(key)
        if under_way is not None:
            return await asyncio.shield(under_way)
        now, before = self._clock.now(), self._answered.get(key)
        if before is not None and now < before.until:
            return before.answer
        is_first = before is None and not self.is_pending(ticket)
        is_soon = not self._rates.take(key, now)
        if is_first:
            self._users.logged_off(ticket, by)
        elif is_soon or self._repeats[ticket.user.site] >= REPEATS_AT_ONCE:
            return self._unconfirmed(ticket) if before is None else before.answer
        return await self._ask_once(key, ticket, is_first=is_first)

    async def _ask_once(self, key: bytes, ticket: Ticket, *, is_first: bool) -> LoggedOff:
        site, waiting = ticket.user.site, asyncio.get_running_loop().create_future()
        self._under_way[key] = waiting
        self._repeats[site] += not is_first
        told, before = None, self._pending.get(ticket.handle)
        try:
            told = await self._authority(site).log_off(ticket.secret)
        except GatewayError:
            pass  # not confirmed
        finally:  # cancelled, too
            self._repeats[site] -= not is_first
            del self._under_way[key]
            answer = self._unconfirmed(ticket) if told is None else told
            waiting.set_result(answer)
            pending = self._note(key, ticket, answer, is_taken=told is not None)
        if pending is not None:
            await self._keep(pending)
        elif before is not None and before.is_kept:
            await self._drop(ticket)
        return answer

    def _note(self, key: bytes, ticket: Ticket, answer: LoggedOff, *, is_taken: bool) -> _Pending | None:
        """Remember what was answered; returns what is to be retried since it was not confirmed."""
        is_open = answer.routing == "after_contact"
        self._answered.pop(key, None)
        self._answered[key] = _Answered(answer, 0.0 if is_open else self._clock.now() + CONFIRMED_S)
        while len(self._answered) > LOG_OFFS_MAX:
            self._answered.popitem(last=False)
        known = self._pending.pop(ticket.handle, None)
        if not is_open:
            return None
        until_ms = max(ticket.expires_at_ms, answer.routed_until_ms or 0)
        is_kept = known is not None and known.is_kept and known.until_ms >= until_ms
        return self._add(_Pending(ticket, until_ms, is_kept, is_taken))

    def _add(self, pending: _Pending) -> _Pending:
        self._pending[pending.ticket.handle] = pending
        while len(self._pending) > LOG_OFFS_MAX:
            self._pending.popitem(last=False)
        return pending

    # ---- retries ----

    async def run(self) -> None:
        """Retry what was not confirmed, until cancelled. A site that does not answer holds up no other."""
        async with asyncio.TaskGroup() as tasks:
            for site in self._sites:
                tasks.create_task(self._every(RETRY_S, partial(self._retry_all, site)))
            if self._others.shared.outlives_node:
                tasks.create_task(self._every(LOOK_S, self._look))
            tasks.create_task(self._every(CONFIRMED_S, self._forget))

    async def _every(self, seconds: float, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do *work* again and again; what goes wrong in it is logged and counted, and it goes on."""
        while True:
            await self._clock.sleep(seconds)
            try:
                await work()
            except Exception as fault:  # noqa: BLE001 - one round's fault must not end the node
                self._faulted(fault)

    async def _retry_all(self, site: str) -> None:
        waiting = [each for each in self._pending.values() if each.ticket.user.site == site]
        shared = iter(waiting)
        async with asyncio.TaskGroup() as tasks:
            for _ in waiting[:RETRIES_AT_ONCE]:
                tasks.create_task(self._retry_each(shared))

    async def _retry_each(self, waiting: Iterator[_Pending]) -> None:
        for pending in waiting:
            if self._is_waiting(pending) and _key(pending.ticket) not in self._under_way:
                try:
                    await self._retry(pending)
                except Exception as fault:  # noqa: BLE001 - one log-off's fault must not hold up the others
                    self._faulted(fault)

    async def _retry(self, pending: _Pending) -> None:
        """Try once more, also when its time is over: the session's life may be longer than was known."""
        ticket = pending.ticket
        try:
            answer = await self._authority(ticket.user.site).log_off(ticket.secret)
        except GatewayError:
            answer = None
        is_open = answer is None or answer.routing == "after_contact"
        if not self._is_waiting(pending):
            return
        pending.is_taken = answer is not None
        if is_open and self._clock.wall_ms() < pending.until_ms:
            await self._keep(pending)
            return
        del self._pending[ticket.handle]
        if answer is not None and not is_open:
            self._note(_key(ticket), ticket, answer, is_taken=True)
        if pending.is_kept:
            await self._drop(ticket)

    def _is_waiting(self, pending: _Pending) -> bool:
        """Return whether it is still open: the phone may have repeated its log-off meanwhile."""
        return self._pending.get(pending.ticket.handle) is pending

    async def _forget(self) -> None:
        """Forget the answers of sessions whose log-off is confirmed, or that are over."""
        now, waiting = self._clock.now(), {_key(each.ticket) for each in self._pending.values()}
        for key, answered in list(self._answered.items()):
            if answered.until <= now and key not in waiting:
                del self._answered[key]

    def _faulted(self, fault: Exception) -> None:
        log_fault(_LOG, "log_off_retry_failed", fault)
        self._tally.faulted("log_off")

    # ---- other nodes ----

    async def _keep(self, pending: _Pending, holder: str | None = None) -> None:
        """Store it for other nodes; what the store does not accept is tried again at each retry."""
        shared = self._others.shared
        if not shared.outlives_node or (pending.is_kept and holder is None):
            return
        left_s = (pending.until_ms - self._clock.wall_ms()) / 1000
        bare = replace(pending.ticket, display_name="", device=_NOBODY, notices=())
        kept = KeptLogOff(self._others.holder if holder is None else holder, pending.until_ms, bare)
        try:
            pending.is_kept = await shared.keep_log_off(kept, max(left_s, _KEPT_LEAST_S))
        except GatewayError:
            return  # what stands there stands on
        if pending.is_kept and not self._is_waiting(pending) and not self.is_pending(pending.ticket):
            await self._drop(pending.ticket)  # it was confirmed meanwhile

    async def _drop(self, ticket: Ticket) -> None:
        try:
            await self._others.shared.drop_log_off(ticket.handle)
        except GatewayError:
            return  # it ends by itself, or is asked for once more, which changes nothing

    async def _look(self) -> None:
        """Look what is kept: for what nodes left behind, and whether what this one retries is there."""
        try:
            kept = await self._others.shared.log_offs()
        except GatewayError:
            return
        await self._take_over(kept)
        there = {each.ticket.handle for each in kept}
        for pending in tuple(self._pending.values()):
            if pending.ticket.handle not in there and self._is_waiting(pending):
                pending.is_kept = False  # a store that began again has forgotten it
                await self._keep(pending)

    async def _take_over(self, kept: Iterable[KeptLogOff]) -> None:
        """Retry what nodes left behind that have ended: each is one living node's."""
        living = set(self._others.living()) | {self._others.holder}
        for each in kept:
            is_left = each.holder not in living and each.ticket.user.site in self._sites
            if is_left and each.ticket.handle not in self._pending and self._is_ours(each.ticket, living):
                await self._keep(self._add(_Pending(each.ticket, each.until_ms)))

    def _is_ours(self, ticket: Ticket, living: Collection[str]) -> bool:
        """Return whether of all living nodes it is this one that retries the session's log-off."""

        def rank(holder: str) -> bytes:
            return hashlib.blake2s(f"{ticket.handle}:{holder}".encode(), digest_size=8).digest()

        return max(living, key=rank) == self._others.holder

    async def hand_on(self) -> int:
        """Leave what is not confirmed to the other nodes.

        Returns:
            How many log-offs no node retries now, though OSCC-E may never have received them.
        """
        async with asyncio.TaskGroup() as tasks:
            shared = iter(tuple(self._pending.values()))
            for _ in range(RETRIES_AT_ONCE):
                tasks.create_task(self._hand_on_each(shared))
        return sum(not each.is_kept and not each.is_taken for each in self._pending.values())

    async def _hand_on_each(self, waiting: Iterator[_Pending]) -> None:
        for pending in waiting:
            await self._keep(pending, holder="")

    # ---- inner ----

    def _unconfirmed(self, ticket: Ticket) -> LoggedOff:
        return LoggedOff("after_contact", self._routed_until_ms(ticket))

    def _routed_until_ms(self, ticket: Ticket) -> int:
        """Return until when calls may arrive though OSCC-E is not reached.

        An expired token does not show when its session ends: that may have been renewed since.
        """
        now_ms, idle_ms = self._clock.wall_ms(), ticket.idle_timeout_s * 1000
        if idle_ms == 0:
            return ticket.expires_at_ms
        if ticket.expires_at_ms <= now_ms:
            return now_ms + idle_ms
        return min(ticket.expires_at_ms, now_ms + idle_ms)

    def _authority(self, site: str) -> Authority:
        return authority_of(self._sites, site)


def authority_of(sites: Mapping[str, SiteAuthority], site: str) -> Authority:
    """Return the log-on service of a site.

    Raises:
        GatewayError: ``site_unknown``.
    """
    found = sites.get(site)
    if found is None:
        raise GatewayError(ErrorCode.SITE_UNKNOWN, "There is no such site.")
    return found.authority


def _key(ticket: Ticket) -> bytes:
    """Return what a session's answers are remembered by: a server that began again gives ids again."""
    return hashlib.blake2s(ticket.secret.encode(), digest_size=16, person=b"log-off").digest()


DENIED_BEYOND_MS: Final = 24 * 3_600_000
"""For so long after its life a token may still be shown, for a log-off; how it ended is known till then."""

_FORGOTTEN_S: Final = 60.0
"""For how long other nodes get the end of a session whose end no longer matters: after that
says it."""


class SessionRevocations:
    """The sessions that are known to have ended.

    Users and sessions are remembered by keyed hashes, so that no person can be found in what is kept for as
    long as a token may be shown. What ended a session is kept as it is: a phone that returns is shown it.

    Args:
        clock: The node's time.
        exchange: Sends to the other nodes.
        shared: Stores the ends for nodes that missed them.
        tally: Counts faults.
    """

    def __init__(
        self, clock: Clock, exchange: Exchange, shared: SharedStore, tally: Tally | None = None
    ) -> None:
        self._tally = tally or Tally()
        self._clock = clock
        self._exchange = exchange
        self._shared = shared
        self._denied: Final = Denylist()
        self._tasks: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._denied)

    async def run(self) -> None:
        """Store each end for nodes that miss it, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None

    def known(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended, when that is known here."""
        end = self._denied.get(self._shared.pseudonym(ticket.handle), self._clock.wall_ms())
        return None if end is None else refusal(ticket, end.reason, end.by)

    async def known_elsewhere(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended, when another node noted it."""
        try:
            reason = await self._shared.denied(ticket.handle)
        except GatewayError:
            return None
        return None if reason is None else refusal(ticket, reason, None)

    def tell(self, ticket: Ticket, reason: EndReason, by: str | None) -> None:
        """Record that a session ended, and let every node know."""
        self.note(ticket, reason, by)
        self._exchange.send(Control(), SessionOver(ticket, reason, by))
        left_s = (ticket.expires_at_ms + DENIED_BEYOND_MS - self._clock.wall_ms()) / 1000
        if left_s > 0:
            spawn(self._tasks, self._kept(partial(self._shared.deny, ticket.handle, reason, left_s)))

    def note(self, ticket: Ticket, reason: EndReason, by: str | None) -> None:
        """Record that a session ended."""
        self._denied.add(
            self._of(ticket.user),
            self._shared.pseudonym(ticket.handle),
            End(reason, by),
            since_ms=self._clock.wall_ms(),
            until_ms=ticket.expires_at_ms + DENIED_BEYOND_MS,
        )

    def logged_on(self, user: UserId, session: SessionId, began_ms: int) -> None:
        """Forget what was said of the user's sessions before they began to log on; a log-off holds for good.

        Of the new session nothing was said: a server that began again gives ids again.
        """
        new = self._shared.pseudonym(handle_of(user, session))
        for ended in self._denied.clear(self._of(user), began_ms, new=new):
            spawn(self._tasks, self._kept(partial(self._shared.shorten_denial, ended, _FORGOTTEN_S)))

    def of(self, user: UserId) -> tuple[tuple[str, End], ...]:
        """Return the user's ended sessions, by keyed hash, with how each ended."""
        return self._denied.of(self._of(user))

    def _of(self, user: UserId) -> str:
        return self._shared.pseudonym(f"{user.site}:{user.key}")

    async def _kept(self, write: Callable[[], Coroutine[object, object, None]]) -> None:
        try:
            await write()
        except GatewayError:
            return
        except Exception as fault:  # noqa: BLE001 - one note's fault must not end the node
            log_fault(_LOG, "end_not_noted", fault)
            self._tally.faulted("endings")
