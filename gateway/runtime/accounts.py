"""Accounts: log-on, log-off and session requests, within the limits of each site. Ended sessions."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import re
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from gateway.core.log_ons import (
    PATIENCE_S,
    WRONG_KEPT_S,
    Judged,
    LogOnGuard,
    LogOnPlace,
    LogOnQueue,
    name_hash,
)
from gateway.core.rate_limits import AdmissionQueue, KeyedRates, Quota, drop_over
from gateway.core.registry import Denylist, End, refusal
from gateway.domain.errors import EndReason, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import SessionId, Ticket, UserId, handle_of
from gateway.domain.upstream import LoggedOff, LoggedOn, LogOn, SessionInfo
from gateway.protocol.envelopes import Control, SessionOver
from gateway.runtime.cluster import Exchange
from gateway.runtime.event_loop import log_fault, spawn
from gateway.runtime.ports import Authority, Clock, SharedStore, SiteParts, too_many_numbers, wait_at_most
from gateway.runtime.sessions import LogOffs, OtherNodes, Users, authority_of
from gateway.telemetry import RuntimeCounters

LOCKED_S: Final = 60.0
"""Time after which to retry when all nodes together lock a name: the shared store returns no times."""
DEVICE_LIFE_S: Final = 14 * 86_400.0
"""How long a device stays known for a user after it had a session of that user."""
RANDOM_ID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)
"""A random UUID (RFC 9562, version 4). Any other device id proves nothing: it could be guessed."""
NUMBERS: Final = 4
"""Different numbers with which one name may log on within an hour, on all nodes together."""
NUMBERS_S: Final = 3600.0
_NAME_PER_S: Final = 1.0
_NAME_BURST: Final = 20
"""Log-ons of one name, right or wrong. Nobody logs on by hand more often than that."""
_NAMES_MAX: Final = 10_000
_TURN_S: Final = 0.02
_FIRST_S: Final = 0.1
_BEHIND_S: Final = 0.5
"""Longest sleep of the first waiting log-on, and of the others, before they check their turn again."""
RESERVED_S: Final = 20.0
"""How long the reservation of a process that has ended lasts: longer than a log-on takes, which waits three
times 3 s, and 10 s for OSCC-E. Other log-ons of the name may wait as long for it.
"""
_RESERVED_WAIT_S: Final = 3.0
_RESERVED_AGAIN_S: Final = 0.1
"""How long a log-on waits at most for earlier ones of its name, and how often it looks."""
_SOON_S: Final = 1.0
_WRONG: Final = frozenset({ErrorCode.INVALID_CREDENTIALS, ErrorCode.ACCOUNT_LOCKED})
_UNJUDGED: Final = frozenset(
    {
        ErrorCode.UPSTREAM_UNAVAILABLE,
        ErrorCode.FUNCTION_UNAVAILABLE,
        ErrorCode.BUSY,
        ErrorCode.UPSTREAM_TIMEOUT,
    }
)


class _Failed(NamedTuple):
    """Wrong passwords that all nodes together have counted."""

    wrong: int = 0
    lasting: int = 0
    """Within a day."""
    own: int = 0
    """From the same address."""


_NOTHING_FAILED: Final = _Failed()


@dataclass(frozen=True, slots=True, repr=False)
class _Try:
    """One log-on: the keys under which it is counted, and the counts of all nodes together."""

    site: str
    name: str
    address: str
    origin: str
    """The key of the guard: the address, or the device if it had a session of the name."""
    device: str
    is_trusted: bool = False
    failed: _Failed = _NOTHING_FAILED
    reservation: str = ""
    """One of its name, on all nodes together; empty: none could be made."""

    def hash(self, *more: str) -> bytes:
        """Return what stands for the name; *more* separates its counters."""
        return name_hash(self.site, self.name, *more)

    def key(self, *more: str) -> str:
        """Return the name of a counter that all nodes share."""
        return self.hash(*more).hex()

    @property
    def failures(self) -> tuple[str, str, str]:
        """The names of the counters of :class:`_Failed`."""
        return self.key(), self.key("day"), self.key("origin", self.address)


class LogOns:
    """Log-ons of the users of all sites.

    Invariants: a wrong password is counted whether or not the name exists. The name is locked one try below
    OSCC-E's own lock-out, also when many passwords are tried at once, on this node or on several nodes that
    reach their bus. A site never gets more log-ons than its budget allows.
    """

    def __init__(
        self,
        queues: Mapping[str, AdmissionQueue],
        clock: Clock,
        others: OtherNodes,
        number_changes: Quota[UserId],
    ) -> None:
        self._clock = clock
        self._shared, self._holder, self._living = others
        self._reservations = itertools.count()
        self._reserved = 0
        self._guard = LogOnGuard()
        self._queues = {site: LogOnQueue(admission_queue) for site, admission_queue in queues.items()}
        self._names: KeyedRates[bytes] = KeyedRates(_NAME_PER_S, _NAME_BURST, keys_max=_NAMES_MAX)
        self._number_changes: Final = number_changes
        self._numbers: OrderedDict[bytes, tuple[UserId, bytes, float]] = OrderedDict()
        """The number, as a hash, of the last log-on of each name, its user, and when that was."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Number of entries held in memory, by kind."""
        queues = self._queues.values()
        return {
            "log_ons_waiting": sum(map(len, queues)),
            "log_on_addresses": sum(queue.addresses for queue in queues),
            "log_on_appointments": sum(queue.appointments for queue in queues),
            "log_on_reservations": self._reserved,
            "log_on_names": len(self._guard) + len(self._names) + len(self._numbers),
        }

    def prune(self, now: float) -> None:
        """Remove addresses, names and users that no limit concerns now."""
        self._guard.prune(now)
        self._names.prune(now)
        self._number_changes.prune(now)
        for queue in self._queues.values():
            queue.prune(now)
        drop_over(self._numbers, lambda number: now >= number[2] + NUMBERS_S)

    async def log_on(
        self, authority: Authority, site: str, credentials: LogOn, address: str
    ) -> tuple[LoggedOn, int]:
        """Open a session at OSCC-E; return it with the instant of the request, ms since 1970.

        *address* is the client's, as the unit that limits apply to.

        Raises:
            GatewayError: ``account_locked`` after wrong passwords, ``rate_limited``, or the refusal of
                OSCC-E. An account that OSCC-E has locked is reported as ``invalid_credentials``, since the
                lock reveals that the account exists.
        """
        tried, number = await self._asked(site, credentials, address), credentials.remote_number
        async with self._reserved_try(tried) as asked, self._number_turn(asked, number):
            async with self._changing_number(asked, number):
                logged_on, began_ms = await self._log_on(authority, asked, credentials)
            await self._note_number(asked, number, logged_on.user.id)
        return logged_on, began_ms

    async def _log_on(self, authority: Authority, asked: _Try, credentials: LogOn) -> tuple[LoggedOn, int]:
        place = await self._admitted(asked)
        result: Judged = "refused"
        try:
            # no await between check and record: a log-on at the same moment must see the count
            self._check(asked)
            began_ms = self._clock.wall_ms()
            logged_on = await self._ask(authority, asked, credentials)
            result = "right"
        except GatewayError as error:
            result = _judged(error)
            raise
        finally:
            self._queues[asked.site].judged(place, result, self._clock.now())
        return logged_on, began_ms

    # ---- guessing ----

    async def _asked(self, site: str, credentials: LogOn, address: str) -> _Try:
        """Read the counts of all nodes together; best effort."""
        device = credentials.device.id
        asked = _Try(site, credentials.user_name, address, f"address {address}", device)
        by_device = [asked.key("device", device)] if RANDOM_ID.fullmatch(device) else []
        wrong, lasting, own, *sessions = await self._counted(*asked.failures, *by_device)
        asked = replace(asked, failed=_Failed(wrong, lasting, own))
        return replace(asked, origin=f"device {device}", is_trusted=True) if any(sessions) else asked

    @asynccontextmanager
    async def _reserved_try(self, asked: _Try) -> AsyncIterator[_Try]:
        """Reserve one of the name's tries on all nodes together, for as long as the block lasts.

        Without a bus, and for a device that may always try, each node counts for itself.

        Raises:
            GatewayError: ``account_locked``, or ``rate_limited`` while others of the name are under way.
        """
        if asked.is_trusted or self._is_locked(asked) or not self._shared.outlives_node:
            self._check(asked)
            yield asked
            return
        origin = self._shared.pseudonym(asked.key("origin", asked.address))
        reservation = f"{origin} {self._holder} {next(self._reservations)}"
        self._reserved += 1
        try:
            reserved = await self._reserve(asked, reservation)
            self._check(reserved)
            yield reserved
        finally:
            self._reserved -= 1
            await _best_effort(self._shared.end_reservation(asked.key(), reservation))

    async def _reserve(self, asked: _Try, reservation: str) -> _Try:
        """Return when the tries reserved before leave room for this one, or the name is locked.

        Raises:
            GatewayError: ``rate_limited``: they took too long.
        """

        async def is_turn(made: tuple[str, ...]) -> bool:
            nonlocal asked
            # read after reserving: a wrong password is counted before its reservation is released
            asked = replace(asked, failed=_Failed(*await self._counted(*asked.failures)))
            return self._is_locked(asked) or self._has_room(asked, reservation, made)

        is_reserved = await self._wait_reserved(asked.key(), reservation, is_turn)
        return replace(asked, reservation=reservation if is_reserved else "")

    async def _wait_reserved(
        self, name: str, entry: str, is_turn: Callable[[tuple[str, ...]], Awaitable[bool]]
    ) -> bool:
        """Reserve *entry* of *name*; return True when *is_turn* of all reservations, the oldest first.

        False: there is no bus, and this node counts for itself.

        Raises:
            GatewayError: ``rate_limited``: the others took too long.
        """
        is_answered = False
        try:
            async with self._clock.timeout(_RESERVED_WAIT_S):
                while True:
                    made = await self._shared.reserve(name, entry, RESERVED_S)
                    is_answered = True
                    if await is_turn(made):
                        return True
                    await self._clock.sleep(_RESERVED_AGAIN_S)
        except TimeoutError as error:
            if is_answered:
                raise _rate_limited(_SOON_S) from error
        except GatewayError:
            pass
        return False

    def _has_room(self, asked: _Try, reservation: str, made: tuple[str, ...]) -> bool:
        """Return whether this try is allowed even if all tries that were reserved before it fail."""
        if reservation not in made:
            return False
        origins = Counter(each.split()[0] for each in made[: made.index(reservation)])
        before = sum(min(tries, self._guard.tries_of_origin) for tries in origins.values())
        of_origin = asked.failed.own + origins[reservation.split(maxsplit=1)[0]]
        return asked.failed.wrong + before < self._most(asked) and of_origin < self._guard.tries_of_origin

    def _most(self, asked: _Try) -> int:
        """Return how many wrong passwords the name may have in a window."""
        return 1 if asked.failed.lasting >= self._guard.tries_of_origin else self._guard.tries

    def _is_locked(self, asked: _Try) -> bool:
        """Return whether all nodes together have counted too many wrong passwords."""
        failed = asked.failed
        is_full = failed.wrong >= self._most(asked) or failed.own >= self._guard.tries_of_origin
        return is_full and not asked.is_trusted

    def _check(self, asked: _Try) -> None:
        """Refuse a name that is locked, or of which too many tries are under way.

        Raises:
            GatewayError: ``account_locked`` or ``rate_limited``.
        """
        guard, now = self._guard, self._clock.now()
        known, is_trusted = (asked.hash(), now, asked.origin), asked.is_trusted
        locked_s = guard.locked_s(*known, is_trusted=is_trusted) or LOCKED_S * self._is_locked(asked)
        if locked_s > 0:
            message = "Too many wrong passwords: the account is locked for a while."
            raise GatewayError(ErrorCode.ACCOUNT_LOCKED, message, retry_after_s=locked_s)
        if guard.is_busy(*known, is_trusted=is_trusted):
            raise _rate_limited(_SOON_S)

    async def _ask(self, authority: Authority, asked: _Try, credentials: LogOn) -> LoggedOn:
        guard, name, origin = self._guard, asked.hash(), asked.origin
        guard.trying(name, origin)
        try:
            logged_on = await authority.log_on(credentials)
        except GatewayError as error:
            if error.code not in _WRONG:
                guard.unanswered(name, origin)
                raise
            guard.failed(name, self._clock.now(), origin)
            await self._count(asked)
            if error.code is ErrorCode.ACCOUNT_LOCKED:
                raise GatewayError(ErrorCode.INVALID_CREDENTIALS, "The account is locked.") from error
            raise
        except BaseException:
            guard.unanswered(name, origin)
            raise
        is_alone = guard.succeeded(name, origin) and await self._is_alone(asked)
        await self._note_success(asked, is_alone=is_alone)
        return logged_on

    async def _count(self, asked: _Try) -> None:
        """Count a wrong password here and in the store that all nodes share."""
        guard = self._guard
        with suppress(GatewayError):
            wrong = await self._shared.count(asked.key(), guard.window_s)
            if not asked.is_trusted:
                await self._shared.count(asked.key("origin", asked.address), guard.window_s)
            if wrong > 1:  # one wrong password in a window is what a slowed name may have anyway
                await self._shared.count(asked.key("day"), WRONG_KEPT_S)

    async def _is_alone(self, asked: _Try) -> bool:
        """Return whether it is known that no other node sent OSCC-E a password of the name meanwhile.

        It is unknown without a reservation.
        """
        if not asked.reservation:
            return True
        try:
            made = await self._shared.reserve(asked.key(), asked.reservation, RESERVED_S)
        except GatewayError:
            return False
        failed = _Failed(*await self._counted(*asked.failures))
        return made == (asked.reservation,) and failed == asked.failed

    async def _note_success(self, asked: _Try, *, is_alone: bool) -> None:
        """Delete the wrong passwords on all nodes, and store the device."""
        notes: list[Awaitable[object]] = []
        if is_alone:
            notes += [self._shared.forget(key) for key in asked.failures]
        if not asked.is_trusted and RANDOM_ID.fullmatch(asked.device):
            notes.append(self._shared.count(asked.key("device", asked.device), DEVICE_LIFE_S))
        async with asyncio.TaskGroup() as tasks:
            for each in notes:
                tasks.create_task(_best_effort(each))

    async def _counted(self, *names: str) -> list[int]:
        """Return the counters of all nodes together; 0 for one that is missing."""
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(self._counted_or_none(name)) for name in names]
        return [each.result() for each in asked]

    async def _counted_or_none(self, name: str) -> int:
        try:
            return await self._shared.counted(name)
        except GatewayError:
            return 0

    # ---- turns ----

    async def _admitted(self, asked: _Try) -> LogOnPlace:
        """Return when it is this log-on's turn; bounded in time.

        Raises:
            GatewayError: ``rate_limited``, with the time at which to try again.
        """
        now, news = self._clock.now(), asyncio.Event()
        if (wait_s := self._names.take(asked.hash(), now)) > 0:
            raise _rate_limited(wait_s)
        queue = self._queues[asked.site]
        client = asked.hash("client", asked.address, asked.device)
        place = queue.join(client, asked.address, now, news.set, is_trusted=asked.is_trusted)
        if place.refused_s is None and not queue.enter(place, now):
            await self._turn(queue, place, news)
        if place.refused_s is not None:
            raise _rate_limited(place.refused_s)
        return place

    async def _turn(self, queue: LogOnQueue, place: LogOnPlace, news: asyncio.Event) -> None:
        """Return when the place was entered or refused."""
        clock = self._clock
        try:
            async with clock.timeout(PATIENCE_S):
                while place.refused_s is None and not queue.enter(place, clock.now()):
                    wait_s = queue.wait_s(place, clock.now())
                    most_s = _BEHIND_S if math.isinf(wait_s) else _FIRST_S
                    news.clear()
                    await wait_at_most(clock, min(max(wait_s, _TURN_S), most_s), news.wait())
        except TimeoutError:
            queue.give_up(place, clock.now())
        except BaseException:
            queue.withdraw(place, clock.now())
            raise

    # ---- remote numbers ----

    @asynccontextmanager
    async def _number_turn(self, asked: _Try, number: str | None) -> AsyncIterator[None]:
        """Wait until no other log-on of the name with a remote number is under way, on any node.

        Raises:
            GatewayError: ``rate_limited``: the others took too long.
        """
        if number is None:
            yield
            return
        key, turn = asked.key("numbers", "turn"), f"{self._holder} {next(self._reservations)}"
        try:
            await self._wait_reserved(key, turn, partial(self._is_first, key, turn))
            yield
        finally:
            await _best_effort(self._shared.end_reservation(key, turn))

    async def _is_first(self, key: str, turn: str, made: tuple[str, ...]) -> bool:
        """Return whether no other live node has a turn before; end the turns of processes that are none."""
        living = self._living()
        gone = [each for each in made if each.rpartition(" ")[0] not in living]
        for each in gone:
            await self._shared.end_reservation(key, each)
        return [each for each in made if each not in gone][:1] == [turn]

    @asynccontextmanager
    async def _changing_number(self, asked: _Try, number: str | None) -> AsyncIterator[None]:
        """Count a change of the remote number, if it differs from the last; a failed log-on is not counted.

        Raises:
            GatewayError: ``rate_limited``.
        """
        if number is None:
            yield
            return
        seen, others = await self._counted(asked.key("number", number), asked.key("numbers"))
        if not seen and others >= NUMBERS:
            raise too_many_numbers(NUMBERS_S)
        user, last, _ = self._numbers.get(asked.hash(), (None, b"", 0.0))
        if user is None or last == asked.hash("number", number):
            yield
            return
        at = self._clock.now()
        wait_s = self._number_changes.take(user, at)
        if wait_s > 0:
            raise too_many_numbers(wait_s)
        try:
            yield
        except BaseException:
            self._number_changes.give_back(user, at)
            raise

    async def _note_number(self, asked: _Try, number: str | None, user: UserId) -> None:
        """Store the number with which the name logged on; both as hashes."""
        if number is None:
            return
        name = asked.hash()
        self._numbers[name] = user, asked.hash("number", number), self._clock.now()
        self._numbers.move_to_end(name)
        if len(self._numbers) > _NAMES_MAX:
            self._numbers.popitem(last=False)
        with suppress(GatewayError):
            if await self._shared.count(asked.key("number", number), NUMBERS_S) == 1:
                await self._shared.count(asked.key("numbers"), NUMBERS_S)


def _judged(error: GatewayError) -> Judged:
    if error.code in _WRONG:
        return "wrong"
    return "unjudged" if error.code in _UNJUDGED else "refused"


async def _best_effort(asked: Awaitable[object]) -> None:
    with suppress(GatewayError):
        await asked


def _rate_limited(wait_s: float) -> GatewayError:
    return GatewayError(ErrorCode.RATE_LIMITED, "Too many log-ons just now.", retry_after_s=wait_s)


class Accounts:
    """Sessions of all sites: begun, listed and ended.

    Each call is bounded in time and may raise :class:`GatewayError`, except :meth:`log_off`.

    Invariant: at most one log-off, one listing and one end of another session run at a time for one session.
    :class:`gateway.runtime.accounts.LogOns` guards the log-ons; :class:`gateway.runtime.sessions.LogOffs`
    retries the log-offs.
    """

    def __init__(
        self,
        sites: Mapping[str, SiteParts],
        queues: Mapping[str, AdmissionQueue],
        clock: Clock,
        users: Users,
        others: OtherNodes,
        log_offs: LogOffs,
        number_changes: Quota[UserId],
    ) -> None:
        self._sites = sites
        self._users = users
        self.log_ons: Final = LogOns(queues, clock, others, number_changes)
        self.log_offs: Final = log_offs
        self._listing: dict[str, asyncio.Future[tuple[SessionInfo, ...]]] = {}
        self._ending: set[str] = set()

    def prune(self, now: float) -> None:
        """Remove what no longer limits anybody."""
        self.log_ons.prune(now)
        self.log_offs.rates.prune(now)

    async def log_on(self, site: str, credentials: LogOn, address: str = "") -> LoggedOn:
        """Open a session at OSCC-E. *address* is the unit that limits apply to.

        Raises:
            GatewayError: ``site_unknown``, ``account_locked``, ``rate_limited``, or the refusal of OSCC-E.
        """
        authority = authority_of(self._sites, site)
        logged_on, began_ms = await self.log_ons.log_on(authority, site, credentials, address)
        self._users.logged_on(logged_on, began_ms)
        return logged_on

    async def log_off(self, ticket: Ticket, by: str = "self") -> LoggedOff:
        """End the session; see :meth:`LogOffs.log_off`."""
        return await self.log_offs.log_off(ticket, by)

    async def sessions(self, ticket: Ticket) -> tuple[SessionInfo, ...]:
        """List the user's sessions; all callers of one session share a request that is under way.

        Raises:
            GatewayError: ``upstream_unavailable`` or ``session_ended``.
        """
        under_way = self._listing.get(ticket.handle)
        if under_way is not None:
            try:
                return await asyncio.shield(under_way)
            finally:
                del under_way  # the traceback of its exception holds this frame
        waiting = self._listing[ticket.handle] = asyncio.get_running_loop().create_future()
        waiting.add_done_callback(asyncio.Future.exception)  # there may be no other waiter
        try:
            listed = await authority_of(self._sites, ticket.user.site).sessions(ticket.secret)
        except BaseException as error:
            message = "The request to the contact centre was interrupted. Try again."
            is_known = isinstance(error, GatewayError)
            waiting.set_exception(
                error if is_known else GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, message)
            )
            raise
        else:
            waiting.set_result(listed)
            return listed
        finally:
            del self._listing[ticket.handle], waiting  # the traceback of its exception holds this frame

    async def end(self, ticket: Ticket, session: SessionId, by: str | None = None) -> LoggedOff:
        """End a session of the user; the session of the ticket itself is ended by :meth:`log_off`.

        For another session ``after_contact`` means that it has ended, and that OSCC-E removes the routing
        after the contact. *by* is sent to the phone as the cause; by default it is the device of *ticket*.

        Raises:
            GatewayError: ``not_found``, ``upstream_unavailable`` or ``session_ended``; ``rate_limited`` while
                this session has another such request under way.
        """
        if session == ticket.session:
            return await self.log_off(ticket)
        if by is None and ticket.handle in self._ending:
            message = "A request of this session to end another one is under way."
            raise GatewayError(ErrorCode.RATE_LIMITED, message, retry_after_s=1.0)
        self._ending.add(ticket.handle)
        try:
            answer = await authority_of(self._sites, ticket.user.site).end(ticket.secret, session)
        finally:
            self._ending.discard(ticket.handle)
        self._users.logged_off(replace(ticket, session=session), by or ticket.device.name)
        return answer


_LOG: Final = logging.getLogger(__name__)

DENIED_BEYOND_MS: Final = 24 * 3_600_000
"""How long after the session's life its token may still be used, for a log-off; its end is known until
then.
"""

_FORGET_EVERY_S: Final = 60.0
_FORGOTTEN_S: Final = 60.0
"""How long other nodes can read the end of a session after it no longer matters: later OSCC-E itself reports
it.
"""
_AT_ONCE_S: Final = 0.001
"""The shortest time for which the store keeps a value."""


class SessionRevocations:
    """The sessions that have ended, as far as this node has records.

    Users and sessions are stored as keyed hashes, so that no person can be found in the records, which live
    as long as a token may be used. The cause of an end is stored as it is, because a phone that returns is
    sent it.

    *shared* stores the ends for nodes that missed them.
    """

    def __init__(
        self, clock: Clock, exchange: Exchange, shared: SharedStore, counters: RuntimeCounters
    ) -> None:
        self._counters = counters
        self._clock = clock
        self._exchange = exchange
        self._shared = shared
        self._denied: Final = Denylist()
        self._tasks: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._denied)

    async def run(self) -> None:
        """Store each end for nodes that missed it, and remove those that are over, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                while True:
                    await self._clock.sleep(_FORGET_EVERY_S)
                    self._denied.prune(self._clock.wall_ms())
            finally:
                self._tasks = None

    def known(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended, if this node has a record."""
        end = self._denied.get(self._shared.pseudonym(ticket.handle), self._clock.wall_ms())
        return None if end is None else refusal(ticket, end.reason, end.by)

    async def known_elsewhere(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended, if another node has stored it."""
        try:
            reason = await self._shared.denied(ticket.handle)
        except GatewayError:
            return None
        return None if reason is None else refusal(ticket, reason, None)

    def record_and_send(self, ticket: Ticket, reason: EndReason, by: str | None) -> None:
        """Record that a session ended, and send it to every node."""
        self.note(ticket, reason, by)
        self._exchange.send(Control(), SessionOver(ticket, reason, by))
        left_s = (ticket.expires_at_ms + DENIED_BEYOND_MS - self._clock.wall_ms()) / 1000
        if left_s > 0:
            spawn(self._tasks, self._write(partial(self._shared.deny, ticket.handle, reason, left_s)))

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
        """Delete records of the user's sessions from before *began_ms*; a log-off remains valid.

        They do not concern the new session: a server may give the id of an ended one again. Then the record
        in the store ends at once. Other nodes may still refuse the new session by their own records.
        """
        new = self._shared.pseudonym(handle_of(user, session))
        for ended in self._denied.clear(self._of(user), began_ms, new=new):
            left_s = _AT_ONCE_S if ended == new else _FORGOTTEN_S
            spawn(self._tasks, self._write(partial(self._shared.shorten_denial, ended, left_s)))

    def of(self, user: UserId) -> tuple[tuple[str, End], ...]:
        """Return the user's ended sessions by keyed hash, with the reason of each."""
        return self._denied.of(self._of(user))

    def _of(self, user: UserId) -> str:
        return self._shared.pseudonym(f"{user.site}:{user.key}")

    async def _write(self, write: Callable[[], Coroutine[object, object, None]]) -> None:
        try:
            await write()
        except GatewayError:
            return
        except Exception as fault:  # noqa: BLE001 - one note's fault must not end the node
            log_fault(_LOG, "end_not_noted", fault)
            self._counters.faulted("endings")
