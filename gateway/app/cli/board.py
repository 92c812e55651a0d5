"""Board: draw queues and agents of a mirror for a terminal.

Pure: it turns a mirror, its health and the time into an object that :mod:`rich` draws. A word or a mark has
the meaning; colour only repeats it. Unknown is "–", never 0. Old data is grey and frozen, and shows its time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import partial
from textwrap import wrap
from typing import Final, TypeVar

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.styled import Styled
from rich.table import Table
from rich.text import Text

from gateway.client import Kind, Value

LOGGED_OFF: Final = "logged off"
STATES: Final = (
    "handling",
    "post-processing",
    "available",
    "work",
    "unavailable",
    "unknown",
    LOGGED_OFF,
)
"""The activities of an agent, the busiest first."""
LEVELS: Final = ("action", "attention", "unknown", "ok", None)
"""The state of a queue, the worst first; None: the server judges no queue, as an Asterisk."""

AGENTS_OF_QUEUE: Final = ("available", "handling", "post_processing", "unavailable", "work")

_OWN: Final = (None, "self")
"""Actors that are not named as the origin of an agent's next state: the agents themselves."""


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue."""

    name: str
    level: str | None
    waiting: int | None
    oldest_since_ms: int | None
    service_level_pct: float | None
    agents: tuple[int | None, ...]
    """How many are in each state, in the order of :data:`AGENTS_OF_QUEUE`."""


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent."""

    name: str
    state: str
    doing: str
    """The state in more detail: talking, ringing …"""
    since_ms: int | None
    ends_at_ms: int | None
    """When post-processing ends."""
    reason: str | None
    pending: str | None
    """The state after handling, and who requested it if not the agent."""
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures over all queues and agents that are shown."""

    waiting: int | None
    """None when no queue has a value."""
    waiting_partly: bool
    """Whether some queue has no value."""
    oldest_since_ms: int | None
    action: int | None
    """None when no queue is judged."""
    attention: int | None
    agents: Mapping[str, int] | None
    """State → how many; None when no agent is shown."""


def queue_rows(mirror: Mapping[str, Value]) -> list[QueueRow]:
    """Return the queues, the worst first: by level, longest wait, waiting contacts, and service level."""
    return sorted((_queue(key, value) for key, value in _of_kind(mirror, Kind.QUEUE)), key=_urgency)


def agent_rows(mirror: Mapping[str, Value]) -> list[AgentRow]:
    """Return the agents by state, in each state the longest first."""
    reasons = _reasons(mirror)
    rows = (_agent(key, value, reasons) for key, value in _of_kind(mirror, Kind.AGENT))
    return sorted(
        rows,
        key=lambda row: (
            STATES.index(row.state),
            row.since_ms is None,
            row.since_ms or 0,
            row.name.casefold(),
        ),
    )


def totals(queues: list[QueueRow], agents: list[AgentRow]) -> Totals:
    """Return the figures over all queues and agents."""
    known = [row.waiting for row in queues if row.waiting is not None]
    levels = Counter(row.level for row in queues if row.level is not None)
    return Totals(
        waiting=sum(known) if known else None,
        waiting_partly=0 < len(known) < len(queues),
        oldest_since_ms=min((row.oldest_since_ms for row in queues if row.oldest_since_ms), default=None),
        action=levels["action"] if levels else None,
        attention=levels["attention"] if levels else None,
        agents=Counter(row.state for row in agents) if agents else None,
    )


# ---- one value ----


def _of_kind(mirror: Mapping[str, Value], kind: Kind) -> list[tuple[str, Value]]:
    prefix = f"{kind}:"
    return [(key, value) for key, value in mirror.items() if key.startswith(prefix)]


def _queue(key: str, value: Value) -> QueueRow:
    level = _text(value, "level")
    return QueueRow(
        name=_text(value, "name") or key,
        level=level if level in LEVELS else "unknown",
        waiting=_whole(value, "contacts_waiting"),
        oldest_since_ms=_whole(value, "oldest_since_ms"),
        service_level_pct=_number(value, "service_level_pct"),
        agents=tuple(_whole(value, f"agents_{state}") for state in AGENTS_OF_QUEUE),
    )


def _urgency(row: QueueRow) -> tuple[int, int, int, float, str]:
    # an instant long ago is a long wait; no instant is no wait
    wait = row.oldest_since_ms if row.oldest_since_ms is not None else 2**62
    in_time = row.service_level_pct if row.service_level_pct is not None else 100.0
    return LEVELS.index(row.level), wait, -(row.waiting or 0), in_time, row.name.casefold()


def _agent(key: str, value: Value, reasons: Mapping[str, str]) -> AgentRow:
    state, doing, since_ms, ends_at_ms = _doing(value)
    pending = _text(value, "pending_routing_state")
    by = _text(value, "pending_by")
    reason_id, after_id = _text(value, "reason_id"), _text(value, "pending_reason_id")
    after = "" if after_id is None else f", {reasons.get(after_id, after_id)}"
    return AgentRow(
        name=_text(value, "display_name") or key,
        state=state,
        doing=doing,
        since_ms=since_ms,
        ends_at_ms=ends_at_ms,
        reason=None if reason_id is None else reasons.get(reason_id, reason_id),
        pending=None
        if pending is None
        else f"{_spaced(pending)}{after}{f' by {by}' if by not in _OWN else ''}",
        remarks=tuple(_remarks(value)),
    )


def _doing(value: Value) -> tuple[str, str, int | None, int | None]:
    """Return the state, its text, since when, and until when."""
    contacts = [contact for contact in _list(value, "handling") if isinstance(contact, Mapping)]
    active = [contact for contact in contacts if contact.get("state") != "post_processing"]
    if active:
        first = min(active, key=lambda contact: _whole(contact, "since_ms") or 2**62)
        words = _spaced(_text(first, "state") or "handling")
        if len(active) > 1:
            words = f"{words} +{len(active) - 1}"
        return "handling", words, _whole(first, "since_ms"), None
    after = value.get("post_processing")
    if isinstance(after, Mapping):
        return "post-processing", "post-processing", _whole(after, "since_ms"), _whole(after, "ends_at_ms")
    if contacts:
        return "post-processing", "post-processing", _whole(contacts[0], "since_ms"), None
    words = _spaced(_text(value, "routing_state") or "unknown")
    state = words if words in STATES else "unknown"
    return state, words, _whole(value, "routing_state_since_ms"), None


def _remarks(value: Value) -> list[str]:
    remarks = []
    by = _text(value, "routing_state_by")
    if by not in _OWN:
        remarks.append(f"by {by}")
    if value.get("logged_on_remotely") is True:
        remarks.append("remote")
    if value.get("app_present") is False:
        remarks.append("app absent")
    return remarks


def _reasons(mirror: Mapping[str, Value]) -> dict[str, str]:
    names: dict[str, str] = {}
    for reason in _list(mirror.get("catalogue:reasons", {}), "reasons"):
        if isinstance(reason, Mapping):
            id_, name = _text(reason, "reason_id"), _text(reason, "name")
            if id_ is not None and name is not None:
                names[id_] = name
    return names


def _list(value: Value, name: str) -> list[object]:
    found = value.get(name)
    return found if isinstance(found, list) else []


def _text(value: Value, name: str) -> str | None:
    found = value.get(name)
    return found if isinstance(found, str) and found else None


def _number(value: Value, name: str) -> float | None:
    found = value.get(name)
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None


def _whole(value: Value, name: str) -> int | None:
    found = _number(value, name)
    return None if found is None else int(found)


def _spaced(word: str) -> str:
    return word.replace("_", " ")


# ---- drawing ----


Row = TypeVar("Row", AgentRow, QueueRow)

UNKNOWN: Final = "–"
WIDE: Final = 100
"""Number of columns from which headings are words."""
_TOP_LINES: Final = 2
_BANNER_LINES: Final = 3
_TABLE_LINES: Final = 2
"""Of a table's space and its headings."""

_LEVEL_MARKS: Final = {"action": "!!", "attention": "! ", "unknown": "? ", "ok": "  ", None: "  "}
_LEVEL_STYLES: Final = {
    "action": "bold red", "attention": "yellow", "unknown": "dim", "ok": "green", None: "dim",
}  # fmt: skip
_STATE_MARKS: Final = dict(zip(STATES, "●◐○■✕?·", strict=True))
_STATE_STYLES: Final = dict(
    zip(STATES, ("cyan", "blue", "green", "magenta", "yellow", "dim", "dim"), strict=True)
)
_HEALTH_MARKS: Final = {"live": ("●", "green"), "stale": ("▲", "yellow"), "degraded": ("▲", "yellow")}


@dataclass(frozen=True, slots=True)
class BoardHealth:
    """The user of the board, and the health of its data."""

    site: str
    user: str
    application: str
    connected: bool
    upstream: str | None = None
    """`live`, `stale` or `down`; None before the first ping."""
    bus: str | None = None
    as_of_ms: int | None = None
    reconnect_in_s: float | None = None
    reason: str | None = None
    """Why the connection is gone."""
    ended: str | None = None
    """Why the session is over."""
    last_event: str | None = None

    @property
    def current(self) -> bool:
        """Whether the data is current."""
        return self.connected and self.upstream == "live" and self.ended is None


@dataclass(frozen=True, slots=True)
class Board:
    """A frame of the board, drawn to the available width."""

    mirror: Mapping[str, Value]
    health: BoardHealth
    now_ms: int | None
    """The gateway's clock; None when it is not known."""
    zone: tzinfo | None = UTC
    """The time zone of shown times; None: the machine's."""
    lines: int | None = None
    """Number of lines; None: as many as needed."""
    footer: str | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._drawn(options.max_width)

    def _drawn(self, width: int) -> RenderableType:
        queues, agents = queue_rows(self.mirror), agent_rows(self.mirror)
        present = [row for row in agents if row.state != LOGGED_OFF]
        # old data does not age further: its timers stop at the time when it was current
        at_ms = self.now_ms if self.health.current else self.health.as_of_ms
        banner = _banner(self.health)
        figures = _figures(totals(queues, agents), at_ms, width)
        below = self._below(width)
        room = None
        if self.lines is not None:
            taken = _TOP_LINES + _BANNER_LINES * len(banner) + len(figures) + len(below)
            room = self.lines - taken - _TABLE_LINES * (bool(queues) + bool(present))
        for_queues, for_agents = _shares(len(queues), len(present), room)
        data = Group(
            *figures,
            *_queue_table(queues, for_queues, at_ms, wide=width >= WIDE),
            *_agent_table(present, for_agents, at_ms),
        )
        return Group(
            _header(self.health, self.now_ms, self.zone),
            *banner,
            _strip(self.health, self.now_ms, self.zone),
            data if self.health.current else Styled(data, "dim"),
            *below,
        )

    def _below(self, width: int) -> list[RenderableType]:
        last = f"last: {_printable(self.health.last_event or UNKNOWN)}"
        fold = partial(wrap, width=width, break_long_words=False, break_on_hyphens=False)
        lines = [last, *(part for line in (self.footer or "").splitlines() for part in fold(line))]
        return [Text(line, "dim", no_wrap=True, overflow="ellipsis") for line in lines]


# ---- the parts, from the top ----


def _header(health: BoardHealth, now_ms: int | None, zone: tzinfo | None) -> RenderableType:
    row = Table.grid(expand=True, padding=(0, 1))
    row.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    row.add_column(no_wrap=True, justify="right")
    who = f"{health.application} · site {health.site} · {health.user}"
    row.add_row(Text(_printable(who), "bold"), Text(_clock(now_ms, zone), "bold"))
    return row


def _banner(health: BoardHealth) -> list[RenderableType]:
    if health.ended is not None:
        return [_panel(f"✕ session ended: {_printable(health.ended)}", "bold red")]
    if health.connected:
        return []
    when = "" if health.reconnect_in_s is None else f" in {max(0.0, health.reconnect_in_s):.0f} s"
    why = "" if health.reason is None else f" ({_printable(health.reason)})"
    return [_panel(f"▲ connecting{when}{why}", "bold yellow")]


def _panel(text: str, style: str) -> RenderableType:
    return Panel(Text(text, no_wrap=True, overflow="ellipsis"), style=style)


def _strip(health: BoardHealth, now_ms: int | None, zone: tzinfo | None) -> RenderableType:
    strip = Text(no_wrap=True, overflow="ellipsis")
    strip.append("upstream ").append_text(_health(health.upstream if health.connected else None))
    if health.upstream == "stale" and health.connected:
        strip.append(f" since {_clock(health.as_of_ms, zone)}")
    strip.append("   bus ").append_text(_health(health.bus if health.connected else None))
    if health.current and now_ms is not None and health.as_of_ms is not None:
        strip.append(f"   data {_age((now_ms - health.as_of_ms) / 1000)} old")
    else:
        strip.append(f"   as of {_clock(health.as_of_ms, zone)}", "bold")
    return strip


def _health(word: str | None) -> Text:
    if word is None:
        return Text(UNKNOWN, "dim")
    mark, style = _HEALTH_MARKS.get(word, ("✕", "bold red"))
    return Text(f"{mark} {word}", style)


def _figures(figures: Totals, at_ms: int | None, width: int) -> list[Text]:
    waiting = f"{'≥ ' if figures.waiting_partly else ''}{_count(figures.waiting)}"
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append("waiting ").append(waiting, "bold")
    line.append("   longest ").append(_elapsed(figures.oldest_since_ms, at_ms), "bold")
    action, attention = _count(figures.action), _count(figures.attention)
    line.append("   queues ").append(f"!! {action} action", "bold red" if figures.action else "")
    line.append("  ").append(f"! {attention} attention", "yellow" if figures.attention else "")
    if figures.agents is None:
        return [line, Text(f"agents  {UNKNOWN}")]
    counts = [
        Text(f"  {_STATE_MARKS[state]} {number} {state}", _STATE_STYLES[state])
        for state in STATES
        if (number := figures.agents.get(state, 0))
    ]
    return [line, *_flow("agents", counts, width)]


def _flow(label: str, pieces: list[Text], width: int) -> list[Text]:
    """Put *pieces* beside each other, and below each other at the end of a line, without breaking one."""
    lines = [Text(label, no_wrap=True, overflow="ellipsis")]
    for piece in pieces:
        if lines[-1].cell_len + piece.cell_len > width:
            lines.append(Text(" " * len(label), no_wrap=True, overflow="ellipsis"))
        lines[-1].append_text(piece)
    return lines


def _queue_table(rows: list[QueueRow], lines: int, at_ms: int | None, *, wide: bool) -> list[RenderableType]:
    table = _table()
    table.add_column("queues", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("level", no_wrap=True, width=12)
    for name, width in (("wait", 4), ("longest", 7), ("in time", 7), *_headings(wide=wide)):
        table.add_column(name, justify="right", no_wrap=True, width=width)
    shown, left = _fitting(rows, lines)
    for row in shown:
        style = _LEVEL_STYLES[row.level]
        table.add_row(
            Text(_printable(row.name)),
            Text(f"{_LEVEL_MARKS[row.level]} {row.level or UNKNOWN}", style),
            Text(_count(row.waiting), "bold"),
            _elapsed(row.oldest_since_ms, at_ms),
            _percent(row.service_level_pct),
            *map(_count, row.agents),
        )
    return _section(table, left) if rows else []


def _headings(*, wide: bool) -> tuple[tuple[str, int], ...]:
    if wide:
        return ("available", 9), ("handling", 8), ("post-proc.", 10), ("unavail.", 8), ("work", 4)
    return ("av", 3), ("ha", 3), ("pp", 3), ("un", 3), ("wk", 3)


def _agent_table(rows: list[AgentRow], lines: int, at_ms: int | None) -> list[RenderableType]:
    table = _table()
    table.add_column("agents", no_wrap=True, overflow="ellipsis", ratio=19)
    table.add_column("state", no_wrap=True, overflow="ellipsis", width=17)
    table.add_column("for", justify="right", no_wrap=True, width=7)
    table.add_column("reason", no_wrap=True, overflow="ellipsis", ratio=12)
    table.add_column("next", no_wrap=True, overflow="ellipsis", ratio=21)
    shown, left = _fitting(rows, lines)
    for row in shown:
        style = _STATE_STYLES[row.state]
        table.add_row(
            Text(_printable(row.name)),
            Text(f"{_STATE_MARKS[row.state]} {_printable(row.doing)}", style),
            _timer(row, at_ms),
            Text(_printable(row.reason or "")),
            _next(row),
        )
    return _section(table, left) if rows else []


def _timer(row: AgentRow, at_ms: int | None) -> str:
    if row.ends_at_ms is not None and at_ms is not None:
        return f"−{_duration((row.ends_at_ms - at_ms) / 1000)}"
    return _elapsed(row.since_ms, at_ms)


def _next(row: AgentRow) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    if row.pending is not None:
        text.append(f"→ {_printable(row.pending)}", "reverse")
    for remark in row.remarks:
        text.append(f"{' ' if text else ''}{remark}")
    return text


def _table() -> Table:
    return Table(box=None, expand=True, padding=(0, 1, 0, 0), pad_edge=False, header_style="underline")


def _section(table: Table, left: int) -> list[RenderableType]:
    """Return a table with space above it, and the number of omitted rows."""
    more = [Text(f"… and {left} more", "dim")] if left else []
    return [Text(), table, *more]


def _fitting(rows: list[Row], lines: int) -> tuple[list[Row], int]:
    """Return the rows that fit into *lines*, and the number of omitted ones, which takes a line, too."""
    if len(rows) <= lines:
        return rows, 0
    shown = rows[: max(0, lines - 1)]
    return shown, len(rows) - len(shown)


def _shares(queues: int, agents: int, room: int | None) -> tuple[int, int]:
    """Share the lines: queues get the lines that agents do not need, and at least half."""
    if room is None:
        return queues, agents
    for_queues = min(queues, max(room // 2, room - agents))
    return for_queues, min(agents, room - for_queues)


# ---- how single values are written ----


def _count(number: int | None) -> str:
    return UNKNOWN if number is None else str(number)


def _percent(number: float | None) -> str:
    return UNKNOWN if number is None else f"{number:.0f} %"


def _elapsed(since_ms: int | None, at_ms: int | None) -> str:
    return UNKNOWN if since_ms is None or at_ms is None else _duration((at_ms - since_ms) / 1000)


def _duration(seconds: float) -> str:
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _age(seconds: float) -> str:
    return f"{max(0, int(seconds))} s" if seconds < 60 else _duration(seconds)


def _clock(at_ms: int | None, zone: tzinfo | None) -> str:
    if at_ms is None:
        return UNKNOWN
    return datetime.fromtimestamp(at_ms / 1000, zone).strftime("%H:%M:%S")


def _printable(text: str) -> str:
    """Return *text* without control characters."""
    return "".join(char if char.isprintable() else "·" for char in text)
