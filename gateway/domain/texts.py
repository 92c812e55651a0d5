"""Clean texts of others before they are shown.

Names, reasons and titles come from the OSCC-E Server, from phones and from files. A control character breaks
lines and terminals; an override or isolate of the bidirectional algorithm makes text read as what it is not
(Unicode UTS #55, "Trojan Source"). Both are dropped where a text enters. Right-to-left names stay: letters
carry their own direction, and the marks U+200E, U+200F and U+061C only help beside figures.
"""

from __future__ import annotations

import unicodedata
from typing import Final

NAME_CHARS: Final = 128
"""Of names of people and things."""
WORD_CHARS: Final = 64
"""Of ids, units and words that stand for something."""
VALUE_CHARS: Final = 256
"""Of values that a server lets people set, and of what it says in words of its own: presence, formulas."""

_SPACES: Final = "\t\n\v\f\r\x85\u2028\u2029"
_OVERRIDES: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_INVISIBLE: Final = "\ufeff\ufff9\ufffa\ufffb"
"""A byte order mark, and the anchors of annotations."""
_DROPPED: Final[dict[int, str | None]] = {
    **dict.fromkeys((*range(0x20), *range(0x7F, 0xA0))),
    **dict.fromkeys(range(0xD800, 0xE000)),  # halves of characters, which no encoding can carry
    **dict.fromkeys(map(ord, _OVERRIDES + _INVISIBLE)),
    **dict.fromkeys(map(ord, _SPACES), " "),
}
_IGNORED: Final[dict[int, None]] = dict.fromkeys(
    (
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
        *(*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)),
    )
)
"""Shown as nothing, but no format characters (Unicode, Default_Ignorable_Code_Point)."""


def normalised(name: str) -> str:
    """Return the one spelling of *name*: what looks alike, or differs by case or blanks, is one.

    NFKC and case folding (Unicode, NFKC_Casefold); format characters go, blanks are one space.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    seen = "".join(each for each in folded if unicodedata.category(each) not in {"Cf", "Cs"})
    return " ".join(seen.translate(_IGNORED).split())


def has_controls(text: str) -> bool:
    """Tell whether a text holds a control character, or one that breaks a line."""
    return any(unicodedata.category(each) in {"Cc", "Zl", "Zp", "Cs"} for each in text)


def readable(text: str, most: int = NAME_CHARS) -> str:
    """Return *text* as people may see it, of at most *most* characters; what breaks a line is a space."""
    if len(text) > most:
        # what is dropped may stand before what is not: more is looked at than is kept, but not without end
        text = text[: 2 * most]
    if not text.isprintable():
        text = text.translate(_DROPPED)
    return text[:most]


def readable_or_none(text: str | None, most: int = NAME_CHARS) -> str | None:
    """Do the same for a text that may be unknown, as one is of which nothing can be read."""
    return None if text is None else readable(text, most) or None
