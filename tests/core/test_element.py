"""Elements: composed of parts without jitter, encoded once for all readers, shared only with equal ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.assembly import CATALOGUES_MAX, Composer
from gateway.core.element import (
    NOTHING,
    UNREADABLE,
    Element,
    Parts,
    compose,
    converged,
    steady,
    with_part,
)
from gateway.core.fanout_group import MADE_AT_ONCE, FanoutGroup
from gateway.core.ledger import Ledger
from gateway.core.outbox import Outbox, PaceLadder
from gateway.core.view import view_of
from gateway.domain.model import SKILLS, Kind, Scope
from gateway.domain.resources import (
    Agent,
    AgentSkill,
    Aggregate,
    Composed,
    Group,
    Handling,
    Media,
    PostProcessing,
    Queue,
    QueueEntry,
    QueueFigures,
    QueueWindow,
    Reasons,
    Resource,
    RoutingState,
    Skill,
    Skills,
    Switch,
)
from gateway.domain.upstream import Part, Source
from gateway.protocol.codec import JSON, MSGPACK, Codec, JsonCodec
from gateway.protocol.frames import StreamPosition
from tests.core.samples import decoded, facts_of, part, ticket_of

CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=repr)


def queue(waiting: int | None) -> Element:
    return Element(Queue(name="Sales", contacts_waiting=waiting))


# ---- fragments and patches ----


@CODECS
def test_the_whole_value_is_kept_from_the_second_time_it_is_asked_for(codec: Codec) -> None:
    element = queue(3)
    assert element.fragment(codec) == codec.fragment(element.value)  # type: ignore[arg-type] # it is a queue
    kept = element.fragment(codec)
    assert kept == element.fragment(codec)
    assert kept is element.fragment(codec)


@CODECS
def test_a_patch_is_what_differs_and_is_kept_from_the_second_time_it_is_asked_for(codec: Codec) -> None:
    before, after = queue(3), queue(None)
    assert after.patch(before, codec) == codec.patch_fragment(before.value, after.value)  # type: ignore[arg-type] # both are queues
    kept = after.patch(before, codec)
    assert kept == codec.patch_fragment(before.value, after.value)  # type: ignore[arg-type] # both are queues
    assert after.patch(before, codec) is kept
    assert queue(3).patch(before, codec) is None


@CODECS
def test_a_patch_that_is_needed_soon_is_kept_at_once(codec: Codec) -> None:
    before, after = queue(3), queue(None)
    kept = after.patch(before, codec, keep=True)
    assert kept is not None
    assert after.patch(before, codec) is kept


def test_the_last_patch_of_each_codec_is_kept() -> None:
    first, second, after = queue(1), queue(2), queue(3)
    for before in (first, second, second, first):
        assert after.patch(before, JSON) == b'{"contacts_waiting":3}'
    assert after.patch(first, JSON) is after.patch(first, JSON)
    before, after = queue(1), queue(2)
    assert after.patch(before, JSON) == b'{"contacts_waiting":2}'
    assert after.patch(before, MSGPACK) == b"\x81\xb0contacts_waiting\x02"
    after.patch(before, JSON)
    assert after.patch(before, JSON) is after.patch(before, JSON)
    assert after.patch(before, MSGPACK) is after.patch(before, MSGPACK)


def queue_at(oldest_ms: int | None, waiting: int = 1, offset_ms: int = 0) -> Element:
    figures = QueueFigures(contacts_waiting=waiting, oldest_since_ms=oldest_ms)
    return Element(None, Parts(SALES, figures, WINDOW, None), offset_ms)


SALES, WINDOW = QueueEntry(name="Sales"), QueueWindow(window_start_ms=9_000)


def test_a_patch_has_every_instant_after_a_jump_of_the_clock_and_none_from_before_1970() -> None:
    before, after = queue_at(10_000), queue_at(10_000, 2, 5_000)
    assert after.patch(before, JSON) == (
        b'{"contacts_waiting":2,"oldest_since_ms":15000,"window_start_ms":14000}'
    )
    before, after = queue_at(10_000), queue_at(-5_000, 2)
    assert after.patch(before, JSON) == b'{"contacts_waiting":2,"oldest_since_ms":null}'


@pytest.mark.parametrize(("shown_ms", "oldest_ms"), [(None, -5_000), (-5_000, None), (-5_000, -9_000)])
def test_an_instant_from_before_1970_is_no_change(shown_ms: int | None, oldest_ms: int | None) -> None:
    before, after = queue_at(shown_ms, offset_ms=250), queue_at(oldest_ms, offset_ms=250)
    assert after.parts is not None
    assert Composer().element(after.parts, before, 250) is before


def test_an_element_does_not_keep_its_predecessors() -> None:
    before, after = queue(1), queue(2)
    held = sys.getrefcount(before)
    after.patch(before, JSON)
    assert sys.getrefcount(before) == held


def test_facts_of_sessions_are_never_framed() -> None:
    element = Element(facts_of(ticket_of()))
    with pytest.raises(TypeError, match="never framed"):
        element.fragment(JSON)
    with pytest.raises(TypeError, match="never framed"):
        queue(1).patch(element, JSON)


def test_a_catalogue_is_one_element_for_all_users_who_received_the_same_object_of_its_kind() -> None:
    composer, rows = Composer(), (Skill("1"),)
    first = composer.catalogue(rows, Skills)
    assert first.value == Skills(rows)
    assert composer.catalogue(rows, Skills) is first
    for number in range(CATALOGUES_MAX + 1):
        assert composer.catalogue((Skill(str(number)),), Skills).value == Skills((Skill(str(number)),))
    assert composer.catalogue(rows, Skills).value == first.value
    composer = Composer()
    assert composer.catalogue((), Skills).value == Skills(())
    assert composer.catalogue((), Reasons).value == Reasons(())


# ---- steady instants ----


TALKING = Handling("c1", "voice", "talking", 1_000, False, "1")
AVAILABLE = Agent(routing_state=RoutingState.AVAILABLE, routing_state_since_ms=1_000)


def test_only_an_instant_that_is_known_before_and_after_stays() -> None:
    after = replace(AVAILABLE, display_name="b")
    assert steady(AVAILABLE, after) is after
    known, unknown = Queue(oldest_since_ms=1_000), Queue()
    assert steady(known, unknown) == unknown
    assert steady(unknown, known) == known
    assert steady(Group(name="a"), Group(name="b")) == Group(name="b")
    assert steady(Queue(), Agent(routing_state_since_ms=1)) == Agent(routing_state_since_ms=1)


@pytest.mark.parametrize(
    ("by_ms", "moves"), [(0, False), (2_000, False), (-2_000, False), (2_001, True), (-2_001, True)]
)
@pytest.mark.parametrize(
    ("value", "field"),
    [
        (AVAILABLE, "routing_state_since_ms"),
        (Agent(app_absent_since_ms=1), "app_absent_since_ms"),
        (Agent(day_start_ms=1), "day_start_ms"),
        (Queue(oldest_since_ms=1), "oldest_since_ms"),
        (Queue(window_start_ms=1), "window_start_ms"),
        (Aggregate(oldest_since_ms=1), "oldest_since_ms"),
    ],
    ids=lambda of: of if isinstance(of, str) else "",
)
def test_a_jittering_instant_stays(
    value: Agent | Queue | Aggregate, field: str, by_ms: int, moves: bool
) -> None:
    dated: Callable[..., Any] = replace
    before, after = dated(value, **{field: 10_000}), dated(value, **{field: 10_000 + by_ms})
    assert steady(before, after) == (after if moves else before)


def test_the_instants_inside_stay_unless_the_state_is_new() -> None:
    post = PostProcessing(since_ms=1_000, ends_at_ms=5_000)
    before = Agent(handling=(TALKING,), post_processing=post)
    jittered = Agent(
        handling=(replace(TALKING, since_ms=2_500),),
        post_processing=PostProcessing(since_ms=0, ends_at_ms=6_000),
    )
    assert steady(before, jittered) == before
    after = replace(AVAILABLE, routing_state=RoutingState.WORK, routing_state_since_ms=1_500)
    assert steady(AVAILABLE, after) == after
    held = replace(TALKING, state="holding", since_ms=1_500)
    other = replace(TALKING, contact_id="c2", since_ms=1_500)
    for contact in (held, other):
        assert steady(Agent(handling=(TALKING,)), Agent(handling=(contact,))) == Agent(handling=(contact,))


# ---- resources composed of parts ----


QUEUE = (Kind.QUEUE, 5)


def parts(
    directory: Composed,
    realtime: Composed | None = None,
    cumulative: Composed | None = None,
    configuration: Composed | None = None,
    *,
    realtime_ms: int = 0,
) -> Parts:
    """Return the parts of the resource 5 of one kind."""
    return Parts(directory, realtime, cumulative, configuration, realtime_ms=realtime_ms)


# ---- which part says what ----


def test_an_agent_is_put_together_and_dated_in_gateway_time() -> None:
    post = PostProcessing(since_ms=3_000, ends_at_ms=9_000, extendable=True)
    now = Agent(
        extension="12",
        routing_state=RoutingState.WORK,
        routing_state_since_ms=1_000,
        handling=(TALKING,),
        post_processing=post,
        media=Media(voice=Switch.ON),
        app_absent_since_ms=2_000,
        allowed_actions=("log_off",),
    )
    known = Agent(display_name="Ann", extension="11", group_ids=("3",), queue_ids=("1",), version=1)
    day = Agent(handled_today=4, talk_s_today=60, day_start_ms=500)
    skilled = Agent(skills=(AgentSkill("9", 2),), version=2)
    assert compose(parts(known, now, day, skilled), 100) == Agent(
        display_name="Ann",
        extension="12",
        group_ids=("3",),
        queue_ids=("1",),
        skills=(AgentSkill("9", 2),),
        routing_state=RoutingState.WORK,
        routing_state_since_ms=1_100,
        handling=(replace(TALKING, since_ms=1_100),),
        post_processing=replace(post, since_ms=3_100, ends_at_ms=9_100),
        media=Media(voice=Switch.ON),
        app_absent_since_ms=2_100,
        handled_today=4,
        talk_s_today=60,
        day_start_ms=600,
        allowed_actions=("log_off",),
        version=2,
    )


def test_what_began_before_1970_began_nobody_knows_when() -> None:
    queue = compose(parts(Queue(), Queue(contacts_waiting=1, oldest_since_ms=-(10**15))), 100)
    assert queue == Queue(contacts_waiting=1)
    early = compose(parts(Queue(), Queue(oldest_since_ms=-1_000)), 5_000)
    assert early == Queue(oldest_since_ms=4_000), "a server's clock may stand at 1970"


def test_queues_groups_and_aggregates_are_put_together() -> None:
    now = Queue(contacts_waiting=3, oldest_since_ms=1_000, level="attention")
    window = Queue(
        window_start_ms=500, received=9, answered=7, abandoned=2, average_wait_s=1.5, maximum_wait_s=4.0
    )
    configured = Queue(routing_parameters={"x": 1}, version=4)
    assert compose(parts(Queue(name="Sales", media="voice"), now, window, configured), 100) == Queue(
        name="Sales",
        media="voice",
        contacts_waiting=3,
        oldest_since_ms=1_100,
        level="attention",
        window_start_ms=600,
        received=9,
        answered=7,
        abandoned=2,
        average_wait_s=1.5,
        maximum_wait_s=4.0,
        routing_parameters={"x": 1},
        version=4,
    )
    group = parts(
        Group(name="East"), Group(users_idle=2), None, Group(routing_parameters={"y": 2}, version=3)
    )
    assert compose(group, 100) == Group(name="East", users_idle=2, routing_parameters={"y": 2}, version=3)
    aggregate = parts(
        Aggregate(name="All", queue_ids=("1", "2")), Aggregate(contacts_waiting=3, oldest_since_ms=1_000)
    )
    assert compose(aggregate, 100) == Aggregate(
        name="All", queue_ids=("1", "2"), contacts_waiting=3, oldest_since_ms=1_100
    )


INSTANTS = st.sampled_from([None, 0, 500, 1_500, 2_600, 9_000])
FIGURES = st.builds(
    QueueFigures,
    contacts_waiting=st.integers(0, 2),
    oldest_since_ms=INSTANTS,
    level=st.sampled_from(["ok", None]),
)
REPORTED = st.builds(
    Parts,
    st.sampled_from([QueueEntry("Sales"), QueueEntry("Service")]),
    st.none() | FIGURES,
    st.sampled_from([None, QueueWindow(window_start_ms=0), QueueWindow(window_start_ms=1_000)]),
    st.sampled_from([None, Queue(version=1)]),
)


@given(st.lists(st.tuples(REPORTED, st.sampled_from([0, 0, 250, -1_000])), min_size=1, max_size=8))
def test_a_queue_that_is_not_kept_composed_is_shown_and_patched_as_if_it_were(
    reported: list[tuple[Parts, int]],
) -> None:
    composer, element, value = Composer(), None, None
    for received, offset_ms in reported:
        said = compose(received, offset_ms)
        expected = said if value is None else steady(value, said)
        made = composer.element(received, element, offset_ms)
        assert made.value == expected
        if element is not None and isinstance(value, Queue) and isinstance(expected, Queue):
            assert made.patch(element, JSON) == JSON.patch_fragment(value, expected)
            assert (made is element) == (value == expected)
        element, value = made, expected


def test_a_queue_is_kept_as_its_parts_only_and_nothing_is_made_without_a_directory() -> None:
    composer, directory = Composer(), QueueEntry("Sales")
    first = composer.element(Parts(directory, QueueFigures(3), None, None), None, 0)
    then = composer.element(Parts(directory, QueueFigures(4), None, None), first, 0)
    assert (first.lasting, then.lasting) == (None, None)
    assert then.value == Queue(name="Sales", contacts_waiting=4)
    with pytest.raises(ValueError, match="directory"):
        Composer().element(NOTHING, None, 0)


# ---- agents who are not there ----


def test_an_absent_agent_is_logged_off_and_one_who_cannot_be_read_is_unknown() -> None:
    known = Agent(display_name="Ann", extension="11", group_ids=("3",), version=1)
    found = compose(parts(known, realtime_ms=1_000), 100)
    assert found == replace(
        known, routing_state=RoutingState.LOGGED_OFF, routing_state_since_ms=1_100, logged_on_remotely=False
    )
    found = compose(parts(Agent(display_name="Ann"), UNREADABLE), 100)
    assert found == Agent(display_name="Ann", routing_state=RoutingState.UNKNOWN)


@pytest.mark.parametrize(
    ("directory", "configuration", "skill"),
    [(1, None, "old"), (1, 1, "new"), (1, 2, "new"), (3, 2, "old"), (None, 1, "new")],
)
def test_of_two_skill_sets_the_one_of_the_higher_version_is_right(
    directory: int | None, configuration: int | None, skill: str
) -> None:
    known = Agent(skills=(AgentSkill("old"),), version=directory)
    reported = None if configuration is None else Agent(skills=(AgentSkill("new"),), version=configuration)
    found = compose(parts(known, AVAILABLE, None, reported), 0)
    assert isinstance(found, Agent)
    assert found.skills == (AgentSkill(skill),)
    assert found.version == (directory if skill == "old" else configuration)


# ---- elements ----


def test_the_same_parts_are_one_element_until_nobody_shows_it() -> None:
    composer = Composer()
    key = composer.hold(QUEUE)
    reported = replace(parts(Queue(name="Sales"), Queue(contacts_waiting=3)), key=key)
    first = composer.element(reported, None, 0)
    assert composer.element(reported, None, 0) is first is composer.newest.get(key)
    composer = Composer()
    key = composer.hold(QUEUE)
    reported = replace(parts(Queue(name="Sales")), key=key)
    first = composer.element(reported, None, 0)
    for _ in range(2):
        assert composer.hold(QUEUE) == key
    for _ in range(2):
        composer.release(key)
        assert composer.newest.get(key) is first
    composer.release(key)
    assert composer.newest.get(key) is None
    composer.element(reported, None, 0)
    assert composer.newest.get(key) is None, "no link holds it"


# ---- where links that receive the same at other instants stand ----


def composed(reported: Parts) -> Element:
    return Element(compose(reported, 0), reported)


def test_a_link_stands_where_what_it_shows_was_composed_unless_the_number_differs() -> None:
    one, other = (parts(Queue(), Queue(oldest_since_ms=at_ms)) for at_ms in (1_000, 1_500))
    assert converged(other, composed(one)) is one
    assert converged(one, composed(one)) is one
    assert converged(one, Element(Queue())) is one
    mine, others = (
        with_part(parts(Agent()), Source.REALTIME, Part(Kind.AGENT, 5, Source.REALTIME, Agent(), number))
        for number in ("+49", None)
    )
    assert converged(mine, composed(others)) is mine
    assert converged(others, composed(mine)) is others


@pytest.mark.parametrize(
    ("mine", "others"),
    [
        pytest.param(
            parts(Agent(extension="12"), Agent()),
            parts(Agent(extension="12"), Agent(extension="12")),
            id="an extension sent twice",
        ),
        pytest.param(
            parts(Agent(extension="11"), Agent(extension="12")),
            parts(Agent(extension="12"), Agent(extension="12")),
            id="an extension behind another",
        ),
        pytest.param(
            parts(Agent(version=3), Agent(), None, Agent(version=5)),
            parts(Agent(version=4), Agent(), None, Agent(version=5)),
            id="skills of a lower version",
        ),
    ],
)
def test_a_link_does_not_stand_where_something_that_is_not_shown_differs(mine: Parts, others: Parts) -> None:
    assert compose(mine, 0) == compose(others, 0)
    assert converged(mine, composed(others)) is mine
    assert converged(others, composed(mine)) is others


def test_when_somebody_left_is_kept_until_they_are_back() -> None:
    left = with_part(
        with_part(NOTHING, Source.REALTIME, part(Kind.AGENT, 5, Source.REALTIME)), Source.REALTIME, None, 7
    )
    known = with_part(left, Source.DIRECTORY, part(Kind.AGENT, 5, Source.DIRECTORY))
    assert (left.realtime_ms, known.realtime_ms) == (7, 7)
    back = with_part(known, Source.REALTIME, part(Kind.AGENT, 5, Source.REALTIME))
    assert back.realtime_ms == part(Kind.AGENT, 5, Source.REALTIME).time_ms


# ---- a state of thousands of values is written a few at a time ----


AGENTS = 5 * MADE_AT_ONCE + 7
VIEW = view_of("h", Scope(agents=frozenset(range(AGENTS))), ("agents",))


class CountingCodec(JsonCodec):
    """A codec that counts the values that it encodes."""

    written = 0

    def fragment(self, value: Resource) -> bytes:
        self.written += 1
        return super().fragment(value)

    def patch_fragment(self, before: Resource | QueueFigures, after: Resource | QueueFigures) -> bytes | None:
        self.written += 1
        return super().patch_fragment(before, after)


class Bench:
    """A mirror of many agents, and a codec that counts."""

    def __init__(self) -> None:
        self.codec = CountingCodec()
        self.ledger = Ledger(1)
        self.name_all("first")

    def name_all(self, name: str) -> None:
        for number in range(AGENTS):
            self.name(number, name)

    def name(self, number: int, name: str) -> None:
        before = self.ledger.get(f"agent:{number}")
        value: Resource = Agent(display_name=name, extension=str(number))
        self.ledger.record(f"agent:{number}", Element(value))
        assert before is None or before.value != value

    def phone(self) -> Outbox:
        return Outbox(self.ledger, VIEW, self.codec, PaceLadder(), frame_bytes=64 * 1024)

    def count(self, step: Callable[[], object]) -> int:
        before = self.codec.written
        step()
        return self.codec.written - before

    def prepare(self, what: Outbox | FanoutGroup) -> list[int]:
        """Prepare all; returns how many wire forms each step made."""
        steps = []
        while True:
            before = self.codec.written
            is_ready = what.prepare()
            steps.append(self.codec.written - before)
            if is_ready:
                return steps


def shown(frames: list[bytes]) -> dict[str, str]:
    """Return the name of each agent after *frames*."""
    names: dict[str, str] = {}
    for frame in decoded(frames):
        for piece in ("put", "patch"):
            agents = {key: fields for key, fields in frame.get(piece, {}).items() if key != SKILLS}
            names |= {key: fields["display_name"] for key, fields in agents.items()}
    return names


def all_named(name: str) -> dict[str, str]:
    return {f"agent:{number}": name for number in range(AGENTS)}


def test_a_whole_state_is_made_in_slices() -> None:
    bench = Bench()
    phone = bench.phone()
    phone.begin(None)
    steps = bench.prepare(phone)
    assert sum(steps) == AGENTS
    assert max(steps) <= MADE_AT_ONCE
    frames: list[bytes] = []
    assert bench.count(lambda: frames.extend(phone.take(0.0))) == 0
    assert shown(frames) == all_named("first")


def test_what_changes_between_two_slices_is_reported_as_it_is_in_the_end() -> None:
    bench = Bench()
    phone = bench.phone()
    phone.begin(None)
    assert not phone.prepare()
    bench.name(3, "second")
    bench.name(AGENTS - 1, "second")
    bench.prepare(phone)
    frames: list[bytes] = []
    assert bench.count(lambda: frames.extend(phone.take(0.0))) <= 2
    assert shown(frames) == all_named("first") | {"agent:3": "second", f"agent:{AGENTS - 1}": "second"}


def test_what_a_phone_missed_while_it_was_away_is_made_in_slices() -> None:
    bench = Bench()
    position = StreamPosition(f"1.{VIEW.mark}", bench.ledger.position.seq)
    bench.name_all("second")
    bench.ledger.record(SKILLS, Element(Skills((Skill("61", "French", 1, 10),))))
    phone = bench.phone()
    assert phone.begin(position)
    assert max(bench.prepare(phone)) <= MADE_AT_ONCE
    frames: list[bytes] = []
    assert bench.count(lambda: frames.extend(phone.take(0.0))) == 0
    assert shown(frames) == all_named("second")


def test_changes_of_everything_are_made_in_slices_for_those_in_step() -> None:
    bench = Bench()
    phones = [bench.phone() for _ in range(2)]
    for phone in phones:
        phone.begin(None)
        phone.take(0.0)
    group = phones[0].fanout_group
    assert group is not None
    assert phones[1].fanout_group is group
    bench.name_all("second")
    steps = bench.prepare(group)
    assert sum(steps) == AGENTS
    assert max(steps) <= MADE_AT_ONCE
    frames: list[bytes] = []
    assert bench.count(lambda: frames.extend(group.take(1.0))) == 0
    assert shown(frames) == all_named("second")


@pytest.mark.parametrize("then", ["reset", "look"])
def test_a_phone_that_wants_something_else_meanwhile_gets_that(then: str) -> None:
    bench = Bench()
    phone = bench.phone()
    phone.begin(None)
    phone.take(0.0)
    bench.name_all("second")
    assert not phone.prepare()
    few = view_of("h", Scope(agents=frozenset({1, 2})), ("agents",))
    if then == "reset":
        phone.reset()
    else:
        phone.change_view(few)
    bench.prepare(phone)
    wanted = all_named("second") if then == "reset" else dict.fromkeys(("agent:1", "agent:2"), "second")
    assert shown(phone.take(1.0)) == wanted
