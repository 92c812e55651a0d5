"""Is that version of an app new enough?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.domain.errors import ErrorCode, GatewayError

_NUMBERS: Final = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,7})", re.ASCII)


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers that *text* begins with, zeros at the end left out; none when there are none."""
    found = _NUMBERS.match(text.strip())
    numbers = [int(number) for number in found[1].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def check_version(platform: str, version: str, minimum: Mapping[str, str]) -> None:
    """Refuse an app that is older than its platform's minimum; a platform without one takes all.

    Raises:
        GatewayError: ``version_unsupported`` with the ``minimum``.
    """
    least = minimum.get(platform.lower())
    if least is not None and parse_version(version) < parse_version(least):
        raise GatewayError(
            ErrorCode.VERSION_UNSUPPORTED,
            "This version of the app is too old. Please update it.",
            minimum=least,
        )
