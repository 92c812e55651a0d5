"""This tree keeps the rules of the house. Each test lists every fault with a sentence."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import gateway
from gateway.domain.errors import CloseCode, ErrorCode, verdict
from gateway.protocol import frames
from tests.architecture import rules

ROOT = Path(gateway.__file__).parents[1]

LONG_ON_PURPOSE: dict[str, str] = {
    "gateway/web/oscc-client.js": "authors of clients take it along as one module (decision 20)",
}
"""File → why it may be long."""

NAMES_TRACES_ON_PURPOSE = frozenset({"tests/architecture/rules.py", "tests/architecture/test_rules.py"})
"""The rule itself and its samples."""


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return sorted(path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file())


TRACKED = _tracked()


def _texts(*suffixes: str, under: tuple[str, ...] = ("",)) -> dict[str, str]:
    texts: dict[str, str] = {}
    for path in TRACKED:
        if path.startswith(under) and (not suffixes or path.endswith(suffixes)):
            try:
                texts[path] = (ROOT / path).read_text("utf-8")
            except UnicodeDecodeError:  # a picture, not a text
                continue
    return texts


CODE = _texts(".py", under=("gateway/", "tests/", "bench/", "docs/"))
SOURCE = _texts(".py", under=("gateway/",))


def _none(faults: Iterable[str]) -> None:
    found = list(faults)
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_there_is_something_to_check() -> None:
    assert "gateway/__init__.py" in SOURCE
    assert len(CODE) > len(SOURCE)


def test_files_are_short() -> None:
    every = CODE | _texts(".js", ".lua", ".html", ".css")
    assert set(every) >= set(LONG_ON_PURPOSE)
    _none(rules.long_files({path: text for path, text in every.items() if path not in LONG_ON_PURPOSE}))


def test_functions_are_short() -> None:
    _none(rules.long_functions(CODE))


def test_tests_of_the_core_and_its_runtime_do_not_sleep() -> None:
    quiet = ("domain", "protocol", "core", "runtime", "bus", "properties", "contracts", "doubles")
    _none(rules.sleeping_tests(_texts(".py", under=tuple(f"tests/{room}/" for room in quiet))))


def test_rooms_are_named_after_what_they_hold() -> None:
    _none(rules.empty_room_names(SOURCE | _texts(".py", under=("tests/", "bench/"))))


def test_nothing_names_one_machine() -> None:
    _none(rules.machine_traces({p: t for p, t in _texts().items() if p not in NAMES_TRACES_ON_PURPOSE}))


def test_sentences_are_plain() -> None:
    pages = _texts(
        ".md", ".yaml", ".yml", ".tpl", ".sh", ".conf", under=("docs/", "deploy/", "helm/", "README.md")
    )
    scripts = _texts(".js", ".ts", under=("gateway/web/",))
    _none(rules.unplain_words(SOURCE | pages | scripts))


def test_texts_for_people_are_plain() -> None:
    scripts = _texts(".js", ".html", under=("gateway/web/",))
    assert len(scripts) > 20
    _none(rules.unplain_texts(SOURCE | scripts))


def test_no_text_is_interned() -> None:
    """Python 3.12 keeps such a text for ever: without bound, and longer than its user is there."""
    _none(path for path, text in SOURCE.items() if "intern(" in text)


def test_every_suppression_has_a_reason() -> None:
    _none(rules.unreasoned_suppressions({p: t for p, t in CODE.items() if not p.endswith("test_rules.py")}))


def test_no_stubs_no_orphan_tasks_no_dispatch_on_data() -> None:
    _none(rules.forbidden_constructs(SOURCE))


def test_every_error_code_is_documented_as_it_is() -> None:
    documented = (ROOT / "docs/protocol.md").read_text("utf-8")
    status_of = {code.value: code.status for code in ErrorCode}
    retry_of = {code.value: code.is_temporary for code in ErrorCode}
    _none(rules.code_faults(documented, status_of, retry_of))


def test_every_close_code_is_documented_as_it_is() -> None:
    documented = (ROOT / "docs/protocol.md").read_text("utf-8")
    verdict_of = {code.name.lower(): (int(code), verdict(code).value) for code in CloseCode}
    _none(rules.close_faults(documented, verdict_of))


def test_every_field_of_a_frame_is_documented() -> None:
    fields_of = {
        kind.__name__: [field.name for field in dataclasses.fields(kind)]
        for kind in vars(frames).values()
        if isinstance(kind, type) and kind.__module__ == frames.__name__ and dataclasses.is_dataclass(kind)
    }
    assert len(fields_of) > 5
    _none(rules.undocumented_fields((ROOT / "docs/protocol.md").read_text("utf-8"), fields_of))


def test_decisions_are_complete_and_numbered() -> None:
    records = _texts(".md", under=("docs/decisions/",))
    assert len(records) >= 6
    _none(rules.decision_faults(records))


def test_links_lead_somewhere() -> None:
    _none(rules.dead_links(_texts(".md"), TRACKED))


def test_the_measured_routes_name_modules_that_exist() -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    routes = page.partition("<!-- routes: begin -->")[2].partition("<!-- routes: end -->")[0]
    steps = re.findall(r"^1\. `(\w+)`(?:: (.+))?$", routes, re.MULTILINE)
    named = {f"{floor}/{name}" if name else floor for floor, all_ in steps for name in all_.split(", ")}
    assert len(named) > 20
    assert {f"gateway/{name}.py" for name in named} - set(SOURCE) == set(), (
        "python -m tests.architecture.routes"
    )


def test_the_table_and_the_routes_of_the_architecture_name_modules_that_exist() -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    table = re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE)
    named = {f"{floor}/{name}" for floor, cell in table for name in re.findall(r"`([a-z_/]+)`", cell)}
    floors = "|".join(floor for floor, _ in table)
    blocks = "".join(re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    named |= set(re.findall(rf"\b((?:{floors})/[a-z_/]+)", blocks))
    assert len(named) > 40
    there = {path.removesuffix(".py").removesuffix("/__init__") for path in SOURCE}
    assert {name for name in named if f"gateway/{name}" not in there} == set()


def test_make_help_shows_every_target() -> None:
    _none(rules.undescribed_targets((ROOT / "Makefile").read_text("utf-8")))


def test_imports_keep_the_floors_and_the_doors() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
