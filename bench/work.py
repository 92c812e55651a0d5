"""Work of one run: the orders to a server, and the results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Figures = dict[str, float]
"""What was measured: a name with its unit → value."""


@dataclass(frozen=True, slots=True)
class Work:
    """Fan-out that every server can be asked for.

    Attributes:
        phones: Connections.
        topics: Disjoint sets of resources; phone n sees set n modulo this.
        users: Whose the phones are, where all see the same set; None: of as few users as may be.
        per_s: Publishes per second; *window* is given instead where so many are to be under way.
        size: Elements that one publish changes.
        queues: Resources of a set that are queues.
        agents: Resources of a set that are agents.
        stalled: Phones that stop reading when the warm-up begins.
        tls: Whether the phones' connections are encrypted.
        connect_per_s: How fast phones come; None: as fast as they can.
        share: Publishes per second as a share of those of the work before, on the same phones.
        flood_per_s: Readings per second that the first user's link gets beside, which no figure counts.
    """

    phones: int
    topics: int = 1
    users: int | None = None
    per_s: float | None = None
    window: int | None = None
    size: int = 1
    queues: int = 100
    agents: int = 0
    duration_s: float = 4.0
    warmup_s: float = 0.5
    settle_s: float = 0.5
    stalled: int = 0
    tls: bool = False
    connect_per_s: float | None = None
    share: float | None = None
    flood_per_s: float | None = None

    @property
    def publishes(self) -> bool:
        """Whether anything is told to the phones."""
        return (self.per_s, self.window, self.share) != (None, None, None)

    @property
    def life(self) -> Work:
        """What works have in common that are asked of one server, one after the other, with more phones."""
        return Work(
            phones=0,
            topics=self.topics,
            users=self.users,
            queues=self.queues,
            agents=self.agents,
            duration_s=0.0,
            warmup_s=0.0,
            settle_s=self.settle_s,
            stalled=self.stalled,
            tls=self.tls,
            connect_per_s=self.connect_per_s,
            flood_per_s=self.flood_per_s,
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One run of one case by one contender.

    Attributes:
        scenario: Its name.
        case: What exactly was asked, in words.
        contender: Who was asked.
        run: Counted from 0.
        figures: What was measured; empty when there is *trouble*.
        trouble: Why nothing was measured, in a sentence.
    """

    scenario: str
    case: str
    contender: str
    run: int
    figures: Figures = field(default_factory=dict)
    trouble: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return what :meth:`read` reads."""
        return asdict(self)

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Record:
        """Read a record of a file."""
        return cls(**told)


def figures_of(answer: Mapping[str, Any], work: Work) -> Figures:
    """Return the figures that a load generator's *answer* holds, in the units of their names.

    ``cpu_us`` is the server's CPU time per delivered element; ``share_pct`` is how many of the elements that
    were to be delivered were, warm-up and drain included, where a publisher had a pace.
    """
    server, delay = answer["srv"], answer["lat_us"]
    found: Figures = {
        "phones": answer["opened"],
        "connect_s": answer["connect_s"],
        "rss_idle_mb": server["rss_idle_mb"],
        "rss_end_mb": server["rss_end_mb"],
        "cpu_share_pct": 100 * server["cpu_s"] / max(answer["secs"], 1e-9),
        "closed": answer["closed"],
    }
    if "ready" in answer:
        found["ready_s"] = answer["ready"]["all_s"]
    if answer["deliv"]:
        found |= {
            "delivered_per_s": answer["deliv_s"],
            "frames_per_s": answer["frames_s"],
            "wire_mb_per_s": answer["MB_s"],
            "cpu_us": server["us_per_deliv"],
            "p50_ms": delay["p50"] / 1e3,
            "p99_ms": delay["p99"] / 1e3,
            "p999_ms": delay["p999"] / 1e3,
            "wire_bytes": 1e6 * answer["MB_s"] / answer["deliv_s"],
        }
    if answer["deliv"] and work.publishes and work.window is None:
        due = answer["pub"]["total"] * work.size * (work.phones - work.stalled) / work.topics
        found["share_pct"] = 100 * answer["deliv_total"] / due
        if "rate" in answer["pub"]:
            found["offered_per_s"] = answer["pub"]["rate"] * work.size * work.phones / work.topics
    return found
