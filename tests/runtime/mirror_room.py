"""A mirror with what is around it."""

from __future__ import annotations

from gateway.core.assembly import Composer
from gateway.core.view import UserSessions, me_key
from gateway.domain.commands import Directory, Listen
from gateway.domain.model import Application, Device, Kind, Scope, SessionId, SessionSecret, Ticket, UserId
from gateway.domain.resources import Agent, LastEnd, Me, Queue, Resource, RoutingState, Site
from gateway.domain.upstream import About, Attached, Part, Reading, Source
from gateway.protocol.envelopes import SessionFacts
from gateway.runtime.mirror import Feed, Mirror, SharedOffsets
from tests.doubles.clock import ManualClock

ABOUT = About("V2R1", "V8R2", frozenset())
REMOTE = Application.REMOTE_ASSISTANT
ALL_AGENTS, ALL_QUEUES = (Listen(kind, Source.REALTIME, None) for kind in (Kind.AGENT, Kind.QUEUE))


class Room:
    """A mirror with one session, filled by hand."""

    def __init__(self, application: Application = Application.DASHBOARD, own: int | None = None) -> None:
        self.clock = ManualClock()
        self.late_ms = 0
        """How long messages of the link take."""
        self.feed = Feed(UserId("main", 1))
        self.user_sessions = UserSessions()
        self.composer, self.offsets = Composer(), SharedOffsets()
        self.mirror = Mirror(self.feed, self.user_sessions, self.composer, self.offsets, self.clock)
        secret, session, device = SessionSecret("x"), SessionId("s"), Device("d", "Phone")
        user = UserId("main", 1)
        self.ticket = Ticket(user, "Anna", application, secret, session, device, (), 0, 9_000, 0)
        self.user_sessions.join(self.ticket, ("agents", "queues"))
        self.begin()
        self.own = own
        self.accept(Scope(frozenset({7, 8}), frozenset({5})))

    def stand_beside(self, other: Room) -> None:
        """Use an empty mirror on the node of another one."""
        self.mirror = Mirror(self.feed, self.user_sessions, other.composer, other.offsets, self.clock)

    def begin(self) -> None:
        self.mirror.begin(ABOUT, self.clock.wall_ms() - self.late_ms, LastEnd("expired", None, 5))

    @property
    def last_end(self) -> LastEnd | None:
        """What *me* says of it, on the present link."""
        self.learn()
        self.mirror.settle()
        return self.me.last_end

    def accept(self, scope: Scope) -> None:
        application = self.ticket.application
        attached = Attached(1, self.ticket.session, application, frozenset(), scope, self.own)
        self.user_sessions.accepted(self.ticket.handle, attached)

    def learn(self) -> None:
        """Tell a directory and whole sets."""
        for query, kind in enumerate((Kind.AGENT, Kind.QUEUE), start=1):
            self.mirror.assembly.listening(query, Listen(kind, Source.REALTIME, None))
        self.mirror.directory(
            Directory(
                (
                    Part(Kind.AGENT, 7, Source.DIRECTORY, Agent(display_name="Bert")),
                    Part(Kind.AGENT, 8, Source.DIRECTORY, Agent(display_name="Cora")),
                    Part(Kind.QUEUE, 5, Source.DIRECTORY, Queue(name="Billing")),
                ),
                (),
                (),
                (),
            )
        )
        self.agents(Agent(routing_state=RoutingState.AVAILABLE), number="+49891234567", complete=True)
        self.read(self._reading(2, Kind.QUEUE, Queue(contacts_waiting=3), 5, complete=True))

    def read(self, reading: Reading) -> None:
        """Have the mirror take in a reading that comes now."""
        self.mirror.read_all((reading,))

    def agents(self, value: Agent, *, number: str | None = None, complete: bool = False) -> None:
        self.read(self._reading(1, Kind.AGENT, value, 7, complete=complete, remote=number))

    def _reading(
        self,
        query: int,
        kind: Kind,
        value: Agent | Queue,
        number: int,
        *,
        complete: bool,
        remote: str | None = None,
    ) -> Reading:
        part = Part(kind, number, Source.REALTIME, value, remote)
        time_ms = self.clock.wall_ms() - self.late_ms
        return Reading(query, kind, Source.REALTIME, time_ms, complete, (part,))

    def shown(self, key: str) -> Resource | None:
        element = self.feed.ledger.get(key)
        return None if element is None or isinstance(element.value, SessionFacts) else element.value

    @property
    def agent(self) -> Agent:
        """What is shown of agent 7."""
        shown = self.shown("agent:7")
        assert isinstance(shown, Agent)
        return shown

    @property
    def me(self) -> Me:
        shown = self.shown(me_key(self.ticket.handle))
        assert isinstance(shown, Me)
        return shown

    @property
    def voice(self) -> str:
        shown = self.shown("site")
        assert isinstance(shown, Site)
        assert shown.functions is not None
        return shown.functions.voice.value

    @property
    def resources(self) -> set[str]:
        return {key for key, _ in self.feed.ledger.items() if key.split(":")[0] in set(Kind)}
