"""Decode the elements of each event type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from gateway.domain.catalogue import Parameter
from gateway.domain.model import Kind
from gateway.domain.resources import Agent, Group, Queue
from gateway.domain.upstream import Part, Source
from gateway.upstream.wire_agents import (
    UserCumulative,
    UserRealtime,
    UserSkill,
    skills,
    user_cumulative,
    user_realtime,
)
from gateway.upstream.wire_names import KINDS, Count, Element, Key, is_name, parameter
from gateway.upstream.wire_queues import (
    AggregateRealtime,
    GroupRealtime,
    QueueCumulative,
    QueueRealtime,
    aggregate_realtime,
    group_realtime,
    queue_cumulative,
    queue_realtime,
)

ElementT = TypeVar("ElementT", bound=Element)


class References(NamedTuple):
    """Names of the routing parameters whose values are Keys of other objects."""

    queue: frozenset[str] = frozenset()
    group: frozenset[str] = frozenset()


Read = Callable[[bytes, int, References], Part | None]
"""Maps an element's bytes, read by the server at an instant; raises whatever msgspec raises."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the elements of one event type are about."""

    kind: Kind | None
    source: Source
    read: Read


class _Configuration(Element):
    object_type: str
    key: Key
    skills: tuple[UserSkill, ...] | None = None
    routing_parameters: dict[str, Any] | None = None
    version: Count | None = None


def _configuration(told: _Configuration, references: References) -> Part | None:
    value: Agent | Queue | Group
    match told.object_type:
        case "User":
            value = Agent(skills=skills(told.skills), version=told.version)
        case "Queue":
            value = Queue(
                routing_parameters=_parameters(told.routing_parameters, references.queue),
                version=told.version,
            )
        case "Group":
            value = Group(
                routing_parameters=_parameters(told.routing_parameters, references.group),
                version=told.version,
            )
        case _:
            return None
    return Part(KINDS[told.object_type], told.key, Source.CONFIGURATION, value)


def _parameters(told: dict[str, Any] | None, references: frozenset[str]) -> dict[str, Parameter] | None:
    if told is None:
        return None
    named = ((name, value) for name, value in told.items() if is_name(name))
    return {name: parameter(value, reference=name in references) for name, value in named}


def _read_configuration(raw: bytes, _: int, references: References) -> Part | None:
    return _configuration(_decode_configuration(raw), references)


_decode_configuration: Final = msgspec.json.Decoder(_Configuration).decode


def _reader(element: type[ElementT], part: Callable[[ElementT, int], Part]) -> Read:
    decode = msgspec.json.Decoder(element).decode

    def read(raw: bytes, time_ms: int, _: References) -> Part:
        return part(decode(raw), time_ms)

    return read


SHAPES: Final[dict[str, Shape]] = {
    "UserRealtime": Shape(Kind.AGENT, Source.REALTIME, _reader(UserRealtime, user_realtime)),
    "QueueRealtime": Shape(Kind.QUEUE, Source.REALTIME, _reader(QueueRealtime, queue_realtime)),
    "GroupRealtime": Shape(Kind.GROUP, Source.REALTIME, _reader(GroupRealtime, group_realtime)),
    "AggregateRealtime": Shape(
        Kind.AGGREGATE, Source.REALTIME, _reader(AggregateRealtime, aggregate_realtime)
    ),
    "UserCumulative": Shape(Kind.AGENT, Source.CUMULATIVE, _reader(UserCumulative, user_cumulative)),
    "QueueCumulative": Shape(Kind.QUEUE, Source.CUMULATIVE, _reader(QueueCumulative, queue_cumulative)),
    "Configuration": Shape(None, Source.CONFIGURATION, _read_configuration),
}
"""Event type → shape of its elements."""
EVENT_TYPES: Final[dict[tuple[Kind | None, Source], str]] = {
    **{(shape.kind, shape.source): event_type for event_type, shape in SHAPES.items()},
    (None, Source.DIRECTORY): "Administration",
}
"""What is listened to → event type."""
