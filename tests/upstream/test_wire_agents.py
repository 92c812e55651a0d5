"""Is everything that the server tells of an agent mapped, and every unknown word harmless?"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.domain.model import Kind
from gateway.domain.resources import (
    Agent,
    AgentSkill,
    AutoPostProcessing,
    Handling,
    Media,
    PostProcessing,
    RoutingState,
    Switch,
)
from gateway.domain.upstream import Part, Source
from gateway.upstream.oscce.resources import (
    UserCumulative,
    UserRealtime,
    UserSkill,
    skills,
    user_cumulative,
    user_realtime,
)
from tests.upstream.samples import SKILLS, TIME_MS, USER_CUMULATIVE, USER_REALTIME


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


def test_what_is_not_told_is_none() -> None:
    part = user_realtime(msgspec.convert({"UserKey": 7}, UserRealtime), TIME_MS)
    assert part.value == Agent()
    assert part.remote_number is None


@pytest.mark.parametrize("name", ["Busy", "Unknown", "Sleeping", ""])
def test_busy_and_unknown_words_are_no_routing_states(name: str) -> None:
    assert agent(RoutingState=name).routing_state is RoutingState.UNKNOWN
    assert agent(PendingRoutingState=name).pending_routing_state is RoutingState.UNKNOWN


def test_who_is_told_of_is_not_logged_off() -> None:
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


def test_a_day_is_mapped() -> None:
    part = user_cumulative(msgspec.convert(USER_CUMULATIVE, UserCumulative), TIME_MS)
    assert (part.kind, part.number, part.source) == (Kind.AGENT, 7, Source.CUMULATIVE)
    assert part.value == Agent(handled_today=21, talk_s_today=5400.4, day_start_ms=1_699_999_000_000)


def test_skills_are_mapped() -> None:
    told = msgspec.convert(SKILLS, tuple[UserSkill, ...])
    assert skills(told) == (AgentSkill("61", 3, 2, active=True), AgentSkill("62"))
    assert skills(None) == ()
