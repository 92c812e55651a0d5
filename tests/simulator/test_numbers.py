"""Which remote numbers are allowed, and how are they written?"""

from __future__ import annotations

import pytest

from gateway.simulator.fields import Refused
from gateway.simulator.sessions import normalise
from gateway.simulator.settings import SimulatorSettings

SETTINGS = SimulatorSettings()


@pytest.mark.parametrize(
    "written", ["+49 30 1234567", "0049-30-1234567", "030/1234567", " (030) 12.345.67 ", "+49301234567"]
)
def test_one_number_has_one_form(written: str) -> None:
    assert normalise(written, SETTINGS) == "+49301234567"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("", "RemoteNumberMissing"),
        ("  ", "RemoteNumberMissing"),
        ("112", "RemoteNumberInvalid"),
        ("0110", "RemoteNumberInvalid"),
        ("+49*21#", "RemoteNumberInvalid"),
        ("sip:anna@example.org", "RemoteNumberInvalid"),
        ("4930 1234567", "RemoteNumberInvalid"),
        ("+4930123456789012", "RemoteNumberInvalid"),
        ("+٤٩٣٠١٢٣٤٥٦٧", "RemoteNumberInvalid"),
        ("+882 1234567", "RemoteNumberNotAllowed"),
        ("0900 1234567", "RemoteNumberNotAllowed"),
        ("0137 1234567", "RemoteNumberNotAllowed"),
    ],
)
def test_what_is_refused(written: str, name: str) -> None:
    with pytest.raises(Refused, match=name):
        normalise(written, SETTINGS)
