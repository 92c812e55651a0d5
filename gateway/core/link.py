"""Links of users: when to dial, queries, health, clocks, how long a user is kept, and how many open at once.

Readings of a query may arrive before its response: some servers send events before they answer the request
for them. With other servers these rules do no harm. Pure. *now* is monotonic seconds everywhere; jitter is a
number in [0, 1).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Final, Literal, NamedTuple

from gateway.domain.commands import Listen
from gateway.domain.model import (
    EMPTY_SET,
    KIND_OF_TOPIC,
    KINDS,
    LONG_AGO,
    Application,
    Kind,
    Scope,
    StateMachine,
    UntrackedStruct,
    parse_key,
)
from gateway.domain.resources import STEADY_MS
from gateway.domain.upstream import FunctionName, Reading, Source


@dataclass(frozen=True, slots=True)
class Linger:
    """How long a session is kept after its phone left.

    It is longer for a Remote Assistant, because the phone that rings is usually the phone with the app.
    """

    dashboard_s: float = 90.0
    remote_assistant_s: float = 15 * 60.0

    @property
    def longer_s(self) -> float:
        """How much longer it is at most while the node is late: phones that came back may not be read yet."""
        return 2 * self.dashboard_s

    def of(self, application: Application) -> float:
        """Return the time for *application*, s."""
        return self.remote_assistant_s if application is Application.REMOTE_ASSISTANT else self.dashboard_s


DIRECTORY: Final = Listen(None, Source.DIRECTORY, None)
ALWAYS_LISTENED: Final = frozenset({DIRECTORY, Listen(None, Source.CONFIGURATION, None)})
FUNCTION_OF: Final[dict[Source, FunctionName]] = {
    Source.REALTIME: "realtime",
    Source.CUMULATIVE: "historical",
    Source.CONFIGURATION: "administration",
    Source.DIRECTORY: "administration",
}
"""Source → the function of the server without which its queries are refused."""
_SOURCES: Final = {
    Kind.AGENT: (Source.REALTIME, Source.CUMULATIVE),
    Kind.QUEUE: (Source.REALTIME, Source.CUMULATIVE),
    Kind.GROUP: (Source.REALTIME,),
    Kind.AGGREGATE: (Source.REALTIME,),
}


def sending_order(listen: Listen) -> tuple[str, str]:
    """Return the place of *listen* among the queries that are sent at once: one of each kind and source."""
    return listen.kind or "~", listen.source  # a query without a kind comes last


class Following(NamedTuple):
    """Scope, rights and topics of one session on the link."""

    application: Application
    scope: Scope
    own_agent: int | None
    topics: tuple[str, ...]


@lru_cache(maxsize=256)
def wanted_by(following: Following) -> frozenset[Listen]:
    """Return the queries for one session, made once for those that follow the same."""
    return wanted([following])


def wanted(followings: Iterable[Following]) -> frozenset[Listen]:
    """Return the queries for all of *followings* together.

    A Remote Assistant's own agent is always included, since its remote number is shown in `me`.
    """
    whole: set[Kind] = set()
    single: dict[Kind, set[int]] = {kind: set() for kind in KINDS}
    for following in followings:
        for topic in following.topics:
            kind = KIND_OF_TOPIC.get(topic)
            if kind is not None:
                whole.add(kind)
            elif (parsed := parse_key(topic)) is not None and parsed[1] in following.scope.of(parsed[0]):
                single[parsed[0]].add(parsed[1])
        if following.application is Application.REMOTE_ASSISTANT and following.own_agent is not None:
            single[Kind.AGENT].add(following.own_agent)
    listens = _listens_to(frozenset(whole))
    more = [
        Listen(kind, source, frozenset(numbers))
        for kind, numbers in single.items()
        if numbers and kind not in whole
        for source in _SOURCES[kind]
    ]
    return listens.union(more) if more else listens


@lru_cache(maxsize=16)
def _listens_to(whole: frozenset[Kind]) -> frozenset[Listen]:
    """Return the queries for all resources of some kinds: one object for all users."""
    return ALWAYS_LISTENED | {Listen(kind, source, None) for kind in whole for source in _SOURCES[kind]}


class Query(UntrackedStruct):
    """One query of a link."""

    listen: Listen
    complete: bool = False
    """Whether its first complete reading has arrived, or is no longer waited for."""
    refused: bool = False
    """Whether its data is not available, for good or for now."""
    whole_at_ms: int | None = None
    """When its whole set was last read: anything missing in it did not exist then."""

    def covers(self, kind: Kind, number: int) -> bool:
        """Return whether it covers a resource."""
        numbers = self.listen.numbers
        return self.listen.kind in (None, kind) and (numbers is None or number in numbers)

    @property
    def has_arrived(self) -> bool:
        """Whether its first complete reading has arrived."""
        return self.complete and not self.refused

    @property
    def covers_all(self) -> bool:
        """Whether it covers every resource of its kind."""
        return self.has_arrived and self.listen.numbers is None

    def has_delivered(self, listen: Listen) -> bool:
        """Return whether all data that *listen* covers has arrived."""
        mine = self.listen
        if not self.complete or (mine.kind, mine.source) != (listen.kind, listen.source):
            return False
        return mine.numbers is None or (listen.numbers is not None and listen.numbers <= mine.numbers)


class LinkState(enum.StrEnum):
    """State of a user's link."""

    IDLE = "idle"
    DIALLING = "dialling"
    SYNCING = "syncing"
    LIVE = "live"
    WAITING = "waiting"
    STOPPED = "stopped"


TRANSITIONS: Final[dict[tuple[LinkState, str], LinkState]] = {
    (LinkState.IDLE, "dial"): LinkState.DIALLING,
    (LinkState.WAITING, "dial"): LinkState.DIALLING,
    (LinkState.DIALLING, "opened"): LinkState.SYNCING,
    (LinkState.DIALLING, "failed"): LinkState.WAITING,
    (LinkState.DIALLING, "refused"): LinkState.IDLE,
    (LinkState.SYNCING, "synced"): LinkState.LIVE,
    (LinkState.SYNCING, "silent"): LinkState.SYNCING,
    (LinkState.SYNCING, "failed"): LinkState.WAITING,
    (LinkState.SYNCING, "kicked"): LinkState.WAITING,
    (LinkState.LIVE, "silent"): LinkState.SYNCING,
    (LinkState.LIVE, "failed"): LinkState.WAITING,
    (LinkState.LIVE, "kicked"): LinkState.WAITING,
    **{(state, "stop"): LinkState.STOPPED for state in LinkState if state is not LinkState.STOPPED},
}

BACK_OFF_MAX_S: Final = 30.0
BACK_OFF_FIRST_S: Final = 0.5
REQUESTED_MAX_S: Final = 60.0
"""The longest wait before a dial that a server may request."""
STABLE_S: Final = 30.0
KICKED_BACK_OFF_S: Final = 5.0
_KICKS_MAX: Final = 6
"""Replacements after which the wait no longer grows: 320 s."""
_KICKS_FORGOTTEN: Final = 3
"""Replacements are forgotten after this multiple of the last wait. Two rivals that replace each other in turn
do so every two waits, so theirs are not forgotten: their waits grow until the links come to rest.
"""
_REFUSALS_AT_ONCE: Final = 5
"""Refused dials in a row that the next dial follows at once: a user's sessions may be tried in turn."""
_STALE_AFTER: Final = 1.5
_DROP_AFTER: Final = 3.0

LinkNeed = Literal["nothing", "keep_alive", "listen_again", "drop"]


class LinkMachine(StateMachine[LinkState]):
    """One user's link, over many connections.

    Invariants: one dial at a time. Unless it was stopped, there is always a time of the next dial. After a
    failure it waits: full jitter over a bound that doubles, and that only a life of 30 s resets. It is live
    only while every request since the last long silence was answered. An illegal transition changes nothing.
    """

    __slots__ = (
        "_asked_at", "_due_at", "_failures", "_keep_alive_s", "_kicked_at", "_kicks", "_last_received_at",
        "_listens_again", "_live_since", "_pause_s", "_refusals",
    )  # fmt: skip
    TABLE = TRANSITIONS

    def __init__(self) -> None:
        self.state = LinkState.IDLE
        self._failures = 0
        self._refusals = 0
        self._pause_s = 0.0
        self._kicks = 0
        self._kicked_at = LONG_AGO
        self._due_at = LONG_AGO
        self._live_since: float | None = None
        self._last_received_at: float | None = None
        self._asked_at = LONG_AGO
        self._keep_alive_s = 20.0
        self._listens_again = False

    # ---- dialling ----

    def dial_at(self, now: float) -> float | None:
        """Return when to dial: *now* or later; None for never."""
        if self.state not in (LinkState.IDLE, LinkState.WAITING):
            return None
        if self._pause_s > 0.0:
            self._due_at, self._pause_s = now + self._pause_s, 0.0
        return max(now, self._due_at)

    def dialling(self) -> bool:
        """Record a dial. False: it is not allowed now."""
        return self._move("dial")

    def opened(self, now: float) -> None:
        """Record that the link is open and its first requests are sent."""
        if self._move("opened"):
            self._last_received_at = self._asked_at = now
            self._live_since = None
            self._listens_again = False
            self._refusals = 0

    def agreed(self, keep_alive_s: float) -> None:
        """Record after which silence the server expects a keep-alive."""
        self._keep_alive_s = keep_alive_s

    def refused(self) -> None:
        """Record that the dial was refused for a reason that another session may not meet.

        After a few in a row even such dials pause, so that no client can cause endless dials.
        """
        if self._move("refused"):
            self._refusals += 1
            excess = self._refusals - _REFUSALS_AT_ONCE
            self._pause_s = _bound_s(excess) if excess >= 0 else 0.0

    def synced(self, now: float) -> None:
        """Record that every request is answered. Answers to requests from before a silence do not count."""
        if self._listens_again:
            return
        if self._move("synced") and self._live_since is None:
            self._live_since = now

    def failed(self, now: float, jitter: float, requested_s: float | None = None) -> None:
        """Record that the dial failed or the link is gone. *requested_s*: the wait that the server wants."""
        stable = self._live_since is not None and now - self._live_since >= STABLE_S
        if not self._move("failed"):
            return
        if stable:
            self._failures = 0
        self._due_at = now + max(jitter * _bound_s(self._failures), min(requested_s or 0.0, REQUESTED_MAX_S))
        self._failures += 1
        self._refusals = 0
        self._live_since = self._last_received_at = None

    def kicked(self, now: float, jitter: float) -> None:
        """Record that another holder's link replaced this one; the wait grows each time.

        Jitter adds up to a quarter, so that two rivals do not dial in step.
        """
        if not self._move("kicked"):
            return
        if now - self._kicked_at > _KICKS_FORGOTTEN * _kick_wait_s(self._kicks - 1):
            self._kicks = 0
        self._due_at = now + _kick_wait_s(self._kicks) * (1 + jitter / 4)
        self._kicked_at = now
        self._kicks += 1
        self._live_since = self._last_received_at = None

    def stop(self) -> None:
        """Record that the link is no longer needed."""
        if self._move("stop"):
            self._live_since = self._last_received_at = None

    # ---- while it is open ----

    def received(self, now: float) -> None:
        """Record that a message arrived. After a long silence :meth:`need` requests whole sets."""
        if self._last_received_at is None:
            return
        if now - self._last_received_at > self._keep_alive_s and self._move("silent"):
            self._listens_again = True
        self._last_received_at = now

    def received_live(self, now: float) -> bool:
        """Record that a message arrived, as :meth:`received`, if it is live and no silence was long."""
        last_received_at = self._last_received_at
        if (
            last_received_at is None
            or self.state is not LinkState.LIVE
            or now - last_received_at > self._keep_alive_s
        ):
            return False
        self._last_received_at = max(last_received_at, now)
        return True

    def changes_missed(self) -> None:
        """Record that changes may have been missed: it is not live until whole sets were requested again."""
        if self._move("silent"):
            self._listens_again = True

    def need(self, now: float) -> LinkNeed:
        """Return the action that the open link needs now; the caller must do it."""
        if self._last_received_at is None:
            return "nothing"
        if now - self._last_received_at >= _DROP_AFTER * self._keep_alive_s:
            return "drop"
        if self._listens_again:
            self._listens_again = False
            return "listen_again"
        # our own silence counts too: the server drops a link on which nothing is sent to it
        if now - self._asked_at >= self._keep_alive_s / 2:
            self._asked_at = now
            return "keep_alive"
        return "nothing"

    @property
    def due_at(self) -> float:
        """When :meth:`need` or :meth:`health` changes by time alone; in the past while it is not live."""
        if self._last_received_at is None or self.state is not LinkState.LIVE or self._listens_again:
            return LONG_AGO
        stale_at = self._last_received_at + _STALE_AFTER * self._keep_alive_s
        return min(self._asked_at + self._keep_alive_s / 2, stale_at)

    def health(self, now: float) -> Literal["live", "stale", "down"]:
        """Return the freshness of the data: stale after 1.5 keep-alives of silence, down without a link."""
        if self._last_received_at is None:
            return "down"
        if (
            self.state is not LinkState.LIVE
            or now - self._last_received_at >= _STALE_AFTER * self._keep_alive_s
        ):
            return "stale"
        return "live"


def _bound_s(failures: int) -> float:
    """Return the longest wait after *failures* earlier ones in a row."""
    return min(BACK_OFF_MAX_S, BACK_OFF_FIRST_S * 2.0 ** min(failures, 16))


def _kick_wait_s(kicks: int) -> float:
    return KICKED_BACK_OFF_S * 2.0 ** min(max(kicks, 0), _KICKS_MAX)


MOST: Final = 32
"""Number of readings that are kept, the newest: a link has about eight queries."""
PARTS_MOST: Final = 65_536
"""Number of their parts, beside those of the newest reading."""


class PendingReadings:
    """The newest readings of unknown queries, kept until an answer names their query.

    A query may be running whose answer could not be read, or never came: its readings alone show its number.
    """

    __slots__ = ("_is_expecting", "_kept", "_unnamed")

    def __init__(self) -> None:
        self._is_expecting = False
        self._kept: tuple[Reading, ...] = ()
        self._unnamed: frozenset[int] | None = None
        """Numbers of queries that no answer names; None: every answer named its query."""

    @property
    def is_watching(self) -> bool:
        """Whether readings of unknown queries are to be kept."""
        return self._is_expecting or self._unnamed is not None

    def expect(self, is_expecting: bool) -> None:
        """Record whether a query was requested whose answer has not come yet."""
        self._is_expecting = is_expecting
        if not is_expecting:
            kept, self._kept = self._kept, ()
            for reading in kept:
                self._note_unnamed(reading)

    def missed(self) -> None:
        """Record that no answer names a query that the server may have begun."""
        self._unnamed = self._unnamed or EMPTY_SET

    def take_unnamed(self) -> tuple[int, ...]:
        """Return and remove the numbers of queries that no answer names."""
        unnamed = self._unnamed
        if not unnamed:
            return ()
        self._unnamed = EMPTY_SET
        return tuple(unnamed)

    def keep(self, reading: Reading) -> None:
        """Store the reading of an unknown query."""
        if not self._is_expecting:
            self._note_unnamed(reading)
            return
        self._kept = (*self._kept, reading)[-MOST:]
        while len(self._kept) > 1 and sum([len(each.parts) for each in self._kept[:-1]]) > PARTS_MOST:
            self._kept = self._kept[1:]

    def take(self, query: int, listen: Listen) -> list[Reading]:
        """Return the readings of *query*, which is now known to cover *listen*."""
        if self._unnamed:
            self._unnamed -= {query}
        about = (query, listen.kind, listen.source)
        found = [each for each in self._kept if (each.query, each.kind, each.source) == about]
        self._kept = tuple([each for each in self._kept if each.query != query])
        return found

    def _note_unnamed(self, reading: Reading) -> None:
        if self._unnamed is not None and len(self._unnamed) < MOST:
            self._unnamed |= {reading.query}


# ---- how long data may have waited, and how its times compare ----

BEAT_S: Final = 0.5
"""Interval in which a node records that it runs."""
LATE_S: Final = 0.4
"""How late a beat may be. With :data:`BEAT_S` it is less than a second, the precision of ages."""
BACKLOG_MOST_S: Final = 5.0
"""How long links bring data that had to wait, after a stop of 20 s or more. After a shorter stop it is a
quarter of the stop.
"""

LAG_S: Final = 0.25
"""Mean delay of the last beats from which on a process is late: to open a link takes some twenty turns of its
loop, which are half a second long then.
"""
_LAG_WEIGHT: Final = 0.3
"""Weight of the last beat in the mean."""
_RETURN_S: Final = 90.0
"""How long the process counts as late for phones: those that were sent away come back within a minute."""


class Pauses:
    """Stops of this process, detected by its steady beat.

    A process that was stopped (SIGSTOP, a frozen virtual machine) finds older data in its sockets, without a
    time. So data that is read before the beat is in time again may be as old as the last beat before the
    stop. After a long stop links bring for some time what had to wait, also at the server.

    It also detects a process that does not get its core, whose beats are late: it reads answers late, so
    another program must not be judged by its waits alone.
    """

    __slots__ = (
        "_beat_at", "_lag_s", "_late_at", "_late_s", "_stopped_from", "_unread_s", "_waited_from",
        "_waited_s", "_waited_until", "prompt_from", "prompt_until",
    )  # fmt: skip

    def __init__(self) -> None:
        self._beat_at = math.inf
        self._late_s = 0.0
        """By how much all beats together were late."""
        self._lag_s = 0.0
        """The mean of it for the last beats."""
        self._late_at = LONG_AGO
        """The last beat at which the mean was :data:`LAG_S` or more."""
        self._stopped_from: float | None = None
        """The last beat before a pause that ended with this beat; None: this beat was in time."""
        self._waited_from = self._waited_until = LONG_AGO
        """The last beat before the last pause, and until when links bring data that had to wait."""
        self._unread_s = 0.0
        """How long messages of links may have waited here unread at the last beat, at most."""
        self._waited_s = 0.0
        """How long data may have waited, at most, that was read since :attr:`prompt_until` was over last."""
        self.prompt_from, self.prompt_until = LONG_AGO, math.inf
        """Data of links that is read between them has not waited, neither here nor at the server."""

    def record_beat(self, now: float, unread_s: float = 0.0) -> None:
        """Record that the process runs, and how long messages of links may have waited unread by now."""
        pause_s = now - self._beat_at
        late_s = max(0.0, pause_s - BEAT_S)
        self._late_s += late_s
        self._lag_s += _LAG_WEIGHT * (late_s - self._lag_s)
        if self._lag_s >= LAG_S:
            self._late_at = now
        self._stopped_from = self._beat_at if pause_s > BEAT_S + LATE_S else None
        if self._stopped_from is not None:
            if now > self._waited_until:
                self._waited_from = self._stopped_from
            self._waited_until = max(self._waited_until, now + min(pause_s / 4, BACKLOG_MOST_S))
        self._beat_at, self._unread_s = now, unread_s
        was_prompt, waited_s = self.prompt_until != LONG_AGO, max(unread_s, now - self.sent_at(now))
        if waited_s:
            self._waited_s = waited_s if was_prompt else max(self._waited_s, waited_s)
            self.prompt_until = LONG_AGO
        else:
            self.prompt_from = self.prompt_from if was_prompt else now
            self.prompt_until = now + BEAT_S + LATE_S

    def unread_s(self, at: float) -> float:
        """Return how long messages of links that were read *at* may have waited here unread, at most.

        A message that was read before the last beat has waited for its turn since.
        """
        return self._unread_s if at >= self._beat_at else self._waited_s

    def own_time(self, now: float) -> float:
        """Return *now* by a clock that stands still while this process is late."""
        return now - self._late_s - max(0.0, now - self._beat_at - BEAT_S)

    def was_late(self, now: float, within_s: float) -> bool:
        """Return whether this process is late, or was within the last *within_s*."""
        is_overdue = _LAG_WEIGHT * (now - self._beat_at - BEAT_S) >= LAG_S
        return is_overdue or now - self._late_at < within_s

    def linger_time(self, now: float, linger: Linger) -> float:
        """Return the instant by which lingers must have ended to be over *now*.

        Phones that come back to a late process wait in its sockets, or were sent away for up to a minute.
        """
        return now - linger.longer_s if self.was_late(now, _RETURN_S) else now

    def linger_over_at(self, until: float, now: float, linger: Linger) -> float:
        """Return when a linger that lasts *until*, or longer while this process is late, can be over first.

        It can be over later, if the process is late again; *now*: look again at the returned time.
        """
        if not self.was_late(now, _RETURN_S):
            return until
        return min(until + linger.longer_s, max(until, self._late_at + _RETURN_S))

    def came_at(self, now: float) -> float:
        """Return the earliest time at which data that is read *now* may have come."""
        if now - self._beat_at > BEAT_S + LATE_S:
            return self._beat_at
        return now if self._stopped_from is None else self._stopped_from

    def sent_at(self, now: float) -> float:
        """Return the earliest time at which a link's data that is read *now* may have been sent."""
        came_at = self.came_at(now)
        return min(came_at, self._waited_from) if now < self._waited_until else came_at


_DRIFT: Final = 1e-3
"""How much slower or faster than ours a clock may be without being set: more than NTP slews it (RFC 5905: 500
ppm).
"""
_LOWEST_MS: Final = float("-inf")
"""Below all differences of times, as one object for all links."""


class ServerClock:
    """The server's clock, from the times on one link.

    It detects when the clock is set. After a step back, later events may look older than earlier ones; after
    a step forward, earlier events look older than they are.

    Invariant: neither slow answers nor slightly slower or faster clocks look like a step. An answer is given
    after its request was sent, and no transit time is negative. All instants but the server's are monotonic
    seconds.
    """

    __slots__ = ("_at", "_first_ms", "_is_learning", "_least_ms", "_most_ms", "ahead_ms", "behind_ms")

    def __init__(self) -> None:
        self.ahead_ms = _LOWEST_MS
        """The difference (Time - receipt) of events beyond which :meth:`is_ahead` is to be called."""
        self.behind_ms = _LOWEST_MS
        """The difference (Time - receipt) of events below which :meth:`is_behind` is to be called."""
        self._is_learning = True
        """Whether no answer has come yet: until then events show by how much their clock is ahead."""
        self._first_ms = _LOWEST_MS
        """The greatest such difference until then."""
        self._least_ms: float | None = None
        """The smallest difference (receipt - Time)."""
        self._most_ms = _LOWEST_MS
        """The greatest difference (request - Time)."""
        self._at = 0.0
        """When the last time was received."""

    def opened(self, time_ms: int, asked_at: float, now: float) -> None:
        """Process the time in the first message, received at *now*; the link was requested at *asked_at*."""
        self.update(time_ms, now)
        self._most_ms = asked_at * 1000 - time_ms
        self.behind_ms = time_ms - now * 1000 - STEADY_MS

    def is_behind(self, time_ms: int, now: float) -> bool:
        """Return whether the time of an event, received at *now*, is earlier than it can be.

        Either it was long on its way, or the clock was set back: the next answer shows which. Each time it
        returns True, a further event must be earlier by :data:`STEADY_MS`.
        """
        behind_ms = time_ms - now * 1000
        is_behind = behind_ms < self.behind_ms
        if is_behind:
            self.behind_ms = behind_ms - STEADY_MS
        return is_behind

    def is_ahead(self, time_ms: int, now: float) -> bool:
        """Return whether the time of an event, received at *now*, is later than it can be.

        A clock for events that is always ahead of the other one is not wrong.
        """
        ahead_ms = time_ms - now * 1000
        if self._is_learning:
            self.ahead_ms = self._first_ms = max(self._first_ms, ahead_ms)
        return ahead_ms > self.ahead_ms

    def update(self, time_ms: int, now: float) -> None:
        """Process the server's time, received at *now*."""
        seen_ms = now * 1000 - time_ms
        self._least_ms = seen_ms if self._least_ms is None else min(self._least(now), seen_ms)
        self._at = now

    def answered(self, time_ms: int, asked_at: float, now: float) -> bool:
        """Process the server's time, requested at *asked_at* and received at *now*.

        Returns False, and nothing is processed, if it is earlier or later than it can be: the clock was set.
        """
        most_ms = self._most_ms - (now - self._at) * 1000 * _DRIFT
        if self._least_ms is not None and time_ms < asked_at * 1000 - self._least(now) - STEADY_MS:
            return False
        if time_ms > now * 1000 - most_ms + STEADY_MS:
            return False
        self.update(time_ms, now)
        self._most_ms = max(most_ms, asked_at * 1000 - time_ms)
        self.ahead_ms = max(self._first_ms, -self._most_ms) + STEADY_MS
        self.behind_ms = min(self.behind_ms, -self._least(now) - STEADY_MS)
        self._is_learning = False
        return True

    def _least(self, now: float) -> float:
        return (self._least_ms or 0.0) + (now - self._at) * 1000 * _DRIFT


# ---- links that are opening ----


OPENINGS_MAX: Final = 64
"""Links that a node opens at once: enough to keep a core busy while answers take 200 ms."""
OPENING_S: Final = 2.0
"""Time after which an opening no longer counts: it waits for the server, and uses little CPU time. It is the
node's own time (:meth:`Pauses.own_time`), since openings of a late node wait for the node.
"""
RESOURCE_S: Final = 60e-6
"""Pause after an opening for each resource of its user: twice the CPU time that it takes, so that half of the
time is left for users who are served. A user of 1,600 resources delays the next one by 0.1 s.
"""
AHEAD_S: Final = 0.1
"""How far openings may be ahead of these pauses."""
PAUSE_MAX_S: Final = 2.0
"""The longest sum of them before the next user: many links may open while their resources are unknown."""


class OpeningLinks:
    """The links of a node that are opening: dialled, and their first state not shown yet. Pure.

    Opening a link takes milliseconds of CPU time, and more for users of many resources. If openings began for
    all users at once, they would all end late, at about the same time. How many resources a link will have is
    estimated from the last ones.

    Invariant: at most :data:`OPENINGS_MAX` count at a time, except those that another node has handed over.

    Args:
        own_time: Returns an instant by the node's own clock: see :meth:`Pauses.own_time`.
    """

    def __init__(self, own_time: Callable[[float], float] = lambda now: now) -> None:
        self._own_time = own_time
        self._began: dict[int, tuple[float, float]] = {}
        """The start, in own time, and the estimated pause of each opening that counts; the oldest first."""
        self._numbers = count()
        self._pause_s = 0.0
        """The estimated pause after the next one."""
        self._paused_until = -math.inf
        self._shown_at = -math.inf

    def __len__(self) -> int:
        return len(self._began)

    def begin(self, now: float) -> int:
        """Count one more; :meth:`end` is called with the returned number."""
        number = next(self._numbers)
        before = max(now, self._paused_until)
        self._paused_until = self._bounded(before + self._pause_s, now, self._pause_s)
        self._began[number] = self._own_time(now), max(0.0, self._paused_until - before)
        return number

    def end(self, number: int, shown_at: float | None = None, resources: int = 0) -> bool:
        """End its count: its first *resources* were shown at *shown_at*, or the link is gone (None).

        Returns:
            Whether there may be room again; then the first link of each queue is to be woken.
        """
        began, pause_s = self._began.pop(number, None), resources * RESOURCE_S
        if began is not None:
            self._paused_until += pause_s - began[1]
        if shown_at is not None:
            self._shown_at = shown_at
            self._pause_s += (pause_s - self._pause_s) / 4
            self._paused_until = self._bounded(self._paused_until, shown_at, pause_s)
        return began is not None

    @staticmethod
    def _bounded(until: float, now: float, pause_s: float) -> float:
        """Return the end of the pauses, bounded so that the next user need not wait for too long."""
        return min(until, now + max(PAUSE_MAX_S, pause_s))

    def wait_s(self, now: float) -> float:
        """Return the seconds until there is room, if none ends before; 0: there is room."""
        pause_s = max(0.0, self._paused_until - AHEAD_S - now)
        while self._began:
            oldest = next(iter(self._began))
            left_s = self._began[oldest][0] + OPENING_S - self._own_time(now)
            if left_s > 0:
                return max(pause_s, left_s) if len(self._began) >= OPENINGS_MAX else pause_s
            del self._began[oldest]
        return pause_s

    def advanced(self, since: float) -> bool:
        """Return whether a link has shown its first state after *since*."""
        return self._shown_at > since
