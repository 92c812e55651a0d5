"""Whatever is written, only telephones that the site wants get calls, and each has one spelling."""

from __future__ import annotations

import re
from typing import NamedTuple

import phonenumbers
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.domain.errors import GatewayError
from gateway.edge.policies import NumberPolicies, NumberPolicy

DENIED, OWN = "+4930666", "+493077"
POLICIES = {
    "DE": NumberPolicy("DE", deny=(DENIED,), own=(OWN,)),
    "US": NumberPolicy("US"),
    "IT": NumberPolicy("IT"),
    "GB": NumberPolicy("GB"),
    "wide": NumberPolicy(
        "DE", allow=("+1", "+33", "+39", "+41", "+43", "+44", "+979"), deny=("+43",), own=(OWN,)
    ),
}
NUMBERS = NumberPolicies(POLICIES)


def read(site: str, text: str) -> str:
    """Return the number, or the code with which it is refused."""
    try:
        return NUMBERS.accept(site, text)
    except GatewayError as error:
        return error.code.value


# ---- spellings ----

ZEROS = [ord(zero) for zero in "0\u0660\u06f0\u0966\u0e50\uff10\U0001d7ce"]
SEPARATORS = [
    "", "", " ", "-", ".", "/", "(", ")", "\u00a0", "\u2011", "\u2013", "\u2212", "\u202f", "\u3000",
]  # fmt: skip
AROUND = ["", " ", "\t", "\r\n", "\u00a0", "\u202d", "\u2066", "\u200e"]


class Number(NamedTuple):
    """A number that exists for the tests: *national* is what follows the country's code."""

    country: str
    code: str
    trunks: tuple[str, ...]
    """What stands before *national* inside the country."""
    national: str

    @property
    def e164(self) -> str:
        return f"+{self.code}{self.national}"

    @property
    def heads(self) -> list[str]:
        zero = [f"+{self.code}(0)", f"00{self.code} 0"] if "0" in self.trunks else []
        return [f"+{self.code}", f"00{self.code}", f"(+{self.code})", *self.trunks, *zero]


COUNTRIES = [
    ("DE", "49", ("0",), r"(30|89|221)[23458][0-9]{6}|1(51|60|7[0-9])[2-8][0-9]{7}"),
    ("US", "1", ("", "1"), r"(212|415)[2-9][0-9]{6}"),
    ("IT", "39", ("",), r"02[2-9][0-9]{7}|3[34][0-9]{8}"),
    ("GB", "44", ("0",), r"20[78][0-9]{7}"),
]
NUMBER = st.sampled_from(COUNTRIES).flatmap(
    lambda received: st.from_regex(re.compile(received[3], re.ASCII), fullmatch=True).map(
        lambda national: Number(received[0], received[1], received[2], national)
    )
)


@st.composite
def spelt(draw: st.DrawFn, number: Number, head: str) -> str:
    """Write a number as people do: digits of any script, separators anywhere."""
    written = head + number.national
    digits = [chr(draw(st.sampled_from(ZEROS)) + int(each)) if each.isdigit() else each for each in written]
    gaps = draw(st.lists(st.sampled_from(SEPARATORS), min_size=len(digits), max_size=len(digits)))
    before, after = draw(st.sampled_from(AROUND)), draw(st.sampled_from(AROUND))
    return before + "".join(each + gap for each, gap in zip(digits, gaps, strict=True)) + after


@given(data=st.data(), number=NUMBER)
def test_every_spelling_is_one_number(data: st.DataObject, number: Number) -> None:
    assert read(number.country, number.e164) == number.e164
    text = data.draw(spelt(number, data.draw(st.sampled_from(number.heads))))
    assert read(number.country, text) == number.e164


@given(data=st.data(), number=NUMBER)
def test_without_its_countrys_prefix_a_number_is_nobodys(data: st.DataObject, number: Number) -> None:
    assume("" not in number.trunks)
    text = data.draw(spelt(number, data.draw(st.sampled_from(["", number.code]))))
    assert read(number.country, text) == "remote_number_invalid"


# ---- what is no number ----

NO_PART = (
    "*#,;:@xXpPwWoOlI~_&%='\n\x00²①\u2167\u3007\u0301\U0001f600"
    "\u00ad\u061c\u200b\u200c\u200d\u200f\u202e\u2060\ufeff"
)


@given(data=st.data(), number=NUMBER, alien=st.sampled_from(NO_PART))
def test_nothing_that_is_no_part_of_a_number_is_passed_over(
    data: st.DataObject, number: Number, alien: str
) -> None:
    text = data.draw(spelt(number, f"+{number.code}"))
    first = next(place for place, each in enumerate(text) if each == "+")
    place = data.draw(st.integers(first + 1, max(at for at, each in enumerate(text) if each.isdigit())))
    assert read(number.country, text[:place] + alien + text[place:]) == "remote_number_invalid"


# ---- whatever is accepted ----

REGIONS = ["DE", "US", "GB", "IT", "CH", "AT", "FR", "CA", "GG", "KZ", "001"]
KINDS = [
    kind for kind in phonenumbers.PhoneNumberType.values() if kind != phonenumbers.PhoneNumberType.UNKNOWN
]
EXAMPLES = sorted(
    {
        phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        for region in REGIONS
        for kind in KINDS
        if (number := phonenumbers.example_number_for_type(region, kind)) is not None
    }
)
TRAPS = [
    "110", "112", "116117", "911", "999", "+49110", "030 110", "+4989112", "+49 221 110", "+1 911", "+44999",
    "0900 1 123456", "0137 7123456", "0180 5 123456", "0700 12345678", "0800 1234567", "0164 1234567",
    "+1 900 555 1234", "+1 800 234 5678", "+44 909 8790000", "+979 1 2345 6789", "+800 1234 5678",
    "+41 58 123 45 67", "+39 199 123456", "+43 316 123456", "+49306661234", "0307712345",
    "+1 416 555 0123", "+44 1481 720001", "+39 06 698 12345", "+49 30 1", "+4930" + "1" * 11,
    "tel:+49301234567", "sip:+49301234567@a", "+49301234567;ext=1", "+49301234567p1", "0800-FLOWERS",
]  # fmt: skip
DIALLED = st.text(st.sampled_from("0123456789"), max_size=14)
TEXTS = st.one_of(
    st.sampled_from(TRAPS),
    st.sampled_from(EXAMPLES),
    st.tuples(st.sampled_from(EXAMPLES), st.sampled_from(["+", "00", "0", ""])).map(
        lambda received: received[1] + received[0][1:]
    ),
    st.tuples(st.sampled_from(["+49", "+4930", "+49301", "0049", "0", "+1", "+44", "+39", ""]), DIALLED).map(
        "".join
    ),
    st.text(st.sampled_from("0123456789+*#;,.()/ -pw\u200b\u0660\uff10"), max_size=70),
    st.text(max_size=70),
)
SITES = st.sampled_from(sorted(POLICIES))
NEVER = (
    *("+4911", "+49137", "+4918", "+49190", "+49700", "+49800", "+49900", "+49164"),
    *("+1800", "+1888", "+1900", "+1911"),
    *("+338", "+398", "+39199", "+4158", "+4180", "+4184", "+4190"),
    *("+448", "+449", "+4470", "+800", "+979"),
)
EMERGENCIES = {"+4930110", "+4930112", "+4989110", "+4989112", "+49221110", "+49221112"}
"""What must not be called, written without the library."""


@given(site=SITES, text=TEXTS)
def test_whatever_is_accepted_is_a_telephone_that_the_site_wants(site: str, text: str) -> None:
    number = read(site, text)
    if number.startswith("remote_number"):
        return
    assert re.fullmatch(r"\+[0-9]{7,15}", number, re.ASCII)
    assert not re.search(r"[*#;,@:a-zA-Z]", text)
    assert not number.startswith(NEVER)
    assert number not in EMERGENCIES
    assert not number.startswith(POLICIES[site].deny + POLICIES[site].own)
    region = phonenumbers.region_code_for_number(phonenumbers.parse(number))
    assert region == POLICIES[site].country or number.startswith(POLICIES[site].allow)


@given(site=SITES, text=TEXTS)
def test_what_was_accepted_once_is_accepted_again(site: str, text: str) -> None:
    number = read(site, text)
    if not number.startswith("remote_number"):
        assert read(site, number) == number


@given(site=SITES, text=TEXTS)
def test_no_refusal_repeats_what_was_written(site: str, text: str) -> None:
    try:
        NUMBERS.accept(site, text)
    except GatewayError as error:
        received = [error.message, repr(error), repr(error.details), repr(error.__context__)]
        assert not any(each.isdigit() for each in "".join(received))
