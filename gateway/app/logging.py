"""How are log lines written? JSON on standard output, and nothing in them that is not on the list.

The gateway's rooms log by the standard library (``logging.getLogger(__name__)``, fields by
``extra=``) or by structlog; both end here. Of libraries' lines only the constant template is
kept, of exceptions only type and place: their texts may hold what a phone sent.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

from gateway.app.flood import FloodControl
from gateway.app.keys import SecretKey
from gateway.app.log_fields import Pseudonyms, Shape, fields
from gateway.edge.witness import Life
from gateway.runtime.clock import SystemClock
from gateway.runtime.faults import first_of, frames
from gateway.runtime.ports import Clock

Level = Literal["debug", "info", "warning", "error"]
Event = MutableMapping[str, Any]
"""structlog's type of a line in the making."""

OURS: Final = "gateway"
AUDIT: Final = f"{OURS}.audit"
_CUT: Final = re.compile(r"[(<{\[:'\"\n]")
"""Where data may begin in a library's line that was formatted before it was logged."""
_BUILT_IN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class DenyByDefault:
    """A structlog processor. Invariant: what it returns holds listed fields only, each in its shape.

    What was left out is counted in ``dropped``.
    """

    def __init__(self, listed: Mapping[str, Shape]) -> None:
        self._listed: Final = listed

    def __call__(self, logger: object, method: str, event: Event) -> Event:
        """Return the line that may be shown."""
        del logger, method
        shown: Event = {}
        dropped = 0
        for name, value in event.items():
            shape = self._listed.get(name)
            shaped = shape(value) if shape is not None else None
            if shaped is not None:
                shown[name] = shaped
            elif value is not None and value != "":
                dropped += 1
        if dropped:
            shown["dropped"] = dropped
        return shown


def log_session(life: Life) -> None:
    """Write the one line that a phone's connection leaves, at its end."""
    structlog.get_logger(f"{OURS}.session").info("session over", **dataclasses.asdict(life))


def configure(
    level: Level, pseudonym_key: SecretKey, stream: TextIO | None = None, *, clock: Clock | None = None
) -> FloodControl:
    """Let all logging of this process end in JSON lines on *stream* (None: standard output).

    Returns what holds floods back; *clock* tells it the time (None: the machine's).
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _of_record],
        processors=[
            _summarise_exception,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            DenyByDefault(fields(Pseudonyms(pseudonym_key))),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    handler = logging.StreamHandler(stream if stream is not None else sys.stdout)
    handler.setFormatter(formatter)
    flood = FloodControl((clock or SystemClock()).now, AUDIT)
    handler.addFilter(flood)
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger("aiohttp.access").disabled = True
    logging.captureWarnings(capture=True)
    # a line that cannot be written is lost: the library would print its arguments
    logging.raiseExceptions = False
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    # acts that somebody answers for are numbered: none may be missing because of a level
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    set_level(level)
    return flood


def set_level(level: Level) -> None:
    """Change the least level that is written, at once."""
    logging.getLogger().setLevel(level.upper())


def _of_record(logger: object, method: str, event: Event) -> Event:
    """Read a record of the standard library: ours with its fields, others by their template only."""
    del logger, method
    record: logging.LogRecord = event["_record"]
    if record.name.partition(".")[0] == OURS:
        event.update({name: value for name, value in vars(record).items() if name not in _BUILT_IN})
    else:
        event["event"] = _CUT.split(str(record.msg), maxsplit=1)[0].strip()
    return event


def _summarise_exception(logger: object, method: str, event: Event) -> Event:
    """Replace an exception by its type and frames."""
    del logger, method
    match event.pop("exc_info", None) or event["_record"].exc_info:
        case BaseException() as error:
            pass
        case (_, error, _):
            pass
        case found:
            error = sys.exception() if found else None
    if error is not None:
        error = first_of(error)
        event["error"] = type(error).__name__
        event["place"] = frames(error)
    return event
