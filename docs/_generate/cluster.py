"""Which tables of docs/cluster.md tell what the code says? Writes them between their marks.

Without arguments it writes the page; with ``--check`` it writes nothing and fails when a table is stale.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gateway.app import drain, status
from gateway.app.config.errors import SETTINGS
from gateway.app.config.sources import HEADINGS, setting_row
from gateway.bus import keys, stores
from gateway.core import bus_health, follower, lease
from gateway.core.bus_health import BusMachine, BusState
from gateway.domain.model import NodeId, UserId
from gateway.protocol.envelopes import Control, Events, Inbox, NodeRecord
from gateway.runtime import cluster_membership, handover, ports, remote_owner, sharing

PAGE = Path(__file__).parents[1] / "cluster.md"

SHOWN_SETTINGS = (
    "node.name",
    "bus.url",
    "bus.ca_file",
    "bus.required_at_start",
    "secrets.sealing_keys",
    "secrets.pseudonym_key",
    "limits.log_ons_per_s",
    "limits.log_ons_in_flight",
    "limits.handshakes_per_s",
    "limits.linger_s",
    "limits.linger_remote_assistant_s",
    "limits.drain_notice_s",
    "limits.drain_s",
)
_DOWN_ELSEWHERE = (
    "connected, their data marked stale; commands are answered `bus_down`. "
    "The node in hand opens a link for who has none"
)
PHONES = {
    BusState.LIVE: ("live", "live"),
    BusState.DEGRADED: ("live", "live; the next ping says `bus: degraded`"),
    BusState.DOWN: ("live, and commanding, for as long as it lasts", _DOWN_ELSEWHERE),
    BusState.RECOVERING: (
        "live",
        "subscribed again; what may be missing is asked for, with jitter; what is not answered is stale",
    ),
}
"""State → what phones on the owner's node have, what phones elsewhere."""


def names_table() -> Iterable[str]:
    """Return what Redis holds: name, kind, content and life of each thing."""
    made = keys.KeyNames(bytes(32))
    user = made.user(UserId("<site>", 1))
    held = (
        (user.own, "hash", "who owns the user: node, holder, token (the epoch)", _span(lease.TTL_S)),
        (user.tok, "string", "the last token granted: no later one is lower", _span(stores.FLOOR_TTL_S)),
        (made.node("<holder>"), "hash", _record(), _span(ports.NODE_TTL_S)),
        (keys.TRIAL, "string", "a trial whether Redis takes writes; says nothing", "1 s"),
        (made.denied("x"), "string", "why a session ended, sealed", "the token's life and a day"),
        (made.throttled("x"), "string", "how many log-ons failed, best effort, sealed", "minutes"),
        (keys.LOG_OFFS, "sorted set", "which log-offs wait for OSCC-E", "as the longest of them"),
        (
            made.log_off("x")[1],
            "string",
            "a log-off that OSCC-E has not confirmed, sealed",
            "until it is confirmed, at most the session's life",
        ),
        (
            made.channel(Events(UserId("<site>", 1))),
            "channel",
            "owner → followers: what changed, sealed",
            "–",
        ),
        (
            made.channel(Inbox(NodeId("<node>"))),
            "channel",
            "to one node: what changed, questions, answers, calls, outcomes, offers, its own probe; sealed",
            "–",
        ),
        (made.channel(Control()), "channel", "to all nodes: a node leaves, a session ended; sealed", "–"),
        (
            keys.LIVES,
            "channel",
            "challenges by which nodes prove that they live, and their answers; sealed",
            "–",
        ),
    )
    yield from ("| name | kind | content | lives |", "|---|---|---|---|")
    for name, kind, content, life in held:
        yield f"| `{_readable(name)}` | {kind} | {content} | {life} |"


def states_table() -> Iterable[str]:
    """Return what each state of the bus means for phones."""
    yield "| state | comes from | phones on the owner's node | phones elsewhere | told as |"
    yield "|---|---|---|---|---|"
    machine = BusMachine(0.0)
    for state, (here, elsewhere) in PHONES.items():
        ways = [f"`{a}`: {event}" for (a, event), to in bus_health.TRANSITIONS.items() if to is state]
        machine.state = state
        yield f"| `{state}` | {', '.join(ways)} | {here} | {elsewhere} | `{machine.health}` |"


def times_table() -> Iterable[str]:
    """Return the spans that decide when a cluster notices what."""
    spans = (
        (lease.TTL_S, "a lease that is not renewed"),
        (ports.NODE_TTL_S, "a node that does not say that it lives"),
        (cluster_membership.SAY_S, "between two such sayings"),
        (bus_health.PROBE_S, "between two probes that a node sends to itself through the bus"),
        (bus_health.ROUND_TRIP_S, "until a probe has failed: `degraded`"),
        (bus_health.DOWN_S, "until a bus from which nothing comes back is `down`"),
        (follower.ASK_S, "between two questions of a follower, in any case"),
        (sharing.INTEREST_S, "for which an owner publishes to who asked"),
        (bus_health.UNANSWERED_S, "until an owner that answers nothing is deaf, and taken from"),
        (remote_owner.EXPIRY_S, "until the same on an OSCC-E Server without link fencing"),
        (handover.ALONE_S, "after which an owner without a phone of the user gives him on request"),
        (handover.IN_FLIGHT_S, "that commands in flight have when a user is given"),
        (handover.UNLINKED_S, "after which an owner without a link gives"),
        (drain.BYE_S, "that a phone has to hear its `bye`"),
        (
            drain.HAND_OVER_S,
            "after the last phone's return, for its user to be given, if nobody waits for a turn",
        ),
        (drain.RESTART_S, "within which phones come back where no other node lives"),
        (status.DUPLICATE_NAME_EVERY_S, "after its start a node looks for another of its name"),
    )
    yield from ("| span | of what |", "|---|---|")
    for seconds, what in spans:
        yield f"| {_span(seconds)} | {what} |"


def settings_table() -> Iterable[str]:
    """Return the settings that matter between nodes."""
    known = {setting.path: setting for setting in SETTINGS}
    yield from HEADINGS
    for path in SHOWN_SETTINGS:
        yield setting_row(known[path]).replace(f"`{known[path].key}`", f"`{path}`", 1)


TABLES: Mapping[str, Callable[[], Iterable[str]]] = {
    "names": names_table,
    "states": states_table,
    "times": times_table,
    "settings": settings_table,
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
