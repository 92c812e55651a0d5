"""Are catalogues about the contact centre and about nobody?"""

from __future__ import annotations

import dataclasses
import typing

import pytest

from gateway.domain.model import Privacy
from gateway.domain.resources import (
    RESOURCES,
    Reason,
    ReasonKind,
    Reasons,
    RoutingParameter,
    RoutingParameters,
    Skill,
    Skills,
)

PAGE = {
    Skill: ["skill_id", "name", "level_min", "level_max", "preference_min", "preference_max"],
    Reason: ["reason_id", "kind", "name", "required_for"],
    RoutingParameter: [
        *("name", "applies_to", "data_type", "min", "max", "step", "values", "unit", "read_only", "default")
    ],
    Skills: ["skills"],
    Reasons: ["reasons"],
    RoutingParameters: ["parameters"],
}
"""What the protocol's page lists, in its order."""


@pytest.mark.parametrize("of", PAGE, ids=lambda of: of.__name__)
def test_a_catalogue_has_the_fields_of_the_protocols_page(of: type) -> None:
    assert dataclasses.is_dataclass(of)
    assert [field.name for field in dataclasses.fields(of)] == PAGE[of]


@pytest.mark.parametrize("of", PAGE, ids=lambda of: of.__name__)
def test_nothing_in_it_is_about_a_person(of: type) -> None:
    assert dataclasses.is_dataclass(of)
    assert {field.metadata["privacy"] for field in dataclasses.fields(of)} == {Privacy.NEUTRAL}


def test_each_has_its_key() -> None:
    named = {RESOURCES[f"catalogue:{name}"] for name in ("skills", "reasons", "routing_parameters")}
    assert named == {Skills, Reasons, RoutingParameters}


def test_an_empty_catalogue_is_no_unknown_one() -> None:
    assert (Skills().skills, Reasons().reasons, RoutingParameters().parameters) == ((), (), ())


def test_reasons_are_of_four_kinds() -> None:
    assert typing.get_args(ReasonKind) == ("unavailable", "work", "post_processing", "wrapup")
