"""Write the tables of docs/cluster.md from the code, between their marks.

Without arguments it writes the page; with ``--check`` it writes nothing and fails when a table is stale.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gateway.app import admin, drain
from gateway.bus import connect, stores
from gateway.core import follower, lease
from gateway.core.lease import BusState
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import Control, Events, Inbox, NodeRecord
from gateway.runtime import accounts, cluster_receiver, handover, ports
from gateway.runtime.follower import ATTACH_AGAIN_S, ATTACH_ANSWER_S

PAGE = Path(__file__).parents[1] / "cluster.md"

_DOWN_ELSEWHERE = (
    "connected, their data marked stale; commands are answered `bus_down`. "
    "The phone's own node opens a link for a user without one"
)
PHONES = {
    BusState.LIVE: ("live", "live"),
    BusState.DEGRADED: ("live", "live; the next ping says `bus: degraded`"),
    BusState.DOWN: ("live, and commands work, however long it lasts", _DOWN_ELSEWHERE),
    BusState.RECOVERING: (
        "live",
        "subscribed again; missing data is requested, with jitter; data without an answer is stale",
    ),
}
"""State → data on phones of the owner's node, data on other phones."""

_RESERVATIONS = "log-ons of one name that are under way: hashes of their addresses, and their nodes"


def names_table() -> Iterable[str]:
    """Return what Redis holds: name, kind, content and lifetime of each key and channel."""
    made = connect.KeyNames(bytes(32))
    user = made.user(UserId("<site>", 1))
    held = (
        (user.own, "hash", "the owner of the user: node, holder, token (the epoch)", _span(lease.TTL_S)),
        (user.tok, "string", "the last granted token: later ones are higher", _span(stores.FLOOR_TTL_S)),
        (made.node("<holder>"), "hash", _record(), _span(ports.NODE_TTL_S)),
        (connect.TRIAL, "string", "a test whether Redis accepts writes; no content", "1 s"),
        (made.denied("x"), "string", "the reason why a session ended, sealed", "the token's life and a day"),
        (made.throttled("x"), "string", "number of failed log-ons, best effort, sealed", "minutes"),
        (made.reservation("x", "y")[0], "sorted set", _RESERVATIONS, _span(accounts.RESERVED_S)),
        (connect.LOG_OFFS, "sorted set", "log-offs that wait for OSCC-E", "as long as the longest of them"),
        (
            made.log_off("x")[1],
            "string",
            "a log-off that OSCC-E has not confirmed, sealed",
            "until it is confirmed, at most the session's life",
        ),
        (made.channel(Events(UserId("<site>", 1))), "channel", "owner → followers: changes, sealed", "–"),
        (
            made.channel(Inbox(NodeId("<node>"))),
            "channel",
            "to one node: changes, requests, answers, calls, outcomes, offers, its own probe; sealed",
            "–",
        ),
        (made.channel(Control()), "channel", "to all nodes: a node drains, a session ended; sealed", "–"),
        (
            connect.LIVES,
            "channel",
            "challenges by which nodes prove that they are running, and the answers; sealed",
            "–",
        ),
    )
    yield from ("| name | kind | content | lifetime |", "|---|---|---|---|")
    for name, kind, content, life in held:
        yield f"| `{_readable(name)}` | {kind} | {content} | {life} |"


def states_table() -> Iterable[str]:
    """Return what each state of the bus means for phones."""
    yield "| state | comes from | phones on the owner's node | phones on other nodes | sent as |"
    yield "|---|---|---|---|---|"
    for state, (here, elsewhere) in PHONES.items():
        ways = [f"`{a}`: {event}" for (a, event), to in lease.BUS_TRANSITIONS.items() if to is state]
        yield f"| `{state}` | {', '.join(ways)} | {here} | {elsewhere} | `{lease.BUS_HEALTH[state]}` |"


TIMES: Iterable[tuple[float, str]] = (
    (lease.TTL_S, "a lease expires without a renewal"),
    (ports.NODE_TTL_S, "a node's record expires without a renewal"),
    (cluster_receiver.ANNOUNCE_S, "between two renewals of that record"),
    (lease.PROBE_S, "between two probes that a node sends to itself through the bus"),
    (lease.ROUND_TRIP_S, "an unanswered probe makes the bus `degraded`"),
    (lease.DOWN_S, "a bus that delivers no probe is `down`"),
    (follower.ASK_S, "between two requests of a follower to an owner; up to 1 s more, to share a message"),
    (follower.LOST_S, "a request to an owner that got no answer is repeated"),
    (
        ATTACH_ANSWER_S,
        f"a node waits for the answer to its report of a phone; {ATTACH_AGAIN_S:g} s later it repeats it",
    ),
    (handover.INTEREST_S, "an owner sends changes to a node for this long after the node's last request"),
    (follower.UNANSWERED_S, "an owner that answers no request for this long loses its users"),
    (handover.EXPIRY_S, "the same where the server does not fence links, from the last sign of life on"),
    (handover.ALONE_S, "an owner without a phone of the user for this long hands the user over on request"),
    (handover.IN_FLIGHT_S, "a hand-over waits this long for commands in flight"),
    (handover.UNLINKED_S, "an owner without a link for this long hands the user over"),
    (drain.BYE_S, "a drain waits this long for a phone to receive its `bye`"),
    (
        drain.HAND_OVER_S,
        "a user moves within this time after their last phone, if nobody waits for the budget",
    ),
    (drain.RESTART_S, "phones of a single node that restarts come back within this time"),
    (admin.DUPLICATE_NAME_EVERY_S, "between two looks of a node for another node of its name"),
)
"""Time limits of a cluster, and what each is for."""


def times_table() -> Iterable[str]:
    """Return the time limits of a cluster."""
    yield from ("| time | what happens |", "|---|---|")
    for seconds, what in TIMES:
        yield f"| {_span(seconds)} | {what} |"


TABLES: Mapping[str, Callable[[], Iterable[str]]] = {
    "names": names_table,
    "states": states_table,
    "times": times_table,
}


def filled(page: str, tables: Mapping[str, Callable[[], Iterable[str]]]) -> str:
    """Return *page* with each table between its marks.

    Raises:
        ValueError: A table has no marks, or not one pair.
    """
    for name, table in tables.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"the page needs one pair of marks for {name}")
        before, _, rest = page.partition(begin)
        page = before + begin + "\n".join(table()) + "\n" + end + rest.partition(end)[2]
    return page


def main(arguments: list[str]) -> int:
    """Write the page, or check it. Returns the exit code."""
    present = PAGE.read_text("utf-8")
    page = filled(present, TABLES)
    if arguments == ["--check"]:
        if page != present:
            print("docs/cluster.md: stale; run make diagrams")
        return int(page != present)
    PAGE.write_text(page, "utf-8")
    return 0


def _readable(name: bytes) -> str:
    """Return a name with its hash as what it is."""
    return re.sub(r"[0-9a-f]{32}", "<hash>", name.decode())


def _record() -> str:
    return ", ".join(NodeRecord._fields).replace("_", " ")


def _span(seconds: float) -> str:
    return f"{seconds / 86_400:g} d" if seconds >= 86_400 else f"{seconds:g} s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
