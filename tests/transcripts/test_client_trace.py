"""The trace and the recorded frames for writers of clients are what the gateway sends and reads."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Final

import gateway
from docs._generate.cluster import filled
from gateway.protocol.codec import JSON, MSGPACK
from gateway.protocol.schemas import CLIENT_FRAMES, GATEWAY_FRAMES
from tests.transcripts.client_trace import fixtures, trace_lines

DOCS: Final = Path(gateway.__file__).parents[1] / "docs"
PAGE: Final = DOCS / "clients.md"
RECORDED: Final = DOCS / "frames.json"


def _written(path: Path, text: str) -> None:
    if os.environ.get("TRANSCRIPTS") == "rewrite":
        path.write_text(text, "utf-8")
    assert path.read_text("utf-8") == text, f"{path.name} differs; run make transcripts and read the diff"


def test_the_trace_on_the_page_is_what_travels_in_the_transcript() -> None:
    _written(PAGE, filled(PAGE.read_text("utf-8"), {"trace": trace_lines}))


def test_the_recorded_frames_are_what_travels_in_the_transcript() -> None:
    _written(RECORDED, fixtures())


def test_the_trace_shows_what_clients_get_wrong() -> None:
    text = "\n".join(trace_lines())
    for needed in ('"more": true', '"retry": true', '"resumed": true', "bye {", '"status": "applied"'):
        assert needed in text


def test_every_kind_of_frame_is_recorded_and_both_codecs_say_the_same() -> None:
    frames = json.loads(RECORDED.read_text("utf-8"))["frames"]
    for sender, types in (("client", CLIENT_FRAMES), ("gateway", GATEWAY_FRAMES)):
        kinds = {str(of.__dataclass_fields__["kind"].default) for of in types}
        assert {one["kind"] for one in frames if one["sender"] == sender} == kinds
    for one in frames:
        text, binary = one["json"].encode(), base64.b64decode(one["msgpack_base64"])
        if one["sender"] == "client":
            assert JSON.decode_client(text) == MSGPACK.decode_client(binary)
        else:
            assert JSON.decode_gateway(text) == MSGPACK.decode_gateway(binary)
