"""Repeated log lines are counted and reported, others pass."""

from __future__ import annotations

import asyncio
import io
import json
import logging

import pytest
import structlog

from gateway.app.keys import SecretKey
from gateway.app.logging import (
    KINDS_MAX,
    LINES_PER_WINDOW,
    REPETITION_WINDOW_S,
    RepetitionFilter,
    audit_writer,
    configure,
    flush_suppressed,
)
from gateway.domain.model import NodeId, OperatorAct
from tests.doubles.clock import ManualClock


class Log:
    """All logging of the process, and the clock that floods are measured by."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.stream = io.StringIO()
        self.flood: RepetitionFilter = configure(
            "info", SecretKey(bytes(32)), self.stream, clock=self.clock
        ).flood

    def close(self, count: int, code: int = 1006, initiator: str = "client") -> None:
        log = structlog.get_logger("gateway.session")
        for _ in range(count):
            log.info("session_closed", initiator=initiator, close_code=code)

    @property
    def received(self) -> list[dict[str, object]]:
        """The lines since one looked last, without their times."""
        found = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        self.stream.seek(0)
        self.stream.truncate()
        return [{name: value for name, value in line.items() if name != "timestamp"} for line in found]


@pytest.fixture
def log(own_logging: None) -> Log:
    return Log()


def summary(count: int, code: int | None = 1006, event: str = "session_closed") -> dict[str, object]:
    received: dict[str, object] = {
        "event": "lines_suppressed",
        "logger": "gateway.suppressed",
        "level": "info",
        "suppressed": count,
        "of": event,
        "window_s": REPETITION_WINDOW_S,
    }
    return received | ({} if code is None else {"close_code": code})


async def test_of_a_mass_disconnect_the_first_lines_are_written_and_the_rest_is_counted(log: Log) -> None:
    log.close(10_000)
    log.close(3, code=1001)
    received = log.received
    assert [line["close_code"] for line in received] == [1006] * LINES_PER_WINDOW + [1001] * 3
    await log.clock.advance(REPETITION_WINDOW_S)
    log.close(1)
    received = log.received
    assert [line["event"] for line in received] == ["lines_suppressed", "session_closed"]
    assert received[0] == summary(10_000 - LINES_PER_WINDOW)


def test_codes_that_a_client_makes_up_are_one_kind_and_the_gateways_own_are_not(log: Log) -> None:
    for code in range(4000, 4120):
        log.close(1, code)
    log.close(LINES_PER_WINDOW, 4109, "gateway")
    log.flood.settle(at_once=True)
    *written, received = log.received
    assert [line["initiator"] for line in written] == ["client"] * LINES_PER_WINDOW + [
        "gateway"
    ] * LINES_PER_WINDOW
    assert received == summary(120 - LINES_PER_WINDOW, code=None)


async def test_what_was_counted_is_reported_also_when_nobody_logs_any_more(log: Log) -> None:
    async with asyncio.TaskGroup() as tasks:
        life = tasks.create_task(flush_suppressed(log.flood, log.clock))
        await log.clock.settle()
        log.close(LINES_PER_WINDOW + 1)
        await log.clock.advance(REPETITION_WINDOW_S - 1)
        assert len(log.received) == LINES_PER_WINDOW
        await log.clock.advance(1)
        assert log.received == [summary(1)]
        log.close(LINES_PER_WINDOW + 2)
        assert len(log.received) == LINES_PER_WINDOW
        life.cancel()
    assert log.received == [summary(2)], "at the end at once"


async def test_lines_at_a_usual_rate_are_all_written_and_nothing_is_reported_of_them(log: Log) -> None:
    for _ in range(5):
        log.close(LINES_PER_WINDOW)
        await log.clock.advance(REPETITION_WINDOW_S)
    log.flood.settle()
    assert [line["event"] for line in log.received] == ["session_closed"] * 5 * LINES_PER_WINDOW


def test_other_libraries_lines_are_held_back_by_their_template(log: Log) -> None:
    for number in range(LINES_PER_WINDOW + 5):
        logging.getLogger("aiohttp.server").error("Error %d of many", number)
    log.flood.settle(at_once=True)
    received = log.received
    assert len(received) == LINES_PER_WINDOW + 1
    assert (received[-1]["suppressed"], received[-1]["level"]) == (5, "error")


def test_numbered_lines_are_never_held_back(log: Log) -> None:
    for serial in range(LINES_PER_WINDOW * 2):
        audit_writer(NodeId("n1"), "")(OperatorAct("drain", None, None, "done", 200), serial)
    assert [line["serial"] for line in log.received] == list(range(LINES_PER_WINDOW * 2))


async def test_kinds_without_end_take_bounded_memory_and_are_still_counted(log: Log) -> None:
    for number in range(KINDS_MAX * 3):
        logging.getLogger("gateway.app").warning(f"kind {number}")  # noqa: G004 - each has a template of its own
    assert log.flood.kinds == KINDS_MAX + 1
    assert len(log.received) == KINDS_MAX + LINES_PER_WINDOW
    await log.clock.advance(REPETITION_WINDOW_S)
    log.flood.settle()
    assert log.flood.kinds == 0
    (received,) = log.received
    assert (received["suppressed"], received["of"]) == (
        KINDS_MAX * 2 - LINES_PER_WINDOW,
        "lines of many kinds",
    )
