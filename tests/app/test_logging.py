"""Log lines and the audit trail: their fields, repetitions, and what they never contain."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway
from gateway.app import wiring
from gateway.app.config.settings import SecretKey
from gateway.app.config.sources import generate_secrets
from gateway.app.logging import (
    KINDS_MAX,
    LINES_KEPT,
    LINES_KEPT_MS,
    LINES_PER_WINDOW,
    REPETITION_WINDOW_S,
    AuditTrail,
    LogLevel,
    Pseudonyms,
    RepetitionFilter,
    configure,
    field_shapes,
    flush_suppressed,
    set_level,
    shape_text,
)
from gateway.app.process import StopRequest
from gateway.domain import resources
from gateway.domain.commands import Act, NumberAct, OperatorAct, OrderAct, UserHash
from gateway.domain.errors import CloseCode
from gateway.domain.model import Application, NodeId, SessionId, UserId
from gateway.domain.resources import Privacy
from gateway.runtime.event_loop import SystemClock
from gateway.simulator import Simulator, SimulatorSettings
from gateway.upstream.oscce.errors import ClockSetError, UnreadableMessages, WireError
from tests.app.samples import LOG_ON, settings_for
from tests.doubles.clock import ManualClock
from tests.doubles.tasks import during

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


def test_a_line_is_json_with_time_level_logger_and_the_listed_fields(stream: io.StringIO) -> None:
    fields = {"site": "main", "bus": "down", "user": UserId("main", 5), "password": CANARY}
    logging.getLogger("gateway.edge.socket").error("it failed: %s", "KeyError", extra=fields)
    (line,) = lines(stream)
    assert str(line.pop("timestamp")).endswith("Z")
    assert len(str(line.pop("user"))) == 16
    assert line == {
        "bus": "down", "event": "it failed: KeyError", "level": "error", "logger": "gateway.edge.socket",
        "site": "main", "dropped": 1,
    }  # fmt: skip
    assert CANARY not in stream.getvalue()


@pytest.mark.parametrize(
    "field",
    [
        *("password", "token", "authorization", "remote_number", "user_name", "display_name", "query", "x"),
        *("url", "path", "by"),
    ],
)
def test_unlisted_fields_are_left_out_and_counted(stream: io.StringIO, field: str) -> None:
    logging.getLogger("gateway.x").info("hello", extra={field: CANARY, "site": CANARY + "@"})
    (line,) = lines(stream)
    assert line["dropped"] == 2
    assert CANARY not in stream.getvalue()


def test_each_event_of_what_is_not_accepted_has_a_line_a_minute_with_its_place(stream: io.StringIO) -> None:
    clock = ManualClock()
    unreadable = UnreadableMessages("main", clock)
    fault = WireError("Expected `int`, got `float` - at `$.Elements[0].Contacts`")
    for _ in range(3):
        unreadable.note(fault)
    unreadable.note(ClockSetError("the server's clock was set"))
    clock.stand_still(60)
    unreadable.note(fault)
    first, second, third = lines(stream)
    assert (first["event"], first["fault"], first["count"]) == ("link_message_unreadable", str(fault), 1)
    assert (second["event"], second["count"], second["site"]) == ("server_clock_set", 1, "main")
    assert (third["event"], third["count"]) == ("link_message_unreadable", 3)
    assert "dropped" not in first.keys() | second.keys() | third.keys()


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
    try:
        _fail(CANARY)
    except ValueError:
        logging.getLogger(logger).exception("it failed")
    (line,) = lines(stream)
    assert line["error"] == "ValueError"
    assert str(line["place"]).startswith("tests/app/test_logging.py:")
    assert CANARY not in stream.getvalue()


def test_of_a_group_the_first_exception_is_reported(stream: io.StringIO) -> None:
    group = ExceptionGroup(CANARY, [ExceptionGroup(CANARY, [KeyError(CANARY)])])
    logging.getLogger("gateway.x").error("it failed", exc_info=group)
    (line,) = lines(stream)
    assert line["error"] == "KeyError"
    assert "place" not in line
    assert CANARY not in stream.getvalue()


def test_what_a_loop_says_of_a_failed_callback_shows_nothing(stream: io.StringIO) -> None:
    def fail(value: str) -> None:
        raise RuntimeError(value)

    async def life() -> None:
        asyncio.get_running_loop().call_soon(fail, CANARY)
        await asyncio.sleep(0)  # the callback runs

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


@pytest.mark.parametrize(("logger", "template"), [("gateway.x", "%d"), ("aiohttp.access", "GET /?%s")])
def test_a_line_that_cannot_be_written_and_lines_of_access_are_lost_in_silence(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str], logger: str, template: str
) -> None:
    logging.getLogger(logger).error(template, CANARY)
    assert stream.getvalue() == ""
    assert capsys.readouterr() == ("", "")


def test_the_level_can_be_changed_at_any_time(stream: io.StringIO) -> None:
    log = logging.getLogger("gateway.x")
    log.debug("one")
    set_level("debug")
    log.debug("two")
    set_level("error")
    log.warning("three")
    assert [line["event"] for line in lines(stream)] == ["two"]


def test_every_line_has_the_node_and_its_trace_and_what_it_says_itself_stays(own_logging: None) -> None:
    written = io.StringIO()
    writer = configure("info", KEY, written).writer
    writer.context = lambda: {
        "node": "gw-1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "number": CANARY,
    }
    logging.getLogger("gateway.x").info("drain_started")
    logging.getLogger("gateway.x").info("node_gone", extra={"node": "gw-2"})
    first, second = lines(written)
    assert (first["node"], first["trace_id"]) == ("gw-1", "0af7651916cd43dd8448eb211c80319c")
    assert second["node"] == "gw-2"
    assert CANARY not in written.getvalue()


async def test_the_last_lines_are_kept_as_written_for_a_day_without_audit_and_connections(
    own_logging: None,
) -> None:
    written, clock = io.StringIO(), ManualClock()
    writer = configure("info", KEY, written, clock=clock).writer
    logging.getLogger("gateway.audit").info("operator", extra={"act": "drain"})
    logging.getLogger("gateway.session").info("session_closed")
    for _ in range(LINES_KEPT + 1):
        logging.getLogger("gateway.x").info("drain_started", extra={"site": "main", "password": CANARY})
        await clock.advance(REPETITION_WINDOW_S + 1)
    kept = writer.last()
    assert len(kept) == LINES_KEPT
    assert kept == written.getvalue().splitlines()[-LINES_KEPT:]
    await clock.advance(LINES_KEPT_MS / 1_000 + 1)
    logging.getLogger("gateway.x").info("stopped")
    assert [json.loads(line)["event"] for line in writer.last()] == ["stopped"]


# ---- each field of a log line takes its own shape only ----


PSEUDONYMS = Pseudonyms(SecretKey(bytes(32)))
FIELDS = field_shapes(PSEUDONYMS)
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def test_no_field_has_the_name_of_personal_or_realtime_data_nor_one_that_the_standard_library_refuses() -> (
    None
):
    guarded = {
        field.name
        for each in vars(resources).values()
        if isinstance(each, type) and dataclasses.is_dataclass(each)
        for field in dataclasses.fields(each)
        if field.metadata.get("privacy") is not Privacy.NEUTRAL
    }
    assert len(guarded) > 50
    # the logging library's own name for its severity
    assert set(FIELDS) & guarded == {"level"}
    taken = {*vars(logging.makeLogRecord({})), "message", "asctime"}
    assert set(FIELDS) & taken == set()


def _lines_of(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield each call that writes a log line."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="_LOG"), attr=level)) if level in LEVELS:
                yield node


def _fields_of(line: ast.Call) -> Iterator[str]:
    """Yield the names of the fields that stand in the call itself."""
    for word in line.keywords:
        match word:
            case ast.keyword(arg="extra", value=ast.Dict(keys=names)):
                yield from (str(name.value) for name in names if isinstance(name, ast.Constant))


def test_every_field_that_a_line_of_the_log_has_is_shown() -> None:
    """A field that is not listed is left out: the page would promise what the log does not have."""
    fields = {
        (name, path.name, node.lineno)
        for path in Path(gateway.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        for name in _fields_of(node)
    }
    assert len(fields) > 70
    assert {field for field in fields if field[0] not in FIELDS} == set()


def test_every_line_that_operators_may_see_is_on_a_page() -> None:
    """Lines of level debug, and those of faults that nobody expects, have no row of their own."""
    root = Path(gateway.__file__).parent
    written = {
        word.value
        for path in root.rglob("*.py")
        if path.relative_to(root).parts[0] not in {"simulator", "client"}
        for line in _lines_of(ast.parse(path.read_text("utf-8")))
        if isinstance(line.func, ast.Attribute) and line.func.attr not in {"debug", "exception"}
        for word in ast.walk(line.args[0])
        if isinstance(word, ast.Constant) and isinstance(word.value, str)
    }
    pages = [root.parent / "docs" / f"{name}.md" for name in ("operations", "admin", "asterisk")]
    shown = set(re.findall(r"`([a-z_]+)`", "".join(page.read_text("utf-8") for page in pages)))
    assert len(written) > 30
    assert {event for event in written if re.fullmatch("[a-z]+(_[a-z]+)+", event)} - shown == set()


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("site", "main", "main"), ("application", Application.DASHBOARD, "dashboard"),
        ("codec", "oscc.v1.json", "oscc.v1.json"), ("close_code", CloseCode.SLOW, 4108),
        ("connections", 5, 5), ("lasted_s", 1.23456, 1.235), ("lasted_s", 2, 2.0), ("tls", True, True),
        ("version", "0.1.0", "0.1.0"), ("host", "::1", "::1"), ("by_node", "gw-2", "gw-2"),
        ("place", "gateway/edge/socket.py:12:fail", "gateway/edge/socket.py:12:fail"),
        ("place", "a/b.py:1:f < c.py:2:<lambda>", "a/b.py:1:f < c.py:2:<lambda>"),
        ("user", UserHash("0123456789abcdef"), "0123456789abcdef"),
        ("life", "0123456789abcdef", "0123456789abcdef"), ("address", "203.0.113.77", "203.0.113.0/24"),
        ("address", ip_address("203.0.113.77"), "203.0.113.0/24"),
        ("address", "2001:db8:1:2::3", "2001:db8:1::/48"),
        *(("site", value, None) for value in ("+49301234567", "agent12345", "a@b", "x" * 65, 5)),
        ("connections", True, None), ("connections", "5", None), ("lasted_s", "5", None), ("tls", 1, None),
        ("version", "1234567", None), ("host", "user@host", None), ("event", 5, None),
        ("place", "a/b.py:1:f < secret", None), ("place", "a b:1", None), ("life", "canary", None),
        ("user", "0123456789abcdef", None), ("user", UserHash("canary"), None), ("address", "x", None),
        ("address", None, None),
    ],
)  # fmt: skip
def test_a_value_without_its_shape_is_nothing(name: str, value: object, shown: object) -> None:
    found = FIELDS[name](value)
    assert (found, type(found)) == (shown, type(shown))


def test_users_are_keyed_hashes() -> None:
    name = PSEUDONYMS(UserId("main", 5))
    assert name == PSEUDONYMS(UserId("main", 5))
    others = {
        name,
        PSEUDONYMS(UserId("main", 6)),
        PSEUDONYMS(UserId("other", 5)),
        Pseudonyms(SecretKey(bytes([1]) * 32))(UserId("main", 5)),
    }
    assert len(others) == 4
    assert isinstance(name, str)
    assert len(name) == 16


@pytest.mark.parametrize("value", ["main", 5, ("main", 5), None])
def test_only_a_user_id_is_taken_for_a_user(value: object) -> None:
    assert PSEUDONYMS(value) is None


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("The link is open.", "The link is open."), ("call +49 (30) 123-4567 now", "call … now"),
        ("call 030/1234567", "call …"), ("GET /v1/x?token=canary done", "GET /v1/x… done"),
        ("token " + "aB3-" * 10, "token …"), ("first\nsecond", "first"), ("x " * 200, "x " * 100),
        ("port 8080, code 4108", "port 8080, code 4108"),
    ],
)  # fmt: skip
def test_sentences_lose_what_looks_like_a_number_a_token_or_a_query(sentence: str, shown: str) -> None:
    assert shape_text(sentence) == shown


@given(
    st.from_regex(r"\+?[1-9][0-9]{6,14}", fullmatch=True), st.sampled_from(sorted(set(FIELDS) - {"event"}))
)
def test_a_telephone_number_fits_no_field(number: str, field: str) -> None:
    shown = FIELDS[field](number)
    # operators name machines as they like
    is_machine = field in {"host", "node", "by_node"} and not number.startswith("+")
    assert shown is None or is_machine or number.lstrip("+") not in str(shown)


@given(st.from_regex(r"\+?[1-9][0-9]{6,14}", fullmatch=True))
def test_a_telephone_number_is_in_no_sentence(number: str) -> None:
    assert number not in str(shape_text(f"number {number} refused"))


# ---- repeated log lines are counted and reported, others pass ----


class Log:
    """All logging of the process, and the clock that floods are measured by."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.stream = io.StringIO()
        self.flood: RepetitionFilter = configure(
            "info", SecretKey(bytes(32)), self.stream, clock=self.clock
        ).flood

    def close(self, count: int, code: int = 1006, initiator: str = "client") -> None:
        log = logging.getLogger("gateway.session")
        for _ in range(count):
            log.info("session_closed", extra={"initiator": initiator, "close_code": code})

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
        "event": "lines_suppressed", "logger": "gateway.suppressed", "level": "info", "suppressed": count,
        "of": event, "window_s": REPETITION_WINDOW_S,
    }  # fmt: skip
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
    async with during(flush_suppressed(log.flood, log.clock)):
        await log.clock.settle()
        log.close(LINES_PER_WINDOW + 1)
        await log.clock.advance(REPETITION_WINDOW_S - 1)
        assert len(log.received) == LINES_PER_WINDOW
        await log.clock.advance(1)
        assert log.received == [summary(1)]
        log.close(LINES_PER_WINDOW + 2)
        assert len(log.received) == LINES_PER_WINDOW
    assert log.received == [summary(2)], "at the end at once"


async def test_lines_at_a_usual_rate_are_all_written_and_nothing_is_reported_of_them(log: Log) -> None:
    for _ in range(5):
        log.close(LINES_PER_WINDOW)
        await log.clock.advance(REPETITION_WINDOW_S)
    log.flood.settle()
    assert [line["event"] for line in log.received] == ["session_closed"] * 5 * LINES_PER_WINDOW


@pytest.mark.parametrize(
    ("logger", "text", "of"),
    [
        ("aiohttp.server", "Error %d of many", "Error %d of many"),
        ("asyncio", f"Exception in callback Phone.show('{CANARY}')", "Exception in callback Phone.show"),
        ("aiohttp.server", ValueError(CANARY), "ValueError"),
    ],
)
def test_lines_of_libraries_are_held_back_by_their_template_and_what_is_in_them_is_not_shown(
    log: Log, logger: str, text: object, of: str
) -> None:
    for number in range(LINES_PER_WINDOW + 5):
        logging.getLogger(logger).error(text, *([number] if "%d" in str(text) else ()))
    log.flood.settle(at_once=True)
    *written, counted = log.received
    assert len(written) == LINES_PER_WINDOW
    assert (counted["suppressed"], counted["of"], counted["level"]) == (5, of, "error")
    assert CANARY not in json.dumps([*written, counted])


def test_numbered_lines_are_never_held_back(log: Log) -> None:
    trail = AuditTrail(NodeId("n1"), "")
    for _ in range(LINES_PER_WINDOW * 2):
        trail.note(OperatorAct("drain", None, None, "done", 200))
    assert [line["serial"] for line in log.received] == list(range(1, LINES_PER_WINDOW * 2 + 1))


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


# ---- canaries: no input of people and no data of phones in the log of a whole gateway ----


PASSWORD, NUMBER, DEVICE = "canary-password", "+493012345678", "canary-device"
REMOTE = {
    **LOG_ON,
    "application": "remote_assistant",
    "user_name": "agent1",
    "password": PASSWORD,
    "remote_number": NUMBER,
    "device": {"id": DEVICE, "name": DEVICE, "platform": DEVICE, "app_version": "1"},
}
BAD_FRAMES = ["{", '{"kind": "canary-kind"}', json.dumps({"kind": "pace", "every_s": "canary-value"})]


async def _live(http: aiohttp.ClientSession, client: str) -> list[str]:
    """Do right and wrong things; returns what must not be found afterwards."""
    url = f"{client}/v1/sessions?canary=query"
    for wrong in ({**REMOTE, "password": "canary-wrong"}, {**REMOTE, "user_name": "canary-name"}, {}):
        async with http.post(url, json=wrong) as refused:
            assert refused.status >= 400
    async with http.post(url, json=REMOTE) as created:
        answer = await created.json()
        assert created.status == 201
    token = str(answer["token"])
    async with http.get(f"{client}/v1/session", headers={"Authorization": "Bearer canary-token"}) as forged:
        assert forged.status == 401
    ws = await http.ws_connect(f"{client}/v1/realtime?canary=query", protocols=["oscc.v1.json"])
    phone = {"app": "canary-app", "version": "1", "platform": "canary-platform"}
    await ws.send_json({"kind": "hello", "token": token, "client": phone})
    await ws.receive_json()
    seen = json.dumps(await ws.receive_json())
    assert NUMBER[1:] in seen
    for frame in BAD_FRAMES:
        await ws.send_str(frame)
        await ws.receive()
    await ws.close()
    name = str(answer["user"]["display_name"])
    return [token, name, NUMBER, NUMBER[1:], NUMBER[-6:], PASSWORD, DEVICE, "agent1", "canary"]


async def test_the_log_of_a_whole_life_holds_no_canary_at_any_level(own_logging: None) -> None:
    written, secrets = io.StringIO(), generate_secrets()
    configure("debug", secrets.pseudonym_key, written)
    center = SimulatorSettings(agents=2, queues=1, users=1, password=PASSWORD)
    async with asyncio.timeout(30), aiohttp.ClientSession() as http, Simulator(center) as simulator:
        settings = settings_for(simulator.url)
        async with wiring.serving(settings, secrets, SystemClock(), StopRequest()) as addresses:
            canaries = await _live(http, addresses.client)
            async with http.get(f"{addresses.ops}/metrics") as response:
                metrics = await response.text()
    assert "drain_started" in written.getvalue()
    received = [json.loads(line) for line in written.getvalue().splitlines()]
    (over,) = [line for line in received if line["event"] == "session_closed"]
    assert (over["logger"], over["application"]) == ("gateway.session", "remote_assistant")
    for canary in canaries:
        assert canary not in written.getvalue()
        assert canary not in metrics


# ---- audit trail ----


ACT = NumberAct(UserId("main", 7), SessionId("session-1"), "change", "*********567", "applied")
LIFE = "00112233aabbccdd"
ANNA = UserHash(Pseudonyms(KEY).of(ACT.user))


def written(*acts: Act, level: LogLevel = "info") -> list[dict[str, Any]]:
    """Return the lines that a node writes of *acts*."""
    stream = io.StringIO()
    configure(level, KEY, stream)
    trail = AuditTrail(NodeId("gw-2"), LIFE)
    for act in acts:
        trail.note(act)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_shows_the_act_and_its_process_and_neither_user_nor_number_at_any_level() -> None:
    line, unmasked = written(
        ACT, NumberAct(ACT.user, ACT.session, "change", "+4930123456", "applied"), level="error"
    )
    received = {
        "logger": "gateway.audit", "event": "remote_number", "serial": 1, "by_node": "gw-2", "life": LIFE,
    }  # fmt: skip
    received |= {"act": "change", "masked": "*********567", "result": "applied", "user": ANNA}
    assert line.items() >= received.items()
    assert "dropped" not in line
    assert "masked" not in unmasked
    assert "4930123456" not in json.dumps(unmasked)


def test_what_operators_did_here_and_at_another_node_is_in_the_same_row() -> None:
    _, drain, end, missed, export, order, forged = written(
        ACT,
        OperatorAct("drain", None, "n1", "ok", 202, act_id="a" * 16),
        OperatorAct("end_session", "0123456789abcdef", None, "ok", 200, user=ANNA),
        OperatorAct("end_user", "0123456789abcdef", None, "not_found", 404, suppressed=3),
        OperatorAct("export_user", "canary name", None, "bad_request", 400),
        OrderAct("drain", "a" * 16, "gw-1", "ok"),
        OrderAct("end_session", "canary name", "canary of a node", "ok"),
    )
    received = {"event": "operator", "serial": 2, "act": "drain", "act_id": "a" * 16, "node": "n1"}
    assert drain.items() >= (received | {"result": "ok", "http_status": 202}).items()
    assert "suppressed" not in drain
    assert (end["user"], end["subject"], end["serial"]) == (ANNA, "0123456789abcdef", 3)
    assert (missed["subject"], missed["suppressed"], "user" in missed) == ("0123456789abcdef", 3, False)
    received = {"logger": "gateway.audit", "event": "operator_order", "by_node": "gw-2", "serial": 6}
    received |= {"act": "drain", "act_id": "a" * 16, "asked_node": "gw-1", "result": "ok"}
    assert order.items() >= received.items()
    assert not any("dropped" in each for each in (drain, end, missed, order))
    assert "canary" not in json.dumps([export, forged])
