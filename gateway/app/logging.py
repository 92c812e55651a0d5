"""JSON log lines: deny by default, limited repetition, users as keyed hashes; closes, and the audit trail.

The gateway logs by the standard library (``logging.getLogger(__name__)``, fields by ``extra=``), and
structlog makes the lines. Only the constant template of a library's line is kept, and only type and place of
an exception: their texts may contain data from a phone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import ipaddress
import logging
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nlargest
from ipaddress import IPv4Address, IPv6Address
from itertools import count
from operator import attrgetter
from typing import Final, Literal, NamedTuple, TextIO

from structlog.processors import JSONRenderer, TimeStamper
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict

from gateway.app.config.settings import SecretKey
from gateway.domain.commands import Act, NumberAct, OperatorAct, OrderAct, UserHash
from gateway.domain.model import NodeId, UserId
from gateway.edge.channel import PEER_CODES, ConnectionSummary
from gateway.protocol.envelopes import Order, Record
from gateway.runtime.cluster_receiver import Page
from gateway.runtime.event_loop import FRAMES_MAX, SystemClock, first_of, frames
from gateway.runtime.ports import Clock

REPETITION_WINDOW_S: Final = 10.0
LINES_PER_WINDOW: Final = 50
"""Lines of one kind that are written in a window: enough for the normal joins and leaves of a node."""
KINDS_MAX: Final = 256
"""Kinds that are counted separately; lines of others share one count during this time."""
LINES_KEPT: Final = 500
LINES_KEPT_MS: Final = 24 * 3_600_000
LineContext = Callable[[], Mapping[str, object]]
LogLines = Callable[[], list[str]]
"""Returns the last log lines of this process, the oldest first."""
_EVENT_CHARACTERS: Final = 200
_SUPPRESSED_LOGGER: Final = "gateway.suppressed"


class Log(NamedTuple):
    """The log of this process."""

    flood: RepetitionFilter
    """Limits repetition; :func:`flush_suppressed` logs its counts."""
    writer: LineWriter


class LineKind(NamedTuple):
    """The key for equal lines: all fields but the user and the figures."""

    logger: str
    level: int
    event: str
    close_code: int | None = None
    """The class of a line: none for codes that clients invent, or each code would have its own limit."""


_OTHERS: Final = LineKind("", logging.WARNING, "lines of many kinds")


@dataclass(slots=True)
class _Window:
    until: float
    lines: int = 0


class RepetitionFilter(logging.Filter):
    """Lets a limited number of lines of a kind through in a window, and counts the rest.

    Invariants: counts are logged by the next line of any kind after the window's end, or by :meth:`settle`.
    Memory is bounded by :data:`KINDS_MAX`. Any thread may log.

    Args:
        now: Monotonic seconds.
        whole: The logger whose lines are all written: they are numbered, and none may be missing.
    """

    def __init__(self, now: Callable[[], float], whole: str) -> None:
        super().__init__()
        self._now = now
        self._whole: Final = frozenset((whole, _SUPPRESSED_LOGGER))
        self._windows: dict[LineKind, _Window] = {}
        self._lock: Final = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether *record* is written."""
        if record.name in self._whole:
            return True
        with self._lock:
            is_written, over = self._count(_kind(record), self._now())
        _write_suppressed(over)
        return is_written

    def settle(self, *, at_once: bool = False) -> None:
        """Return the counts of windows that are over, or *at_once* of all."""
        with self._lock:
            over = self._over(float("inf") if at_once else self._now())
        _write_suppressed(over)

    @property
    def kinds(self) -> int:
        """Number of kinds that are counted now."""
        return len(self._windows)

    def _count(self, kind: LineKind, now: float) -> tuple[bool, list[tuple[LineKind, int]]]:
        over = self._over(now)
        if kind not in self._windows and len(self._windows) >= KINDS_MAX:
            kind = _OTHERS
        window = self._windows.setdefault(kind, _Window(now + REPETITION_WINDOW_S))
        window.lines += 1
        return window.lines <= LINES_PER_WINDOW, over

    def _over(self, now: float) -> list[tuple[LineKind, int]]:
        """Remove windows that are over; return how many lines of each were not written.

        Windows are in the order of their ends, so that open ones are not scanned.
        """
        over: list[tuple[LineKind, int]] = []
        while self._windows:
            kind = next(iter(self._windows))
            if self._windows[kind].until > now:
                break
            counted = self._windows.pop(kind).lines - LINES_PER_WINDOW
            if counted > 0:
                over.append((kind, counted))
        return over


async def flush_suppressed(flood: RepetitionFilter, clock: Clock) -> None:
    """Return the counts also while no line is logged, until cancelled; then at once."""
    try:
        while True:
            await clock.sleep(REPETITION_WINDOW_S)
            flood.settle()
    finally:
        flood.settle(at_once=True)


def _kind(record: logging.LogRecord) -> LineKind:
    """Return the kind of a line, by its template."""
    fields, event = vars(record), _template(record)[:_EVENT_CHARACTERS]
    code = fields.get("close_code")
    has_code = isinstance(code, int) and (fields.get("initiator") == "gateway" or code in PEER_CODES)
    return LineKind(record.name, record.levelno, event, code if has_code else None)


def _write_suppressed(over: list[tuple[LineKind, int]]) -> None:
    for kind, counted in over:
        extra: dict[str, object] = {"suppressed": counted, "of": kind.event, "window_s": REPETITION_WINDOW_S}
        if kind.close_code is not None:
            extra["close_code"] = kind.close_code
        logging.getLogger(_SUPPRESSED_LOGGER).log(kind.level, "lines_suppressed", extra=extra)


class LineWriter(logging.StreamHandler[TextIO]):
    """Write log lines in JSON, and keep the last of them for a support bundle.

    Invariants: a line has listed fields only, each in its shape; the number of other fields is in
    ``dropped``. A line is kept as it was written, for 24 h at most. Lines of the audit and of connections are
    not kept: the bundle has its own list of connections, and the audit belongs to the operator.
    """

    def __init__(self, stream: TextIO, wall_ms: Callable[[], int], listed: Mapping[str, LoggedForm]) -> None:
        super().__init__(stream)
        self._wall_ms: Final = wall_ms
        self._listed: Final = listed
        self.context: LineContext = dict
        """Returns the fields of every line: the node's name, and its trace."""
        shaped = _fields_of_record, self._with_context, self._shaped
        rendered = TimeStamper(fmt="iso", utc=True), JSONRenderer(ensure_ascii=False)
        self.setFormatter(ProcessorFormatter(processors=[*shaped, *rendered]))
        self._lines: Final[deque[tuple[int, str]]] = deque(maxlen=LINES_KEPT)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of *record*."""
        line = super().format(record)
        if record.name not in (AUDIT_LOGGER, SESSION_LOGGER):
            self._lines.append((self._wall_ms(), line))
        return line

    def _with_context(self, logger: object, method: str, fields: EventDict) -> EventDict:
        """Return the fields of a line and those of every line; the line's own fields stay."""
        del logger, method
        return {**self.context(), **fields}

    def _shaped(self, logger: object, method: str, fields: EventDict) -> EventDict:
        """Return the fields that may be written."""
        del logger, method
        shown: EventDict = {}
        dropped = 0
        for name, value in fields.items():
            shape = self._listed.get(name)
            shaped = shape(value) if shape is not None else None
            if shaped is not None:
                shown[name] = shaped
            elif value is not None and value != "":
                dropped += 1
        if dropped:
            shown["dropped"] = dropped
        return shown

    def last(self) -> list[str]:
        """Return the lines of the last 24 h, the oldest first."""
        begins_ms = self._wall_ms() - LINES_KEPT_MS
        while self._lines and self._lines[0][0] < begins_ms:
            self._lines.popleft()
        return [line for _, line in self._lines]


# ---- listed fields ----


TEXT_CHARACTERS: Final = 200
OPERATORS_CHARACTERS: Final = 400
HASH_CHARACTERS: Final = 16
IPV4_PREFIX: Final = 24
IPV6_PREFIX: Final = 48

LogValue = str | int | float | bool
LoggedForm = Callable[[object], LogValue | None]
"""Returns the logged form of a value; None: it is not logged."""

_FRAME: Final = r"[\w./-]{1,120}:\d{1,6}:[\w<>]{1,80}"
_FEW_DIGITS: Final = r"(?!.*\d{5})"
_LONG_NUMBER: Final = re.compile(r"\d{7,}")
"""The length of a telephone number; ports are shorter."""
_HIDDEN_IN_TEXT: Final = (
    re.compile(r"[+(]?\d(?:[\s\-/().]{0,2}\d){4,}"),  # telephone numbers, contact numbers
    re.compile(r"[A-Za-z0-9_+/=-]{32,}"),  # keys and tokens
    re.compile(r"\?\S*"),  # query strings
)


def shape_text(value: object) -> str | None:
    """Shape one of our sentences: its first line, without anything like a number, a token or a query."""
    if not isinstance(value, str):
        return None
    line = value.partition("\n")[0]
    for pattern in _HIDDEN_IN_TEXT:
        line = pattern.sub("…", line)
    return line[:TEXT_CHARACTERS]


def _text(form: str) -> LoggedForm:
    """Return the shape of texts of a *form*."""
    fits = re.compile(form).fullmatch

    def shape(value: object) -> str | None:
        return str(value) if isinstance(value, str) and fits(value) is not None else None

    return shape


_word: Final = _text(_FEW_DIGITS + r"[A-Za-z][A-Za-z0-9_.:/ -]{0,63}")
"""Shape a name from a closed set: a letter first, few digits."""
_version: Final = _text(_FEW_DIGITS + r"[A-Za-z0-9.+-]{1,32}")
_place: Final = _text(rf"{_FRAME}(?: < {_FRAME}){{0,{FRAMES_MAX - 1}}}")
"""Shape the frames of a fault."""
_host: Final = _text(r"[A-Za-z0-9.:-]{1,253}")
_hash: Final = _text(r"[0-9a-f]{16}")
"""Shape a hash (user, session), a process's life or an act's id: all have the same length."""
_trace_id: Final = _text(r"[0-9a-f]{32}")
"""Shape the number of a trace (W3C Trace Context)."""
_node: Final = _text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Shape a node's name: configured, or derived from the host's name."""
_key_names: Final = _text(r"[a-z0-9]{1,16}/[0-9a-f]{8}(?: [a-z0-9]{1,16}/[0-9a-f]{8})*")
"""Shape ids and check values of sealing keys; a key itself has another form."""
_masked: Final = _text(r"\*{3,64}[0-9]{0,3}")
"""Shape a remote number of which at most the last digits are visible."""


def _operators(value: object) -> str | None:
    """Shape names of the operator's own files and notices: one line, without anything like a number."""
    if not isinstance(value, str):
        return None
    return _LONG_NUMBER.sub("…", value.partition("\n")[0])[:OPERATORS_CHARACTERS]


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(value: object) -> float | None:
    return round(float(value), 3) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def network_of(value: object) -> str | None:
    """Shape an address: its /24 or /48, which many users share."""
    match value:
        case IPv4Address() | IPv6Address():
            address = value
        case str():
            try:
                address = ipaddress.ip_address(value)
            except ValueError:
                return None
        case _:
            return None
    prefix = IPV4_PREFIX if address.version == 4 else IPV6_PREFIX
    return str(ipaddress.ip_network((address, prefix), strict=False))


class Pseudonyms:
    """Names users by keyed hashes, the same on all nodes with the same key; only its holder can compute one.

    The label keeps these hashes apart from others under the same key (NIST SP 800-108 §4).
    """

    def __init__(self, key: SecretKey) -> None:
        self._key: Final = hmac.digest(key.raw, b"user ids in logs", hashlib.sha256)

    def __call__(self, value: object) -> LogValue | None:
        """Shape a :class:`UserId`, or a known hash of one; all other values are rejected."""
        if isinstance(value, UserHash):
            return _hash(value)
        return self.of(value) if isinstance(value, UserId) else None

    def of(self, user: UserId) -> str:
        """Return the user's keyed hash."""
        message = f"{user.site}\0{user.key}".encode()
        return hmac.digest(self._key, message, hashlib.sha256).hex()[:HASH_CHARACTERS]


def field_shapes(pseudonyms: Pseudonyms) -> Mapping[str, LoggedForm]:
    """Return the whole list: name of a field → its shape."""
    return {
        **dict.fromkeys(("event", "of"), shape_text),
        **dict.fromkeys(("user",), pseudonyms),
        **dict.fromkeys(("address",), network_of),
        **dict.fromkeys(_WORDS, _word),
        **dict.fromkeys(_VERSIONS, _version),
        **dict.fromkeys(("place",), _place),
        **dict.fromkeys(("host",), _host),
        **dict.fromkeys(("node", "by_node", "asked_node"), _node),
        **dict.fromkeys(("subject", "life", "act_id"), _hash),
        **dict.fromkeys(("trace_id",), _trace_id),
        **dict.fromkeys(("sealing_keys", "other_keys"), _key_names),
        **dict.fromkeys(("masked",), _masked),
        **dict.fromkeys(("context", "fault", "gone", "new", "socket"), _operators),
        **dict.fromkeys(_COUNTS, _count),
        **dict.fromkeys(_SECONDS, _seconds),
        **dict.fromkeys(("tls", "insecure"), _flag),
    }


_WORDS: Final = (
    "act",
    "application",
    "bus",
    "cause",
    "close_reason",
    "code",
    "codec",
    "error",
    "initiator",
    "kind",
    "level",
    "listener",
    "logger",
    "result",
    "signal",
    "site",
    "why",
)
_VERSIONS: Final = ("ami", "version")
_COUNTS: Final = (
    "bytes_out",
    "close_code",
    "commands",
    "conflated",
    "connections",
    "count",
    "days_left",
    "dropped",
    "files",
    "frames_in",
    "frames_out",
    "http_status",
    "interfaces",
    "log_offs",
    "needed",
    "port",
    "queues",
    "serial",
    "suppressed",
    "users",
)
_SECONDS: Final = ("lasted_s", "offset_s", "window_s")

# ---- JSON lines ----


LogLevel = Literal["debug", "info", "warning", "error"]
ROOT_LOGGER: Final = "gateway"
AUDIT_LOGGER: Final = f"{ROOT_LOGGER}.audit"
SESSION_LOGGER: Final = f"{ROOT_LOGGER}.session"
_CUT: Final = re.compile(r"[(<{\[:'\"\n]")
"""Where data may begin in a library's line that was formatted before it was logged."""
_BUILT_IN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


_SUMMARY_FIELDS: Final = tuple(field.name for field in dataclasses.fields(ConnectionSummary))
_SUMMARY: Final = attrgetter(*_SUMMARY_FIELDS)


def log_session(life: ConnectionSummary) -> None:
    """Write the one line of a phone's connection, at its end."""
    fields = zip(_SUMMARY_FIELDS, _SUMMARY(life), strict=True)
    logging.getLogger(SESSION_LOGGER).info("session_closed", extra=dict(fields))


def configure(
    level: LogLevel, pseudonym_key: SecretKey, stream: TextIO | None = None, *, clock: Clock | None = None
) -> Log:
    """Have all logging of this process written as JSON lines to *stream* (None: standard output).

    *clock*: None is the machine's.
    """
    clock = clock or SystemClock()
    shapes = field_shapes(Pseudonyms(pseudonym_key))
    handler = LineWriter(stream if stream is not None else sys.stdout, clock.wall_ms, shapes)
    flood = RepetitionFilter(clock.now, AUDIT_LOGGER)
    handler.addFilter(flood)
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger("aiohttp.access").disabled = True
    logging.captureWarnings(capture=True)
    # a line that cannot be written is lost: the library would print its arguments
    logging.raiseExceptions = False
    # lines of the audit are numbered: none may be missing because of a level
    logging.getLogger(AUDIT_LOGGER).setLevel(logging.INFO)
    set_level(level)
    return Log(flood, handler)


def set_level(level: LogLevel) -> None:
    """Change the lowest level that is written, at once."""
    logging.getLogger().setLevel(level.upper())


def _is_own(record: logging.LogRecord) -> bool:
    """Return whether the gateway wrote the line, not a library."""
    return record.name.partition(".")[0] == ROOT_LOGGER


def _template(record: logging.LogRecord) -> str:
    """Return the constant text of a line: of a library's what comes before data, or the type of an object."""
    if not isinstance(record.msg, str):
        return type(record.msg).__name__
    return record.msg if _is_own(record) else _CUT.split(record.msg, maxsplit=1)[0].strip()


def _fields_of_record(logger: object, method: str, event: EventDict) -> EventDict:
    """Return the fields of a line: all of ours, only the template of a library's.

    An exception is shown by its type and frames. A processor of structlog's, as those of :class:`LineWriter`.
    """
    del logger, method
    record: logging.LogRecord = event["_record"]
    fields: EventDict = {"event": _template(record)}
    if _is_own(record):
        fields = {name: value for name, value in vars(record).items() if name not in _BUILT_IN}
        fields["event"] = event["event"]
    fields["logger"], fields["level"] = record.name, record.levelname.lower()
    _, error, _ = event.get("exc_info", (None, None, None))
    if error is not None:
        error = first_of(error)
        fields["error"], fields["place"] = type(error).__name__, frames(error)
    return fields


# ---- closes ----


CLOSES_MAX: Final = 10_000
"""Number of stored closes; beyond it the oldest is removed."""
CLOSES_MS: Final = 86_400_000
"""Age after which a close is removed, when a connection ends or the list is requested."""
_Close = tuple[int, int, tuple[object, ...]]
"""Time, number, and the values of :data:`_SUMMARY_FIELDS`."""


class CloseHistory:
    """The connections of this node that ended last.

    Invariant: a value is stored in the form in which it may be logged, or not at all.
    """

    def __init__(
        self, node: NodeId, pseudonyms: Pseudonyms, wall_ms: Callable[[], int], *, kept: int = CLOSES_MAX
    ) -> None:
        self._node = node
        self._wall_ms = wall_ms
        shapes = field_shapes(pseudonyms)
        self._shapes: tuple[LoggedForm, ...] = tuple(shapes[name] for name in _SUMMARY_FIELDS)
        self._ring: deque[_Close] = deque(maxlen=kept)
        self._number = 0

    def __len__(self) -> int:
        return len(self._unexpired())

    def note(self, life: ConnectionSummary) -> None:
        """Store the summary of a connection."""
        self._number += 1
        values = tuple(shape(value) for shape, value in zip(self._shapes, _SUMMARY(life), strict=True))
        self._unexpired().append((self._wall_ms(), self._number, values))

    async def closes(self, order: Order) -> Page:
        """Return a page, the newest first, of the closes before ``order.after``."""
        chosen = nlargest(order.most + 1, self._before(order.after), key=lambda kept: kept[:2])
        records = tuple(self._record(kept) for kept in chosen[: order.most])
        return Page(records, more=len(chosen) > order.most)

    def last(self, most: int) -> list[Record]:
        """Return the last *most*, the newest first."""
        return [self._record(kept) for _, kept in zip(range(most), reversed(self._unexpired()), strict=False)]

    def of(self, user: str) -> list[Record]:
        """Return the closes of a user, by keyed hash."""
        at = _SUMMARY_FIELDS.index("user")
        return [self._record(kept) for kept in self._unexpired() if kept[2][at] == user]

    def _unexpired(self) -> deque[_Close]:
        """Remove old entries, and return the others."""
        begins_ms = self._wall_ms() - CLOSES_MS
        while self._ring and self._ring[0][0] < begins_ms:
            self._ring.popleft()
        return self._ring

    def _before(self, last: str) -> Iterator[_Close]:
        return (kept for kept in self._unexpired() if not last or self._id(kept) < last)

    def _id(self, kept: _Close) -> str:
        """Return the id of an entry: in the whole gateway a later one has a greater id."""
        return f"{kept[0]:015d}.{kept[1]:010d}.{self._node}"

    def _record(self, kept: _Close) -> Record:
        values = dict(zip(_SUMMARY_FIELDS, kept[2], strict=True))
        values["close_reason"] = values["close_reason"] or ""
        return {"id": self._id(kept), "node": self._node, "at_ms": kept[0], **values}


# ---- audit trail ----


class AuditTrail:
    """Writes acts as log lines: users as keyed hashes, a number masked.

    The lines of one process are numbered, so that a missing one is noticed. *life* distinguishes one start of
    *node* from the next, and so their serials.
    """

    def __init__(self, node: NodeId, life: str) -> None:
        self._process: Final = {"by_node": node, "life": life}
        self._serials = count(1)

    def note(self, act: Act) -> None:
        """Number and write *act*."""
        event, fields = _act(act)
        fields |= {"act": act.act, "user": act.user, "result": act.result}
        fields |= {**self._process, "serial": next(self._serials)}
        logging.getLogger(AUDIT_LOGGER).info(event, extra=fields)


def _act(act: Act) -> tuple[str, dict[str, object]]:
    """Return the event of an act, and the fields that only its kind has."""
    match act:
        case NumberAct():
            return "remote_number", {"masked": act.number}
        case OperatorAct():
            return "operator", {
                "subject": act.subject,
                "node": act.node,
                "http_status": act.status,
                "suppressed": act.suppressed or None,
                "act_id": act.act_id,
            }
        case OrderAct():
            return "operator_order", {"act_id": act.act_id, "asked_node": act.asked_node}
