"""Whatever a phone sends and whatever happens, its session keeps its promises to both sides.

One phone connects again and again: says hello or does not, follows, commands, floods, sends
garbage; OSCC-E accepts, changes scope and rights, ends; outcomes, notices, epochs and time come
at any moment; the socket is slow or not. An :class:`Onlooker` holds all of it to the page.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.element import Element
from gateway.core.ledger import Health, Ledger
from gateway.core.rate_limits import SessionLimits
from gateway.core.session import AcceptSession, Answered, Effects, Invoke, Session, State
from gateway.core.view import me_key
from gateway.domain.commands import Outcome, SetAgentRoutingState, Status
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError
from gateway.domain.model import DEFAULT_TOPICS, ME, Application, Right, Scope
from gateway.domain.resources import Me, Resource
from gateway.protocol import frames
from gateway.protocol.codec import JSON, MSGPACK, BadFrame, Codec
from tests.core.samples import KEY, WALL_MS, facts_of, ticket_of
from tests.properties.onlooker import Onlooker, codes, visible
from tests.properties.phone import KEYS, SCOPES, TOPICS, Phone, value_for

CLIENT = frames.ClientInfo("test", "1", "none")
TICKET = ticket_of()
RIGHTS = st.sampled_from([(), (Right.ROUTING_STATE_WRITE,), tuple(Right)])
ALL_IS_WELL = Health("live", "live", 1.0)
HEALTHS = st.sampled_from(
    [ALL_IS_WELL, Health("live", "live", 2), Health("down", "live", 2), Health("live", "down", 1)]
)
OUTCOMES = st.sampled_from(
    [Outcome(Status.APPLIED), Outcome(Status.UNKNOWN, GatewayError(ErrorCode.OWNER_LOST, "Look."))]
)
ENDS = st.sampled_from([EndReason.LOGGED_OFF, EndReason.BLOCKED, EndReason.EXPIRED])
CLOSES = {EndReason.LOGGED_OFF: 4005, EndReason.BLOCKED: 4008, EndReason.EXPIRED: 4300}
AGENT_IDS = st.sampled_from(["1", "2", "3", "queue:1"])
SERVICEABLE: list[frames.Serviceable] = [frames.Resync(), frames.Pace(1.0), frames.Follow("f", ())]
LATE: list[frames.ClientFrame] = [frames.Hello(CLIENT), frames.ClientBye(), *SERVICEABLE]
SENT_AWAY = st.sampled_from(
    [CloseCode.DRAINING, CloseCode.REPLACED, CloseCode.REPLACED, CloseCode.LOGGED_OFF]
)
MORE_TOPICS = st.none() | TOPICS | st.just(("agents", "queues"))
Way = tuple[int, tuple[str, ...] | None, bool]
WAYS = st.tuples(st.sampled_from([3, 3, 3, 3, 3, 2, 1, 0, -1]), MORE_TOPICS, st.booleans())
"""How far a connection comes at once (-1: it never will), what it asks for, and whether it resumes."""
ONE_IN_TEN = st.integers(0, 9).map(lambda drawn: drawn == 0)


def why_bad(codec: Codec, data: bytes) -> BadFrame:
    try:
        codec.decode_client(data)
    except BadFrame as bad:
        return bad
    raise AssertionError("garbage is a frame")


def stream_of(session: Session) -> str | None:
    """Return the stream in force, if the session is served."""
    return None if session.live is None else session.live.outbox.stream


live = precondition(lambda self: self.session.state is State.LIVE)
opening = precondition(lambda self: self.session.state in (State.HELLO, State.ATTACHING))
closing = precondition(lambda self: self.session.state is State.CLOSING)


class Connections(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ledger = Ledger(1, tombstones=3)
        self.truth: dict[str, Resource] = {}
        self.facts = facts_of(TICKET, Scope(frozenset({1, 2}), frozenset({1, 2, 3})))
        self.phone = Phone()
        self.count = 0
        self.connect()

    def connect(self) -> None:
        """Open the phone's next connection, now and then in the other encoding."""
        self.count += 1
        self.codec = (JSON, MSGPACK)[self.count % 2]
        self.session = Session(self.codec, SessionLimits(), self.now, 0.5)
        self.onlooker = Onlooker(self.phone, self.now)
        self.hello_by = self.now + 5.0
        self.resync_at = 0.0
        self.topics: tuple[str, ...] = ()
        self.phone.cut()

    # ---- what the phone sends ----

    @precondition(lambda self: self.session.state is State.HELLO)
    @rule(topics=MORE_TOPICS, resume=st.booleans())
    def hello(self, topics: tuple[str, ...] | None, resume: bool) -> None:
        position = frames.StreamPosition(*self.phone.position) if resume and self.phone.position else None
        served, effects = self.send(frames.Hello(CLIENT, "sealed", topics, position))
        if served:
            assert effects == (AcceptSession("sealed", topics, CLIENT),)
            self.topics = DEFAULT_TOPICS[Application.DASHBOARD] if topics is None else topics

    @live
    @rule(topics=TOPICS, scope=st.none() | SCOPES)
    def follow(self, topics: tuple[str, ...], scope: Scope | None) -> None:
        def check(effects: Effects) -> None:
            self.topics = topics
            self.onlooker.queued(effects)
            assert codes(effects) or [type(effect) for effect in effects] == [AcceptSession]

        self.serve(frames.Follow("f", topics), check)
        if scope is not None:
            self.learn(scope, self.facts.rights)

    @live
    @rule()
    def resync(self) -> None:
        def check(effects: Effects) -> None:
            if self.now < self.resync_at:
                self.onlooker.queued(effects)
            else:
                self.resync_at = self.now + 5.0
                assert effects == ()

        self.serve(frames.Resync(), check)

    @live
    @rule(agent_id=AGENT_IDS, late=ONE_IN_TEN, times=st.sampled_from([1, 1, 9]))
    def command(self, agent_id: str, late: bool, times: int) -> None:
        for _ in range(times):
            self.command_once(agent_id, late)

    def command_once(self, agent_id: str, late: bool) -> None:
        self.count += 1
        frame_id = f"c{self.count}"
        expires_at_ms = WALL_MS if late else WALL_MS + 1_000
        may = Right.ROUTING_STATE_WRITE in self.facts.rights and agent_id in map(str, self.facts.scope.agents)

        def check(effects: Effects) -> None:
            if may and not late and len(self.onlooker.in_flight) < 8:
                assert [effect.id for effect in effects if isinstance(effect, Invoke)] == [frame_id]
                self.onlooker.in_flight.append(frame_id)
            else:
                self.onlooker.queued(effects, frame_id)

        asked = SetAgentRoutingState(agent_id, "available")
        self.serve(frames.CommandFrame(frame_id, str(uuid.UUID(KEY)), "1.x", expires_at_ms, asked), check)

    @live
    @rule(nonce=st.sampled_from(["1", "2", "x"]))
    def pong(self, nonce: str) -> None:
        served, effects = self.send(frames.Pong(nonce))
        assert not served or all(isinstance(effect, Answered) for effect in effects)

    @live
    @rule()
    def flood(self) -> None:
        for _ in range(50):
            self.send(frames.Pong("x"))

    @live
    @rule(data=st.binary(max_size=12) | st.just(b'{"kind":"pace","every_s":-1}'), padding=ONE_IN_TEN)
    def garbage(self, data: bytes, padding: bool) -> None:
        data += bytes(17_000 if padding else 0)
        served, effects = self.arrive(data)
        if served:
            bad = why_bad(self.codec, data)
            if bad.close_code is not None:
                assert codes(effects) == [bad.close_code]
            elif self.onlooker.meter.is_fourth_error(self.now):
                assert codes(effects) == [4007]
            else:
                self.onlooker.queued(effects)

    @rule(chance=ONE_IN_TEN)
    def wrong_type(self, chance: bool) -> None:
        if not chance:
            return
        expected = {State.LIVE: [1003], State.CLOSING: []}.get(self.session.state, [4000])
        assert codes(self.onlooker.ran(self.session.violated(1003, "wrong message type"))) == expected

    @rule(chance=ONE_IN_TEN)
    def leave(self, chance: bool) -> None:
        if chance:
            served, effects = self.send(frames.ClientBye())
            assert not served or codes(effects) == [1000]

    @opening
    @rule(frame=st.sampled_from([*SERVICEABLE, None]))
    def come_too_early(self, frame: frames.Serviceable | None) -> None:
        served, effects = self.arrive(b"\xc1") if frame is None else self.send(frame)
        assert not served or codes(effects) == [4000]

    @precondition(lambda self: self.session.state in (State.ATTACHING, State.LIVE))
    @rule(chance=ONE_IN_TEN)
    def hello_again(self, chance: bool) -> None:
        if chance:
            served, effects = self.send(frames.Hello(CLIENT))
            assert not served or codes(effects) == [4000]

    @closing
    @rule(frame=st.sampled_from(LATE))
    def come_too_late(self, frame: frames.ClientFrame) -> None:
        assert self.send(frame) == (False, ())

    # ---- what the gateway says ----

    @initialize(way=WAYS)
    def begin(self, way: Way) -> None:
        me = Me(user_id="7")
        self.truth[ME] = me
        self.ledger.record(me_key(TICKET.handle), Element(me))
        self.come(*way)

    @rule()
    def accept(self) -> None:
        was = self.session.state
        effects = self.session.attached(TICKET, self.facts, self.ledger, self.now, WALL_MS)
        if was is State.ATTACHING:
            self.onlooker.is_welcome = True
            self.onlooker.queued(effects)
        else:
            assert effects == ()
            assert self.session.state is was

    @rule(scope=SCOPES, rights=RIGHTS)
    def learn(self, scope: Scope, rights: tuple[Right, ...]) -> None:
        was, self.facts = self.facts, facts_of(TICKET, scope, rights)
        stream = stream_of(self.session)
        assert self.session.facts_changed(self.facts) == ()
        same = (was.scope, was.rights) == (scope, rights)
        assert stream is None or (stream_of(self.session) == stream) is same

    @rule(reason=ENDS, chance=ONE_IN_TEN)
    def end(self, reason: EndReason, chance: bool) -> None:
        if chance:
            is_live = self.session.state is State.LIVE
            effects = self.onlooker.ran(self.session.facts_changed(facts_of(TICKET, end=reason)))
            assert codes(effects) == ([CLOSES[reason]] if is_live else [])

    @precondition(lambda self: self.onlooker.in_flight)
    @rule(index=st.integers(0, 7), outcome=OUTCOMES, again=st.booleans())
    def settle(self, index: int, outcome: Outcome, again: bool) -> None:
        frame_id = self.onlooker.in_flight.pop(index % len(self.onlooker.in_flight))
        self.tell(lambda: self.session.settled(frame_id, outcome), frame_id)
        if again and self.session.state is State.LIVE:
            self.command_once("1", late=False)

    @rule(times=st.sampled_from([1, 3, 66]))
    def post(self, times: int) -> None:
        for _ in range(times):
            self.tell(lambda: self.session.post(frames.Renewed("t", 1)))

    @rule(chance=st.sampled_from([0, 1, 1, *range(2, 12)]), code=SENT_AWAY)
    def send_away(self, chance: int, code: CloseCode) -> None:
        """Close it, mostly when it has just asked for something."""
        if chance == 1 and self.session.state is State.LIVE:
            self.command("1", late=False, times=1)
        if chance <= 1:
            expected = [] if self.session.state is State.CLOSING else [code]
            assert codes(self.onlooker.ran(self.session.close(code, "x"))) == expected

    # ---- the mirror, the time and the socket ----

    @rule(key=st.sampled_from(KEYS), data=st.data())
    def change(self, key: str, data: st.DataObject) -> None:
        self.truth[key] = value_for(data, key)
        self.ledger.record(key, Element(self.truth[key]))

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: str) -> None:
        self.truth.pop(key, None)
        self.ledger.record(key, None)

    @rule()
    def new_epoch(self) -> None:
        self.ledger.rebase(self.ledger.position.epoch + 1)

    @rule(seconds=st.sampled_from([0.03125, 0.25, 1.0, 5.0, 12.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def tick(self) -> None:
        asked_at = self.onlooker.asked_at
        expected: list[int] = []
        if self.session.state is State.HELLO and self.now >= self.hello_by:
            expected = [4110]
        elif self.session.state is State.LIVE and asked_at is not None and self.now >= asked_at + 10.0:
            expected = [4109]
        assert codes(self.onlooker.ran(self.session.tick(self.now))) == expected

    @rule(health=HEALTHS)
    def flush(self, health: Health) -> None:
        due_at = self.session.due_at(self.now, health)
        taken = self.session.take(self.now, WALL_MS, health)
        assert not taken or (due_at is not None and due_at <= self.now) or self.onlooker.end is not None
        received = [self.codec.decode_gateway(frame) for frame in taken]
        self.onlooker.took(received, self.now, health, visible(self.facts.scope, self.topics), self.truth)
        self.tick()
        if self.session.state is State.LIVE:
            again = self.session.due_at(self.now, health)
            assert again is not None
            assert again > self.now, "a writer would never rest"

    @live
    @rule(healths=st.lists(HEALTHS, min_size=2, max_size=4), chance=ONE_IN_TEN)
    def is_silent(self, healths: list[Health], chance: bool) -> None:
        """Send pings that nobody answers."""
        for health in healths if chance else ():
            self.flush(health)
            self.time_passes(5.0)
            self.tick()

    @rule(drained=st.booleans())
    def flushed(self, drained: bool) -> None:
        self.session.flushed(drained=drained)

    @closing
    @rule(way=WAYS, pause_s=st.sampled_from([0.0, 0.5, 20.0]))
    def come_again(self, way: Way, pause_s: float) -> None:
        self.flush(ALL_IS_WELL)
        self.flush(ALL_IS_WELL)
        assert not self.ledger.readers
        self.now += pause_s
        self.connect()
        self.come(*way)

    @invariant()
    def the_end_is_the_end(self) -> None:
        assert (self.session.state is State.CLOSING) == (self.onlooker.end is not None)

    # ---- inner ----

    def come(self, far: int, topics: tuple[str, ...] | None, resume: bool) -> None:
        """Go some of the way that connections mostly go: hello, accepted, first flush."""
        if far < 0:
            self.time_passes(5.0)
            self.tick()
        if far > 0:
            self.hello(topics, resume)
        if far > 1:
            self.accept()
        if far > 2:
            self.flush(ALL_IS_WELL)

    def send(self, frame: frames.ClientFrame) -> tuple[bool, Effects]:
        return self.arrive(self.codec.encode(frame))

    def arrive(self, data: bytes) -> tuple[bool, Effects]:
        """Let bytes arrive; returns whether the rate let them through, and what came of it."""
        was = self.session.state
        ruling = "drop" if was is State.CLOSING else self.onlooker.meter.frame(self.now)
        effects = self.onlooker.ran(self.session.receive(data, self.now, WALL_MS))
        self.onlooker.asked_at = None
        if ruling == "close":
            assert codes(effects) == [4102]
        elif ruling == "tell" and was is State.LIVE:
            self.onlooker.queued(effects)
        elif ruling != "serve":
            assert effects == ()
        return ruling == "serve", effects

    def serve(self, frame: frames.Serviceable, check: Callable[[Effects], None]) -> None:
        served, effects = self.send(frame)
        if served:
            check(effects)

    def tell(self, say: Callable[[], Effects], result: str | None = None) -> None:
        is_live = self.session.state is State.LIVE
        effects = self.onlooker.ran(say())
        if is_live:
            self.onlooker.queued(effects, result)
        else:
            assert effects == ()


TestConnections = Connections.TestCase
TestConnections.settings = settings(max_examples=max(120, settings().max_examples))
