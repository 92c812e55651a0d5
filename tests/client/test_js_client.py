"""JavaScript SDK: its own tests, and its types.

The tests are tests/client/js/. Without Node they are skipped, unless REQUIRE_NODE=1 says that it must be
there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
WEB: Final = ROOT / "gateway" / "web"
AGREEMENT: Final = """
import * as code from './code.js';
import type * as types from './oscc-client.js';
export const agreed: typeof types = code;
"""


def program(name: str, *, required: bool) -> str:
    """Return the path of *name*; without it the test is skipped, or fails where it is required."""
    tools = os.environ.get("GENERATORS") or ROOT / "build" / "generators"
    found = shutil.which(name) or shutil.which(name, path=f"{tools}/node_modules/.bin")
    if found is None:
        if required:
            pytest.fail(f"REQUIRE_NODE=1, and there is no {name}")
        pytest.skip(f"there is no {name}")
    return found


def test_its_own_tests_pass() -> None:
    node = program("node", required=os.environ.get("REQUIRE_NODE") == "1")
    files = sorted(str(file) for file in (ROOT / "tests" / "client" / "js").glob("*.test.mjs"))
    done = subprocess.run([node, "--test", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_types_are_those_of_its_code(tmp_path: Path) -> None:
    tsc = program("tsc", required=False)
    shutil.copy(WEB / "oscc-client.d.ts", tmp_path)
    shutil.copy(WEB / "oscc-client.js", tmp_path / "code.js")
    (tmp_path / "agree.ts").write_text(AGREEMENT, "utf-8")
    options = ["--allowJs", "--checkJs", "--strict", "--noEmit", "--target", "es2022", "--module", "esnext"]
    options += ["--moduleResolution", "bundler", "--lib", "es2023,dom,dom.iterable"]
    command = [tsc, *options, "agree.ts", "code.js"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
