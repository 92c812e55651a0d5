"""All texts exist in both languages, none is unused, and the client is as small as its page says."""

from __future__ import annotations

import dataclasses
import gzip
import re
from importlib import resources
from pathlib import Path

import pytest

from gateway.domain.errors import EndReason, ErrorCode
from gateway.protocol.schemas import InventoryEntry, inventory

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


def test_the_data_inventory_has_german_words() -> None:
    named = {"category", "fields"}  # as the protocol names them
    said = {
        str(value)
        for entry in inventory().entries
        for name, value in dataclasses.asdict(entry).items()
        if name not in named
    }
    labels = {field.name.replace("_", " ").capitalize() for field in dataclasses.fields(InventoryEntry)}
    words = re.compile(r"""^  (?:'([^']*)'|"([^"]*)"|(\w+)):""", re.MULTILINE)
    translated = {"".join(found) for found in words.findall(MODULES["inventory.de.js"])}
    assert translated == said | labels


@pytest.mark.parametrize("reason", list(EndReason))
def test_every_end_has_its_words(reason: EndReason) -> None:
    assert f"ended.{reason.value}" in texts("de")


def test_every_refusal_has_its_words() -> None:
    never_sent = {"upstream_version_unsupported", "wrong_resource_kind", "key_reused"}
    unknown = {"upstream_timeout", "owner_lost", "other_epoch"}
    missing = {code.value for code in ErrorCode} - {
        name[6:] for name in texts("en") if name.startswith("error.")
    }
    assert missing == never_sent | unknown


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


def loaded(*names: str) -> set[str]:
    """Return these files and all that they import at once."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        found.add(name := waiting.pop())
        text = (WEB / name).read_text() if name.endswith(".js") else ""
        imported = re.findall(r"^(?:import|\}) .*from '\./(.*)';$", text, re.MULTILINE)
        waiting += [each for each in imported if each not in found]
    return found


def test_the_page_says_how_much_is_loaded() -> None:
    first = loaded("index.html", "app.css", "main.js", "strings.en.js", "icon.svg")
    parts = [
        first,
        *(loaded("shell.js", "work.css", app) - first for app in ("dashboard.js", "assistant.js")),
    ]
    page = " ".join((Path(__file__).parents[2] / "docs" / "clients.md").read_text().split())
    received = re.search(
        r"first view with.*? (\d+) KB.*?\((\d+) KB.*?then (\d+) KB \((\d+) KB\).*?or (\d+) KB \((\d+) KB\)",
        page,
        re.DOTALL,
    )
    assert received is not None
    bodies = [[(WEB / name).read_bytes() for name in part] for part in parts]
    sizes = [
        sum(map(len, each)) / 1000 for body in bodies for each in ([gzip.compress(one) for one in body], body)
    ]
    assert [int(each) for each in received.groups()] == pytest.approx(sizes, rel=0.05)
