"""Results of all runs: one number for each figure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bench.stats import medians, spreads
from bench.work import Figures, Record


class Line(NamedTuple):
    """Figures of one contender in one case: medians over its successful runs."""

    contender: str
    runs: int
    figures: Figures
    spread: Figures
    trouble: str


class Results:
    """All records, by scenario, case and contender."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._found: dict[str, dict[str, dict[str, list[Record]]]] = {}
        for record in records:
            cases = self._found.setdefault(record.scenario, {})
            cases.setdefault(record.case, {}).setdefault(record.contender, []).append(record)

    def cases(self, scenario: str) -> list[str]:
        """Return the cases of a scenario, in the order in which they were measured."""
        return list(self._found.get(scenario, {}))

    def lines(self, scenario: str, case: str) -> list[Line]:
        """Return the lines of all contenders of a case; one without a successful run has no figures."""
        found = self._found.get(scenario, {}).get(case, {})
        return [_line(contender, records) for contender, records in found.items()]

    def figure(self, scenario: str, case: str, contender: str, name: str) -> float | None:
        """Return a figure of a case; None when it was not measured.

        The case is the one of that name, else the first whose name begins with it.
        """
        for each in sorted(self.cases(scenario), key=lambda each: each != case):
            if each.startswith(case):
                records = self._found[scenario][each].get(contender)
                return None if records is None else _line(contender, records).figures.get(name)
        return None

    def runs(self) -> int:
        """Return the number of runs of the case that was run most often."""
        counts = [
            len(records)
            for cases in self._found.values()
            for contenders in cases.values()
            for records in contenders.values()
        ]
        return max(counts, default=0)


def _line(contender: str, records: list[Record]) -> Line:
    well = [record.figures for record in records if not record.trouble]
    troubles = [record.trouble for record in records if record.trouble]
    return Line(contender, len(well), medians(well), spreads(well), troubles[0] if troubles else "")
