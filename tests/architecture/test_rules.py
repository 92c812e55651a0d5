"""Each rule reports what it is made for. One seeded violation per rule, beside what must pass."""

from __future__ import annotations

import pytest

from tests.architecture import rules


def _function(lines: int, docstring: str = "") -> str:
    return "def f() -> None:\n" + docstring + "    x = 1\n" * (lines - 1)


def test_a_file_may_have_800_lines_and_no_more() -> None:
    assert list(rules.long_files({"a.py": "\n" * 800})) == []
    assert len(list(rules.long_files({"a.py": "\n" * 801}))) == 1


def test_a_function_may_have_40_lines_beside_its_docstring() -> None:
    docstring = '    """Says.\n\n    More.\n    """\n'
    assert list(rules.long_functions({"a.py": _function(40)})) == []
    assert list(rules.long_functions({"a.py": _function(40, docstring)})) == []
    assert len(list(rules.long_functions({"a.py": _function(41)}))) == 1
    assert len(list(rules.long_functions({"a.py": "async " + _function(41, docstring)}))) == 1


@pytest.mark.parametrize("call", ["asyncio.sleep(0.1)", "asyncio.sleep(delay)", "time.sleep(1)"])
def test_sleeping_tests_are_reported(call: str) -> None:
    assert len(list(rules.sleeping_tests({"tests/core/test_lease.py": call}))) == 1
    assert list(rules.sleeping_tests({"tests/core/test_lease.py": "asyncio.sleep(0)\nclock.sleep(1)"})) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("gateway/core/utils.py", ""),
        ("gateway/common/lease.py", ""),
        ("gateway/core/lease_helpers.py", ""),
        ("gateway/core/lease.py", "class LeaseManager: ..."),
        ("gateway/core/lease.py", "class Base: ..."),
    ],
)
def test_empty_names_are_reported(path: str, text: str) -> None:
    assert len(list(rules.empty_room_names({path: text}))) == 1


def test_speaking_names_pass() -> None:
    files = {"gateway/core/lease.py": "class ManagerStateChanged: ...\nclass Database: ..."}
    assert list(rules.empty_room_names(files)) == []


@pytest.mark.parametrize(
    "line",
    [
        "cd " + "/work" + "/somewhere",
        'open("/tmp/x")',
        "see /root/notes",
        "/home/somebody/.venv",
        "--index-url https://mirror.example/simple",
        "https://pypi.org/simple",
    ],
)
def test_machine_traces_are_reported(line: str) -> None:
    assert len(list(rules.machine_traces({"README.md": f"fine\n{line}\n"}))) == 1


def test_routes_and_relative_paths_are_no_traces() -> None:
    text = "GET /v1/session\ntests/work/x\nagent:work /unavailable/work (reason)\n"
    assert list(rules.machine_traces({"README.md": text})) == []


@pytest.mark.parametrize(
    "line",
    [
        "x = 1  # noqa",
        "x = 1  # type: ignore",
        "x = 1  # noqa: S101",
        "x = 1  # type: ignore[arg-type]",
    ],
)
def test_suppressions_without_code_or_reason_are_reported(line: str) -> None:
    assert len(list(rules.unreasoned_suppressions({"a.py": f"y = 2\n{line}\n"}))) == 1


def test_reasons_may_stand_beside_or_above() -> None:
    text = (
        "x = 1  # noqa: S101 - pytest rewrites it\n"
        "x = 1  # type: ignore[arg-type]  # hostile input on purpose\n"
        "# the wire gives what it gives\n"
        "x = 1  # type: ignore[arg-type]\n"
    )
    assert list(rules.unreasoned_suppressions({"a.py": text})) == []


@pytest.mark.parametrize(
    "text",
    [
        "raise NotImplementedError",
        "raise NotImplementedError('later')",
        "loop.create_task(run())",
        "asyncio.create_task(run())",
        "getattr(self, f'on_{kind}')()",
        "x: dict[str, Any] = {}",
        "@contextmanager\ndef f():\n try:\n  yield\n except OSError:\n  raise ValueError from None",
        "@asynccontextmanager\nasync def f():\n try:\n  yield\n except OSError:\n  pass",
    ],
)
def test_forbidden_constructs_are_reported(text: str) -> None:
    assert len(list(rules.forbidden_constructs({"gateway/core/lease.py": text}))) == 1


def test_owned_tasks_constant_attributes_wire_shapes_and_errors_raised_again_pass() -> None:
    text = (
        "@contextmanager\ndef f():\n try:\n  yield\n except OSError:\n  end()\n  raise\n finally:\n  pass\n"
        "tg.create_task(run())\nself._group.create_task(run())\ngetattr(socket, 'TCP_NOTSENT_LOWAT', None)\n"
    )
    assert list(rules.forbidden_constructs({"gateway/edge/socket.py": text + "x: dict[str, Any]"})) == []


CODES = "| code | HTTP | retry | meaning |\n|---|---|---|---|\n| `busy` | 503 | yes | later |\n"


def test_documented_codes_equal_the_codes() -> None:
    assert list(rules.code_faults(CODES, {"busy": 503}, {"busy": True})) == []


@pytest.mark.parametrize(
    ("status", "retry"),
    [
        ({"busy": 500}, {"busy": True}),
        ({"busy": 503}, {"busy": False}),
        ({}, {}),
        ({"busy": 503, "gone": 410}, {"busy": True, "gone": False}),
    ],
)
def test_differing_codes_are_reported(status: dict[str, int], retry: dict[str, bool]) -> None:
    assert len(list(rules.code_faults(CODES, status, retry))) == 1


def test_fields_that_the_reference_never_names_are_reported() -> None:
    reference = "`agent`: `skills[{skill_id, level}]`, `extension` P"
    assert list(rules.undocumented_fields(reference, {"Agent": ["skills", "extension"]})) == []
    assert list(rules.undocumented_fields(reference, {"Agent": ["skill", "level"]})) == [
        "Agent.skill is not documented"
    ]


CLOSES = "| code | name | verdict | meaning |\n|---|---|---|---|\n| 4108 | `slow` | back_off | too slow |\n"


def test_documented_closes_equal_the_closes() -> None:
    assert list(rules.close_faults(CLOSES, {"slow": (4108, "back_off")})) == []


@pytest.mark.parametrize(
    "verdicts",
    [
        {},
        {"slow": (4108, "stop")},
        {"slow": (4107, "back_off")},
        {"slow": (4108, "back_off"), "draining": (4200, "window")},
    ],
)
def test_differing_closes_are_reported(verdicts: dict[str, tuple[int, str]]) -> None:
    assert len(list(rules.close_faults(CLOSES, verdicts))) == 1


RECORD = (
    "# 1. Title\n\n## Status\n\nAccepted\n\n## Context\n\nc\n\n## Decision\n\nd\n\n## Consequences\n\ne\n"
)


def test_a_complete_decision_passes() -> None:
    assert list(rules.decision_faults({"docs/decisions/0001-title.md": RECORD})) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("0002-title.md", RECORD),
        ("0001-title.md", RECORD.replace("# 1.", "# 2.")),
        ("0001-title.md", RECORD.replace("## Context\n\nc\n\n", "")),
        ("0001-title.md", RECORD.replace("\ne\n", "")),
    ],
)
def test_incomplete_decisions_are_reported(name: str, text: str) -> None:
    assert len(list(rules.decision_faults({f"docs/decisions/{name}": text}))) == 1


def test_dead_links_are_reported_and_live_ones_pass() -> None:
    paths = ["docs/a.md", "docs/decisions/0001-x.md", "README.md"]
    live = "[x](decisions/0001-x.md#status) [y](../README.md) [z](https://example.org) [f](decisions)"
    assert list(rules.dead_links({"docs/a.md": live}, paths)) == []
    assert len(list(rules.dead_links({"docs/a.md": "[x](b.md)"}, paths))) == 1


def test_targets_without_text_are_reported() -> None:
    assert list(rules.undescribed_targets(".PHONY: a\na: b ## does a\n")) == []
    assert len(list(rules.undescribed_targets(".PHONY: a b\na: ## does a\nb:\n"))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("gateway/core/lease.py", '"""The owner tells what changed."""'),
        ("gateway/core/lease.py", 'class Lease:\n    at = 1\n    """Not held any more."""'),
        ("gateway/core/lease.py", "x = 1  # whoever comes"),
        ("docs/cluster.md", "A node is told by Redis."),
        ("gateway/web/live.js", "/** A queue.\n * @param {x} told it\n * Drawn anew. */"),
        ("gateway/web/live.js", "const told = 'x'; // whoever comes"),
    ],
)
def test_unplain_words_are_reported(path: str, text: str) -> None:
    assert len(list(rules.unplain_words({path: text}))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("gateway/core/lease.py", 'error = "The owner is told."'),
        ("gateway/core/lease.py", 'error = f"{name} is no folder."'),
        ("gateway/core/lease.py", 'f"Passwords {how} travel readable."'),
        ("gateway/web/strings.en.js", "a: 'It is not there any more.',"),
        ("gateway/web/live.js", "say(`Nobody ${x} speaks for the user.`)"),
    ],
)
def test_unplain_texts_are_reported(path: str, text: str) -> None:
    assert len(list(rules.unplain_texts({path: text}))) == 1


def test_plain_texts_pass() -> None:
    files = {
        "gateway/core/lease.py": '"""It is told."""\ntold = "told"\nerror = "There is no such reason."',
        "gateway/web/live.js": "// is told here\nlet told = `told ${any more}`; say('It no longer exists.');",
    }
    assert list(rules.unplain_texts(files)) == []


def test_names_in_plain_sentences_pass() -> None:
    files = {
        "gateway/core/lease.py": '"""Return *told*.\n\nArgs:\n    told: The `told` one.\n"""\ntold = "told"',
        "docs/cluster.md": "See [decision 16](decisions/0016-fan-out-groups-share-one-frame.md).",
    }
    assert list(rules.unplain_words(files)) == []
