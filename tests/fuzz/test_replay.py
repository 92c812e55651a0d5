"""Inputs that a search once found keep their promises; ``tests/seeds.py`` has bugs that they find."""

from __future__ import annotations

import inspect
import random  # noqa: TID251 - seeded
from typing import get_args

import pytest

from gateway.protocol import frames
from tests.fuzz import corpus
from tests.fuzz.oracles import ORACLES, frames_of_rfc_6455, kinds_said
from tests.fuzz.reframe import Frame, joined, reframe, split
from tests.fuzz.reshape import reshape_json, reshape_msgpack
from tests.protocol.framing import framed

CORPORA = pytest.mark.parametrize("name", ORACLES)


@CORPORA
def test_what_a_search_found_keeps_its_promise(name: str) -> None:
    inputs = corpus.load(name)
    assert len(inputs) > 30
    for data in inputs:
        ORACLES[name](data)


@pytest.mark.parametrize("name", ["json", "msgpack"])
def test_every_kind_of_frame_and_command_is_among_them(name: str) -> None:
    kinds = {inspect.signature(frame).parameters["kind"].default for frame in get_args(frames.ClientFrame)}
    assert kinds_said(name, corpus.load(name)).keys() == kinds - {"command"} | set(frames.COMMANDS)


@CORPORA
def test_a_corpus_is_written_as_it_is_read(
    name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, inputs = (corpus.FOLDER / f"{name}.txt").read_bytes(), corpus.load(name)
    monkeypatch.setattr(corpus, "FOLDER", tmp_path_factory.mktemp("corpus"))
    corpus.save(name, [*inputs, *inputs[:3]])
    assert (corpus.FOLDER / f"{name}.txt").read_bytes() == before


def test_lines_stand_for_any_bytes(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "FOLDER", tmp_path_factory.mktemp("corpus"))
    inputs = [b"\n", b"\\", bytes(range(256))]
    corpus.save("x", inputs)
    assert corpus.load("x") == inputs


# ---- how a search changes what it has ----


def test_frames_are_split_and_joined() -> None:
    stream = framed(1, b"a") + framed(9, fin=False) + framed(0, b"x" * 200, rsv=5) + framed(2, b"y" * 70_000)
    frames = [Frame(129, b"a"), Frame(9, b""), Frame(208, b"x" * 200, 2), Frame(130, b"y" * 70_000, 8)]
    assert split(stream) == frames
    assert split(joined(frames, random.Random(1))) == frames


def test_a_change_gives_bytes_that_depend_on_the_seed_alone() -> None:
    for seed in range(60):
        stream = reframe(framed(1, b"a") + framed(9), lambda payload, _: payload[::-1], seed)
        assert stream == reframe(framed(1, b"a") + framed(9), lambda payload, _: payload[::-1], seed)
        frames_of_rfc_6455(stream)
        for reshape in (reshape_json, reshape_msgpack):
            assert reshape(b"\x80", seed) == reshape(b"\x80", seed)
