"""Log-ons, sessions and presence at a site that is an Asterisk: stored in AstDB, ended by time.

A Remote Assistant's telephone rings only until the ``oscc-until`` of its login. The node that has the user's
link moves it ahead. When all nodes have failed, the telephone stops ringing.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from gateway.domain.errors import EndReason, ErrorCode, GatewayError, MappedErrors
from gateway.domain.model import Application, Right, SessionId, SessionSecret, User, UserId
from gateway.domain.upstream import LoggedOff, LoggedOn, LogOn, SessionInfo
from gateway.runtime.ports import Clock
from gateway.upstream.asterisk.ami import AmiMessage, LostError, is_served, is_success, refusal, unavailable
from gateway.upstream.asterisk.link import (
    NUMBERS,
    OF_PERSON,
    SESSIONS,
    UNTIL,
    AsteriskSession,
    AsteriskSessions,
    Step,
    join,
    key_of_secret,
    parse,
)
from gateway.upstream.asterisk.monitor import Monitor
from gateway.upstream.asterisk.people import NOBODY, AgentFacts, Person, agent_number, fits, remote_interface

_LOG: Final = logging.getLogger("gateway.asterisk")

INSTANCE: Final = "asterisk"
"""The server's instance. It never changes: sessions are in AstDB and outlive a restart of Asterisk."""
AHEAD_S: Final = 90
"""How far ahead ``oscc-until`` is set."""
MOVED_ON_S: Final = 30.0
SESSIONS_READ_S: Final = 2.0
"""Pause between the log-on of a Remote Assistant and a reading of the sessions, which log-ons share."""
TEND_S: Final = 1.0
"""Interval in which absent devices are checked, and ``oscc-until`` is moved ahead."""
AT_ONCE: Final = 4
"""Passwords that are checked at a time, each with 32 MiB and 75 ms of a thread."""
_DATABASE: Final = ("DBPut", "DBDel", "DBGetTree")
_INVALID: Final = 4
"""The device state of an interface whose context or extension is missing in the dialplan."""
_NUMBER: Final = re.compile(r"\+[1-9][0-9]{1,14}")

_OnEnded = Callable[[AsteriskSession, EndReason, str | None], None]


_ANSWERED: Final = MappedErrors(LostError, lambda lost: unavailable(lost.reason), is_cause=True)
"""Maps a lost connection to the error of the port: ``upstream_unavailable``."""


@dataclass(slots=True)
class DevicePresence:
    """Whether a device of a Remote Assistant is connected, as a link reported to this node."""

    is_there: bool
    since: float
    moved_at: float


class AsteriskAccounts:
    """The people and sessions of one site.

    Args:
        idle_timeout_s: Time without a device after which a Remote Assistant is logged off.
        ended: Called for each session that has ended, with the reason and the cause.
    """

    def __init__(
        self,
        site: str,
        monitor: Monitor,
        clock: Clock,
        draw: Callable[[int], bytes],
        *,
        idle_timeout_s: int,
        session_s: int,
        ended: _OnEnded,
    ) -> None:
        self.sessions: Final = AsteriskSessions()
        self._site = site
        self._monitor = monitor
        self._clock = clock
        self._draw = draw
        self._idle_s = idle_timeout_s
        self._session_s = session_s
        self._ended = ended
        self._checking = asyncio.Semaphore(AT_ONCE)
        self._changing = asyncio.Lock()
        self._numbers: dict[str, str] = {}
        self._until_s: dict[str, int] = {}
        self._read_at = clock.now()
        self._look_at = math.inf
        """When the sessions are read after a log-on: another node may have let in the same person."""
        self._left_over: frozenset[str] = frozenset()
        """Logins whose telephone is in a queue without a session of the login, by the last sweep."""
        self._present: dict[str, DevicePresence] = {}
        """By session key: Remote Assistants on links of this node."""

    # ---- log-on ----

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        """Open a session; see :meth:`gateway.runtime.ports.Authority.log_on`."""
        if not self._monitor.is_up:
            raise unavailable(self._monitor.last_failure)
        person = await self._judged(credentials)
        number = self._number(credentials)
        async with self._changing:
            with _ANSWERED:
                if number is not None:
                    await self._see_assistant(person.login)
                await self._make_room(person, credentials, number)
                return await self._open(person, credentials, number)

    @property
    def _is_kept(self) -> bool:
        """Whether the account may use AstDB; without it Dashboards' sessions are in memory of this node."""
        return self._monitor.may(*_DATABASE)

    async def _judged(self, credentials: LogOn) -> Person:
        person = self._monitor.view.people.by_login.get(credentials.user_name.strip().lower())
        hashed = NOBODY if person is None else person.password
        async with self._checking:
            is_right = await asyncio.to_thread(fits, credentials.password, hashed)
        if person is None or not is_right:
            raise GatewayError(ErrorCode.INVALID_CREDENTIALS, "User name or password is wrong.")
        allowed = (
            person.agent if credentials.application is Application.REMOTE_ASSISTANT else person.supervisor
        )
        if not allowed:
            raise GatewayError(ErrorCode.ROLE_MISSING, "This person may not use the application.")
        return person

    def _number(self, credentials: LogOn) -> str | None:
        if credentials.application is not Application.REMOTE_ASSISTANT:
            return None
        if not credentials.remote_number:
            raise GatewayError(ErrorCode.REMOTE_NUMBER_MISSING, "A remote number is needed.")
        if _NUMBER.fullmatch(credentials.remote_number) is None:
            raise GatewayError(ErrorCode.REMOTE_NUMBER_INVALID, "The remote number is not a complete number.")
        if not self._monitor.may(*_DATABASE, "QueueAdd", "QueueRemove"):
            raise GatewayError(
                ErrorCode.FUNCTION_UNAVAILABLE, "The gateway's account may not log on remote agents."
            )
        return credentials.remote_number

    async def _make_room(self, person: Person, credentials: LogOn, number: str | None) -> None:
        held = self.sessions.of(person.login)
        for session in held:
            same = session.device.id == credentials.device.id
            if same and session.application is credentials.application and not session.is_assistant:
                await self._drop(session, EndReason.TAKEN_OVER, None)
        assistant = self.sessions.assistant_of(person.login)
        if number is not None and assistant is not None:
            is_own = assistant.device.id == credentials.device.id
            if not is_own and not credentials.takeover:
                raise GatewayError(
                    ErrorCode.ALREADY_LOGGED_ON,
                    "This person is logged on with another device.",
                    where=assistant.device.name,
                    since_ms=assistant.since_ms,
                )
            await self._drop(assistant, EndReason.TAKEN_OVER, None)
        for session in self.sessions.of(person.login)[: -OF_PERSON + 1 or None]:
            if len(self.sessions.of(person.login)) >= OF_PERSON and not session.is_assistant:
                await self._drop(session, EndReason.TAKEN_OVER, None)

    async def _open(self, person: Person, credentials: LogOn, number: str | None) -> LoggedOn:
        secret = SessionSecret(base64.urlsafe_b64encode(self._draw(32)).decode().rstrip("="))
        now_ms = self._clock.wall_ms()
        session = AsteriskSession(
            key=key_of_secret(secret),
            login=person.login,
            id=SessionId(self._draw(8).hex()),
            application=credentials.application,
            device=credentials.device,
            since_ms=now_ms,
            expires_ms=now_ms + 1000 * self._session_s,
        )
        # a session is unchanged by line() and parse(): other nodes read the same session
        if self._is_kept:
            await self._put(SESSIONS, session.key, session.line())
        self.sessions.put(parse(session.key, session.line()) or session)
        if number is not None:
            try:
                await self._join(person, number)
            except GatewayError:
                with suppress(GatewayError):
                    await self._drop(session, EndReason.LOGGED_OFF, None)
                raise
            except LostError:
                self.sessions.drop(session.key)
                raise
        return LoggedOn(
            secret=secret,
            session=session.id,
            expires_at_ms=session.expires_ms,
            idle_timeout_s=self._idle_s if number is not None else 0,
            user=User(UserId(self._site, agent_number(person)), person.login, person.name),
            remote_number=number,
            server=INSTANCE,
        )

    async def _join(self, person: Person, number: str) -> None:
        """Have a remote agent's telephone ring.

        Set number and ``oscc-until``, then join the queues, paused.
        """
        await self._put(NUMBERS, person.login, number)
        await self._move_until(person.login)
        self._numbers[person.login] = number
        rules, monitor = self._monitor.rules, self._monitor
        interface = remote_interface(person.login, rules.remote_context)
        joined = 0
        steps: list[Step] = []
        paused = {"Paused": "true", "Reason": rules.begin_reason}
        for queue in person.queues:
            step = join(queue, interface, person.name, rules, Penalty=str(person.penalty), **paused)
            answer = await monitor.action(step.action, step.fields)
            if is_success(answer):
                joined += 1
                steps.append(step)
            elif "Already there" in answer.get("Message", ""):
                joined += 1
                await monitor.action("QueuePause", {"Queue": queue, "Interface": interface, **paused})
            else:
                fault = {"site": self._site, "code": refusal(answer).code.value}
                _LOG.warning("queue_not_joined", extra=fault)
        if person.queues and not joined:
            raise GatewayError(ErrorCode.FUNCTION_UNAVAILABLE, "None of the person's queues is there.")
        self._show(person)
        self._look_at = min(self._look_at, self._clock.now() + SESSIONS_READ_S)
        await monitor.await_effects(steps, (agent_number(person),))
        held = monitor.queues.memberships.get(interface, {}).values()
        if held and all(one.status == _INVALID for one in held):
            fault = {"site": self._site, "context": rules.remote_context}
            _LOG.error("remote_context_unusable", extra=fault)
            raise GatewayError(
                ErrorCode.FUNCTION_UNAVAILABLE, "The contact centre has no way to ring remote agents."
            )

    def _show(self, person: Person) -> None:
        """Update the view of a person's Remote Assistant."""
        agent, view = agent_number(person), self._monitor.view
        assistant = self.sessions.assistant_of(person.login)
        if assistant is None:
            view.facts.pop(agent, None)
        else:
            presence = self._present.get(assistant.key)
            absent_ms: int | None = None
            if presence is not None and not presence.is_there:
                absent_ms = self._monitor.time_ms() - round(1000 * (self._clock.now() - presence.since))
            view.facts[agent] = AgentFacts(
                remote_number=self._numbers.get(person.login),
                logged_on_remotely=True,
                app_present=None if presence is None else presence.is_there,
                app_absent_since_ms=absent_ms,
            )
        self._monitor.publisher.touch((agent,))

    def _publish(self, person: Person) -> None:
        """Update the view of a person's Remote Assistant, and send links the change now."""
        self._show(person)
        self._monitor.publisher.publish_agents((agent_number(person),), self._monitor.time_ms())

    # ---- sessions ----

    def session(self, secret: SessionSecret) -> AsteriskSession:
        """Return the session of a secret.

        Raises:
            GatewayError: ``session_ended``.
        """
        found = self.sessions.get(key_of_secret(secret), self._clock.wall_ms())
        if found is None or found.login not in self._monitor.view.people.by_login:
            raise GatewayError(ErrorCode.SESSION_ENDED, "The session has ended.")
        return found

    async def known(self, secret: SessionSecret) -> AsteriskSession:
        """Return the session of a secret, also one that another node has opened.

        Raises:
            GatewayError: ``session_ended``, ``upstream_unavailable``.
        """
        key = key_of_secret(secret)
        if self.sessions.get(key, self._clock.wall_ms()) is None and self._is_kept:
            async with self._changing:
                with _ANSWERED:
                    await self._find(key)
        return self.session(secret)

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        """End the session; an unknown one counts as removed."""
        try:
            session = await self.known(secret)
        except GatewayError as error:
            if error.code is ErrorCode.SESSION_ENDED:
                return LoggedOff("removed", None)
            raise
        return await self.end(session, EndReason.LOGGED_OFF, None)

    async def end(self, session: AsteriskSession, reason: EndReason, by: str | None) -> LoggedOff:
        """End one session for *reason*.

        Raises:
            GatewayError: ``upstream_unavailable``: it may or may not have ended.
        """
        async with self._changing:
            with _ANSWERED:
                if self.sessions.get(session.key, 0) is not None:
                    await self._drop(session, reason, by)
        return LoggedOff("removed" if session.is_assistant else "none", None)

    async def end_other(self, secret: SessionSecret, other: SessionId) -> LoggedOff:
        """End another session of the same person."""
        mine = await self.known(secret)
        for session in self.sessions.of(mine.login):
            if session.id == other:
                return await self.end(session, EndReason.LOGGED_OFF, None)
        raise GatewayError(ErrorCode.NOT_FOUND, "There is no such session.")

    async def keep_alive(self, secret: SessionSecret) -> int:
        """Renew a session for its whole life; return its end, ms."""
        session = await self.known(secret)
        longer = replace(session, expires_ms=self._clock.wall_ms() + 1000 * self._session_s)
        async with self._changing:
            if self.sessions.get(session.key, 0) is None:
                raise GatewayError(ErrorCode.SESSION_ENDED, "The session has ended.")
            with _ANSWERED:
                if self._is_kept:
                    await self._put(SESSIONS, longer.key, longer.line())
            self.sessions.put(longer)
        return longer.expires_ms

    def listed(self, session: AsteriskSession, attached: frozenset[str]) -> tuple[SessionInfo, ...]:
        """Return all sessions of the same person; *attached*: the keys of those on a link."""
        return tuple(
            SessionInfo(one.id, one.application, one.device, one.since_ms, one.key in attached)
            for one in self.sessions.of(session.login)
        )

    async def _drop(self, session: AsteriskSession, reason: EndReason, by: str | None) -> None:
        person = self._monitor.view.people.by_login.get(session.login)
        if session.is_assistant:
            await self._forget_telephone(session.login)
        if self._is_kept:
            await self._delete(SESSIONS, session.key)
        self.sessions.drop(session.key)
        self._present.pop(session.key, None)
        if person is not None and session.is_assistant:
            self._publish(person)
        self._ended(session, reason, by)

    def _forget(self, session: AsteriskSession, reason: EndReason) -> None:
        """Remove a session that is not in AstDB any longer, and report its end."""
        self.sessions.drop(session.key)
        self._present.pop(session.key, None)
        self._ended(session, reason, None)

    async def _forget_telephone(self, login: str) -> None:
        """Remove a remote agent from every queue, and its number and ``oscc-until`` from AstDB."""
        await self._leave(login)
        await self._delete(NUMBERS, login)
        await self._delete(UNTIL, login)
        self._numbers.pop(login, None)
        self._until_s.pop(login, None)

    async def _leave(self, login: str) -> None:
        """Remove a remote agent from every queue; queues without it are no error."""
        monitor = self._monitor
        interface = remote_interface(login, monitor.rules.remote_context)
        person = monitor.view.people.by_login.get(login)
        joined = set(monitor.queues.memberships.get(interface, {}))
        joined.update(person.queues if person is not None else ())
        for queue in sorted(joined):
            _refuse_denied(await monitor.action("QueueRemove", {"Queue": queue, "Interface": interface}))

    # ---- presence and time ----

    def attached(self, session: AsteriskSession) -> None:
        """Record that a session is on a link of this node."""
        if session.is_assistant and session.key not in self._present:
            now = self._clock.now()
            self._present[session.key] = DevicePresence(False, now, now)

    def detached(self, session: AsteriskSession) -> None:
        """Record that a session is on no link of this node: another node moves its ``oscc-until``."""
        self._present.pop(session.key, None)

    def present(self, session: AsteriskSession, *, is_there: bool) -> None:
        """Record whether a device of a session is connected."""
        presence = self._present.get(session.key)
        if presence is None or presence.is_there == is_there:
            return
        presence.is_there, presence.since = is_there, self._clock.now()
        person = self._monitor.view.people.by_login.get(session.login)
        if person is not None:
            self._show(person)

    async def change_number(self, person: Person, number: str) -> bool:
        """Route calls to another number; return whether it differs from the last one.

        Raises:
            GatewayError: Asterisk refused it or is away.
            LostError: The outcome is unknown.
        """
        async with self._changing:
            if self._numbers.get(person.login) == number:
                return False
            await self._put(NUMBERS, person.login, number)
            self._numbers[person.login] = number
        self._publish(person)
        return True

    async def maintain(self) -> None:
        """Move ``oscc-until`` ahead and end sessions whose time is over, while Asterisk is connected."""
        self._read_at = self._clock.now()
        while True:
            await is_served(self._tend_all(self._clock.now()))
            await self._clock.sleep(TEND_S)

    async def _tend_all(self, now: float) -> None:
        if now >= self._read_at:
            await self.read()
            self._read_at = now + MOVED_ON_S
            await self._sweep()
        elif now >= self._look_at:
            look_at, self._look_at = self._look_at, math.inf
            if not await is_served(self.read()):
                self._look_at = look_at
        for key, presence in list(self._present.items()):
            await self._tend_one(key, presence, now)

    async def _tend_one(self, key: str, presence: DevicePresence, now: float) -> None:
        session = self.sessions.get(key, 0)
        if session is None:
            self._present.pop(key, None)
        elif not presence.is_there and now - presence.since >= self._idle_s:
            await self._over(session, EndReason.EXPIRED)
        elif now - presence.moved_at >= MOVED_ON_S:
            await self._move_until(session.login)
            presence.moved_at = now

    async def _move_until(self, login: str) -> None:
        """Have a remote agent's telephone ring for a further :data:`AHEAD_S`."""
        until_s = self._monitor.time_ms() // 1000 + AHEAD_S
        await self._put(UNTIL, login, str(until_s - self._offset_s))
        self._until_s[login] = until_s

    async def _sweep(self) -> None:
        """End expired sessions, and Remote Assistants of nodes that are gone."""
        now_ms = self._clock.wall_ms()
        for session in self.sessions:
            if session.expires_ms <= now_ms:
                await self._over(session, EndReason.EXPIRED)
            elif session.login not in self._monitor.view.people.by_login:
                await self._over(session, EndReason.BLOCKED)
            elif session.is_assistant and session.key not in self._present:
                until_s = self._until_s.get(session.login, 0)
                if self._monitor.time_ms() / 1000 > until_s + self._idle_s:
                    await self._over(session, EndReason.EXPIRED)
        await self._sweep_left_over()

    async def _sweep_left_over(self) -> None:
        """Remove telephones without a session from the queues, for example after AstDB was cleared by hand.

        Another node may be logging one on at this moment, so a telephone is removed when two sweeps have
        found it.
        """
        monitor = self._monitor
        if not self._is_kept or not monitor.may("QueueRemove"):
            return
        held, context = monitor.queues.memberships, monitor.rules.remote_context
        found = frozenset(
            login
            for login in monitor.view.people.by_login
            if remote_interface(login, context) in held and self.sessions.assistant_of(login) is None
        )
        before, self._left_over = self._left_over, found
        for login in found & before:
            async with self._changing:
                if self.sessions.assistant_of(login) is None:
                    _LOG.warning("remote_agent_left_over", extra={"site": self._site})
                    await self._forget_telephone(login)

    async def _over(self, session: AsteriskSession, reason: EndReason) -> None:
        """End a session whose time is over; if Asterisk refuses, the next sweep tries again.

        Raises:
            LostError: The connection ended.
        """
        async with self._changing:
            if self.sessions.get(session.key, 0) != session:
                return  # it was ended, replaced or renewed in between
            try:
                await self._drop(session, reason, None)
            except GatewayError as error:
                _LOG.warning("session_not_ended", extra={"site": self._site, "code": error.code.value})

    # ---- AstDB ----

    async def read(self) -> None:
        """Read sessions, numbers and ``oscc-until``, which other nodes may have changed.

        Raises:
            GatewayError: ``upstream_unavailable``.
            LostError: The connection ended.
        """
        async with self._changing:
            await self._read()

    async def _read(self) -> None:
        """Read them while *_changing* is held, so that nothing written in between counts as missing."""
        if not self._is_kept:
            return
        fresh = {key: one for key, text in (await self._tree(SESSIONS)).items() if (one := parse(key, text))}
        numbers, until = await self._tree(NUMBERS), await self._tree(UNTIL)
        self._numbers = {login: text for login, text in numbers.items() if _NUMBER.fullmatch(text)}
        offset_s = self._offset_s
        self._until_s = {login: int(text) + offset_s for login, text in until.items() if text.isdecimal()}
        for session in self.sessions.replace(fresh.values()):
            self._forget(session, EndReason.LOGGED_OFF)
        await self._end_duplicates()
        for person in self._monitor.view.people.by_number.values():
            if self.sessions.assistant_of(person.login) or agent_number(person) in self._monitor.view.facts:
                self._show(person)

    async def _see_assistant(self, login: str) -> None:
        """Read a person's Remote Assistant at other nodes: without a number in AstDB there is none."""
        if self.sessions.assistant_of(login) is not None or await self._get(NUMBERS, login) is not None:
            await self._read()

    async def _find(self, key: str) -> None:
        """Read one session, which another node may have opened or prolonged."""
        session = parse(key, await self._get(SESSIONS, key) or "")
        if session is None:
            return
        self.sessions.put(session)
        if session.is_assistant:
            until = await self._get(UNTIL, session.login) or ""
            if until.isdecimal():
                self._until_s[session.login] = int(until) + self._offset_s
            await self._see_number(session.login)

    async def _end_duplicates(self) -> None:
        """End all but the newest Remote Assistant of a person: two nodes may have opened one each.

        The same holds for the Dashboards of one device.
        """
        newest: dict[tuple[str, Application, str], AsteriskSession] = {}
        for session in sorted(self.sessions, key=lambda one: (one.since_ms, one.key)):
            device = "" if session.is_assistant else session.device.id
            newest[session.login, session.application, device] = session
        kept = {session.key for session in newest.values()}
        for session in self.sessions:
            if session.key not in kept:
                await self._delete(SESSIONS, session.key)
                self._forget(session, EndReason.TAKEN_OVER)

    async def refresh(self, session: AsteriskSession) -> None:
        """Read the number of a Remote Assistant, which another node may have changed.

        Raises:
            GatewayError: ``upstream_unavailable``.
        """
        if not session.is_assistant:
            return
        async with self._changing:
            with _ANSWERED:
                await self._see_number(session.login)

    async def _see_number(self, login: str) -> None:
        number = await self._get(NUMBERS, login) or ""
        person = self._monitor.view.people.by_login.get(login)
        if _NUMBER.fullmatch(number) is None or person is None:
            return
        if self._numbers.get(login) != number or agent_number(person) not in self._monitor.view.facts:
            self._numbers[login] = number
            self._publish(person)

    async def _get(self, family: str, key: str) -> str | None:
        """Return one value of AstDB; None where there is none."""
        rows: list[AmiMessage] = []
        answer = await self._monitor.action("DBGet", {"Family": family, "Key": key}, rows.append)
        _refuse_unread(answer)
        return rows[0].get("Val", "") if rows else None

    async def _tree(self, family: str) -> dict[str, str]:
        found: dict[str, str] = {}

        def take(row: AmiMessage) -> None:
            found[row.get("Key", "").rpartition("/")[2]] = row.get("Val", "")

        answer = await self._monitor.action("DBGetTree", {"Family": family}, take)
        _refuse_unread(answer)
        return found

    async def _put(self, family: str, key: str, value: str) -> None:
        answer = await self._monitor.action("DBPut", {"Family": family, "Key": key, "Val": value})
        if not is_success(answer):
            raise refusal(answer)

    async def _delete(self, family: str, key: str) -> None:
        # "could not be deleted" is AMI's answer for a key that does not exist
        _refuse_denied(await self._monitor.action("DBDel", {"Family": family, "Key": key}))

    @property
    def _offset_s(self) -> int:
        """Gateway clock minus Asterisk's."""
        return self._monitor.view.offset_ms // 1000


def _refuse_unread(answer: AmiMessage) -> None:
    """Raise when AstDB was not read; AMI calls an empty family and a missing key errors, too."""
    if not is_success(answer) and "not found" not in answer.get("Message", ""):
        raise refusal(answer)


def _refuse_denied(answer: AmiMessage) -> None:
    """Raise when an action was refused for lack of a right."""
    if not is_success(answer) and "Permission denied" in answer.get("Message", ""):
        raise refusal(answer)


def rights_of(monitor: Monitor, application: Application) -> frozenset[Right]:
    """Return the rights of a session that the gateway's account has, too."""
    rights: set[Right] = set()
    if application is Application.DASHBOARD:
        if monitor.may("QueuePause", "QueueRemove"):
            rights.add(Right.ROUTING_STATE_WRITE)
        if monitor.may("QueuePenalty", "QueueAdd", "QueueRemove"):
            rights.add(Right.SKILLS_WRITE)
    else:
        if monitor.may("QueuePause"):
            rights.add(Right.OWN_ROUTING_STATE)
        if monitor.rules.rejoins and monitor.may("QueueAdd", "QueueRemove"):
            rights.add(Right.OWN_POST_PROCESSING)
    return frozenset(rights)
