"""Remote numbers: spellings that are accepted and refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from phonenumbers import PhoneNumber, PhoneNumberType, example_number_for_type, format_number

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.policies import CHARS_MAX, NumberPolicies, NumberPolicy
from tests.doubles.refusals import refused_with

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


def table() -> list[tuple[str, str, str]]:
    """Return the site, the text and the answer of each row of the table."""
    lines = Path(__file__).with_name("numbers.txt").read_text("utf-8").splitlines()
    rows = [line.partition("  (")[0] for line in lines if line and not line.startswith("#")]
    cases = [(row.partition(" ")[0], row.partition(" ")[2].partition(" → ")) for row in rows]
    return [(site, text, answer) for site, (text, _, answer) in cases]


@pytest.mark.parametrize(("site", "text", "answer"), table())
def test_a_number_is_read_and_allowed_as_the_table_says(site: str, text: str, answer: str) -> None:
    assert read(site, text) == answer


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
    with refused_with(ErrorCode.REMOTE_NUMBER_NOT_ALLOWED):
        everywhere.accept("one", format_number(number, 0))


def test_no_repr_shows_a_number() -> None:
    policy = NumberPolicy("DE", own=(BERLIN,))
    assert BERLIN not in f"{policy!r} {NumberPolicies({'de': policy})!r}"
