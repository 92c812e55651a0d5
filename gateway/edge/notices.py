"""Which messages does the operator have for people, and which of them must be acknowledged?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal, NamedTuple

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.bodies import NoticeReference, NoticeView

NOTICES_MAX: Final = 32
"""As many fit among the frames that may wait for a phone."""
MUST_ACKNOWLEDGE_MAX: Final = 16
ID_CHARS_MAX: Final = 32
"""With the number of notices it bounds what acknowledgements add to a token."""
_RANGES_MAX: Final = 32
_TAG_CHARS_MAX: Final = 35
"""RFC 5646 §4.4.1: as long as any tag that is in use."""


class NoticeText(NamedTuple):
    """What a notice says in one language."""

    title: str
    summary: str
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """One version of a message of the operator.

    *texts*: by language tag (RFC 5646); the first is the default.
    """

    id: str
    version: int
    category: Literal["privacy", "security", "maintenance"]
    effective_at_ms: int
    must_acknowledge: bool
    texts: Mapping[str, NoticeText]

    def binds(self, wall_ms: int) -> bool:
        """Tell whether a log-on depends on its acknowledgement at *wall_ms*."""
        return self.must_acknowledge and wall_ms >= self.effective_at_ms

    def view(self, accepted: Sequence[str]) -> NoticeView:
        """Return it in the best of the *accepted* languages, best first."""
        text = self.texts[best_language(accepted, tuple(self.texts))]
        return NoticeView(
            self.id,
            self.version,
            self.category,
            text.title,
            text.summary,
            text.link,
            self.effective_at_ms,
            self.must_acknowledge,
        )


class Stamp(NamedTuple):
    """What makes a notice worth showing again: another version, or that log-ons depend on it now."""

    id: str
    version: int
    binds: bool


Edition = Mapping[Stamp, Notice]
"""What sessions are to be shown from some instant on, first what must be acknowledged."""


class Notices:
    """The notices in force.

    Args:
        notices: At most :data:`NOTICES_MAX`; those to be acknowledged at most :data:`MUST_ACKNOWLEDGE_MAX`,
            each with a short ASCII id.

    Raises:
        ValueError: There are too many, an id comes twice or is none, or one has no text.
    """

    def __init__(self, notices: Iterable[Notice] = ()) -> None:
        self._notices = _checked(tuple(notices))
        self._edition: Edition = {}

    @property
    def all(self) -> tuple[Notice, ...]:
        """All of them, as they were given."""
        return self._notices

    def replace(self, others: Notices) -> None:
        """Put those of *others* in force."""
        self._notices = others.all
        self._edition = {}

    def views(self, accept_language: str) -> tuple[NoticeView, ...]:
        """Return all of them, those of the future too, in the best language of `Accept-Language`."""
        accepted = languages(accept_language)
        return tuple(notice.view(accepted) for notice in self._notices)

    def edition(self, wall_ms: int) -> Edition:
        """Return what sessions are to be shown; the same object for as long as it says the same."""
        binding_first = sorted(self._notices, key=lambda notice: not notice.must_acknowledge)
        edition = {
            Stamp(notice.id, notice.version, notice.binds(wall_ms)): notice for notice in binding_first
        }
        if edition.keys() != self._edition.keys():
            self._edition = edition
        return self._edition

    def kept(self, acknowledged: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
        """Return those of *acknowledged* that are in force in this version, as (id, version), each once."""
        known = set(acknowledged)
        return tuple(
            (notice.id, notice.version) for notice in self._notices if (notice.id, notice.version) in known
        )

    def acknowledged(
        self, accepted: Iterable[NoticeReference], accept_language: str, wall_ms: int
    ) -> tuple[tuple[str, int], ...]:
        """Return which notices in force were acknowledged, whether or not they bind yet, as (id, version).

        Raises:
            GatewayError: ``notice_must_be_acknowledged`` shows those that bind at *wall_ms* and were
                not, so that a client need not ask again.
        """
        kept = self.kept((reference.id, reference.version) for reference in accepted)
        missing = [
            notice
            for notice in self._notices
            if notice.binds(wall_ms) and (notice.id, notice.version) not in kept
        ]
        if missing:
            best_first = languages(accept_language)
            raise GatewayError(
                ErrorCode.NOTICE_MUST_BE_ACKNOWLEDGED,
                "A notice must be acknowledged before the log-on.",
                notices=[asdict(notice.view(best_first)) for notice in missing],
            )
        return kept


def languages(accept_language: str) -> tuple[str, ...]:
    """Return the ranges of `Accept-Language`, best first (RFC 9110 §12.5.4); those of weight 0 not.

    What is longer than any tag is none.
    """
    weighted: list[tuple[float, str]] = []
    for item in accept_language.split(",")[:_RANGES_MAX]:
        tag, _, weight = item.partition(";")
        quality = _quality(weight)
        if 0 < len(tag.strip()) <= _TAG_CHARS_MAX and quality > 0:
            weighted.append((quality, tag.strip().lower()))
    return tuple(tag for _, tag in sorted(weighted, key=lambda each: -each[0]))


def best_language(accepted: Sequence[str], offered: Sequence[str]) -> str:
    """Return which of the *offered* tags suits best: by look-up (RFC 4647 §3.4), else the first."""
    by_tag = {tag.lower(): tag for tag in reversed(offered)}
    by_language = {tag.lower().partition("-")[0]: tag for tag in reversed(offered)}
    for wanted in accepted:
        while wanted:
            if wanted in by_tag:
                return by_tag[wanted]
            wanted = wanted.rpartition("-")[0]  # noqa: PLW2901 - look-up shortens the range step by step
    for wanted in accepted:
        if wanted.partition("-")[0] in by_language:
            return by_language[wanted.partition("-")[0]]
    return offered[0]


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _checked(notices: tuple[Notice, ...]) -> tuple[Notice, ...]:
    binding = [notice for notice in notices if notice.must_acknowledge]
    if len(notices) > NOTICES_MAX or len(binding) > MUST_ACKNOWLEDGE_MAX:
        raise ValueError(
            f"there may be at most {NOTICES_MAX} notices, of them {MUST_ACKNOWLEDGE_MAX} to be acknowledged"
        )
    if len({notice.id for notice in notices}) < len(notices):
        raise ValueError("an id of a notice comes twice")
    for notice in notices:
        if not notice.texts or not 0 < len(notice.id) <= ID_CHARS_MAX or not notice.id.isascii():
            raise ValueError(
                f"notice {notice.id!r}: needs a text, and an id of at most {ID_CHARS_MAX} ASCII characters"
            )
    return notices
