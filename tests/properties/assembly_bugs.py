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
        "if time_ms < read_ms.get(number, time_ms):",
        "if False:",
        quick=True,
    ),
    bug(
        "what is late is believed of those who were absent",
        ASSEMBLY,
        "if query.whole_at_ms is not None and reading.time_ms < query.whole_at_ms:",
        "if False:",
    ),
    bug("an equal time is late", ASSEMBLY, "if time_ms < read_ms.get(", "if time_ms <= read_ms.get("),
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
        "if part_of(told[number], reading.source) is not None and query.covers(kind, number)",
        "if part_of(told[number], reading.source) is not None",
    ),
    bug(
        "what no query covers is remembered",
        ASSEMBLY,
        "self._told[kind][number] = with_part(self._told[kind][number], source, None)\n",
        "pass\n",
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
        "            self._know(address, None)\n",
        "            pass\n",
    ),
    bug(
        "what left the scope stays",
        ASSEMBLY,
        "                del told[number], self._shown[kind, number]\n",
        "                pass\n",
    ),
    bug("whoever cannot be read is logged off", COMPOSE, "if not parts.readable:", "if False:"),
    bug("instants jitter", "domain/resources.py", "STEADY_MS: Final = 2_000", "STEADY_MS: Final = 3_000"),
    bug(
        "queries without an answer count",
        ASSEMBLY,
        "if query.complete and query.covers(kind, number)]",
        "if query.covers(kind, number)]",
    ),
    bug(
        "a first whole set changes nothing",
        ASSEMBLY,
        "if query.is_told else self._covered(query) | self._gained(query)",
        "if query.is_told else self._gained(query)",
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
        "        elif part is None and held is not None:\n",
        "        elif part is None:\n",
    ),
    bug(
        "when somebody left is forgotten with the next directory object",
        COMPOSE,
        "return Parts(part, realtime, cumulative, configuration, readable, left)",
        "return Parts(part, realtime, cumulative, configuration, readable, left_at_ms)",
    ),
]
