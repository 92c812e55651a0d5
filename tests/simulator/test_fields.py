"""Is whatever is not as it should be a bad request?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.simulator import fields
from gateway.simulator.fields import CODES, STATUSES, Body, Refused


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (fields.integer, 5),
        (fields.optional_integer, None),
        (fields.optional_integer, 5),
        (fields.text, "x"),
        (fields.optional_text, None),
        (fields.flag, False),
        (fields.integers, [1, 2]),
        (fields.mapping, {"a": 1}),
        (fields.mappings, [{}]),
    ],
)
def test_what_is_right_is_returned(read: Callable[[Body, str], object], value: object) -> None:
    assert read({"f": value}, "f") == value


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (fields.integer, True),
        (fields.integer, 1.0),
        (fields.integer, None),
        (fields.optional_integer, "5"),
        (fields.text, 5),
        (fields.text, "x" * 1025),
        (fields.optional_text, []),
        (fields.flag, 1),
        (fields.flag, None),
        (fields.integers, "12"),
        (fields.integers, [1, True]),
        (fields.mapping, []),
        (fields.mappings, {}),
        (fields.mappings, [1]),
    ],
)
def test_what_is_wrong_is_refused(read: Callable[[Body, str], object], value: object) -> None:
    with pytest.raises(Refused) as refused:
        read({"f": value}, "f")
    assert (refused.value.name, refused.value.details) == ("BadRequest", {"Field": "f"})


def test_choices_and_defaults() -> None:
    assert fields.one_of({"f": "b"}, "f", ("a", "b")) == "b"
    assert fields.flag({}, "f", default=True) is True
    for wrong in ("c", ["a"], None):
        with pytest.raises(Refused):
            fields.one_of({"f": wrong}, "f", ("a", "b"))


# ---- Do errors carry their codes and statuses? ----


@pytest.mark.parametrize(("name", "code", "status"), [("NumberInUse", 52, 409), ("Expired", 63, 500)])
def test_a_name_has_its_code_and_status(name: str, code: int, status: int) -> None:
    refused = Refused(name, Min=1)
    assert (refused.code, refused.status, refused.details, str(refused)) == (code, status, {"Min": 1}, name)


def test_codes_are_unique_and_statuses_are_errors() -> None:
    assert len(set(CODES.values())) == len(CODES)
    assert all(400 <= status < 600 for status in STATUSES.values())
