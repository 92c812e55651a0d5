"""Only listed events and fields reach the log."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import warnings
from ipaddress import ip_address

import pytest
import structlog

from gateway.app.keys import SecretKey
from gateway.app.logging import (
    LINES_KEPT,
    LINES_KEPT_MS,
    REPETITION_WINDOW_S,
    configure,
    log_session,
    set_level,
)
from gateway.domain.model import Application, UserId
from gateway.edge.channel import ConnectionSummary
from tests.doubles.clock import ManualClock

KEY = SecretKey(bytes(32))
CANARY = "canary"


@pytest.fixture
def stream(own_logging: None) -> io.StringIO:
    """All logging of the process, as ``configure`` leaves it, in a text."""
    written = io.StringIO()
    configure("info", KEY, written)
    return written


def _fail(text: str) -> None:
    raise ValueError(text)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_and_logger(stream: io.StringIO) -> None:
    structlog.get_logger("gateway.x").warning("bus_state_changed", site="main", bus="down")
    (line,) = lines(stream)
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {
        "bus": "down",
        "event": "bus_state_changed",
        "level": "warning",
        "logger": "gateway.x",
        "site": "main",
    }


def test_the_standard_library_ends_in_the_same_lines(stream: io.StringIO) -> None:
    fields = {"site": "main", "user": UserId("main", 5), "password": CANARY}
    logging.getLogger("gateway.edge.socket").error("it failed: %s", "KeyError", extra=fields)
    (line,) = lines(stream)
    assert line["event"] == "it failed: KeyError"
    assert line["site"] == "main"
    assert line["dropped"] == 1
    assert len(str(line["user"])) == 16
    assert CANARY not in stream.getvalue()


@pytest.mark.parametrize(
    "field",
    ["password", "token", "authorization", "remote_number", "user_name", "display_name", "query", "x"],
)
def test_unlisted_fields_are_left_out_and_counted(stream: io.StringIO, field: str) -> None:
    structlog.get_logger("gateway.x").info("hello", **{field: CANARY, "site": CANARY + "@"})
    (line,) = lines(stream)
    assert line["dropped"] == 2
    assert CANARY not in stream.getvalue()


def test_of_other_libraries_only_the_template_is_kept(stream: io.StringIO) -> None:
    logging.getLogger("aiohttp.server").error("Error handling %s", CANARY, extra={"site": CANARY})
    for formatted in (f"Exception in callback work({CANARY!r})", f"Task exception\nfuture: <Task {CANARY}>"):
        logging.getLogger("asyncio").error(formatted)
    assert [line["event"] for line in lines(stream)] == [
        "Error handling %s",
        "Exception in callback work",
        "Task exception",
    ]
    assert CANARY not in stream.getvalue()


@pytest.mark.parametrize("logger", ["gateway.x", "aiohttp.server"])
def test_of_exceptions_type_and_place_are_kept(stream: io.StringIO, logger: str) -> None:
    for log in (logging.getLogger(logger), structlog.get_logger(logger)):
        try:
            _fail(CANARY)
        except ValueError:
            log.exception("it failed")
    for line in lines(stream):
        assert line["error"] == "ValueError"
        assert str(line["place"]).startswith("tests/app/test_logging.py:")
    assert len(lines(stream)) == 2
    assert CANARY not in stream.getvalue()


def test_of_a_group_the_first_exception_is_reported(stream: io.StringIO) -> None:
    group = ExceptionGroup(CANARY, [ExceptionGroup(CANARY, [KeyError(CANARY)])])
    structlog.get_logger("gateway.x").error("it failed", exc_info=group)
    (line,) = lines(stream)
    assert line["error"] == "KeyError"
    assert "place" not in line
    assert CANARY not in stream.getvalue()


def test_what_a_loop_says_of_a_failed_callback_shows_nothing(stream: io.StringIO) -> None:
    def fail(value: str) -> None:
        raise RuntimeError(value)

    async def life() -> None:
        asyncio.get_running_loop().call_soon(fail, CANARY)
        await asyncio.sleep(0)

    asyncio.run(life())
    (line,) = lines(stream)
    assert line["error"] == "RuntimeError"
    assert CANARY not in stream.getvalue()


def test_python_warnings_do_not_tell_their_text(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(CANARY, UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert CANARY not in stream.getvalue()
    assert [line["logger"] for line in lines(stream)] == ["py.warnings"]


def test_a_line_that_cannot_be_written_is_lost_in_silence(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("gateway.x").error("%d", CANARY)
    assert stream.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_access_lines_are_not_written(stream: io.StringIO) -> None:
    logging.getLogger("aiohttp.access").info("GET /?%s", CANARY)
    assert stream.getvalue() == ""


def test_the_level_can_be_changed_at_any_time(stream: io.StringIO) -> None:
    log = structlog.get_logger("gateway.x")
    log.debug("one")
    set_level("debug")
    log.debug("two")
    set_level("error")
    log.warning("three")
    assert [line["event"] for line in lines(stream)] == ["two"]


def test_a_connection_leaves_one_line(stream: io.StringIO) -> None:
    log_session(
        ConnectionSummary(
            user=UserId("main", 5),
            application=Application.DASHBOARD,
            codec="oscc.v1.json",
            address=ip_address("203.0.113.77"),
            lasted_s=12.3456,
            initiator="client",
            close_code=1000,
            close_reason="",
            frames_in=1,
            frames_out=2,
            bytes_out=3,
            conflated=5,
            commands=6,
        )
    )
    (line,) = lines(stream)
    assert re.fullmatch("[0-9a-f]{16}", str(line.pop("user")))
    del line["timestamp"]
    assert line == {
        "event": "session_closed",
        "level": "info",
        "logger": "gateway.session",
        "application": "dashboard",
        "codec": "oscc.v1.json",
        "address": "203.0.113.0/24",
        "lasted_s": 12.346,
        "initiator": "client",
        "close_code": 1000,
        "frames_in": 1,
        "frames_out": 2,
        "bytes_out": 3,
        "conflated": 5,
        "commands": 6,
    }


def test_every_line_has_the_node_and_its_trace_and_what_it_says_itself_stays(own_logging: None) -> None:
    written = io.StringIO()
    writer = configure("info", KEY, written).writer
    writer.context = lambda: {
        "node": "gw-1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "number": CANARY,
    }
    structlog.get_logger("gateway.x").info("drain_started")
    structlog.get_logger("gateway.x").info("node_gone", node="gw-2")
    first, second = lines(written)
    assert (first["node"], first["trace_id"]) == ("gw-1", "0af7651916cd43dd8448eb211c80319c")
    assert second["node"] == "gw-2"
    assert CANARY not in written.getvalue()


async def test_the_last_lines_are_kept_as_written_for_a_day_without_audit_and_connections(
    own_logging: None,
) -> None:
    written, clock = io.StringIO(), ManualClock()
    writer = configure("info", KEY, written, clock=clock).writer
    structlog.get_logger("gateway.audit").info("operator", act="drain")
    structlog.get_logger("gateway.session").info("session_closed")
    for _ in range(LINES_KEPT + 1):
        structlog.get_logger("gateway.x").info("drain_started", site="main", password=CANARY)
        await clock.advance(REPETITION_WINDOW_S + 1)
    kept = writer.last()
    assert len(kept) == LINES_KEPT
    assert kept == written.getvalue().splitlines()[-LINES_KEPT:]
    await clock.advance(LINES_KEPT_MS / 1_000 + 1)
    structlog.get_logger("gateway.x").info("stopped")
    assert [json.loads(line)["event"] for line in writer.last()] == ["stopped"]
