"""Interface of the load generators: their command line and their answers.

There are two, with the same options and the same JSON answers: ``wsload.c`` where there is a C compiler,
and :mod:`bench.load.soft`, on uvloop, for machines without one and for TLS.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from bench.machine import LOAD_CORE
from bench.programs import BenchError, opened, output

SOURCE = Path(__file__).with_name("wsload.c")
COMPILES_WITHIN_S = 120.0
CONNECT_WITHIN_S, READY_WITHIN_S = 180.0, 60.0
"""Time limits until all phones are connected, and until all are in sync."""
DRAINS_WITHIN_S = 5.0
"""Time limit of a drain: then a span ends, even with updates under way."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span:
    """One measurement of several on the same connections.

    Attributes:
        phones: Number of phones; missing ones connect before it begins.
        per_s: Publishes per second; a negative value is a share of the previous span's rate.
        window: Number of publishes under way at once, instead of a rate.
        warmup_s: Seconds of publishing before counting.
        duration_s: Seconds of counting.
        size: Elements of one publish.
    """

    phones: int
    per_s: float | None = None
    window: int | None = None
    warmup_s: float = 0.5
    duration_s: float = 4.0
    size: int = 1

    def word(self) -> str:
        """Return the span as a word of the command line."""
        numbers = (self.per_s or 0.0, self.window or 0, self.warmup_s, self.duration_s, self.size)
        return ",".join(f"{each:.10g}" for each in (self.phones, *numbers))

    @classmethod
    def read(cls, word: str) -> Span:
        """Read what :meth:`word` wrote."""
        phones, per_s, window, warmup_s, duration_s, size = word.split(",")
        asked = (float(per_s) or None, int(window) or None)
        return cls(int(phones), *asked, float(warmup_s), float(duration_s), int(size))


class SpanAnswer(NamedTuple, Generic[T]):
    """Answer about a span, with samples taken when the span began and ended."""

    text: bytes
    before: T
    after: T


@dataclass(frozen=True, slots=True)
class Load:
    """Load on a server: phones, and optionally a publisher.

    Attributes:
        port: The server's port.
        path: The path of the WebSocket.
        phones: Number of phones.
        options: Further options of the load generator: frames to send, how to publish.
        duration_s: Seconds of measurement, after all phones are connected, *settle_s* and *warmup_s*.
        groups: Number of topics; phone n belongs to topic n modulo this.
        per_s: Publishes per second.
        window: Number of publishes under way at once, instead of a rate.
        stalled: Number of phones that stop reading.
        pid: The server's process: its CPU time and memory are measured.
        tls: Whether the connections are encrypted.
        connect_per_s: Connections per second; None: as fast as possible.
        spans: Several measurements on the same connections, instead of one with the figures above.
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
    spans: tuple[Span, ...] = ()

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
        for span in self.spans:
            words += ["--span", span.word()]
        return (*words, *self.options)

    @property
    def within_s(self) -> float:
        """The longest time that the load may take."""
        spans = self.spans or (Span(self.phones, warmup_s=self.warmup_s, duration_s=self.duration_s),)
        phases_s = sum(span.warmup_s + span.duration_s + self.drain_s + DRAINS_WITHIN_S for span in spans)
        phases_s += self.settle_s * len(spans)
        coming_s = self.phones / self.connect_per_s if self.connect_per_s else 0.0
        return coming_s + CONNECT_WITHIN_S + READY_WITHIN_S + phases_s


class Generator:
    """Load generator of this machine, made by :func:`generator`."""

    def __init__(self, program: Path | None) -> None:
        self._program = program

    @property
    def name(self) -> str:
        """Its name in the report."""
        return "wsload (C, epoll)" if self._program is not None else "bench.load.soft (Python, uvloop)"

    async def run(self, load: Load) -> dict[str, Any]:
        """Run *load*; returns the load generator's answer.

        Raises:
            BenchError: The load generator did not end, or its answer is no result of all phones.
        """
        text = await output("the load generator", self._command(load), LOAD_CORE, load.within_s)
        return read(text, stalled=load.stalled)

    async def spans(self, load: Load, look: Callable[[], Awaitable[T]]) -> list[SpanAnswer[T]]:
        """Run *load*, which has spans; *look* is called when each of them begins and ends.

        Raises:
            BenchError: It did not end.
        """
        found: list[SpanAnswer[T]] = []
        seen: list[T] = []

        async def heard(line: bytes) -> None:
            seen.append(await look())
            if not line.startswith(b'{"begins"'):
                before, after = seen[-2:] if len(seen) > 1 else (seen[0], seen[0])
                found.append(SpanAnswer(line, before, after))

        await output("the load generator", self._command(load), LOAD_CORE, load.within_s, heard)
        return found

    def _command(self, load: Load) -> tuple[str, ...]:
        soft = (sys.executable, "-m", "bench.load.soft")
        program = soft if self._program is None or load.tls else (str(self._program),)
        return (*program, *load.arguments())


def read(text: bytes, stalled: int = 0) -> dict[str, Any]:
    """Read a load generator's answer.

    Raises:
        BenchError: It is not JSON, phones were refused, more than *stalled* lost their connections, or some
            were never in sync: figures of fewer phones than requested would look too good.
    """
    try:
        answer: dict[str, Any] = json.loads(text)
    except ValueError:
        raise BenchError(f"the load generator wrote no JSON: {text[:300]!r}") from None
    if answer["opened"] == 0 or answer["failed"] > 0:
        closes = answer.get("closes")
        raise BenchError(f"{answer['failed']} of {answer['n']} connections failed; closes: {closes}")
    if answer["closed"] > stalled:
        raise BenchError(f"{answer['closed']} of {answer['n']} phones were sent away: {answer['closes']}")
    if "ready" in answer and answer["ready"]["n"] < answer["n"]:
        raise BenchError(f"only {answer['ready']['n']} of {answer['n']} phones ever were in sync")
    return answer


async def generator(build: Path) -> Generator:
    """Return this machine's load generator; the C one is compiled into *build* if necessary."""
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
