"""Run the command line as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from tests.doubles.machine import Watch

ENDED_WITHIN_S = 60.0
"""Longer where programs had their cores for less than half of it."""


def environ_of(more: Mapping[str, str] | None) -> dict[str, str]:
    """Return the environment of a process, which keeps its compiled modules for later ones."""
    environ = {**os.environ, **(more or {})}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return environ


class Ended(NamedTuple):
    """What a process left."""

    code: int
    out: str
    err: str


class Running:
    """A process that has begun; its standard output is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._read: list[str] = []

    def until(self, words: str) -> str:
        """Return the next line with *words* in it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._read.append(line)
            if words in line:
                return line
        raise AssertionError(f"it ended without {words!r}: {''.join(self._read)}")

    def until_each(self, *words: str) -> list[str]:
        """Return the next line with each of *words* in it; the lines may come in any order."""
        found: dict[str, str] = {}
        while len(found) < len(words):
            line = self.until("")
            found |= {each: line for each in words if each not in found and each in line}
        return [found[each] for each in words]

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def hang_up(self) -> None:
        self.send(signal.SIGHUP)

    def end(self, number: signal.Signals) -> Ended:
        """Send a signal; returns what the process left."""
        self.send(number)
        return self.ended()

    def ended(self) -> Ended:
        """Return what the process left, once it has ended."""
        watch = Watch()
        while True:
            try:
                out, err = self._process.communicate(timeout=ENDED_WITHIN_S)
            except subprocess.TimeoutExpired:
                if watch.run_s() >= ENDED_WITHIN_S / 2:
                    raise
            else:
                return Ended(self._process.returncode, "".join(self._read) + out, err)


@contextmanager
def running(*arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Run ``oscc-gateway`` with *arguments* while the block lasts."""
    command = [sys.executable, "-m", "gateway", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ_of(environ)
    )
    with process:
        try:
            yield Running(process)
        finally:
            if process.poll() is None:
                process.kill()


def run(*arguments: str, environ: Mapping[str, str] | None = None) -> Ended:
    """Run ``oscc-gateway`` with *arguments* to its end."""
    with running(*arguments, environ=environ) as process:
        return process.ended()
