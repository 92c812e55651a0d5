"""The adapter holds what a live Asterisk said: events alone lead to what the next reading says."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

import pytest

from gateway.domain.resources import Agent, Queue
from gateway.upstream.asterisk.ami import AmiMessage, Framer
from gateway.upstream.asterisk.people import AsteriskView, Rules
from gateway.upstream.asterisk.state import Membership, Pass, Queues
from tests.asterisk import recordings

SILENT = {
    "08-reload": "a reload of queues.conf is reported by no event",
    "10-restart": "Asterisk was stopped: the connection ends, and a whole reading follows",
    "11-kill": "Asterisk was killed: the connection ends, and a whole reading follows",
}
"""Recordings in which readings say what no event has said → why."""


def _messages(name: str) -> list[tuple[int, AmiMessage]]:
    """Return what the framer makes of a recording, byte for byte, with the milliseconds."""
    framer, found = Framer(), list[tuple[int, AmiMessage]]()
    framer.feed(b"Asterisk Call Manager/13.0.0\r\n")
    for line in recordings.read(name):
        if line.way == "<" and "Asterisk Call Manager" not in line.raw.decode():
            half = len(line.raw) // 2
            for message in (*framer.feed(line.raw[:half]), *framer.feed(line.raw[half:])):
                found.append((round(1000 * line.at_s), message))
    return found


def _facts(member: Membership) -> tuple[object, ...]:
    return (
        member.paused,
        member.reason,
        member.penalty,
        member.dynamic,
        member.calls_taken,
        member.last_call_s,
    )


def _said(row: AmiMessage) -> tuple[object, ...]:
    paused = row["Paused"] == "1"
    return (
        paused,
        row["PausedReason"] if paused else "",
        int(row["Penalty"]),
        row["Membership"] == "dynamic",
        int(row["CallsTaken"]),
        int(row["LastCall"]),
    )


class Replay:
    """Applies a recording as the adapter does, and compares each row of a reading with what events led to."""

    def __init__(self) -> None:
        self.queues = Queues()
        self.compared = 0
        self.differing: list[AmiMessage] = []
        self._readings: dict[str, Pass] = {}
        self._known: set[str] = set()

    def is_reading(self) -> bool:
        """Return whether a reading has begun and not ended."""
        return bool(self._readings)

    def take(self, now_ms: int, message: AmiMessage) -> None:
        number = message.get("ActionID", "")
        if message.get("Message") == "Queue status will follow":
            self._readings[number] = self.queues.begin(with_members=True)
        elif number not in self._readings:
            self.queues.event(message, now_ms)
            self.queues.due(now_ms)
        elif message.get("Event") == "QueueStatusComplete":
            # a reading that was narrowed says nothing of what it leaves out
            self.queues.abandon(self._readings.pop(number))
        else:
            self._compare(message)
            self._readings[number].row(message, now_ms)

    def _compare(self, row: AmiMessage) -> None:
        name = row.get("Queue", "")
        held = self.queues.queues.get(name) if name in self._known else None
        if row.get("Event") == "QueueParams":
            self._known.add(name)
        elif row.get("Event") == "QueueMember" and held is not None and row["Location"] in held.members:
            self.compared += 1
            if _facts(held.members[row["Location"]]) != _said(row):
                self.differing.append(row)


@pytest.mark.parametrize("name", recordings.NAMES)
def test_events_lead_to_what_the_next_reading_says(name: str) -> None:
    replay = Replay()
    for now_ms, message in _messages(name):
        replay.take(now_ms, message)
    if name not in SILENT:
        assert replay.differing == []
    if name in {"03-call-life", "05-pause"}:
        assert replay.compared > 3


REMOTE = "Local/2001@oscc-remote/n"


def _states(name: str) -> Iterator[tuple[str, Queues]]:
    """Yield each event of a recording with the state behind it; a reading counts as one of everything."""
    queues, messages = Queues(), _messages(name)
    reading = queues.begin(with_members=True)
    reading.row({"Event": "QueueParams", "Queue": "sales"}, 0)
    reading.row({"Event": "QueueMember", "Queue": "sales", "Location": REMOTE}, 0)
    reading.end()
    for now_ms, message in messages:
        if message.get("Message") == "Queue status will follow":
            reading = queues.begin(with_members=True)
        elif message.get("Event") == "QueueStatusComplete":
            reading.end()
        elif "ActionID" in message:
            reading.row(message, now_ms)
        else:
            queues.event(message, now_ms)
        yield message.get("Event", ""), queues


def _after_readings(name: str) -> list[dict[tuple[str, str], Membership]]:
    """Return the memberships after each reading, by queue and interface."""
    return [
        {
            (one.name, key): copy(member)
            for one in queues.queues.values()
            for key, member in one.members.items()
        }
        for event, queues in _states(name)
        if event == "QueueStatusComplete"
    ]


def test_a_reading_shows_a_reload_that_no_event_reported() -> None:
    changed, restored, *_ = _after_readings("08-reload")
    assert {queue for queue, _ in changed} == {"support", "night", "vip-gone", "sales"}
    assert {queue for queue, _ in restored} == {"support", "vip", "sales"}
    gila, finn = ("support", "Local/2007@desk/n"), ("sales", "Local/2006@desk/n")
    assert (changed[gila].penalty, restored[gila].penalty) == (4, 0)
    assert (finn in changed, finn in restored) == (False, True)


def test_a_restart_keeps_who_was_added_and_ends_the_call() -> None:
    (after,) = _after_readings("10-restart")
    kept = {queue: member.reason for (queue, interface), member in after.items() if interface == REMOTE}
    assert kept == {"sales": "Call-backs", "support": "Training"}
    assert not any(member.in_call for member in after.values())


def test_a_pause_that_a_kill_has_lost_is_corrected_by_the_reading() -> None:
    reasons: dict[str, None] = {}
    for _, queues in _states("11-kill"):
        reasons |= {one.reason: None for key, one in queues.queues["sales"].members.items() if key == REMOTE}
    assert list(reasons) == ["", "Training", "Lunch"]


def _phases(name: str, interface: str) -> list[tuple[str, ...]]:
    """Return the phases of an interface's contacts, each time that they change."""
    queues, found = Queues(), list[tuple[str, ...]]()
    for queue in ("sales", "support", "vip"):
        one = queues.begin(with_members=False)
        one.row({"Event": "QueueParams", "Queue": queue}, 0)
        queues.abandon(one)
    for now_ms, message in _messages(name):
        if "ActionID" not in message:
            queues.event(message, now_ms)
            queues.due(now_ms)
        phases = tuple(one.phase for one in queues.contacts.get(interface, {}).values())
        if not found or found[-1] != phases:
            found.append(phases)
    return found


@pytest.mark.parametrize(
    ("name", "interface", "phases"),
    [
        ("03-call-life", "Local/2008@desk/n", [(), ("ringing",), ("talking",), ()]),
        ("17-complete-without-caller", "Local/2008@desk/n", [(), ("ringing",), ("talking",), ()]),
        ("04-abandon", "Local/2007@desk/n", [(), ("ringing",), (), ("ringing",), ()]),
    ],
)
def test_a_call_rings_is_connected_and_ends(name: str, interface: str, phases: list[tuple[str, ...]]) -> None:
    assert _phases(name, interface) == phases


# ---- what phones are shown of it ----

ANA = "Local/ana@oscc-remote/n"


def _shown(name: str) -> list[tuple[str, Agent, dict[str, Queue], Agent]]:
    """Return what is shown after each event: the event, the agent, the queues by name and the agent's day."""
    replay, found = Replay(), list[tuple[str, Agent, dict[str, Queue], Agent]]()
    view = AsteriskView(replay.queues, Rules())
    for now_ms, message in _messages(name):
        replay.take(now_ms, message)
        if replay.is_reading() or ANA not in replay.queues.memberships:
            continue
        view.index()
        _, realtime, day, _ = view.agent_parts(view.agent_of(ANA), now_ms)
        parts = {one: view.queue_parts(one, now_ms)[1] for one in ("sales", "support")}
        queues = {one: part.value for one, part in parts.items() if part and isinstance(part.value, Queue)}
        if realtime and day and isinstance(realtime.value, Agent) and isinstance(day.value, Agent):
            found.append((message.get("Event", ""), realtime.value, queues, day.value))
    return found


def test_an_agent_whose_telephone_rings_is_handling_in_all_queues_though_not_in_use() -> None:
    ringing = [queues for event, _, queues, _ in _shown("18-call-on-ami-11") if event == "AgentCalled"]
    for queue in ringing[0].values():
        assert (queue.agents_handling, queue.agents_available) == (1, 0)


def test_a_call_counts_once_for_the_agent_though_it_counts_in_every_queue() -> None:
    days = [day.handled_today for *_, day in _shown("18-call-on-ami-11")]
    assert sorted(set(days), key=str) == [0, 1]


@pytest.mark.parametrize("name", ["18-call-on-ami-11", "19-no-answer-on-ami-11"])
def test_no_call_is_made_up_where_a_device_state_follows_the_end_of_a_contact(name: str) -> None:
    assert not [event for event, agent, *_ in _shown(name) if any(one.direct for one in agent.handling or ())]


def _until(name: str, last: str, *, reads: str = "") -> tuple[Replay, AsteriskView, int]:
    """Replay up to the first event *last*; at events *reads* a reading shows the telephone in a call."""
    replay = Replay()
    view = AsteriskView(replay.queues, Rules())
    for now_ms, message in _messages(name):
        replay.take(now_ms, message)
        if message.get("Event") == reads:
            row = {**message, "Event": "QueueMember", "InCall": "1", "Status": "2"}
            replay.queues.member(row, ANA, now_ms)
        elif message.get("Event") == last:
            view.index()
            return replay, view, now_ms
    raise AssertionError(f"{name} has no {last}")


def _handling(view: AsteriskView, now_ms: int) -> list[bool]:
    """Return which contacts of the agent are shown as direct."""
    realtime = view.agent_parts(view.agent_of(ANA), now_ms)[1]
    assert realtime is not None
    assert isinstance(realtime.value, Agent)
    return [bool(one.direct) for one in realtime.value.handling or ()]


def test_a_call_that_a_reading_has_shown_ends_with_its_completion() -> None:
    _, view, now_ms = _until("18-call-on-ami-11", "AgentComplete", reads="AgentConnect")
    assert _handling(view, now_ms) == []


def test_a_telephone_that_stays_busy_after_a_contact_is_in_a_call_of_its_own() -> None:
    replay, view, now_ms = _until("19-no-answer-on-ami-11", "AgentRingNoAnswer")
    replay.queues.due(now_ms + 500)
    assert view.agent_of(ANA) in map(view.agent_of, replay.queues.changed_interfaces)
    assert _handling(view, now_ms + 500) == [True]
