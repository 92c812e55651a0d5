"""The edge passes Autobahn's test suite (RFC 6455).

The cases are those of the Autobahn test suite, run by `kosoku`, against :mod:`tests.autobahn.echo_edge`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, NamedTuple

import pytest

from tests.autobahn.broken import FOUND_BY

pytestmark = pytest.mark.scenario

UNSPECIFIED: Final = {"7.1.6", "7.13.1", "7.13.2"}
"""Cases that judge nothing: a close right behind a big message, and codes that the RFC does not know."""
GIVE_UP_S: Final = 280.0


class Verdict(NamedTuple):
    """What a case says of the edge."""

    case: str
    behavior: str
    closing: str
    code: int | None
    said: str
    answer: str

    @property
    def is_strict(self) -> bool:
        """Whether the edge did just what the RFC wants, in the messages and at the close."""
        return (self.behavior, self.closing) == ("OK", "OK")


@contextmanager
def edge(*how: str) -> Iterator[str]:
    """Serve the edge in a process of its own; yields its address."""
    command = [sys.executable, "-m", "tests.autobahn.echo_edge", *how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip() + "/v1/realtime"
        finally:
            process.terminate()


def verdicts(*cases: str, how: tuple[str, ...] = ()) -> list[Verdict]:
    """Run *cases*; returns what each says."""
    with edge(*how) as url:
        command = [sys.executable, "-m", "tests.autobahn.drive", url, *cases]
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIVE_UP_S, check=False)
    assert done.returncode == 0, done.stderr
    return [Verdict(**verdict) for verdict in json.loads(done.stdout)]


def test_every_case_is_ok_in_the_strict_sense() -> None:
    said = verdicts(*(f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 9, 10)))
    assert [verdict for verdict in said if not verdict.is_strict and verdict.case not in UNSPECIFIED] == []
    assert {verdict.case for verdict in said if verdict.behavior == "INFORMATIONAL"} == UNSPECIFIED
    assert len(said) == 301


def test_compressed_messages_cross_in_both_directions() -> None:
    said = verdicts(*(f"12.{data}.{number}" for data in range(1, 6) for number in (3, 11)), "13.1.11")
    assert [verdict for verdict in said if not verdict.is_strict] == []
    (asked,) = verdicts("13.3.1")
    assert asked.behavior == "UNIMPLEMENTED", "an offer with a window of the server's is declined"
    assert "sec-websocket-extensions" not in asked.answer.lower()


def test_with_the_gateways_own_limits_only_what_is_too_big_is_refused_and_as_too_big() -> None:
    said = verdicts("1.*", "5.*", "9.1.*", "10.*", how=("own limits",))
    refused = [verdict for verdict in said if not verdict.is_strict]
    assert {verdict.code for verdict in refused} == {1009}
    assert {verdict.case for verdict in refused} == {
        *("1.1.6", "1.1.7", "1.1.8", "1.2.6", "1.2.7", "1.2.8", "10.1.1"),
        *(f"9.1.{number}" for number in range(1, 7)),
    }


@pytest.fixture(scope="module")
def found() -> Mapping[str, Verdict]:
    """What the case of each bug says of an edge that has it; they wait beside each other."""

    def look(bug: str) -> Verdict:
        (verdict,) = verdicts(FOUND_BY[bug], how=("wide limits", bug))
        return verdict

    with ThreadPoolExecutor(len(FOUND_BY)) as threads:
        return dict(zip(FOUND_BY, threads.map(look, FOUND_BY), strict=True))


@pytest.mark.parametrize("bug", FOUND_BY)
def test_a_bug_of_the_edge_is_found(found: Mapping[str, Verdict], bug: str) -> None:
    assert not found[bug].is_strict, "without the bug every case is: see the test of all cases"
