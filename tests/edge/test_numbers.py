"""Remote numbers: spellings that are accepted and refused."""

from __future__ import annotations

import pytest
from phonenumbers import PhoneNumber, PhoneNumberType, example_number_for_type, format_number

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.policies import CHARS_MAX, NumberPolicies, NumberPolicy

BERLIN = "+49301234567"
COUNTRIES = ("DE", "US", "IT", "RU", "GB", "GG", "AU", "BR", "SG", "AT", "CA")
NUMBERS = NumberPolicies(
    {
        **{country.lower(): NumberPolicy(country) for country in COUNTRIES},
        "wide": NumberPolicy(
            "DE",
            allow=("+4331", "+41", "+1", "+39", "+800", "+883", "+979"),
            deny=("+4930666", "+43316999"),
            own=("+4930777", "+43316888"),
        ),
        "corporate": NumberPolicy("DE", allow=("+4158", "+43591")),
        "barred": NumberPolicy("DE", allow=("+49",), deny=("+49",)),
        "nowhere": NumberPolicy(None, allow=("+49",)),
    }
)


def read(site: str, text: str) -> str:
    """Return the number, or the code with which it is refused."""
    try:
        return NUMBERS.accept(site, text)
    except GatewayError as error:
        return error.code.value


@pytest.mark.parametrize(
    "text",
    [
        "+49301234567", "+49 30 1234567", "0049 30 1234567", "+49 0 30 1234567", "+49 (0) 30 1234567",
        "(+49) 30 1234567", "030 1234567", "(030) 1234567", "030/1234-567", "0.30.123.45.67",
        "[030] 1234567", "  030 1234567\t\n",
        "030\N{NO-BREAK SPACE}123\N{NARROW NO-BREAK SPACE}45\N{IDEOGRAPHIC SPACE}67",
        "030\N{NON-BREAKING HYPHEN}123\N{EN DASH}45\N{MINUS SIGN}67",
        "\N{ARABIC-INDIC DIGIT ZERO}\N{ARABIC-INDIC DIGIT THREE}0 1234567",
        "\uff0b\uff14\uff19\uff08\uff10\uff0930\uff0f1234567", "०३० १२३४५६७",
        "\N{LEFT-TO-RIGHT OVERRIDE}+49 30 1234567\N{POP DIRECTIONAL FORMATTING}",
        "\N{LEFT-TO-RIGHT ISOLATE} 030 1234567 \N{POP DIRECTIONAL ISOLATE}",
    ],
)  # fmt: skip
def test_every_usual_spelling_is_the_same_number(text: str) -> None:
    assert read("de", text) == BERLIN


@pytest.mark.parametrize(
    ("site", "text", "number"),
    [
        ("us", "(212) 555-2368", "+12125552368"), ("us", "1-212-555-2368", "+12125552368"),
        ("us", "011 1 212 555 2368", "+12125552368"), ("us", "00 1 212 555 2368", "+12125552368"),
        ("it", "06 1234 5678", "+390612345678"), ("it", "+39 06 1234 5678", "+390612345678"),
        ("ru", "8 (495) 123-45-67", "+74951234567"), ("ru", "810 7 495 123 45 67", "+74951234567"),
        ("gb", "+44 (0)20 7946 0958", "+442079460958"), ("gg", "01481 720001", "+441481720001"),
        ("au", "0011 61 2 1234 5678", "+61212345678"), ("sg", "001 65 6123 4567", "+6561234567"),
        ("sg", "00 65 6123 4567", "+6561234567"), ("br", "(11) 2123-4567", "+551121234567"),
        ("br", "011 2123-4567", "+551121234567"), ("de", "0176 12345678", "+4917612345678"),
        ("de", "030 12345", "+493012345"),
    ],
)  # fmt: skip
def test_each_country_dials_in_its_own_way(site: str, text: str, number: str) -> None:
    assert read(site, text) == number


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\N{NO-BREAK SPACE}", "\u202d\u202c", " \u2066 "])
def test_nothing_is_no_number(text: str) -> None:
    assert read("de", text) == "remote_number_missing"


@pytest.mark.parametrize(
    "text",
    [
        "tel:+49301234567", "sip:+49301234567@oscce.example", "ann@oscce.example", "+49301234567;ext=5",
        "+49301234567,,5", "+49301234567p5", "+49301234567w5", "+49301234567 x5", "+49301234567#5",
        "*31#+49301234567", "**21*+49301234567#", "0800-FLOWERS", "+49 30 l234567", "+49 3O 1234567",
        "+49 30 ①234567", "+49 30 ¹234567", "+49 30 \N{ROMAN NUMERAL ONE}234567", "+49 30 一二三四五六七",
        "+49\N{ZERO WIDTH SPACE}301234567", "\N{ZERO WIDTH NO-BREAK SPACE}+49301234567",
        "\N{ZERO WIDTH SPACE}", "\N{RIGHT-TO-LEFT MARK}+49301234567",
        "\N{RIGHT-TO-LEFT OVERRIDE}+49301234567\N{POP DIRECTIONAL FORMATTING}",
        "+49\N{LEFT-TO-RIGHT MARK}301234567", "+49 30\n1234567", "+49 30\x001234567", "++49301234567",
        "49+301234567", "+49301234567+", "-", "+", "()", "0", "00", "000", "+0301234567", "+999301234567",
        "0000301234567", "+49 30 123456789012345", "+49 30 1", "1234567", "301234567", "49301234567",
        "0" * CHARS_MAX, "9" * (CHARS_MAX + 1), BERLIN + " " * CHARS_MAX, " " * (CHARS_MAX + 1),
    ],
)  # fmt: skip
def test_what_is_not_a_complete_number_is_invalid(text: str) -> None:
    assert read("de", text) == "remote_number_invalid"


def test_a_number_may_fill_all_the_room_there_is() -> None:
    assert read("de", BERLIN.ljust(CHARS_MAX)) == BERLIN


@pytest.mark.parametrize(
    "text",
    [
        "110", "112", "116117", "115", "+49110", "0049112", "+49 116 117",
        "030 110", "+49 30 112", "+49 89 110",
        "0900 1 123456", "0137 7123456", "0180 5 123456", "0700 12345678", "0800 1234567",
        "0164 1234567", "0177 99 1234567", "0181 1234567",
        "+43 316 123456", "+1 212 555 2368", "+41 44 668 18 00", "+800 1234 5678",
    ],
)  # fmt: skip
def test_by_default_only_the_countrys_telephones_of_persons_are_allowed(text: str) -> None:
    assert read("de", text) == "remote_number_not_allowed"


@pytest.mark.parametrize(
    ("site", "text", "answer"),
    [
        ("us", "911", "remote_number_not_allowed"), ("us", "+1 911", "remote_number_not_allowed"),
        ("us", "1-900-555-1234", "remote_number_not_allowed"),
        ("us", "1-800-234-5678", "remote_number_not_allowed"), ("gb", "999", "remote_number_not_allowed"),
        ("gb", "0909 879 0000", "remote_number_not_allowed"), ("au", "000", "remote_number_invalid"),
        ("de", "911", "remote_number_invalid"), ("de", "999", "remote_number_invalid"),
    ],
)  # fmt: skip
def test_emergency_and_dear_numbers_are_never_reached(site: str, text: str, answer: str) -> None:
    assert read(site, text) == answer


@pytest.mark.parametrize(
    ("site", "text", "answer"),
    [
        ("us", "+1 416 555 0123", "remote_number_not_allowed"),  # Canada
        ("ru", "+7 701 123 4567", "remote_number_not_allowed"),  # Kazakhstan
        ("gb", "01481 720001", "remote_number_not_allowed"),  # Guernsey
        ("gb", "07911 123456", "remote_number_not_allowed"),  # a mobile number of Guernsey
        ("gg", "07911 123456", "+447911123456"),
        ("gg", "020 7946 0958", "remote_number_not_allowed"),
        ("it", "+39 06 698 12345", "remote_number_not_allowed"),  # the Vatican
    ],
)
def test_where_countries_share_a_code_the_region_decides(site: str, text: str, answer: str) -> None:
    assert read(site, text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (BERLIN, BERLIN),
        ("+43 316 123456", "+43316123456"),
        ("+43 1 58058", "remote_number_not_allowed"),
        ("+1 212 555 2368", "+12125552368"),
        ("+41 44 668 18 00", "+41446681800"),
        ("+883 510012345678", "+883510012345678"),
        # what is refused at home is refused abroad
        ("+1 900 555 1234", "remote_number_not_allowed"),
        ("+1 911", "remote_number_not_allowed"),
        ("+39 199 123456", "remote_number_not_allowed"),
        ("+800 1234 5678", "remote_number_not_allowed"),
        ("+979 123456789", "remote_number_not_allowed"),
        # a whole country is not yet its companies' access numbers
        ("+41 58 123 45 67", "remote_number_not_allowed"),
        # deny and own win
        ("030 6661234", "remote_number_not_allowed"),
        ("+43 316 999123", "remote_number_not_allowed"),
        ("+49 (0) 30 777 0", "remote_number_not_allowed"),
        ("+43 316 888123", "remote_number_not_allowed"),
    ],
)
def test_prefixes_widen_and_narrow(text: str, answer: str) -> None:
    assert read("wide", text) == answer


@pytest.mark.parametrize(
    ("site", "text"),
    [
        ("us", "+1 212 976 1234"), ("us", "(415) 976-1234"), ("us", "212 950 1234"), ("us", "212 911 1234"),
        ("us", "212 555 1212"), ("ca", "416 976 1234"), ("ca", "600 222 1234"), ("wide", "+1 600 222 1234"),
        ("de", "030 19222"), ("de", "030 19240"), ("de", "089 19222"), ("de", "040 19 411"),
        ("de", "030 11833"), ("wide", "+49 30 19222"), ("at", "059 133"), ("at", "059 1331234"),
        ("at", "050 123456"), ("at", "0501 234567"), ("at", "0517 12345"), ("at", "057 100100"),
        ("au", "0147 123 456"), ("ru", "+7 840 123 45 67"), ("ru", "8 940 212 34 56"),
    ],
)  # fmt: skip
def test_services_that_look_like_telephones_of_persons_are_never_reached(site: str, text: str) -> None:
    assert read(site, text) == "remote_number_not_allowed"


@pytest.mark.parametrize(
    ("site", "text", "number"),
    [
        ("us", "212 555 0100", "+12125550100"), ("us", "976 212 1234", "remote_number_invalid"),
        ("us", "212 975 1234", "+12129751234"), ("ca", "416 777 1234", "+14167771234"),
        ("de", "030 192221", "+4930192221"), ("de", "030 1234567", BERLIN),
        ("de", "0221 1122334", "+492211122334"), ("at", "0512 123456", "+43512123456"),
        ("at", "05572 12345", "+43557212345"), ("at", "01 58058 0", "+431580580"),
        ("at", "0720 123456", "+43720123456"), ("at", "0664 1234567", "+436641234567"),
        ("au", "0412 345 678", "+61412345678"), ("au", "02 9123 4567", "+61291234567"),
        ("ru", "8 495 123 45 67", "+74951234567"), ("corporate", "+43 59 133", "+4359133"),
    ],
)  # fmt: skip
def test_telephones_beside_those_services_are_reached(site: str, text: str, number: str) -> None:
    assert read(site, text) == number


def test_company_wide_access_numbers_must_be_named() -> None:
    assert read("corporate", "+41 58 123 45 67") == "+41581234567"
    assert read("corporate", "+41 44 668 18 00") == "remote_number_not_allowed"


def test_who_denies_everything_gets_nothing() -> None:
    assert read("barred", BERLIN) == "remote_number_not_allowed"


@pytest.mark.parametrize("site", ["nowhere", "unknown"])
@pytest.mark.parametrize("text", [BERLIN, "", "x"])
def test_without_a_country_no_number_is_allowed(site: str, text: str) -> None:
    assert read(site, text) == "remote_number_not_allowed"


SPECIAL = [
    PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST, PhoneNumberType.TOLL_FREE,
    PhoneNumberType.PERSONAL_NUMBER, PhoneNumberType.PAGER, PhoneNumberType.UAN, PhoneNumberType.VOICEMAIL,
]  # fmt: skip
SPECIAL_NUMBERS = [
    (region, number)
    for region in ("DE", "AT", "GB", "FR", "JP", "US", "KR", "BR")
    for kind in SPECIAL
    if (number := example_number_for_type(region, kind)) is not None
]


@pytest.mark.parametrize(("region", "number"), SPECIAL_NUMBERS)
def test_no_allowed_country_opens_its_special_numbers(region: str, number: PhoneNumber) -> None:
    everywhere = NumberPolicies({"one": NumberPolicy(region, allow=(f"+{number.country_code}",))})
    with pytest.raises(GatewayError) as refused:
        everywhere.accept("one", format_number(number, 0))
    assert refused.value.code is ErrorCode.REMOTE_NUMBER_NOT_ALLOWED


def test_no_repr_shows_a_number() -> None:
    policy = NumberPolicy("DE", own=(BERLIN,))
    assert BERLIN not in f"{policy!r} {NumberPolicies({'de': policy})!r}"
