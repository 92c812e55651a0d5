"""Monitor: keeps a node's AMI connection open, reads the whole state, and follows events.

Whole readings and events update the state. Its changes are published to the links in small portions.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.domain.errors import GatewayError
from gateway.runtime.event_loop import raise_if_cancelled
from gateway.runtime.ports import Clock
from gateway.upstream.asterisk.ami import (
    AmiAddress,
    AmiConnection,
    AmiMessage,
    LostError,
    OnRow,
    connect,
    decimal,
    is_recent,
    is_served,
    log_in,
    unavailable,
)
from gateway.upstream.asterisk.link import Step, missed_reasons
from gateway.upstream.asterisk.people import AsteriskView, PeopleError, PeopleFile, Rules, read_people
from gateway.upstream.asterisk.publisher import Publisher
from gateway.upstream.asterisk.state import EventsCheck, Queues

_LOG: Final = logging.getLogger("gateway.asterisk")

EFFECT_S: Final = 2.0
"""How long to wait for the effect of an action after its answer; then the state is read."""
BACK_OFF_S: Final = (0.25, 4.0)
"""The shortest and the longest pause between attempts to connect: a node has only one connection."""
WRONG_SECRET_S: Final = 60.0
_LOG_IN_REFUSED: Final = frozenset({"wrong_secret", "login_in_use"})
TICK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals of readings, in seconds."""

    look_s: float = 30.0
    """Interval of whole readings: nothing else shows a reload of queues.conf."""
    figures_s: float = 5.0
    """Interval of readings of queues' figures, which also show that Asterisk answers."""


class Monitor:
    """One Asterisk, as this node sees it."""

    def __init__(
        self,
        site: str,
        address: AmiAddress,
        people_file: Path,
        clock: Clock,
        *,
        rules: Rules,
        timing: Timing,
        jitter: Callable[[], float],
    ) -> None:
        self.queues: Final = Queues()
        self.view: Final = AsteriskView(self.queues, rules)
        self.publisher: Final = Publisher(self.queues, self.view)
        self.rules: Final = rules
        self.version = ""
        self.ami_version = ""
        self.commands: frozenset[str] = frozenset()
        """Actions that the AMI account may use."""
        self.last_failure = "starting"
        """Why Asterisk is not reached, as a token."""
        self.connections = 0
        """Number of connections that were opened and read whole."""
        self.wants_reading = False
        """Whether everything is to be read again soon."""
        self._site = site
        self._address = address
        self._people_file = people_file
        self._people_stamp: tuple[int, int] | None = None
        self._clock = clock
        self._base_ms = clock.wall_ms() - clock.now() * 1000
        self._timing = timing
        self._jitter = jitter
        self._connection: AmiConnection | None = None
        self._lost_at = clock.now()  # when the last message of the last connection was received
        self._changed = asyncio.Event()
        self._events = EventsCheck()
        """Whether this connection has received an event of a queue."""
        self._left_out, self._left_out_until = 0, clock.now()
        """Over-long messages of this connection, and the time after which the next one causes a reading."""

    # ---- what others see ----

    @property
    def is_up(self) -> bool:
        """Whether Asterisk is connected and was read completely."""
        return self._connection is not None and not self.last_failure

    @property
    def last_received_at(self) -> float:
        """When Asterisk's last message was received; the present time while Asterisk is known to be away."""
        return self._clock.now() if self._connection is None else self._connection.last_received_at

    @property
    def under_way(self) -> int:
        """Number of actions without an answer."""
        return 0 if self._connection is None else self._connection.under_way

    def time_ms(self) -> int:
        """Return the time by which everything that links carry is dated, ms since 1970 UTC.

        It does not jump when the machine's clock is set: an event that seems older than the one before it
        would be ignored. The difference to the machine's clock is found like that to any server's.
        """
        return round(self._base_ms + self._clock.now() * 1000)

    def trust(self, tls: ssl.SSLContext) -> None:
        """Verify Asterisk with *tls* from the next connection on."""
        self._address = self._address._replace(tls=tls)

    async def reached(self, within_s: float) -> bool:
        """Wait until Asterisk is connected and read, or refuses the log-in; return whether it is."""
        try:
            async with self._clock.timeout(within_s):
                while self.last_failure:
                    if self.last_failure in _LOG_IN_REFUSED:
                        return False
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def may(self, *names: str) -> bool:
        """Return whether the account may use all of these actions."""
        return self.commands.issuperset(names)

    async def action(
        self, name: str, fields: Mapping[str, str] | None = None, row: OnRow | None = None
    ) -> AmiMessage:
        """Send an action and return its answer.

        Raises:
            GatewayError: ``upstream_unavailable`` while Asterisk is away, ``busy``, ``bad_request``.
            LostError: The connection ended; the action may have been executed.
        """
        if self._connection is None:
            raise unavailable(self.last_failure)
        return await self._connection.action(name, fields, row=row)

    async def await_effects(self, steps: Sequence[Step], agents: Sequence[int]) -> None:
        """Return when the links have the effects of *steps*, which Asterisk has accepted.

        Raises:
            LostError: The connection ended.
        """
        await self._effects(steps)
        missed = missed_reasons(self.queues, steps)
        for step in missed:
            await self.action(step.action, step.fields)
        await self._effects(missed)
        self.publisher.publish_agents(agents, self.time_ms())

    async def _effects(self, steps: Sequence[Step]) -> None:
        """Wait until the state shows the effects of the steps; AMI answers before its events."""
        if all(step.is_seen(self.queues) for step in steps):
            return
        try:
            async with self._clock.timeout(EFFECT_S):
                while not all(step.is_seen(self.queues) for step in steps):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            await self.read_queues()
            if not self._events.come and all(step.is_seen(self.queues) for step in steps):
                _LOG.warning("asterisk_sends_no_events", extra={"site": self._site})
                self._events.come = True

    async def read_queues(self, *, with_members: bool = True, only: str | None = None) -> None:
        """Read the state: all of it, without members, or of one queue.

        Raises:
            GatewayError: ``upstream_unavailable``.
            LostError: The connection ended, or Asterisk refuses to be read: app_queue was unloaded.
        """
        fields: dict[str, str] = {} if only is None else {"Queue": only}
        if not with_members:
            fields["Member"] = "-"
        if self._connection is None:
            raise unavailable(self.last_failure)
        reading = self.queues.begin(with_members=with_members)
        try:
            answer = await self._connection.action(
                "QueueStatus",
                fields,
                row=lambda row: reading.row(row, self.time_ms()),
                end=lambda: reading.end(only),
            )
        finally:
            self.queues.abandon(reading)
        if only is None and answer.get("Response") == "Error":
            raise LostError("rights")
        if only is None and self._events.read(self.queues):
            _LOG.warning("asterisk_sends_no_events", extra={"site": self._site})

    # ---- life ----

    async def run(self, *beside: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Keep a connection open until cancelled; *beside* runs while it is up."""
        failures = 0
        while True:
            began = self._clock.now()
            try:
                await self._live(beside)
            except LostError as error:
                self._note_away(error.reason)
            if self._clock.now() - began > BACK_OFF_S[1]:
                failures = 0
            await self._clock.sleep(self._pause_s(failures))
            failures += 1

    def _pause_s(self, failures: int) -> float:
        if self.last_failure == "wrong_secret":
            return WRONG_SECRET_S
        first, most = BACK_OFF_S
        most = min(most, first * float(2 ** min(failures, 16)))
        return first + self._jitter() * (most - first)

    async def _live(self, beside: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
        connection = await connect(self._address, self._clock, self._event, self._chunk)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(connection.read())
                await self._begin(connection)
                tasks.create_task(self._publish())
                for one in beside:
                    tasks.create_task(one())
                await self._watch()  # in the body: there a failed child leaves no cancellation request behind
        except* (LostError, GatewayError) as group:
            raise_if_cancelled()
            error = _first(group)
            raise LostError(error.reason if isinstance(error, LostError) else "protocol") from error
        finally:
            connection.drop()
            self._connection, self._lost_at = None, connection.last_received_at

    async def _begin(self, connection: AmiConnection) -> None:
        await log_in(connection, self._address)
        listed = await connection.action("ListCommands")
        self.commands = frozenset(listed) - {"Response", "ActionID"}
        if not self.may("QueueStatus", "ListCommands", "Ping"):
            raise LostError("rights")
        settings = await connection.action("CoreSettings")
        self.version = settings.get("AsteriskVersion", "")
        self.ami_version = connection.version
        if not is_recent(self.ami_version):
            _LOG.warning("asterisk_too_old", extra={"site": self._site, "ami": self.ami_version})
        await self._measure_clock(connection)
        await self.reload_people()
        self._connection = connection
        self._events, self.wants_reading, self._left_out = EventsCheck(), False, 0
        self.queues.forget_contacts()
        await self.read_queues()
        now_ms = self.time_ms()
        while self.publisher.has_more:
            self.publisher.publish(now_ms)
            await self._clock.sleep(0)
        self._note_up()

    def _note_up(self) -> None:
        self.last_failure = ""
        self.connections += 1
        _LOG.info(
            "asterisk_connected",
            extra={
                "site": self._site,
                "version": self.version,
                "queues": len(self.queues.queues),
                "interfaces": len(self.queues.memberships),
            },
        )
        self._log_up(is_up=True)

    def _note_away(self, reason: str) -> None:
        if self.last_failure != reason:
            _LOG.warning("asterisk_lost", extra={"site": self._site, "cause": reason})
        self.last_failure = reason
        self._log_up(is_up=False)

    def _log_up(self, *, is_up: bool) -> None:
        offers = self.may("DBPut", "QueueAdd")
        known_at, now_ms = self._clock.now() if is_up else self._lost_at, self.time_ms()
        self.publisher.set_up(is_up=is_up, offers_remote=offers, now_ms=now_ms, known_at=known_at)
        self._changed.set()

    async def _measure_clock(self, connection: AmiConnection) -> None:
        """Measure the difference of Asterisk's clock; its instants are whole seconds."""
        before_ms = self.time_ms()
        pong = await connection.action("Ping")
        stamp_s = decimal(pong, "Timestamp")
        if stamp_s is not None:
            half_ms = (self.time_ms() - before_ms) / 2
            offset_ms = round(before_ms + half_ms - 1000 * stamp_s)
            # smaller differences are jitter, or the delay of the answer: the instants stay
            if abs(offset_ms - self.view.offset_ms) > 500 + half_ms:
                self.view.move_clock(offset_ms)

    async def reload_people(self) -> None:
        """Read the people file again when it has changed; an invalid file changes nothing.

        It is read in a thread: 20,000 people take a second.
        """
        try:
            status = self._people_file.stat()
            stamp = status.st_mtime_ns, status.st_size
            if stamp == self._people_stamp:
                return
            people = await asyncio.to_thread(read_people, self._people_file, self.rules.remote_context)
        except (OSError, PeopleError) as error:
            _LOG.error("people_file_unusable", extra={"site": self._site, "error": type(error).__name__})
            return
        self._people_stamp = stamp
        self.use(people)

    def use(self, people: PeopleFile) -> None:
        """Replace the people."""
        before = self.view.people
        self.view.people = people
        self.queues.shape += 1
        self.publisher.touch({*before.by_number, *people.by_number, *self.view.interfaces}, ())
        self.publisher.touch((self.view.agent_of(one) for one in self.queues.memberships), ())

    async def _watch(self) -> None:
        """Read figures at short intervals, and the whole state at long ones."""
        whole_at = self._clock.now() + self._timing.look_s
        figures_at = self._clock.now() + self._timing.figures_s
        connection = self._connection
        while connection is not None:
            await self._clock.sleep(TICK_S)
            now = self._clock.now()
            if self.wants_reading or self.queues.unknown or now >= whole_at:
                is_regular, whole_at = now >= whole_at, now
                if await is_served(self._read_all(connection, is_regular=is_regular)):
                    whole_at, figures_at = now + self._timing.look_s, now + self._timing.figures_s
            elif now >= figures_at:
                if await is_served(self.read_queues(with_members=False)):
                    figures_at = now + self._timing.figures_s
            elif self.queues.refresh:
                name = self.queues.refresh.pop()
                if not await is_served(self.read_queues(with_members=False, only=name)):
                    self.queues.refresh.add(name)

    async def _read_all(self, connection: AmiConnection, *, is_regular: bool) -> None:
        """Read everything."""
        self.wants_reading = False
        self.queues.unknown.clear()
        if is_regular:
            self.queues.unlisted.clear()
        await self.reload_people()
        await self._measure_clock(connection)
        await self.read_queues()

    async def _publish(self) -> None:
        """Publish remaining changes, and changes by time alone."""
        while True:
            now_ms = self.time_ms()
            self.queues.due(now_ms)
            self.publisher.mark_due(now_ms)
            self.publisher.publish(now_ms)
            await self._clock.sleep(0 if self.publisher.has_more else TICK_S)

    # ---- what comes ----

    def _event(self, event: AmiMessage) -> None:
        self.queues.event(event, self.time_ms())
        self._events.come = self._events.come or "Queue" in event
        # at the end of its start Asterisk has more queues than when it accepted the connection
        if event.get("Event") in {"Reload", "FullyBooted"}:
            self.wants_reading = True

    def _chunk(self) -> None:
        """Publish the changes of a piece of the stream; further ones wait for their turn."""
        self._changed.set()
        connection = self._connection
        if connection is None or self.last_failure:
            return
        if connection.framer.left_out > self._left_out:
            _LOG.warning(
                "asterisk_message_too_long", extra={"site": self._site, "count": connection.framer.left_out}
            )
            self._left_out = connection.framer.left_out
            # the long message may be part of a reading's answer: reading again at once would never end
            if self._clock.now() >= self._left_out_until:
                self._left_out_until, self.wants_reading = self._clock.now() + self._timing.look_s, True
        self.publisher.publish(self.time_ms())


def _first(group: BaseExceptionGroup[LostError | GatewayError]) -> BaseException:
    """Return the cause of a connection's end: that of reading, if it is among others."""
    found = [error for error in group.exceptions if isinstance(error, LostError)]
    return found[0] if found else group.exceptions[0]
