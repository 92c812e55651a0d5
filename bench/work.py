"""Work of one run: the load on a server, and the results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Figures = dict[str, float]
"""Measured figures: a name with its unit → value."""


@dataclass(frozen=True, slots=True)
class Work:
    """Fan-out load that every server can run.

    Attributes:
        phones: Number of connections.
        topics: Disjoint sets of resources; phone n sees set n modulo this.
        users: Number of users, where all see the same set; None: as few as possible.
        per_s: Publishes per second; None with *window* or *share*.
        window: Number of publishes under way at once, instead of a rate.
        size: Elements that one publish changes.
        queues: Resources of a set that are queues.
        agents: Resources of a set that are agents.
        stalled: Phones that stop reading when the warm-up begins.
        tls: Whether the phones' connections are encrypted.
        connect_per_s: Connections per second; None: as fast as possible.
        share: Publishes per second as a share of the previous work's, on the same phones.
        flood_per_s: Further readings per second on the first user's link, which no figure counts.
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
        """Whether anything is published."""
        return (self.per_s, self.window, self.share) != (None, None, None)

    @property
    def life(self) -> Work:
        """The part that all works on the same server have in common."""
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
        case: Its name.
        contender: Its name.
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
        """Return the form that :meth:`read` takes."""
        return asdict(self)

    @classmethod
    def read(cls, members: Mapping[str, Any]) -> Record:
        """Return the record of a form made by :meth:`as_json`."""
        return cls(**members)


def figures_of(answer: Mapping[str, Any], work: Work) -> Figures:
    """Return the figures of a load generator's *answer*, in the units of their names.

    ``cpu_us`` is the server's CPU time per delivered element. ``share_pct`` is the percentage of due elements
    that were delivered, warm-up and drain included; work with a window has none.
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
