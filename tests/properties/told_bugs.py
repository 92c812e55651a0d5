"""Which bugs must the properties of what links share find?"""

from __future__ import annotations

from tests.properties.seeded import SeededBug

ASSEMBLY, COMPOSE, TOLD = "core/assembly.py", "core/compose.py", "core/told.py"
QUERY = "core/link.py"
KILLER = "test_a_link_among_others_says_what_it_would_say_alone"


def bug(name: str, file: str, old: str, new: str, *, quick: bool = False) -> SeededBug:
    return SeededBug(name, file, old, new, KILLER, quick)


SEEDED = [
    bug(
        "whatever comes leads where the last link was led",
        TOLD,
        "if self._then_part is part:",
        "if self._then_part is not None:",
        quick=True,
    ),
    bug(
        "what is told is one whenever somebody left",
        TOLD,
        "place = (address, pieces, left_at_ms)",
        "place = (address, pieces, None)",
    ),
    bug(
        "elements are one whatever was shown before",
        COMPOSE,
        "if element is None or each.before is not before or each.offset_ms != offset_ms:",
        "if element is None or each.offset_ms != offset_ms:",
    ),
    bug(
        "elements are one over clocks that differ",
        COMPOSE,
        "if element is None or each.before is not before or each.offset_ms != offset_ms:",
        "if element is None or each.before is not before:",
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
        "        self._read_ms[kind, source].update(news.read_ms)\n",
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
        "news are the same whatever was told before",
        ASSEMBLY,
        "(news for news in known if news.before == before)",
        "(news for news in known)",
        quick=True,
    ),
    bug(
        "news make the same elements whatever was shown before",
        COMPOSE,
        "if news.befores != befores or news.offset_ms != offset_ms:",
        "if news.befores is None or news.offset_ms != offset_ms:",
    ),
    bug(
        "news make the same elements over clocks that differ",
        COMPOSE,
        "if news.befores != befores or news.offset_ms != offset_ms:",
        "if news.befores != befores:",
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
    bug(
        "whoever is not there is shown by what is told of him",
        TOLD,
        "self.is_plain = pieces[_DIRECTORY] is not None and pieces[_REALTIME] is not None",
        "self.is_plain = pieces[_DIRECTORY] is not None",
    ),
]
