"""Texts of others are shown without deceptive characters, else unchanged."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain import model
from gateway.domain.model import NAME_CHARS, readable, readable_or_none

ANYTHING = st.text(st.characters(codec=None), max_size=2 * NAME_CHARS)
DECEIVING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def faults(shown: str, most: int) -> list[str]:
    """Return what is wrong with a text that people would see."""
    found = [] if len(shown) <= most else ["long"]
    found += (
        ["control"] if any(unicodedata.category(each) in {"Cc", "Cs", "Zl", "Zp"} for each in shown) else []
    )
    return found + (["bidi"] if DECEIVING & set(shown) else [])


@given(ANYTHING, st.integers(0, 2 * NAME_CHARS))
@example("\x1b[2J\u202egnp.exe", 128)
@example("\ud800", 1)
def test_nothing_deceives_whatever_was_written(text: str, most: int) -> None:
    shown = readable(text, most)
    assert faults(shown, most) == []
    assert readable(shown, most) == shown
    shown.encode()


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"]), max_size=NAME_CHARS))
def test_what_has_nothing_of_that_stays_as_it_is(text: str) -> None:
    assert readable(text) == text


@pytest.mark.parametrize(
    "name",
    [
        "Zoë Müller-Łuczak",
        "עברית",
        "محمد\u200c‌علی",  # a zero-width non-joiner is part of how it is spelled
        "\u200f\u05e9\u05dc\u05d5\u05dd (12)\u200e",
        "山田 太郎",
        "👩\u200d💻",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    ],
)
def test_names_of_all_scripts_stay_readable(name: str) -> None:
    assert readable(name) == name


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Ann\r\nadmin: ok", "Ann  admin: ok"),
        ("Ann\x00\x1b[31mBob\x9b", "Ann[31mBob"),
        ("invoice\u202egnp.exe", "invoicegnp.exe"),
        ("\u2066Ann\u2069", "Ann"),
        ("\ufeffAnn", "Ann"),
        ("A\u200bn\u00adn\u2060\u180e\u2064\u206f", "Ann"),
        ("\u2028", " "),
        ("", ""),
    ],
)
def test_what_deceives_is_dropped(written: str, shown: str) -> None:
    assert readable(written) == shown
    assert readable_or_none(written) == (shown or None), "unknown is never shown as an empty text"


def test_what_is_not_known_stays_unknown() -> None:
    assert readable_or_none(None) is None


def test_a_flood_of_what_is_dropped_hides_nothing_behind_it() -> None:
    assert readable("\x00" * 5 + "Ann", 4) == "Ann"
    assert readable("\x00" * 10_000 + "Ann", 4) == ""


@pytest.mark.parametrize("let_through", ["\x1b", "\u202e", "\ud800", "\u2028"])
def test_a_character_that_is_let_through_is_found(monkeypatch: pytest.MonkeyPatch, let_through: str) -> None:
    kept = {code: to for code, to in model._DROPPED.items() if code != ord(let_through)}
    monkeypatch.setattr(model, "_DROPPED", kept)
    assert faults(readable(f"Ann{let_through}"), NAME_CHARS) != []
