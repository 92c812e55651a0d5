"""Policies of the operator for phones: allowed remote numbers, and notices with their acknowledgement."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal, NamedTuple, Protocol

import phonenumbers
from phonenumbers import CountryCodeSource, PhoneNumber, PhoneNumberFormat, PhoneNumberType

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.scheduler import in_turns
from gateway.protocol.bodies import NoticeReference
from gateway.protocol.frames import NoticeFrame, NoticeView
from gateway.runtime.ports import Clock

# ---- remote numbers ----

CHARS_MAX: Final = 64
_DIALLED: Final = re.compile(r"\+?[0-9]+")
_E164: Final = re.compile(r"\+[0-9]{7,15}")
_WRAPPING: Final = "\u200e\u202a\u202c\u202d\u2066\u2068\u2069"
"""Left-to-right marks that phones put around a copied number. Inside a number they are refused."""
_PLUSES: Final = "+\uff0b"
_SEPARATORS: Final = "./()[]\u2212\uff0e\uff0f\uff08\uff09"
"""Separators, in addition to any space (Zs) and any hyphen or dash (Pd)."""
_OF_PERSONS: Final = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.VOIP,
    }
)
"""Types of number at which a person answers, at the price of a normal call. All others are refused."""
_SPECIAL: Final = re.compile(
    r"""
    # North America, in any area: 976 is premium rate, 950 reaches carriers, N11 are services, 555-1212 is
    # directory assistance (ATIS-0300051, Central Office Code Assignment Guidelines: codes not assigned)
    \+1[2-9]\d{2}(?:976\d{4}|950\d{4}|[2-9]11\d{4}|5551212)
    # Canada: satellites and other services with prices of their own (CNAC, Canadian Non-Geographic Codes)
    | \+1600\d{7}
    # Australia: satellite telephones and other services (ACMA, Telecommunications Numbering Plan 2015)
    | \+6114\d+
    # under Russia's code, but in Abkhazia, at prices of a call abroad (Russian numbering plan: 840 and 940)
    | \+7[89]40\d{7}
    """,
    re.VERBOSE,
)
"""Services and special prices, in E.164, that libphonenumber reports as ordinary telephones."""
_LOCAL_SERVICES: Final = {"DE": re.compile(r"11\d{1,4}|19\d{3}")}
"""Services after an area code. Germany: 11x are services, 19xxx the uniform numbers of ambulances (19222),
poison centres (19240) and others (BNetzA, Nummernplan Ortsnetzrufnummern).
"""
_PRIVATE_NETWORKS: Final = re.compile(r"\+435(?:0|17|7|9)\d+")
"""Company-wide access numbers that libphonenumber reports as VoIP numbers. Austria: (0)50, (0)517, (0)57 and
(0)59 are private networks, the police's 059 133 among them (RTR, KEM-V 2009).
"""


@dataclass(frozen=True, slots=True, repr=False)
class NumberPolicy:
    """Numbers that one site allows. Prefixes are in E.164, such as ``+4331``.

    *country*: the country whose numbers are allowed; None: no number at all is allowed.
    *allow*: more allowed prefixes. One that is longer than a country code also allows company-wide access
    numbers (such as ``+4158`` or ``+4359``), which belong to no area. *deny*, *own*: prefixes that are never
    allowed; *own* are those of the contact centre.
    """

    country: str | None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    def admits(self, number: PhoneNumber, e164: str) -> bool:
        """Return whether calls may be routed to *number*, which is valid."""
        if e164.startswith((*self.deny, *self.own)) or _is_emergency(number) or _is_service(number, e164):
            return False
        kind = phonenumbers.number_type(number)
        if kind == PhoneNumberType.UAN or _PRIVATE_NETWORKS.fullmatch(e164):
            code_chars = len(f"+{number.country_code}")
            return any(e164.startswith(prefix) and len(prefix) > code_chars for prefix in self.allow)
        is_home = phonenumbers.region_code_for_number(number) == self.country
        return kind in _OF_PERSONS and (is_home or e164.startswith(self.allow))


_NOWHERE: Final = NumberPolicy(None)


class NumberPolicies:
    """Policies of remote numbers of all sites.

    A site without a policy allows no number.
    """

    def __init__(self, policies: Mapping[str, NumberPolicy]) -> None:
        self._policies: Final = dict(policies)

    def accept(self, site: str, text: str) -> str:
        """Return the number in *text* in E.164. A returned number is accepted again, unchanged.

        Raises:
            GatewayError: ``remote_number_missing``: *text* is empty or space; ``remote_number_invalid``: it
                is not a complete telephone number; ``remote_number_not_allowed``: it is an emergency or short
                number, or the site's policy refuses it. The error does not contain the reason.
        """
        policy = self._policies.get(site, _NOWHERE)
        if policy.country is None:
            raise _not_allowed()
        number = _read(_dialled(text), policy.country)
        if phonenumbers.is_valid_short_number(number):
            raise _not_allowed()
        e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        if not phonenumbers.is_valid_number(number) or _E164.fullmatch(e164) is None:
            raise _invalid()
        if not policy.admits(number, e164):
            raise _not_allowed()
        return e164


def _dialled(text: str) -> str:
    """Return *text* as ASCII digits, with or without a plus."""
    if len(text) > CHARS_MAX:
        raise _invalid()
    bare = text.strip().strip(_WRAPPING).strip()
    if not bare:
        raise GatewayError(ErrorCode.REMOTE_NUMBER_MISSING, "A remote number is needed.")
    dialled = "".join(_plain(character) for character in bare)
    if _DIALLED.fullmatch(dialled) is None:
        raise _invalid()
    return dialled


def _plain(character: str) -> str:
    """Return a digit or plus in ASCII, nothing for a separator, and any other character unchanged."""
    if character in _PLUSES:
        return "+"
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return "" if category in {"Zs", "Pd"} or character in _SEPARATORS else character


def _read(dialled: str, country: str) -> PhoneNumber:
    """Parse *dialled* as a number in *country*. The result may be invalid."""
    number = _parsed(dialled, country)
    if dialled.startswith("00") and (number is None or not phonenumbers.is_valid_number(number)):
        # 00 is common also where another prefix is used for calls abroad, such as 011 or 001
        number = _parsed(f"+{dialled[2:]}", country)
    if number is None:
        raise _invalid()
    if not _is_international(number) and dialled not in _national_spellings(number, country):
        # without the area code it could be the number of another subscriber, who would get the calls
        raise _invalid()
    return number


def _parsed(dialled: str, country: str) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(dialled, country, keep_raw_input=True)
    except phonenumbers.NumberParseException:
        return None


def _is_international(number: PhoneNumber) -> bool:
    return number.country_code_source in {
        CountryCodeSource.FROM_NUMBER_WITH_PLUS_SIGN,
        CountryCodeSource.FROM_NUMBER_WITH_IDD,
    }


def _national_spellings(number: PhoneNumber, country: str) -> set[str]:
    written = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    prefix = phonenumbers.ndd_prefix_for_region(country, True) or ""
    return {
        phonenumbers.normalize_digits_only(written),
        prefix + phonenumbers.national_significant_number(number),
    }


def _is_emergency(number: PhoneNumber) -> bool:
    """Return whether *number* is an area code and an emergency number."""
    region, local = _local(number)
    return region is not None and phonenumbers.is_emergency_number(local, region)


def _is_service(number: PhoneNumber, e164: str) -> bool:
    """Return whether *number* is a service, or has a special price, that libphonenumber does not list."""
    region, local = _local(number)
    services = None if region is None else _LOCAL_SERVICES.get(region)
    is_local_service = services is not None and services.fullmatch(local) is not None
    return is_local_service or _SPECIAL.fullmatch(e164) is not None


def _local(number: PhoneNumber) -> tuple[str | None, str]:
    """Return the region, and the part after the area code; None as region where there is no area."""
    area = phonenumbers.length_of_geographical_area_code(number)
    region = phonenumbers.region_code_for_number(number) if area > 0 else None
    return region, phonenumbers.national_significant_number(number)[area:]


def _invalid() -> GatewayError:
    return GatewayError(ErrorCode.REMOTE_NUMBER_INVALID, "The remote number is not a complete number.")


def _not_allowed() -> GatewayError:
    return GatewayError(ErrorCode.REMOTE_NUMBER_NOT_ALLOWED, "The remote number is not allowed.")


# ---- notices ----

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


def unread_notices(
    edition: NoticeSet, shown: NoticeSet, acknowledged: Collection[tuple[str, int]], languages: Sequence[str]
) -> list[NoticeFrame]:
    """Return the notices of *edition* that are new to a phone.

    A notice is shown again only in another version, or when it begins to bind.

    *shown* were shown last. The session has *acknowledged* some, as (id, version). *languages*: best first.
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


class NoticeBroadcast:
    """Broadcast of changed notices: after a replacement, or when a notice begins to bind."""

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
        await in_turns(self._phones, lambda phone: phone.notify(), self._clock)
