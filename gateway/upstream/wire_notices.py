"""Map notices of the server."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from gateway.domain.texts import readable
from gateway.domain.upstream import Announced
from gateway.upstream.wire_names import CATEGORIES, Count, Element, Millis

_NOTICE: Final = "OSCC-E"
"""Title of a notice that has none, or nothing else, and how its id begins."""
_ID_CHARS: Final = 32
_MARK_CHARS: Final = 12
_TITLE_CHARS: Final = 200
_SUMMARY_CHARS: Final = 4_000
_LINK: Final = re.compile(r"https://[\x21-\x7e]{1,2000}")


class Notice(Element, tag_field="Type", tag="Notice"):
    """The page says that there are notices, and not how they look: what clients are told may stand here."""

    id: str = ""
    version: Count = 1
    category: str = ""
    title: str = ""
    summary: str = ""
    text: str = ""
    link: str | None = None
    effective_at: Millis | None = None


def announced(told: Notice) -> tuple[Announced, ...]:
    """Map a notice; one that says nothing is none."""
    title = readable(told.title, _TITLE_CHARS)
    summary = readable(told.summary or told.text, _SUMMARY_CHARS)
    if not (title or summary):
        return ()
    return (
        Announced(
            id=_notice_id(readable(told.id, _SUMMARY_CHARS), f"{title}\0{summary}"),
            version=told.version,
            category=CATEGORIES.get(told.category, "maintenance"),
            title=title if title and summary else _NOTICE,
            summary=summary or title,
            link=_link(told.link),
            effective_at_ms=told.effective_at,
        ),
    )


def _link(told: str | None) -> str | None:
    """Return an address that a phone may open."""
    return told if told is not None and _LINK.fullmatch(told) is not None else None


def _notice_id(told: str, text: str) -> str:
    """Return an id of at most 32 characters, by which a phone knows whether it has seen a notice.

    Without one, or with a longer one, whatever says something else has another id.
    """
    if 0 < len(told) <= _ID_CHARS:
        return told
    mark = hashlib.sha256((told or text).encode("utf-8", "surrogatepass")).hexdigest()[:_MARK_CHARS]
    return f"{(told or _NOTICE)[: _ID_CHARS - 1 - _MARK_CHARS]}-{mark}"
