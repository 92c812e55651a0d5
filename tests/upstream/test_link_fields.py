"""Each field of agents and figures on a link: read, composed, sent by the simulator, and shown by a view."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from gateway.core.element import Parts, compose, with_part
from gateway.domain.model import Kind
from gateway.domain.resources import Agent, Aggregate, Group, Privacy, Queue
from gateway.domain.upstream import Part
from gateway.protocol.schemas import classified
from gateway.simulator import model, post_processing
from gateway.simulator.elements import render
from gateway.upstream.oscce import decode
from gateway.upstream.oscce.readings import Readings
from tests.simulator.peer import AGENT, World
from tests.upstream.samples import USER_REALTIME

WEB: Final = Path(__file__).parents[2] / "gateway" / "web"
NOT_SHOWN: Final = {"agents_logged_on", "app_present", "presence_state"}
"""The web client shows the summands of the first, since when an app is absent, and the routing state."""
FROM_TWO: Final = {"post_processing.since_ms"}
"""Filled by `HandlingStates` and `PostProcessing` together."""
NOT_REALTIME: Final = {
    "extension": Privacy.PERSONAL,
    "auto_post_processing.on": Privacy.PERSONAL,
    "auto_post_processing.duration_s": Privacy.PERSONAL,
    **dict.fromkeys(("day_start_ms", "window_start_ms"), Privacy.NEUTRAL),
    **dict.fromkeys(("service_level_threshold_s", "service_level_formula"), Privacy.NEUTRAL),
}
"""Who an agent is, what an agent has set, and how figures are counted."""
TIME_MS: Final = 1_700_000_000_000
SAMPLES: Final = (7, 7.5, "Attention")


class Figures(NamedTuple):
    """One event type of the link: its element, its mapping, and the resource that it fills."""

    element: Any
    mapped: Callable[[Any, int], Part]
    resource: Any


FIGURES: Final = {
    model.Kind.USER: Figures(decode.UserRealtime, decode.user_realtime, Agent),
    model.Kind.USER_CUMULATIVE: Figures(decode.UserCumulative, decode.user_cumulative, Agent),
    model.Kind.QUEUE: Figures(decode.QueueRealtime, decode.queue_realtime, Queue),
    model.Kind.QUEUE_CUMULATIVE: Figures(decode.QueueCumulative, decode.queue_cumulative, Queue),
    model.Kind.GROUP: Figures(decode.GroupRealtime, decode.group_realtime, Group),
    model.Kind.AGGREGATE: Figures(decode.AggregateRealtime, decode.aggregate_realtime, Aggregate),
}
FIELDS: Final = [
    (kind, name) for kind, of in FIGURES.items() for name in of.element.__struct_encode_fields__[1:]
]
EACH: Final = pytest.mark.parametrize(("kind", "name"), FIELDS)
RESOURCES: Final = pytest.mark.parametrize("resource", [Agent, Queue, Group, Aggregate])


def mapped(kind: model.Kind, **fields: object) -> Part:
    """Return the part that an element with *fields* alone is mapped to."""
    of = FIGURES[kind]
    received = {of.element.__struct_encode_fields__[0]: 3, **fields}
    return of.mapped(msgspec.convert(received, of.element), TIME_MS)


def sample(kind: model.Kind, name: str) -> object:
    """Return a value of the type that the element's field *name* has."""
    for value in [USER_REALTIME[name]] if kind is model.Kind.USER else SAMPLES:
        try:
            mapped(kind, **{name: value})
        except msgspec.ValidationError:
            continue
        return value
    raise AssertionError(f"{name} takes none of the samples")


def filled(kind: model.Kind, name: str) -> Part:
    """Return the part of an element whose field *name* has a value of its type."""
    return mapped(kind, **{name: sample(kind, name)})


def composed(kind: model.Kind, part: Part) -> object:
    """Return the resource that is composed of *part* alone."""
    parts = Parts(FIGURES[kind].resource(), None, None, None)
    return compose(with_part(parts, part.source, part), 0)


def at(value: object, path: str) -> object:
    """Return what stands at *path* in a resource, of many parts in the first one that has it."""
    for name in path.split("."):
        if value is not None:
            value = getattr(value, name.removesuffix("[]"))
        if name.endswith("[]"):
            value = next(iter(value), None) if isinstance(value, tuple) else None
    return value


def fills(kind: model.Kind, name: str) -> set[str]:
    """Return the fields of the resource that the element's field *name* fills."""
    paths = [path for path, _ in classified(FIGURES[kind].resource)]
    empty, full = composed(kind, mapped(kind)), composed(kind, filled(kind, name))
    return {path for path in paths if at(full, path) != at(empty, path)}


def test_every_kind_of_elements_is_here() -> None:
    assert {part.kind for part in map(mapped, FIGURES)} == set(Kind)


@RESOURCES
def test_every_realtime_field_is_filled_from_the_link(resource: type[object]) -> None:
    named = {path for path, privacy in classified(resource) if privacy is Privacy.REALTIME}
    mine = [(kind, name) for kind, name in FIELDS if FIGURES[kind].resource is resource]
    assert named - {field for kind, name in mine for field in fills(kind, name)} <= FROM_TWO


@RESOURCES
def test_a_view_of_the_web_client_shows_every_realtime_field(resource: type[object]) -> None:
    views = "".join(path.read_text("utf-8") for path in WEB.glob("*.js"))
    named = {path.rpartition(".")[2] for path, privacy in classified(resource) if privacy is Privacy.REALTIME}
    assert {field for field in named if not re.search(rf"\b{field}\b", views)} <= NOT_SHOWN


@EACH
def test_a_field_is_read_from_the_link(kind: model.Kind, name: str) -> None:
    assert filled(kind, name).value != mapped(kind).value, f"no field of the resource is filled by {name}"


@EACH
@pytest.mark.parametrize("escape", ["", "\\u0020"])
def test_an_event_has_what_its_element_has(kind: model.Kind, name: str, escape: str) -> None:
    key = FIGURES[kind].element.__struct_encode_fields__[0]
    head = {"Type": "Event", "QueryID": 1, "EventType": kind, "Time": TIME_MS, "Complete": False}
    event = json.dumps({**head, "Other": "?", "Elements": [{key: 3, name: sample(kind, name)}]})
    reading = Readings().event(event.replace("?", escape).encode())
    assert reading is not None
    assert [part.value for part in reading.parts] == [filled(kind, name).value]


@EACH
def test_what_a_field_fills_is_realtime_data(kind: model.Kind, name: str) -> None:
    classes = dict(classified(FIGURES[kind].resource))
    for field in fills(kind, name):
        assert classes[field] is NOT_REALTIME.get(field, Privacy.REALTIME), field


@EACH
def test_a_field_that_was_read_reaches_the_resource(kind: model.Kind, name: str) -> None:
    empty = composed(kind, mapped(kind))
    assert composed(kind, filled(kind, name)) != empty, f"gateway/core/element.py leaves {name} out"


def sent() -> Mapping[model.Kind, set[str]]:
    """Return the fields that the simulator sends of each kind of element."""
    world = World()
    center = world.sim.center
    directory = center.directory
    world.log_on("agent1")
    world.agent().auto = model.AutoPostProcessing(on=True, duration_s=30)
    center.ask(world.agent(), "Unavailable", 95_001, "Now", "Self")
    contact = center.give(world.agent(), directory.queues[60_001], None, "Talking")
    center.ask(world.agent(), "Work", 95_005, "AfterContact", "Supervisor")
    found: dict[model.Kind, set[str]] = {kind: set() for kind in FIGURES}
    of_kind: Mapping[model.Kind, Iterable[int]] = {
        model.Kind.USER: [AGENT],
        model.Kind.USER_CUMULATIVE: [AGENT],
        model.Kind.QUEUE: directory.queues,
        model.Kind.QUEUE_CUMULATIVE: directory.queues,
        model.Kind.GROUP: directory.members_of,
        model.Kind.AGGREGATE: directory.aggregates,
    }
    post_processing.start(center, world.agent(), None, None)
    for is_over in (False, True):
        if is_over:
            center.end(contact)
        for kind, keys in of_kind.items():
            found[kind] |= (render(center, kind, min(keys), own=True) or {}).keys()
    return found


def test_the_simulator_sends_every_field() -> None:
    found = sent()
    assert {f"{kind}.{name}" for kind, name in FIELDS if name not in found[kind]} == set()
