"""Which words help a search to write frames?"""

from __future__ import annotations

import json
import re

import msgpack  # type: ignore[import-untyped]  # ships no types

from gateway.protocol.frames import CLIENT_FRAME


def words(name: str) -> list[bytes]:
    """Return the names and the values that are fixed of all client frames, in the encoding of a corpus."""
    schema = json.dumps(CLIENT_FRAME.json_schema())
    said = sorted(set(re.findall(r'"([a-z_.]{2,40})"', schema)))
    if name == "msgpack":
        return [bytes(msgpack.packb(word)) for word in said]
    return [json.dumps(word).encode() for word in said]
