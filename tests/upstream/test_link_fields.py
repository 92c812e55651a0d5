"""Each field of the figures on a link: named by the page, read, composed, and sent by the simulator."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from gateway.core.element import Parts, compose
from gateway.domain.model import Kind, Privacy
from gateway.domain.resources import Aggregate, Group, Queue
from gateway.domain.upstream import Part, Source
from gateway.protocol.schemas import classified
from gateway.simulator import model
from gateway.simulator.elements import render
from gateway.upstream.oscce import decode
from tests.simulator.peer import World

PAGE: Final = Path(__file__).parents[2] / "docs" / "oscce-link.md"
WEB: Final = Path(__file__).parents[2] / "gateway" / "web"
NOT_SHOWN: Final = {"agents_logged_on"}
"""The web client shows its summands instead."""
NO_FIGURES: Final = {"service_level_threshold_s", "service_level_formula", "window_start_ms"}
"""How figures are counted, not what goes on."""
TIME_MS: Final = 1_700_000_000_000
SAMPLES: Final = (7, 7.5, "Attention")


class Figures(NamedTuple):
    """One event type of the link: its element, its mapping, and the resource that it fills."""

    element: Any
    mapped: Callable[[Any, int], Part]
    resource: Any


FIGURES: Final = {
    model.Kind.QUEUE: Figures(decode.QueueRealtime, decode.queue_realtime, Queue),
    model.Kind.QUEUE_CUMULATIVE: Figures(decode.QueueCumulative, decode.queue_cumulative, Queue),
    model.Kind.GROUP: Figures(decode.GroupRealtime, decode.group_realtime, Group),
    model.Kind.AGGREGATE: Figures(decode.AggregateRealtime, decode.aggregate_realtime, Aggregate),
}
FIELDS: Final = [
    (kind, name) for kind, of in FIGURES.items() for name in of.element.__struct_encode_fields__[1:]
]
EACH: Final = pytest.mark.parametrize(("kind", "name"), FIELDS)


def mapped(kind: model.Kind, **fields: object) -> Part:
    """Return the part that an element with *fields* alone is mapped to."""
    of = FIGURES[kind]
    told = {of.element.__struct_encode_fields__[0]: 3, **fields}
    return of.mapped(msgspec.convert(told, of.element), TIME_MS)


def filled(kind: model.Kind, name: str) -> Part:
    """Return the part of an element whose field *name* has a value of its type."""
    for sample in SAMPLES:
        try:
            return mapped(kind, **{name: sample})
        except msgspec.ValidationError:
            continue
    raise AssertionError(f"{name} takes none of the samples")


def composed(kind: model.Kind, part: Part) -> object:
    """Return the resource that is composed of *part* alone."""
    empty = Part(part.kind, part.number, Source.DIRECTORY, FIGURES[kind].resource())
    is_realtime = part.source is Source.REALTIME
    now, window = (part, None) if is_realtime else (None, part)
    return compose(Parts(empty, now, window, None, True, None), 0)


def test_every_kind_of_figures_is_here() -> None:
    assert {of.resource for of in FIGURES.values()} == {Queue, Group, Aggregate}
    assert {part.kind for part in map(mapped, FIGURES)} == {Kind.QUEUE, Kind.GROUP, Kind.AGGREGATE}


@pytest.mark.parametrize("resource", [Queue, Group, Aggregate])
def test_every_realtime_field_is_filled_from_the_link(resource: type[Queue | Group | Aggregate]) -> None:
    named = {path for path, privacy in classified(resource) if privacy is Privacy.REALTIME}
    found = {
        field
        for kind, name in FIELDS
        if FIGURES[kind].resource is resource
        for field in named
        if getattr(composed(kind, filled(kind, name)), field) is not None
    }
    assert named - found == set()


@pytest.mark.parametrize("resource", [Queue, Group, Aggregate])
def test_a_view_of_the_web_client_shows_every_realtime_field(
    resource: type[Queue | Group | Aggregate],
) -> None:
    views = "".join(path.read_text("utf-8") for path in WEB.glob("*.js"))
    named = {path for path, privacy in classified(resource) if privacy is Privacy.REALTIME}
    assert {field for field in named if not re.search(rf"\b{field}\b", views)} <= NOT_SHOWN


@EACH
def test_a_field_is_named_in_the_row_of_the_page(kind: model.Kind, name: str) -> None:
    row = re.search(rf"^\| `{kind}`.*$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert row is not None
    assert re.search(rf"\b{name}\b", row[0]), f"docs/oscce-link.md does not name {kind}.{name}"


@EACH
def test_a_field_is_read_from_the_link(kind: model.Kind, name: str) -> None:
    assert filled(kind, name).value != mapped(kind).value, f"no field of the resource is filled by {name}"


def test_every_figure_is_realtime_data() -> None:
    misnamed = {
        field
        for kind, name in FIELDS
        for field, privacy in classified(FIGURES[kind].resource)
        if getattr(composed(kind, filled(kind, name)), field) != getattr(composed(kind, mapped(kind)), field)
        and privacy is not Privacy.REALTIME
    }
    assert misnamed == NO_FIGURES


@EACH
def test_a_field_that_was_read_reaches_the_resource(kind: model.Kind, name: str) -> None:
    empty = composed(kind, mapped(kind))
    assert composed(kind, filled(kind, name)) != empty, f"gateway/core/element.py leaves {name} out"


@EACH
def test_the_simulator_sends_a_field(kind: model.Kind, name: str) -> None:
    center = World().sim.center
    directory = center.directory
    of_kind: Mapping[model.Kind, Iterable[int]] = {
        model.Kind.QUEUE: directory.queues,
        model.Kind.QUEUE_CUMULATIVE: directory.queues,
        model.Kind.GROUP: directory.members_of,
        model.Kind.AGGREGATE: directory.aggregates,
    }
    key = min(of_kind[kind])
    element = render(center, kind, key, own=False)
    assert element is not None
    assert name in element, f"gateway/simulator/elements.py never sends {kind}.{name}"
