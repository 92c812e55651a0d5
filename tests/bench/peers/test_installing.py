"""Peers of the benchmark: only what is missing is installed, only what the locks name."""

from pathlib import Path

import pytest

from bench.peers import installing

LOCK = """# a comment
alpha==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:ab
    # via beta
beta-two==2.0 ; python_full_version < '3.13' \\
    --hash=sha256:bb
    # via -r somewhere
"""


def test_an_entry_of_the_lock_keeps_its_hashes() -> None:
    assert installing.locked(LOCK, "alpha") == (
        "alpha==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\n    # via beta\n"
    )


def test_entries_come_in_the_order_of_the_lock() -> None:
    both = installing.locked(LOCK, "beta-two", "alpha")
    assert [line for line in both.splitlines() if "==" in line] == [
        "alpha==1.0 \\",
        "beta-two==2.0 ; python_full_version < '3.13' \\",
    ]


def test_a_name_that_is_not_locked_is_refused() -> None:
    with pytest.raises(KeyError, match="beta"):
        installing.locked(LOCK, "alpha", "beta")


def test_only_what_is_not_installed_is_missing() -> None:
    listed = "gcc installed\nlibuv1:amd64 installed\nmosquitto config-files\n"
    assert installing.missing_packages(listed, ["gcc", "libuv1", "mosquitto", "golang-go"]) == [
        "mosquitto",
        "golang-go",
    ]


def test_the_lock_holds_all_that_the_python_peers_ask_for_and_what_builds_it() -> None:
    asked = Path(installing.__file__).with_name("requirements.in").read_text("utf-8").splitlines()
    names = [line for line in asked if not line.startswith("#")]
    assert "setuptools" in names
    locked = installing.locked(installing.LOCK.read_text("utf-8"), *names)
    assert locked.count("--hash=sha256:") >= len(names)


def test_what_is_newer_than_its_source_is_not_built_again(tmp_path: Path) -> None:
    source, program = tmp_path / "source.c", tmp_path / "program"
    source.write_text("")
    program.write_text("")
    assert installing.built(source, program, ("false",))


def test_a_build_that_fails_is_said_and_answered_with_false(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source.c"
    source.write_text("")
    assert not installing.built(source, tmp_path / "program", ("no-such-compiler", "source.c"))
    assert "bench: no-such-compiler source.c failed: " in capsys.readouterr().err
