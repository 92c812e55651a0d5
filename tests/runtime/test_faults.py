"""Where did something fail, without saying anything that may be secret?"""

from __future__ import annotations

from gateway.runtime.faults import place


def _fail(text: str) -> Exception:
    try:
        raise ValueError(text)  # noqa: TRY301 - the place is what is tested
    except ValueError as fault:
        return fault


def _outer() -> Exception:
    try:
        _inner()
    except ValueError as fault:
        return fault
    raise AssertionError


def _inner() -> None:
    raise ValueError("secret-0815")


def test_a_fault_is_named_by_type_and_place_never_by_its_text() -> None:
    told = place(_fail("secret-0815"))
    assert told.startswith("ValueError at test_faults.py:")
    assert "secret" not in told


def test_the_deepest_place_is_told() -> None:
    raised_at = _inner.__code__.co_firstlineno + 1
    assert place(_outer()) == f"ValueError at test_faults.py:{raised_at}"


def test_of_a_group_the_first_fault_is_told() -> None:
    inner = _fail("secret-0815")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [inner, KeyError("b")]), TypeError("c")])
    assert place(group) == place(inner)


def test_what_was_never_raised_is_nowhere() -> None:
    assert place(KeyError("secret-0815")) == "KeyError at nowhere"
