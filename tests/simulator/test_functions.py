"""Which functions are up?"""

from __future__ import annotations

import pytest

from gateway.simulator.contact_center import MANAGERS, Functions
from gateway.simulator.fields import Refused


def test_all_are_up_at_first_and_told_with_their_manager() -> None:
    told = Functions().messages()
    assert {each["Function"]: each["Manager"] for each in told} == MANAGERS
    assert {each["State"] for each in told} == {"Up"}


def test_what_is_down_is_named_and_degraded_is_good_enough() -> None:
    functions = Functions()
    functions.states["Voice"] = "Degraded"
    functions.need("Voice", "RealTime")
    functions.states["RealTime"] = "Down"
    with pytest.raises(Refused) as refused:
        functions.need("Voice", "RealTime")
    assert refused.value.details == {"Function": "RealTime"}
    assert not functions.is_down("OpenMedia")
