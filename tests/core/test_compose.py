"""Resources composed of parts: in gateway time, without jitter, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.element import NOTHING, Composer, Element, Parts, compose, converged, with_part
from gateway.domain.model import Kind
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
    RoutingState,
    Switch,
)
from gateway.domain.upstream import Part, Source
from tests.core.samples import part

QUEUE = (Kind.QUEUE, 5)
KINDS: dict[type, Kind] = {Agent: Kind.AGENT, Queue: Kind.QUEUE, Group: Kind.GROUP, Aggregate: Kind.AGGREGATE}
TALKING = Handling("c1", "voice", "talking", 1_000, False, "1")
AVAILABLE = Agent(routing_state=RoutingState.AVAILABLE, routing_state_since_ms=1_000)


def parts(
    directory: Composed,
    realtime: Composed | None = None,
    cumulative: Composed | None = None,
    configuration: Composed | None = None,
    *,
    readable: bool = True,
    absent_since_ms: int | None = None,
) -> Parts:
    """Return the parts of the resource 5 of one kind."""

    def made(value: Composed | None, source: Source) -> Part | None:
        return None if value is None else part(KINDS[type(directory)], 5, source, value)

    known = made(directory, Source.DIRECTORY)
    assert known is not None
    return Parts(
        known,
        made(realtime, Source.REALTIME),
        made(cumulative, Source.CUMULATIVE),
        made(configuration, Source.CONFIGURATION),
        readable,
        absent_since_ms,
    )


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


def test_a_queue_is_put_together() -> None:
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


def test_groups_and_aggregates_are_put_together() -> None:
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


# ---- agents who are not there ----


def test_an_absent_agent_is_logged_off_and_nothing_else() -> None:
    known = Agent(display_name="Ann", extension="11", group_ids=("3",), version=1)
    found = compose(parts(known, absent_since_ms=1_000), 100)
    assert found == replace(
        known,
        routing_state=RoutingState.LOGGED_OFF,
        routing_state_since_ms=1_100,
        logged_on_remotely=False,
    )


def test_an_agent_who_cannot_be_read_is_not_said_to_be_logged_off() -> None:
    found = compose(parts(Agent(display_name="Ann"), readable=False), 100)
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


def test_the_same_parts_are_one_element_for_everybody() -> None:
    composer, reported = Composer(), parts(Queue(name="Sales"), Queue(contacts_waiting=3))
    held = composer.hold(QUEUE)
    first = composer.element(reported, None, 0)
    assert composer.element(reported, None, 0) is first is held.element


def test_what_nobody_shows_any_more_is_forgotten() -> None:
    composer = Composer()
    held = composer.hold(QUEUE)
    assert composer.shown(QUEUE) is held
    composer.element(parts(Queue(name="Sales")), None, 0)
    composer.release(*QUEUE)
    assert composer.shown(QUEUE).element is held.element is None


def test_nothing_is_made_of_what_the_directory_does_not_know() -> None:
    with pytest.raises(ValueError, match="directory"):
        Composer().element(NOTHING, None, 0)


# ---- where links that receive the same at other instants stand ----


def composed(reported: Parts) -> Element:
    return Element(compose(reported, 0), reported)


def test_a_link_stands_where_what_it_shows_was_composed() -> None:
    one, other = (parts(Queue(), Queue(oldest_since_ms=at_ms)) for at_ms in (1_000, 1_500))
    assert converged(other, composed(one)) is one
    assert converged(one, composed(one)) is one
    assert converged(one, Element(Queue())) is one


def test_a_link_does_not_stand_where_another_number_was_reported() -> None:
    mine, others = (
        parts(Agent(), Agent())._replace(
            realtime=Part(Kind.AGENT, 5, Source.REALTIME, Agent(), remote_number=number)
        )
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
    assert (left.absent_since_ms, known.absent_since_ms) == (7, 7)
    back = with_part(known, Source.REALTIME, part(Kind.AGENT, 5, Source.REALTIME))
    assert back.absent_since_ms is None
