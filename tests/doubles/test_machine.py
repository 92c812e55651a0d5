"""The time that programs waited for a core."""

from __future__ import annotations

from pathlib import Path

from tests.doubles.machine import waited_s


def test_the_total_is_read_in_seconds(tmp_path: Path) -> None:
    told = tmp_path / "cpu"
    told.write_text(
        "some avg10=92.57 avg60=89.54 avg300=88.23 total=22819986\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    )
    assert waited_s(told) == 22.819986


def test_a_machine_that_does_not_say_it_extends_nothing(tmp_path: Path) -> None:
    assert waited_s(tmp_path / "cpu") == 0.0
    (tmp_path / "cpu").write_text("nothing\n")
    assert waited_s(tmp_path / "cpu") == 0.0
