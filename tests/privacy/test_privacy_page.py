"""docs/privacy.md agrees with what the gateway serves, and names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs._generate import privacy
from gateway.protocol.schemas import inventory

ROOT = Path(__file__).parents[2]
PAGES = ["docs/privacy.md", "docs/security.md", "SECURITY.md"]


def test_the_inventory_on_the_page_is_the_one_that_is_served() -> None:
    present = privacy.PAGE.read_text("utf-8")
    assert present == privacy.page(), "stale: run make diagrams"
    for entry in inventory().entries:
        assert f"| `{entry.category}` |" in present


def test_a_stale_page_is_reported_and_rewritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = privacy.page()
    page = tmp_path / "privacy.md"
    page.write_text(fresh.replace("| `token` |", "| `tokens` |"), "utf-8")
    monkeypatch.setattr(privacy, "PAGE", page)
    assert privacy.main(["--check"]) == 1
    assert capsys.readouterr().out == "docs/privacy.md: stale; run make diagrams\n"
    assert privacy.main([]) == 0
    assert page.read_text("utf-8") == fresh
    assert privacy.main(["--check"]) == 0


def missing(text: str) -> list[str]:
    """Return the tests and files that a page names and that are not there."""
    named = re.findall(r"`((?:tests|gateway|deploy|docs)/[A-Za-z0-9_./-]+)`", text)
    return [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert missing(text) == []
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_a_test_that_is_not_there_is_found() -> None:
    assert missing("`tests/privacy/test_nothing.py`, `tests/privacy`") == ["tests/privacy/test_nothing.py"]
