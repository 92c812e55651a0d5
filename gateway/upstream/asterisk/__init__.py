"""The adapter for Asterisk: the ports Upstream and Authority over one AMI connection of the node."""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.domain.commands import (
    AttachSession,
    ChangeRemoteNumber,
    DetachSession,
    Execute,
    Executed,
    KeepAlive,
    LinkAnswer,
    LinkRequest,
    Listen,
    Listening,
    Presence,
    QueryDirectory,
    SetAgentRoutingState,
    SetAutoPostProcessing,
    SetRoutingState,
    SetSkills,
    StopListening,
)
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import Kind, Right, SessionId, SessionSecret, User, UserId
from gateway.domain.upstream import (
    About,
    Attached,
    Feature,
    LinkClosed,
    LoggedOff,
    LoggedOn,
    LogOn,
    Opened,
    SessionEnded,
    SessionInfo,
)
from gateway.runtime.ports import Clock
from gateway.upstream.asterisk.accounts import INSTANCE, AsteriskAccounts, rights_of
from gateway.upstream.asterisk.ami import AmiAddress, LostError, is_success, refusal, unavailable
from gateway.upstream.asterisk.link import (
    AsteriskLink,
    AsteriskSession,
    LinkedSession,
    Step,
    leave_all,
    pause,
    rejoin,
    skills,
)
from gateway.upstream.asterisk.monitor import Monitor, Timing
from gateway.upstream.asterisk.people import Person, Rules, agent_number, skills_version

KEEP_ALIVE_S: Final = 15.0
KEYS: Final = 10_000
KEYS_S: Final = 600.0
"""Request keys that are stored, and for how long."""
WRAP_UP_MAX_S: Final = 3_600


@dataclass(frozen=True, slots=True)
class AsteriskSettings:
    """Settings of a site that is an Asterisk.

    Args:
        idle_timeout_s: Time without a device after which a Remote Assistant is logged off.
        is_alone: Whether only this process connects to the Asterisk: then it fences links.
    """

    address: AmiAddress
    people_file: Path
    rules: Rules = field(default_factory=Rules)
    timing: Timing = field(default_factory=Timing)
    idle_timeout_s: int = 900
    session_s: int = 28_800
    is_alone: bool = False


class AsteriskServer:
    """One Asterisk. Made inside a running loop; ``async with`` connects and closes it.

    Invariant: passwords live for one call; no exception has a password, a secret or a number.
    """

    def __init__(
        self,
        site: str,
        settings: AsteriskSettings,
        clock: Clock,
        *,
        jitter: Callable[[], float],
        draw: Callable[[int], bytes],
    ) -> None:
        self.monitor: Final = Monitor(
            site,
            settings.address,
            settings.people_file,
            clock,
            rules=settings.rules,
            timing=settings.timing,
            jitter=jitter,
        )
        self.accounts: Final = AsteriskAccounts(
            site,
            self.monitor,
            clock,
            draw,
            idle_timeout_s=settings.idle_timeout_s,
            session_s=settings.session_s,
            ended=self._session_ended,
        )
        self.settings: Final = settings
        self._site = site
        self._clock = clock
        self._is_alone = settings.is_alone
        self._aliases = 0
        self._tokens: dict[int, tuple[int, str]] = {}
        """User → the highest token under which a link was opened, and the node that opened it."""
        self._answers: OrderedDict[tuple[int, str], tuple[float, asyncio.Future[LinkAnswer]]] = OrderedDict()
        self._stack = AsyncExitStack()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> AsteriskServer:
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._running = tasks.create_task(self.monitor.run(self.accounts.maintain))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection and every link."""
        for link in list(self.monitor.publisher.links.values()):
            link.end()
        if self._running is not None:
            self._running.cancel()
        await self._stack.aclose()

    def trust(self, tls: ssl.SSLContext) -> None:
        """Verify Asterisk with *tls* from now on; an open connection continues."""
        self.monitor.trust(tls)

    async def reached(self, within_s: float = 10.0) -> bool:
        """Wait until Asterisk is connected and read; return whether it is."""
        return await self.monitor.reached(within_s)

    # ---- Upstream ----

    @property
    def last_received_at(self) -> float:
        """When the last message of Asterisk was received."""
        return self.monitor.last_received_at

    async def about(self) -> About:
        """Return name, version and features of the server.

        Raises:
            GatewayError: ``upstream_unavailable``.
        """
        if not self.monitor.is_up:
            raise unavailable(self.monitor.last_failure)
        may, features = self.monitor.may, set[Feature]()
        if may("QueuePenalty", "QueueAdd", "QueueRemove"):
            features.add(Feature.SKILLS)
        if may("DBPut", "DBDel", "DBGetTree"):
            features.add(Feature.REMOTE_AGENT)
        if self.monitor.rules.rejoins and may("QueueAdd", "QueueRemove"):
            features.add(Feature.POST_PROCESSING_SET_AUTO)
        if self._is_alone:
            features |= {Feature.LINK_FENCING, Feature.REQUEST_KEYS}
        return About(f"AMI {self.monitor.ami_version}", self.monitor.version, frozenset(features), INSTANCE)

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> AsteriskLink:
        """Open the user's link by any live session; the first event is ``Opened``.

        Raises:
            LinkClosed: ``session_unknown``, ``stale`` (with the token), ``unavailable``.
        """
        try:
            if not self.monitor.is_up:
                raise unavailable(self.monitor.last_failure)
            session = await self.accounts.known(secret)
            if not self._is_alone:
                await self.accounts.refresh(session)
        except GatewayError as error:
            is_over = error.code is ErrorCode.SESSION_ENDED
            raise LinkClosed("session_unknown" if is_over else "unavailable") from error
        person = self._person(session)
        if user != UserId(self._site, agent_number(person)):
            raise LinkClosed("session_unknown")
        self._fence(user.key, token, holder)
        link = AsteriskLink(self, user)
        links = self.monitor.publisher.links
        before = links.pop(user.key, None)
        if before is not None:
            before.replaced(token)
        links[user.key] = link
        attached = self._attach(link, session)
        shown = User(user, person.login, person.name)
        link.push(Opened(self.monitor.time_ms(), KEEP_ALIVE_S, shown, attached, None, INSTANCE))
        for event in self.monitor.publisher.functions():
            link.push(event)
        return link

    def _fence(self, key: int, token: int, holder: str) -> None:
        highest, held_by = self._tokens.get(key, (0, ""))
        if self._is_alone and (token < highest or (token == highest and holder != held_by)):
            raise LinkClosed("stale", token=highest)
        self._tokens[key] = token, holder

    def link_closed(self, link: AsteriskLink) -> None:
        """Remove a closed link."""
        links = self.monitor.publisher.links
        if links.get(link.user.key) is link:
            del links[link.user.key]
            self.queries_changed()
            for one in link.attached.values():
                self.accounts.detached(one.session)

    def queries_changed(self) -> None:
        """Record that a link asks or sees something else than before."""
        self.monitor.publisher.regroup()

    async def find(self, secret: SessionSecret) -> None:
        """Read a session that another node has opened, if it is not stored here.

        Raises:
            GatewayError: ``session_ended``, ``upstream_unavailable``.
        """
        await self.accounts.known(secret)

    def serve(self, link: AsteriskLink, request: LinkRequest) -> LinkAnswer:
        """Answer a request that needs no Asterisk."""
        publisher = self.monitor.publisher
        match request:
            case AttachSession(secret):
                return self._attach_further(link, secret)
            case DetachSession(alias):
                self._detach(link, alias)
            case Presence(alias, present) if alias in link.attached:
                self.accounts.present(link.attached[alias].session, is_there=present)
            case Listen():
                return self._listen(link, request)
            case StopListening(query):
                link.queries.pop(query, None)
                link.note_queries()
            case QueryDirectory():
                return publisher.directory(link)
            case KeepAlive() | Execute() | Presence():
                pass
        return None

    def _listen(self, link: AsteriskLink, listen: Listen) -> Listening:
        query = self.monitor.publisher.listen(link, listen)
        self.monitor.publisher.send_whole_set(link, query, self.monitor.time_ms())
        return Listening(query)

    def _person(self, session: AsteriskSession) -> Person:
        return self.monitor.view.people.by_login[session.login]

    def _attach(self, link: AsteriskLink, session: AsteriskSession) -> Attached:
        person = self._person(session)
        self._aliases += 1
        rights = rights_of(self.monitor, session.application)
        scope = self.monitor.publisher.scopes.of(person, session.application)
        link.attached[self._aliases] = LinkedSession(self._aliases, session, rights, scope)
        self.accounts.attached(session)
        self._note(link)
        own = agent_number(person) if person.agent else None
        return Attached(self._aliases, session.id, session.application, rights, scope, own)

    def _attach_further(self, link: AsteriskLink, secret: SessionSecret) -> Attached:
        session = self.accounts.session(secret)
        if UserId(self._site, agent_number(self._person(session))) != link.user:
            raise GatewayError(ErrorCode.FORBIDDEN, "The session is another user's.")
        before = link.scope
        attached = self._attach(link, session)
        self.monitor.publisher.show_gained(link, before, self.monitor.time_ms())
        return attached

    def _detach(self, link: AsteriskLink, alias: int) -> None:
        gone = link.attached.pop(alias, None)
        if gone is not None:
            self.accounts.detached(gone.session)
            self._note(link)

    def _note(self, link: AsteriskLink) -> None:
        is_agent = any(self._person(one.session).agent for one in link.attached.values())
        link.note_sessions(frozenset({link.user.key}) if is_agent else frozenset())

    def _session_ended(self, session: AsteriskSession, reason: EndReason, by: str | None) -> None:
        person = self.monitor.view.people.by_login.get(session.login)
        link = None if person is None else self.monitor.publisher.links.get(agent_number(person))
        if link is None:
            return
        for alias, one in list(link.attached.items()):
            if one.session.key == session.key:
                link.push(SessionEnded(alias, reason, by))
                del link.attached[alias]
                self._note(link)

    # ---- commands ----

    async def execute(self, link: AsteriskLink, request: Execute) -> LinkAnswer:
        """Have a command executed; its effect is pushed to the link before this returns.

        A known request key gets its first answer again.
        """
        now, at = self._clock.now(), (link.user.key, request.key)
        while self._answers and next(iter(self._answers.values()))[0] <= now:
            self._answers.popitem(last=False)
        known = self._answers.get(at)
        if known is not None:
            return await asyncio.shield(known[1])
        answer: asyncio.Future[LinkAnswer] = asyncio.get_running_loop().create_future()
        self._answers[at] = now + KEYS_S, answer
        if len(self._answers) > KEYS:
            self._answers.popitem(last=False)
        try:
            executed = await self._carry_out(link, request)
        except BaseException as error:
            answer.set_exception(error if isinstance(error, GatewayError) else _unknown())
            answer.exception()  # usually it is not sent again
            raise
        answer.set_result(executed)
        return executed

    async def _take_steps(self, steps: Sequence[Step], agent: int) -> None:
        """Execute *steps* for an agent, and return when the links have their effects.

        Raises:
            GatewayError: Asterisk refused a step, or is away; ``upstream_timeout``: the outcome is unknown.
        """
        try:
            for step in steps:
                answer = await self.monitor.action(step.action, step.fields)
                if not is_success(answer):
                    raise refusal(answer)
            await self.monitor.await_effects(steps, (agent,))
        except LostError as error:
            raise _unknown() from error

    async def _carry_out(self, link: AsteriskLink, request: Execute) -> Executed:
        attachment, view, own = self._admitted(link, request), self.monitor.view, link.user.key
        match request.command:
            case SetRoutingState() as command:
                _need(attachment, Right.OWN_ROUTING_STATE)
                return await self._steps(own, pause(view, own, command))
            case SetAgentRoutingState() as state:
                return await self._set_agent(attachment, state)
            case SetSkills() as wanted:
                return await self._set_skills(attachment, wanted)
            case SetAutoPostProcessing() as auto:
                return await self._set_auto(link, attachment, auto)
            case ChangeRemoteNumber(number):
                return await self._change_number(attachment, number)
            case _:
                raise GatewayError(
                    ErrorCode.UNSUPPORTED_BY_UPSTREAM, "The contact centre does not offer this."
                )

    def _admitted(self, link: AsteriskLink, request: Execute) -> LinkedSession:
        attachment = link.attached.get(request.alias)
        if attachment is None:
            raise GatewayError(ErrorCode.SESSION_ENDED, "The session has ended.")
        if request.not_after_ms < self.monitor.time_ms():
            raise GatewayError(ErrorCode.EXPIRED, "The command arrived after its deadline.")
        if not self.monitor.is_up:
            raise unavailable(self.monitor.last_failure)
        return attachment

    async def _steps(self, agent: int, steps: list[Step]) -> Executed:
        if not steps:
            return Executed("unchanged")
        await self._take_steps(steps, agent)
        return Executed("applied")

    async def _set_agent(self, attachment: LinkedSession, command: SetAgentRoutingState) -> Executed:
        _need(attachment, Right.ROUTING_STATE_WRITE)
        agent = _seen(attachment, command.agent_id)
        if command.state != "logged_off":
            if not self.monitor.view.memberships(agent):
                raise GatewayError(
                    ErrorCode.CANNOT_LOG_ON_FOR_ANOTHER, "Only the agent can log on, with their own device."
                )
            return await self._steps(agent, pause(self.monitor.view, agent, command))
        person = self.monitor.view.people.by_number.get(agent)
        assistant = None if person is None else self.accounts.sessions.assistant_of(person.login)
        members = self.monitor.view.memberships(agent)
        if not members and assistant is None:
            return Executed("unchanged")
        if members:
            await self._take_steps(leave_all(members), agent)
        if assistant is not None:
            by = self._person(attachment.session).name
            await self.accounts.end(assistant, EndReason.LOGGED_OFF_BY_SUPERVISOR, by)
        return Executed("applied")

    async def _set_skills(self, attachment: LinkedSession, command: SetSkills) -> Executed:
        _need(attachment, Right.SKILLS_WRITE)
        agent, view = _seen(attachment, command.agent_id), self.monitor.view
        steps = skills(view, agent, command, self.monitor.rules, self.monitor.queues)
        if not steps:
            return Executed("unchanged", command.if_version)
        await self._take_steps(steps, agent)
        return Executed("applied", skills_version(view.memberships(agent)))

    async def _set_auto(
        self, link: AsteriskLink, attachment: LinkedSession, command: SetAutoPostProcessing
    ) -> Executed:
        _need(attachment, Right.OWN_POST_PROCESSING)
        wrap_up_s = (command.duration_s or 0) if command.on else 0
        if not 0 <= wrap_up_s <= WRAP_UP_MAX_S or (command.on and wrap_up_s == 0):
            raise GatewayError(
                ErrorCode.VALUE_OUT_OF_RANGE, "The time is out of range.", min=1, max=WRAP_UP_MAX_S
            )
        rules, view = self.monitor.rules, self.monitor.view
        own = link.user.key
        executed = await self._steps(own, rejoin(view, own, rules, wrap_up_s))
        kept = [one for one in view.memberships(own) if one.dynamic and one.wrapup_s != wrap_up_s]
        if any(view.wrap_up_of(one) != wrap_up_s for one in kept):
            raise GatewayError(  # for a version that ignores the wrap-up time of `QueueAdd`
                ErrorCode.UNSUPPORTED_BY_UPSTREAM, "The contact centre keeps its own wrap-up time."
            )
        return executed

    async def _change_number(self, attachment: LinkedSession, number: str) -> Executed:
        if not attachment.session.is_assistant:
            raise GatewayError(ErrorCode.FORBIDDEN, "Only the Remote Assistant changes its number.")
        try:
            changed = await self.accounts.change_number(self._person(attachment.session), number)
        except LostError as error:
            raise _unknown() from error
        return Executed("applied" if changed else "unchanged")

    # ---- Authority ----

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        """Open a session; see the port."""
        return await self.accounts.log_on(credentials)

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        """End the session. An ended or unknown one counts as removed."""
        return await self.accounts.log_off(secret)

    async def sessions(self, secret: SessionSecret) -> tuple[SessionInfo, ...]:
        """List the sessions of the user."""
        session = await self.accounts.known(secret)
        link = self.monitor.publisher.links.get(agent_number(self._person(session)))
        keys = () if link is None else (one.session.key for one in link.attached.values())
        return self.accounts.listed(session, frozenset(keys))

    async def end(self, secret: SessionSecret, session: SessionId) -> LoggedOff:
        """End another session of the same user. Raises ``not_found`` when there is none."""
        return await self.accounts.end_other(secret, session)

    async def keep_alive(self, secret: SessionSecret) -> int:
        """Request a longer life; return the new end, ms since 1970."""
        return await self.accounts.keep_alive(secret)


def _unknown() -> GatewayError:
    """Return the error of an action without an answer."""
    return GatewayError(
        ErrorCode.UPSTREAM_TIMEOUT, "It may have been executed. Check the state before you try again."
    )


def _need(attachment: LinkedSession, right: Right) -> None:
    if right not in attachment.rights:
        raise GatewayError(ErrorCode.FORBIDDEN, "This session may not do that.")


def _seen(attachment: LinkedSession, agent_id: str) -> int:
    number = int(agent_id) if agent_id.isascii() and agent_id.isdecimal() else 0
    if number not in attachment.scope.of(Kind.AGENT):
        raise GatewayError(ErrorCode.NOT_FOUND, "There is no such agent.")
    return number
