"""Figures of the board: queues and agents as they are, by urgency."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.app.cli.board import AgentRow, agent_rows, queue_rows, totals
from gateway.client import Value

T = 1_700_000_000_000


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
