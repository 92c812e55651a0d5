"""Mapping of agents: complete, and unknown words are harmless."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.model import Kind
from gateway.domain.resources import (
    Agent,
    AgentSkill,
    Aggregate,
    AutoPostProcessing,
    Group,
    Handling,
    Media,
    Parameter,
    PostProcessing,
    Queue,
    QueueFigures,
    QueueWindow,
    RoutingState,
    Switch,
)
from gateway.domain.upstream import Part, Source
from gateway.upstream.oscce.decode import (
    SHAPES,
    AggregateRealtime,
    GroupRealtime,
    QueueCumulative,
    QueueRealtime,
    References,
    UserCumulative,
    UserRealtime,
    UserSkill,
    aggregate_realtime,
    group_realtime,
    queue_cumulative,
    queue_realtime,
    since,
    skills,
    user_cumulative,
    user_realtime,
)
from tests.upstream import samples
from tests.upstream.samples import (
    AGGREGATE_REALTIME,
    GROUP_REALTIME,
    QUEUE_CUMULATIVE,
    QUEUE_REALTIME,
    SKILLS,
    TIME_MS,
    USER_CUMULATIVE,
    USER_REALTIME,
)


def realtime(**changes: Any) -> Part:  # noqa: ANN401 - JSON
    """Read the sample with changes."""
    return user_realtime(msgspec.convert(USER_REALTIME | changes, UserRealtime), TIME_MS)


def agent(**changes: Any) -> Agent:  # noqa: ANN401 - JSON
    """Read the sample's value with changes."""
    value = realtime(**changes).value
    assert isinstance(value, Agent)
    return value


def test_a_full_element_is_mapped_whole() -> None:
    part = realtime()
    assert (part.kind, part.number, part.source) == (Kind.AGENT, 7, Source.REALTIME)
    assert part.remote_number == "+49891234"
    assert part.value == Agent(
        extension="2107",
        routing_state=RoutingState.WORK,
        routing_state_since_ms=TIME_MS - 90_000,
        reason_id="31",
        routing_state_by="system",
        pending_routing_state=RoutingState.LOGGED_OFF,
        pending_by="supervisor",
        pending_reason_id="32",
        pending_post_processing=True,
        handling=(
            Handling("c-1", "voice", "talking", TIME_MS - 12_500, direct=False, queue_id="3"),
            Handling("c-0", "web_collaboration", "post_processing", TIME_MS - 4_000, direct=True),
        ),
        post_processing=PostProcessing(
            since_ms=TIME_MS - 4_000,
            ends_at_ms=1_700_000_130_000,
            extendable=True,
            next_state=RoutingState.AVAILABLE,
            reason_id="41",
        ),
        auto_post_processing=AutoPostProcessing(on=True, duration_s=30),
        media=Media(
            voice=Switch.ON,
            callback=Switch.OFF,
            email=Switch.FAILED,
            web_collaboration=Switch.OFF,
            open_media=Switch.ON,
        ),
        presence_state="Away",
        logged_on_remotely=True,
        app_present=False,
        app_absent_since_ms=1_700_000_000_000,
        allowed_actions=("set_available", "log_off", "start_post_processing", "change_remote_number"),
    )


def test_what_is_not_reported_is_none() -> None:
    part = user_realtime(msgspec.convert({"UserKey": 7}, UserRealtime), TIME_MS)
    assert part.value == Agent()
    assert part.remote_number is None


@pytest.mark.parametrize("name", ["Busy", "Unknown", "Sleeping", ""])
def test_busy_and_unknown_words_are_no_routing_states(name: str) -> None:
    assert agent(RoutingState=name).routing_state is RoutingState.UNKNOWN
    assert agent(PendingRoutingState=name).pending_routing_state is RoutingState.UNKNOWN


def test_who_is_reported_is_not_logged_off() -> None:
    read = agent(RoutingState="LoggedOff", PendingRoutingState="LoggedOff")
    assert read.routing_state is RoutingState.UNKNOWN, "the page names no such state of a logged-on user"
    assert read.pending_routing_state is RoutingState.LOGGED_OFF


def test_unknown_words_become_unknown() -> None:
    contact = {"HandlingState": "Dancing", "CallID": "c", "Media": "Telex"}
    read = agent(
        HandlingStates=[contact],
        RoutingStateBy="Somebody",
        PendingBy="Nobody",
        Media={"Voice": "Humming"},
        PostProcessing={"NextState": "Elsewhere"},
        AllowedActions=["Fly", "SetWork"],
    )
    assert read.handling == (Handling("c", "unknown", "unknown"),)
    assert (read.routing_state_by, read.pending_by) == ("unknown", "unknown")
    assert read.media == Media(voice=Switch.UNKNOWN)
    assert read.post_processing == PostProcessing(next_state=RoutingState.UNKNOWN)
    assert read.allowed_actions == ("set_work",)


def test_every_action_of_the_page_is_offered() -> None:
    names = ["SetAvailable", "SetUnavailable", "SetWork", "LogOff", "StartPostProcessing"]
    names += ["ExtendPostProcessing", "FinishPostProcessing", "ChangeRemoteNumber"]
    assert len(agent(AllowedActions=names).allowed_actions) == len(names)


def test_post_processing_without_a_contact_has_no_beginning() -> None:
    read = agent(HandlingStates=[], PostProcessing={"Extendable": False})
    assert read.post_processing == PostProcessing(extendable=False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"UserKey": "7"},
        {"UserKey": -1},
        {"UserKey": 2**53},
        {"TimeInRoutingState": "90"},
        {"TimeInRoutingState": 1e300},
        {"HandlingStates": [{"HandlingState": "Talking"}]},
        {"Remote": {"AppAbsentSince": 1.5}},
    ],
)
def test_a_field_of_the_wrong_kind_is_unreadable(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        realtime(**wrong)


def test_skills_are_mapped() -> None:
    reported = msgspec.convert(SKILLS, tuple[UserSkill, ...])
    assert skills(reported) == (AgentSkill("61", 3, 2, active=True), AgentSkill("62"))
    assert skills(None) == ()


# ---- queues, groups and aggregates ----


MAPPED: list[tuple[Callable[[Any, int], Part], object, tuple[Kind, int, Source], object]] = [
    (
        user_cumulative,
        msgspec.convert(USER_CUMULATIVE, UserCumulative),
        (Kind.AGENT, 7, Source.CUMULATIVE),
        Agent(handled_today=21, talk_s_today=5400.4, day_start_ms=1_699_999_000_000),
    ),
    (
        queue_realtime,
        msgspec.convert(QUEUE_REALTIME, QueueRealtime),
        (Kind.QUEUE, 3, Source.REALTIME),
        QueueFigures(
            contacts_waiting=5,
            oldest_since_ms=TIME_MS - 61_250,
            service_level_pct=87.5,
            service_level_threshold_s=20,
            service_level_formula="answered in time / all",
            abandoned_rate_pct=2.5,
            estimated_wait_s=33,
            agents_logged_on=10,
            agents_available=2,
            agents_handling=4,
            agents_post_processing=1,
            agents_unavailable=2,
            agents_work=1,
            level="attention",
        ),
    ),
    (
        queue_cumulative,
        msgspec.convert(QUEUE_CUMULATIVE, QueueCumulative),
        (Kind.QUEUE, 3, Source.CUMULATIVE),
        QueueWindow(
            window_start_ms=1_699_999_000_000,
            received=100,
            answered=90,
            abandoned=6,
            average_wait_s=14.5,
            maximum_wait_s=120,
        ),
    ),
    (
        group_realtime,
        msgspec.convert(GROUP_REALTIME, GroupRealtime),
        (Kind.GROUP, 4, Source.REALTIME),
        Group(
            users_logged_on=8,
            users_idle=1,
            users_busy=5,
            users_away=2,
            users_handling_routed=4,
            users_handling_direct=1,
            calls_waiting=3,
        ),
    ),
    (
        aggregate_realtime,
        msgspec.convert(AGGREGATE_REALTIME, AggregateRealtime),
        (Kind.AGGREGATE, 5, Source.REALTIME),
        Aggregate(contacts_waiting=9, oldest_since_ms=TIME_MS - 10_000),
    ),
]


@pytest.mark.parametrize(
    ("mapping", "element", "place", "value"), MAPPED, ids=lambda each: type(each).__name__
)
def test_figures_are_mapped_whole(
    mapping: Callable[[Any, int], Part], element: object, place: tuple[Kind, int, Source], value: object
) -> None:
    part = mapping(element, TIME_MS)
    assert (part.kind, part.number, part.source) == place
    assert part.value == value


def test_null_figures_are_none_and_an_empty_queue_has_no_oldest() -> None:
    reported = {"QueueKey": 3, "ServiceLevel": None, "OldestContactWaitTime": None, "AbandonedRate": None}
    assert queue_realtime(msgspec.convert(reported, QueueRealtime), TIME_MS).value == QueueFigures()


def test_equal_formulas_of_queues_are_one_object_until_another_of_their_length_came() -> None:
    def formula(*words: str) -> object:
        sent = QueueRealtime(queue_key=3, service_level_formula="".join(words))
        figures = queue_realtime(sent, TIME_MS).value
        assert isinstance(figures, QueueFigures)
        assert figures.service_level_formula == "".join(words)
        return figures.service_level_formula

    first = formula("answered", " in time")
    assert formula("answered", " in time") is first
    formula("of another length")
    assert formula("answered", " in time") is first
    formula("ANSWERED", " IN TIME")
    assert formula("answered", " in time") is not first


# ---- No figure that cannot be true ----


_INSTANTS = {"oldest_since_ms", "window_start_ms"}
_SHARES = ("ServiceLevel", "AbandonedRate", "ServiceLevelThreshold")
_TIMES = ("OldestContactWaitTime", "EstimatedWaitTime", "AverageWaitTime", "MaximumWaitTime")
_COUNTS = (samples.QUEUE_REALTIME | samples.QUEUE_CUMULATIVE | samples.GROUP_REALTIME).keys() - {
    *(*_SHARES, *_TIMES, "QueueKey", "GroupKey", "WindowStart", "ServiceLevelFormula", "Level")
}
_FIGURES = st.fixed_dictionaries(
    {name: st.integers(-(2**53) + 1, 2**53 - 1) for name in sorted(_COUNTS)}
    | {name: st.sampled_from([-0.0, -1.0, 250.0]) | st.floats(-1e12, 1e12) for name in (*_SHARES, *_TIMES)}
)


@pytest.mark.parametrize(
    ("seconds", "instant_ms"), [(12.3456, 1_000_000 - 12_346), (0.0, 1_000_000), (None, None), (-1.0, None)]
)
def test_an_instant_is_the_time_minus_the_seconds(seconds: float | None, instant_ms: int | None) -> None:
    assert since(1_000_000, seconds) == instant_ms


def _queues(fields: dict[str, Any]) -> list[Part]:
    """Read *fields* as whatever has figures of queues, groups and aggregates."""
    return [
        queue_realtime(_received(samples.QUEUE_REALTIME, fields, QueueRealtime), TIME_MS),
        queue_cumulative(_received(samples.QUEUE_CUMULATIVE, fields, QueueCumulative), 0),
        group_realtime(_received(samples.GROUP_REALTIME, fields, GroupRealtime), TIME_MS),
        aggregate_realtime(_received(samples.AGGREGATE_REALTIME, fields, AggregateRealtime), TIME_MS),
    ]


def _received(sample: dict[str, Any], fields: dict[str, Any], of: type[Any]) -> Any:  # noqa: ANN401 - any element
    return msgspec.convert(sample | fields, of)


@given(_FIGURES)
def test_every_figure_is_one_that_can_be(figures: dict[str, Any]) -> None:
    for part in _queues(figures):
        for name in (field.name for field in fields(part.value)):
            value = getattr(part.value, name)
            if isinstance(value, int | float) and name not in _INSTANTS:
                assert value >= 0, name
                assert str(value) != "-0.0", name
                assert value <= 100 or not name.endswith("_pct"), name


def test_figures_that_cannot_be_are_unknown() -> None:
    wrong = {
        "Contacts": -1,
        "ServiceLevel": 250,
        "AbandonedRate": -3,
        "EstimatedWaitTime": -1,
        "WorkUsers": -2,
    }
    value = queue_realtime(_received(samples.QUEUE_REALTIME, wrong, QueueRealtime), TIME_MS).value
    assert isinstance(value, QueueFigures)
    assert (value.contacts_waiting, value.service_level_pct, value.abandoned_rate_pct) == (None, None, None)
    assert (value.estimated_wait_s, value.agents_work, value.agents_available) == (None, None, 2)
    day = _received(samples.USER_CUMULATIVE, {"Handled": -1, "TotalTalkTime": -0.5}, UserCumulative)
    began_ms = samples.USER_CUMULATIVE["WindowStart"]
    assert user_cumulative(day, 0).value == Agent(day_start_ms=began_ms)


def test_nothing_that_is_there_began_later() -> None:
    reported = {
        "TimeInRoutingState": -5,
        "AutoPostProcessing": {"On": True, "Duration": -30},
        "Remote": {"AppAbsentSince": TIME_MS + 9_000},
    }
    value = user_realtime(_received(samples.USER_REALTIME, reported, UserRealtime), TIME_MS).value
    assert isinstance(value, Agent)
    assert value.routing_state_since_ms is None
    assert value.auto_post_processing == AutoPostProcessing(on=True)
    assert value.app_absent_since_ms == TIME_MS


# ---- event types ----


REFERENCES = References(queue=frozenset({"OverflowQueue"}))


def configuration(sample: dict[str, Any]) -> tuple[Kind, int, object] | None:
    """Read a configuration element."""
    part = SHAPES["Configuration"].read(json.dumps(sample).encode(), 0, REFERENCES)
    return None if part is None else (part.kind, part.number, part.value)


def test_skills_of_a_user_are_configuration() -> None:
    skills = (AgentSkill("61", 3, 2, active=True), AgentSkill("62"))
    assert configuration(samples.USER_CONFIGURATION) == (Kind.AGENT, 7, Agent(skills=skills, version=12))


def test_references_of_queues_are_ids_and_values_keep_their_types() -> None:
    expected: dict[str, Parameter] = {
        "OverflowQueue": "9",
        "OverflowAfter": 60,
        "Open": True,
        "Share": 0.5,
        "Note": "x",
    }
    read = configuration(samples.QUEUE_CONFIGURATION)
    assert read == (Kind.QUEUE, 3, Queue(routing_parameters=expected, version=2))


def test_a_parameter_of_the_same_name_of_groups_is_none() -> None:
    read = configuration(samples.GROUP_CONFIGURATION)
    assert read == (Kind.GROUP, 4, Group(routing_parameters={"OverflowQueue": 9}, version=3))


def test_absent_parameters_stay_absent_and_unknown_objects_are_skipped() -> None:
    assert configuration({"ObjectType": "Queue", "Key": 3}) == (Kind.QUEUE, 3, Queue())
    assert configuration({"ObjectType": "Balloon", "Key": 3, "Version": 1}) is None
