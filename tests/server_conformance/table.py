"""Write the table of docs/servers.md: each sentence of the page that has a check, and its checks.

``python -m tests.server_conformance.table`` writes it; a test fails when it is stale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.server_conformance import checks as registered
from tests.server_conformance import link, shapes
from tests.server_conformance.faults import FAULTS
from tests.server_conformance.registry import CHECKS
from tests.server_conformance.verdicts import Sentence

PAGE: Final = Path(__file__).parents[2] / "docs" / "servers.md"
BEGIN: Final = "<!-- sentences: begin -->\n"
END: Final = "<!-- sentences: end -->\n"


def table() -> Iterator[str]:
    assert registered.__all__, "importing them registers the checks"
    found: dict[Sentence, list[str]] = {}
    for check in CHECKS.values():
        found.setdefault(check.sentence, []).append(check.name)
    for module in (link, shapes):
        for each in vars(module).values():
            if isinstance(each, Sentence):
                found.setdefault(each, []).append("each check with a link")
    servers = Counter(fault.found_by for fault in FAULTS.values())
    order = list(dict.fromkeys(sentence.section for sentence in found))
    yield "| section | sentence of oscce-link.md | checks | faulty servers caught |"
    yield "|---|---|---|---|"
    for section in order:
        for sentence, names in found.items():
            if sentence.section == section:
                caught = sum(servers[name] for name in names)
                yield f"| {section} | {_shown(sentence.quote)} | {_names(names)} | {caught or '–'} |"


def _shown(quote: str) -> str:
    """Return a quote for a cell: no bar ends it, and no code is left open."""
    text = " ".join(quote.split()).strip("| ").replace("\\|", "|")
    text = text if text.count("`") % 2 == 0 else text.replace("`", "")
    text = text if text.count("**") % 2 == 0 else text.replace("**", "")
    return text.replace("|", "\\|")


def _names(names: list[str]) -> str:
    return ", ".join(name if " " in name else f"`{name}`" for name in dict.fromkeys(names))


def page() -> str:
    """Return the page as it should be."""
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + "".join(f"{line}\n" for line in table()) + END + tail


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
