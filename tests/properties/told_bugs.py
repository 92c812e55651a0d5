"""Which bugs must the properties of what links share find?"""

from __future__ import annotations

from tests.properties.seeded import SeededBug

ASSEMBLY, COMPOSE = "core/assembly.py", "core/compose.py"
QUERY = "core/link.py"
KILLER = "test_a_link_among_others_says_what_it_would_say_alone"


def bug(name: str, file: str, old: str, new: str, *, quick: bool = False) -> SeededBug:
    return SeededBug(name, file, old, new, KILLER, quick)


APPLIES = "return self.held == held and self.befores == befores and self.offset_ms == offset_ms"

SEEDED = [
    bug(
        "a step is taken whatever was told before",
        COMPOSE,
        APPLIES,
        "return self.held == held and self.offset_ms == offset_ms",
    ),
    bug(
        "a step is taken whatever was shown before",
        COMPOSE,
        APPLIES,
        "return self.befores == befores and self.offset_ms == offset_ms",
    ),
    bug(
        "a step is taken from wherever a link stands",
        COMPOSE,
        APPLIES,
        "return self.offset_ms == offset_ms",
        quick=True,
    ),
    bug(
        "a step is taken over clocks that differ",
        COMPOSE,
        APPLIES,
        "return self.held == held and self.befores == befores",
    ),
    bug(
        "what is told twice is the first",
        COMPOSE,
        "return place if len(place.afters) == len(place.numbers) else None",
        "return place",
    ),
    bug(
        "a link stands where others stand, whatever sources told",
        COMPOSE,
        "    if mine != theirs or not all(map(_hide_the_same, parts[:4], others[:4])):\n",
        "    if False:\n",
    ),
    bug(
        "the shortcut believes what is late",
        ASSEMBLY,
        " or time_ms < self._newest_ms[kind, source]:",
        ":",
    ),
    bug(
        "the shortcut does not say when it read",
        ASSEMBLY,
        "        self._read_ms[kind, source].update(step.read_ms)\n",
        "",
    ),
    bug(
        "the shortcut believes what is late for the next one",
        ASSEMBLY,
        "        self._newest_ms[kind, source] = time_ms\n",
        "",
    ),
    bug(
        "what was read in whole is not newer for the shortcut",
        ASSEMBLY,
        "            self._newest_ms[at] = max(self._newest_ms[at], reading.time_ms)\n",
        "            pass\n",
    ),
    bug(
        "the shortcut keeps who was removed",
        ASSEMBLY,
        "if query is None or reading.complete or reading.removed or",
        "if query is None or reading.complete or",
    ),
    bug(
        "the shortcut takes a whole set for a change",
        ASSEMBLY,
        "if query is None or reading.complete or reading.removed or",
        "if query is None or reading.removed or",
    ),
    bug(
        "the shortcut shows what nobody reads",
        QUERY,
        "return self.is_told and self.listen.numbers is None",
        "return not self.refused and self.listen.numbers is None",
    ),
    bug(
        "the shortcut takes one for all",
        QUERY,
        "return self.is_told and self.listen.numbers is None",
        "return self.is_told",
    ),
]
