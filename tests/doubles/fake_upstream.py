"""An OSCC-E Server in memory that follows a test's script.

``FakeUpstream`` keeps the contracts of the ports Upstream and Authority, and its links that of Link;
``tests/contracts/test_upstream.py`` runs the same suite on it and on the real adapter.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import (
    Application,
    Device,
    Kind,
    Right,
    Scope,
    SessionId,
    SessionSecret,
    User,
    UserId,
)
from gateway.domain.resources import Agent, Media, Queue, RoutingState, Switch
from gateway.domain.upstream import (
    About,
    Feature,
    FunctionChanged,
    LinkClosed,
    LinkReplaced,
    LoggedOff,
    LoggedOn,
    LogOn,
    Opened,
    Part,
    SessionInfo,
    Source,
)
from gateway.runtime.ports import Clock
from tests.doubles.fake_centre import Centre
from tests.doubles.fake_link import FakeLink
from tests.doubles.fake_people import Person, Session, UserLink

LIFE_MS: Final = 8 * 3_600_000
KEEP_ALIVE_S: Final = 20.0
DASHBOARD_RIGHTS: Final = frozenset(
    {Right.SKILLS_WRITE, Right.ROUTING_STATE_WRITE, Right.ROUTING_PARAMETERS_WRITE}
)
AGENT_RIGHTS: Final = frozenset({Right.OWN_ROUTING_STATE, Right.OWN_POST_PROCESSING})


class FakeUpstream(Centre):
    """One site's OSCC-E Server in memory.

    Invariant: one link per user; the one with the highest token is valid.

    Args:
        clock: Its only time.
        site: The site of its users.
        features: Its features.
    """

    def __init__(
        self, clock: Clock, *, site: str = "main", features: frozenset[Feature] = frozenset(Feature)
    ) -> None:
        super().__init__(clock)
        self.site = site
        self.features = features
        self.unreachable = False
        """There are no answers: log-ons raise ``upstream_unavailable``, links cannot be opened."""
        self.mute_links = False
        """New links send nothing until :meth:`FakeLink.unmute`."""
        self.instance: str | None = "instance-1"
        """A new one after :meth:`restart`."""
        self.unsupported = False
        """The server is too old."""
        self.log_on_refusals: deque[GatewayError] = deque()
        """Each is raised by one log-on, before all other checks."""
        self.fences: dict[UserId, tuple[int, str]] = {}
        """The highest token, and its holder."""

    # ---- script: people and failures ----

    def add_user(
        self,
        key: int,
        login: str,
        password: str = "secret",
        *,
        scope: Scope | None = None,
        rights: frozenset[Right] = DASHBOARD_RIGHTS | AGENT_RIGHTS,
        own_agent: int | None = None,
    ) -> UserId:
        """Add a user. The Remote Assistant's scope is the own agent; *scope* is the Dashboard's."""
        user = UserId(self.site, key)
        own = Scope(agents=frozenset({own_agent})) if own_agent is not None else Scope()
        scopes = {Application.DASHBOARD: scope or own, Application.REMOTE_ASSISTANT: own}
        granted = {
            Application.DASHBOARD: rights & DASHBOARD_RIGHTS,
            Application.REMOTE_ASSISTANT: rights & AGENT_RIGHTS,
        }
        self.people[user] = Person(user, login, password, login.title(), own_agent, scopes, granted)
        return user

    def set_waiting(self, contacts: int) -> None:
        """Let so many contacts wait in queue 5."""
        self.put(Part(Kind.QUEUE, 5, Source.REALTIME, Queue(contacts_waiting=contacts)))

    def session(self, secret: SessionSecret) -> Session:
        return self.live[secret]

    def link(self, user: UserId) -> FakeLink | None:
        user_link = self.user_links.get(user)
        return user_link.link if user_link is not None else None

    def agent_state(self, agent: int = 7) -> str:
        part = self.parts.get((Source.REALTIME, Kind.AGENT, agent))
        value = None if part is None else part.value
        state = value.routing_state if isinstance(value, Agent) else None
        return "logged_off" if state is None else state.value

    def drop(self, user: UserId) -> None:
        """Break the user's link; events that were not received are lost."""
        self.user_links[user].link.finish("lost", discard=True)

    def restart(self) -> None:
        """Remove all sessions, tokens and links; log agents off; end routing."""
        self.instance = f"instance-{next(self._numbers)}"
        for user_link in list(self.user_links.values()):
            user_link.link.finish("lost", discard=True)
        self.live.clear()
        self.fences.clear()
        self.routing.clear()
        for key in [key for key in self.parts if key[:2] == (Source.REALTIME, Kind.AGENT)]:
            del self.parts[key]

    # ---- port Upstream ----

    async def about(self) -> About:
        self._answer_or_raise()
        if self.unsupported:
            raise GatewayError(ErrorCode.UPSTREAM_VERSION_UNSUPPORTED, "the OSCC-E Server is too old")
        return About("V2R1", "V8R2", self.features, self.instance)

    async def open(self, user: UserId, secret: SessionSecret, *, token: int, holder: str) -> FakeLink:
        if self.unreachable:
            raise LinkClosed("unavailable")
        if self.unsupported:
            raise LinkClosed("version_unsupported")
        session = self.live.get(secret)
        if session is None or session.person.id != user:
            raise LinkClosed("session_unknown")
        highest, by = self.fences.get(user, (0, holder))
        if Feature.LINK_FENCING in self.features and (token, holder) != (highest, by) and token <= highest:
            raise LinkClosed("stale", token=highest)
        self.fences[user] = (token, holder)
        old = self.user_links.get(user)
        if old is not None:
            old.link.push(LinkReplaced(token))
            old.link.finish()
        return self._opened(session, token, holder)

    # ---- port Authority ----

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        self._answer_or_raise()
        if self.log_on_refusals:
            raise self.log_on_refusals.popleft()
        person = self._authenticated(credentials)
        for old in self._replaced_by(person, credentials):
            self.end_session(old, EndReason.TAKEN_OVER)
        session = self._new_session(person, credentials)
        if credentials.application is Application.REMOTE_ASSISTANT:
            self._log_agent_on(session)
        return LoggedOn(
            secret=session.secret,
            session=session.id,
            expires_at_ms=session.expires_at_ms,
            idle_timeout_s=300 if session.application is Application.REMOTE_ASSISTANT else 0,
            user=User(person.id, person.login, person.display_name),
            remote_number=session.remote_number,
            server=self.instance,
        )

    async def log_off(self, secret: SessionSecret) -> LoggedOff:
        self._answer_or_raise()
        session = self.live.get(secret)
        return LoggedOff("removed", None) if session is None else self._log_off(session)

    async def sessions(self, secret: SessionSecret) -> tuple[SessionInfo, ...]:
        person = self._known(secret).person
        return tuple(
            SessionInfo(mine.id, mine.application, mine.device, mine.since_ms, attached=mine.alias != 0)
            for mine in self.live.values()
            if mine.person is person
        )

    async def end(self, secret: SessionSecret, session: SessionId) -> LoggedOff:
        """End another session of the same user."""
        person = self._known(secret).person
        for other in self.live.values():
            if other.id == session and other.person is person:
                return self._log_off(other)
        raise GatewayError(ErrorCode.NOT_FOUND, "no such session")

    async def keep_alive(self, secret: SessionSecret) -> int:
        session = self._known(secret)
        session.expires_at_ms = self.clock.wall_ms() + LIFE_MS
        return session.expires_at_ms

    # ---- inside ----

    def _answer_or_raise(self) -> None:
        if self.unreachable:
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "the OSCC-E Server does not answer")

    def _log_off(self, session: Session) -> LoggedOff:
        self.end_session(session, EndReason.LOGGED_OFF)
        remote = session.application is Application.REMOTE_ASSISTANT
        return LoggedOff("removed" if remote else "none", None)

    def _known(self, secret: SessionSecret) -> Session:
        self._answer_or_raise()
        session = self.live.get(secret)
        if session is None:
            raise GatewayError(ErrorCode.SESSION_ENDED, "the session has ended")
        return session

    def _opened(self, session: Session, token: int, holder: str) -> FakeLink:
        user_link = UserLink(session.person)

        def left() -> None:
            user_link.lose()
            if self.user_links.get(user_link.person.id) is user_link:
                del self.user_links[user_link.person.id]

        link = FakeLink(
            lambda request: self.serve(user_link, request), left, self.clock, token=token, holder=holder
        )
        link.holds = self.slow
        if self.mute_links:
            link.mute()
        user_link.link = link
        self.user_links[session.person.id] = user_link
        user = User(session.person.id, session.person.login, session.person.display_name)
        attached = self.attach(user_link, session)
        last_end = session.person.last_end
        link.push(
            Opened(
                self.clock.wall_ms() - self.transit_ms, KEEP_ALIVE_S, user, attached, last_end, self.instance
            )
        )
        for function, state in self.functions.items():
            link.push(FunctionChanged(function, state))
        return link

    def _authenticated(self, credentials: LogOn) -> Person:
        for person in self.people.values():
            if (person.login, person.password) == (credentials.user_name, credentials.password):
                break
        else:
            raise GatewayError(ErrorCode.INVALID_CREDENTIALS, "user name or password is wrong")
        if person.blocked:
            raise GatewayError(ErrorCode.ACCOUNT_BLOCKED, "the account is blocked")
        if credentials.application is Application.REMOTE_ASSISTANT:
            if person.own_agent is None:
                raise GatewayError(ErrorCode.ROLE_MISSING, "not an agent")
            if not credentials.remote_number:
                raise GatewayError(ErrorCode.REMOTE_NUMBER_MISSING, "no number")
            if credentials.remote_number in {
                number for agent, number in self.routing.items() if agent != person.own_agent
            }:
                raise GatewayError(ErrorCode.REMOTE_NUMBER_IN_USE, "the number is in use")
        return person

    def _replaced_by(self, person: Person, credentials: LogOn) -> list[Session]:
        mine = [
            session
            for session in self.live.values()
            if session.person is person and session.application is credentials.application
        ]
        same_device = [session for session in mine if session.device.id == credentials.device.id]
        if credentials.application is Application.DASHBOARD or same_device or not mine:
            return same_device
        if not credentials.takeover:
            where, since_ms = mine[0].device.name, mine[0].since_ms
            raise GatewayError(
                ErrorCode.ALREADY_LOGGED_ON, "already logged on", where=where, since_ms=since_ms
            )
        return mine

    def _new_session(self, person: Person, credentials: LogOn) -> Session:
        number = next(self._numbers)
        session = Session(
            SessionId(f"session-{number}"),
            SessionSecret(f"secret-{number}"),
            person,
            credentials.application,
            Device(credentials.device.id, credentials.device.name),
            self.clock.wall_ms(),
            self.clock.wall_ms() + LIFE_MS,
            credentials.remote_number,
        )
        self.live[session.secret] = session
        return session

    def _log_agent_on(self, session: Session) -> None:
        own, number = session.person.own_agent, session.remote_number
        assert own is not None
        assert number is not None
        self.routing[own] = number
        known = self.parts.get((Source.REALTIME, Kind.AGENT, own))
        agent = known.value if known is not None else None
        if agent is None:
            agent = Agent(
                routing_state=RoutingState.UNAVAILABLE,
                routing_state_since_ms=self.clock.wall_ms(),
                media=Media(voice=Switch.ON),
                logged_on_remotely=True,
                app_present=False,
            )
        self.put(Part(Kind.AGENT, own, Source.REALTIME, agent, number))
