"""Store of results: each is written at once; stored ones are not measured again."""

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
    """Return the key of a record."""
    return record.scenario, record.case, record.contender


def kept(folder: Path) -> Iterator[Record]:
    """Yield the records of a folder."""
    file = folder / RESULTS
    if file.exists():
        for text in file.read_text("utf-8").splitlines():
            yield Record.read(json.loads(text))


class ResultStore:
    """Results in a folder, to which a benchmark adds.

    Invariant: the file holds every added record, however the benchmark ends.

    Args:
        folder: The folder of the results.
        machine: Description of the machine.
    """

    def __init__(self, folder: Path, machine: Mapping[str, str | int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._records = list(kept(folder))
        (folder / MACHINE).write_text(json.dumps(machine), "utf-8")

    def renew(self, keys: Collection[Key]) -> None:
        """Delete the results of *keys*, to measure them again; the previous file is kept as a copy."""
        file = self._folder / RESULTS
        if file.exists():
            (self._folder / BEFORE).write_bytes(file.read_bytes())
        self._write([each for each in self._records if key_of(each) not in keys])

    def retry(self, keys: Collection[Key]) -> None:
        """Delete the failed runs of *keys*, to measure them again."""
        self._write([each for each in self._records if not each.trouble or key_of(each) not in keys])

    def has(self, key: Key, run: int) -> bool:
        """Return whether a run has a record."""
        return any(key_of(each) == key and each.run == run for each in self._records)

    def add(self, record: Record) -> None:
        """Store a record."""
        self._records.append(record)
        with (self._folder / RESULTS).open("a", encoding="utf-8") as file:
            file.write(_line(record))

    def _write(self, records: list[Record]) -> None:
        self._records = records
        (self._folder / RESULTS).write_text("".join(_line(each) for each in records), "utf-8")


def _line(record: Record) -> str:
    return json.dumps(record.as_json()) + "\n"
