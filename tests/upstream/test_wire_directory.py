"""Objects, catalogues and their changes are read completely."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway.domain.commands import Dropped
from gateway.domain.errors import EndReason
from gateway.domain.model import Application, Kind, Right, Scope
from gateway.domain.resources import (
    Agent,
    AgentSkill,
    Aggregate,
    Group,
    QueueEntry,
    Reason,
    RoutingParameter,
    Skill,
)
from gateway.domain.upstream import (
    Announced,
    CatalogueChanged,
    Feature,
    LinkEvent,
    ObjectChanged,
    ScopeChanged,
    Source,
)
from gateway.upstream.oscce.decode import (
    APPLICATION_NAMES,
    END_REASONS,
    FEATURES,
    KINDS,
    RIGHTS,
    References,
    is_reference,
    parameter,
)
from gateway.upstream.oscce.directory import DIRECTORY_KINDS, changes, directory, display_name
from gateway.upstream.oscce.errors import WireError
from gateway.upstream.oscce.readings import Readings
from tests.upstream.samples import SESSION, TIME_MS, USER, message
from tests.upstream.test_wire import read

SKILLS = (AgentSkill("61", 3, 2, active=True), AgentSkill("62"))
ANA = Agent(
    display_name="Ana Agent",
    extension="2107",
    group_ids=("4",),
    queue_ids=("3", "9"),
    skills=SKILLS,
    version=11,
)
OBJECTS: dict[str, Any] = {
    "User": [USER],
    "Queue": [
        {"Key": 3, "Name": "Sales", "Media": "Voice", "SkillKeys": [61]},
        {"Key": 9, "Name": "Fax", "Media": "Telex"},
    ],
    "Group": [{"Key": 4, "Name": "Team"}],
    "Aggregate": [{"Key": 5, "Name": "All", "QueueKeys": [3, 9]}],
    "Skill": [{"Key": 61, "Name": "French", "LevelMin": 1, "LevelMax": 10, "PreferenceMin": 1}],
    "UnavailableReason": [{"Key": 31, "Name": "Lunch"}],
    "WorkReason": [{"Key": 32, "Name": "Back office", "RequiredFor": ["Work"]}],
    "PostProcessingReason": [{"Key": 41, "Name": "Notes", "RequiredFor": ["PostProcessing"]}],
    "WrapupReason": [{"Key": 51, "Name": "Solved"}],
    "RoutingParameter": [
        {
            "Name": "OverflowQueue",
            "AppliesTo": "Queue",
            "DataType": "QueueReference",
            "Values": [3, 9],
            "ReadOnly": False,
            "Default": 9,
        },
        {
            "Name": "OverflowAfter",
            "AppliesTo": "Group",
            "DataType": "Integer",
            "Min": 5,
            "Max": 600,
            "Step": 5,
            "Unit": "s",
            "ReadOnly": True,
            "Default": 60,
        },
    ],
}


def body(objects: dict[str, Any]) -> bytes:
    """Write an answer to ``QueryDirectory``."""
    return json.dumps({"Type": "Response", "RequestID": 1, "Error": 0, "Objects": objects}).encode()


def administer(*elements: dict[str, Any]) -> tuple[LinkEvent, ...]:
    """Read the elements of an ``Administration`` event."""
    received = msgspec.json.decode(json.dumps(elements), type=tuple[msgspec.Raw, ...])
    return changes(received, Readings())


def test_objects_become_parts_and_catalogues_are_mapped() -> None:
    read = directory(body(OBJECTS), Readings())
    assert {(part.kind, part.number): part.value for part in read.parts} == {
        (Kind.AGENT, 7): ANA,
        (Kind.QUEUE, 3): QueueEntry(name="Sales", media="voice", skill_ids=("61",)),
        (Kind.QUEUE, 9): QueueEntry(name="Fax", media="unknown"),
        (Kind.GROUP, 4): Group(name="Team"),
        (Kind.AGGREGATE, 5): Aggregate(name="All", queue_ids=("3", "9")),
    }
    assert {part.source for part in read.parts} == {Source.DIRECTORY}
    assert read.skills == (Skill("61", "French", 1, 10, 1),)
    assert read.reasons == (
        Reason("31", "unavailable", "Lunch"),
        Reason("32", "work", "Back office", ("work",)),
        Reason("41", "post_processing", "Notes", ("post_processing",)),
        Reason("51", "wrapup", "Solved"),
    )
    assert read.parameters == (
        RoutingParameter(
            "OverflowQueue", "queue", "queue_reference", values=("3", "9"), read_only=False, default="9"
        ),
        RoutingParameter(
            "OverflowAfter", "group", "integer", 5, 600, 5, unit="s", read_only=True, default=60
        ),
    )


def test_words_of_the_catalogues_that_are_not_known_become_unknown() -> None:
    reason = {"Key": 31, "Name": "Rest", "RequiredFor": ["Nap", "Unavailable", "LoggedOff"]}
    row = {"Name": "Tides", "AppliesTo": "Moon", "DataType": "Quark"}
    read = directory(body({"UnavailableReason": [reason], "RoutingParameter": [row]}), Readings())
    assert read.reasons[0].required_for == ("unknown", "unavailable", "logged_off")
    assert read.parameters[0].applies_to == "unknown"
    assert read.parameters[0].data_type == "quark", "the page names no data types"


@pytest.mark.parametrize("fields", [{}, {"Name": None}, {"Name": ""}, {"Name": "\u0000"}])
def test_what_has_no_name_is_reported_without(fields: dict[str, Any]) -> None:
    nameless = {"Key": 61} | fields
    read = directory(body({"Skill": [nameless], "WorkReason": [nameless], "Queue": [nameless]}), Readings())
    assert read.skills == (Skill("61"),)
    assert read.reasons == (Reason("61", "work"),)
    assert read.parts[0].value == QueueEntry()


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        *(((beyond,) * 3, (None,) * 3) for beyond in (2**53, -(2**53), 2**63, 2**64, 2**70)),
        ((-(2**53) + 1, 2**53 - 1, 0.5),) * 2,
    ],
)
def test_bounds_that_no_frame_can_carry_are_none(
    sent: tuple[float, ...], read: tuple[float | None, ...]
) -> None:
    bounds = dict(zip(("Min", "Max", "Step"), sent, strict=True))
    row = {"Name": "Limit", "AppliesTo": "Queue", "DataType": "Integer"} | bounds
    (received,) = directory(body({"RoutingParameter": [row]}), Readings()).parameters
    assert (received.min, received.max, received.step) == read


def test_the_pool_learns_the_references_and_shares_objects() -> None:
    pool = Readings()
    _, second, third = (directory(body(OBJECTS), pool) for _ in range(3))
    assert pool.references == References(queue=frozenset({"OverflowQueue"}))
    assert all(one is other for one, other in zip(second.parts, third.parts, strict=True))


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        ("RoutingParameter", {"Name": "Bare"}),
        ("RoutingParameter", 5),
        ("Skill", {"Name": "Keyless"}),
        ("WorkReason", {"Key": "x", "Name": "Odd"}),
        ("User", {"ID": "keyless"}),
        ("Queue", {"Key": None}),
        ("Group", None),
        ("Aggregate", {"Key": 6, "QueueKeys": ["x"]}),
    ],
)
def test_a_row_that_cannot_be_read_is_dropped_and_nothing_else(kind: str, row: Any) -> None:  # noqa: ANN401 - JSON
    whole, odd = directory(body(OBJECTS), Readings()), dict(OBJECTS) | {kind: [row, *OBJECTS[kind], row]}
    read = directory(body(odd), Readings())
    assert [part.value for part in read.parts] == [part.value for part in whole.parts]
    assert (read.skills, read.reasons, read.parameters) == (whole.skills, whole.reasons, whole.parameters)
    assert whole.dropped == ()
    assert [(each.kind, each.rows) for each in read.dropped] == [(kind, 2)]


def test_it_is_said_which_rows_are_dropped_and_why_but_no_value_of_theirs() -> None:
    rows = {
        "Queue": [{"Key": "secret"}, {"Name": "x"}, {"Name": "y"}, {"Key": -1}],
        "RoutingParameter": [{"Name": "n", "AppliesTo": 7, "DataType": "Integer"}],
    }
    assert directory(body(rows), Readings()).dropped == (
        Dropped("Queue", "Key missing", 2),
        Dropped("RoutingParameter", "AppliesTo wrong_type", 1),
        Dropped("Queue", "Key wrong_type", 1),
        Dropped("Queue", "Key out_of_range", 1),
    )


def test_equal_catalogues_of_several_users_are_one_object() -> None:
    pool, odd = Readings(), OBJECTS | {"Skill": [None, *OBJECTS["Skill"]]}
    first, second, other = (directory(body(rows), pool) for rows in (odd, odd, OBJECTS))
    assert first.skills is second.skills
    assert first.reasons is second.reasons
    assert first.parameters is second.parameters
    assert first.dropped == second.dropped == (Dropped("Skill", "wrong_type", 1),)
    assert (other.skills, other.dropped) == (first.skills, ())


def test_a_parameter_of_several_object_types_is_one_of_each() -> None:
    row = {"Name": "Next", "AppliesTo": ["Queue", "Group"], "DataType": "QueueReference", "Default": 3}
    pool = Readings()
    received = directory(body({"RoutingParameter": [row]}), pool).parameters
    assert [(each.name, each.applies_to, each.default) for each in received] == [
        ("Next", "queue", "3"),
        ("Next", "group", "3"),
    ]
    assert pool.references == References(frozenset({"Next"}), frozenset({"Next"}))
    odd = directory(body({"RoutingParameter": [row | {"AppliesTo": ["Group", "Site", "User"]}]}), Readings())
    assert [each.applies_to for each in odd.parameters] == ["group", "unknown"]
    assert odd.dropped == ()


def test_a_row_is_read_as_it_was_meant() -> None:
    read = directory(body({"Queue": [{"Key": 3.0, "Name": "Sales"}], "Skill": [{"Key": 6.1e1}]}), Readings())
    assert (read.parts[0].number, read.skills, read.dropped) == (3, (Skill("61"),), ())


@pytest.mark.parametrize("objects", [{}, {"User": None, "Skill": None}])
def test_kinds_that_are_missing_or_null_are_empty(objects: dict[str, Any]) -> None:
    read = directory(body(objects), Readings())
    assert (read.parts, read.skills, read.reasons, read.parameters) == ((), (), (), ())


def test_everything_is_asked_for() -> None:
    assert set(DIRECTORY_KINDS) == OBJECTS.keys()


@pytest.mark.parametrize(
    ("first", "last", "id_", "name"),
    [
        ("Ana", "Agent", "ana", "Ana Agent"),
        ("", "Agent", "ana", "Agent"),
        (None, None, "ana", "ana"),
        (None, "", None, None),
    ],
)
def test_people_are_called_by_their_names(
    first: str | None, last: str | None, id_: str | None, name: str | None
) -> None:
    assert display_name(first, last, id_) == name


def test_an_object_that_was_added_or_changed_comes_with_its_part() -> None:
    for change in ("Added", "Changed", "Mutated"):
        (event,) = administer({"ObjectType": "User", "Key": 7, "Change": change, "Object": USER})
        assert isinstance(event, ObjectChanged)
        assert event.part is not None
        assert (event.kind, event.number, event.part.value) == (Kind.AGENT, 7, ANA)


def test_an_object_that_was_removed_comes_without() -> None:
    (event,) = administer({"ObjectType": "Queue", "Key": 3, "Change": "Removed", "Object": {"Key": 3}})
    assert event == ObjectChanged(Kind.QUEUE, 3, None)


@pytest.mark.parametrize("element", [{"Change": "Changed"}, {"Change": "Added", "Object": None}])
def test_a_change_that_does_not_say_to_what_has_the_directory_queried(element: dict[str, Any]) -> None:
    assert administer({"ObjectType": "Group", "Key": 4} | element) == (CatalogueChanged(),)


def test_catalogues_are_reported_once_per_event() -> None:
    kinds = ("Skill", "WorkReason", "UnavailableReason", "PostProcessingReason", "WrapupReason")
    elements = [{"ObjectType": kind, "Key": 1, "Change": "Changed"} for kind in kinds]
    named = {"ObjectType": "RoutingParameter", "Change": "Changed"}
    assert administer(*elements, named) == (CatalogueChanged(),)
    assert administer(named | {"Key": "Priority"}) == (CatalogueChanged(),), "it has a name, and no Key"


def test_an_object_of_another_kind_has_a_number_for_its_key() -> None:
    with pytest.raises(WireError):
        administer({"ObjectType": "Queue", "Key": "Billing", "Change": "Removed"})


def test_a_scope_changes_before_the_objects_that_it_gained() -> None:
    session = {key: SESSION[key] for key in ("Session", "Rights", "Scope")}
    rescoped, gained = administer(
        {"ObjectType": "Session"} | session,
        {"ObjectType": "Group", "Key": 4, "Change": "Added", "Object": {"Key": 4, "Name": "Team"}},
    )
    assert rescoped == ScopeChanged(
        2,
        frozenset({Right.OWN_ROUTING_STATE, Right.OWN_POST_PROCESSING}),
        Scope(frozenset({7, 8}), frozenset({3}), frozenset({4}), frozenset({5})),
    )
    assert isinstance(gained, ObjectChanged)


def test_objects_of_no_kind_are_ignored() -> None:
    assert administer({"ObjectType": "Balloon", "Key": 1, "Change": "Added"}) == ()


@pytest.mark.parametrize(
    "element",
    [
        {"ObjectType": "User", "Change": "Removed"},
        {"ObjectType": "Session", "Session": 1},
        {"ObjectType": "Session", "Rights": [], "Scope": {}},
    ],
)
def test_changes_to_nobody_knows_what_are_unreadable(element: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        administer(element)


@pytest.mark.parametrize("element", [{"Key": 1}, {"ObjectType": "User", "Key": 7, "Object": {"Key": "x"}}])
def test_malformed_changes_are_unreadable(element: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        administer(element)


# ---- Messages of an OSCC-E Server for people ----


def announced(**fields: object) -> Announced:
    """Return what a notice with *fields* says."""
    (received,) = read(message("Notice", **fields))
    assert isinstance(received, Announced)
    return received


def test_a_notice_is_reported_as_far_as_it_says_something() -> None:
    received = message(
        "Notice",
        ID="n7",
        Version=2,
        Category="Security",
        Title="Change your password",
        Summary="Today.",
        Link="https://intranet.example/n7",
        EffectiveAt=TIME_MS,
    )
    link = "https://intranet.example/n7"
    assert read(received) == (
        Announced("n7", 2, "security", "Change your password", "Today.", link, TIME_MS),
    )


@pytest.mark.parametrize("only", ["Title", "Text"])
def test_a_notice_may_say_no_more_than_its_title_or_its_text(only: str) -> None:
    received = announced(**{only: "Maintenance at night"})
    assert replace(received, id="x") == Announced(
        "x", 1, "maintenance", "OSCC-E", "Maintenance at night", None, None
    )
    assert announced(Text="At night", Category="Other", Link="javascript:x").link is None


def test_notices_without_an_id_are_distinguished_by_what_they_say() -> None:
    night = announced(Text="Maintenance at night")
    assert re.fullmatch(r"OSCC-E-[0-9a-f]{12}", night.id)
    assert announced(Text="Maintenance at night", Category="Security").id == night.id
    others = [
        announced(Text="Maintenance at noon"),
        announced(Text="Maintenance at night", Title="Today"),
        announced(Title="Maintenance at night"),
        announced(Title="Maintenance", Text="at night"),
        announced(Text="\ud83d\ude00"),
    ]
    assert len({night.id, *(other.id for other in others)}) == len(others) + 1


def test_long_ids_stay_apart() -> None:
    one, other = (announced(ID="i" * 99 + end, Text="x").id for end in "ab")
    assert one != other
    assert len(one) == len(other) == 32
    assert announced(ID="i" * 32, Text="x").id == "i" * 32


def test_null_in_a_notice_is_as_good_as_absent() -> None:
    names = ("ID", "Version", "Category", "Title", "Summary", "Link", "EffectiveAt")
    assert announced(Text="At night", **dict.fromkeys(names)) == announced(Text="At night")


@pytest.mark.parametrize("fields", [{}, {"Text": ""}, {"Text": {"de": "nachts"}}, {"Title": 5}])
def test_a_notice_that_says_nothing_readable_costs_nothing(fields: dict[str, Any]) -> None:
    assert read(message("Notice", **fields)) == ()


def test_a_notice_is_bounded() -> None:
    received = announced(ID="i" * 99, Title="t" * 999, Text="x" * 9_999)
    assert [len(text) for text in (received.id, received.title, received.summary)] == [32, 200, 4_000]


# ---- words of the server, odd values of parameters ----


def test_tables_cover_the_domain() -> None:
    assert set(RIGHTS.values()) == set(Right)
    assert set(FEATURES.values()) == set(Feature)
    assert set(KINDS.values()) == set(Kind)
    assert set(APPLICATION_NAMES) == set(Application)
    assert set(END_REASONS.values()) == set(EndReason) - {EndReason.UNKNOWN}


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
