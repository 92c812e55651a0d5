"""Which bugs must the properties of assembly and composition find?"""

from __future__ import annotations

from tests.properties.seeded import SeededBug

ASSEMBLY, COMPOSE = "core/assembly.py", "core/compose.py"


def bug(name: str, file: str, old: str, new: str, *, quick: bool = False) -> SeededBug:
    return SeededBug(name, file, old, new, "TestLinks", quick)


SEEDED = [
    bug(
        "what is late is believed",
        ASSEMBLY,
        "if time_ms < slots.read_at_ms.get(source, time_ms):",
        "if False:",
        quick=True,
    ),
    bug(
        "what is late is believed of those who were absent",
        ASSEMBLY,
        "if query.whole_at_ms is not None and reading.time_ms < query.whole_at_ms:",
        "if False:",
    ),
    bug("an equal time is late", ASSEMBLY, "if time_ms < slots.read_at_ms", "if time_ms <= slots.read_at_ms"),
    bug(
        "the absent stay",
        ASSEMBLY,
        "        if reading.complete:\n            present",
        "        if False:\n            present",
    ),
    bug(
        "the removed stay",
        ASSEMBLY,
        "        if reading.kind is not None:\n            absent",
        "        if False:\n            absent",
    ),
    bug(
        "a whole set speaks for other queries",
        ASSEMBLY,
        "if reading.source in slots.parts and query.covers(*address) and address not in present",
        "if reading.source in slots.parts and address not in present",
    ),
    bug(
        "what no query covers is remembered",
        ASSEMBLY,
        "                self._slots[address].parts.pop(source, None)\n",
        "                pass\n",
    ),
    bug(
        "a stopped query changes nothing",
        ASSEMBLY,
        "        return covered\n",
        "        return set()\n",
    ),
    bug(
        "objects absent from the directory stay",
        ASSEMBLY,
        "            del self._slots[address].parts[Source.DIRECTORY]\n",
        "            pass\n",
    ),
    bug(
        "what left the scope stays", ASSEMBLY, "            del self._slots[address]\n", "            pass\n"
    ),
    bug("whoever cannot be read is logged off", COMPOSE, "if not parts.readable:", "if False:"),
    bug("instants jitter", COMPOSE, "STEADY_MS: Final = 2_000", "STEADY_MS: Final = 3_000"),
    bug(
        "queries without an answer count",
        ASSEMBLY,
        "if query.complete and query.covers(kind, number)]",
        "if query.covers(kind, number)]",
    ),
    bug(
        "a first whole set changes nothing",
        ASSEMBLY,
        "if query.complete else self._covered(query) | self._told(query)",
        "if query.complete else self._told(query)",
    ),
    bug("a refusal changes nothing", ASSEMBLY, "return self._covered(refused)", "return set()"),
    bug(
        "absent queues are shown",
        ASSEMBLY,
        "and readable and (kind is not Kind.AGENT or number in self._unread):",
        "and readable and number in self._unread:",
    ),
    bug(
        "whoever comes into scope is logged off at first",
        ASSEMBLY,
        "self._unread |= agents",
        "self._unread |= set()",
    ),
    bug(
        "whoever came into scope is never logged off",
        ASSEMBLY,
        "        self._unread -= told\n",
        "",
    ),
    bug(
        "whoever is told twice to be gone left the second time",
        ASSEMBLY,
        "        slots.read_at_ms[source] = time_ms\n        if part is",
        "        slots.left_at_ms = slots.read_at_ms[source] = time_ms\n        if part is",
    ),
]
