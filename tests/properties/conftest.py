"""Which marks do the properties use?"""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "seeded: plants a bug in a copy of the gateway and expects its property to find it"
    )
