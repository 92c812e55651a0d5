"""Which changes to routing parameters are allowed?"""

from __future__ import annotations

import pytest

from gateway.simulator.directory import PARAMETERS, check_parameters, check_together, defaults
from gateway.simulator.fields import Refused
from tests.simulator.peer import World


def test_every_default_is_allowed() -> None:
    for applies_to in ("Queue", "Group"):
        writable = {
            each.name: each.default
            for each in PARAMETERS
            if each.applies_to == applies_to and not each.read_only
        }
        assert check_parameters(applies_to, writable) == writable


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("Priority", True, "WrongType"),
        ("Priority", 1.5, "WrongType"),
        ("Priority", 0, "ValueOutOfRange"),
        ("TargetOccupancy", float("nan"), "ValueOutOfRange"),
        ("TargetOccupancy", "90", "WrongType"),
        ("WrapupReasonRequired", 1, "WrongType"),
        ("Announcement", 5, "WrongType"),
        ("Announcement", "x" * 201, "WrongType"),
        ("Distribution", "Random", "ValueOutOfRange"),
        ("Distribution", None, "WrongType"),
        ("OverflowQueue", "60001", "WrongType"),
        ("OverflowEnabled", True, "ParameterUnknown"),
        ("SchedulingVersion", "S2", "ParameterReadOnly"),
    ],
)
def test_what_is_refused(name: str, value: object, error: str) -> None:
    with pytest.raises(Refused, match=error):
        check_parameters("Queue", {name: value})


def test_a_queue_flows_over_into_visible_others_without_a_cycle() -> None:
    queues = World().sim.center.directory.queues
    one, two, three = (queues[key] for key in (60_001, 60_002, 60_003))
    visible = frozenset(queues)
    check_together(one, one.parameters | {"OverflowQueue": two.key}, queues, visible)
    one.parameters["OverflowQueue"] = two.key
    two.parameters["OverflowQueue"] = three.key
    for queue, target in ((three, one.key), (one, one.key)):
        with pytest.raises(Refused, match="OverflowCycle"):
            check_together(queue, queue.parameters | {"OverflowQueue": target}, queues, visible)
    with pytest.raises(Refused, match="ReferenceUnknown"):
        check_together(three, three.parameters | {"OverflowQueue": one.key}, queues, frozenset())
    check_together(one, dict(one.parameters), queues, frozenset())


def test_attention_comes_before_action() -> None:
    queues = World().sim.center.directory.queues
    queue = queues[60_001]
    with pytest.raises(Refused, match="InconsistentParameters"):
        check_together(queue, queue.parameters | {"AttentionContacts": 9}, queues, frozenset())


def test_directory_objects_leave_out_what_does_not_apply() -> None:
    found = {each.name: each.as_json() for each in PARAMETERS}
    assert found["WrapupReasonRequired"] == {
        "Name": "WrapupReasonRequired",
        "AppliesTo": "Queue",
        "DataType": "Boolean",
        "ReadOnly": False,
        "Default": False,
    }
    assert found["OverflowAfter"]["Unit"] == "s"
    assert defaults("Group") == {"MaximumCallsWaiting": 50, "OverflowEnabled": True}
