"""The examples of docs/clients.md run as they are."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.app.processes import running
from tests.conformance.test_conformance import DRIVER, SDK

pytestmark = pytest.mark.scenario

PAGE: Final = Path(__file__).parents[2] / "docs" / "clients.md"
TEXT: Final = PAGE.read_text("utf-8")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a demonstration."""
    with running("demo", "--port", "0", "--no-board", "--agents", "20", "--queues", "3") as demo:
        yield demo.until("A gateway to it").split()[-1]


def example(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return str(text)


def said(command: list[str], folder: Path, address: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "GATEWAY": address, "PYTHONPATH": str(PAGE.parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_the_javascript_example_runs(node: str, address: str, tmp_path: Path, codec: str) -> None:
    shutil.copy(SDK, tmp_path / "oscc-client.mjs")
    text = example("js").replace("paceS: 1}", f"paceS: 1, codec: '{codec}'}}")
    assert codec in text
    (tmp_path / "board.mjs").write_text(text, "utf-8")
    out = said([*shlex.split(node), "board.mjs"], tmp_path, address)
    assert "link live" in out
    assert len(re.findall(r"^queue \d+ .*, \d+ agents have its skills$", out, re.MULTILINE)) == 3
    assert re.search(r"^command (applied|pending|unchanged)", out, re.MULTILINE)
    assert out.rstrip().endswith("logged off")


def test_the_python_example_runs(address: str, tmp_path: Path) -> None:
    (tmp_path / "board.py").write_text(example("python"), "utf-8")
    out = said([sys.executable, "board.py"], tmp_path, address)
    assert len(re.findall(r"^queue \d+ ", out, re.MULTILINE)) == 3
    assert re.search(r"^command (applied|pending|unchanged)", out, re.MULTILINE)
    assert re.search(r"^state \w+ set by (self|supervisor|system)$", out, re.MULTILINE)
    assert out.rstrip().endswith("logged off")


def test_the_page_names_all_that_a_driver_is_asked_for() -> None:
    acts = DRIVER.read_text("utf-8").split("const acts = {")[1].split("\n};")[0]
    asked = set(re.findall(r"^  (?:async )?(\w+)[(:]", acts, re.MULTILINE))
    rows = TEXT.split("| `do` |")[1].split("\n\n")[0].splitlines()[2:]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == asked - {"about", "export"}
