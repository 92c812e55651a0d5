"""This version opens what nodes of the neighbouring minor versions send: they mix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

import gateway
from gateway.bus.sealing import Seals
from gateway.protocol import envelopes
from gateway.protocol.envelopes import decode
from tests.protocol.kept_envelopes import CHANNEL, FOLDER, KEY, plain


def minor(version: str) -> tuple[int, int]:
    major, second, *_ = version.split(".")
    return int(major), int(second)


NEIGHBOURS = sorted(
    path
    for path in FOLDER.glob("*.json")
    if minor(path.stem)[0] == minor(gateway.__version__)[0]
    and abs(minor(path.stem)[1] - minor(gateway.__version__)[1]) <= 1
)


NOT_SENT = "__pydantic_config__"
"""A member of the types of 1.0.0rc1, of which its file has a copy; no envelope contains it."""


def holds(said: object, now: object) -> bool:
    """Tell whether a decoded value has all that was said; a later version may know more fields."""
    if isinstance(said, dict) and isinstance(now, dict):
        members = {key: value for key, value in said.items() if key != NOT_SENT}
        return all(key in now and holds(value, now[key]) for key, value in members.items())
    if isinstance(said, list) and isinstance(now, list):
        return len(said) == len(now) and all(map(holds, said, now))
    return bool(said == now)


def test_this_version_is_kept() -> None:
    assert gateway.__version__ in {path.stem for path in NEIGHBOURS}


@pytest.mark.parametrize("file", NEIGHBOURS, ids=lambda file: file.stem)
def test_every_envelope_of_a_neighbour_is_read_as_it_was_meant(file: Path) -> None:
    kept = json.loads(file.read_text("ascii"))
    for sample in kept["envelopes"]:
        assert holds(sample["says"], plain(decode(bytes.fromhex(sample["bytes"])))), sample["kind"]
    assert len({sample["kind"] for sample in kept["envelopes"]}) >= 20


@pytest.mark.parametrize("file", NEIGHBOURS, ids=lambda file: file.stem)
def test_what_a_neighbour_seals_opens(file: Path) -> None:
    sealed = bytes.fromhex(json.loads(file.read_text("ascii"))["sealed"])
    assert Seals([KEY], bytes).open(CHANNEL, sealed) == b"plain text"


def test_a_kind_that_is_forgotten_would_be_noticed() -> None:
    kept = json.loads((FOLDER / f"{gateway.__version__}.json").read_text("ascii"))
    assert len({sample["kind"] for sample in kept["envelopes"]}) == len(get_args(envelopes.Envelope))
    assert not holds({"a": 1}, {"b": 1})
    assert not holds({"a": [1, 2]}, {"a": [1]})
    assert holds({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3})


# ---- every envelope names the user that it concerns ----


WHOM = frozenset({"user", "ticket", "node", "number", "request", "told"})
"""A user, one of their sessions, a node, the sender of that request number, or each of several messages."""


def test_envelopes_say_whom_they_are_about() -> None:
    for of in get_args(envelopes.Envelope):
        assert WHOM & set(of.__annotations__), of


def test_a_report_shows_nothing_of_what_is_in_it() -> None:
    assert repr(envelopes.Report(5, ({"display_name": "canary"},))) == "Report(5, 1 records)"
