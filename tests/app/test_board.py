"""Board in the terminal: its content at 80 and 120 columns, and unknown values."""

from __future__ import annotations

import dataclasses
import io
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gateway.app.cli.board import AgentRow, Board, BoardHealth, agent_rows, queue_rows, totals
from gateway.client import Value

T = 1_700_000_000_000
"""22:13:20 UTC."""

MIRROR: dict[str, Value] = {
    "queue:1": {
        "name": "Sales", "level": "action", "contacts_waiting": 7, "oldest_since_ms": T - 187_000,
        "service_level_pct": 61.3, "agents_available": 0, "agents_handling": 9,
        "agents_post_processing": 2, "agents_unavailable": 3, "agents_work": 1,
    },
    "queue:2": {"name": "Support", "level": "ok", "contacts_waiting": 0},
    "queue:3": {"name": "Billing", "level": "attention", "contacts_waiting": 2},
    "catalogue:reasons": {"reasons": [{"reason_id": "3", "name": "Lunch"}]},
    "agent:1": {
        "display_name": "Ada", "routing_state": "unavailable", "routing_state_since_ms": T - 4_000_000,
        "reason_id": "3",
    },
    "agent:2": {
        "display_name": "Grace", "handling": [{"state": "talking", "since_ms": T - 300_000}],
        "pending_routing_state": "work", "pending_by": "supervisor",
    },
    "agent:3": {"display_name": "Barbara", "post_processing": {"ends_at_ms": T + 12_000}},
}  # fmt: skip

LIVE = BoardHealth("main", "Eve", "dashboard", True, "live", "live", T - 3_000, last_event="connected")


def _text(
    mirror: dict[str, Value], health: BoardHealth, now_ms: int | None = T, *, width: int = 80, **shown: object
) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(Board(mirror, health, now_ms, **shown))  # type: ignore[arg-type]  # each test names its own
    return capture.get().splitlines()


def _line(lines: list[str], word: str) -> str:
    (found,) = [line for line in lines if word in line]
    return " ".join(found.split())


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (80, "queues level wait longest in time av ha pp un wk"),
        (120, "queues level wait longest in time available handling post-proc. unavail. work"),
    ],
)
def test_the_whole_board(width: int, headings: str) -> None:
    lines = _text(MIRROR, LIVE, width=width)
    assert all(len(line) <= width for line in lines)
    assert _line(lines, "in time") == headings
    assert _line(lines, "site main") == "dashboard · site main · Eve 22:13:20"
    assert _line(lines, "upstream") == "upstream ● live bus ● live data 3 s old"
    assert _line(lines, "waiting") == "waiting 9 longest 3:07 queues !! 1 action ! 1 attention"
    assert _line(lines, "1 handling") == "agents ● 1 handling ◐ 1 post-processing ✕ 1 unavailable"
    assert _line(lines, "Sales") == "Sales !! action 7 3:07 61 % 0 9 2 3 1"
    assert _line(lines, "Support") == "Support ok 0 – – – – – – –"
    assert _line(lines, "Ada") == "Ada ✕ unavailable 1:06:40 Lunch"
    assert _line(lines, "Grace") == "Grace ● talking 5:00 → work by supervisor"
    assert _line(lines, "Barbara") == "Barbara ◐ post-processing −0:12"
    assert _line(lines, "last:") == "last: connected"


def test_nothing_known_is_never_zero() -> None:
    empty = BoardHealth("main", "Eve", "dashboard", connected=True)
    lines = _text({"queue:1": {}}, empty, None)
    assert _line(lines, "upstream") == "upstream – bus – as of –"
    assert _line(lines, "waiting") == "waiting – longest – queues !! – action ! – attention"
    assert _line(lines, "queue:1") == "queue:1 – – – – – – – – –", "as of an Asterisk, which judges no queue"
    assert "agents –" in [" ".join(line.split()) for line in lines]
    assert _line(lines, "last:") == "last: –"
    assert "22:13:20" not in "".join(lines)


def test_a_judgement_without_a_known_word_is_shown_as_unknown() -> None:
    lines = _text(MIRROR | {"queue:4": {"name": "Returns", "level": "purple"}}, LIVE)
    assert _line(lines, "Returns").startswith("Returns ? unknown")
    assert [row.level for row in queue_rows(MIRROR | {"queue:4": {}})] == ["action", "attention", "ok", None]


@pytest.mark.parametrize(
    "health",
    [
        dataclasses.replace(LIVE, upstream="stale", as_of_ms=T - 60_000),
        dataclasses.replace(LIVE, upstream="down", as_of_ms=T - 60_000),
        dataclasses.replace(LIVE, connected=False, as_of_ms=T - 60_000),
    ],
)
def test_old_data_is_frozen_and_says_of_when_it_is(health: BoardHealth) -> None:
    now, later = _text(MIRROR, health), _text(MIRROR, health, T + 500_000)
    assert now[2:] == later[2:]
    assert "as of 22:12:20" in _line(now, "upstream")
    assert " 2:07 " in _line(now, "Sales")


def test_old_data_is_grey() -> None:
    def styled(health: BoardHealth) -> str:
        console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system="standard")
        with console.capture() as capture:
            console.print(Board(MIRROR, health, T))
        return capture.get()

    assert "\x1b[2mSales" in styled(dataclasses.replace(LIVE, upstream="stale"))
    assert "\x1b[2mSales" not in styled(LIVE)


def test_stale_says_since_when() -> None:
    lines = _text(MIRROR, dataclasses.replace(LIVE, upstream="stale", bus="degraded", as_of_ms=T - 60_000))
    assert _line(lines, "upstream") == "upstream ▲ stale since 22:12:20 bus ▲ degraded as of 22:12:20"


def test_a_lost_connection_has_a_banner() -> None:
    lost = dataclasses.replace(LIVE, connected=False, reconnect_in_s=4.2, reason="draining")
    lines = _text(MIRROR, lost)
    assert "▲ connecting in 4 s (draining)" in _line(lines, "connecting")
    assert _line(lines, "upstream").startswith("upstream – bus –")
    assert "▲ connecting │" in _line(_text({}, BoardHealth("m", "e", "d", False)), "connecting")


def test_an_ended_session_has_a_banner() -> None:
    lines = _text({}, dataclasses.replace(LIVE, ended="logged_off_by_supervisor by Bob"))
    assert "✕ session ended: logged_off_by_supervisor by Bob" in _line(lines, "ended")


def _many(queues: int, agents: int) -> dict[str, Value]:
    mirror: dict[str, Value] = {f"queue:{n}": {"name": f"queue {n:03}"} for n in range(queues)}
    return mirror | {f"agent:{n}": {"display_name": f"agent {n:03}"} for n in range(agents)}


@given(st.integers(0, 30), st.integers(0, 30), st.integers(16, 70), st.sampled_from([80, 100]), st.booleans())
def test_a_board_is_as_tall_as_it_may_be(
    queues: int, agents: int, lines: int, width: int, connected: bool
) -> None:
    health = dataclasses.replace(LIVE, connected=connected)
    shown = _text(_many(queues, agents), health, width=width, lines=lines)
    whole = _text(_many(queues, agents), health, width=width)
    assert len(shown) == min(lines, len(whole))
    assert all(len(line) <= width for line in shown)
    received = sum(int(line.split()[2]) for line in shown if line.startswith("…"))
    assert received + sum(line.startswith(("queue ", "agent ")) for line in shown) == queues + agents


def test_agents_leave_queues_the_lines_that_they_do_not_need() -> None:
    shown = _text(_many(30, 1), LIVE, lines=30)
    assert _line(shown, "more") == "… and 11 more"
    assert _line(shown, "agent 000") == "agent 000 ? unknown –"


def test_who_is_logged_off_is_only_counted() -> None:
    off: Value = {"display_name": "Zoe", "routing_state": "logged_off"}
    shown = _text(MIRROR | {"agent:4": off}, LIVE)
    assert "· 1 logged off" in _line(shown, "1 handling")
    assert not [line for line in shown if "Zoe" in line]
    assert not [line for line in _text({"agent:4": off}, LIVE) if "reason" in line]


@pytest.mark.parametrize("width", [80, 100])
def test_columns_stand_still(width: int) -> None:
    longest: dict[str, Value] = {
        "queue:1": {
            "name": "A queue with some name", "level": "attention", "contacts_waiting": 9999,
            "oldest_since_ms": T - 35_999_000, "service_level_pct": 100, "agents_available": 999,
            "agents_handling": 999, "agents_post_processing": 999, "agents_unavailable": 999,
            "agents_work": 999,
        },
        "agent:1": {
            "display_name": "Maximilian Muster", "handling": [{"state": "consulting", "since_ms": T}] * 2,
            "pending_routing_state": "unavailable", "logged_on_remotely": True,
        },
        "agent:2": {"display_name": "Eva", "post_processing": {"since_ms": T - 35_999_000}},
    }  # fmt: skip
    few, many = _text(MIRROR, LIVE, width=width), _text(longest, LIVE, width=width)
    for word in ("in time", "reason"):
        assert [line for line in few if word in line] == [line for line in many if word in line]
    assert not [line for line in many if "…" in line]
    assert _line(many, "A queue").endswith("9:59:59 100 % 999 999 999 999 999")
    assert _line(many, "Maximilian") == "Maximilian Muster ● consulting +1 0:00 → unavailable remote"


def test_several_lines_below_take_their_room_from_the_rest() -> None:
    shown = _text(_many(0, 200), LIVE, lines=20, footer="nodes\nkill one")
    assert len(shown) == 20
    assert [line.strip() for line in shown[-2:]] == ["nodes", "kill one"]


def test_a_line_below_is_folded_between_words_and_never_cut() -> None:
    command, options = "try: a/long/path/.venv/bin/oscc-gateway demo-cluster", "--port 18091 kill n1"
    shown = _text(_many(0, 200), LIVE, width=55, lines=20, footer=f"{command} {options}\nlast")
    assert len(shown) == 20
    assert [line.strip() for line in shown[-3:]] == [command, options, "last"]


def test_many_states_flow_to_the_next_line() -> None:
    states = ("available", "work", "unavailable", "logged_off", "of tomorrow")
    mirror: dict[str, Value] = {f"agent:{n}": {"routing_state": state} for n, state in enumerate(states)}
    mirror["agent:9"] = {"handling": [{}]}
    text = " ".join(" ".join(_text(mirror, LIVE)).split())
    assert "● 1 handling ○ 1 available ■ 1 work ✕ 1 unavailable ? 1 unknown · 1 logged off" in text


def test_a_name_cannot_command_the_terminal() -> None:
    lines = _text({"queue:1": {"name": "x\x1b[2J\u202e[bold]y"}}, LIVE)
    assert "x·[2J·[bold]y" in _line(lines, "x·")


def test_times_are_shown_in_a_zone() -> None:
    assert "00:13:20" in "".join(_text({}, LIVE, zone=timezone(timedelta(hours=2))))


# ---- figures of the board: queues and agents as they are, by urgency ----


def _agent(**fields: object) -> AgentRow:
    (row,) = agent_rows({"agent:1": fields})
    return row


def test_queues_come_worst_first() -> None:
    mirror: dict[str, Value] = {
        "queue:1": {"name": "fine", "level": "ok", "contacts_waiting": 99},
        "queue:8": {"name": "best", "level": "ok", "service_level_pct": 100},
        "queue:9": {"name": "slow", "level": "ok", "service_level_pct": 70},
        "queue:2": {"name": "late", "level": "attention", "oldest_since_ms": T - 5},
        "queue:3": {"name": "later", "level": "attention", "oldest_since_ms": T - 9},
        "queue:4": {"name": "full", "level": "attention", "contacts_waiting": 3},
        "queue:5": {"name": "burning", "level": "action"},
        "queue:6": {"name": "odd", "level": "of tomorrow"},
        "agent:7": {"display_name": "no queue"},
    }
    assert [row.name for row in queue_rows(mirror)] == [
        "burning", "later", "late", "full", "odd", "fine", "slow", "best",
    ]  # fmt: skip


def test_agents_come_by_state_and_the_longest_first() -> None:
    mirror: dict[str, Value] = {
        "agent:1": {"display_name": "off", "routing_state": "logged_off"},
        "agent:2": {"display_name": "new", "routing_state": "available", "routing_state_since_ms": T},
        "agent:3": {"display_name": "old", "routing_state": "available", "routing_state_since_ms": T - 9},
        "agent:4": {"display_name": "Bob", "routing_state": "available"},
        "agent:5": {"display_name": "busy", "handling": [{"state": "talking"}]},
    }
    assert [row.name for row in agent_rows(mirror)] == ["busy", "old", "new", "Bob", "off"]


def test_handling_goes_before_the_routing_state() -> None:
    row = _agent(
        routing_state="unavailable",
        handling=[
            {"state": "post_processing", "since_ms": T - 99},
            {"state": "talking", "since_ms": T - 5},
            {"state": "holding", "since_ms": T - 9},
        ],
    )
    assert (row.state, row.doing, row.since_ms) == ("handling", "holding +1", T - 9)


def test_post_processing_has_an_end_and_a_state_of_a_later_version_its_name() -> None:
    row = _agent(routing_state="available", post_processing={"since_ms": T, "ends_at_ms": T + 9})
    assert (row.state, row.since_ms, row.ends_at_ms) == ("post-processing", T, T + 9)
    without_end = _agent(handling=[{"state": "post_processing", "since_ms": T}])
    assert (without_end.state, without_end.since_ms, without_end.ends_at_ms) == ("post-processing", T, None)
    row = _agent(routing_state="on_the_moon")
    assert (row.state, row.doing) == ("unknown", "on the moon")


def test_reasons_have_names() -> None:
    mirror: dict[str, Value] = {
        "catalogue:reasons": {"reasons": [{"reason_id": "3", "name": "Lunch"}, {"name": "nobody's"}, 7]},
        "agent:1": {"reason_id": "3"},
        "agent:2": {"reason_id": "4"},
    }
    assert {row.reason for row in agent_rows(mirror)} == {"Lunch", "4"}


def test_what_is_pending_says_by_whom_unless_by_oneself() -> None:
    assert _agent(pending_routing_state="work", pending_by="supervisor").pending == "work by supervisor"
    assert _agent(pending_routing_state="logged_off", pending_by="self").pending == "logged off"
    assert _agent(pending_routing_state="work", pending_reason_id="r").pending == "work, r"
    assert _agent(pending_routing_state="work").pending == "work"


def test_remarks_are_made_of_what_oscce_says_only() -> None:
    assert _agent(app_present=False, logged_on_remotely=True).remarks == ("remote", "app absent")
    assert _agent(app_present=None).remarks == ()
    assert _agent(routing_state_by="supervisor").remarks == ("by supervisor",)
    assert _agent(routing_state_by="self").remarks == ()


def test_totals_know_what_they_do_not_know() -> None:
    none = totals([], [])
    assert (none.waiting, none.waiting_partly, none.oldest_since_ms, none.agents) == (None, False, None, None)
    mirror: dict[str, Value] = {
        "queue:1": {"contacts_waiting": 3, "oldest_since_ms": T, "level": "action"},
        "queue:2": {"contacts_waiting": 4, "oldest_since_ms": T - 9, "level": "attention"},
        "queue:3": {},
        "agent:1": {"routing_state": "work"},
    }
    some = totals(queue_rows(mirror), agent_rows(mirror))
    assert (some.waiting, some.waiting_partly, some.oldest_since_ms) == (7, True, T - 9)
    assert (some.action, some.attention, some.agents) == (1, 1, {"work": 1})


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
NAMES = (
    "name", "level", "contacts_waiting", "oldest_since_ms", "display_name", "routing_state", "handling",
    "post_processing", "reason_id", "pending_routing_state", "reasons",
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(["queue:1", "agent:1", "catalogue:reasons"]),
        st.dictionaries(st.sampled_from(NAMES), ODD, max_size=4),
    )
)
def test_odd_values_break_nothing(mirror: dict[str, dict[str, object]]) -> None:
    queues, agents = queue_rows(mirror), agent_rows(mirror)
    assert len(queues) + len(agents) == len(mirror.keys() - {"catalogue:reasons"})
    totals(queues, agents)
