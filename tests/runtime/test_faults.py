"""Does the log show where something failed, without anything that may be secret?"""

from __future__ import annotations

import logging

import pytest

from gateway.core.rate_limits import AdmissionQueue, Budget
from gateway.runtime.spawn import FRAMES_MAX, first_of, frames, log_fault

LOG = logging.getLogger("gateway.test")


def _fail(text: str) -> Exception:
    try:
        raise ValueError(text)  # noqa: TRY301 - the place is what is tested
    except ValueError as fault:
        return fault


class Broken(Budget):
    """A budget that fails deep inside the gateway."""

    def log_on_wait_s(self, now: float, *, is_likely: bool = False) -> float:
        raise ValueError("secret-0815")


def _inside() -> Exception:
    try:
        AdmissionQueue(Broken()).log_on_wait_s(0.0)
    except ValueError as fault:
        return fault
    raise AssertionError


def _deep(depth: int) -> Exception:
    def descend(left: int) -> None:
        if not left:
            raise ValueError
        descend(left - 1)

    code = compile(
        "def down(n, f):\n    f() if not n else down(n - 1, f)\n", log_fault.__code__.co_filename, "exec"
    )
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 - frames that look like the gateway's own
    try:
        names["down"](depth, lambda: descend(0))  # type: ignore[operator]  # made just above
    except ValueError as fault:
        return fault
    raise AssertionError


def test_all_frames_inside_the_gateway_are_shown_and_the_innermost_wherever_it_is() -> None:
    shown = (frames(_inside()) or "").split(" < ")
    assert [part.rpartition(":")[0].rpartition(":")[0] for part in shown] == [
        "tests/runtime/test_faults.py",
        "gateway/core/rate_limits.py",
    ]
    assert [part.rpartition(":")[2] for part in shown] == ["log_on_wait_s", "log_on_wait_s"]
    assert (
        shown[0]
        == f"tests/runtime/test_faults.py:{Broken.log_on_wait_s.__code__.co_firstlineno + 1}:log_on_wait_s"
    )


def test_a_fault_is_logged_by_type_and_frames_never_by_its_text(caplog: pytest.LogCaptureFixture) -> None:
    log_fault(LOG, "it_failed", _inside())
    (record,) = caplog.records
    assert record.getMessage() == "it_failed"
    assert vars(record)["error"] == "ValueError"
    assert vars(record)["place"] == frames(_inside())
    assert record.exc_info is None
    assert "secret" not in str(vars(record))


def test_of_a_group_the_first_fault_is_shown() -> None:
    inner = _fail("secret-0815")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [inner, KeyError("b")]), TypeError("c")])
    assert first_of(group) is inner


def test_what_was_never_raised_has_no_frames() -> None:
    assert frames(KeyError("secret-0815")) is None


def test_of_a_recursion_the_innermost_frames_are_shown() -> None:
    assert len((frames(_deep(100)) or "").split(" < ")) == FRAMES_MAX
