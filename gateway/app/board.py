"""What does a supervisor see in a terminal?

Pure: from a mirror, its health and the time to what :mod:`rich` draws. Whatever matters is said by
a word or a mark, colour only repeats it. Unknown is "–", never 0. Old data is grey, frozen, and
says of when it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final, TypeVar

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.styled import Styled
from rich.table import Table
from rich.text import Text

from gateway.app.board_figures import (
    LOGGED_OFF,
    STATES,
    AgentRow,
    QueueRow,
    Totals,
    agent_rows,
    queue_rows,
    totals,
)
from gateway.client import Value

Row = TypeVar("Row", AgentRow, QueueRow)

UNKNOWN: Final = "–"
WIDE: Final = 100
"""From so many columns on headings are words."""
_TOP_LINES: Final = 2
_BANNER_LINES: Final = 3
_TABLE_LINES: Final = 2
"""Of a table's space and its headings."""

_LEVEL_MARKS: Final = {"action": "!!", "attention": "! ", "unknown": "? ", "ok": "  "}
_LEVEL_STYLES: Final = {"action": "bold red", "attention": "yellow", "unknown": "dim", "ok": "green"}
_STATE_MARKS: Final = dict(zip(STATES, "●◐○■✕?·", strict=True))
_STATE_STYLES: Final = dict(
    zip(STATES, ("cyan", "blue", "green", "magenta", "yellow", "dim", "dim"), strict=True)
)
_HEALTH_MARKS: Final = {"live": ("●", "green"), "stale": ("▲", "yellow"), "degraded": ("▲", "yellow")}


@dataclass(frozen=True, slots=True)
class BoardHealth:
    """Whose board it is and how far it can be believed."""

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
        """Whether what is shown is what is."""
        return self.connected and self.upstream == "live" and self.ended is None


@dataclass(frozen=True, slots=True)
class _Board:
    """A frame of the board, drawn to the width that there is."""

    mirror: Mapping[str, Value]
    health: BoardHealth
    now_ms: int | None
    zone: tzinfo | None
    lines: int | None
    footer: str | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._drawn(options.max_width)

    def _drawn(self, width: int) -> RenderableType:
        queues, agents = queue_rows(self.mirror), agent_rows(self.mirror)
        present = [row for row in agents if row.state != LOGGED_OFF]
        # old data does not age on: its timers stand where they stood when it was current
        at_ms = self.now_ms if self.health.current else self.health.as_of_ms
        banner = _banner(self.health)
        figures = _figures(totals(queues, agents), at_ms, width)
        below = self._below()
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

    def _below(self) -> list[RenderableType]:
        last = f"last: {_printable(self.health.last_event or UNKNOWN)}"
        lines = [last, *(self.footer or "").splitlines()]
        return [Text(line, "dim", no_wrap=True, overflow="ellipsis") for line in lines]


def board(
    mirror: Mapping[str, Value],
    health: BoardHealth,
    now_ms: int | None,
    *,
    zone: tzinfo | None = UTC,
    lines: int | None = None,
    footer: str | None = None,
) -> RenderableType:
    """Return one frame of the board.

    Args:
        mirror: What the gateway told.
        health: How far it can be believed.
        now_ms: The gateway's clock; None when it is not known.
        zone: In which times are shown; None: the machine's.
        lines: How many lines there are; None: as many as it takes.
        footer: What stands below it all, in a line or several.
    """
    return _Board(mirror, health, now_ms, zone, lines, footer)


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
    line.append("   longest ").append(_since(figures.oldest_since_ms, at_ms), "bold")
    line.append("   queues ").append(f"!! {figures.action} action", "bold red" if figures.action else "")
    line.append("  ").append(f"! {figures.attention} attention", "yellow" if figures.attention else "")
    if figures.agents is None:
        return [line, Text(f"agents  {UNKNOWN}")]
    counts = [
        Text(f"  {_STATE_MARKS[state]} {number} {state}", _STATE_STYLES[state])
        for state in STATES
        if (number := figures.agents.get(state, 0))
    ]
    return [line, *_flow("agents", counts, width)]


def _flow(label: str, pieces: list[Text], width: int) -> list[Text]:
    """Put *pieces* beside each other, below each other where the line ends, none of them broken."""
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
            Text(f"{_LEVEL_MARKS[row.level]} {row.level}", style),
            Text(_count(row.waiting), "bold"),
            _since(row.oldest_since_ms, at_ms),
            _percent(row.service_level_pct),
            *map(_count, (row.available, row.handling, row.post_processing, row.unavailable, row.work)),
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
        return f"−{_span((row.ends_at_ms - at_ms) / 1000)}"
    return _since(row.since_ms, at_ms)


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
    """Return a table with space above it, and how many rows are left out."""
    more = [Text(f"… and {left} more", "dim")] if left else []
    return [Text(), table, *more]


def _fitting(rows: list[Row], lines: int) -> tuple[list[Row], int]:
    """Return the rows that *lines* hold and how many are left out; that they are takes a line too."""
    if len(rows) <= lines:
        return rows, 0
    shown = rows[: max(0, lines - 1)]
    return shown, len(rows) - len(shown)


def _shares(queues: int, agents: int, room: int | None) -> tuple[int, int]:
    """Share the lines that there are: queues get what agents leave, and half of it in any case."""
    if room is None:
        return queues, agents
    for_queues = min(queues, max(room // 2, room - agents))
    return for_queues, min(agents, room - for_queues)


# ---- how single values are written ----


def _count(number: int | None) -> str:
    return UNKNOWN if number is None else str(number)


def _percent(number: float | None) -> str:
    return UNKNOWN if number is None else f"{number:.0f} %"


def _since(since_ms: int | None, at_ms: int | None) -> str:
    return UNKNOWN if since_ms is None or at_ms is None else _span((at_ms - since_ms) / 1000)


def _span(seconds: float) -> str:
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _age(seconds: float) -> str:
    return f"{max(0, int(seconds))} s" if seconds < 60 else _span(seconds)


def _clock(at_ms: int | None, zone: tzinfo | None) -> str:
    if at_ms is None:
        return UNKNOWN
    return datetime.fromtimestamp(at_ms / 1000, zone).strftime("%H:%M:%S")


def _printable(text: str) -> str:
    """Return *text* without what a terminal would obey."""
    return "".join(char if char.isprintable() else "·" for char in text)
