"""Notices of the operator: texts, acknowledgement, and their delivery to connected phones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal, NamedTuple, Protocol

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.bodies import NoticeReference, NoticeView
from gateway.protocol.frames import NoticeFrame
from gateway.runtime.ports import Clock

NOTICES_MAX: Final = 32
"""Limited by the number of control frames that may wait for a phone."""
MUST_ACKNOWLEDGE_MAX: Final = 16
ID_CHARS_MAX: Final = 32
"""Together with the number of notices it bounds the size of tokens."""
_RANGES_MAX: Final = 32
_TAG_CHARS_MAX: Final = 35
"""RFC 5646 §4.4.1: the longest tags in use."""


class NoticeText(NamedTuple):
    """Text of a notice in one language."""

    title: str
    summary: str
    link: str | None = None


@dataclass(frozen=True, slots=True)
class OperatorNotice:
    """One version of a notice.

    *texts*: by language tag (RFC 5646); the first is the default.
    """

    id: str
    version: int
    category: Literal["privacy", "security", "maintenance"]
    effective_at_ms: int
    must_acknowledge: bool
    texts: Mapping[str, NoticeText]

    def binds(self, wall_ms: int) -> bool:
        """Return whether a log-on requires its acknowledgement at *wall_ms*."""
        return self.must_acknowledge and wall_ms >= self.effective_at_ms

    def view(self, accepted: Sequence[str]) -> NoticeView:
        """Return the notice in the best of the *accepted* languages, which are sorted best first."""
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


class NoticeKey(NamedTuple):
    """Identity of a notice that was shown: another version, or a notice that binds now, is shown again."""

    id: str
    version: int
    binds: bool


NoticeSet = Mapping[NoticeKey, OperatorNotice]
"""The notices to show from some time on, those to be acknowledged first."""


class NoticesInForce:
    """The notices in force.

    Args:
        notices: At most :data:`NOTICES_MAX`, of them at most :data:`MUST_ACKNOWLEDGE_MAX` to be acknowledged,
            each with a short ASCII id.

    Raises:
        ValueError: There are too many notices, an id is invalid or repeated, or a text is missing.
    """

    def __init__(self, notices: Iterable[OperatorNotice] = ()) -> None:
        self._notices = _checked(tuple(notices))
        self._edition: NoticeSet = {}

    @property
    def all(self) -> tuple[OperatorNotice, ...]:
        """All notices, in the given order."""
        return self._notices

    def replace(self, others: NoticesInForce) -> None:
        """Replace all notices by those of *others*."""
        self._notices = others.all
        self._edition = {}

    def views(self, accept_language: str) -> tuple[NoticeView, ...]:
        """Return all notices, also future ones, in the best language of `Accept-Language`."""
        accepted = languages(accept_language)
        return tuple(notice.view(accepted) for notice in self._notices)

    def edition(self, wall_ms: int) -> NoticeSet:
        """Return the notices to show at *wall_ms*: the same object as long as nothing changes."""
        binding_first = sorted(self._notices, key=lambda notice: not notice.must_acknowledge)
        edition = {
            NoticeKey(notice.id, notice.version, notice.binds(wall_ms)): notice for notice in binding_first
        }
        if edition.keys() != self._edition.keys():
            self._edition = edition
        return self._edition

    def kept(self, acknowledged: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
        """Return the entries of *acknowledged* that are in force, each once."""
        known = set(acknowledged)
        return tuple(
            (notice.id, notice.version) for notice in self._notices if (notice.id, notice.version) in known
        )

    def acknowledged(
        self, accepted: Iterable[NoticeReference], accept_language: str, wall_ms: int
    ) -> tuple[tuple[str, int], ...]:
        """Return the acknowledged notices in force, binding or not, as (id, version).

        Raises:
            GatewayError: ``notice_must_be_acknowledged`` contains the notices that bind at *wall_ms* and are
                not acknowledged, so that a client need not fetch them.
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
    """Return the ranges of `Accept-Language`, best first (RFC 9110 §12.5.4), without those of weight 0.

    A range longer than any tag is ignored.
    """
    weighted: list[tuple[float, str]] = []
    for item in accept_language.split(",")[:_RANGES_MAX]:
        tag, _, weight = item.partition(";")
        quality = _quality(weight)
        if 0 < len(tag.strip()) <= _TAG_CHARS_MAX and quality > 0:
            weighted.append((quality, tag.strip().lower()))
    return tuple(tag for _, tag in sorted(weighted, key=lambda each: -each[0]))


def best_language(accepted: Sequence[str], offered: Sequence[str]) -> str:
    """Return the best of the *offered* tags by look-up (RFC 4647 §3.4), or the first."""
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


def _checked(notices: tuple[OperatorNotice, ...]) -> tuple[OperatorNotice, ...]:
    binding = [notice for notice in notices if notice.must_acknowledge]
    if len(notices) > NOTICES_MAX or len(binding) > MUST_ACKNOWLEDGE_MAX:
        raise ValueError(
            f"there may be at most {NOTICES_MAX} notices, of them {MUST_ACKNOWLEDGE_MAX} to be acknowledged"
        )
    if len({notice.id for notice in notices}) < len(notices):
        raise ValueError("two notices have the same id")
    for notice in notices:
        if not notice.texts or not 0 < len(notice.id) <= ID_CHARS_MAX or not notice.id.isascii():
            raise ValueError(
                f"notice {notice.id!r}: needs a text, and an id of at most {ID_CHARS_MAX} ASCII characters"
            )
    return notices


NOTICES_PER_TURN: Final = 100
"""Phones per turn of the event loop."""


def unread_notices(
    edition: NoticeSet, shown: NoticeSet, acknowledged: Collection[tuple[str, int]], languages: Sequence[str]
) -> list[NoticeFrame]:
    """Return the notices of *edition* that are new to a phone.

    A notice is shown again only in another version, or when it begins to bind.

    Args:
        edition: The notices to show now.
        shown: The notices that were shown last.
        acknowledged: What the session has acknowledged, as (id, version).
        languages: The phone's languages, best first.
    """
    return [
        NoticeFrame(**asdict(notice.view(languages)))
        for stamp, notice in edition.items()
        if stamp not in shown and (stamp.id, stamp.version) not in acknowledged
    ]


class NoticeReceiver(Protocol):
    """A connection that notices are sent to."""

    def notify(self) -> None:
        """Send the notices that are new to the phone. Do nothing before the session is served."""
        ...


class NoticeBroadcast:
    """Broadcast of changed notices: after a replacement, or when a notice begins to bind.

    Args:
        notices: The notices in force.
        phones: The connected phones.
        clock: Decides which notices bind.
    """

    def __init__(self, notices: NoticesInForce, phones: Collection[NoticeReceiver], clock: Clock) -> None:
        self._notices = notices
        self._phones = phones
        self._clock = clock
        self._sent: NoticeSet = {}

    async def send(self) -> None:
        """Send changes to all phones, if there are any. Other tasks run in between."""
        edition = self._notices.edition(self._clock.wall_ms())
        if edition is self._sent:
            return
        self._sent = edition
        for number, phone in enumerate(list(self._phones), 1):
            phone.notify()
            if number % NOTICES_PER_TURN == 0:
                await self._clock.sleep(0)
