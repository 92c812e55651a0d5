"""Store of results: they are written as they come, and those that exist are not measured again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from bench.work import Record

RESULTS = "results.jsonl"
BEFORE = "results-before.jsonl"
MACHINE = "machine.json"
Key = tuple[str, str, str]
"""Scenario, case, contender."""


def key_of(record: Record) -> Key:
    """Return of whom and what a record is."""
    return record.scenario, record.case, record.contender


def kept(folder: Path) -> Iterator[Record]:
    """Return the records of a folder."""
    file = folder / RESULTS
    if file.exists():
        for text in file.read_text("utf-8").splitlines():
            yield Record.read(json.loads(text))


class Kept:
    """The results of a folder while a benchmark adds to them.

    Invariant: the file holds every record that was added, whatever ends the benchmark.

    Args:
        folder: Where they are.
        machine: On what is measured.
    """

    def __init__(self, folder: Path, machine: Mapping[str, str | int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._records = list(kept(folder))
        (folder / MACHINE).write_text(json.dumps(machine), "utf-8")

    def renew(self, keys: Collection[Key]) -> None:
        """Let go of what was measured of *keys*, to measure it anew; the last results are kept aside once."""
        file = self._folder / RESULTS
        if file.exists():
            (self._folder / BEFORE).write_bytes(file.read_bytes())
        self._write([each for each in self._records if key_of(each) not in keys])

    def retry(self, keys: Collection[Key]) -> None:
        """Let go of the troubles of *keys*: what is missing is to be measured."""
        self._write([each for each in self._records if not each.trouble or key_of(each) not in keys])

    def has(self, key: Key, run: int) -> bool:
        """Tell whether a run was measured."""
        return any(key_of(each) == key and each.run == run for each in self._records)

    def add(self, record: Record) -> None:
        """Keep a record."""
        self._records.append(record)
        with (self._folder / RESULTS).open("a", encoding="utf-8") as file:
            file.write(_line(record))

    def _write(self, records: list[Record]) -> None:
        self._records = records
        (self._folder / RESULTS).write_text("".join(_line(each) for each in records), "utf-8")


def _line(record: Record) -> str:
    return json.dumps(record.as_json()) + "\n"
