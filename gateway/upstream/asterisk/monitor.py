"""Monitor: keeps a node's AMI connection open, reads the whole state, and follows events.

Whole readings and events keep the state; what changed is published to the links in small portions.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.runtime.event_loop import heed_cancellation
from gateway.runtime.ports import Clock
from gateway.upstream.asterisk.ami import (
    AmiAddress,
    AmiConnection,
    LostError,
    Message,
    connect,
    decimal,
    is_success,
    log_in,
)
from gateway.upstream.asterisk.link import Step, missed_reasons, refusal
from gateway.upstream.asterisk.people import AsteriskView, PeopleError, PeopleFile, Rules, read_people
from gateway.upstream.asterisk.publisher import Publisher
from gateway.upstream.asterisk.state import Queues

_LOG: Final = structlog.get_logger("gateway.asterisk")

EFFECT_S: Final = 2.0
"""How long the effect of an action is waited for after its answer; then the state is read."""
BACK_OFF_S: Final = (0.25, 15.0)
WRONG_SECRET_S: Final = 60.0
_LOG_IN_REFUSED: Final = frozenset({"wrong_secret", "login_in_use"})
TICK_S: Final = 0.1
AMI_LEAST: Final = 5
"""The major version of Asterisk 16: older ones lack fields, which are shown as unknown."""
_NEEDED: Final = frozenset({"QueueStatus", "ListCommands", "Ping"})


@dataclass(frozen=True, slots=True)
class Timing:
    """How often an Asterisk is asked. Seconds."""

    look_s: float = 30.0
    """Between whole readings: nothing else shows a reload of queues.conf."""
    figures_s: float = 5.0
    """Between readings of queues' figures; also what shows that Asterisk answers."""


class Monitor:
    """One Asterisk, as this node sees it.

    Args:
        site: Its id, for logs.
        address: Where it listens.
        people_file: Who may log on.
        clock: The only time.
        rules: What the configuration says.
        timing: How often it is asked.
        jitter: Returns numbers in [0, 1).
    """

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
        """Actions that the account may use."""
        self.last_failure = "starting"
        """Why it is not reached, as a token."""
        self.connections = 0
        """How often it was connected and read whole."""
        self.wants_reading = False
        """Whether everything is to be read soon."""
        self._site = site
        self._address = address
        self._people_file = people_file
        self._people_stamp: tuple[int, int] | None = None
        self._clock = clock
        self._timing = timing
        self._jitter = jitter
        self._connection: AmiConnection | None = None
        self._changed = asyncio.Event()
        self._tells_events = False
        """Whether this connection has brought an event of a queue."""
        self._left_out, self._left_out_until = 0, clock.now()
        """Over-long messages of this connection, and from when on another one causes a whole reading."""
        self._heard_at = clock.now()

    # ---- what others see ----

    @property
    def is_up(self) -> bool:
        """Whether Asterisk is connected and was read whole."""
        return self._connection is not None and not self.last_failure

    @property
    def heard_at(self) -> float:
        """When the last message of Asterisk came; while it is known to be away, now, as the link says so."""
        return self._clock.now() if self._connection is None else self._connection.heard_at

    @property
    def under_way(self) -> int:
        """How many actions wait for their answers."""
        return 0 if self._connection is None else self._connection.under_way

    def trust(self, tls: ssl.SSLContext) -> None:
        """Verify Asterisk by *tls* from the next connection on."""
        self._address = self._address._replace(tls=tls)

    async def reached(self, within_s: float) -> bool:
        """Wait until Asterisk is connected and read, or refuses the log-in; returns whether it is."""
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
        self, name: str, fields: Mapping[str, str] | None = None, row: Callable[[Message], None] | None = None
    ) -> Message:
        """Send an action and return its answer.

        Raises:
            GatewayError: ``upstream_unavailable`` while Asterisk is away, ``busy``, ``bad_request``.
            LostError: The connection went; the action may have been executed.
        """
        if self._connection is None:
            raise unavailable(self.last_failure)
        return await self._connection.action(name, fields, row=row)

    async def carry_out(self, steps: Sequence[Step], agents: Sequence[int]) -> None:
        """Carry out *steps*, and return when their effects are with the links.

        Raises:
            GatewayError: Asterisk refused a step, or is away; ``upstream_timeout``: the outcome is unknown.
        """
        try:
            for step in steps:
                answer = await self.action(step.action, step.fields)
                if not is_success(answer):
                    raise refusal(answer)
            await self.see(steps, agents)
        except LostError as error:
            raise GatewayError(
                ErrorCode.UPSTREAM_TIMEOUT, "The contact centre did not answer: it may have been done."
            ) from error

    async def see(self, steps: Sequence[Step], agents: Sequence[int]) -> None:
        """Return when the effects of *steps*, which Asterisk has accepted, are with the links.

        Raises:
            LostError: The connection went.
        """
        await self._effects(steps)
        missed = missed_reasons(self.queues, steps)
        for step in missed:
            await self.action(step.action, step.fields)
        await self._effects(missed)
        self.publisher.publish_agents(agents, self._clock.wall_ms())

    async def _effects(self, steps: Sequence[Step]) -> None:
        """Wait until the state shows that the steps have had their effect; AMI answers before its events."""
        if all(step.is_seen(self.queues) for step in steps):
            return
        try:
            async with self._clock.timeout(EFFECT_S):
                while not all(step.is_seen(self.queues) for step in steps):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            await self.read_queues()
            if not self._tells_events and all(step.is_seen(self.queues) for step in steps):
                # it was done, and no event said so: the account has no read=agent
                _LOG.warning("asterisk_sends_no_events", site=self._site)
                self._tells_events = True

    async def read_queues(self, *, with_members: bool = True, only: str | None = None) -> None:
        """Read the state: all of it, without members, or of one queue.

        Raises:
            GatewayError: ``upstream_unavailable``.
            LostError: The connection went.
        """
        fields: dict[str, str] = {} if only is None else {"Queue": only}
        if not with_members:
            fields["Member"] = "-"
        if self._connection is None:
            raise unavailable(self.last_failure)
        reading = self.queues.begin(with_members=with_members)
        try:
            await self._connection.action(
                "QueueStatus",
                fields,
                row=lambda row: reading.row(row, self._clock.wall_ms()),
                end=lambda: reading.end(only),
            )
        finally:
            self.queues.abandon(reading)

    # ---- life ----

    async def run(self, *beside: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Keep a connection for as long as this runs; *beside* runs while it is up."""
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
                await self._watch()  # in the body: there a child's failure leaves no request to cancel behind
        except* (LostError, GatewayError) as group:
            heed_cancellation()
            error = _first(group)
            raise LostError(error.reason if isinstance(error, LostError) else "protocol") from error
        finally:
            connection.drop()
            self._connection = None

    async def _begin(self, connection: AmiConnection) -> None:
        await log_in(connection, self._address)
        listed = await connection.action("ListCommands")
        self.commands = frozenset(listed) - {"Response", "ActionID"}
        if not self.commands >= _NEEDED:
            raise LostError("rights")
        settings = await connection.action("CoreSettings")
        self.version = settings.get("AsteriskVersion", "")
        self.ami_version = connection.version
        if not is_recent(self.ami_version):
            _LOG.warning("asterisk_too_old", site=self._site, ami=self.ami_version)
        await self._see_clock(connection)
        self.look_at_people()
        self._connection = connection
        self._tells_events, self.wants_reading, self._left_out = False, False, 0
        self.queues.forget_contacts()
        await self.read_queues()
        now_ms = self._clock.wall_ms()
        while self.publisher.has_more:
            self.publisher.publish(now_ms)
            await self._clock.sleep(0)
        self._note_up()

    def _note_up(self) -> None:
        self.last_failure = ""
        self.connections += 1
        _LOG.info(
            "asterisk_connected",
            site=self._site,
            version=self.version,
            queues=len(self.queues.queues),
            interfaces=len(self.queues.memberships),
        )
        offers = self.may("DBPut", "QueueAdd")
        self.publisher.set_up(is_up=True, offers_remote=offers, now_ms=self._clock.wall_ms())
        self._changed.set()

    def _note_away(self, reason: str) -> None:
        if self.last_failure != reason:
            _LOG.warning("asterisk_lost", site=self._site, cause=reason)
        self.last_failure = reason
        self._changed.set()
        offers = self.may("DBPut", "QueueAdd")
        self.publisher.set_up(is_up=False, offers_remote=offers, now_ms=self._clock.wall_ms())

    async def _see_clock(self, connection: AmiConnection) -> None:
        """Learn how far Asterisk's clock is from ours; its instants are whole seconds."""
        before_ms = self._clock.wall_ms()
        pong = await connection.action("Ping")
        stamp_s = decimal(pong, "Timestamp")
        if stamp_s is not None:
            middle_ms = (before_ms + self._clock.wall_ms()) / 2
            offset_ms = round(middle_ms - 1000 * stamp_s)
            # small differences are jitter: instants stay as they are
            if abs(offset_ms - self.view.offset_ms) > 500:
                self.view.offset_ms = offset_ms

    def look_at_people(self) -> None:
        """Read the file of people again when it has changed; a file that cannot be used changes nothing."""
        try:
            status = self._people_file.stat()
            stamp = status.st_mtime_ns, status.st_size
            if stamp == self._people_stamp:
                return
            people = read_people(self._people_file, self.rules.remote_context)
        except (OSError, PeopleError) as error:
            _LOG.error("people_file_unusable", site=self._site, error=type(error).__name__)
            return
        self._people_stamp = stamp
        self.use(people)

    def use(self, people: PeopleFile) -> None:
        """Know these people from now on."""
        before = self.view.people
        self.view.people = people
        self.queues.shape += 1
        self.publisher.touch({*before.by_number, *people.by_number, *self.view.interfaces}, ())
        self.publisher.touch((self.view.agent_of(one) for one in self.queues.memberships), ())

    async def _watch(self) -> None:
        """Read figures every few seconds, and everything now and then."""
        whole_at = self._clock.now() + self._timing.look_s
        figures_at = self._clock.now() + self._timing.figures_s
        connection = self._connection
        while connection is not None:
            await self._clock.sleep(TICK_S)
            now = self._clock.now()
            if self.wants_reading or self.queues.unknown or now >= whole_at:
                self.wants_reading = False
                self.queues.unknown.clear()
                self.look_at_people()
                await self._see_clock(connection)
                await self.read_queues()
                whole_at, figures_at = now + self._timing.look_s, now + self._timing.figures_s
            elif now >= figures_at:
                await self.read_queues(with_members=False)
                figures_at = now + self._timing.figures_s
            elif self.queues.refresh:
                await self.read_queues(with_members=False, only=self.queues.refresh.pop())

    async def _publish(self) -> None:
        """Publish what is left over, and what only time changes."""
        while True:
            now_ms = self._clock.wall_ms()
            self.queues.due(now_ms)
            self.publisher.due(now_ms)
            self.publisher.publish(now_ms)
            await self._clock.sleep(0 if self.publisher.has_more else TICK_S)

    # ---- what comes ----

    def _event(self, event: Message) -> None:
        self.queues.event(event, self._clock.wall_ms())
        self._tells_events = self._tells_events or "Queue" in event
        # at the end of its start Asterisk has more queues than it had when it accepted the connection
        if event.get("Event") in {"Reload", "FullyBooted"}:
            self.wants_reading = True

    def _chunk(self) -> None:
        """Publish what a piece of the stream has changed; what is more waits for its turn."""
        self._changed.set()
        connection = self._connection
        if connection is None or self.last_failure:
            return
        if connection.framer.left_out > self._left_out:
            _LOG.warning("asterisk_message_too_long", site=self._site, count=connection.framer.left_out)
            self._left_out = connection.framer.left_out
            # what is too long may be part of a reading's answer: to read at once every time would never end
            if self._clock.now() >= self._left_out_until:
                self._left_out_until, self.wants_reading = self._clock.now() + self._timing.look_s, True
        self.publisher.publish(self._clock.wall_ms())


def is_recent(ami_version: str) -> bool:
    """Return whether an AMI version has all the fields that are needed."""
    major = ami_version.partition(".")[0]
    return major.isascii() and major.isdecimal() and int(major[:9]) >= AMI_LEAST


def unavailable(reason: str) -> GatewayError:
    """Return what is answered while Asterisk is away. *reason*: why, as a token."""
    message = "The contact centre is not reached."
    error = GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, message, retry_after_s=2.0)
    error.__cause__ = LostError(reason)
    return error


def _first(group: BaseExceptionGroup[LostError | GatewayError]) -> BaseException:
    """Return the cause of a connection's end: what reading found, where that is among others."""
    found = [error for error in group.exceptions if isinstance(error, LostError)]
    return found[0] if found else group.exceptions[0]
