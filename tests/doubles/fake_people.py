"""The users of the double's contact centre, and the sessions and queries of each link."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.domain.commands import Listen
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device, Kind, Right, Scope, SessionId, SessionSecret, UserId
from gateway.domain.resources import LastEnd
from gateway.domain.upstream import Attached, Part
from tests.doubles.fake_link import FakeLink


@dataclass(slots=True, eq=False)
class Person:
    """A user, with rights and scope in each application."""

    id: UserId
    login: str
    password: str
    display_name: str
    own_agent: int | None
    scopes: dict[Application, Scope]
    rights: dict[Application, frozenset[Right]]
    blocked: bool = False
    last_end: LastEnd | None = None


@dataclass(slots=True, eq=False)
class Session:
    """A session. *alias* is 0 while no link has it attached."""

    id: SessionId
    secret: SessionSecret
    person: Person
    application: Application
    device: Device
    since_ms: int
    expires_at_ms: int
    remote_number: str | None
    alias: int = 0
    present: bool = False

    @property
    def scope(self) -> Scope:
        return self.person.scopes[self.application]

    @property
    def rights(self) -> frozenset[Right]:
        return self.person.rights[self.application]

    def attached(self) -> Attached:
        return Attached(self.alias, self.id, self.application, self.rights, self.scope, self.person.own_agent)


@dataclass(slots=True, eq=False)
class UserLink:
    """One user's link with its attached sessions and its queries."""

    person: Person
    link: FakeLink = field(init=False)
    sessions: dict[int, Session] = field(default_factory=dict)
    queries: dict[int, Listen] = field(default_factory=dict)

    def sees(self, kind: Kind, number: int) -> bool:
        return any(number in session.scope.of(kind) for session in self.sessions.values())

    def wants(self, listen: Listen, part: Part) -> bool:
        return (
            listen.source is part.source
            and listen.kind in {None, part.kind}
            and (listen.numbers is None or part.number in listen.numbers)
            and self.sees(part.kind, part.number)
        )

    def session(self, alias: int) -> Session:
        """Return an attached session.

        Raises:
            GatewayError: ``session_ended``.
        """
        session = self.sessions.get(alias)
        if session is None:
            raise GatewayError(ErrorCode.SESSION_ENDED, "the session has ended")
        return session

    def lose(self) -> None:
        """Detach all sessions: the link is gone."""
        for session in self.sessions.values():
            session.alias, session.present = 0, False
        self.sessions.clear()
        self.queries.clear()
