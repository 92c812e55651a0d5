"""Each rule reports what it is made for. One seeded violation per rule, beside what must pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from tests.architecture import rules

Rule = Callable[[dict[str, str]], Iterable[str]]


def _function(lines: int, docstring: str = "") -> str:
    return "def f() -> None:\n" + docstring + "    x = 1\n" * (lines - 1)


DOCSTRING = '    """Says.\n\n    More.\n    """\n'
RECORD = (
    "# 1. Title\n\n## Status\n\nAccepted\n\n## Context\n\nc\n\n## Decision\n\nd\n\n## Consequences\n\ne\n"
)
LEASE, TEST, LIVE = "gateway/core/lease.py", "tests/core/test_lease.py", "gateway/web/live.js"
REPORTED: tuple[tuple[Rule, str, str], ...] = (
    (rules.long_files, "a.py", "\n" * 801),
    (rules.long_functions, "a.py", _function(41)),
    (rules.long_functions, "a.py", "async " + _function(41, DOCSTRING)),
    (rules.sleeping_tests, TEST, "asyncio.sleep(0.1)"),
    (rules.sleeping_tests, TEST, "asyncio.sleep(delay)"),
    (rules.sleeping_tests, TEST, "time.sleep(1)"),
    (rules.empty_room_names, "gateway/core/utils.py", ""),
    (rules.empty_room_names, "gateway/common/lease.py", ""),
    (rules.empty_room_names, "gateway/core/lease_helpers.py", ""),
    (rules.empty_room_names, LEASE, "class LeaseManager: ..."),
    (rules.empty_room_names, LEASE, "class Base: ..."),
    (rules.machine_traces, "README.md", "fine\ncd " + "/work" + "/somewhere\n"),
    (rules.machine_traces, "README.md", 'fine\nopen("/tmp/x")\n'),
    (rules.machine_traces, "README.md", "fine\nsee /root/notes\n"),
    (rules.machine_traces, "README.md", "fine\n/home/somebody/.venv\n"),
    (rules.machine_traces, "README.md", "fine\n--index-url https://mirror.example/simple\n"),
    (rules.machine_traces, "README.md", "fine\nhttps://pypi.org/simple\n"),
    (rules.unreasoned_suppressions, "a.py", "y = 2\nx = 1  # noqa\n"),
    (rules.unreasoned_suppressions, "a.py", "y = 2\nx = 1  # type: ignore\n"),
    (rules.unreasoned_suppressions, "a.py", "y = 2\nx = 1  # noqa: S101\n"),
    (rules.unreasoned_suppressions, "a.py", "y = 2\nx = 1  # type: ignore[arg-type]\n"),
    (rules.forbidden_constructs, LEASE, "raise NotImplementedError"),
    (rules.forbidden_constructs, LEASE, "raise NotImplementedError('later')"),
    (rules.forbidden_constructs, LEASE, "loop.create_task(run())"),
    (rules.forbidden_constructs, LEASE, "asyncio.create_task(run())"),
    (rules.forbidden_constructs, LEASE, "getattr(self, f'on_{kind}')()"),
    (rules.forbidden_constructs, LEASE, "x: dict[str, Any] = {}"),
    (
        rules.forbidden_constructs,
        LEASE,
        "@contextmanager\ndef f():\n try:\n  yield\n except OSError:\n  raise ValueError from None",
    ),
    (
        rules.forbidden_constructs,
        LEASE,
        "@asynccontextmanager\nasync def f():\n try:\n  yield\n except OSError:\n  pass",
    ),
    (rules.decision_faults, "docs/decisions/0002-title.md", RECORD),
    (rules.decision_faults, "docs/decisions/0001-title.md", RECORD.replace("# 1.", "# 2.")),
    (rules.decision_faults, "docs/decisions/0001-title.md", RECORD.replace("## Context\n\nc\n\n", "")),
    (rules.decision_faults, "docs/decisions/0001-title.md", RECORD.replace("\ne\n", "")),
    (rules.unplain_words, LEASE, '"""The owner tells what changed."""'),
    (rules.unplain_words, LEASE, 'class Lease:\n    at = 1\n    """Not held any more."""'),
    (rules.unplain_words, LEASE, "x = 1  # whoever comes"),
    (rules.unplain_words, "docs/cluster.md", "A node is told by Redis."),
    (rules.unplain_words, LIVE, "/** A queue.\n * @param {x} told it\n * Drawn anew. */"),
    (rules.unplain_words, LIVE, "const told = 'x'; // whoever comes"),
    (rules.unplain_texts, LEASE, 'error = "The owner is told."'),
    (rules.unplain_texts, LEASE, 'error = f"{name} is no folder."'),
    (rules.unplain_texts, LEASE, 'f"Passwords {how} travel readable."'),
    (rules.unplain_texts, "gateway/web/strings.en.js", "a: 'It is not there any more.',"),
    (rules.unplain_texts, LIVE, "say(`Nobody ${x} speaks for the user.`)"),
)
PASSING: tuple[tuple[Rule, dict[str, str]], ...] = (
    (rules.long_files, {"a.py": "\n" * 800}),
    (rules.long_functions, {"a.py": _function(40), "b.py": _function(40, DOCSTRING)}),
    (rules.sleeping_tests, {TEST: "asyncio.sleep(0)\nclock.sleep(1)"}),
    (rules.empty_room_names, {LEASE: "class ManagerStateChanged: ...\nclass Database: ..."}),
    (
        rules.machine_traces,
        {"README.md": "GET /v1/session\ntests/work/x\nagent:work /unavailable/work (reason)\n"},
    ),
    (
        rules.unreasoned_suppressions,
        {
            "a.py": "x = 1  # noqa: S101 - pytest rewrites it\n"
            "x = 1  # type: ignore[arg-type]  # hostile input on purpose\n"
            "# the wire gives what it gives\n"
            "x = 1  # type: ignore[arg-type]\n"
        },
    ),
    (
        rules.forbidden_constructs,
        {
            "gateway/edge/socket.py": "@contextmanager\ndef f():\n try:\n  yield\n except OSError:\n  end()\n"
            "  raise\n finally:\n  pass\ntg.create_task(run())\nself._group.create_task(run())\n"
            "getattr(socket, 'TCP_NOTSENT_LOWAT', None)\nx: dict[str, Any]"
        },
    ),
    (rules.decision_faults, {"docs/decisions/0001-title.md": RECORD}),
    (
        rules.unplain_texts,
        {
            LEASE: '"""It is told."""\ntold = "told"\nerror = "There is no such reason."',
            LIVE: "// is told here\nlet told = `told ${any more}`; say('It no longer exists.');",
        },
    ),
    (
        rules.unplain_words,
        {
            LEASE: '"""Return *told*.\n\nArgs:\n    told: The `told` one.\n"""\ntold = "told"',
            "docs/cluster.md": "See [decision 16](decisions/0016-fan-out-groups-share-one-frame.md).",
        },
    ),
)


@pytest.mark.parametrize(("rule", "path", "text"), REPORTED)
def test_each_violation_is_reported_once(rule: Rule, path: str, text: str) -> None:
    assert len(list(rule({path: text}))) == 1


@pytest.mark.parametrize(("rule", "files"), PASSING)
def test_what_is_right_passes(rule: Rule, files: dict[str, str]) -> None:
    assert list(rule(files)) == []


CODES = "| code | HTTP | retry | meaning |\n|---|---|---|---|\n| `busy` | 503 | yes | later |\n"


@pytest.mark.parametrize(
    ("status", "retry", "faults"),
    [
        ({"busy": 503}, {"busy": True}, 0),
        ({"busy": 500}, {"busy": True}, 1),
        ({"busy": 503}, {"busy": False}, 1),
        ({}, {}, 1),
        ({"busy": 503, "gone": 410}, {"busy": True, "gone": False}, 1),
    ],
)
def test_codes_that_differ_are_reported(status: dict[str, int], retry: dict[str, bool], faults: int) -> None:
    assert len(list(rules.code_faults(CODES, status, retry))) == faults


def test_fields_that_the_reference_never_names_are_reported() -> None:
    reference = "`agent`: `skills[{skill_id, level}]`, `extension` P"
    assert list(rules.undocumented_fields(reference, {"Agent": ["skills", "extension"]})) == []
    assert list(rules.undocumented_fields(reference, {"Agent": ["skill", "level"]})) == [
        "Agent.skill is not documented"
    ]


CLOSES = "| code | name | verdict | meaning |\n|---|---|---|---|\n| 4108 | `slow` | back_off | too slow |\n"


@pytest.mark.parametrize(
    ("verdicts", "faults"),
    [
        ({"slow": (4108, "back_off")}, 0),
        ({}, 1),
        ({"slow": (4108, "stop")}, 1),
        ({"slow": (4107, "back_off")}, 1),
        ({"slow": (4108, "back_off"), "draining": (4200, "window")}, 1),
    ],
)
def test_closes_that_differ_are_reported(verdicts: dict[str, tuple[int, str]], faults: int) -> None:
    assert len(list(rules.close_faults(CLOSES, verdicts))) == faults


def test_dead_links_are_reported_and_live_ones_pass() -> None:
    paths = ["docs/a.md", "docs/decisions/0001-x.md", "README.md"]
    live = "[x](decisions/0001-x.md#status) [y](../README.md) [z](https://example.org) [f](decisions)"
    assert list(rules.dead_links({"docs/a.md": live}, paths)) == []
    assert len(list(rules.dead_links({"docs/a.md": "[x](b.md)"}, paths))) == 1


def test_targets_without_text_are_reported() -> None:
    assert list(rules.undescribed_targets(".PHONY: a\na: b ## does a\n")) == []
    assert len(list(rules.undescribed_targets(".PHONY: a b\na: ## does a\nb:\n"))) == 1
