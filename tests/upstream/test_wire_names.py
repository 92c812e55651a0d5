"""Are the server's words spelt right, and odd values of parameters harmless?"""

from __future__ import annotations

import pytest

from gateway.domain.errors import EndReason
from gateway.domain.model import Application, Kind, Right
from gateway.domain.upstream import Feature
from gateway.upstream.oscce.decode import (
    APPLICATION_NAMES,
    END_REASONS,
    FEATURES,
    KINDS,
    RIGHTS,
    identity,
    ids,
    is_reference,
    own_name,
    parameter,
    server_name,
)


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("call_id", "CallID"),
        ("id", "ID"),
        ("query_id", "QueryID"),
        ("time_in_routing_state", "TimeInRoutingState"),
        ("web_collaboration", "WebCollaboration"),
        ("idle_timeout", "IdleTimeout"),
    ],
)
def test_fields_are_spelt_as_the_server_spells_them(field: str, name: str) -> None:
    assert server_name(field) == name


@pytest.mark.parametrize(
    ("word", "own"),
    [("PostProcessing", "post_processing"), ("Work", "work"), ("QueueReference", "queue_reference")],
)
def test_words_are_spelt_as_clients_spell_them(word: str, own: str) -> None:
    assert own_name(word) == own


def test_tables_cover_the_domain() -> None:
    assert set(RIGHTS.values()) == set(Right)
    assert set(FEATURES.values()) == set(Feature)
    assert set(KINDS.values()) == set(Kind)
    assert set(APPLICATION_NAMES) == set(Application)
    assert set(END_REASONS.values()) == set(EndReason) - {EndReason.UNKNOWN}


def test_keys_become_decimal_strings() -> None:
    assert ids([4, 10]) == ("4", "10")
    assert identity(0) == "0"
    assert identity(None) is None


@pytest.mark.parametrize(
    ("data_type", "expected"),
    [
        ("QueueReference", True),
        ("Reference", True),
        ("ReferenceList", True),
        ("Queue", True),
        ("QueueKey", True),
        ("Skill", True),
        ("Integer", False),
        ("String", False),
        ("Key", False),
    ],
)
def test_which_parameters_are_references(data_type: str, expected: bool) -> None:
    assert is_reference(data_type) is expected


@pytest.mark.parametrize(
    ("value", "reference", "expected"),
    [
        (9, True, "9"),
        (9, False, 9),
        (True, True, True),
        (None, True, None),
        ("9", True, "9"),
        (1.5, False, 1.5),
        ([9, 10], True, ("9", "10")),
        (["a", None, 2, 1.5, True, [1], {}], False, ("a", None, 2, 1.5, True, None, None)),
        ({"a": 1}, False, None),
        (2**60, False, None),
        (1e308, False, 1e308),
        (-1, True, -1),
    ],
)
def test_values_of_parameters(value: object, reference: bool, expected: object) -> None:
    assert parameter(value, reference=reference) == expected


def test_minus_nought_is_nought() -> None:
    assert str(parameter(-0.0, reference=False)) == "0.0"
