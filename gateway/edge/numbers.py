"""To which telephone numbers may a site's calls be routed, and how is such a number written?

Pure. libphonenumber knows how countries write their numbers; the operator's policy says which are wanted.
No number leaves this module but by the return of :meth:`Numbers.accept`: no error or repr shows one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import phonenumbers
from phonenumbers import CountryCodeSource, PhoneNumber, PhoneNumberFormat, PhoneNumberType

from gateway.domain.errors import ErrorCode, GatewayError

CHARS_MAX: Final = 64
_DIALLED: Final = re.compile(r"\+?[0-9]+")
_E164: Final = re.compile(r"\+[0-9]{7,15}")
_WRAPPING: Final = "\u200e\u202a\u202c\u202d\u2066\u2068\u2069"
"""Left-to-right marks that phones put round a number when it is copied; inside one they are refused."""
_PLUSES: Final = "+\uff0b"
_SEPARATORS: Final = "./()[]\u2212\uff0e\uff0f\uff08\uff09"
"""Beside these, any space (Zs) and any hyphen or dash (Pd)."""
_OF_PERSONS: Final = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.VOIP,
    }
)
"""At which one person answers for the price of a call. Every other type is refused, a future one too."""
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
"""Services and prices of their own that libphonenumber takes for telephones of persons, in E.164."""
_LOCAL_SERVICES: Final = {"DE": re.compile(r"11\d{1,4}|19\d{3}")}
"""The same behind an area's prefix. Germany: 11x are services, 19xxx the uniform numbers of ambulances
(19222), poison centres (19240) and others (BNetzA, Nummernplan Ortsnetzrufnummern)."""
_PRIVATE_NETWORKS: Final = re.compile(r"\+435(?:0|17|7|9)\d+")
"""Company-wide access numbers that libphonenumber takes for VoIP. Austria: (0)50, (0)517, (0)57 and (0)59
are private networks, the police's 059 133 among them (RTR, KEM-V 2009)."""


@dataclass(frozen=True, slots=True, repr=False)
class Policy:
    """Which numbers one site allows. Prefixes are those of E.164, such as ``+4331``.

    *country*: whose numbers are allowed; None: nobody's, whatever else is said.
    *allow*: prefixes that are allowed beside it; with more than a country code they also open
    company-wide access numbers (such as ``+4158`` or ``+4359``), which belong to no one place.
    *deny*, *own*: prefixes that never are, those of the contact centre itself among them.
    """

    country: str | None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    def admits(self, number: PhoneNumber, e164: str) -> bool:
        """Tell whether calls may be routed to a valid number."""
        if e164.startswith((*self.deny, *self.own)) or _is_emergency(number) or _is_service(number, e164):
            return False
        kind = phonenumbers.number_type(number)
        if kind == PhoneNumberType.UAN or _PRIVATE_NETWORKS.fullmatch(e164):
            return any(e164.startswith(prefix) and len(prefix) > len(_code(number)) for prefix in self.allow)
        is_home = phonenumbers.region_code_for_number(number) == self.country
        return kind in _OF_PERSONS and (is_home or e164.startswith(self.allow))


_NOWHERE: Final = Policy(None)


class Numbers:
    """The remote numbers of all sites.

    Args:
        policies: By the id of their site. A site that is not here allows none.
    """

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self._policies: Final = dict(policies)

    def accept(self, site: str, text: str) -> str:
        """Return the number that *text* spells, in E.164; what was returned once is returned again.

        Raises:
            GatewayError: ``remote_number_missing``: nothing but space; ``remote_number_invalid``: not a
                complete telephone number; ``remote_number_not_allowed``: an emergency or short number,
                or one that the site's policy refuses, without telling why.
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
    """Return *text* as ASCII digits, with a plus before them or without."""
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
    """Return a digit or plus in ASCII, nothing for a separator, and whatever else as it is: no digit."""
    if character in _PLUSES:
        return "+"
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return "" if category in {"Zs", "Pd"} or character in _SEPARATORS else character


def _read(dialled: str, country: str) -> PhoneNumber:
    """Return the number that *dialled* means in *country*; it need not be valid."""
    number = _parsed(dialled, country)
    if dialled.startswith("00") and (number is None or not phonenumbers.is_valid_number(number)):
        # everybody knows 00, also where another prefix leads abroad, such as 011 or 001
        number = _parsed(f"+{dialled[2:]}", country)
    if number is None:
        raise _invalid()
    if not _is_international(number) and dialled not in _national_spellings(number, country):
        # without its area's prefix it could be another subscriber's, and a stranger would get the calls
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
    """Tell whether a number is an area's prefix and an emergency number."""
    region, local = _local(number)
    return region is not None and phonenumbers.is_emergency_number(local, region)


def _is_service(number: PhoneNumber, e164: str) -> bool:
    """Tell whether a number has a service or a price of its own that libphonenumber does not know."""
    region, local = _local(number)
    services = None if region is None else _LOCAL_SERVICES.get(region)
    is_local_service = services is not None and services.fullmatch(local) is not None
    return is_local_service or _SPECIAL.fullmatch(e164) is not None


def _local(number: PhoneNumber) -> tuple[str | None, str]:
    """Return what stands behind the area's prefix, and the region; None where there is no area."""
    area = phonenumbers.length_of_geographical_area_code(number)
    region = phonenumbers.region_code_for_number(number) if area > 0 else None
    return region, phonenumbers.national_significant_number(number)[area:]


def _code(number: PhoneNumber) -> str:
    return f"+{number.country_code}"


def _invalid() -> GatewayError:
    return GatewayError(ErrorCode.REMOTE_NUMBER_INVALID, "The remote number is not a complete number.")


def _not_allowed() -> GatewayError:
    return GatewayError(ErrorCode.REMOTE_NUMBER_NOT_ALLOWED, "The remote number is not allowed.")
