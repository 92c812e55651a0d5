"""Is each event type read as the kind and source that it is about?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.model import Kind
from gateway.domain.resources import Agent, AgentSkill, Group, Parameter, Queue
from gateway.domain.upstream import Source
from gateway.upstream.oscce.resources import EVENT_TYPES, SHAPES, References
from tests.upstream import samples

REFERENCES = References(queue=frozenset({"OverflowQueue"}))


@pytest.mark.parametrize(
    ("event_type", "sample"),
    [
        ("UserRealtime", samples.USER_REALTIME),
        ("QueueRealtime", samples.QUEUE_REALTIME),
        ("GroupRealtime", samples.GROUP_REALTIME),
        ("AggregateRealtime", samples.AGGREGATE_REALTIME),
        ("UserCumulative", samples.USER_CUMULATIVE),
        ("QueueCumulative", samples.QUEUE_CUMULATIVE),
        ("Configuration", samples.USER_CONFIGURATION),
    ],
)
def test_a_part_is_of_its_event_types_kind_and_source(event_type: str, sample: dict[str, Any]) -> None:
    shape = SHAPES[event_type]
    part = shape.read(json.dumps(sample).encode(), samples.TIME_MS, References())
    assert part is not None
    assert part.source is shape.source
    assert shape.kind in {part.kind, None}
    assert EVENT_TYPES[shape.kind, shape.source] == event_type


def test_the_live_directory_is_an_event_type_too() -> None:
    assert EVENT_TYPES[None, Source.DIRECTORY] == "Administration"


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
