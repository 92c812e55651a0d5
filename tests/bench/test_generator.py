"""A load becomes a command line, and an answer that shows trouble is none."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from bench.load.generator import Generator, Load, Span, read
from bench.programs import BenchError


def test_a_load_becomes_a_command_line() -> None:
    words = Load(8080, "/v1/realtime", 1_000, ("--pong",), per_s=50, pid=7).arguments()
    assert words[:4] == ("--url", "127.0.0.1:8080/v1/realtime", "-n", "1000")
    assert words[words.index("--pub-rate") :][:2] == ("--pub-rate", "50")
    assert words[-3:] == ("--pid", "7", "--pong")
    assert not {"--pub-window", "--slow", "--tls"} & set(words)


def test_stalled_phones_have_a_small_window() -> None:
    words = Load(1, "/", 10, stalled=3, window=16).arguments()
    assert words[words.index("--slow") :][:3] == ("--slow", "3", "--rcvbuf")
    assert words[words.index("--pub-window") :][:2] == ("--pub-window", "16")


def test_patience_covers_the_phases() -> None:
    assert Load(1, "/", 1, duration_s=30).within_s == Load(1, "/", 1, duration_s=10).within_s + 20
    spans = (Span(1, duration_s=10), Span(1, duration_s=20))
    assert Load(1, "/", 1, spans=spans).within_s > Load(1, "/", 1, duration_s=30).within_s


def test_a_span_survives_the_command_line() -> None:
    spans = (Span(10, per_s=12.5, size=40), Span(20, window=16, warmup_s=0.25), Span(20, per_s=-0.5))
    words = Load(1, "/", 20, spans=spans).arguments()
    told = [words[at + 1] for at, word in enumerate(words) if word == "--span"]
    assert told == ["10,12.5,0,0.5,4,40", "20,0,16,0.25,4,1", "20,-0.5,0,0.5,4,1"]
    assert tuple(Span.read(word) for word in told) == spans


async def test_each_span_is_heard_with_what_was_seen_when_it_began_and_ended(tmp_path: Path) -> None:
    program = tmp_path / "load"
    program.write_text(
        "#!/bin/sh\necho '{\"begins\":0}'\necho one\necho '{\"begins\":1}'\necho two\n", "ascii"
    )
    program.chmod(0o755)
    looks = itertools.count()

    async def look() -> int:
        return next(looks)

    heard = await Generator(program).spans(Load(1, "/", 1), look)
    assert heard == [(b"one\n", 0, 1), (b"two\n", 2, 3)]


@pytest.mark.parametrize(
    "told",
    [
        b"Segmentation fault",
        json.dumps({"n": 2, "opened": 0, "failed": 0}).encode(),
        json.dumps({"n": 2, "opened": 1, "failed": 1}).encode(),
        json.dumps({"n": 2, "opened": 1, "failed": 0, "closed": 1, "closes": {"4108": 1}}).encode(),
        json.dumps({"n": 2, "opened": 2, "failed": 0, "closed": 0, "ready": {"n": 1}}).encode(),
    ],
)
def test_trouble_is_no_answer(told: bytes) -> None:
    with pytest.raises(BenchError):
        read(told)


def test_an_answer_is_read() -> None:
    assert read(json.dumps({"n": 2, "opened": 2, "failed": 0, "closed": 0}).encode())["opened"] == 2


def test_stalled_phones_may_be_sent_away() -> None:
    told = json.dumps({"n": 3, "opened": 2, "failed": 0, "closed": 1, "closes": {"4108": 1}}).encode()
    assert read(told, stalled=1)["closed"] == 1
