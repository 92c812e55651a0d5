"""Each import contract names the culprit. One seeded import per contract, on a skeleton of the tree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import gateway

ROOT = Path(gateway.__file__).parents[1]

SKELETON = (
    "__init__", "__main__", "telemetry", "client",
    "app/__init__", "app/wiring", "edge/__init__", "edge/server", "bus/__init__", "bus/redis",
    "upstream/__init__", "upstream/client", "simulator/__init__", "simulator/server",
    "runtime/__init__", "runtime/node", "core/__init__", "core/lease",
    "protocol/__init__", "protocol/codec", "domain/__init__", "domain/model",
)  # fmt: skip
"""The rooms that the contracts name, empty."""

ALLOWED = {
    "app/wiring": "import gateway.edge.server\nimport gateway.bus.redis\nimport rich\nimport uvloop\n",
    "edge/server": "import aiohttp\nimport gateway.runtime.node\nimport gateway.telemetry\n",
    "bus/redis": "import redis.asyncio\nimport hiredis\nimport gateway.protocol.codec\n",
    "upstream/client": "import aiohttp\nimport msgspec\n",
    "simulator/server": "import aiohttp\nimport random\n",
    "client": "import aiohttp\nimport gateway.protocol.codec\nimport gateway.domain.model\n",
    "telemetry": "import prometheus_client\n",
    "runtime/node": "import asyncio\nimport gateway.core.lease\nimport gateway.telemetry\n",
    "protocol/codec": "import msgpack\nimport msgspec\nimport pydantic\nimport gateway.domain.model\n",
    "core/lease": "import dataclasses\nimport gateway.protocol.codec\n",
    "domain/model": "import enum\n",
}
"""What each room may do, all at once."""


def _lint(tree: Path, extra: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name in SKELETON:
        path = tree / "gateway" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ALLOWED.get(name, "") + extra.get(name, ""), "utf-8")
    (tree / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8"), "utf-8")
    lint = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [lint, "--no-cache", "--no-logo"], cwd=tree, capture_output=True, text=True, check=False
    )


def test_all_that_is_allowed_passes(tmp_path: Path) -> None:
    done = _lint(tmp_path, {})
    assert done.returncode == 0, done.stdout


SEEDED = [
    ("domain/model", "import gateway.core.lease", "Floors"),
    ("core/lease", "import gateway.runtime.node", "Floors"),
    ("runtime/node", "import gateway.bus.redis", "Floors"),
    ("edge/server", "import gateway.bus.redis", "Floors"),
    ("upstream/client", "import gateway.edge.server", "Floors"),
    ("edge/server", "import gateway.client", "Floors"),
    ("client", "import gateway.core.lease", "The Python SDK"),
    ("client", "import gateway.telemetry", "The Python SDK"),
    ("simulator/server", "import gateway.protocol.codec", "An honest double"),
    ("simulator/server", "import gateway.domain.model", "An honest double"),
    ("core/lease", "import time", "domain, protocol and core"),
    ("protocol/codec", "import random", "domain, protocol and core"),
    ("domain/model", "import asyncio", "domain, protocol and core"),
    ("domain/model", "import pydantic", "What is true"),
    ("runtime/node", "import pydantic", "core and runtime"),
    ("core/lease", "import msgspec", "core and runtime"),
    ("app/wiring", "import redis", "One door for Redis"),
    ("bus/redis", "import aiohttp", "Doors for aiohttp"),
    ("edge/server", "import prometheus_client", "One door for metrics"),
    ("edge/server", "import rich", "Doors that only"),
]


def test_each_seeded_import_breaks_its_contract(tmp_path: Path) -> None:
    extra: dict[str, str] = {}
    for culprit, statement, _ in SEEDED:
        extra[culprit] = f"{extra.get(culprit, '')}{statement}\n"
    done = _lint(tmp_path, extra)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = re.split(r"\n(.+)\n-+\n", done.stdout.partition("Broken contracts")[2])
    received = dict(zip(broken[1::2], broken[2::2], strict=True))
    for culprit, statement, contract in SEEDED:
        (about,) = [text for name, text in received.items() if name.startswith(contract)]
        assert f"gateway.{culprit.replace('/', '.')} -> {statement.split()[1]}" in about, (culprit, statement)


def test_a_new_room_must_be_given_a_floor(tmp_path: Path) -> None:
    (tmp_path / "gateway" / "attic").mkdir(parents=True)
    (tmp_path / "gateway" / "attic" / "__init__.py").write_text("", "utf-8")
    done = _lint(tmp_path, {})
    assert done.returncode == 1
    assert "attic" in done.stdout
