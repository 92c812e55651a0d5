"""Resources: values whose every field has a privacy class."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gateway.domain import resources
from gateway.domain.commands import ChangeRemoteNumber
from gateway.domain.model import (
    ALWAYS,
    ME,
    Application,
    Device,
    Kind,
    key_of,
    masked,
    value,
)
from gateway.domain.resources import (
    RESOURCES,
    Agent,
    Aggregate,
    Group,
    Handling,
    Me,
    Media,
    PostProcessing,
    Privacy,
    Queue,
    QueueEntry,
    QueueFigures,
    QueueWindow,
    Resource,
    RoutingState,
    neutral,
    personal,
    realtime,
)
from gateway.domain.upstream import LogOn, Part, Source


def values() -> Iterator[type]:
    """Yield every dataclass that may travel."""
    for found in vars(resources).values():
        if isinstance(found, type) and dataclasses.is_dataclass(found):
            yield found


MADE_OFTEN = {
    Agent,
    Queue,
    QueueEntry,
    QueueFigures,
    QueueWindow,
    Group,
    Aggregate,
    Handling,
    PostProcessing,
    Media,
}


PARTS = (QueueEntry, QueueFigures, QueueWindow)
"""Their fields are declared by Queue."""


@pytest.mark.parametrize("of", sorted(set(values()), key=repr), ids=repr)
def test_every_field_has_a_class_and_a_default_and_no_value_changes(of: type) -> None:
    assert dataclasses.is_dataclass(of)
    for field in dataclasses.fields(of):
        if of not in PARTS:
            assert isinstance(field.metadata.get("privacy"), Privacy), field.name
        assert field.default is None or field.default == (), f"{field.name}: unknown is null, or nothing"
    name = dataclasses.fields(of)[0].name
    if of in MADE_OFTEN:  # only the type checker guards their fields, which costs nothing
        received = vars(value)["__dataclass_transform__"]
        assert (received | received["kwargs"])["frozen_default"]
        return
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(of(), name, 1)


@pytest.mark.parametrize("part", PARTS)
def test_the_parts_of_a_queue_have_its_fields(part: type) -> None:
    types = typing.get_type_hints(part)
    assert types.items() <= typing.get_type_hints(Queue).items()


def test_every_realtime_field_of_a_queue_is_a_figure_or_counts_a_window() -> None:
    figures = {field.name for field in dataclasses.fields(QueueFigures)}
    window = {field.name for field in dataclasses.fields(QueueWindow)} - {"window_start_ms"}
    realtime = {
        field.name for field in dataclasses.fields(Queue) if field.metadata["privacy"] is Privacy.REALTIME
    }
    assert realtime == figures - {"service_level_threshold_s", "service_level_formula"} | window


def test_there_is_a_type_for_every_key_that_a_phone_may_see() -> None:
    keys = [*(key_of(kind, 5) for kind in Kind), *ALWAYS, ME]
    assert {key if key in RESOURCES else key.partition(":")[0] for key in keys} == set(RESOURCES)
    assert set(RESOURCES.values()) == set(typing.get_args(Resource))


def test_busy_is_never_a_routing_state() -> None:
    assert set(RoutingState) == {"logged_off", "available", "unavailable", "work", "unknown"}


def test_nothing_in_a_catalogue_is_about_a_person() -> None:
    catalogues = {of for key, of in RESOURCES.items() if key.startswith("catalogue:")}
    assert catalogues == {resources.Skills, resources.Reasons, resources.RoutingParameters}
    for of in (*catalogues, resources.Skill, resources.Reason, resources.RoutingParameter):
        assert {field.metadata["privacy"] for field in dataclasses.fields(of)} == {Privacy.NEUTRAL}


# ---- classes of privacy ----


@dataclass(frozen=True, slots=True)
class Sample:
    name: str | None = personal("what it is")
    names: tuple[str, ...] = personal("what it is", many=True)
    kind: str | None = neutral("what it is")
    state: str | None = realtime("what it is")
    states: tuple[str, ...] = realtime("what it is", many=True)


@pytest.mark.parametrize(
    ("field", "privacy", "default"),
    [
        ("name", Privacy.PERSONAL, None),
        ("names", Privacy.PERSONAL, ()),
        ("kind", Privacy.NEUTRAL, None),
        ("state", Privacy.REALTIME, None),
        ("states", Privacy.REALTIME, ()),
    ],
)
def test_a_field_has_its_class_and_knows_if_it_is_unknown(
    field: str, privacy: Privacy, default: object
) -> None:
    found = next(one for one in dataclasses.fields(Sample) if one.name == field)
    assert found.metadata["privacy"] is privacy
    assert getattr(Sample(), field) == default


@pytest.mark.parametrize(
    ("number", "shown"), [("+49891234567", "*********567"), ("1234", "*234"), ("123", "***"), ("", "***")]
)
def test_a_masked_number_shows_three_digits_at_most(number: str, shown: str) -> None:
    assert masked(number) == shown


def test_no_repr_shows_a_remote_number() -> None:
    me = Me(display_name="Ann", remote_number="+49301234567")
    part = Part(Kind.AGENT, 7, Source.REALTIME, Agent(), remote_number="+49301234567")
    credentials = LogOn(Application.REMOTE_ASSISTANT, "ann", "secret", Device("d", "D"), "+49301234567")
    command = ChangeRemoteNumber("+49301234567")
    for each in (me, part, credentials, command):
        assert "1234567" not in repr(each)
