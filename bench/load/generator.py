"""How is a load generator told what to do, and what does it answer?

There are two that take the same options and answer with the same JSON: ``wsload.c`` where there is
a C compiler, and :mod:`bench.load.soft`, on uvloop, for machines without one and for TLS.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import LOAD_CORE
from bench.programs import BenchError, opened, output

SOURCE = Path(__file__).with_name("wsload.c")
COMPILES_WITHIN_S = 120.0
CONNECT_WITHIN_S, READY_WITHIN_S = 240.0, 60.0
"""What takes longer is trouble, and told as such."""


@dataclass(frozen=True, slots=True)
class Load:
    """Phones, and perhaps a publisher.

    Attributes:
        port: Where the phones connect to.
        path: Of the WebSocket.
        phones: How many.
        options: More of the generator's command line: what is sent, how it is published.
        duration_s: How long is measured, after *warmup_s*, after *settle_s*, after all are connected.
        groups: Topics; phone n belongs to topic n modulo this.
        per_s: Publishes per second.
        window: Or so many publishes that not all phones have had yet.
        stalled: Phones that never read.
        pid: The server's process: its CPU time and memory are measured.
        tls: Whether the connections are encrypted.
        connect_per_s: How fast phones come; None: as fast as they can.
    """

    port: int
    path: str
    phones: int
    options: tuple[str, ...] = ()
    duration_s: float = 5.0
    warmup_s: float = 1.0
    settle_s: float = 0.5
    drain_s: float = 1.0
    groups: int = 1
    per_s: float | None = None
    window: int | None = None
    stalled: int = 0
    pid: int | None = None
    tls: bool = False
    connect_per_s: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def arguments(self) -> tuple[str, ...]:
        """Return the command line, without the program."""
        words = ["--url", f"127.0.0.1:{self.port}{self.path}", "-n", str(self.phones)]
        words += ["--duration", f"{self.duration_s:g}", "--warmup", f"{self.warmup_s:g}"]
        words += ["--settle", f"{self.settle_s:g}", "--drain", f"{self.drain_s:g}"]
        words += ["--groups", str(self.groups), "--per-src", "2000"]
        if self.per_s is not None:
            words += ["--pub-rate", f"{self.per_s:g}"]
        if self.window is not None:
            words += ["--pub-window", str(self.window)]
        if self.stalled:
            words += ["--slow", str(self.stalled), "--rcvbuf", "4096"]
        if self.pid is not None:
            words += ["--pid", str(self.pid)]
        if self.connect_per_s is not None:
            words += ["--rate", f"{self.connect_per_s:g}"]
        if self.tls:
            words += ["--tls"]
        return (*words, *self.options)

    @property
    def within_s(self) -> float:
        """How long it may take at most."""
        phases_s = self.settle_s + self.warmup_s + self.duration_s + self.drain_s
        coming_s = self.phones / self.connect_per_s if self.connect_per_s else 0.0
        return coming_s + CONNECT_WITHIN_S + READY_WITHIN_S + phases_s


class Generator:
    """Runs loads. Made by :func:`generator`."""

    def __init__(self, program: Path | None) -> None:
        self._program = program

    @property
    def name(self) -> str:
        """Which one it is, for the report."""
        return "wsload (C, epoll)" if self._program is not None else "bench.load.soft (Python, uvloop)"

    async def run(self, load: Load) -> dict[str, Any]:
        """Run *load*; returns what the generator answered.

        Raises:
            BenchError: No phone could connect, or it did not end.
        """
        soft = (sys.executable, "-m", "bench.load.soft")
        command = soft if self._program is None or load.tls else (str(self._program),)
        told = await output("the load generator", (*command, *load.arguments()), LOAD_CORE, load.within_s)
        return read(told, stalled=load.stalled)


def read(told: bytes, stalled: int = 0) -> dict[str, Any]:
    """Read a generator's answer.

    Raises:
        BenchError: It is none, phones were refused, or some left or were never in sync, *stalled* ones apart:
            figures of fewer phones than were asked for would look too good.
    """
    try:
        answer: dict[str, Any] = json.loads(told)
    except ValueError:
        raise BenchError(f"the load generator wrote no JSON: {told[:300]!r}") from None
    if answer["opened"] == 0 or answer["failed"] > 0:
        closes = answer.get("closes")
        raise BenchError(f"{answer['failed']} of {answer['n']} connections failed; closes: {closes}")
    if answer["closed"] > stalled:
        raise BenchError(f"{answer['closed']} of {answer['n']} phones were sent away: {answer['closes']}")
    if "ready" in answer and answer["ready"]["n"] < answer["n"]:
        raise BenchError(f"only {answer['ready']['n']} of {answer['n']} phones ever were in sync")
    return answer


async def generator(build: Path) -> Generator:
    """Return the generator of this machine; the C one is compiled into *build* when it is newer or new."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    program = build / "wsload"
    if compiler is None:
        return Generator(None)
    if not _is_fresh(program):
        opened(build / "compiler.log").close()
        command = (compiler, "-O2", "-o", str(program), str(SOURCE))
        await output(
            "the compiler", ("sh", "-c", '"$@" 2>&1; echo done', "sh", *command), LOAD_CORE, COMPILES_WITHIN_S
        )
    return Generator(program if _is_fresh(program) else None)


def _is_fresh(program: Path) -> bool:
    return program.exists() and program.stat().st_mtime >= SOURCE.stat().st_mtime
