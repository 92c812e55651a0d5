"""Each check of the kit holds a sentence of the page, under the section that it names."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, Final, cast

import pytest
from aiohttp import ClientWebSocketResponse

from tests.server_conformance import checks as registered
from tests.server_conformance import link, shapes, table
from tests.server_conformance.checks.directory import KINDS
from tests.server_conformance.driver import HOOKS, DriverError, filled, read
from tests.server_conformance.errors import CODES, STATUSES
from tests.server_conformance.faults import FAULTS
from tests.server_conformance.registry import CHECKS, check
from tests.server_conformance.runner import in_words
from tests.server_conformance.stage import Stage
from tests.server_conformance.verdicts import Failed, Sentence

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = (DOCS / "oscce-link.md").read_text("utf-8")
PARTS: Final = re.split(r"^#+ (.*)$", PAGE, flags=re.MULTILINE)
SECTIONS: Final = dict(zip(PARTS[1::2], PARTS[2::2], strict=True))

WITHOUT_FAULT: Final = {
    "fencing.per_user",
    "fencing.sessions_stay_behind",
    "link.take_over_follows",
    "listen.logged_off",
    "log_on.assistant",
}


def words(text: str) -> str:
    return " ".join(text.split())


def sentences() -> list[Sentence]:
    of_links = [
        each for module in (link, shapes) for each in vars(module).values() if isinstance(each, Sentence)
    ]
    return [*of_links, *(each.sentence for each in CHECKS.values())]


def test_every_sentence_stands_on_the_page() -> None:
    missing = [each for each in set(sentences()) if words(each.quote) not in words(SECTIONS[each.section])]
    assert not missing


def test_every_family_has_checks() -> None:
    assert {name.split(".")[0] for name in CHECKS} == set(registered.__all__)


def test_every_fault_is_found_by_a_check_that_exists() -> None:
    assert {fault.found_by for fault in FAULTS.values()} <= CHECKS.keys()
    assert len(FAULTS) >= 30


def test_the_table_of_sentences_is_fresh() -> None:
    """`python -m tests.server_conformance.table` writes it."""
    assert table.page() == table.PAGE.read_text("utf-8")


def test_nearly_every_check_catches_a_faulty_server() -> None:
    """What takes minutes, and what is the same as another check but for a name, has none."""
    caught = {fault.found_by for fault in FAULTS.values()}
    quick = {name for name, each in CHECKS.items() if not each.slow_s}
    refused = {name for name in quick if name.startswith("log_on.refused.")}
    assert quick - caught - refused == WITHOUT_FAULT


def test_errors_are_those_of_the_page() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", SECTIONS["Error names"], re.MULTILINE)
    assert {int(code): name for code, name in rows} == CODES
    statuses = re.findall(r"^\| (\d{3}) \| (.*) \|$", SECTIONS["Log on"], re.MULTILINE)
    received = {name: int(status) for status, names in statuses for name in re.findall(r"`(\w+)", names)}
    assert received == STATUSES


def test_kinds_of_the_directory_are_those_of_the_page() -> None:
    assert "[" + ",".join(f'"{kind}"' for kind in KINDS) + "]" in PAGE


def test_the_kit_shares_no_code_with_what_it_tests() -> None:
    probe = "import sys, tests.server_conformance.__main__; print(*[name for name in sys.modules])"
    command = [sys.executable, "-c", probe]
    done = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "tests.server_conformance.checks.fencing" in loaded
    assert not {name for name in loaded if name.split(".")[0] in {"gateway", "pydantic", "msgspec"}}


def test_a_name_is_given_once() -> None:
    async def play(_stage: Stage) -> None: ...

    with pytest.raises(ValueError, match=r"about\.answers"):
        check("about.answers", "About", "…")(play)


# ---- the driver file ----


def test_the_page_for_servers_names_each_hook_and_what_is_said_of_it() -> None:
    page = (DOCS / "servers.md").read_text("utf-8")
    for hook, fields in HOOKS.items():
        (row,) = re.findall(rf"^\| `{hook}` \| (.*?) \|", page, re.MULTILINE)
        assert re.findall(r"`(\w+)`", row) == list(fields)


def test_values_keep_their_type_where_they_stand_alone() -> None:
    template = {"Key": "{key}", "Text": "user {key} of {user}", "Keys": ["{keys}", "{other}"], "n": 1}
    values = {"key": 7, "user": "a{b}", "keys": [1, 2]}
    assert filled(template, values) == {
        "Key": 7,
        "Text": "user 7 of a{b}",
        "Keys": [[1, 2], "{other}"],
        "n": 1,
    }


def test_a_driver_file_that_names_what_does_not_exist_is_refused(tmp_path: Path) -> None:
    for text in ('server = "x"\nserve = 1', 'server = "x"\n[hooks.destroy]\nrun = "x"', "server = ", ""):
        (tmp_path / "driver.toml").write_text(text, "utf-8")
        with pytest.raises(DriverError):
            read(tmp_path / "driver.toml", {})


async def test_a_command_gets_what_is_said_as_one_word(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = f"import sys; open({str(out)!r}, 'w').write(repr(sys.argv[1:]))"
    (tmp_path / "driver.toml").write_text(
        f'server = "x"\n[hooks.notice]\nrun = ["{sys.executable}", "-c", {code!r}, "{{user}}", "{{text}}"]\n',
        "utf-8",
    )
    await read(tmp_path / "driver.toml", {}).cause("notice", user="ada; true", text="a b")
    assert out.read_text() == "['ada; true', 'a b']"


async def test_a_hook_that_fails_is_reported_as_that(tmp_path: Path) -> None:
    (tmp_path / "driver.toml").write_text('server = "x"\n[hooks.restart]\nrun = "false"\n', "utf-8")
    with pytest.raises(DriverError, match="restart"):
        await read(tmp_path / "driver.toml", {}).cause("restart")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (("Users", 1, "Key"), "a value is null, or of another type than on the page"),
        (("Queues",), "there is no Queues"),
        (("Users", 2), "a list has too few members"),
    ],
)
def test_what_cannot_be_read_is_said_without_words_of_python(place: tuple[str | int, ...], said: str) -> None:
    value: Any = {"Users": [1, None]}
    with pytest.raises((LookupError, TypeError)) as malformed:
        reduce(getitem, place, value)
    assert in_words(malformed.value) == said


async def test_a_state_that_is_no_text_is_another_state_and_is_ignored_where_none_is_wanted() -> None:
    class Answered(link.Link):
        async def ask(self, method: str, **fields: object) -> link.Answer:
            return link.Answer(0, None, {"State": ["Applied"]}, 0, 0)

    answered = Answered(cast("ClientWebSocketResponse", None), 1.0)
    assert (await answered.done("KeepAlive")).said == "done"
    with pytest.raises(Failed, match=r"State is \['Applied'\], not Applied"):
        await answered.done("SetRoutingState", "Applied")
