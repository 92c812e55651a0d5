"""The Node.js program that runs the JavaScript SDK."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest


@pytest.fixture(scope="module")
def node() -> str:
    """The command that starts a Node with WebSockets."""
    found = shutil.which("node")
    version = (
        subprocess.run([found, "--version"], capture_output=True, text=True, check=True) if found else None
    )
    major = int(version.stdout.strip("v\n").split(".")[0]) if version else 0
    if major < 20:
        if os.environ.get("REQUIRE_NODE") == "1":
            pytest.fail("REQUIRE_NODE=1, and there is no Node 20 or newer")
        pytest.skip("there is no Node 20 or newer")
    return f"{found} --experimental-websocket" if major < 22 else str(found)
