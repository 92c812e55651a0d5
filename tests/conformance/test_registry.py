"""Does each check hold a sentence that stands on the page, and only once?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from gateway.domain.errors import CloseCode
from tests.conformance import checks as registered
from tests.conformance.faults import FAULTS
from tests.conformance.registry import CHECKS, add
from tests.conformance.stage import Stage

PAGE: Final = Path(__file__).parents[2] / "docs" / "protocol.md"


def test_every_sentence_stands_on_the_page() -> None:
    page = " ".join(PAGE.read_text("utf-8").split())
    missing = {check.name for check in CHECKS.values() if " ".join(check.sentence.split()) not in page}
    assert not missing


def test_every_family_has_checks() -> None:
    assert {name.split(".")[0] for name in CHECKS} == set(registered.__all__)


def test_every_close_code_of_the_page_is_tried() -> None:
    assert {f"endings.{code.value}" for code in CloseCode} <= CHECKS.keys()


def test_every_fault_is_found_by_a_check_that_exists() -> None:
    assert {fault.found_by for fault in FAULTS.values()} <= CHECKS.keys()


def test_the_kit_shares_no_code_with_what_it_tests() -> None:
    probe = "import sys, tests.conformance.__main__; print(*[name for name in sys.modules])"
    command = [sys.executable, "-c", probe]
    done = subprocess.run(command, cwd=PAGE.parents[1], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "tests.conformance.checks.mirror" in loaded
    assert not {name for name in loaded if name.split(".")[0] in {"gateway", "aiohttp", "pydantic"}}


def test_a_name_is_given_once() -> None:
    async def play(_stage: Stage) -> None: ...

    with pytest.raises(ValueError, match=r"mirror\.put"):
        add("mirror.put", "…", play)
