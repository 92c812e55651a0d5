"""Privacy class of each field."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from gateway.domain.commands import ChangeRemoteNumber
from gateway.domain.model import Application, Device, Kind, Privacy, masked, neutral, personal, realtime
from gateway.domain.resources import Agent, Me
from gateway.domain.upstream import LogOn, Part, Source


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
def test_a_field_carries_its_class_and_knows_when_it_is_unknown(
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
    for value in (me, part, credentials, command):
        assert "1234567" not in repr(value)
