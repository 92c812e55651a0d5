"""Command line: help and exit codes."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import gateway
from gateway.__main__ import main as program
from gateway.app.cli import (
    BROKEN_PIPE,
    COMMANDS,
    CliCommand,
    add_config,
    check,
    command_named,
    main,
    parser,
    program_name,
    table,
)
from gateway.app.config.errors import ConfigError
from tests.app.samples import cases


def test_help_lists_every_command_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    for name in COMMANDS:
        assert re.search(rf"^    {name}\b", shown, re.MULTILINE)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help_with_examples_that_parse(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    _, _, examples = capsys.readouterr().out.partition("examples:\n")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert lines
    for line in lines:
        words = re.sub(r"^\w+=\S+ ", "", line).split(">")[0].split()
        assert words[:2] == ["oscc-gateway", name]
        assert parser().parse_args(words[1:]).command is command_named(name)


NEEDLESS = {"redis", "gateway.client", "gateway.simulator", "gateway.app.cli.check"}


def test_a_node_loads_nothing_of_other_commands_nor_of_redis() -> None:
    loads = "from gateway.app.cli import parser; import sys; parser('serve')"
    shown = subprocess.run(
        [sys.executable, "-c", f"{loads}; print({NEEDLESS} & sys.modules.keys())"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert shown.stdout == "set()\n"


@pytest.mark.parametrize(
    ("line", "text"),
    [(line, text) for lines, text in cases("command_lines.txt") for line in lines.splitlines()],
)
def test_what_cannot_be_meant_is_a_fault_of_usage_and_a_number_has_its_bounds(
    line: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(line.split())
    except SystemExit as refused:
        code = refused.code
    written = capsys.readouterr().err
    assert code == 2
    assert text in written.splitlines()[-1]
    assert ("usage: oscc-gateway" in written) is ("error: " in text)


def test_without_a_command_its_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main([])
    assert refused.value.code == 2
    assert "usage: oscc-gateway" in capsys.readouterr().err


def _command_that(error: BaseException) -> dict[str, CliCommand]:
    def fail(args: object) -> int:
        raise error

    return {"keys": command_named("keys")._replace(run=fail)}


def test_every_fault_of_a_configuration_has_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "COMMANDS", _command_that(ConfigError(["One.", "Two."])))
    assert main(["keys"]) == 2
    assert capsys.readouterr().err == "oscc-gateway: One.\noscc-gateway: Two.\n"


def test_a_command_that_ctrl_c_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "COMMANDS", _command_that(KeyboardInterrupt()))
    assert main(["keys"]) == 130


INTERRUPTED_WHILE_LOADING = """
import runpy, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "aiohttp":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
runpy.run_module("gateway", run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_while_modules_are_loaded_leaves_no_trace() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_LOADING], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_commands_handle_ctrl_c_themselves_once_they_are_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["oscc-gateway", "--version"])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit):
            program()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert gateway.__version__ in capsys.readouterr().out


# ---- option of the settings' file ----


@pytest.mark.parametrize("arguments", [["--config", "a.toml"], ["-c", "a.toml"]])
def test_the_file_has_one_option(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_config(parser)
    assert parser.parse_args(arguments).config == Path("a.toml")
    assert parser.parse_args([]).config is None


# ---- lists in a terminal ----


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    assert table(("A", "LONG"), [("wide", "x"), ("y", "")]) == "A     LONG\nwide  x\ny\n"
    assert table(("A", "B"), []) == "A  B\n"


def test_a_terminal_is_sent_nothing_but_letters() -> None:
    assert table(("A",), [("\x1b[2Jgone\r\n\u202e",)]) == "A\n?[2Jgone???\n"


def test_the_program_is_named_as_it_can_be_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / ".venv" / "bin" / "oscc-gateway"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(program), "demo"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    assert program_name() == ".venv/bin/oscc-gateway"
    monkeypatch.chdir(program.parent)
    assert program_name() == "./oscc-gateway"
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert program_name() == str(program)
    monkeypatch.setenv("PATH", str(program.parent))
    assert program_name() == "oscc-gateway"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert program_name() == "oscc-gateway"


def test_a_reader_that_stops_early_is_no_fault() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "gateway", "size", "--phones", "100"]
    with os.fdopen(writing, "wb") as closed:
        ended = subprocess.run(words, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (BROKEN_PIPE, "")
