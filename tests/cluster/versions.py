"""Nodes of an earlier version: its code if git has it, else present code limited to its envelopes.

``python -m tests.cluster.versions FILE serve …`` is the latter. *FILE* holds what nodes of that version send
(``tests/protocol/envelopes``): kinds and fields that are not in it are neither sent nor read. So a clone
without history tests the same roll; ``OLD_RELEASE=<commit>`` tests the code of that commit.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from packaging.version import Version

import gateway
from gateway.app.cli import main
from gateway.bus import stores
from gateway.bus.sealing import HEAD_BYTES, Seals
from tests.cluster.programs import Launch
from tests.protocol.kept_envelopes import FOLDER

ROOT: Final = Path(gateway.__file__).parents[1]
OLD_RELEASE: Final = os.environ.get("OLD_RELEASE")
"""The commit whose code the earlier nodes run."""
_VALUE: Final = b"value of "
"""Prefix of the purpose of a seal that is a key and not a channel."""


def old(folder: Path) -> Launch:
    """Return how to start a node of the last release; *folder* is for its code."""
    if OLD_RELEASE is None:
        return Launch(("tests.cluster.versions", str(last_release())))
    archive = ["git", "-C", str(ROOT), "archive", OLD_RELEASE, "gateway", "requirements"]
    code = folder / "old"
    code.mkdir()
    packed = subprocess.run(archive, check=True, capture_output=True, timeout=60).stdout
    subprocess.run(["tar", "-x", "-C", str(code)], check=True, input=packed, timeout=60)
    return Launch(folder=code)


def last_release() -> Path:
    """Return the newest file of kept envelopes."""
    return max(FOLDER.glob("*.json"), key=lambda path: Version(path.stem))


class Speech:
    """The envelopes of a version.

    Its kinds, the fields of each, and those of the kinds of resources in its file.
    """

    def __init__(self, file: Path) -> None:
        self.kinds: dict[str, set[str]] = {}
        self.resources: dict[str, set[str]] = {}
        self.line = 0
        """Number of values in a line of publications that are sent together."""
        for sample in msgspec.json.decode(file.read_bytes())["envelopes"]:
            kind, body = msgspec.msgpack.decode(bytes.fromhex(sample["bytes"]))
            self.kinds.setdefault(kind, set()).update(body)
            self.line = max([self.line, *map(len, body["told"])] if kind == "Publications" else [self.line])
            for key, value in _values(kind, body):
                if isinstance(value, dict):
                    self.resources.setdefault(_prefix(key), set()).update(value)

    def cut(self, message: bytes) -> bytes | None:
        """Return *message* with the fields of this version; None: the version has no such kind."""
        decoded = msgspec.msgpack.decode(message)
        if not (isinstance(decoded, list) and len(decoded) == 2 and isinstance(decoded[1], dict)):
            return message  # a greeting
        kind, body = decoded
        if kind not in self.kinds:
            return None
        body = {name: value for name, value in body.items() if name in self.kinds[kind]}
        for key, value in _values(kind, body):
            if isinstance(value, dict):
                for name in value.keys() - self.resources.get(_prefix(key), value.keys()):
                    del value[name]
        if kind == "Publications":
            body["told"] = [line[: self.line] for line in body["told"]]
        return msgspec.msgpack.encode((kind, body))


def _values(kind: str, body: dict[str, Any]) -> Iterator[tuple[str, object]]:
    if kind == "Publications":
        yield from body["values"]
    elif kind == "Publication":
        yield from ((update["key"], update["value"]) for update in body["updates"])


def _prefix(key: str) -> str:
    return key.partition(":")[0]


class OldSeals(Seals):
    """Seals and opens messages of an earlier version only."""

    speech: Speech

    def seal(self, channel: bytes, plain: bytes) -> bytes:
        """Seal the part of a message that the version has."""
        if not channel.startswith(_VALUE):
            body = self.speech.cut(plain[HEAD_BYTES:])
            assert body is not None, "an earlier version never sends it"
            plain = plain[:HEAD_BYTES] + body
        return super().seal(channel, plain)

    def open(self, channel: bytes, sealed: bytes) -> bytes | None:
        """Open a message that the version can read; unknown kinds stay unreadable."""
        plain = super().open(channel, sealed)
        if plain is None or channel.startswith(_VALUE):
            return plain
        body = self.speech.cut(plain[HEAD_BYTES:])
        return plain[:HEAD_BYTES] + (b"\xc0" if body is None else body)


if __name__ == "__main__":
    OldSeals.speech = Speech(Path(sys.argv[1]))
    gateway.__version__ = f"{Path(sys.argv[1]).stem}+old"
    vars(stores)["Seals"] = OldSeals
    del sys.argv[1]
    sys.exit(main())
