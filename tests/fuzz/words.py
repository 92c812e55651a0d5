"""Dictionary of the fuzzer."""

from __future__ import annotations

import json
import re

import msgpack  # type: ignore[import-untyped]  # ships no types

from gateway.protocol.bodies import LOG_ON
from gateway.protocol.frames import CLIENT_FRAME
from tests.fuzz import corpus

_NUMBERS = (
    "+4930901820", "0049 30 901820", "030/901820", "110", "030110", "+44 20 7946 0000",
    "\uff0b\u0664\u0669",
)  # fmt: skip


def words(name: str) -> list[bytes]:
    """Return the names and the values that are fixed of what is read, in the encoding of a corpus."""
    match name:
        case "json" | "msgpack":
            said = _said(CLIENT_FRAME.json_schema())
        case "log_on":
            said = [*_said(LOG_ON.json_schema()), *_NUMBERS]
        case "link":  # names of the server stand in what was kept
            kept = b" ".join(corpus.load(name)).decode(errors="ignore")
            said = sorted(set(re.findall(r'"([A-Z][A-Za-z]{1,40})"', kept)))
        case _:
            said = []
    if name == "msgpack":
        return [bytes(msgpack.packb(word)) for word in said]
    return [json.dumps(word).encode() for word in said]


def _said(schema: object) -> list[str]:
    return sorted(set(re.findall(r'"([a-z_.]{2,40})"', json.dumps(schema))))
