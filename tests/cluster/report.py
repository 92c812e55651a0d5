"""The results of the cluster scenarios: ``python -m tests.cluster.report FOLDER`` prints the page."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.cluster.figures import Figures, kept

HEAD = """\
# Clusters under failures

Written by `make chaos-report` from the scenarios of `tests/cluster`: three nodes as processes, a real Redis,
a simulated OSCC-E Server, phones on the SDK. Each row is one fault: it shows for how long phones had old
data, and whether anything was lost or executed twice. *lost* and *twice* must be 0. Every figure was
measured; a scenario that fails has none.

- *size*: at *light* 10 to 30 users have two phones each and a fault lasts some seconds. At *full* up to
  200 users have two phones each and a fault lasts half a minute. A row at *light* was not run at *full*.
- All of it shared two cores, also with other programs. At rest 400 phones took some 70 % of one core (a node
  8 %, Redis 4 %, the OSCC-E Server 8 %, all phones 35 %), while they come back some 120 %. With 1,000 users
  all of both cores was not enough: a node that was started again was not ready within 30 s. A bound of a
  scenario is longer by the time for which programs waited for a core.
- With a quarter of the two cores half of the scenarios fail: a node's own probe of the bus then takes more
  than 1 s, so that the bus counts as degraded, and phones are not served within 10 s. Other programs take
  so much also at `nice 15` where Linux shares cores by session (`sched_autogroup_enabled`).
- *converge*: from the fault (or the end of one that lasts) until the last phone saw newer data.
- *blind*: the age of the oldest view on any phone. *lie*: the age of the oldest view that was shown as live.
- *lost*: differences between phones and the truth at quiescence. *twice*: commands executed twice.
- *gap*: the longest time between two links of one user. *kicks*: replaced links of one user. OSCC-E lets the
  higher token replace a link at once, so two owners show as kicks.
- *commands*: carried out meanwhile, as OSCC-E counted them. Phones send some in every scenario.
- *broken*: connections that phones lost, except by their own roaming.
- *log-ons*: in the busiest second, against the budget per second (one second's worth more may come at once).
- *routed*: remote numbers left in OSCC-E's routing table.

"""
COLUMNS = (
    "scenario", "fault", "size", "phones", "converge s", "blind s", "lie s", "lost", "commands", "twice",
    "gap s", "kicks", "broken", "log-ons/s", "routed",
)  # fmt: skip


def page(found: Iterable[Figures]) -> str:
    """Return the report of scenarios."""
    figures = list(found)
    return HEAD + "\n".join([*table(figures), "", *notes(figures), *canaries(figures)]) + "\n"


def table(figures: Iterable[Figures]) -> Iterator[str]:
    """Yield the lines of the table of faults."""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|" + "---|" * len(COLUMNS)
    for each in figures:
        if not each.phones:
            continue
        budget = each.log_on_budget
        log_ons = "–" if budget is None else f"{each.log_on_rate_max:.0f} of {budget:.0f}"
        cells = (
            each.scenario, each.fault, each.size, each.phones,
            _s(each.converge_s), _s(each.blind_s), _s(each.lie_s),
            "–" if each.lost is None else each.lost, each.executed, each.twice,
            _s(each.gap_s), each.kicks_max, each.disconnected, log_ons, each.routed_left,
        )  # fmt: skip
        yield "| " + " | ".join(str(cell) for cell in cells) + " |"


def notes(figures: Iterable[Figures]) -> Iterator[str]:
    """Yield the other figures."""
    yield "## Besides"
    yield ""
    for each in figures:
        for name, value in each.notes.items():
            yield f"- {each.fault}: {name} {value:.4g}"
    yield ""


def canaries(figures: Iterable[Figures]) -> Iterator[str]:
    """Yield the places that were searched for canaries."""
    looked: Counter[str] = Counter()
    for each in figures:
        for where, count in each.canaries.items():
            looked["logs" if where.startswith("log ") else where] += count
    yield "## Canaries"
    yield ""
    yield "The scenarios searched for passwords, user names, names of people, queues and phones, session"
    yield "tokens in force at the end, and remote numbers where the Remote Assistant is used. They searched"
    yield "the content and traffic of Redis (its slow log keeps the first bytes of a command only) and the"
    yield "logs of nodes. None was found in:"
    yield ""
    for where, count in sorted(looked.items()):
        yield f"- {where}: {count:,} bytes"


def _s(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f}"


if __name__ == "__main__":
    sys.stdout.write(page(kept(Path(sys.argv[1]))))
