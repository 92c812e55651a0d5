"""Which server does the simulator say it is?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.simulator.fields import Refused
from gateway.simulator.model import about_of
from gateway.simulator.settings import ALL_FEATURES, SimulatorSettings


def test_it_says_what_the_page_says() -> None:
    assert about_of(SimulatorSettings()).as_json() == {
        "Product": "OSCC-E",
        "ExtensionsVersion": "V2R1",
        "ContactCenterVersion": "V8R2",
        "Protocol": 1,
        "Features": list(ALL_FEATURES),
    }


def test_it_changes_its_mind() -> None:
    about = about_of(replace(SimulatorSettings(), extensions_version="garbage", features=("Skills",)))
    about.features.add("Telepathy")
    assert about.as_json()["ExtensionsVersion"] == "garbage"
    assert about.as_json()["Features"] == ["Skills", "Telepathy"]
    about.need("Skills")
    with pytest.raises(Refused, match="Unsupported"):
        about.need("RemoteAgent")
