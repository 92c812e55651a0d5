"""Are all texts there, in both languages, and none in vain?"""

from __future__ import annotations

import re
from importlib import resources

import pytest

from gateway.domain.errors import EndReason, ErrorCode

WEB = resources.files("gateway") / "web"
MODULES = {
    each.name: each.read_text()
    for each in WEB.iterdir()
    if each.name.endswith(".js") and not each.name.startswith(("strings.", "oscc-client"))
}
SOURCE = "\n".join(MODULES.values())
_NAME = re.compile(r"^  '?([\w.]+)'?:", re.MULTILINE)
_PLACES = re.compile(r"\{\d\}|\$\{\w+\}")


def texts(language: str) -> dict[str, str]:
    """Return name → what stands there."""
    source = (WEB / f"strings.{language}.js").read_text()
    found = list(_NAME.finditer(source))
    ends = [*(each.start() for each in found[1:]), len(source)]
    return {each[1]: source[each.end() : end] for each, end in zip(found, ends, strict=True)}


def test_both_languages_say_the_same_things() -> None:
    english, german = texts("en"), texts("de")
    assert english.keys() == german.keys()
    for name, text in english.items():
        assert sorted(set(_PLACES.findall(text))) == sorted(set(_PLACES.findall(german[name]))), name


def test_whatever_is_said_has_a_text() -> None:
    said = set(re.findall(r"\bt(?:Or)?\(\s*'([\w.]+)'", SOURCE))
    assert len(said) > 100
    assert said - texts("en").keys() == set()


def test_no_text_is_in_vain() -> None:
    prefixes = tuple(re.findall(r"`([a-z][\w.]*\.)\$\{", SOURCE))
    unused = [name for name in texts("en") if f"'{name}'" not in SOURCE and not name.startswith(prefixes)]
    assert unused == []


@pytest.mark.parametrize("reason", list(EndReason))
def test_every_end_has_its_words(reason: EndReason) -> None:
    assert f"ended.{reason.value}" in texts("de")


def test_every_refusal_has_its_words() -> None:
    never_told = {"upstream_version_unsupported", "wrong_resource_kind", "key_reused"}
    unknown = {"upstream_timeout", "owner_lost", "other_epoch"}
    missing = {code.value for code in ErrorCode} - {
        name[6:] for name in texts("en") if name.startswith("error.")
    }
    assert missing == never_told | unknown


def test_no_text_becomes_markup() -> None:
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", SOURCE)
        == []
    )


def test_nothing_is_stored_but_by_the_one_place_for_it() -> None:
    keepers = {
        name
        for name, text in MODULES.items()
        if re.search(r"localStorage|sessionStorage|indexedDB|document\.cookie", text)
    }
    assert keepers == {"main.js"}
    assert {name for name, text in MODULES.items() if "caches" in text} == {"sw.js"}
