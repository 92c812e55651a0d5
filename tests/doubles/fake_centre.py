"""The state of the double's contact centre, and the events that each link gets."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

from gateway.domain.commands import (
    Alive,
    AttachSession,
    ChangeRemoteNumber,
    DetachSession,
    Directory,
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
    SetRoutingState,
    StopListening,
)
from gateway.domain.errors import EndReason, ErrorCode, GatewayError
from gateway.domain.model import Application, Kind, Right, Scope, SessionId, SessionSecret, UserId
from gateway.domain.resources import Agent, FunctionState, LastEnd, Reason, RoutingParameter, Skill
from gateway.domain.upstream import (
    Attached,
    CatalogueChanged,
    FunctionChanged,
    FunctionName,
    ObjectChanged,
    Part,
    Reading,
    ScopeChanged,
    SessionEnded,
    Source,
)
from gateway.runtime.ports import Clock
from tests.doubles import fake_rules
from tests.doubles.fake_people import Person, Session, UserLink


class Centre:
    """The state of the double. Methods without an underscore are the script of a test.

    Invariant: every link gets every change in its scope and queries, in order. A remote number and automatic
    post-processing are sent on the own user's link only.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.transit_ms = 0
        """How long each reading is under way."""
        self.parts: dict[tuple[Source, Kind, int], Part] = {}
        self.skills: tuple[Skill, ...] = ()
        self.reasons: tuple[Reason, ...] = ()
        self.parameters: tuple[RoutingParameter, ...] = ()
        self.functions: dict[FunctionName, FunctionState] = {
            "realtime": FunctionState.UP,
            "routing": FunctionState.UP,
            "administration": FunctionState.UP,
        }
        self.people: dict[UserId, Person] = {}
        self.live: dict[SessionSecret, Session] = {}
        self.routing: dict[int, str] = {}
        """Own agent → the remote number that gets the agent's contacts."""
        self.verdict = Executed("applied")
        """The answer to commands other than those of states and numbers."""
        self.requests: list[tuple[UserId, LinkRequest]] = []
        """All requests on links, in order."""
        self.refusals: dict[type[LinkRequest], GatewayError] = {}
        """Types of requests that are refused."""
        self.refused: Callable[[LinkRequest], GatewayError | None] = lambda _: None
        """The reason with which a request is refused, if its type is not refused."""
        self.slow: Callable[[LinkRequest], bool] = lambda _: False
        """Requests of new links that are served when :meth:`FakeLink.serve_held` is called."""
        self.unsent: Callable[[Listen], bool] = lambda _: False
        """Queries without a first reading."""
        self.sends_first = False
        """Whether the first reading of a query is sent before the number of the query."""
        self.user_links: dict[UserId, UserLink] = {}
        self._public: dict[int, tuple[Part, Part]] = {}
        self._answers: dict[tuple[SessionId, str], Executed] = {}
        self._numbers = itertools.count(1)

    def put(self, *parts: Part) -> None:
        """Change *parts*, all of one kind and source, and send one reading to the queries."""
        for part in parts:
            self.parts[part.source, part.kind, part.number] = part
        for user_link in list(self.user_links.values()):
            for query, listen in user_link.queries.items():
                seen = tuple(self._for(user_link, part) for part in parts if user_link.wants(listen, part))
                if seen and listen.source is Source.DIRECTORY:
                    for part in seen:
                        user_link.link.push(ObjectChanged(part.kind, part.number, part))
                elif seen:
                    user_link.link.push(self._reading(query, listen, seen))

    def remove(self, kind: Kind, number: int, source: Source) -> None:
        """Remove a part: a realtime agent logs off, a directory object ceases to exist."""
        part = self.parts.pop((source, kind, number))
        for user_link in list(self.user_links.values()):
            for query, listen in user_link.queries.items():
                if not user_link.wants(listen, part):
                    continue
                if source is Source.DIRECTORY:
                    user_link.link.push(ObjectChanged(kind, number, None))
                else:
                    user_link.link.push(self._reading(query, listen, (), removed=(number,)))

    def set_catalogue(
        self,
        skills: tuple[Skill, ...] = (),
        reasons: tuple[Reason, ...] = (),
        parameters: tuple[RoutingParameter, ...] = (),
    ) -> None:
        """Replace the catalogues and send that to queries for the directory."""
        self.skills, self.reasons, self.parameters = skills, reasons, parameters
        for user_link in self.user_links.values():
            if any(listen.source is Source.DIRECTORY for listen in user_link.queries.values()):
                user_link.link.push(CatalogueChanged())

    def set_scope(
        self, user: UserId, application: Application, scope: Scope, rights: frozenset[Right] | None = None
    ) -> None:
        """Change the scope of sessions of *application*; send gained objects, then whole sets."""
        person = self.people[user]
        user_link = self.user_links.get(user)
        before = {key for key in self.parts if user_link and user_link.sees(key[1], key[2])}
        person.scopes[application] = scope
        if rights is not None:
            person.rights[application] = rights
        if user_link is None:
            return
        if any(listen.source is Source.DIRECTORY for listen in user_link.queries.values()):
            for session in user_link.sessions.values():
                if session.application is application:
                    user_link.link.push(ScopeChanged(session.alias, session.rights, session.scope))
            for key, part in self.parts.items():
                if (
                    key not in before
                    and key[0] is Source.DIRECTORY
                    and user_link.sees(part.kind, part.number)
                ):
                    user_link.link.push(ObjectChanged(part.kind, part.number, part))
        self._tell_whole_sets(user_link)

    def set_function(self, function: FunctionName, state: FunctionState) -> None:
        self.functions[function] = state
        for user_link in self.user_links.values():
            user_link.link.push(FunctionChanged(function, state))

    def end_session(self, session: Session, reason: EndReason, by: str | None = None) -> None:
        """End a session: its link is informed, its number no longer routed, its agent logged off."""
        if self.live.pop(session.secret, None) is None:
            return
        person = session.person
        person.last_end = LastEnd(reason.value, by, self.clock.wall_ms())
        own = person.own_agent
        if session.application is Application.REMOTE_ASSISTANT and own is not None:
            self.routing.pop(own, None)
            if reason is not EndReason.TAKEN_OVER and (Source.REALTIME, Kind.AGENT, own) in self.parts:
                self.remove(Kind.AGENT, own, Source.REALTIME)
        user_link = self.user_links.get(person.id)
        if user_link is not None and user_link.sessions.pop(session.alias, None) is not None:
            user_link.link.push(SessionEnded(session.alias, reason, by))
            self._tell_whole_sets(user_link)
            if not user_link.sessions and reason is not EndReason.TAKEN_OVER:
                self.user_links.pop(person.id).link.finish()

    def attach(self, user_link: UserLink, session: Session) -> Attached:
        if session.alias not in user_link.sessions:
            session.alias = next(self._numbers)
            session.present = False
            user_link.sessions[session.alias] = session
            self._tell_whole_sets(user_link)
        return session.attached()

    def serve(self, user_link: UserLink, request: LinkRequest) -> LinkAnswer:
        self.requests.append((user_link.person.id, request))
        if type(request) in self.refusals:
            raise self.refusals[type(request)]
        if (refusal := self.refused(request)) is not None:
            raise refusal
        match request:
            case AttachSession(secret):
                return self._attach_asked(user_link, secret)
            case Listen():
                return self._listen(user_link, request)
            case QueryDirectory():
                return self._directory(user_link)
            case Execute():
                return self._execute(user_link, request)
            case DetachSession() | Presence() | StopListening() | KeepAlive():
                return self._note(user_link, request)

    def _note(
        self, user_link: UserLink, request: DetachSession | Presence | StopListening | KeepAlive
    ) -> Alive | None:
        match request:
            case DetachSession(alias):
                user_link.session(alias).alias = 0
                del user_link.sessions[alias]
                self._tell_whole_sets(user_link)
            case Presence(alias, present):
                user_link.session(alias).present = present
            case StopListening(query):
                user_link.queries.pop(query, None)
            case KeepAlive():
                return Alive(self.clock.wall_ms() - self.transit_ms)
        return None

    def _attach_asked(self, user_link: UserLink, secret: SessionSecret) -> Attached:
        session = self.live.get(secret)
        if session is None:
            raise GatewayError(ErrorCode.SESSION_ENDED, "the session has ended")
        if session.person is not user_link.person:
            raise GatewayError(ErrorCode.FORBIDDEN, "another user's session")
        return self.attach(user_link, session)

    def _listen(self, user_link: UserLink, listen: Listen) -> Listening:
        query = next(self._numbers)
        user_link.queries[query] = listen
        if listen.source is not Source.DIRECTORY and not self.unsent(listen):
            tell = user_link.link.push if self.sends_first else user_link.link.push_later
            tell(self._whole(user_link, query, listen))
        return Listening(query)

    def _directory(self, user_link: UserLink) -> Directory:
        parts = [part for part in self.parts.values() if part.source is Source.DIRECTORY]
        seen = tuple(part for part in parts if user_link.sees(part.kind, part.number))
        return Directory(seen, self.skills, self.reasons, self.parameters)

    def _execute(self, user_link: UserLink, request: Execute) -> Executed:
        session = user_link.session(request.alias)
        known = self._answers.get((session.id, request.key))
        if known is not None:
            return known
        if self.clock.wall_ms() > request.not_after_ms:
            raise GatewayError(ErrorCode.EXPIRED, "too late")
        match request.command:
            case SetAgentRoutingState() | SetRoutingState() as command:
                answer = self._change_state(user_link, session, command)
            case ChangeRemoteNumber(number):
                answer = self._change_number(session, number)
            case _:
                answer = self.verdict
        self._answers[session.id, request.key] = answer
        return answer

    def _change_number(self, session: Session, number: str) -> Executed:
        own = session.person.own_agent or 0
        if self.routing.get(own) == number:
            return Executed("unchanged")
        self.routing[own] = number
        part = self.parts[Source.REALTIME, Kind.AGENT, own]
        self.put(dataclasses.replace(part, remote_number=number))
        return Executed("applied")

    def _change_state(
        self, user_link: UserLink, session: Session, command: SetAgentRoutingState | SetRoutingState
    ) -> Executed:
        number, right = fake_rules.target(command, session.person.own_agent)
        if right not in session.rights:
            raise GatewayError(ErrorCode.FORBIDDEN, "not allowed")
        if not user_link.sees(Kind.AGENT, number):
            raise GatewayError(ErrorCode.NOT_FOUND, "no such agent")
        part = self.parts.get((Source.REALTIME, Kind.AGENT, number))
        agent = part.value if part is not None else None
        assert agent is None or isinstance(agent, Agent)
        change = fake_rules.change(agent, command, self.clock.wall_ms())
        if part is None or change.agent is agent:
            return change.answer
        if change.agent is None:
            self._log_agent_off(number)
        else:
            self.put(dataclasses.replace(part, value=change.agent))
        return change.answer

    def _log_agent_off(self, number: int) -> None:
        for session in list(self.live.values()):
            if session.application is Application.REMOTE_ASSISTANT and session.person.own_agent == number:
                self.end_session(session, EndReason.LOGGED_OFF_BY_SUPERVISOR)
        if (Source.REALTIME, Kind.AGENT, number) in self.parts:
            self.remove(Kind.AGENT, number, Source.REALTIME)

    def _tell_whole_sets(self, user_link: UserLink) -> None:
        for query, listen in user_link.queries.items():
            if listen.numbers is None and listen.source is not Source.DIRECTORY:
                user_link.link.push(self._whole(user_link, query, listen))

    def _whole(self, user_link: UserLink, query: int, listen: Listen) -> Reading:
        parts = tuple(
            self._for(user_link, part) for part in self.parts.values() if user_link.wants(listen, part)
        )
        return self._reading(query, listen, parts, complete=True)

    def _reading(
        self,
        query: int,
        listen: Listen,
        parts: tuple[Part, ...],
        *,
        complete: bool = False,
        removed: tuple[int, ...] = (),
    ) -> Reading:
        time_ms = self.clock.wall_ms() - self.transit_ms
        return Reading(query, listen.kind, listen.source, time_ms, complete, parts, removed)

    def _for(self, user_link: UserLink, part: Part) -> Part:
        value = part.value
        own = part.kind is Kind.AGENT and part.number == user_link.person.own_agent
        if own or part.source is not Source.REALTIME or not isinstance(value, Agent):
            return part
        if part.remote_number is None and value.auto_post_processing is None:
            return part
        known = self._public.get(part.number)
        if known is None or known[0] is not part:
            public = dataclasses.replace(value, auto_post_processing=None)
            known = self._public[part.number] = (
                part,
                dataclasses.replace(part, value=public, remote_number=None),
            )
        return known[1]
