"""Which bugs must the property of what is received and skipped find?"""

from __future__ import annotations

from tests.properties.seeded import SeededBug

INTAKE, SOCKET = "upstream/oscce/readings.py", "upstream/oscce/socket.py"
KILLER = "test_turns_cuts_and_skips_show_what_reading_all_in_order_would"


def bug(name: str, file: str, old: str, new: str, *, quick: bool = False) -> SeededBug:
    return SeededBug(name, file, old, new, KILLER, quick)


SEEDED = [
    bug(
        "what is late replaces what is newer",
        INTAKE,
        "elif int(before[3]) <= int(head[3]):",
        "elif True:",
        quick=True,
    ),
    bug(
        "what is newer takes the place of what it replaces",
        INTAKE,
        "            del self._kept[place]  # the newest stands behind all that came before it\n",
        "",
        quick=True,
    ),
    bug(
        "a reading of several elements passes for one of the first",
        INTAKE,
        "        if head is None or not _is_single(text, head):",
        "        if head is None:",
    ),
    bug(
        "an agent's reading says only what its first element does",
        INTAKE,
        """return text.find(f'"{head[2]}Key"', at) < 0 and not any(""",
        """return not any(""",
    ),
    bug(
        "one key is one whatever query tells it",
        INTAKE,
        "place: tuple[str, ...] = head.group(1, 4)",
        "place: tuple[str, ...] = head.group(2, 4)",
    ),
    bug(
        "what is late hides what is newer from who skims",
        INTAKE,
        "if seen_ms is not None and time_ms <= seen_ms:",
        "if seen_ms is not None:",
    ),
    bug(
        "who skims looks from the oldest on",
        INTAKE,
        "        for at in range(len(starts) - 1, -1, -1):",
        "        for at in range(len(starts)):",
    ),
    bug(
        "who skims passes by what says more than one element",
        INTAKE,
        'if head is not None and data.find(b"}", head.end(), stop) == stop - 3 and data[stop - 2] == _LAST:',
        "if head is not None:",
    ),
    bug(
        "who skims gives the newest first",
        INTAKE,
        "        kept.reverse()\n",
        "",
    ),
    bug(
        "what is unread is read after what follows it",
        SOCKET,
        "                self._flush()\n                self._keep(said)\n",
        "                self._keep(said)\n",
    ),
]
