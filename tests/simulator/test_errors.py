"""Do errors carry their codes and statuses?"""

from __future__ import annotations

import pytest

from gateway.simulator.fields import CODES, STATUSES, Refused


@pytest.mark.parametrize(("name", "code", "status"), [("NumberInUse", 52, 409), ("Expired", 63, 500)])
def test_a_name_has_its_code_and_status(name: str, code: int, status: int) -> None:
    refused = Refused(name, Min=1)
    assert (refused.code, refused.status, refused.details, str(refused)) == (code, status, {"Min": 1}, name)


def test_a_name_without_a_code_is_internal() -> None:
    assert Refused("Surprise").code == 99


def test_codes_are_unique_and_statuses_are_errors() -> None:
    assert len(set(CODES.values())) == len(CODES)
    assert all(400 <= status < 600 for status in STATUSES.values())
