"""``watch``: options for user, mode and duration."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import pytest

from gateway.app.cli import watch
from gateway.app.cli.watch import PASSWORD_VARIABLE, WatchError, WatchOptions, watch_options


def parse(*arguments: str) -> argparse.Namespace:
    """Return what the parser of ``watch`` makes of *arguments*."""
    parser = argparse.ArgumentParser()
    watch.add_watch_arguments(parser)
    return parser.parse_args(arguments)


def _options(*arguments: str) -> WatchOptions:
    return watch_options(parse("https://gw", "--user", "eve", *arguments))


def test_the_command_line_makes_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    seen = [
        _options("--once", "--site", "main", "--takeover"),
        _options("--for", "5", "--refresh", "0.5", "--lines", "60"),
        _options(),
    ]
    assert [(o.for_s, o.refresh_s, o.site, o.takeover, o.lines) for o in seen] == [
        (0.0, 1.0, "main", True, None),
        (5.0, 0.5, None, False, 60),
        (None, 1.0, None, False, None),
    ]
    assert {(o.address, o.user_name, o.password) for o in seen} == {("https://gw", "eve", "secret")}
    assert "secret" not in repr(seen)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--for", "0"],
        ["--for", "x"],
        ["--once", "--for", "5"],
        ["--refresh", "1e9"],
        ["--lines", "15"],
        ["--lines", "10001"],
        ["--lines", "many"],
    ],
)
def test_a_wrong_command_line_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse("https://gw", "--user", "eve", *wrong)


def test_without_a_terminal_the_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(WatchError, match=PASSWORD_VARIABLE):
        _options()


def test_on_a_terminal_the_password_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda: "typed")
    assert _options().password == "typed"


def test_authorities_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    (tmp_path / "empty.pem").write_text("")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(WatchError, match=name):
            _options("--ca-file", str(tmp_path / name))
